"""Decoding answers of many entries.

The bare reference makes the same objects from offsets: each tuple already out of the collector's
sight, as it holds nothing but bytes. One collection of the youngest generation counts on each side,
while the result is alive. msgpack gets an array of pairs and gives tuples, or a map and gives a
dict; marshal gets a list of tuples.

Columns are compared with a copy of the frame: what a protocol costs that need not be read.
"""

from __future__ import annotations

import marshal
from functools import cache
from typing import Any

from bench.conftest import Compare, Reference
from bench.inputs import (
    VERSION,
    bulk_offsets,
    bulk_response,
    get_all_response,
    iteration_response,
    list_offsets,
    pairs,
)
from hotrod_codec import RequestContext, decode_response

COUNT, FEW, MILLION = 10_000, 100, 1_000_000
METADATA = 1 + 1 + 8 + 2 + 8  # "has metadata", flags, created, lifespan, version


def names_of(count: int, bare: Any, msgpack: Any) -> dict[str, Any]:
    entries = pairs(count)
    frame = bulk_response(entries)
    return {
        "decode_response": decode_response,
        "frame": frame,
        "context": RequestContext("bulk_get", VERSION),
        "pairs": bare.pairs,
        "make_dict": bare.dict,
        "lists": bare.lists,
        "copy": bare.copy,
        "offsets": bulk_offsets(frame, count),
        "unpackb": msgpack.unpackb,
        "packed": msgpack.packb(entries),
        "loads": marshal.loads,
        "marshalled": marshal.dumps(entries, 2),
    }


@cache
def million(bare: Any, msgpack: Any) -> dict[str, Any]:
    return names_of(MILLION, bare, msgpack)


MSGPACK = Reference("unpackb(packed, use_list=False)", lambda ours, m: tuple(ours) == m)
PAIRS = {
    "bare": Reference("pairs(frame, offsets)"),
    "msgpack": MSGPACK,
    "marshal": Reference("loads(marshalled)"),
}


def test_bulk_get_10000_to_pairs(compare: Compare, bare: Any, msgpack: Any) -> None:
    names = names_of(COUNT, bare, msgpack)
    compare("decode_response(frame, context).entries", PAIRS, names, held=True)


def test_bulk_get_1000000_to_pairs(compare: Compare, bare: Any, msgpack: Any) -> None:
    names = million(bare, msgpack)
    compare("decode_response(frame, context).entries", PAIRS, names, held=True)


def test_bulk_get_10000_to_dict(compare: Compare, bare: Any, msgpack: Any) -> None:
    names = names_of(COUNT, bare, msgpack)
    names["packed"] = msgpack.packb(dict(msgpack.unpackb(names["packed"])))
    compare(
        "decode_response(frame, context, into='dict').entries",
        {"bare": Reference("make_dict(frame, offsets)"), "msgpack": Reference("unpackb(packed)")},
        names,
        held=True,
    )


def test_bulk_get_10000_to_lists(compare: Compare, bare: Any, msgpack: Any) -> None:
    compare(
        "decode_response(frame, context, into='lists').entries",
        {"bare": Reference("lists(frame, offsets)")},
        names_of(COUNT, bare, msgpack),
        held=True,
    )


def same_size(ours: Any, theirs: Any) -> bool:
    return len(ours.keys.buffer) == len(theirs)


def test_bulk_get_10000_to_columns(compare: Compare, bare: Any, msgpack: Any) -> None:
    compare(
        "decode_response(frame, context, into='batch').entries",
        {"copy": Reference("copy(frame)", same_size)},
        names_of(COUNT, bare, msgpack),
    )


def test_bulk_get_10000_to_columns_of_their_own(compare: Compare, bare: Any, msgpack: Any) -> None:
    """From memory that may change: the bytes have to be copied as well."""
    names = names_of(COUNT, bare, msgpack)
    names["view"] = memoryview(names["frame"])
    compare(
        "decode_response(view, context, into='batch').entries",
        {"copy": Reference("copy(frame)", lambda ours, b: len(ours.keys.buffer) <= len(b))},
        names,
    )


def test_bulk_get_1000000_to_columns(compare: Compare, bare: Any, msgpack: Any) -> None:
    compare(
        "decode_response(frame, context, into='batch').entries",
        {
            "list": Reference(
                "decode_response(frame, context).entries", lambda ours, b: len(ours) == len(b)
            ),
            "copy": Reference("copy(frame)", same_size),
        },
        million(bare, msgpack),
    )


def test_get_all_100_to_dict(compare: Compare, bare: Any) -> None:
    frame = get_all_response(pairs(FEW))
    compare(
        "decode_response(frame, context, into='dict').entries",
        {"bare": Reference("make_dict(frame, offsets)")},
        {
            "decode_response": decode_response,
            "frame": frame,
            "context": RequestContext("get_all", VERSION),
            "make_dict": bare.dict,
            "offsets": list_offsets(frame, FEW, 0),
        },
    )


def test_iteration_next_10000_with_metadata(compare: Compare, bare: Any) -> None:
    """Entries that hold their metadata, compared with pairs that hold none."""
    frame = iteration_response(pairs(COUNT))
    compare(
        "decode_response(frame, context).entries",
        {
            "bare": Reference(
                "pairs(frame, offsets)", lambda ours, b: [(e.key, e.value) for e in ours] == b
            )
        },
        {
            "decode_response": decode_response,
            "frame": frame,
            "context": RequestContext("iteration_next", VERSION),
            "pairs": bare.pairs,
            "offsets": list_offsets(frame, COUNT, METADATA),
        },
        held=True,
    )
