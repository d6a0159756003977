"""Whether anything is kept: every kind of message, used in every way and failing in every way.

    python tests/leaks.py [RUNS]    a table of bytes per million messages, by kind and way

Here: the ways, and how growth is measured. test_leaks.py runs each a few times. Memory is counted
by tracemalloc, which sees every allocator of CPython's; references by the counts of all objects
that go in and of those that are there once, and on a debug build of CPython by the sum of all.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import itertools
import pickle
import sys
import tracemalloc
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import hotrod_codec
from hotrod_codec import (
    CacheEncoder,
    HashWheel,
    HotRodError,
    Limits,
    Op,
    Reader,
    RequestContext,
    ResponseEncoder,
    Status,
    TransportError,
    Version,
    decode_varint,
    encode_request,
    encode_varint,
    protostream,
    trace_request,
    trace_response,
)
from hotrod_codec import marshallers as marshalling
from hotrod_codec._ext import exchange
from hotrod_codec._ext.bulk import put_found
from hotrod_codec._ext.keyset import KeySet
from hotrod_codec._ext.scalars import end_of_fitting, unzipped
from hotrod_codec._ext.unbatched import Unbatched
from hotrod_codec.client.cluster import Cluster
from hotrod_codec.client.config import Configuration
from hotrod_codec.client.session import Header, Session
from samples import MESSAGE_ID, PAIRS, SAMPLES, Sample

NOTHING = Limits(bytes=1, text=1, items=0, params=0, servers=0, segments=0)
WRONG: list[Any] = [object(), -1.5, b"", "\ud800", 2**80, [(1, 2, 3)], ([5],), {5: 5}]


@dataclass(frozen=True, slots=True)
class Way:
    """Something to do again and again. `messages`: how many are made or read each time."""

    name: str
    call: Callable[[], object]
    messages: int = 1


@dataclass(frozen=True, slots=True)
class Kind:
    """Ways that share their arguments, whose references are counted."""

    name: str
    ways: Sequence[Way]
    arguments: tuple[Any, ...]


def outcome(call: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
    """A result or an error, which is forgotten."""
    try:
        call(*arguments, **keywords)
    except (HotRodError, ValueError, TypeError, IndexError, KeyError, AttributeError):
        pass
    except (OverflowError, BufferError):
        pass


# ---- messages -----------------------------------------------------------------------------------


def looked_at(message: Any) -> None:
    _ = message.fields, repr(message), message == message, message.encode()
    _ = message.op, message.version, message.message_id, message.size, message.canonical
    for name in ("cache", "flags", "key_media_type", "other_params", "topology", "error", "none"):
        outcome(getattr, message, name)
        outcome(message.__getitem__, name)
    outcome(copy.deepcopy, message)
    outcome(pickle.dumps, message)


def in_pieces(sample: Sample, cuts: Iterable[int], into: str = "pairs") -> None:
    reader = sample.reader(into)
    at = 0
    for cut in (*cuts, len(sample.frame)):
        reader.feed(sample.frame[at:cut])
        outcome(list, reader)
        at = cut


def cut_short(sample: Sample) -> None:
    for size in range(len(sample.frame)):
        sample.decode(sample.frame[:size])


def dropped(sample: Sample, into: str = "pairs") -> None:
    """Readers that are thrown away at each byte, as it comes or at once."""
    for size in range(1, len(sample.frame)):
        reader = sample.reader(into)
        reader.feed(sample.frame[:size])
        reader.next()


def spoilt(sample: Sample, into: str = "pairs") -> None:
    """Each byte in turn is another one."""
    keywords = {} if sample.context is None else {"into": into}
    for at in range(len(sample.frame)):
        frame = bytearray(sample.frame)
        frame[at] ^= 0xFF
        outcome(sample.decode, frame, **keywords)
        if at % 4 == 0:
            reader = sample.reader(into)
            reader.feed(frame)
            outcome(list, reader)
            outcome(reader.next)


def wrong_arguments(sample: Sample) -> None:
    for name in sample.arguments:
        for wrong in WRONG:
            outcome(sample.encode, sample.arguments | {name: wrong})
        rest = dict(sample.arguments)
        del rest[name]
        outcome(sample.encode, rest)


def wrong_calls(sample: Sample) -> None:
    outcome(sample.decode, 5)
    outcome(sample.decode, "text")
    outcome(sample.decode, sample.frame, -1)
    outcome(sample.decode, sample.frame, 2**70)
    outcome(sample.decode, sample.frame, limits=5)
    outcome(sample.decode, memoryview(sample.frame)[::2])
    outcome(hotrod_codec.decode_response, sample.frame, 5)
    outcome(sample.encode, sample.arguments | {"unheard_of": 5})
    outcome(sample.encode, sample.arguments | {"version": "1.9"})


def limited(sample: Sample) -> None:
    outcome(sample.decode, sample.frame, limits=NOTHING)
    reader = sample.reader(limits=NOTHING)
    reader.feed(sample.frame)
    outcome(list, reader)
    outcome(reader.next)


def traced(sample: Sample, data: bytes) -> None:
    if sample.context is None:
        trace_request(data)
    else:
        trace_response(data, sample.context)


def into_form(sample: Sample, into: str) -> None:
    found = sample.decode(sample.frame, into=into)
    outcome(found.encode)
    sample.decode(sample.frame[:-1], into=into)
    outcome(sample.decode, sample.frame, into=into, limits=NOTHING)


def with_encoder(sample: Sample) -> Callable[[], object]:
    """The same message from an encoder that is made for many."""
    arguments = dict(sample.arguments)
    version, message_id = arguments.pop("version"), arguments.pop("message_id")
    if sample.context is not None:
        answers = ResponseEncoder(version)
        return lambda: answers.encode(sample.op, message_id, **arguments)
    header = ("cache", "flags", "intelligence", "topology_id")
    media = ("key_media_type", "value_media_type", "other_params")
    of_header = {name: arguments.pop(name) for name in header + media if name in arguments}
    requests = CacheEncoder(version=version, **of_header)
    return lambda: requests.encode(sample.op, message_id, **arguments)


def ways_of(sample: Sample) -> Iterator[Way]:
    frame, size = sample.frame, len(sample.frame)
    buffers = {k: bytearray(v) if type(v) is bytes else v for k, v in sample.arguments.items()}
    yield Way("encode", lambda: sample.encode(sample.arguments))
    yield Way("encode buffers", lambda: sample.encode(buffers))
    yield Way("encoder", with_encoder(sample))
    yield Way("decode", lambda: sample.decode(frame))
    yield Way("decode a buffer", lambda: sample.decode(memoryview(bytearray(b"x" + frame)), 1))
    yield Way("look at", lambda: looked_at(sample.decode(frame)))
    yield Way("trace", lambda: traced(sample, frame))
    yield Way("trace a part", lambda: traced(sample, frame[:-1]))
    yield Way("Reader", lambda: in_pieces(sample, ()))
    yield Way("Reader, bytes", lambda: in_pieces(sample, range(1, size)))
    yield Way("cut short", lambda: cut_short(sample), size)
    yield Way("dropped", lambda: dropped(sample), size)
    yield Way("spoilt", lambda: spoilt(sample), size + size // 4)
    yield Way("limits", lambda: limited(sample), 2)
    yield Way("wrong arguments", lambda: wrong_arguments(sample), 9 * len(sample.arguments))
    yield Way("wrong calls", lambda: wrong_calls(sample), 9)
    if "error" in sample.arguments:
        return
    for into in sample.forms:
        yield Way(f"into {into}", partial(into_form, sample, into), 3)
    for into in (*sample.forms, "batches") if sample.forms else ():
        yield Way(f"Reader into {into}", partial(in_pieces, sample, (size // 2, size - 3), into))
        yield Way(f"dropped into {into}", partial(dropped, sample, into), size)
        if into != "batches":
            yield Way(f"spoilt into {into}", partial(spoilt, sample, into), size + size // 4)


def messages() -> Iterator[Kind]:
    for sample in SAMPLES:
        arguments = (*sample.arguments.values(), sample.context, sample.frame, sample.layout)
        yield Kind(sample.name, list(ways_of(sample)), arguments)


# ---- everything else ----------------------------------------------------------------------------

KEYS = [b"key-%06d" % i for i in range(300)]
OFFSETS = np.arange(0, 3001, 10, dtype=np.int32)
COLUMN = (b"".join(KEYS), OFFSETS)
LONG = b"v" * 300_000


def many_requests() -> Kind:
    encoder = CacheEncoder("orders")
    entries = [(key, key) for key in KEYS]
    calls: list[tuple[str, Callable[[], object]]] = [
        ("get_many", lambda: encoder.get_many(KEYS)),
        ("get_many, columns", lambda: encoder.get_many(COLUMN)),
        ("remove_many, an iterator", lambda: encoder.remove_many(iter(KEYS))),
        ("put_many", lambda: encoder.put_many(entries, lifespan=60)),
        ("put_many, a dict", lambda: encoder.put_many(dict(entries))),
        ("put_columns", lambda: encoder.put_columns(COLUMN, KEYS)),
        ("put_all", lambda: encoder.put_all(entries, MESSAGE_ID)),
        ("get_all", lambda: encoder.get_all(COLUMN, MESSAGE_ID)),
        ("put_pieces", lambda: encoder.put_pieces(KEYS[0], bytearray(LONG))),
        ("put", lambda: encoder.put(KEYS[0], LONG, MESSAGE_ID, max_idle=5)),
        ("replace", lambda: encoder.replace_if_unmodified(KEYS[0], KEYS[1], 2**40)),
        ("with_flags", lambda: encoder.with_flags(1).context(Op.GET)),
        ("topology_id", lambda: setattr(encoder, "topology_id", 2**31)),
    ]
    for wrong in WRONG:
        calls += [
            ("get, wrong", partial(outcome, encoder.get, wrong, MESSAGE_ID)),
            ("get, wrong id", partial(outcome, encoder.get, KEYS[0], wrong)),
            ("put, wrong", partial(outcome, encoder.put, KEYS[0], KEYS[1], lifespan=wrong)),
            ("put_pieces, wrong", partial(outcome, encoder.put_pieces, KEYS[0], wrong)),
            ("get_many, wrong", partial(outcome, encoder.get_many, wrong)),
            ("get_many, wrong item", partial(outcome, encoder.get_many, [*KEYS, wrong])),
            ("get_many, wrong column", partial(outcome, encoder.get_many, (COLUMN[0], wrong))),
            ("put_many, wrong item", partial(outcome, encoder.put_many, [*entries, wrong])),
            ("put_columns, wrong", partial(outcome, encoder.put_columns, COLUMN, wrong)),
            ("put_columns, too few", partial(outcome, encoder.put_columns, COLUMN, KEYS[:-1])),
            ("new, wrong", partial(outcome, CacheEncoder, wrong)),
            ("new, wrong type", partial(outcome, CacheEncoder, "c", key_media_type=wrong)),
            ("new, wrong params", partial(outcome, CacheEncoder, "c", other_params=wrong)),
            ("ResponseEncoder.get, wrong", partial(outcome, ResponseEncoder().get, wrong)),
            ("topology_id, wrong", partial(outcome, setattr, encoder, "topology_id", wrong)),
        ]
    return Kind("requests by the many", [Way(*each) for each in calls], (encoder, KEYS, *COLUMN))


def batches() -> Kind:
    by_name = {sample.name: sample for sample in SAMPLES}
    ways = []
    arguments: list[Any] = []
    for name in ("BULK_GET-4.1", "BULK_GET_KEYS-4.1", "ITERATION_NEXT-4.1", "GET_MULTIMAP-4.1"):
        sample = by_name[f"{name} response"]
        message = sample.decode(sample.frame, into="batch")
        batch: Any = list(message.fields.values())[-1]
        ways += [
            Way(f"{name}: {what}", partial(outcome, call, batch))
            for what, call in BATCH_CALLS.items()
        ]
        arguments += [message, batch, sample.frame]
    return Kind("EntryBatch and BytesColumn", ways, tuple(arguments))


BATCH_CALLS: dict[str, Callable[[Any], object]] = {
    "items": lambda b: [b[0], b[-1], b[:2], b[::-2], list(b), repr(b), b == b[:], len(b)],
    "index": lambda b: b[99],
    "wrong index": lambda b: b["key"],
    "to_list": lambda b: b.to_list(),
    "to_dict": lambda b: b.to_dict(),
    "columns": lambda b: (b.keys, b.values, b.projections, b.keys.starts, b.keys.buffer),
    "numbers": lambda b: (b.starts, b.lengths, b.nbytes),
    "metadata": lambda b: (b.created, b.lifespan, b.max_idle, b.has_metadata, b.entry_version),
    "segments": lambda b: b.segments(256),
    "wrong segments": lambda b: b.segments(0),
    "take": lambda b: b.take([1, 0]),
    "take too far": lambda b: b.take([99]),
    "take wrong": lambda b: b.take(["a"]),
    "pickle": lambda b: pickle.loads(pickle.dumps(b)),
    "copy": lambda b: copy.deepcopy(b),
    "encode": lambda b: encode_request("put_all", entries=b),
    "iterator": lambda b: next(iter(b)),
    "put_found": lambda b: put_found(b, [b[0][0], b"none"], [None] * 3, 1),
    "put_found, wrong": lambda b: put_found(b, [b[0][0], "none"], [None] * 2, 0),  # type: ignore[list-item]
    "put_found, nowhere": lambda b: put_found(b, [b[0][0]], [None], 0, [7]),
}


def hashing() -> Kind:
    wheel = HashWheel([5, 9], hash_space=1000, virtual_nodes=3)
    owners = np.zeros(8, np.int32)
    ways = [
        Way("murmur3", lambda: hotrod_codec.murmur3(KEYS[0])),
        Way("murmur3, buffer", lambda: hotrod_codec.murmur3(bytearray(LONG))),
        Way("murmur2", lambda: hotrod_codec.murmur2(KEYS[0])),
        Way("segment_of", lambda: hotrod_codec.segment_of(KEYS[0], 256)),
        Way("segments_of", lambda: hotrod_codec.segments_of(KEYS, 256), 300),
        Way("segments_of, iterator", lambda: hotrod_codec.segments_of(iter(KEYS), 256), 300),
        Way("segments_of, columns", lambda: hotrod_codec.segments_of(COLUMN, 256), 300),
        Way("segments_of, buffers", lambda: hotrod_codec.segments_of([bytearray(9)], 256)),
        Way("owners_of", lambda: hotrod_codec.owners_of(KEYS, owners), 300),
        Way("split_by_owner", lambda: hotrod_codec.split_by_owner(COLUMN, [0, 1, -1]), 300),
        Way("HashWheel", lambda: HashWheel([5, 9], hash_space=1000, virtual_nodes=3)),
        Way("owner", lambda: (wheel.owner_of(KEYS[0]), wheel.owner_at(5), repr(wheel))),
    ]
    for wrong in WRONG:
        calls: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = [
            ("murmur3", hotrod_codec.murmur3, (wrong,)),
            ("murmur3, seed", hotrod_codec.murmur3, (KEYS[0], wrong)),
            ("murmur2", hotrod_codec.murmur2, (wrong,)),
            ("segment_of", hotrod_codec.segment_of, (KEYS[0], wrong)),
            ("segments_of", hotrod_codec.segments_of, (wrong, 256)),
            ("segments_of, item", hotrod_codec.segments_of, ([*KEYS, wrong], 256)),
            ("segments_of, offsets", hotrod_codec.segments_of, ((COLUMN[0], wrong), 256)),
            ("segments_of, far", hotrod_codec.segments_of, ((b"", OFFSETS), 256)),
            ("owners_of", hotrod_codec.owners_of, (KEYS, wrong)),
            ("owner_of", wheel.owner_of, (wrong,)),
            ("owner_at", wheel.owner_at, (wrong,)),
            ("HashWheel", partial(HashWheel, hash_space=9), (wrong,)),
            ("HashWheel, nodes", partial(HashWheel, [1], hash_space=1, virtual_nodes=wrong), ()),
        ]
        ways += [Way(f"{name}, wrong", partial(outcome, call, *args)) for name, call, args in calls]
    return Kind("hashing", ways, (KEYS, *COLUMN, wheel, owners))


def scalars() -> Kind:
    values: list[Any] = ["text", "\u20ac" * 9, b"bytes", 2**40, -1, 0.5, None, [1, "a"], 2**70]
    ways = []
    for value in values:
        ways.append(Way("protostream.encode", partial(outcome, protostream.encode, value)))
        try:
            data = protostream.encode(value)
        except HotRodError:
            continue
        ways += [
            Way("protostream.decode", partial(protostream.decode, data)),
            Way("protostream.decode, cut", partial(outcome, protostream.decode, data[:-1])),
            Way("protostream.decode, buffer", partial(protostream.decode, bytearray(data))),
        ]
    marshallers: list[Any] = [marshalling.BYTES, marshalling.TEXT]
    for marshaller, value in itertools.product(marshallers, [*values, b"\xff", "\ud800"]):
        for usual in (marshalling.one_encoder(marshaller), marshalling.one_decoder(marshaller)):
            ways.append(Way("one value", partial(outcome, usual, value)))
    for value in values:
        pairs = [(value, b"v"), [value, b"v"], (value,)]
        ways += [
            Way("unzipped", partial(outcome, unzipped, pairs[:2])),
            Way("unzipped, wrong", partial(outcome, unzipped, pairs)),
            Way("end_of_fitting", partial(outcome, end_of_fitting, [b"k", value], 0, 2, 1, 99)),
        ]
    for number in (5, 2**63, -1, 2**64, "5"):
        ways.append(Way("encode_varint", partial(outcome, encode_varint, number)))
    encoded: list[Any] = [b"\x05", b"\xff", b"\xff" * 10, bytearray(b"\x80\x01"), 5]
    for each in encoded:
        ways.append(Way("decode_varint", partial(outcome, decode_varint, each)))
        ways.append(Way("decode_varint, offset", partial(outcome, decode_varint, each, 2**70)))
    return Kind("varints and ProtoStream", ways, tuple(values))


def readers() -> Kind:
    context = RequestContext("get")
    put = RequestContext("put", "4.1", 1)
    frames = {
        "a long value": hotrod_codec.encode_response("get", message_id=1, value=LONG),
        "a long list": hotrod_codec.encode_response("bulk_get", message_id=1, entries=PAIRS * 900),
    }
    ways = []
    for name, frame in frames.items():
        op = "get" if name == "a long value" else "bulk_get"
        for size in (1, 20, 70_000, len(frame) - 1):
            data = frame[:size]
            ways.append(Way(f"{name}, dropped", partial(_begun, op, data)))
            ways.append(Way(f"{name}, then garbage", partial(_begun, op, data, b"\xee" * 400_000)))
            ways.append(Way(f"{name}, whole", partial(_begun, op, data, frame[size:])))
    ways += [
        Way("ids", lambda: _expecting(put, range(0, 4000, 7)), 500),
        Way("expect_many", lambda: Reader().expect_many(context, 5, 10_000)),
        Way("next_values", partial(_values, context)),
        Way("resolve", partial(_resolved, context)),
        Way("buffer", _received),
        Way("copy", lambda: outcome(copy.deepcopy, Reader())),
        Way("pickle", lambda: outcome(pickle.dumps, Reader())),
    ]
    for wrong in WRONG:
        for call in (Reader().feed, Reader().buffer, Reader().commit, Reader().expect, Reader):
            ways.append(Way("wrong", partial(outcome, call, wrong)))
        ways += [
            Way("expect, wrong id", partial(outcome, Reader().expect, context, wrong)),
            Way("expect, wrong form", partial(outcome, Reader().expect, context, 1, into=wrong)),
            Way("expect_many, wrong", partial(outcome, Reader().expect_many, context, 1, wrong)),
            Way("next_values, wrong", partial(outcome, Reader().next_values, wrong, 1, 1)),
            Way("resolve, wrong", partial(outcome, Reader().resolve, wrong)),
            Way("context, wrong", partial(outcome, RequestContext, wrong)),
            Way("context, wrong version", partial(outcome, RequestContext, "get", wrong)),
        ]
    return Kind("Reader", ways, (context, put, *frames.values()))


def _begun(op: str, *parts: bytes) -> None:
    reader = Reader()
    reader.expect(RequestContext(op), 1)
    for part in parts:
        reader.feed(part)
        outcome(list, reader)


def _expecting(context: RequestContext, ids: Iterable[int]) -> None:
    reader = Reader()
    for number in ids:
        reader.expect(context, number)
    outcome(reader.expect, context, 7)


def _values(context: RequestContext) -> None:
    reader = Reader()
    reader.expect_many(context, 1, 100)
    for number in range(1, 101):
        reader.feed(hotrod_codec.encode_response("get", message_id=number, value=b"v" * number))
        reader.next_values([b""] * 100 if number % 2 else None, 1, 100)


class _Slot:
    def set_result(self, response: object) -> None:
        self.response = response
        raise KeyError


def _resolved(context: RequestContext) -> None:
    reader = Reader()
    reader.expect_many(context, 1, 100)
    waiting: dict[int, Any] = {i: _Slot() if i % 7 else None for i in range(1, 101)}
    for number in range(1, 101):
        reader.feed(hotrod_codec.encode_response("get", message_id=number, value=b"v" * number))
        outcome(reader.resolve, waiting, KeyError if number % 2 else ValueError)
        reader.next()


def _received() -> None:
    reader = Reader("server")
    request = encode_request("get", key=b"k" * 40)
    for _ in range(3):
        room = reader.buffer(200_000)
        room[: len(request)] = request
        reader.commit(len(request))
        outcome(reader.commit, 2**40)
    list(reader)


# ---- what iterations of the client are made of --------------------------------------------------


def iterations() -> Kind:
    segments = np.arange(len(KEYS), dtype=np.int32) % 8
    ways = [
        Way("KeySet", lambda: KeySet(0).add(KEYS)),
        Way("KeySet, segments", partial(_finished, segments), 3),
        Way("Unbatched", partial(_unbatched, iter)),
        Way("Unbatched, left", partial(_unbatched, iter, 2)),
        Way("Unbatched, wrong items", partial(_unbatched, lambda batch: iter(batch[0]))),
    ]
    for wrong in WRONG:
        ways += [
            Way("KeySet, wrong", partial(outcome, KeySet, wrong)),
            Way("KeySet, wrong keys", partial(outcome, KeySet(0).add, wrong)),
            Way("KeySet, wrong segments", partial(outcome, KeySet(8).add, KEYS, wrong)),
        ]
    return Kind("iterations", ways, (KEYS, segments))


def _finished(segments: Any) -> None:
    keys = KeySet(8)
    for _ in range(2):
        keys.add(KEYS, segments)
    keys.finish(range(8))
    outcome(keys.add, KEYS, segments[1:])


def _unbatched(split: Callable[[Any], Iterable[Any]], most: int = 1000) -> None:
    async def batches() -> AsyncGenerator[list[int], None]:
        for batch in ([1, 2, 3], [], [4]):
            yield batch

    async def use() -> None:
        items = Unbatched(batches(), split)
        try:
            for _ in range(most):
                await anext(items)
        except (StopAsyncIteration, TypeError):
            pass
        finally:
            await items.aclose()

    for _ in use().__await__():  # nothing in it waits for a loop
        raise AssertionError


# ---- what requests of the client are made of ----------------------------------------------------

CONFIGURATION, HEADER = Configuration(), Header("c")
(SERVER,) = CONFIGURATION.addresses


class _Line(exchange.Way):
    """asyncio's way for requests, by one connection whose server is `say`."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.session = Session(SERVER, Version.V4_1, gone=(asyncio.InvalidStateError,))
        self.session.attach(exchange.Turns(loop), self.session.out.clear, 100)
        self.session.is_open = True
        current = exchange.Current()
        current.place = exchange.Place(loop)
        current.place.exchanges[SERVER] = self.session
        cluster = Cluster(CONFIGURATION)
        self.state = cluster.cache("c")
        super().__init__(current, cluster, 5.0, _not_asked)

    def look(self, answer: exchange.Answer, outcome: Any) -> None:
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)

    def get(self) -> Any:
        return self.ask(Op.GET, self.state, HEADER, b"k", b"k")

    def say(self, message_id: int, **fields: Any) -> None:
        data = hotrod_codec.encode_response("get", message_id=message_id, **fields)
        self.session.buffer()[: len(data)] = data
        self.session.received(len(data))


