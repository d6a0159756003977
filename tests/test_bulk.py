"""Long lists in every form: list, dict, two lists, batches; whole, in pieces, hostile."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import strategies
from hotrod_codec import (
    BytesColumn,
    DecodeError,
    EncodeError,
    EntryBatch,
    IteratedEntry,
    LimitError,
    Limits,
    Metadata,
    Reader,
    RequestContext,
    Response,
    decode_response,
    encode_response,
    segment_of,
    segments_of,
    split_by_owner,
    trace_response,
)
from hotrod_codec._ext import bulk

FORMS: tuple[Any, ...] = ("pairs", "dict", "lists", "batch")
# Operation, version, field. Keys and values come as one list.
LISTS = [
    ("bulk_get", "2.0", "entries"),
    ("get_all", "4.1", "entries"),
    ("iteration_next", "2.3", "entries"),
    ("iteration_next", "2.4", "entries"),
    ("iteration_next", "4.1", "entries"),
    ("bulk_get_keys", "1.2", "keys"),
    ("get_multimap", "4.1", "values"),
]
ENTRIES = [(f"key {i}".encode(), bytes([i % 256]) * (i * 7 % 300)) for i in range(500)]

quick = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def lists(draw: st.DrawFn) -> tuple[RequestContext, str, bytes]:
    """A context, the list's field, and a frame; of lengths that are and are not of one byte."""
    op, version, field = draw(st.sampled_from(LISTS))
    arguments: dict[str, Any] = {}
    if op == "iteration_next":
        number = int(version.replace(".", ""))
        arguments = draw(strategies.batches(number)) | {"finished_segments": [1, 9]}
    else:
        item = st.tuples(strategies.data, strategies.data)
        if field != "entries":
            item = strategies.data  # type: ignore[assignment]
        arguments[field] = draw(st.lists(item, max_size=40))
    frame = encode_response(op, version=version, message_id=1, **arguments)
    return RequestContext(op, version), field, frame


def forms_of(context: RequestContext, field: str) -> tuple[Any, ...]:
    return FORMS if field == "entries" else ("pairs", "batch")


def plain_form(value: Any) -> Any:
    """What a form holds, as a list of pairs (or keys) without metadata."""
    if isinstance(value, tuple):
        return list(zip(*value, strict=True))
    if isinstance(value, dict):
        return list(value.items())
    return [
        (e.key, e.values[0] if len(e.values) == 1 else e.values)
        if isinstance(e, IteratedEntry)
        else e
        for e in value
    ]


def read_in_pieces(
    frame: bytes, cuts: set[int], context: RequestContext, **keywords: Any
) -> list[Any]:
    """All that a Reader gives for the frame in pieces."""
    reader = Reader(limits=keywords.pop("limits", None))
    reader.expect(context, 1, **keywords)
    out: list[Any] = []
    at = 0
    for cut in [*sorted(cuts), len(frame)]:
        reader.feed(frame[at:cut])
        at = cut
        out.extend(reader)
    return out


def as_batch(entries: list[tuple[bytes, bytes]]) -> EntryBatch:
    frame = encode_response("get_all", message_id=1, entries=entries)
    response = decode_response(frame, RequestContext("get_all"), into="batch")
    assert response is not None
    batch = response.entries
    assert isinstance(batch, EntryBatch)
    return batch


def outcome(call: Any) -> Any:
    """The result, or the error in a form that compares."""
    try:
        return call()
    except DecodeError as e:
        return type(e), str(e), e.offset


