"""What the benchmarks encode, decode and hash: the same on every run, from a fixed seed.

Keys have 20 bytes and values 100, unless a row says otherwise. The offsets that the bare
references get come from these sizes alone; no decoder is asked.
"""

from __future__ import annotations

import random
from array import array
from itertools import accumulate, chain, pairwise

from hotrod_codec import IteratedEntry, Metadata, encode_response

KEY, VALUE = 20, 100
CHUNK = 64 * 1024
VERSION = "4.1"
MESSAGE_ID = 300  # two bytes on the wire, as most ids of a connection that lives

_random = random.Random(20_100)


def blobs(count: int, size: int) -> list[bytes]:
    """Random bytes, `count` times `size`."""
    return [_random.randbytes(size) for _ in range(count)]


def pairs(count: int) -> list[tuple[bytes, bytes]]:
    """Entries of a cache."""
    return list(zip(blobs(count, KEY), blobs(count, VALUE), strict=True))


def bulk_response(entries: list[tuple[bytes, bytes]]) -> bytes:
    """The answer to a bulkGet."""
    return encode_response("bulk_get", version=VERSION, message_id=MESSAGE_ID, entries=entries)


def bulk_offsets(frame: bytes, count: int) -> array[int]:
    """Start and length of key and value of each entry in a bulk_response."""
    return list_offsets(frame[:-1], count, 1)  # "more" before each, an end mark behind the last


def iteration_response(entries: list[tuple[bytes, bytes]]) -> bytes:
    """The answer to an iterationNext that asked for metadata: entries with a lifespan."""
    return encode_response(
        "iteration_next",
        version=VERSION,
        message_id=MESSAGE_ID,
        finished_segments=[1],
        entries=[
            IteratedEntry(key, (value,), Metadata(i, 1_700_000_000_000 + i, 3600))
            for i, (key, value) in enumerate(entries)
        ],
    )


def get_all_response(entries: list[tuple[bytes, bytes]]) -> bytes:
    """The answer to a getAll."""
    return encode_response("get_all", version=VERSION, message_id=MESSAGE_ID, entries=entries)


def list_offsets(frame: bytes, count: int, head: int) -> array[int]:
    """Start and length of key and value of each entry in a response that ends with them; `head`
    bytes stand before the key's length in each, and nothing behind the last.
    """
    entry = head + 1 + KEY + 1 + VALUE
    first = len(frame) - count * entry
    return array(
        "q",
        chain.from_iterable(
            (at + head + 1, KEY, at + head + 1 + KEY + 1, VALUE)
            for at in range(first, first + count * entry, entry)
        ),
    )


def get_response(message_id: int, value: bytes) -> bytes:
    """The answer to a get."""
    return encode_response("get", version=VERSION, message_id=message_id, value=value)


def stream_offsets(frames: list[bytes]) -> array[int]:
    """Start and length of the value that ends each frame, in all frames joined."""
    ends = accumulate(map(len, frames))
    return array("q", chain.from_iterable((end - VALUE, VALUE) for end in ends))


def chunks(stream: bytes, size: int = CHUNK) -> list[bytes]:
    """The stream in pieces, as a socket would give them."""
    bounds = [*range(0, len(stream), size), len(stream)]
    return [stream[first:last] for first, last in pairwise(bounds)]
