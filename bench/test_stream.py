"""Taking responses out of a stream that arrives in pieces.

The peers' messages hold the same parts (msgpack: kind, message id, status, value) or less (hiredis:
the value). They need not be told what was asked; a Hot Rod reader must be: one row leaves the
telling out of the time, the others count it in, as a loop of expect() or one expect_many(). The
bare reference makes the list of values from the stream in one piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.conftest import Compare, Reference
from bench.inputs import (
    MESSAGE_ID,
    VALUE,
    VERSION,
    blobs,
    bulk_response,
    chunks,
    get_response,
    pairs,
    stream_offsets,
)
from hotrod_codec import EntryBatch, Reader, RequestContext, Response, decode_response

COUNT = 10_000


def read_ours(reader: Reader, pieces: list[bytes]) -> list[Any]:
    out: list[Any] = []
    for piece in pieces:
        reader.feed(piece)
        out.extend(reader)
    return out


def read_msgpack(unpacker: Any, pieces: list[bytes]) -> list[Any]:
    out: list[Any] = []
    for piece in pieces:
        unpacker.feed(piece)
        out.extend(unpacker)
    return out


def read_hiredis(reader: Any, pieces: list[bytes]) -> list[Any]:
    out: list[Any] = []
    for piece in pieces:
        reader.feed(piece)
        out.extend(iter(reader.gets, False))
    return out


def expecting(context: RequestContext) -> Reader:
    """A reader that waits for the answers to all requests."""
    reader = Reader()
    for message_id in range(1, COUNT + 1):
        reader.expect(context, message_id)
    return reader


def expecting_many(context: RequestContext) -> Reader:
    """The same in one call."""
    reader = Reader()
    reader.expect_many(context, 1, COUNT)
    return reader


def values_of(responses: list[Response]) -> list[bytes]:
    return [response.value for response in responses]


def test_read_10000_get_responses(compare: Compare, bare: Any, msgpack: Any, hiredis: Any) -> None:
    values = blobs(COUNT, VALUE)
    frames = [get_response(i, value) for i, value in enumerate(values, start=1)]
    packed = b"".join(msgpack.packb((1, i, 0, v)) for i, v in enumerate(values, start=1))
    resp = b"".join(b"$%d\r\n%b\r\n" % (len(value), value) for value in values)
    compare(
        "read_ours(reader, ours)",
        {
            "bare": Reference("slices(stream, offsets)", lambda ours, b: values_of(ours) == b),
            "msgpack": Reference(
                "read_msgpack(Unpacker(use_list=False), packed)",
                lambda ours, theirs: [(1, r.message_id, r.status, r.value) for r in ours] == theirs,
            ),
            "hiredis": Reference(
                "read_hiredis(RespReader(), resp)",
                lambda ours, theirs: values_of(ours) == theirs,
            ),
        },
        {
            "read_ours": read_ours,
            "expecting": expecting,
            "context": RequestContext("get", VERSION),
            "ours": chunks(b"".join(frames)),
            "slices": bare.slices,
            "stream": b"".join(frames),
            "offsets": stream_offsets(frames),
            "read_msgpack": read_msgpack,
            "Unpacker": msgpack.Unpacker,
            "packed": chunks(packed),
            "read_hiredis": read_hiredis,
            "RespReader": hiredis.Reader,
            "resp": chunks(resp),
        },
        setup="reader = expecting(context)",
        held=True,
    )


def compare_expecting(
    compare: Compare, bare: Any, ours: str, values: Callable[[list[Any]], list[Any]]
) -> None:
    """`values` gives the values of what `ours` makes."""
    frames = [get_response(i, value) for i, value in enumerate(blobs(COUNT, VALUE), start=1)]
    compare(
        ours,
        {"bare": Reference("slices(stream, offsets)", lambda ours, b: values(ours) == b)},
        {
            "read_ours": read_ours,
            "read_values": read_values,
            "expecting": expecting,
            "expecting_many": expecting_many,
            "context": RequestContext("get", VERSION),
            "ours": chunks(b"".join(frames)),
            "slices": bare.slices,
            "stream": b"".join(frames),
            "offsets": stream_offsets(frames),
        },
        held=True,
    )


def test_expect_and_read_10000_get_responses(compare: Compare, bare: Any) -> None:
    compare_expecting(compare, bare, "read_ours(expecting(context), ours)", values_of)


def test_expect_many_and_read_10000_get_responses(compare: Compare, bare: Any) -> None:
    compare_expecting(compare, bare, "read_ours(expecting_many(context), ours)", values_of)


def read_list(context: RequestContext, pieces: list[bytes]) -> Any:
    reader = Reader()
    reader.expect(context, MESSAGE_ID)
    message = None
    for piece in pieces:
        reader.feed(piece)
        message = reader.next()
    return message.entries if message is not None else None


def read_batches(context: RequestContext, pieces: list[bytes]) -> int:
    """Objects of one batch at a time; the number of all."""
    reader = Reader()
    reader.expect(context, MESSAGE_ID, into="batches")
    count = 0
    for piece in pieces:
        reader.feed(piece)
        for message in reader:
            if type(message) is EntryBatch:
                count += len(message.to_list())
    return count


def test_bulk_get_100000_in_chunks(compare: Compare) -> None:
    frame = bulk_response(pairs(10 * COUNT))
    compare(
        "read_list(context, pieces)",
        {"whole": Reference("decode_response(frame, context).entries")},
        {
            "read_list": read_list,
            "decode_response": decode_response,
            "context": RequestContext("bulk_get", VERSION),
            "frame": frame,
            "pieces": chunks(frame),
        },
        held=True,
    )


def decode_times(times: int, frame: bytes, context: RequestContext) -> int:
    count = 0
    for _ in range(times):
        response = decode_response(frame, context)
        assert response is not None
        count += len(response.entries)
    return count


def test_bulk_get_1000000_batch_by_batch(compare: Compare) -> None:
    """As many entries as a hundred answers of 10,000 have, whose lists are made one by one."""
    compare(
        "read_batches(context, pieces)",
        {"lists": Reference("decode_times(100, frame, context)")},
        {
            "read_batches": read_batches,
            "decode_times": decode_times,
            "context": RequestContext("bulk_get", VERSION),
            "frame": bulk_response(pairs(COUNT)),
            "pieces": chunks(bulk_response(pairs(100 * COUNT))),
        },
    )


def read_values(reader: Reader, pieces: list[bytes]) -> list[Any]:
    values: list[Any] = [None] * COUNT
    for piece in pieces:
        reader.feed(piece)
        reader.next_values(values, 1, COUNT)
        while (message := reader.next()) is not None:  # one that lies in two pieces
            values[message.message_id - 1] = message.value
            reader.next_values(values, 1, COUNT)
    return values


def test_next_values_of_10000_get_responses(compare: Compare, bare: Any) -> None:
    compare_expecting(compare, bare, "read_values(expecting_many(context), ours)", list)