class TestForms:
    @quick
    @given(drawn=st.data())
    def test_all_forms_hold_the_same(self, drawn: st.DataObject) -> None:
        context, field, frame = drawn.draw(lists())
        _, plain, _, _ = trace_response(frame, context)  # reads item by item, the plain way
        assert plain is not None
        expected = plain[field]
        for into in forms_of(context, field):
            response = decode_response(frame + b"behind", context, into=into)
            assert response is not None
            assert response.size == len(frame)
            found = response[field]
            if into == "dict":
                assert found == dict(plain_form(expected))
            elif into == "lists":
                assert plain_form(found) == plain_form(expected)
            else:
                assert list(found) == expected
            if context.op.name == "ITERATION_NEXT" and into in ("dict", "lists"):
                with pytest.raises(EncodeError, match="does not hold all of it"):
                    response.encode()
            else:
                assert response.encode() == frame
        assert decode_response(frame, context) == plain

    @quick
    @given(drawn=st.data())
    def test_any_pieces_make_the_same(self, drawn: st.DataObject) -> None:
        context, field, frame = drawn.draw(lists())
        cuts = drawn.draw(st.sets(st.integers(0, len(frame)), max_size=8))
        for into in forms_of(context, field):
            whole = decode_response(frame, context, into=into)
            (message,) = read_in_pieces(frame, cuts, context, into=into)
            assert message[field] == whole[field]  # type: ignore[index]
            assert message.size == len(frame)
        expected = decode_response(frame, context)[field]  # type: ignore[index]
        *batches, last = read_in_pieces(frame, cuts, context, into="batches")
        assert [item for batch in batches for item in batch] == expected
        assert all(len(batch) > 0 for batch in batches)
        assert (last[field], last.size) == (len(expected), len(frame))
        with pytest.raises(EncodeError, match="does not hold all of it"):
            last.encode()

    @settings(quick, max_examples=200)
    @given(drawn=st.data())
    def test_damaged_frames_end_the_same_way(self, drawn: st.DataObject) -> None:
        """Cut, changed and limited: each form gives the plain reader's result."""
        context, field, frame = drawn.draw(lists())
        damaged = bytearray(frame)
        changes = st.tuples(st.integers(0, len(frame) - 1), st.integers(0, 255))
        for at, byte in drawn.draw(st.lists(changes, max_size=3)):
            damaged[at] = byte
        end = st.one_of(st.just(len(frame)), st.integers(len(frame) // 2, len(frame)))
        data = bytes(damaged[: drawn.draw(end)])
        limits = drawn.draw(st.sampled_from([None, Limits(items=3), Limits(bytes=100)]))
        _, message, error, missing = trace_response(data, context, limits=limits)
        for into in forms_of(context, field):
            found = outcome(
                lambda into=into: decode_response(data, context, into=into, limits=limits)
            )
            if error is not None:
                assert found == (type(error), str(error), error.offset)
            elif missing is not None:
                assert found is None
            else:
                assert message is not None
                assert found.size == message.size
                if into == "pairs":
                    assert found == message
                elif into == "batch" and field in found.fields:
                    assert list(found[field]) == message[field]

    def test_a_key_that_comes_twice(self) -> None:
        context = RequestContext("bulk_get", "2.0")
        frame = encode_response(
            "bulk_get", version="2.0", message_id=1, entries=[(b"k", b"1"), (b"k", b"2")]
        )
        response = decode_response(frame, context, into="dict")
        assert response is not None
        assert response.entries == {b"k": b"2"}
        assert not response.canonical
        assert response.encode() == frame
        (message,) = read_in_pieces(frame, {12}, context, into="dict")
        with pytest.raises(EncodeError, match="came in pieces"):
            message.encode()

    def test_padded_lengths(self) -> None:
        frame = bytes.fromhex("a1 01 1a 00 00  01 01 6b 01 76  01 82 00 6b 6b 01 76  00")
        context = RequestContext("bulk_get", "2.0")
        for into in FORMS:
            response = decode_response(frame, context, into=into)
            assert response is not None
            assert plain_form(response.entries) == [(b"k", b"v"), (b"kk", b"v")]
            assert not response.canonical
            assert response.encode() == frame

    def test_without_entries(self) -> None:
        for op, empty in [("bulk_get", "2.0"), ("get_all", "4.1"), ("iteration_next", "4.1")]:
            more: Any = {"finished_segments": []} if op == "iteration_next" else {}
            frame = encode_response(op, version=empty, message_id=1, entries=[], **more)
            context = RequestContext(op, empty)
            expected: Any = {"pairs": [], "dict": {}, "lists": ([], [])}
            for into in FORMS:
                response = decode_response(frame, context, into=into)
                assert response is not None
                found = response.entries
                assert (found.to_list() if into == "batch" else found) == expected.get(into, [])
            (last,) = read_in_pieces(frame, {3, 6}, context, into="batches")
            assert last.entries == 0

    def test_values_of_a_projection(self) -> None:
        entries = [IteratedEntry(b"a", (b"1", b"2")), IteratedEntry(b"b", (b"3", b"4"))]
        frame = encode_response(
            "iteration_next", message_id=1, entries=entries, finished_segments=[]
        )
        context = RequestContext("iteration_next")
        found = [decode_response(frame, context, into=into).entries for into in FORMS]  # type: ignore[union-attr]
        assert found[1] == {b"a": (b"1", b"2"), b"b": (b"3", b"4")}
        assert found[2] == ([b"a", b"b"], [(b"1", b"2"), (b"3", b"4")])
        batch = found[3]
        assert [column.to_list() for column in batch.projections] == [[b"1", b"3"], [b"2", b"4"]]
        with pytest.raises(ValueError, match="too many values"):
            _ = batch.values


class TestArgument:
    def test_a_wrong_name_tells_the_right_ones(self) -> None:
        context = RequestContext("bulk_get")
        with pytest.raises(ValueError, match="'pairs', 'dict', 'lists', 'batch', got 'tuple'"):
            decode_response(b"", context, into="tuple")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="'batch', got 'batches'"):
            decode_response(b"", context, into="batches")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="'batch', 'batches', got None"):
            Reader().expect(context, 1, into=None)  # type: ignore[arg-type]

    @pytest.mark.parametrize("op", ["get", "stats", "put_all", "auth_mech_list"])
    def test_answers_without_such_a_list(self, op: str) -> None:
        with pytest.raises(ValueError, match=f"into: {op.upper()} answers with no list of"):
            decode_response(b"", RequestContext(op), into="batch")
        assert decode_response(b"", RequestContext(op), into="pairs") is None

    def test_keys_alone_are_no_dict(self) -> None:
        for into in ("dict", "lists"):
            with pytest.raises(ValueError, match="BULK_GET_KEYS answers with one list"):
                Reader().expect(RequestContext("bulk_get_keys"), 1, into=into)

    def test_a_refused_request_is_not_expected(self) -> None:
        reader = Reader()
        with pytest.raises(ValueError, match="into"):
            reader.expect(RequestContext("get"), 1, into="dict")
        assert reader.pending_requests == 0

    def test_an_error_in_place_of_the_list(self) -> None:
        frame = encode_response("bulk_get", message_id=1, status=0x85, error="no")
        context = RequestContext("bulk_get")
        for into in FORMS:
            response = decode_response(frame, context, into=into)
            assert response is not None
            assert (response.error, response.encode()) == ("no", frame)
        (message,) = read_in_pieces(frame, set(), context, into="batches")
        assert message.error == "no"


