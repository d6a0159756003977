"""Nothing is kept, whatever is done with a message and however it fails: see leaks.py."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

import leaks
from leaks import Kind, Way

RUNS = 2


@pytest.fixture(autouse=True, scope="module")
def _counted() -> Iterator[None]:
    with leaks.counted():
        yield


@pytest.mark.parametrize("kind", leaks.kinds(), ids=lambda kind: kind.name.replace(" ", "-"))
def test_nothing_is_kept(kind: Kind) -> None:
    assert leaks.leaks_of(kind, RUNS) == []


class TestTheMeasure:
    """What it finds: anything that each run keeps, and nothing else."""

    def test_memory(self) -> None:
        kept: list[bytes] = []
        way = Way("keep", lambda: kept.append(bytes(100)))
        (found,) = leaks.leaks_of(Kind("k", [Way("none", list), way], ()), RUNS)
        assert found.startswith("keep: ")

    def test_references_of_an_argument(self) -> None:
        argument = object()
        kept: list[object] = [None] * 1000
        numbers = itertools.count()

        def keep() -> None:
            kept[next(numbers)] = argument

        assert leaks.leaks_of(Kind("k", [Way("keep", keep)], (argument,)), RUNS)

    def test_what_is_kept_once_is_no_leak(self) -> None:
        kept: dict[str, bytes] = {}
        way = Way("keep", lambda: kept.setdefault("first", bytes(100_000)))
        assert leaks.leaks_of(Kind("k", [way], ()), RUNS) == []
