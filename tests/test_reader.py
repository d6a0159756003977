"""The Reader beyond what every row shows: who may answer what, its memory, its failures."""

from __future__ import annotations

import gc
import random
import sys
import tracemalloc
from typing import Any

import pytest

import vector_data
from hotrod_codec import (
    DecodeError,
    EncodeError,
    EntryBatch,
    Event,
    LimitError,
    Limits,
    Op,
    Reader,
    Request,
    RequestContext,
    Response,
    ServerAddress,
    Status,
    Topology,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)

GET = RequestContext("get", "3.1")
AWARE = RequestContext("get", "3.1", intelligence=2)


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


PUT = RequestContext("put", "3.1")
OUTER_IDS = [0, 1, 7, 8, 63, 64, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1]


class TestEndOfStream:
    """feed_eof: what is whole comes, and a message that was cut is said to be."""

    @pytest.mark.parametrize("into", ["pairs", "batches"])
    def test_at_every_byte_of_answers(self, into: Any) -> None:
        listed = encode_response(
            "get_all", version="3.1", message_id=2, entries=[(b"k" * i, b"v") for i in range(40)]
        )
        frames = [answer(1), listed, answer(3, b"long" * 50_000)]
        ends = [len(frames[0]), len(frames[0] + frames[1]), len(b"".join(frames))]
        stream = b"".join(frames)
        cuts = [*range(ends[1] + 50), ends[2] - 1, ends[2]]
        for cut in cuts:
            reader = expecting(1, 3)
            reader.expect(RequestContext("get_all", "3.1"), 2, into=into)
            reader.feed(stream[:cut])
            reader.feed_eof()
            if cut in (0, *ends):
                assert [m.message_id for m in reader if not isinstance(m, EntryBatch)] == list(
                    range(1, 1 + sum(end <= cut for end in ends))
                )
                assert reader.next() is None
                continue
            with pytest.raises(DecodeError, match="the stream ends in the middle") as caught:
                list(reader)
            assert caught.value.offset == cut
            assert caught.value.op in ("response", "GET_ALL response", "GET response")
            with pytest.raises(DecodeError, match="the stream ends in the middle"):
                reader.next()

    def test_at_every_byte_of_a_request(self) -> None:
        request = encode_request("put", version="4.1", message_id=1, key=b"k", value=b"v" * 300)
        for cut in range(len(request) + 1):
            reader = Reader("server")
            reader.commit(into(reader, request[:cut]))
            reader.feed_eof()
            if cut in (0, len(request)):
                assert len(list(reader)) == (cut > 0)
            else:
                with pytest.raises(DecodeError, match="in the middle"):
                    reader.next()

    def test_nothing_follows(self) -> None:
        reader = expecting(1)
        reader.feed_eof()
        with pytest.raises(ValueError, match="feed_eof"):
            reader.feed(answer(1))
        reader.buffer()
        with pytest.raises(ValueError, match="feed_eof"):
            reader.commit(1)
        assert reader.next() is None
        assert reader.pending_requests == 1

    def test_what_is_wrong_comes_first(self) -> None:
        reader = expecting(1)
        reader.feed(b"\x55\x01")
        reader.feed_eof()
        with pytest.raises(DecodeError, match="magic"):
            reader.next()


def into(reader: Reader, data: bytes) -> int:
    reader.buffer(len(data))[: len(data)] = data
    return len(data)


