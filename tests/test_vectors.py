"""The package against what real clients and servers said: every recorded frame of an operation
that it knows is decoded to the recorded fields and encoded back to the recorded bytes.

The oracle's own proof (test_reference.py) ties its dicts to the fields in the recording; here the
package is tied to the oracle and to the bytes.
"""

from __future__ import annotations

import functools
import random
from typing import Any, ClassVar

import pytest

import forms
import hotrod_codec
import reference
import test_reference
import vector_data
from hotrod_codec import DecodeError, Op, Reader, Request, RequestContext, Response
from test_reference import WITH_EMPTY_ENTRY, Frame

AREAS = vector_data.areas()

# All frames that the oracle reads, in all areas.
PASSED = {"requests": 8294, "responses": 10018}

# Recorded frames in a form that encoding would not write: kept as they came.
NOT_CANONICAL = {
    "kv-1.0-s021": "lifespan -1 as an unsigned number, as clients before 2.2 say immortal",
    "kv-1.1-s021": "the same",
    "kv-1.2-s026": "the same",
    "kv-1.3-s022": "the same",
    "kv-2.0-s033": "the same",
    "kv-2.0-s048": "the same",
    "kv-2.0-s049": "the same",
    "kv-2.1-s034": "the same",
    "kv-2.1-s049": "the same",
}


def refused_login(frame: Frame) -> bool:
    """Servers say so under the opcode of AUTH, not that of errors; the other form not written."""
    return frame.request is not None and (
        frame.message["error"] is not None and frame.message["opcode"] != reference.ERROR_OPCODE
    )


frames_of = test_reference.frames_of


def context_of(frame: Frame) -> RequestContext:
    """The context of a response: of its request, or of any for events and unmatched errors."""
    request = frame.request or {}
    return RequestContext(
        request.get("op", "PING"),
        request.get("version", 41),
        request.get("flags", 0),
        request.get("intelligence", 1),
    )


def decode(frame: Frame, data: bytes) -> Request | Response | None:
    if frame.request is None:
        return hotrod_codec.decode_request(data)
    return hotrod_codec.decode_response(data, context_of(frame), legacy_server=frame.legacy_server)


def whole(frame: Frame) -> Any:
    message = decode(frame, frame.data)
    assert message is not None, frame.vector.id
    assert message.size == len(frame.data), frame.vector.id
    return message


@pytest.mark.parametrize("area", AREAS)
def test_every_frame_has_its_fields(area: str) -> None:
    for frame in frames_of(area):
        message = whole(frame)
        if frame.request is None:
            assert forms.request_form(message) == forms.oracle_request(frame.message)
        else:
            expected = forms.oracle_response(frame.message, frame.request.get("version", 41))
            if not frame.request and expected["error"]:
                expected["op"] = "PING"  # what `context_of` says for want of a request
            assert forms.response_form(message) == expected, frame.vector.id


@pytest.mark.parametrize("area", AREAS)
def test_every_frame_is_encoded_as_it_was(area: str) -> None:
    for frame in frames_of(area):
        message = whole(frame)
        assert message.encode() == frame.data, frame.vector.id
        kept = NOT_CANONICAL if frame.request is None else WITH_EMPTY_ENTRY
        odd = frame.vector.id in kept
        assert message.canonical is not (odd or refused_login(frame)), frame.vector.id


@pytest.mark.parametrize("area", AREAS)
def test_the_public_encoders_write_the_same_from_the_fields(area: str) -> None:
    """Not through what the message remembers, but from its attributes alone."""
    for frame in frames_of(area):
        message = whole(frame)
        if message.canonical and message.op is not None and exists(message.op, message.version):
            assert forms.encode(message) == frame.data, frame.vector.id


@functools.cache
def exists(op: Op, version: int) -> bool:
    """Servers do not check it, and some recorded requests are older than their operation."""
    layout = hotrod_codec.layout(op)
    return layout.since <= version <= layout.until


def test_how_many() -> None:
    frames = [frame for area in AREAS for frame in frames_of(area)]
    requests = sum(frame.request is None for frame in frames)
    assert {"requests": requests, "responses": len(frames) - requests} == PASSED


@pytest.mark.parametrize("area", AREAS)
def test_every_proper_prefix_asks_for_more(area: str) -> None:
    for frame in frames_of(area):
        size = len(frame.data)
        # Long frames: every place at the start and the end, some between.
        cuts = range(size) if size <= 400 else [*range(150), *range(150, size, 97), size - 1]
        for cut in cuts:
            assert decode(frame, frame.data[:cut]) is None, (frame.vector.id, cut)