def batch_of(entries: list[Any], op: str = "bulk_get") -> Any:
    more: Any = {"finished_segments": []} if op == "iteration_next" else {}
    field = "keys" if op == "bulk_get_keys" else "entries"
    more[field] = entries
    frame = encode_response(op, message_id=1, **more)
    response = decode_response(frame, RequestContext(op), into="batch")
    assert response is not None
    return response[field]


ITERATED = [
    IteratedEntry(
        key,
        (value,),
        [None, Metadata(i), Metadata(-i, i, 60, i + 1, 2**32 - 1), Metadata(i, -1, 0)][i % 4],
    )
    for i, (key, value) in enumerate(ENTRIES)
]


class TestBatch:
    @settings(quick, max_examples=100)
    @given(
        entries=st.lists(st.tuples(strategies.data, strategies.data), max_size=12),
        cuts=st.lists(st.slices(12), max_size=3),
    )
    def test_it_is_a_sequence(self, entries: list[tuple[bytes, bytes]], cuts: list[slice]) -> None:
        batch, keys = batch_of(entries), [key for key, _ in entries]
        assert (type(batch), type(batch.keys)) == (EntryBatch, BytesColumn)
        assert batch_of(keys, "bulk_get_keys") == batch.keys
        for cut in [slice(None), *cuts]:
            batch, entries = batch[cut], entries[cut]
            keys, values = [key for key, _ in entries], [value for _, value in entries]
            assert len(batch) == len(batch.keys) == len(entries)
            assert list(batch) == batch.to_list() == entries
            assert batch.to_dict() == dict(entries)
            assert [batch[i] for i in range(-len(entries), len(entries))] == 2 * entries
            assert batch.keys.to_list() == list(batch.keys) == keys
            assert batch.values.to_list() == values
            assert batch.nbytes == sum(map(len, keys)) + sum(map(len, values))
            data, column = batch.values.buffer, batch.values
            assert column.lengths.tolist() == [len(value) for value in values]
            pieces = zip(column.starts.tolist(), column.lengths.tolist(), strict=True)
            assert [data[start : start + length] for start, length in pieces] == values
            assert np.array_equal(batch.segments(7), segments_of(keys, 7))
            again = pickle.loads(pickle.dumps(batch))
            assert again == batch == copy.copy(batch) == batch_of(entries)
            assert again.to_list() == entries
            assert pickle.loads(pickle.dumps(batch.keys)) == batch.keys

    def test_of_an_iteration(self) -> None:
        batch = batch_of(ITERATED, "iteration_next")
        for cut in [slice(None), slice(3, 400, 7), slice(None, None, -3), slice(5, 5)]:
            part, entries = batch[cut], ITERATED[cut]
            assert part.to_list() == list(part) == entries
            assert part.to_dict() == {e.key: e.value for e in entries}
            assert part.values.to_list() == [e.value for e in entries]
            assert part.has_metadata.tolist() == [e.metadata is not None for e in entries]
            assert part.entry_version.tolist() == [
                -1 if e.metadata is None else e.metadata.version for e in entries
            ]
            for name in ("created", "lifespan", "last_used", "max_idle"):
                wanted = [e.metadata and getattr(e.metadata, name) for e in entries]
                found = getattr(part, name)
                assert found.dtype == np.int64
                assert found.tolist() == [-1 if n is None else n for n in wanted]
            assert pickle.loads(pickle.dumps(part)) == part
            frame = encode_response(
                "iteration_next", message_id=1, entries=part, finished_segments=[]
            )
            assert frame == encode_response(
                "iteration_next", message_id=1, entries=entries, finished_segments=[]
            )

    @pytest.mark.parametrize("into", ["pairs", "batch"])
    @pytest.mark.parametrize("number", [b"\xff\xff\xff\xff\x7f", b"\x90\x9c\x80\x80\x80\x01"])
    def test_a_lifespan_that_is_no_number_of_32_bits(self, number: bytes, into: Any) -> None:
        entries = [IteratedEntry(b"k", (b"v",), Metadata(1, 1, 3600))]
        frame = encode_response(
            "iteration_next", message_id=1, entries=entries, finished_segments=[]
        )
        spoilt = frame.replace(b"\x90\x1c", number)
        with pytest.raises(DecodeError, match="lifespan of item 0 at byte 18: a variable-length"):
            decode_response(spoilt, RequestContext("iteration_next"), into=into)
        padded = frame.replace(b"\x90\x1c", b"\x90\x9c\x80\x80\x00")
        context = RequestContext("iteration_next")
        found = decode_response(padded, context, into=into)
        assert found is not None
        assert not found.canonical
        assert list(found.entries) == entries

    def test_some_of_it(self) -> None:
        indices = [7, 0, 499, 7]
        cases: list[Any] = [
            (batch_of(ENTRIES), ENTRIES),
            (batch_of(ITERATED, "iteration_next"), ITERATED),
            (batch_of(ENTRIES + ENTRIES)[::2], (ENTRIES + ENTRIES)[::2]),
        ]
        for batch, entries in cases:
            part = batch.take(indices)
            assert part.to_list() == [entries[i] for i in indices]
            assert pickle.loads(pickle.dumps(part)) == part == batch.take(np.array(indices, "u2"))
            assert batch.values.take(indices) == part.values == part.take(range(4)).values
            assert len(batch.take([])) == 0
            for wrong in ([500], [-1], [2**40]):
                with pytest.raises(IndexError, match="not within 0 and 499"):
                    batch.take(wrong)
            with pytest.raises(TypeError, match="indices: wants ints, got float64"):
                batch.keys.take([1.0])

    def test_split_by_owner(self) -> None:
        batch = batch_of(ENTRIES)
        owners = [(i % 3,) for i in range(16)]
        split = split_by_owner(batch.keys, owners)
        assert sum(map(len, split.values())) == len(ENTRIES)
        for owner, indices in split.items():
            for key, value in batch.take(indices):
                assert owners[segment_of(key, 16)] == (owner,)
                assert (key, value) in ENTRIES

    def test_equality(self) -> None:
        batch = batch_of(ENTRIES)
        assert batch != ENTRIES
        assert batch != batch[1:]
        assert batch[:1] != batch[1:2]
        assert batch.keys != batch.values
        assert batch.keys[:0] == batch.values[:0]
        plain = batch_of([IteratedEntry(k, (v,)) for k, v in ENTRIES], "iteration_next")
        assert plain != batch_of(ITERATED, "iteration_next")
        assert plain != batch
        with pytest.raises(TypeError, match="unhashable"):
            hash(batch)
        with pytest.raises(TypeError, match="unhashable"):
            hash(batch.keys)

    def test_without_metadata(self) -> None:
        batch = batch_of(ENTRIES[:3])
        assert batch.created.tolist() == batch.entry_version.tolist() == [-1] * 3
        assert batch.has_metadata.tolist() == [False] * 3

    def test_metadata_flags_that_nobody_knows(self) -> None:
        """The short way of reading rows leaves such an entry to the other one."""
        request = RequestContext("iteration_next", "4.1")
        data = encode_response(
            "iteration_next",
            version="4.1",
            message_id=1,
            entries=[IteratedEntry(b"key", [b"value"], Metadata(5))] * 3,
            finished_segments=[],
            projections=1,
        )
        flags = bytes.fromhex("01 03 0000000000000005 03") + b"key"
        assert data.count(flags) == 3
        data = data.replace(flags, b"\x01\x83" + flags[2:])
        plain = decode_response(data, request)
        columns = decode_response(data, request, into="batch")
        assert plain is not None
        assert columns is not None
        assert columns.entries.to_list() == plain.entries
        assert [entry.metadata for entry in plain.entries] == [Metadata(5)] * 3
        assert columns.encode() == plain.encode() == data

    def test_what_it_shows_is_no_secret(self) -> None:
        batch = batch_of([(b"secret", b"value"), (b"k", b"")])
        assert repr(batch) == "<EntryBatch 2 entries, 12 bytes>"
        assert repr(batch.keys) == "<BytesColumn 2 items, 7 bytes>"

    def test_wrong_indices(self) -> None:
        batch = batch_of(ENTRIES[:3])
        for index in (3, -4, 2**40):
            with pytest.raises(IndexError, match="3 items"):
                batch[index]
            with pytest.raises(IndexError, match="3 items"):
                batch.keys[index]
        with pytest.raises(TypeError):
            batch["k"]

    def test_it_comes_from_decoding(self) -> None:
        kinds: tuple[Any, ...] = (EntryBatch, BytesColumn)
        for kind in kinds:
            with pytest.raises(TypeError, match="comes from decoding"):
                kind()
            hollow = kind.__new__(kind)
            assert (len(hollow), list(hollow), hollow.to_list()) == (0, [], [])
            assert hollow.segments(9).tolist() == []
            assert pickle.loads(pickle.dumps(hollow)) == hollow
        assert EntryBatch.__new__(EntryBatch).keys.starts.tolist() == []

    def test_arrays_are_read_only_views(self) -> None:
        column = batch_of(ENTRIES).keys
        starts = column.starts
        expected = starts.tolist()
        assert not starts.flags.writeable
        assert np.shares_memory(starts, column[5:].starts)
        with pytest.raises(ValueError, match="WRITEABLE"):
            starts.setflags(write=True)
        del column
        gc.collect()
        assert starts.tolist() == expected

    @pytest.mark.parametrize("number", [0, -1, 2**31, 1.5, "4", None])
    def test_a_wrong_number_of_segments(self, number: Any) -> None:
        column = batch_of(ENTRIES).keys
        with pytest.raises((TypeError, ValueError), match="num_segments: wants") as ours:
            column.segments(number)
        with pytest.raises((TypeError, ValueError), match="num_segments: wants") as other:
            segments_of([b"k"], number)
        assert type(ours.value) is type(other.value)

    def test_more_than_what_keeps_the_gil(self) -> None:
        count = 300_000
        keys = [b"%d" % i for i in range(count)]
        column = batch_of(keys, "bulk_get_keys")
        assert column.to_list() == keys
        assert np.array_equal(column.segments(256), segments_of(keys, 256))

    def test_sizes_that_mislead(self) -> None:
        """Room is taken by the size of the first entries; those behind are far smaller."""
        entries = [(b"k", bytes(5000))] * 70 + [(b"", b"")] * 40_000 + [(b"x", bytes(99))] * 50
        for into in FORMS:
            frame = encode_response("bulk_get", message_id=1, entries=entries)
            response = decode_response(frame, RequestContext("bulk_get"), into=into)
            assert response is not None
            if into != "dict":
                assert plain_form(response.entries) == entries