class TestIds:
    """Which ids wait is kept in two ways: a run of neighbours, and a table for all others."""

    def test_the_ends_of_64_bits(self) -> None:
        for ids in (OUTER_IDS, OUTER_IDS[::-1]):
            reader = expecting(*ids)
            for i in ids:
                with pytest.raises(ValueError, match=f"message_id: {i} waits"):
                    reader.expect(GET, i)
            with pytest.raises(EncodeError, match="message_id: -1 is not within"):
                reader.expect(GET, -1)
            with pytest.raises(EncodeError, match=f"message_id: {2**64} is not within"):
                reader.expect(GET, 2**64)
            reader.feed(b"".join(answer(i, b"%d" % i) for i in sorted(ids)))
            assert [int(m.value) for m in reader] == sorted(ids)
            assert reader.pending_requests == 0

    @pytest.mark.parametrize("step", [1, 2, 8, 4096, 2**40, 2**44 + 1, -1, -8])
    def test_many_in_any_order(self, step: int) -> None:
        ids = [i * step % 2**64 for i in range(5000)]
        order = ids[:]
        random.Random(step).shuffle(order)
        reader = expecting(*ids)
        assert reader.pending_requests == len(ids)
        for i in order:
            reader.feed(answer(i))
            assert next(reader).message_id == i
            reader.feed(b"")
        assert reader.pending_requests == 0
        for i in order:  # each may wait again
            reader.expect(PUT, i)
        assert reader.pending_requests == len(ids)

    def test_each_is_read_against_its_own_request(self) -> None:
        """Neighbours of several operations, versions and flags, answered out of turn."""
        contexts = [
            RequestContext("get", "3.1"),
            RequestContext("put", "1.3", 1),
            RequestContext("put", "1.3"),
            RequestContext("get_with_version", "2.0"),
            RequestContext("ping", "2.9"),
            RequestContext("get", "4.0", intelligence=3),
        ]
        topology = Topology(3, (), hash_version=0, segment_owners=(), num_segments=1)
        fields: list[dict[str, Any]] = [
            {"value": b"v"},
            {"previous": b"p"},
            {},
            {"entry_version": 7, "value": b"v"},
            {},
            {"value": b"v", "topology": topology},
        ]
        draw = random.Random(5)
        which = [draw.randrange(len(contexts)) for _ in range(600)]
        reader = Reader()
        frames = []
        for i, n in enumerate(which):
            reader.expect(contexts[n], i)
            frames.append(
                encode_response(
                    contexts[n].op, version=contexts[n].version, message_id=i, **fields[n]
                )
            )
        order = list(range(600))
        draw.shuffle(order)
        reader.feed(b"".join(frames[i] for i in order))
        messages = list(reader)
        assert [m.message_id for m in messages] == order
        for i, message in zip(order, messages, strict=True):
            assert message == decode_response(frames[i], contexts[which[i]])

    def test_one_late_answer_does_not_hold_the_others(self) -> None:
        reader = Reader()
        reader.expect(GET, 0)
        for i in range(1, 20_000):
            reader.expect(GET, i)
            reader.feed(answer(i))
            assert next(reader).message_id == i
        assert reader.pending_requests == 1
        reader.feed(answer(0))
        assert next(reader).message_id == 0

    def test_ids_that_a_peer_makes_up(self) -> None:
        for made_up in (0, 5, 99, 201, 2**32 + 100, 2**64 - 1):
            reader = expecting(*range(100, 201))
            reader.feed(answer(made_up))
            with pytest.raises(DecodeError, match=f"to message {made_up}, which waits for no"):
                reader.next()

    def test_many_at_once(self) -> None:
        reader = Reader()
        reader.expect_many(GET, 10, 1000)
        reader.expect_many(GET, 1010, 5)
        reader.expect_many(PUT, 0, 10)
        reader.expect_many(GET, 2**64 - 3, 3)
        reader.expect_many(GET, 7, 0)
        assert reader.pending_requests == 1018
        for first, count in ((9, 1), (10, 1), (1014, 1), (0, 2**31 - 1), (1015, 2**31 - 1)):
            if first == 1015:
                reader.expect_many(PUT, first, 1)
            with pytest.raises(ValueError, match=f"first_id: of {count} ids from {first} on"):
                reader.expect_many(PUT, first, count)
        assert reader.pending_requests == 1019
        ids = [*range(1014, 9, -1), *range(2**64 - 3, 2**64)]
        reader.feed(b"".join(map(answer, ids)))
        reader.feed(encode_response("put", version="3.1", message_id=4))
        assert [m.message_id for m in reader] == [*ids, 4]
        assert reader.pending_requests == 10

    def test_many_at_once_are_checked(self) -> None:
        reader = Reader()
        with pytest.raises(ValueError, match=r"count: 2 ids from \d+ on go beyond 2\*\*64 - 1"):
            reader.expect_many(GET, 2**64 - 1, 2)
        with pytest.raises(EncodeError, match="count: -1 is not within"):
            reader.expect_many(GET, 1, -1)
        with pytest.raises(ValueError, match="expects no answers"):
            Reader("server").expect_many(GET, 1, 1)
        assert reader.pending_requests == 0

    def test_a_request_need_not_be_kept(self) -> None:
        reader = Reader()
        for i in range(50):
            request = decode_request(encode_request("get", version="3.1", message_id=i, key=b"k"))
            assert request is not None
            reader.expect(request)
            del request
        gc.collect()
        reader.feed(b"".join(answer(i) for i in range(50)))
        assert len(list(reader)) == 50


