"""Taking responses out of a stream that arrives in pieces.

The peers' messages hold the same parts (msgpack: kind, message id, status, value) or less (hiredis:
the value). They need not be told what was asked; a Hot Rod reader must be: one row leaves the
telling out of the time, the other counts it in. The bare reference makes the list of values from
the stream in one piece.
"""

from __future__ import annotations

from typing import Any

from bench.conftest import Compare, Reference
from bench.inputs import VALUE, VERSION, blobs, chunks, get_response, stream_offsets
from hotrod_codec import Reader, RequestContext, Response

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


def test_expect_and_read_10000_get_responses(compare: Compare, bare: Any) -> None:
    frames = [get_response(i, value) for i, value in enumerate(blobs(COUNT, VALUE), start=1)]
    compare(
        "read_ours(expecting(context), ours)",
        {"bare": Reference("slices(stream, offsets)", lambda ours, b: values_of(ours) == b)},
        {
            "read_ours": read_ours,
            "expecting": expecting,
            "context": RequestContext("get", VERSION),
            "ours": chunks(b"".join(frames)),
            "slices": bare.slices,
            "stream": b"".join(frames),
            "offsets": stream_offsets(frames),
        },
        held=True,
    )
