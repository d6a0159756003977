"""Hashing keys.

No library has Infinispan's variant of MurmurHash3: the peer computes the published one of the same
width, so its results differ and only their number is compared. The bare references make the int,
or fill the array, with what is known beforehand.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np

from bench.conftest import Compare, Reference
from bench.inputs import KEY, blobs
from hotrod_codec import murmur3, segments_of, split_by_owner

COUNT, MILLION, SEGMENTS, SEED = 10_000, 1_000_000, 256, 9001


def test_murmur3_of_one_key(compare: Compare, bare: Any, mmh3: Any) -> None:
    key = blobs(1, KEY)[0]
    compare(
        "murmur3(key)",
        {
            "bare": Reference("integer(known)"),
            "mmh3": Reference("digest(key, seed)", lambda _, digest: len(digest) == 16),
        },
        {
            "murmur3": murmur3,
            "key": key,
            "integer": bare.integer,
            "known": murmur3(key),
            "digest": mmh3.mmh3_x64_128_digest,
            "seed": SEED,
        },
    )


def test_segments_of_10000_keys(compare: Compare, bare: Any, mmh3: Any) -> None:
    keys = blobs(COUNT, KEY)
    compare(
        "segments_of(keys, segments)",
        {
            "bare": Reference("int32s(keys, known, empty(len(keys), int32))", np.array_equal),
            "mmh3": Reference(
                "[digest(key, seed) for key in keys]",
                lambda ours, digests: len(ours) == len(digests),
            ),
        },
        {
            "segments_of": segments_of,
            "keys": keys,
            "segments": SEGMENTS,
            "int32s": bare.int32s,
            "known": segments_of(keys, SEGMENTS),
            "empty": np.empty,
            "int32": np.int32,
            "digest": mmh3.mmh3_x64_128_digest,
            "seed": SEED,
        },
    )


def same_length(ours: Any, theirs: Any) -> bool:
    return len(ours) == len(theirs)


@cache
def keys_of(count: int) -> list[bytes]:
    return blobs(count, KEY)


@cache
def two_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2)


MMH3_LOOP = Reference("[digest(key, seed) for key in keys]", same_length)


def names_of(count: int, mmh3: Any) -> dict[str, Any]:
    keys = keys_of(count)
    return {
        "segments_of": segments_of,
        "segments": SEGMENTS,
        "keys": keys,
        "columns": (b"".join(keys), np.arange(count + 1) * KEY),
        "digest": mmh3.mmh3_x64_128_digest,
        "seed": SEED,
    }


def test_segments_of_1000000_keys(compare: Compare, mmh3: Any) -> None:
    compare("segments_of(keys, segments)", {"mmh3": MMH3_LOOP}, names_of(MILLION, mmh3))


def test_segments_of_1000000_keys_in_columns(compare: Compare, mmh3: Any) -> None:
    compare("segments_of(columns, segments)", {"mmh3": MMH3_LOOP}, names_of(MILLION, mmh3))


def test_segments_of_columns_in_two_threads(compare: Compare, mmh3: Any) -> None:
    """Twice the same work: wants two processors that nobody else uses."""
    names = names_of(MILLION, mmh3)
    compare(
        "list(in_threads(segments_of, twice, counts))",
        {"one thread": Reference("list(map(segments_of, twice, counts))", same_length)},
        names
        | {
            "in_threads": two_threads().map,
            "twice": [names["columns"]] * 2,
            "counts": [SEGMENTS] * 2,
        },
    )


def test_split_10000_keys_by_owner(compare: Compare, mmh3: Any) -> None:
    names = names_of(COUNT, mmh3)
    compare(
        "split_by_owner(keys, owners)",
        {"segments_of": Reference("segments_of(keys, segments)", lambda ours, _: len(ours) == 3)},
        names
        | {
            "split_by_owner": split_by_owner,
            "owners": np.arange(SEGMENTS, dtype=np.int32) % 3,
        },
    )
