"""KeySet against a plain set."""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np
import pytest

from hotrod_codec import segments_of
from hotrod_codec._ext.keyset import KeySet


def new_ones(keys: list[bytes], seen: set[bytes]) -> list[int]:
    places = []
    for i, key in enumerate(keys):
        if key not in seen:
            seen.add(key)
            places.append(i)
    return places


def added(found: list[int] | None, keys: list[bytes]) -> list[int]:
    return list(range(len(keys))) if found is None else found


@pytest.mark.parametrize("seed", range(5))
def test_many_keys(seed: int) -> None:
    """Of all lengths, often the same, in batches of all lengths."""
    rng = random.Random(seed)
    keys, seen = KeySet(0), set[bytes]()
    different = rng.choice([10, 3_000, 50_000])
    for _ in range(60):
        batch = [
            b"%d" % rng.randrange(different) * rng.choice([1, 1, 1, 30])
            for _ in range(rng.choice([0, 1, 63, 64, 65, 500, 3_000]))
        ]
        assert added(keys.add(batch), batch) == new_ones(batch, seen)
        assert len(keys) == len(seen)


def test_none_if_all_are_new() -> None:
    keys = KeySet(0)
    assert keys.add([]) is None
    assert keys.add([b"", b"a", b"a\0", b"\0a"]) is None
    assert keys.add([b"b", b"a", b"c", b"c", b""]) == [0, 2]
    assert keys.add([b"a"]) == []


def test_long_keys() -> None:
    keys = KeySet(0)
    long = [bytes([i]) * 1_000_000 for i in range(5)]
    assert keys.add(long) is None
    assert keys.add([*long, long[0] + b"x"]) == [5]


@pytest.mark.parametrize("num_segments", [1, 7, 256])
def test_finished_segments_are_forgotten(num_segments: int) -> None:
    rng = random.Random(num_segments)
    keys, seen = KeySet(num_segments), set[bytes]()
    left = set(range(num_segments))
    for turn in range(100):
        batch = [b"%d" % rng.randrange(100_000) for _ in range(500)]
        segments = segments_of(batch, num_segments)
        still = [i for i, segment in enumerate(segments) if segment in left]
        batch = [batch[i] for i in still]
        assert added(keys.add(batch, segments[still]), batch) == new_ones(batch, seen)
        done = set(rng.sample(sorted(left), min(len(left), rng.choice([0, 1, 5]))))
        keys.finish([*done, *done, num_segments, 10**30])
        left -= done
        seen = {key for key in seen if segments_of([key], num_segments)[0] in left}
        assert len(seen) <= len(keys) <= 2 * len(seen), turn
    keys.finish(left)
    assert len(keys) == 0


def test_keys_of_a_finished_segment_do_not_stay() -> None:
    keys = KeySet(2)
    keys.finish([1])
    for i in range(100):
        batch = [b"%d" % (1000 * i + n) for n in range(1000)]
        assert keys.add(batch, np.ones(1000, np.int32)) is None
        keys.finish([])
        assert len(keys) == 0


def test_key_objects_are_let_go_of() -> None:
    keys, key = KeySet(0), bytes([1, 2, 3])
    before = sys.getrefcount(key)
    assert keys.add([key]) is None
    assert keys.add([key]) == []
    assert sys.getrefcount(key) == before


BAD: dict[str, tuple[type[Exception], Any]] = {
    "no list": (TypeError, lambda: KeySet(0).add((b"a",))),  # type: ignore[arg-type]
    "no bytes": (TypeError, lambda: KeySet(0).add([b"a", "b"])),  # type: ignore[list-item]
    "less than none": (ValueError, lambda: KeySet(-1)),
    "too many segments": (OverflowError, lambda: KeySet(2**31)),
    "no segments": (TypeError, lambda: KeySet(1).add([b"a"])),
    "few segments": (ValueError, lambda: KeySet(1).add([b"a"], np.zeros(0, np.int32))),
    "wide segments": (ValueError, lambda: KeySet(1).add([b"a"], np.zeros(1, np.int64))),
    "a segment that is none": (ValueError, lambda: KeySet(1).add([b"a"], np.ones(1, np.int32))),
    "a segment below": (ValueError, lambda: KeySet(1).add([b"a"], -np.ones(1, np.int32))),
    "no number": (TypeError, lambda: KeySet(1).finish(["a"])),  # type: ignore[list-item]
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name: str) -> None:
    error, call = BAD[name]
    with pytest.raises(error):
        call()