class TestMemory:
    def test_bytes_are_kept_and_not_copied(self) -> None:
        frame = encode_response("bulk_get", message_id=1, entries=ENTRIES)
        response = decode_response(frame, RequestContext("bulk_get"), into="batch")
        assert response is not None
        assert response.entries.keys.buffer is frame

    def test_not_much_is_kept_for_little(self) -> None:
        frame = encode_response("bulk_get", message_id=1, entries=ENTRIES[:5])
        for op in ("bulk_get", "iteration_next"):
            entries: list[Any] = ENTRIES[:5] if op == "bulk_get" else ITERATED[:5]
            more: Any = {} if op == "bulk_get" else {"finished_segments": [3]}
            frame = encode_response(op, message_id=1, entries=entries, **more)
            data = bytes(10_000) + frame + bytes(10_000)
            response = decode_response(data, RequestContext(op), 10_000, into="batch")
            assert response is not None
            assert response.entries.to_list() == entries
            assert len(response.entries.keys.buffer) < len(frame)

    def test_what_may_change_is_copied(self) -> None:
        data = bytearray(encode_response("bulk_get", message_id=1, entries=ENTRIES))
        response = decode_response(data, RequestContext("bulk_get"), into="batch")
        data[:] = bytes(len(data))
        assert response is not None
        assert response.entries.to_list() == ENTRIES

    def test_nothing_leaks(self) -> None:
        frame = encode_response("bulk_get", message_id=1, entries=ENTRIES)
        iterated = encode_response(
            "iteration_next", message_id=1, entries=ITERATED, finished_segments=[]
        )
        context, next_context = RequestContext("bulk_get"), RequestContext("iteration_next")

        def once() -> None:
            for into in FORMS:
                decode_response(frame, context, into=into)
                decode_response(iterated, next_context, into=into)
                decode_response(frame[:-1], context, into=into)
                read_in_pieces(frame, {100, 9000}, context, into=into)
            batch = decode_response(bytearray(iterated), next_context, into="batch").entries  # type: ignore[union-attr]
            part = pickle.loads(pickle.dumps(batch[5:400:3]))
            assert part == batch[5:400:3]
            _ = part.segments(5), part.created, part.keys.starts, part.to_dict(), list(part.values)
            pickle.loads(pickle.dumps(part.keys))
            read_in_pieces(iterated, {100, 9000}, next_context, into="batches")

        for _ in range(3):
            once()
        gc.collect()
        count = sys.getrefcount(frame)
        tracemalloc.start()
        try:
            once()
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(20):
                once()
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert sys.getrefcount(frame) == count
        assert after - before < 20_000  # a leaked batch has 90,000 bytes and more

    def test_claims_take_no_memory(self) -> None:
        claims = {
            "get_all": "a1 01 30 00 00 ff ff ff 7f 01 6b 01 76",
            "iteration_next": "a1 01 34 00 00 01 01 ff ff ff 7f ff ff ff 7f 00 01 6b 01 76",
            "bulk_get": "a1 01 1a 00 00 01 01 6b ff ff ff ff 03",
        }
        for op, claim in claims.items():
            for into in (*FORMS, "batches"):
                tracemalloc.start()
                data = bytes.fromhex(claim)
                if into != "batches":
                    assert decode_response(data, RequestContext(op), into=into) is None
                read_in_pieces(data, {9, 11}, RequestContext(op), into=into)
                _, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                assert peak < 200_000, (op, into)

    def test_a_stream_of_batches_takes_the_memory_of_one(self) -> None:
        entries = [(b"%020d" % i, b"v" * 100) for i in range(20_000)]
        frame = encode_response("bulk_get", message_id=1, entries=entries)
        for size in (64 * 1024, len(frame)):
            reader = Reader()
            reader.expect(RequestContext("bulk_get"), 1, into="batches")
            reader.feed(b"")
            count, message = 0, None
            if size == len(frame):
                reader.feed(frame)  # its own memory, which comes before the batches
            tracemalloc.start()
            for at in range(0, len(frame), size):
                if size < len(frame):
                    reader.feed(frame[at : at + size])
                for message in reader:
                    if isinstance(message, EntryBatch):
                        assert message[0] == entries[count]
                        count += len(message)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert isinstance(message, Response)
            assert (count, message.entries) == (20_000, 20_000)
            assert peak < 500_000

    def test_numpy_is_not_imported_before_an_array_is_wanted(self) -> None:
        code = (
            "import sys, hotrod_codec as h; "
            "f = h.encode_response('bulk_get', message_id=1, entries=[(b'k', b'v')]); "
            "b = h.decode_response(f, h.RequestContext('bulk_get'), into='batch').entries; "
            "assert b.to_list() == list(b) == [(b'k', b'v')] and b.keys.to_list() == [b'k']; "
            "assert 'numpy' not in sys.modules; b.keys.starts; assert 'numpy' in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class TestStream:
    def test_batches_while_they_arrive(self) -> None:
        frame = encode_response("bulk_get", version="2.0", message_id=9, entries=ENTRIES)
        reader = Reader()
        reader.expect(RequestContext("bulk_get", "2.0"), 9, into="batches")
        found: list[tuple[bytes, bytes]] = []
        assert reader.receiving is None
        for at in range(0, len(frame), 1000):
            room = reader.buffer(1000)
            part = frame[at : at + 1000]
            room[: len(part)] = part
            reader.commit(len(part))
            batch = reader.next()
            if isinstance(batch, EntryBatch):
                assert reader.receiving == 9
                found += batch
        assert found == ENTRIES
        last = reader.next()
        assert isinstance(last, Response)
        assert (last.entries, last.message_id, last.size) == (len(ENTRIES), 9, len(frame))
        assert reader.next() is None
        assert (reader.receiving, reader.pending_requests) == (None, 0)

    def test_keys_come_in_columns(self) -> None:
        keys = [key for key, _ in ENTRIES]
        frame = encode_response("bulk_get_keys", message_id=1, keys=keys)
        *batches, last = read_in_pieces(
            frame, {500, 1000}, RequestContext("bulk_get_keys"), into="batches"
        )
        assert {type(batch) for batch in batches} == {BytesColumn}
        assert [key for batch in batches for key in batch] == keys
        assert last["keys"] == len(keys)

    def test_what_follows_is_read_as_ever(self) -> None:
        reader = Reader()
        forms: tuple[Any, ...] = ("batches", "pairs", "batch")
        for i, into in enumerate(forms, 1):
            reader.expect(RequestContext("bulk_get"), i, into=into)
        reader.feed(
            b"".join(
                encode_response("bulk_get", message_id=i, entries=ENTRIES[:2]) for i in (2, 1, 3)
            )
        )
        first, batch, last, third = reader
        assert (first.entries, batch.to_list(), last.entries) == (ENTRIES[:2], ENTRIES[:2], 2)
        assert third.entries == batch

    def test_a_value_larger_than_a_batch(self) -> None:
        entries = [(b"a", b"1"), (b"b", bytes(1_000_000)), (b"c", b"3"), (b"d", bytes(200_000))]
        frame = encode_response("bulk_get", message_id=1, entries=entries)
        for cuts in (set[int](), set(range(0, len(frame), 65536))):
            *batches, last = read_in_pieces(frame, cuts, RequestContext("bulk_get"), into="batches")
            assert [entry for batch in batches for entry in batch] == entries
            assert last.entries == 4

    def test_what_came_before_an_error_is_not_lost(self) -> None:
        frame = encode_response("bulk_get", version="2.0", message_id=1, entries=ENTRIES)
        reader = Reader()
        reader.expect(RequestContext("bulk_get", "2.0"), 1, into="batches")
        reader.feed(frame[:-1] + b"\x07")
        found: list[Any] = []
        with pytest.raises(DecodeError, match="BULK_GET response: more of item 500") as caught:
            found.extend(entry for batch in reader for entry in batch)
        assert caught.value.offset == len(frame) - 1
        assert found == ENTRIES
        with pytest.raises(DecodeError, match="item 500"):
            reader.next()

    def test_limits_hold(self) -> None:
        frame = encode_response("bulk_get", version="2.0", message_id=1, entries=ENTRIES)
        for into in (*FORMS, "batches"):
            with pytest.raises(LimitError, match="401 exceeds the limit of 400 for items"):
                read_in_pieces(
                    frame,
                    {5000},
                    RequestContext("bulk_get", "2.0"),
                    into=into,
                    limits=Limits(items=400),
                )


class TestPickle:
    def test_what_is_no_pickle_of_ours(self) -> None:
        rebuild = bulk._unpickled  # type: ignore[attr-defined]
        assert rebuild("pairs", 0, 1, b"\1k\1v").to_list() == [(b"k", b"v")]
        for wrong in [
            ("pairs", 0, 2, b"\1k\1v"),
            ("pairs", 0, 1, b"\1k\1vv"),
            ("pairs", 0, 2**63, b"\1k\1v"),
            ("keys", 0, 1, b"\5k"),
            ("iterated", 2**32 - 1, 1, b"\0\1k\1v"),
            ("iterated", 1, 1, b"\2\1k\1v"),
        ]:
            with pytest.raises(ValueError, match="a pickle of other items"):
                rebuild(*wrong)
        with pytest.raises(KeyError):
            rebuild("others", 0, 0, b"")


class TestIteratedEntry:
    ENTRY = IteratedEntry(b"k", (b"v",), Metadata(7))

    def test_it_is_like_a_tuple(self) -> None:
        key, values, metadata = self.ENTRY
        assert (key, values, metadata) == (b"k", (b"v",), Metadata(7)) == self.ENTRY
        assert (len(self.ENTRY), self.ENTRY[0], self.ENTRY[-1]) == (3, b"k", Metadata(7))
        assert hash(self.ENTRY) == hash((b"k", (b"v",), Metadata(7)))
        assert IteratedEntry(b"k", (b"v",)) != self.ENTRY
        assert self.ENTRY != 5
        assert repr(self.ENTRY).startswith("IteratedEntry(1 bytes, (1 bytes), Metadata(version=7")
        match self.ENTRY:
            case IteratedEntry(b"k", values, Metadata(version=7)):
                assert values == (b"v",)
            case _:
                pytest.fail("no match")

    def test_decoded_ones_are_equal(self) -> None:
        (found,) = batch_of([self.ENTRY], "iteration_next").to_list()
        assert found == self.ENTRY
        assert (found.value, found.metadata) == (b"v", Metadata(7))
        assert copy.deepcopy(found) == pickle.loads(pickle.dumps(found)) == found

    def test_only_value(self) -> None:
        for values in ((), (b"1", b"2")):
            with pytest.raises(ValueError, match="unpack"):
                _ = IteratedEntry(b"k", values).value

    def test_arguments(self) -> None:
        entry = IteratedEntry(bytearray(b"k"), [memoryview(b"v")])
        assert (entry.key, entry.values, entry.metadata) == (b"k", (b"v",), None)
        cases: list[Any] = [("k", (b"v",)), (b"k", b"v"), (b"k", ("v",)), (b"k", (b"v",), 5)]
        for wrong in cases:
            with pytest.raises(TypeError):
                IteratedEntry(*wrong)
        with pytest.raises(TypeError, match="does not change"):
            entry.__init__(b"x", ())
        hollow = IteratedEntry.__new__(IteratedEntry)
        assert tuple(hollow) == (b"", (), None)


class TestPutFound:
    """The values that a batch has under keys, in the places of these."""

    @quick
    @given(
        entries=st.lists(st.tuples(strategies.data, strategies.data), max_size=30),
        others=st.lists(strategies.data, max_size=10),
        drawn=st.data(),
    )
    def test_is_what_a_dict_gives(
        self, entries: list[tuple[bytes, bytes]], others: list[bytes], drawn: st.DataObject
    ) -> None:
        known = [key for key, _ in entries]
        keys = drawn.draw(st.lists(st.sampled_from([*known, *others, b""]), max_size=40))
        start = drawn.draw(st.integers(0, 5))
        room = start + len(keys) + drawn.draw(st.integers(0, 3))
        order = drawn.draw(st.one_of(st.none(), st.permutations(range(room))))
        batch, plain = as_batch(entries), dict(entries)  # of several the last counts in both
        values: list[Any] = ["as it was"] * room
        expected = list(values)
        for place, key in enumerate(keys, start):
            if key in plain:
                expected[place if order is None else order[place]] = plain[key]
        asked = set(keys)
        assert bulk.put_found(batch, keys, values, start, order) == len(plain.keys() - asked)
        assert values == expected

    @pytest.mark.parametrize("size", [1, 3, 7, 8, 9, 16, 20, 100])
    def test_keys_that_differ_in_one_byte(self, size: int) -> None:
        keys = [
            bytes(size)[:at] + bytes([byte]) + bytes(size)[at + 1 :]
            for at in range(size)
            for byte in range(1, 256)
        ]
        batch = as_batch([(key, key[::-1]) for key in keys])
        values: list[Any] = [None] * len(keys)
        assert bulk.put_found(batch, keys, values, 0) == 0
        assert values == [key[::-1] for key in keys]

    def test_of_a_slice_only_what_is_in_it(self) -> None:
        batch = as_batch(ENTRIES)[3::7]
        keys = [key for key, _ in ENTRIES]
        values: list[Any] = [None] * len(keys)
        assert bulk.put_found(batch, keys, values, 0) == 0
        assert values == [v if i % 7 == 3 else None for i, (_, v) in enumerate(ENTRIES)]
        assert bulk.put_found(batch, keys[:100], values, 0) == len(batch) - 14

    @pytest.mark.parametrize(
        ("keys", "places", "start", "order", "error", "text"),
        [
            ([b"a"], 0, 0, None, ValueError, "no 1 places behind 0"),
            ([b"a"], 3, 3, None, ValueError, "no 1 places behind 3"),
            ([b"a"], 3, -1, None, ValueError, "behind -1"),
            ([b"a", b"b"], 3, 0, [1], ValueError, "no 2 places"),
            ([b"a"], 3, 0, [3], IndexError, "order: 3 is none of 3 places"),
            ([b"a"], 3, 0, [-1], IndexError, "order: -1"),
            (["a"], 3, 0, None, TypeError, "wants bytes, got str"),
            ([bytearray(b"a")], 3, 0, None, TypeError, "wants bytes, got bytearray"),
        ],
    )
    def test_what_makes_no_sense(
        self, keys: Any, places: int, start: int, order: Any, error: Any, text: str
    ) -> None:
        values: list[Any] = [None] * places
        with pytest.raises(error, match=text):
            bulk.put_found(as_batch([(b"a", b"1")]), keys, values, start, order)
        assert values == [None] * places

    def test_no_entries_of_iterations(self) -> None:
        entries = [(b"k", (b"v",), None)]
        frame = encode_response("iteration_next", finished_segments=[], entries=entries)
        response = decode_response(frame, RequestContext("iteration_next"), into="batch")
        batch = response.entries  # type: ignore[union-attr]
        with pytest.raises(ValueError, match="pairs"):
            bulk.put_found(batch, [b"k"], [None], 0)
