"""What comes in batches, on an event loop. The counterpart for threads is _sync/batches.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import TypeVar

from hotrod_codec._ext.unbatched import Unbatched

__all__ = ["let_send", "unbatched"]

B = TypeVar("B")
T = TypeVar("T")


def unbatched(
    batches: AsyncGenerator[B, None], split: Callable[[B], Iterable[T]]
) -> AsyncGenerator[T, None]:
    """The items of all batches.

    Args:
        batches: Nobody else may use it; it is closed at the end.
        split: The items of one batch.
    """
    return Unbatched(batches, split)


async def let_send() -> None:
    """Have written what was asked ahead. While a batch is given out, the loop may not run."""
    await asyncio.sleep(0)  # the request's task begins
    await asyncio.sleep(0)  # what it wants written is written
