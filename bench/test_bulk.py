"""Decoding answers of many entries.

The bare reference makes the same objects from offsets: each tuple already out of the collector's
sight, as it holds nothing but bytes. One collection of the youngest generation counts on each side,
while the result is alive. The peer gets an array of pairs and gives tuples.
"""

from __future__ import annotations

from typing import Any

from bench.conftest import Compare, Reference
from bench.inputs import VERSION, bulk_offsets, bulk_response, pairs
from hotrod_codec import RequestContext, decode_response

COUNT = 10_000


def test_bulk_get_10000_to_pairs(compare: Compare, bare: Any, msgpack: Any) -> None:
    entries = pairs(COUNT)
    frame = bulk_response(entries)
    compare(
        "decode_response(frame, context).entries",
        {
            "bare": Reference("pairs(frame, offsets)"),
            "msgpack": Reference(
                "unpackb(packed, use_list=False)", lambda ours, theirs: tuple(ours) == theirs
            ),
        },
        {
            "decode_response": decode_response,
            "frame": frame,
            "context": RequestContext("bulk_get", VERSION),
            "pairs": bare.pairs,
            "offsets": bulk_offsets(frame, COUNT),
            "unpackb": msgpack.unpackb,
            "packed": msgpack.packb(entries),
        },
        held=True,
    )
