"""Many threads on one module: what may be shared is, what may not says so, and memory that others
write to meanwhile does no harm. The same tests serve with and without the GIL."""

from __future__ import annotations

import contextlib
import itertools
import pickle
import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from hotrod_codec import (
    CacheEncoder,
    EntryBatch,
    HotRodError,
    Message,
    Reader,
    RequestContext,
    ResponseEncoder,
    ServerAddress,
    Topology,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    murmur3,
    protostream,
    segments_of,
    trace_response,
)
from samples import SAMPLES, Sample

THREADS = 4
DEADLINE = 60.0  # seconds; far more than any test here takes


@pytest.fixture(autouse=True)
def _often() -> Iterator[None]:
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def together(*work: Callable[[], object]) -> None:
    """Run each in a thread of its own, at the same time. The first failure is raised."""
    barrier = threading.Barrier(len(work))
    failures: list[BaseException] = []

    def run(each: Callable[[], object]) -> None:
        try:
            barrier.wait(DEADLINE)
            each()
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=run, args=(each,), daemon=True) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def everywhere(each: Callable[[], object], times: int = 500) -> None:
    """The same work in all threads."""

    def again() -> None:
        for _ in range(times):
            each()

    together(*[again] * THREADS)


def until(ended: threading.Event, each: Callable[[], object]) -> Callable[[], None]:
    def again() -> None:
        while not ended.is_set():
            each()

    return again


def ending(ended: threading.Event, each: Callable[[], object]) -> Callable[[], None]:
    """`each`, and then the end of what runs `until` it."""

    def run() -> None:
        try:
            each()
        finally:
            ended.set()

    return run


class TestShared:
    def test_frames(self) -> None:
        """Every kind of message, made and read by all threads at once."""

        def all_kinds() -> None:
            for sample in random.Random(threading.get_ident()).sample(SAMPLES, len(SAMPLES)):
                assert sample.encode(sample.arguments) == sample.frame
                message = sample.decode(sample.frame)
                assert message.encode() == sample.frame
                reader = sample.reader()
                reader.feed(sample.frame)
                assert reader.next() == message

        everywhere(all_kinds, 5)

    def test_one_message(self) -> None:
        messages = [(sample, sample.decode(sample.frame)) for sample in SAMPLES]

        def look() -> None:
            for sample, message in messages:
                assert message.encode() == sample.frame
                assert repr(message)
                assert message.fields == sample.decode(sample.frame).fields

        everywhere(look, 3)

    def test_encoders(self) -> None:
        requests = CacheEncoder("orders", intelligence=3, key_media_type="text/plain")
        answers = ResponseEncoder("3.0")
        pairs = [(b"key-%d" % i, b"value-%d" % i) for i in range(50)]
        put = requests.put(b"key", b"value", 7, lifespan=60)
        get = requests.get(bytearray(b"key"), 2**40)
        many = requests.put_many(pairs, 100)
        answer = answers.get(b"value", 7)

        def encode() -> None:
            assert requests.put(b"key", b"value", 7, lifespan=60) == put
            assert requests.get(bytearray(b"key"), 2**40) == get
            assert requests.put_many(dict(pairs), 100) == many
            assert requests.put_many(iter(pairs), 100) == many
            assert requests.context("get") == RequestContext("get", "4.1", 0, 3)
            assert answers.get(b"value", 7) == answer
            with pytest.raises(HotRodError):
                requests.put(b"key", b"value", -1)

        everywhere(encode)

    def test_a_batch(self) -> None:
        entries = [(b"key-%d" % i, b"value-%d" % i) for i in range(200)]
        frame = encode_response("bulk_get", entries=entries)
        message = decode_response(frame, RequestContext("bulk_get"), into="batch")
        assert message is not None
        batch: EntryBatch = message.entries
        segments = batch.segments(64).tolist()
        shared = iter(batch)

        def read() -> None:
            assert batch[3:9].to_list() == entries[3:9]
            assert batch.to_dict() == dict(entries)
            assert batch.keys[5] == b"key-5"
            assert batch.segments(64).tolist() == segments
            assert batch.take([9, 1]).keys.to_list() == [b"key-9", b"key-1"]
            assert int(batch.values.lengths.sum()) == sum(len(value) for _, value in entries)
            assert pickle.loads(pickle.dumps(batch)) == batch
            for pair in itertools.islice(shared, 3):
                assert pair in entries

        everywhere(read, 50)

    def test_hashes_and_values(self) -> None:
        keys = [b"%d" % i for i in range(100)]
        expected = segments_of(keys, 256).tolist()
        value = protostream.encode([1, "two", b"three"])

        def work() -> None:
            assert segments_of(keys, 256).tolist() == expected
            assert murmur3(bytearray(b"key")) == murmur3(b"key")
            assert protostream.decode(value) == [1, "two", b"three"]

        everywhere(work, 100)