@pytest.mark.parametrize("area", AREAS)
def test_byte_by_byte_and_at_random_splits(area: str) -> None:
    splits = random.Random(area)
    for frame in frames_of(area):
        expected = whole(frame)
        for most in (1, 40, 4096):
            reader = Reader(
                "server" if frame.request is None else "client",
                legacy_server=frame.legacy_server,
            )
            if frame.request is not None:
                reader.expect(context_of(frame), expected.message_id)
            at = 0
            while at < len(frame.data):
                assert reader.next() is None
                step = splits.randint(1, most)
                reader.feed(frame.data[at : at + step])
                at += step
            message: Any = reader.next()
            assert message == expected, frame.vector.id
            assert message.size == expected.size
            assert reader.next() is None
            assert reader.buffered == 0


def test_what_a_server_of_9_4_leaves_out() -> None:
    """decisions.md: short previous values. Shown by a vector of version 1.3."""
    (vector,) = (v for v in vector_data.load("kv") if v.id == "kv-1.3-s035")
    assert vector.op == "PUT_IF_ABSENT"
    assert vector.request
    assert vector.response
    request = hotrod_codec.decode_request(vector.request)
    assert request is not None
    assert request.flags == hotrod_codec.Flag.FORCE_RETURN_VALUE
    # As the protocol has it, the length of the previous value is still to come ...
    assert hotrod_codec.decode_response(vector.response, request) is None
    # ... and this server never sends it.
    response = hotrod_codec.decode_response(vector.response, request, legacy_server=True)
    assert response is not None
    assert response.size == len(vector.response)
    assert response.previous is None
    assert response.encode() == vector.response


class TestWrongRequests:
    """Requests that were sent to servers to see what they do: here they are refused, or asked to
    go on, and the error says where."""

    EXPECTED: ClassVar[dict[str, str]] = {
        "an unknown opcode and then a good request on the same connection": "opcode",
        "key length -1 (five-byte varint)": "key",
        "key length: a varint that never ends": "key",
        "magic 0x00 (looks like another protocol)": "magic",
        "magic 0xA2": "magic",
        "media type definition 3": "media type",
        "message id: a varint that never ends": "message id",
        "opcode 0x04 (a response opcode)": "opcode",
        "opcode 0x45 (not assigned)": "opcode",
        "time unit 9 (not assigned)": "time units",
        "weak and bounded at once (flags 3)": "counter flags",
    }

    def vectors(self) -> list[vector_data.Vector]:
        return [
            vector
            for vector in vector_data.load("raw-error")
            if vector.note in test_reference.REFUSED
        ]

    def test_each_is_refused_as_the_oracle_does(self) -> None:
        refused = waiting = 0
        for vector in self.vectors():
            assert vector.request is not None
            if vector.note.startswith("truncated"):
                assert hotrod_codec.decode_request(vector.request) is None
                waiting += 1
                continue
            if vector.note == "key length 2^31-1":  # legal, but nobody means it
                with pytest.raises(hotrod_codec.LimitError, match="Limits"):
                    hotrod_codec.decode_request(vector.request)
                most = hotrod_codec.Limits(bytes=2**31 - 1)
                assert hotrod_codec.decode_request(vector.request, limits=most) is None
                waiting += 1
                continue
            with pytest.raises(DecodeError) as caught:
                hotrod_codec.decode_request(vector.request)
            field = self.EXPECTED.get(vector.note, "version")
            assert field in caught.value.field, vector.note
            assert 0 <= caught.value.offset < len(vector.request)
            refused += 1
        assert (refused, waiting) == (122, 4)


@pytest.mark.parametrize("stream", vector_data.streams(), ids=lambda s: s.path.stem)
def test_recorded_streams_in_any_chunks(stream: vector_data.Stream) -> None:
    sent, received = stream.sent(vector_data.TO_SERVER), stream.sent(vector_data.TO_CLIENT)
    server = Reader("server")
    server.feed(sent)
    requests = list(server)
    assert server.buffered == 0
    assert b"".join(request.encode() for request in requests) == sent

    def messages(chunks: list[bytes]) -> list[Any]:
        reader = Reader()
        for request in requests:
            reader.expect(request)
        found = []
        for chunk in chunks:
            reader.feed(chunk)
            found += list(reader)
        assert reader.buffered == 0
        return found

    as_recorded = [r.data for r in stream.records if r.direction == vector_data.TO_CLIENT]
    expected = messages(as_recorded)
    assert len(expected) == stream.responses
    assert sum(message.size for message in expected) == len(received)
    assert b"".join(message.encode() for message in expected) == received
    for size in (1, 7, 1448, 65536, len(received)):
        chunks = [received[i : i + size] for i in range(0, len(received), size)]
        assert messages(chunks) == expected
