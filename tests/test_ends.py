"""Messages and decoders that end early: never filled, dropped at any byte, used on after an error.

What they hold is given back: test_leaks.py counts it. Under `make sanitize` nothing is read or
freed that is not theirs.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from hotrod_codec import (
    BytesColumn,
    CacheEncoder,
    EntryBatch,
    Event,
    HashWheel,
    HotRodError,
    IteratedEntry,
    Message,
    Reader,
    Request,
    RequestContext,
    Response,
    ResponseEncoder,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    trace_response,
)
from samples import SAMPLES, Sample

CASES = [
    pytest.param(sample, into, id=f"{sample.name}-{into}")
    for sample in SAMPLES
    for into in ("pairs", *sample.forms, *(["batches"] if sample.forms else []))
    if into == "pairs" or "error" not in sample.arguments
]


def use_after_an_error(reader: Reader, error: HotRodError) -> None:
    """It stays failed, and does no harm."""
    for _ in range(2):
        reader.feed(b"\xa1" * 20)
        reader.commit(min(3, len(reader.buffer())))
        for call in (reader.next, lambda: list(reader)):
            with pytest.raises(type(error)) as caught:
                call()
            assert caught.value is error
    assert reader.offset >= 0
    assert reader.buffered > 0


@pytest.mark.parametrize(("sample", "into"), CASES)
def test_a_reader_that_ends_at_any_byte(sample: Sample, into: str) -> None:
    for size in range(len(sample.frame)):
        reader = sample.reader(into)
        view = reader.buffer(1000)
        view[:size] = sample.frame[:size]
        reader.commit(size)
        for batch in reader:
            assert isinstance(batch, EntryBatch | BytesColumn)
        for refused in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot pickle"):
                refused(reader)
        other = sample.reader(into)
        other.feed(sample.frame[:size] + b"\xee" * (200 - size % 7))
        try:
            list(other)
        except HotRodError as e:
            use_after_an_error(other, e)
        del reader
        view[:size] = bytes(size)  # the block lives on with its view


@pytest.mark.parametrize("size", [65_536, 100_000, 300_000, 1_000_000])
@pytest.mark.parametrize("step", [1, 1000, 65_000, 262_144])
def test_a_reader_that_ends_within_a_long_value(size: int, step: int) -> None:
    frame = encode_response("get", message_id=1, value=bytes(size))
    ends = {1, 8, 9, 10, 5000, size // 2, len(frame) - 1}
    for end in ends if step > 1 else {9, 70}:
        reader = Reader()
        reader.expect(RequestContext("get"), 1)
        for at in range(0, end, step):
            reader.feed(frame[at : min(at + step, end)])
            assert reader.next() is None
        assert reader.receiving is None
        del reader
    reader = Reader("server")
    reader.feed(encode_request("put", key=b"k", value=bytes(size))[:-1])
    assert reader.next() is None
    del reader


@pytest.mark.parametrize("into", ["pairs", "dict", "lists", "batch", "batches"])
@pytest.mark.parametrize("op", ["bulk_get", "get_all", "iteration_next"])
def test_a_reader_that_ends_within_a_long_list(op: str, into: Any) -> None:
    more: dict[str, Any] = {"finished_segments": []} if op == "iteration_next" else {}
    entries = [(b"key-%d" % i, b"v" * (i % 300)) for i in range(1500)]
    frame = encode_response(op, message_id=1, entries=entries, **more)
    for end in [*range(1, 60), 70_000, len(frame) // 2, len(frame) - 1]:
        for pieces in (1, 3):
            reader = Reader()
            reader.expect(RequestContext(op), 1, into=into)
            found = []
            for i in range(pieces):
                reader.feed(frame[end * i // pieces : end * (i + 1) // pieces])
                found += list(reader)
            assert all(isinstance(batch, EntryBatch) for batch in found)
            del reader
            for batch in found:  # what it gave out is whole
                assert batch[-1] in entries or next(iter(batch[-1])) in dict(entries)


KINDS: list[type] = [Request, Response, Event, Message, EntryBatch, BytesColumn, IteratedEntry]


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_that_was_never_filled(kind: Any) -> None:
    """Made by __new__ alone: whatever is asked of it ends, in an answer or an error."""
    hollow = kind.__new__(kind)
    errors = (TypeError, ValueError, AttributeError, IndexError, KeyError)
    for name in dir(hollow):
        try:
            found = getattr(hollow, name)
            if name not in ("__class__", "__init__", "__new__", "__init_subclass__"):
                repr(found)
                found()
        except errors:
            pass
    calls: list[Callable[[], object]] = [
        lambda: repr(hollow),
        lambda: hollow == kind.__new__(kind),
        lambda: encode_request("put_all", entries=hollow),
        lambda: encode_request("get_all", keys=hollow),
        lambda: pickle.loads(pickle.dumps(hollow)),
        lambda: hollow[0],
        lambda: hollow[:],
        lambda: hollow.take([0]),
    ]
    for call in calls:
        try:
            call()
        except (*errors, HotRodError):
            pass


def test_a_request_that_was_never_filled_is_none_to_answer() -> None:
    hollow = Request.__new__(Request)
    frame = encode_response("get", message_id=1, value=b"v")
    calls: list[Callable[[], object]] = [
        lambda: decode_response(frame, hollow),
        lambda: decode_response(frame, hollow, into="batch"),
        lambda: trace_response(frame, hollow),
        lambda: Reader().expect(hollow, 1),
        lambda: Reader().expect_many(hollow, 1, 1),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="request: Request that was never filled"):
            call()
    for kind in (Request, Response, Event):
        with pytest.raises(TypeError, match="comes from decoding"):
            _ = kind.__new__(kind).version
    kinds: list[Any] = [RequestContext, HashWheel]
    for made in kinds:
        with pytest.raises(TypeError):
            made.__new__(made)


def test_no_copies() -> None:
    """A message's bytes can be had by encode(); nothing else of the codec's state goes anywhere."""
    request = decode_request(encode_request("get", key=b"k"))
    things = [request, Reader(), RequestContext("get"), CacheEncoder(), ResponseEncoder()]
    for thing in [*things, HashWheel([1], hash_space=5)]:
        for refused in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot pickle"):
                refused(thing)