class TestValues:
    """next_values: the plain answers of a pipeline, many at a time."""

    def test_all_that_are_there(self) -> None:
        reader = Reader()
        reader.expect_many(GET, 10, 5)
        values: list[Any] = ["left alone"] * 7
        miss = encode_response(
            "get", version="3.1", message_id=11, status=Status.KEY_DOES_NOT_EXIST
        )
        reader.feed(answer(12, b"c") + answer(10, b"") + miss + answer(14, b"e")[:-1])
        assert reader.next_values(values, 10, 5, start=1) == 3
        assert values == ["left alone", b"", None, b"c", "left alone", "left alone", "left alone"]
        assert reader.next_values(values, 10, 5, start=1) == 0
        assert (reader.next(), reader.pending_requests) == (None, 2)
        reader.feed(answer(14, b"e")[-1:])
        assert reader.next_values(values, 10, 5, start=1) == 1
        assert values[5] == b"e"

    def test_others_are_left_to_next(self) -> None:
        error = encode_response(
            "get", version="3.1", message_id=2, status=Status.SERVER_ERROR, error="no"
        )
        event = encode_response(
            "cache_entry_removed", version="3.1", message_id=2, listener_id=b"l", key=b"k"
        )
        topology = Topology(7, (ServerAddress("h", 1),))
        for odd in (answer(4), answer(1), error, event, answer(2, topology=topology)):
            values = [None] * 2
            reader = Reader()
            reader.expect_many(AWARE, 1, 4)
            reader.feed(answer(3) + odd)
            assert reader.next_values(values, 2, 2) == 1
            assert values == [None, b"v"]
            assert reader.next_values(values, 2, 2) == 0
            expected = Reader()
            for i in (1, 2, 4):
                expected.expect(AWARE, i)
            expected.feed(odd)
            assert reader.next() == expected.next()

    def test_nobody_wants_them(self) -> None:
        reader = expecting(1, 2, 3)
        reader.feed(answer(1) + answer(2) + answer(3))
        assert reader.next_values(None, 1, 3) == 3
        assert reader.pending_requests == reader.buffered == 0

    @pytest.mark.parametrize("seed", range(30))
    def test_the_same_as_one_by_one(self, seed: int) -> None:
        draw = random.Random(seed)
        topology = Topology(7, (ServerAddress("h", 1),))
        ids = list(range(5, 45))
        draw.shuffle(ids)
        stream = b""
        for i in ids:
            kind = draw.randrange(6)
            if kind == 0:
                stream += encode_response(
                    "get", version="3.1", message_id=i, status=Status.SERVER_ERROR, error="no"
                )
            elif kind == 1:
                stream += answer(i, topology=topology)
            else:
                stream += answer(i, bytes(draw.choice((0, 1, 200, 70_000))))
        one_by_one, reader = Reader(), Reader()
        for one in (one_by_one, reader):
            one.expect_many(AWARE, 5, 40)
        one_by_one.feed(stream)
        expected = {message.message_id: message for message in one_by_one}
        found: dict[int, Any] = {}
        while stream:
            cut = draw.choice((1, 7, 1000, 100_000))
            if draw.randrange(2):
                reader.feed(stream[:cut])
            else:
                room = reader.buffer()
                cut = min(cut, len(stream), len(room))
                room[:cut] = stream[:cut]
                reader.commit(cut)
            stream = stream[cut:]
            while True:
                values: list[Any] = [...] * 20
                count = reader.next_values(values, 15, 20)
                taken = {15 + i: value for i, value in enumerate(values) if value is not ...}
                assert len(taken) == count
                found |= taken
                message = reader.next()
                if message is None:
                    break
                found[message.message_id] = message
        assert found.keys() == expected.keys()
        assert sum(isinstance(value, bytes) for value in found.values()) > 2
        for i, value in found.items():
            plain = isinstance(value, bytes)
            assert value == (expected[i].value if plain else expected[i])

    def test_what_cannot_be(self) -> None:
        reader = expecting(1)
        reader.feed(answer(1))
        with pytest.raises(TypeError, match="list"):
            reader.next_values((None,), 1, 1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="values: 1 places, 2 are needed"):
            reader.next_values([None], 1, 1, start=1)
        for first, count, start in ((1, -1, 0), (-1, 1, 0), (1, 1, -1), (2**64, 1, 0)):
            with pytest.raises(EncodeError):
                reader.next_values([None], first, count, start)
        assert reader.next_values([None], 1, 0) == reader.next_values([], 2, 0) == 0
        assert reader.next_values([None], 1, 1) == 1
        assert Reader("server").next_values([None], 1, 1) == 0

    def test_a_stream_that_failed(self) -> None:
        reader = expecting(1, 2)
        reader.feed(b"\x00" + answer(1))
        for _ in range(2):
            assert reader.next_values([None], 1, 1) == 0
            with pytest.raises(DecodeError):
                reader.next()

    def test_a_list_that_others_change(self) -> None:
        class Rude:
            def __del__(self) -> None:
                values.clear()

        reader = expecting(1, 2)
        reader.feed(answer(1) + answer(2))
        values: list[Any] = [Rude(), None]
        with pytest.raises(IndexError):
            reader.next_values(values, 1, 2)
        assert (values, reader.pending_requests) == ([], 0)


