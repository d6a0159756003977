"""The Reader beyond what every row shows: who may answer what, its memory, its failures."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest

import vector_data
from hotrod_codec import (
    DecodeError,
    Event,
    LimitError,
    Limits,
    Op,
    Reader,
    Request,
    RequestContext,
    Status,
    decode_request,
    encode_request,
    encode_response,
)

GET = RequestContext("get", "3.1")


def answer(message_id: int, value: bytes = b"v", **keywords: Any) -> bytes:
    return encode_response("get", version="3.1", message_id=message_id, value=value, **keywords)


def expecting(*message_ids: int, **keywords: Any) -> Reader:
    reader = Reader(**keywords)
    for message_id in message_ids:
        reader.expect(GET, message_id)
    return reader


class TestMatching:
    def test_answers_in_any_order(self) -> None:
        reader = expecting(1, 2, 2**64 - 1)
        assert reader.pending_requests == 3
        reader.feed(answer(2**64 - 1, b"c") + answer(1, b"a") + answer(2, b"b"))
        assert [message.value for message in reader] == [b"c", b"a", b"b"]
        assert reader.pending_requests == 0

    def test_a_request_brings_its_own_id(self) -> None:
        request = decode_request(encode_request("get", version="3.1", message_id=7, key=b"k"))
        assert request is not None
        reader = Reader()
        reader.expect(request)
        reader.feed(answer(7))
        assert next(reader).op is Op.GET

    def test_an_answer_that_nobody_asked_for(self) -> None:
        reader = expecting(1)
        reader.feed(answer(1))
        assert next(reader).value == b"v"
        reader.feed(answer(1))
        with pytest.raises(DecodeError, match=r"GET response.* to message 1, which waits for no"):
            reader.next()

    def test_an_event_with_the_id_of_a_request(self) -> None:
        """Servers of 7.x count event ids up from 1: the code comes before the id."""
        event = encode_response(
            "cache_entry_removed", version="2.0", message_id=1, listener_id=b"l", key=b"k"
        )
        reader = Reader()
        reader.expect(RequestContext("get", "2.0"), 1)
        reader.feed(event + encode_response("get", version="2.0", message_id=1, value=b"v"))
        first, second = list(reader)
        assert isinstance(first, Event)
        assert first.key == b"k"
        assert second.value == b"v"

    def test_an_error_without_a_request(self) -> None:
        """Servers answer what they cannot read with message id 0."""
        reader = expecting(5)
        error = encode_response("ping", status=0x81, error="Bad magic")
        reader.feed(error + answer(5))
        first, second = list(reader)
        assert (first.op, first.status) == (None, Status.INVALID_MAGIC_OR_MESSAGE_ID)
        assert (first.error, first.encode()) == ("Bad magic", error)
        assert "unknown response" in repr(first)
        assert second.message_id == 5

    def test_an_id_may_wait_once(self) -> None:
        reader = expecting(1)
        with pytest.raises(ValueError, match="message_id: 1 waits for its answer already"):
            reader.expect(GET, 1)

    def test_a_context_needs_an_id(self) -> None:
        with pytest.raises(ValueError, match="message_id: a RequestContext has none"):
            Reader().expect(GET)

    def test_roles(self) -> None:
        with pytest.raises(ValueError, match="role: expected 'client' or 'server', got 'x'"):
            Reader("x")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="expects no answers"):
            Reader("server").expect(GET, 1)
        reader = Reader("server")
        reader.feed(encode_request("ping") + encode_request("get", key=b"k"))
        assert [type(m) for m in reader] == [Request, Request]


class TestFailure:
    def test_what_came_before_is_not_lost_and_it_stays_failed(self) -> None:
        reader = expecting(1, 2)
        reader.feed(answer(1) + b"\x00")
        assert next(reader).value == b"v"
        size = len(answer(1))
        for _ in range(2):
            with pytest.raises(DecodeError, match=f"magic at byte {size}: found 0x00") as caught:
                reader.next()
            assert caught.value.offset == size

    def test_offsets_count_from_the_start_of_the_stream(self) -> None:
        reader = Reader()
        reader.expect(RequestContext("bulk_get", "2.0"), 1)
        frame = encode_response("bulk_get", version="2.0", message_id=1, entries=[(b"k", b"v")] * 3)
        broken = frame[:-1] + b"\x07"
        for i in range(len(broken) - 1):
            reader.feed(broken[i : i + 1])
            assert reader.next() is None
        reader.feed(broken[-1:])
        with pytest.raises(DecodeError, match="BULK_GET response: more of item 3") as caught:
            reader.next()
        assert caught.value.offset == len(broken) - 1

    def test_limits_hold_for_lists_that_come_in_pieces(self) -> None:
        reader = Reader(limits=Limits(items=2))
        reader.expect(RequestContext("bulk_get", "2.0"), 1)
        frame = encode_response("bulk_get", version="2.0", message_id=1, entries=[(b"k", b"v")] * 3)
        reader.feed(frame[:12])
        assert reader.next() is None
        reader.feed(frame[12:])
        with pytest.raises(LimitError, match="3 exceeds the limit of 2 for items"):
            reader.next()

    def test_a_padded_length_in_a_list_that_came_in_pieces(self) -> None:
        """The bytes are gone by then: encode() says so instead of writing others."""
        frame = bytes.fromhex("a1 01 1a 00 00  01 01 6b 01 76  01 82 00 6b 6b 01 76  00")
        whole = Reader()
        whole.expect(RequestContext("bulk_get", "2.0"), 1)
        whole.feed(frame)
        message = whole.next()
        assert message.entries == [(b"k", b"v"), (b"kk", b"v")]
        assert not message.canonical
        assert message.encode() == frame
        pieces = Reader()
        pieces.expect(RequestContext("bulk_get", "2.0"), 1)
        pieces.feed(frame[:11])
        assert pieces.next() is None
        pieces.feed(frame[11:])
        message = pieces.next()
        assert message.entries == [(b"k", b"v"), (b"kk", b"v")]
        with pytest.raises(ValueError, match="BULK_GET: it came in pieces"):
            message.encode()


class TestBuffer:
    def test_receiving_into_it(self) -> None:
        reader = expecting(*range(1, 301))
        stream = b"".join(answer(i, bytes(i)) for i in range(1, 301))
        values: list[bytes] = []
        while stream:
            room = reader.buffer(100)
            count = min(len(room), 37, len(stream))
            room[:count] = stream[:count]
            stream = stream[count:]
            reader.commit(count)
            values += [message.value for message in reader]
        assert values == [bytes(i) for i in range(1, 301)]

    def test_a_view_that_is_kept_stays_valid(self) -> None:
        reader = expecting(1)
        frame = answer(1, bytes(200_000))
        views = []
        for i in range(0, len(frame), 5000):
            view = reader.buffer(5000)
            part = frame[i : i + 5000]
            view[: len(part)] = part
            reader.commit(len(part))
            views.append(view)
        assert next(reader).value == bytes(200_000)
        assert bytes(views[0][:5]) == frame[:5]

    def test_commit_is_checked(self) -> None:
        reader = Reader()
        room = len(reader.buffer())
        for count in (-1, room + 1):
            with pytest.raises(ValueError, match="count: "):
                reader.commit(count)

    def test_it_shrinks_back(self) -> None:
        reader = expecting(1)
        reader.feed(answer(1, bytes(8 << 20)))
        assert len(next(reader).value) == 8 << 20
        assert len(reader.buffer()) == 65536

    def test_memory_follows_what_has_arrived_not_what_is_claimed(self) -> None:
        claims = {
            "a value": bytes.fromhex("a1 01 04 00 00 ff ff ff ff 03") + b"v",
            "entries": bytes.fromhex("a1 01 30 00 00 ff ff ff 7f 01 6b 01 76"),
            "servers": bytes.fromhex("a1 01 04 00 01 05 ff ff 3f 01 68 2c22"),
        }
        for name, data in claims.items():
            gc.collect()
            tracemalloc.start()
            reader = Reader()
            op = "get_all" if name == "entries" else "get"
            reader.expect(RequestContext(op, "3.1", 0, 3), 1)
            reader.feed(data)
            for _ in range(20):
                assert reader.next() is None
                reader.feed(b"")
            reader.buffer()
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 500_000, name


def test_the_work_is_linear_in_any_chunks() -> None:
    """Counted, not timed: a list that arrives byte by byte is walked once. Were it read from its
    start for each byte, 600 kB would take 180 thousand million steps and not end here."""
    (stream,) = (s for s in vector_data.streams() if s.path.stem == "bulkget-2.9")
    reader = Reader()
    request = decode_request(stream.sent(vector_data.TO_SERVER))
    assert request is not None
    reader.expect(request)
    received = stream.sent(vector_data.TO_CLIENT)
    for i in range(len(received) - 1):
        reader.feed(received[i : i + 1])
        assert reader.next() is None
    reader.feed(received[-1:])
    assert len(next(reader).entries) == 10_000
