"""What comes in batches, in a thread. The counterpart for asyncio is _async/batches.py."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import TypeVar

__all__ = ["let_send", "unbatched"]

B = TypeVar("B")
T = TypeVar("T")


def unbatched(
    batches: Generator[B, None, None], split: Callable[[B], Iterable[T]]
) -> Generator[T, None, None]:
    """The items of all batches.

    Args:
        batches: Nobody else may use it; it is closed at the end.
        split: The items of one batch.
    """
    with closing(batches):
        for batch in batches:
            for item in split(batch):  # not `yield from`, which would send and throw into it
                yield item


def let_send() -> None:
    """Requests are written at once."""