class Slot:
    """Who waits for an answer."""

    def __init__(self, error: Exception | None = None) -> None:
        self.answers: list[Response] = []
        self.error = error

    def set_result(self, response: Response, /) -> None:
        self.answers.append(response)
        if self.error is not None:
            raise self.error


class TestResolve:
    """resolve: plain answers to those who wait for them."""

    def test_all_that_are_there(self) -> None:
        reader = expecting(1, 2, 3)
        slots = {i: Slot() for i in (1, 2, 3)}
        waiting = dict(slots)
        reader.feed(answer(3, b"c") + answer(1, b"a") + answer(2, b"b")[:-1])
        assert reader.resolve(waiting) == 2
        assert {i: [a.value for a in slot.answers] for i, slot in slots.items()} == {
            1: [b"a"],
            2: [],
            3: [b"c"],
        }
        assert (list(waiting), reader.pending_requests) == ([2], 1)
        assert reader.resolve(waiting) == 0
        reader.feed(answer(2, b"b")[-1:])
        assert (reader.resolve(waiting), waiting) == (1, {})
        assert slots[2].answers[0].value == b"b"

    def test_others_are_left_to_next(self) -> None:
        error = encode_response(
            "get", version="3.1", message_id=2, status=Status.SERVER_ERROR, error="no"
        )
        topology = Topology(7, (ServerAddress("h", 1),))
        for odd in (answer(4), answer(1), error, answer(2, topology=topology)):
            slot = Slot()
            waiting = {3: slot, 2: slot, 4: None}
            reader = Reader()
            reader.expect_many(AWARE, 1, 4)
            reader.feed(answer(3) + odd)
            before = dict(waiting)
            assert reader.resolve(waiting) == 1
            before.pop(3)
            assert (waiting, len(slot.answers)) == (before, 1)
            assert reader.resolve(waiting) == 0
            expected = Reader()
            for i in (1, 2, 4):
                expected.expect(AWARE, i)
            expected.feed(odd)
            assert reader.next() == expected.next()

    def test_who_is_gone(self) -> None:
        reader = expecting(1, 2, 3)
        reader.feed(answer(1) + answer(2) + answer(3))
        last = Slot()
        waiting = {1: Slot(KeyError()), 2: Slot(ValueError("odd")), 3: last}
        with pytest.raises(ValueError, match="odd"):
            reader.resolve(waiting, (KeyError, IndexError))
        assert (list(waiting), reader.pending_requests) == ([3], 1)
        assert (reader.resolve(waiting, KeyError), len(last.answers)) == (1, 1)

    def test_what_cannot_be(self) -> None:
        reader = expecting(1)
        reader.feed(answer(1))
        wrong: list[Any] = [None, [], ((1, 2),)]
        for table in wrong:
            with pytest.raises(TypeError, match="dict"):
                reader.resolve(table)
        with pytest.raises(AttributeError, match="set_result"):
            reader.resolve({1: 1})
        assert (Reader("server").resolve({}), expecting(1).resolve({})) == (0, 0)

    def test_ids_that_are_none(self) -> None:
        reader, slot = expecting(1), Slot()
        waiting: dict[Any, Any] = {None: slot}
        assert reader.resolve(waiting) == 0
        reader.feed(answer(1))
        assert (reader.resolve(waiting), slot.answers, len(waiting)) == (0, [], 1)

    def test_an_id_that_reads_on(self) -> None:
        class Reading(int):
            __hash__ = int.__hash__

            def __eq__(self, other: object) -> bool:
                messages.append(reader.next())
                return True

        reader, slot = expecting(1), Slot()
        messages: list[Any] = []
        waiting: dict[Any, Any] = {Reading(1): slot}
        reader.feed(answer(1))
        assert (reader.resolve(waiting), slot.answers) == (0, [])
        assert [message.message_id for message in messages] == [1]

    def test_a_stream_that_failed(self) -> None:
        reader = expecting(1)
        reader.feed(b"\x00" + answer(1))
        for _ in range(2):
            assert reader.resolve({1: Slot()}) == 0
            with pytest.raises(DecodeError):
                reader.next()

    def test_a_waiter_that_reads_on(self) -> None:
        class Reading(Slot):
            def set_result(self, response: Response, /) -> None:
                super().set_result(response)
                counts.append(reader.resolve(waiting))

        counts: list[int] = []
        reader = expecting(1, 2, 3)
        reader.feed(answer(1) + answer(2) + answer(3))
        slots = {i: Reading() for i in (1, 2, 3)}
        waiting = dict(slots)
        assert reader.resolve(waiting) == 1
        assert counts == [0, 1, 1]
        assert [slot.answers[0].message_id for slot in slots.values()] == [1, 2, 3]


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

    def test_large_chunks_are_read_where_they_are(self) -> None:
        """Frames that lie across several chunks, with calls of everything in between."""
        values = [bytes([i % 256]) * (i * 37 % 3000) for i in range(1, 301)]
        stream = b"".join(answer(i, value) for i, value in enumerate(values, start=1))
        for size in (8192, 10_000, 65_536, len(stream)):
            draw = random.Random(size)
            reader = expecting(*range(1, 301))
            found: list[bytes] = []
            for at in range(0, len(stream), size):
                chunk = stream[at : at + size]
                if draw.random() < 0.3:
                    room = reader.buffer(len(chunk))
                    room[: len(chunk)] = chunk
                    reader.commit(len(chunk))
                else:
                    reader.feed(chunk)
                # Sometimes nothing is taken before the next chunk, sometimes not all.
                take = draw.choice([0, 1, 1000, 1000])
                while take and (message := reader.next()) is not None:
                    found.append(message.value)
                    take -= 1
                assert reader.buffered + reader.offset == min(at + size, len(stream))
            found += [message.value for message in reader]
            assert found == values

    def test_a_list_that_begins_in_one_chunk_and_ends_in_another(self) -> None:
        entries = [(b"%d" % i, bytes(i % 700)) for i in range(500)]
        frame = encode_response("bulk_get", version="2.0", message_id=1, entries=entries)
        for at in (1, 3, 5, 6, 7, 8, 9000, 20_000):
            reader = Reader()
            reader.expect(RequestContext("bulk_get", "2.0"), 1)
            reader.expect(GET, 2)
            reader.feed(frame[:at])
            assert reader.next() is None
            reader.feed(frame[at:] + answer(2))
            first, second = list(reader)
            assert first.entries == entries
            assert first.encode() == frame
            assert second.value == b"v"

    def test_a_chunk_is_let_go_when_all_of_it_is_taken(self) -> None:
        chunk = answer(1, bytes(20_000))
        before = sys.getrefcount(chunk)
        reader = expecting(1)
        reader.feed(chunk)
        assert len(list(reader)) == 1
        assert sys.getrefcount(chunk) == before

    def test_memory_that_changes_is_not_held(self) -> None:
        chunk = bytearray(answer(1, bytes(20_000)))
        reader = expecting(1)
        reader.feed(chunk)
        chunk[:] = b"\xff" * len(chunk)
        assert next(reader).value == bytes(20_000)

    def test_its_own_buffer_may_be_fed(self) -> None:
        reader = expecting(1)
        frame = answer(1)
        room = reader.buffer()
        room[: len(frame)] = frame
        reader.feed(room[: len(frame)])
        assert next(reader).value == b"v"

    def test_commit_needs_a_buffer(self) -> None:
        reader = expecting(1)
        reader.buffer()
        reader.feed(b"")
        for _ in range(2):
            with pytest.raises(ValueError, match="count: 1 is not within 0 and 0"):
                reader.commit(1)
        size = len(reader.buffer(10))
        reader.commit(0)
        reader.commit(size)
        with pytest.raises(ValueError, match="count: 1 is not within 0 and 0"):
            reader.commit(1)

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