async def _not_asked(*_: object) -> Any:
    raise AssertionError


def requests() -> Kind:
    uses = (_answered, _refused, _cancelled, _lost, _forgotten)
    ways = [Way(use.__name__.strip("_"), partial(_run, use), 3) for use in uses]
    return Kind("requests", ways, (HEADER, SERVER))


def _run(use: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(use())


async def _answered() -> None:
    line = _Line()
    answers = [line.get() for _ in range(3)]
    tasks = [asyncio.ensure_future(answer) for answer in answers[1:]]
    for i in (2, 3, 1):
        line.say(i, value=b"v")
    assert (await answers[0]).value == b"v"
    await asyncio.gather(*tasks)


async def _refused() -> None:
    line = _Line()
    answers = [line.get() for _ in range(3)]
    for i in (1, 2, 3):
        line.say(i, status=Status.SERVER_ERROR, error="no")
    for answer in answers:
        assert (await answer).error == "no"


async def _cancelled() -> None:
    line = _Line()
    answers = [line.get() for _ in range(3)]
    tasks = [asyncio.ensure_future(_wait(answer)) for answer in answers[1:]]
    await asyncio.sleep(0)
    for each in (answers[0], *tasks):
        each.cancel()
    line.say(1, value=b"v")
    await asyncio.gather(*tasks, return_exceptions=True)
    line.say(2, value=b"v")
    line.say(3, status=Status.KEY_DOES_NOT_EXIST)
    assert not line.session.pending


async def _wait(answer: Any) -> None:
    await answer


async def _lost() -> None:
    line = _Line()
    answers = [line.get() for _ in range(3)]
    line.session.fail(TransportError("lost"))
    found = await asyncio.gather(*answers, return_exceptions=True)
    assert all(isinstance(error, TransportError) for error in found)


async def _forgotten() -> None:
    line = _Line()
    for _ in range(3):
        line.get().add_done_callback(print)


def kinds() -> list[Kind]:
    """All of them. Names may be test ids."""
    others = [many_requests(), batches(), hashing(), scalars(), readers(), iterations(), requests()]
    return [*messages(), *others]


# ---- measuring ----------------------------------------------------------------------------------

# There once, and given out again and again. (From 3.12 on None and the like are not counted.)
SHARED: list[Any] = [None, True, False, (), b"", "", 0, 1, *Op, *Version, *Status]
SHARED += [each for each in vars(hotrod_codec).values() if callable(each)]


@dataclass(frozen=True, slots=True)
class Growth:
    """What `runs` of something left behind."""

    runs: int
    bytes: int
    references: int  # of the object that got most of them

    @property
    def is_leak(self) -> bool:
        """Whether each run kept something."""
        return self.bytes >= 16 * self.runs or self.references >= self.runs


def _collect() -> None:
    """Free what is garbage, and what CPython keeps to look attributes up by names."""
    gc.collect()
    if sys.version_info >= (3, 13):
        sys._clear_internal_caches()
    else:
        sys._clear_type_cache()


def _references(objects: Sequence[Any]) -> list[int]:
    total = getattr(sys, "gettotalrefcount", None)
    return [total()] if total is not None else [sys.getrefcount(each) for each in objects]


def _growth(call: Callable[[], object], watched: Sequence[Any], runs: int) -> list[int]:
    """Of memory, and of the references to each object."""
    _collect()
    before = _references(watched)
    size = tracemalloc.get_traced_memory()[0]
    for _ in range(runs):
        call()
    _collect()
    size = tracemalloc.get_traced_memory()[0] - size
    return [size, *(a - b for a, b in zip(_references(watched), before, strict=True))]


def measure(call: Callable[[], object], arguments: Sequence[Any], runs: int) -> Growth:
    """What `runs` more runs leave behind: nothing that measuring itself does counts, and nothing
    that is kept once. To be called within `counted`."""
    watched = [*arguments, *SHARED]
    few = max(runs // 2, 1)
    call()

    def once() -> Growth:
        less = _growth(call, watched, few)
        more = _growth(call, watched, few + runs)
        size, *references = (a - b for a, b in zip(more, less, strict=True))
        return Growth(runs, size, max(references))

    found = once()
    for _ in range(4):
        if found.is_leak:
            found = once()
    return found


class counted:
    """Within it memory is counted, and the collector has little to look through."""

    def __enter__(self) -> None:
        gc.collect()
        gc.freeze()
        gc.disable()
        tracemalloc.start()

    def __exit__(self, *exception: object) -> None:
        tracemalloc.stop()
        gc.enable()
        gc.unfreeze()


def leaks_of(kind: Kind, runs: int) -> list[str]:
    """The names of the ways that keep something; each is looked at only if all together do."""

    def once() -> None:
        for way in kind.ways:
            way.call()

    if not measure(once, kind.arguments, runs).is_leak:
        return []
    found = [(way, measure(way.call, kind.arguments, runs)) for way in kind.ways]
    names = [f"{way.name}: {growth}" for way, growth in found if growth.is_leak]
    return names or ["all together"]


# ---- the table ----------------------------------------------------------------------------------


def _resident() -> int:
    """Bytes of memory that the process has."""
    with open("/proc/self/statm", encoding="ascii") as text:
        return int(text.read().split()[1]) * 4096


def main(runs: int) -> int:
    """Print the table. Returns how many lines of it are leaks."""
    leaks = 0
    total = 0
    print(f"{'kind':48} {'messages':>10} {'bytes per million':>18} {'references':>11}")
    with counted():
        for kind in kinds():
            messages = runs * sum(way.messages for way in kind.ways)
            grown = [measure(way.call, kind.arguments, runs) for way in kind.ways]
            size, references = sum(each.bytes for each in grown), sum(e.references for e in grown)
            names = [w.name for w, each in zip(kind.ways, grown, strict=True) if each.is_leak]
            leaks += bool(names)
            total += messages
            print(
                f"{kind.name:48} {messages:>10,} {size * 1_000_000 / messages:>18,.0f} "
                f"{references:>11,} {'LEAK: ' + ', '.join(names) if names else ''}",
                flush=True,
            )
    every = [way for kind in kinds() for way in kind.ways]
    for way in every:
        way.call()
    before, messages = _resident(), 0
    for _ in range(runs):
        for way in every:
            way.call()
            messages += way.messages
    grown_by = _resident() - before
    print(
        f"{total:,} messages counted, {leaks} kinds with leaks; then {messages:,} more of all kinds"
        f" in turn: the process grew by {grown_by:,} bytes, {grown_by * 1e6 / messages:,.0f} per"
        " million"
    )
    return leaks


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)))