TOPOLOGY = Topology(
    5,
    tuple(ServerAddress(f"node-{i}.example", 11222) for i in range(3)),
    hash_version=3,
    segment_owners=((0, 1), (1, 2), (2,)) * 5,
)
WITH_TOPOLOGY = encode_response("get", message_id=1, value=b"value", topology=TOPOLOGY)
HASH_AWARE = RequestContext("get", "4.1", 0, 3)


class Hook:
    """Calls something in the middle of decoding: when the address of a server is made, which is
    where another thread may run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]) -> None:
        self.called = 0
        make: Any = ServerAddress.__new__

        def hooked(cls: type, *arguments: Any) -> Any:
            self.called += 1
            call()
            return make(cls, *arguments)

        monkeypatch.setattr(ServerAddress, "__new__", hooked)


class TestMemoryThatOthersWriteTo:
    def test_a_topology_is_what_it_was(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = bytearray(WITH_TOPOLOGY)

        def spoil() -> None:
            data[:] = b"\xff" * len(data)
            with pytest.raises(BufferError):
                data.append(0)

        hook = Hook(monkeypatch, spoil)
        for decode in (decode_response, lambda d, c: trace_response(d, c)[1]):
            for view in (data, memoryview(data), memoryview(data).toreadonly()):
                data[:] = WITH_TOPOLOGY
                before = hook.called
                message: Any = decode(view, HASH_AWARE)
                assert hook.called > before
                assert bytes(data) != WITH_TOPOLOGY
                assert message.topology.segment_owners == TOPOLOGY.segment_owners
                assert message.value == b"value"
        del view
        data.append(0)  # nothing holds it

    def test_frames_behind_one_another_in_a_buffer_that_changes(self) -> None:
        """Of any length, and up to the very end of it."""
        sizes = [0, 1, 900, 1000, 1010, 1020, 1024, 4000, 4090, 4096, 70_000]
        frames = [encode_request("put", key=b"k", value=bytes(size)) for size in sizes]
        data = bytearray(b"".join(frames))
        at = 0
        for frame in frames:
            message = decode_request(data, at)
            assert message is not None
            assert message.encode() == frame
            at += message.size
        assert at == len(data)
        assert decode_request(data, at) is None
        assert decode_request(data[:-1], at - len(frames[-1])) is None
        assert decode_request(memoryview(bytes(data)), len(frames[0])) is not None

    @pytest.mark.parametrize("sample", SAMPLES[::7], ids=lambda sample: sample.name)
    def test_any_kind_of_message(self, sample: Sample) -> None:
        data = bytearray(sample.frame)
        ended = threading.Event()
        draw = random.Random(1)

        def scribble() -> None:
            data[:] = sample.frame
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)

        def decode() -> None:
            for _ in range(100):
                with contextlib.suppress(HotRodError):
                    sample.decode(data)

        together(ending(ended, decode), until(ended, scribble))

    def test_a_list_of_keys(self) -> None:
        """Of so many bytes that they are hashed without the GIL."""
        keys: list[Any] = [bytes(2_000_000) for _ in range(5)]
        expected = int(segments_of(keys[:1], 1000)[0])
        ended = threading.Event()

        def change() -> None:
            keys.append(keys.pop(0)[:])
            keys[:] = [bytes(len(key)) for key in keys]

        def work() -> None:
            for _ in range(10):
                found = segments_of(keys, 1000).tolist()
                assert set(found) <= {expected}

        together(ending(ended, work), until(ended, change))

    def test_columns_of_keys(self) -> None:
        data = bytearray(10_000_000)
        offsets = np.arange(0, len(data) + 1, 1000)
        ended = threading.Event()
        refused = 0

        def change() -> None:
            nonlocal refused
            offsets[random.randrange(len(offsets))] += random.choice([-(2**40), 2**40])
            try:
                data.append(0)
                data.pop()
            except BufferError:
                refused += 1

        def work() -> None:
            encoder = CacheEncoder()
            for _ in range(5):
                for call in (lambda k: segments_of(k, 256), encoder.get_many):
                    offsets[:] = np.arange(0, 10_000_001, 1000)
                    with contextlib.suppress(ValueError):
                        call((data, offsets))

        together(ending(ended, work), until(ended, change))

    def test_lists_of_a_topology(self) -> None:
        """An object that has more items than it says, and one that loses them."""

        class Segment(list[int]):
            def __len__(self) -> int:
                return 1

        hash_ids = [1, 2]

        class Port(int):
            def __index__(self) -> int:
                hash_ids.clear()
                return 1

        owners: Any = (Segment([0] * 5000),)
        topology = Topology(1, TOPOLOGY.servers, hash_version=3, segment_owners=owners)
        with pytest.raises(HotRodError, match=r"topology\.segment_owners\[0\]: 5000 is not within"):
            encode_response("get", value=b"", topology=topology)
        servers: Any = [("a", Port(5)), ("b", 5)]
        ids: Any = hash_ids
        wheel = Topology(
            1, servers, hash_version=2, hash_ids=ids, key_owners=1, hash_space=9, virtual_nodes=1
        )
        frame = encode_response("get", version="1.3", value=b"", topology=wheel)
        hash_ids.clear()
        with pytest.raises(HotRodError, match=r"topology\.hash_ids: 0 for 2 servers"):
            encode_response("get", version="1.3", value=b"", topology=wheel)
        assert len(frame) > 0


class TestOneReader:
    def test_a_call_inside_of_another(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reader = Reader()
        reader.expect(HASH_AWARE, 1)
        reader.expect(HASH_AWARE, 2)
        calls: list[Callable[[], object]] = [
            reader.next,
            lambda: reader.next_values(None, 1, 1),
            lambda: reader.resolve({}),
            lambda: list(reader),
            reader.buffer,
            lambda: reader.commit(0),
            reader.feed_eof,
            lambda: reader.feed(b"\xa1"),
            lambda: reader.feed(bytes(100_000)),
            lambda: reader.expect(HASH_AWARE, 3),
            lambda: reader.expect_many(HASH_AWARE, 3, 5),
        ]

        def call_all() -> None:
            for call in calls:
                with pytest.raises(RuntimeError, match="this Reader is being used"):
                    call()

        hook = Hook(monkeypatch, call_all)
        second = encode_response("get", message_id=2, value=b"second")
        for frame in (WITH_TOPOLOGY, bytearray(WITH_TOPOLOGY)):
            reader.feed(bytes(frame) + second)
            first = reader.next()
            assert hook.called > 0
            assert first.topology.segment_owners == TOPOLOGY.segment_owners
            assert reader.next().value == b"second"
            reader.expect(HASH_AWARE, 1)
            reader.expect(HASH_AWARE, 2)
        assert reader.pending_requests == 2

    def test_threads_that_do_not_take_turns(self) -> None:
        """What comes of it is nothing to rely on, but an error or a message."""
        frames = [WITH_TOPOLOGY, encode_response("get", message_id=2, value=bytes(70_000))]
        frames.append(encode_response("bulk_get", message_id=3, entries=[(b"k", b"v")] * 200))
        reader = Reader()
        forms = ["pairs", "batch", "batches", "lists"]

        def act(draw: random.Random) -> None:
            frame = draw.choice(frames)
            cut = draw.randrange(len(frame))
            match draw.randrange(10):
                case 0:
                    reader.expect(HASH_AWARE, draw.randrange(1, 3))
                case 1:
                    into: Any = draw.choice(forms)
                    reader.expect(RequestContext("bulk_get"), 3, into=into)
                case 2:
                    reader.feed(frame)
                case 3:
                    reader.feed(frame[:cut])
                    reader.feed(frame[cut:])
                case 4:
                    room = reader.buffer(draw.randrange(1, 100_000))
                    room[: len(frame)] = frame[: len(room)]
                    reader.commit(min(len(room), len(frame)))
                case 5:
                    reader.expect_many(HASH_AWARE, draw.randrange(2**40), 100)
                case 6:
                    assert reader.next_values([None] * 9, draw.randrange(3), 9) < 9
                case 7:
                    assert reader.resolve({}) == 0
                case _:
                    for message in reader:
                        if isinstance(message, Message):
                            assert message.size
                    assert reader.buffered + reader.offset >= 0
                    assert reader.receiving in (None, 3)

        def work() -> None:
            draw = random.Random(threading.get_ident())
            for _ in range(400):
                with contextlib.suppress(HotRodError, ValueError, RuntimeError):
                    act(draw)

        for _ in range(6):
            reader = Reader()
            together(*[work] * THREADS)


def test_readers_that_threads_hand_over() -> None:
    """A lock is all that it takes."""
    reader = Reader()
    lock = threading.Lock()
    numbers = itertools.count(1)
    found: list[int] = []

    def work() -> None:
        for _ in range(200):
            with lock:
                number = next(numbers)
                reader.expect(HASH_AWARE, number)
                reader.feed(encode_response("get", message_id=number, value=b"v"))
                found.extend(message.message_id for message in reader)

    together(*[work] * THREADS)
    assert found == list(range(1, 1 + 200 * THREADS))