class TestLongValues:
    """A value of 64 KiB and more gets its object before it is whole."""

    SIZES = (65_535, 65_536, 262_144, 262_145, 3_000_000)

    @pytest.mark.parametrize("size", SIZES)
    def test_answers_in_pieces(self, size: int) -> None:
        value = random.Random(size).randbytes(size)
        context = RequestContext("get_with_version", "2.0")
        frame = encode_response(
            "get_with_version", version="2.0", message_id=1, entry_version=5, value=value
        )
        for piece in (size // 40, 10_000, 65_536, size):
            reader = Reader()
            reader.expect(context, 1)
            reader.expect(GET, 2)
            stream = frame + answer(2)
            found = []
            for at in range(0, len(stream), piece):
                reader.feed(stream[at : at + piece])
                found += list(reader)
                assert reader.receiving is None
            assert [m.value for m in found] == [value, b"v"]
            assert (found[0].entry_version, found[0].size) == (5, len(frame))
            assert found[0] == decode_response(frame, context)
            assert found[0].encode() == frame
            assert (reader.buffered, reader.offset) == (0, len(stream))

    @pytest.mark.parametrize("size", SIZES)
    def test_requests_in_pieces(self, size: int) -> None:
        value = random.Random(size).randbytes(size)
        frame = encode_request("put", version="3.1", key=b"k", value=value, lifespan=60)
        reader = Reader("server")
        room = reader.buffer(30_000)
        found = []
        for at in range(0, len(frame), 30_000):
            room = reader.buffer(30_000)
            part = frame[at : at + 30_000]
            room[: len(part)] = part
            reader.commit(len(part))
            found += list(reader)
        reader.feed(encode_request("ping"))
        found += list(reader)
        assert found[0] == decode_request(frame)
        assert found[0].encode() == frame
        assert found[1].op is Op.PING

    def test_cut_in_every_place_around_its_beginning(self) -> None:
        value = bytes(range(256)) * 300
        frame = answer(1, value)
        for at in (*range(1, 20), 512, 1024, len(frame) - 1):
            for kind in (bytes, bytearray):
                reader = expecting(1)
                reader.feed(kind(frame[:at]))
                assert reader.next() is None
                reader.feed(kind(frame[at:]))
                assert next(reader).value == value

    def test_a_padded_length_is_kept_as_it_came(self) -> None:
        frame = answer(1, bytes(65_536))
        padded = frame[:5] + bytes.fromhex("80 80 84 00") + frame[8:]
        reader = expecting(1)
        for at in range(0, len(padded), 9000):
            reader.feed(padded[at : at + 9000])
        message = next(reader)
        assert message.value == bytes(65_536)
        assert not message.canonical
        assert message.encode() == padded

    def test_memory_is_that_of_the_value(self) -> None:
        size = 8 << 20
        frame = answer(1, bytes(size))
        chunks = [frame[at : at + 65_536] for at in range(0, len(frame), 65_536)]
        reader = expecting(1)
        gc.collect()
        tracemalloc.start()
        message: Any = None
        for chunk in chunks:
            reader.feed(chunk)
            message = reader.next()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(message.value) == size
        assert peak < 1.1 * size

    def test_a_reader_may_be_dropped_in_the_middle(self) -> None:
        reader = expecting(1)
        reader.feed(answer(1, bytes(100_000))[:70_000])
        assert reader.next() is None
        assert (reader.buffered, reader.pending_requests) == (0, 0)
        del reader

    def test_limits_hold(self) -> None:
        reader = expecting(1, limits=Limits(bytes=70_000))
        reader.feed(answer(1, bytes(70_001))[:66_000])
        with pytest.raises(LimitError, match="70001 exceeds the limit of 70000 for bytes"):
            reader.next()


def some_frame(draw: random.Random, message_id: int) -> tuple[RequestContext | None, bytes]:
    """A frame and what it answers; an event answers nothing."""
    size = draw.choice([0, 1, 100, 127, 128, 3000, 20_000, 70_000])
    value = draw.randbytes(size)
    head: dict[str, Any] = {"version": "2.9", "message_id": message_id}
    kind = draw.randrange(7)
    if kind <= 1:
        return RequestContext("get", "2.9"), encode_response("get", value=value, **head)
    if kind == 2:
        return RequestContext("put", "2.9"), encode_response("put", status=1, **head)
    if kind == 3:
        entries = [(draw.randbytes(9), draw.randbytes(size // 100)) for _ in range(size % 130)]
        context = RequestContext("get_all", "2.9")
        return context, encode_response("get_all", entries=entries, **head)
    if kind == 4:
        context = RequestContext("get", "2.9", intelligence=3)
        segments = tuple((i % 2,) for i in range(size % 300))
        topology = Topology(
            5, (ServerAddress("h", 1),) * 2, hash_version=3, segment_owners=segments
        )
        return context, encode_response("get", topology=topology, value=value, **head)
    if kind == 5:
        context = RequestContext("get_with_version", "2.9")
        frame = encode_response("get_with_version", entry_version=size, value=value, **head)
        return context, frame
    event = encode_response("cache_entry_removed", listener_id=b"l", key=value, **head)
    return None, event


@pytest.mark.parametrize("seed", range(12))
def test_all_kinds_of_frames_in_all_kinds_of_pieces(seed: int) -> None:
    """However the bytes come and whenever messages are taken: the same messages."""
    draw = random.Random(seed)
    reader = Reader()
    reader.expect(RequestContext("get", "2.9"), 60)  # an event before any answer has its version
    frames, expected = [], []
    for i in range(60):
        context, frame = some_frame(draw, i)
        if context is not None:
            reader.expect(context, i)
        frames.append(frame)
        expected.append(decode_response(bytearray(frame), context or RequestContext("get", "2.9")))
    stream = b"".join(frames)
    found = []
    at = 0
    largest = draw.choice([300, 10_000, 40_000, 200_000])
    while at < len(stream):
        chunk = stream[at : at + draw.randint(1, largest)]
        at += len(chunk)
        match draw.randrange(4):
            case 0:
                room = reader.buffer(len(chunk))
                room[: len(chunk)] = chunk
                reader.commit(len(chunk))
            case 1:
                reader.feed(memoryview(chunk))
            case _:
                reader.feed(chunk)
        if draw.random() < 0.8:
            found += list(reader)
        elif (message := reader.next()) is not None:
            found.append(message)
        assert reader.buffered <= at - reader.offset
    found += list(reader)
    assert found == expected
    assert [m.encode() for m in found] == frames
    assert (reader.buffered, reader.offset, reader.pending_requests) == (0, len(stream), 1)
