"""Hashing keys.

No library has Infinispan's variant of MurmurHash3: the peer computes the published one of the same
width, so its results differ and only their number is compared. The bare references make the int,
or fill the array, with what is known beforehand.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.conftest import Compare, Reference
from bench.inputs import KEY, blobs
from hotrod_codec import murmur3, segments_of

COUNT, SEGMENTS, SEED = 10_000, 256, 9001


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
