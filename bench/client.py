"""The client beside Infinispan's Java client and beside bare sockets, on the same server.

    python -m bench.client                   a table, the goals, bench-result.client.json
    python -m bench.client -k flight         some rows
    python -m bench.client --docs FILE       docs/performance.md's block from such a file

Wants what the integration tests want (a JDK, Maven), and `tests` on PYTHONPATH: make bench-client.

All sides of a row run in each round, in an order that is shuffled, and the ratio is taken within
the round, as everywhere here. There are processes beside this one: the server, the Java client,
an embedded server, an echo; they work only when they are asked for something. Where one request
waits for the other, all of them share one processor; see `one_processor`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import platform
import random
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from bench.peers import HOST, peer
from bench.report import DOCS, nanoseconds, rewrite_block
from hotrod_codec import AsyncClient, Client, Reader
from hotrod_codec._paired import ratio_of
from hotrod_codec.client.session import Header
from hotrod_codec.marshallers import BYTES
from hotrod_codec.ops import Intelligence, Op, Version
from integration.foreign import Foreign
from integration.infinispan import MODERN, Infinispan, compiled, fetch, tool

KEYS = [b"key-%016d" % i for i in range(10_000)]
VALUE = b"v" * 100
IN_FLIGHT = 64
BATCH = 1000
GATHERED = 500  # of them in one request of a client that reads many
ENTRIES = 1_000_000
EMBEDDED_ENTRIES = 100_000
ITERATION = f"iteration, {ENTRIES:,} entries"
ITERATED = 10_000  # entries of one answer: what both clients ask for if nobody says otherwise

CACHE, FULL = "octets", "many"
JVM = ("-Xms1g", "-Xmx2g", "-XX:+UseParallelGC")

SECONDS = 0.15  # of one side in one round, about
ROUNDS = 11
WARM, WARM_JAVA = 0.6, 3.0  # seconds for which a side runs before: Java compiles what runs often
RESULT = Path("bench-result.client.json")

Run = Callable[[int], float]
"""Do something so many times; how many seconds it took."""


# ---- our sides ---------------------------------------------------------------------------------


def keys(count: int) -> Iterator[bytes]:
    return islice(cycle(KEYS), count)


def batches(count: int) -> Iterator[list[bytes]]:
    parts = [KEYS[i : i + BATCH] for i in range(0, len(KEYS), BATCH)]
    return islice(cycle(parts), count // BATCH)


def wanted(number: int, found: int) -> None:
    if number != found:
        raise AssertionError(f"wanted {number}, found {found}")


class Sync:
    """`Client`: one thread."""

    def __init__(self, port: int) -> None:
        self.client = Client(addresses=(HOST, port))
        self.cache = self.client.cache(CACHE, keys=BYTES, values=BYTES)
        self.full = self.client.cache(FULL, keys=BYTES, values=BYTES)

    def close(self) -> None:
        self.client.close()

    def fill(self, entries: int) -> None:
        self.cache.put_all((key, VALUE) for key in KEYS)
        for start in range(0, entries, ITERATED):
            self.full.put_all((b"key-%016d" % i, VALUE) for i in range(start, start + ITERATED))
        wanted(entries, self.full.size())

    def __call__(self, action: str) -> Run:
        method = getattr(self, action)

        def run(count: int) -> float:
            start = time.perf_counter()
            method(count)
            return time.perf_counter() - start

        return run

    def get(self, count: int) -> None:
        get = self.cache.get
        for key in keys(count):
            if get(key) is None:
                raise AssertionError("there is a value")

    def put(self, count: int) -> None:
        put = self.cache.put
        for key in keys(count):
            put(key, VALUE)

    def get_many(self, count: int) -> None:
        for part in batches(count):
            if None in self.cache.get_many(part):
                raise AssertionError("there is a value")

    def put_many(self, count: int) -> None:
        for part in batches(count):
            self.cache.put_many((key, VALUE) for key in part)

    def get_all(self, count: int) -> None:
        for part in batches(count):
            wanted(BATCH, len(self.cache.get_all(part)))

    def put_all(self, count: int) -> None:
        for part in batches(count):
            self.cache.put_all((key, VALUE) for key in part)

    def entries(self, count: int) -> None:
        wanted(count, sum(1 for _ in self.full.entries()))

    def batches(self, count: int) -> None:
        wanted(count, sum(len(batch) for batch in self.full.batches()))


class Async:
    """`AsyncClient` on a loop of its own."""

    def __init__(self, port: int, factory: Callable[[], asyncio.AbstractEventLoop] | None) -> None:
        self.runner = asyncio.Runner(loop_factory=factory)
        self.client = AsyncClient(addresses=(HOST, port))
        self.cache = self.client.cache(CACHE, keys=BYTES, values=BYTES)
        self.full = self.client.cache(FULL, keys=BYTES, values=BYTES)

    def close(self) -> None:
        self.runner.run(self.client.close())
        self.runner.close()

    def __call__(self, action: str) -> Run:
        method = getattr(self, action)

        async def timed(count: int) -> float:
            start = time.perf_counter()
            await method(count)
            return time.perf_counter() - start

        return lambda count: self.runner.run(timed(count))

    async def _in_flight(self, count: int, ask: Callable[[bytes], Awaitable[Any]]) -> None:
        left = keys(count)

        async def work() -> None:
            for key in left:
                await ask(key)

        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))

    async def get_in_flight(self, count: int) -> None:
        await self._in_flight(count, self.cache.get)

    async def put_in_flight(self, count: int) -> None:
        await self._in_flight(count, lambda key: self.cache.put(key, VALUE))

    async def get_many(self, count: int) -> None:
        for part in batches(count):
            if None in await self.cache.get_many(part):
                raise AssertionError("there is a value")

    async def put_many(self, count: int) -> None:
        for part in batches(count):
            await self.cache.put_many((key, VALUE) for key in part)

    async def get_all(self, count: int) -> None:
        for part in batches(count):
            wanted(BATCH, len(await self.cache.get_all(part)))

    async def put_all(self, count: int) -> None:
        for part in batches(count):
            await self.cache.put_all((key, VALUE) for key in part)

    async def entries(self, count: int) -> None:
        found = 0
        async for _ in self.full.entries():
            found += 1
        wanted(count, found)

    async def batches(self, count: int) -> None:
        found = 0
        async for batch in self.full.batches():
            found += len(batch)
        wanted(count, found)


# ---- the floor ---------------------------------------------------------------------------------


class Bare:
    """A blocking socket and no client: it writes requests that were encoded beforehand, the same
    bytes as ours, and reads as many bytes as the answers have, without looking at them."""

    def __init__(self, port: int) -> None:
        header = Header(CACHE, key_media_type=BYTES.media_type, value_media_type=BYTES.media_type)
        self.encoder = header.encoder(Version.V4_1, Intelligence.HASH_DISTRIBUTION_AWARE)
        self.full = Header(
            FULL, key_media_type=BYTES.media_type, value_media_type=BYTES.media_type
        ).encoder(Version.V4_1, Intelligence.HASH_DISTRIBUTION_AWARE)
        self.sock = socket.create_connection((HOST, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray(2**16)
        self._sizes: list[int] = []

    def close(self) -> None:
        self.sock.close()

    def answer_size(self, request: bytes, op: Op, count: int = 1) -> int:
        """Bytes of the answers to a request, or to several with ids from 1 on."""
        reader = Reader()
        reader.expect_many(self.encoder.context(op), 1, count)
        self.sock.sendall(request)
        for _ in range(count):
            while (answer := reader.next()) is None:
                reader.feed(self.sock.recv(2**16))
            answer.raise_for_status()
        return reader.offset

    def exchange(self, requests: Sequence[bytes], answer: int, times: int) -> float:
        send, receive, buffer = self.sock.sendall, self.sock.recv_into, self.buffer
        start = time.perf_counter()
        for request in islice(cycle(requests), times):
            send(request)
            left = answer
            while left:
                left -= receive(buffer)
        return time.perf_counter() - start

    def __call__(self, requests: Sequence[bytes], op: Op, count: int = 1, entries: int = 1) -> Run:
        """A run of these, one after the other: as long as each other, and each is `count` requests
        with `entries` entries in all."""
        size = self.answer_size(requests[0], op, count)
        return lambda times: self.exchange(requests, size, max(1, times // entries))

    def iteration(self, count: int) -> float:
        """An iteration, one answer after the other; the first time their sizes are learnt."""
        if not self._sizes:
            self._iterate(self._learn)
        start = time.perf_counter()
        self._iterate(self._skip)
        return time.perf_counter() - start

    def _iterate(self, take: Callable[[bytes], None]) -> None:
        reader = Reader()
        reader.expect(self.full.context(Op.ITERATION_START), 1)
        self.sock.sendall(self.full.encode(Op.ITERATION_START, 1, batch_size=ITERATED))
        while (answer := reader.next()) is None:
            reader.feed(self.sock.recv(2**16))
        name = answer.iteration_id
        take(self.full.encode(Op.ITERATION_NEXT, 2, iteration_id=name))
        end = self.full.encode(Op.ITERATION_END, 2, iteration_id=name)
        reader.expect(self.full.context(Op.ITERATION_END), 2)
        self.sock.sendall(end)
        while reader.next() is None:
            reader.feed(self.sock.recv(2**16))

    def _learn(self, request: bytes) -> None:
        reader, at = Reader(), 0
        while True:
            reader.expect(self.full.context(Op.ITERATION_NEXT), 2, into="batch")
            self.sock.sendall(request)
            while (answer := reader.next()) is None:
                reader.feed(self.sock.recv(2**16))
            self._sizes.append(reader.offset - at)
            at = reader.offset
            if not len(answer.entries):
                return

    def _skip(self, request: bytes) -> None:
        for size in self._sizes:
            self.exchange([request], size, 1)


# ---- the Java client ---------------------------------------------------------------------------


class Java:
    """JavaBench.java in a process of its own."""

    def __init__(self, port: int, errors: Path) -> None:
        jars = fetch(MODERN)
        classes = compiled(MODERN, jars, [Path(__file__).resolve().parent / "JavaBench.java"])
        path = f"{classes}{os.pathsep}{jars}{os.sep}*"
        options = (*JVM, "-Djava.net.preferIPv4Stack=true")
        self.process = Foreign([tool("java"), *options, "-cp", path, "JavaBench"], errors)
        self.process.ask(
            "connect",
            host=HOST,
            port=port,
            cache=CACHE,
            full=FULL,
            keys=len(KEYS),
            value=len(VALUE),
            in_flight=IN_FLIGHT,
            batch=BATCH,
            iterated=ITERATED,
        )

    def close(self) -> None:
        self.process.close()

    def __call__(self, action: str) -> Run:
        return lambda count: int(self.process.ask(action, count=count)) / 1e9


# ---- rows --------------------------------------------------------------------------------------


@dataclass
class Row:
    """One kind of work.

    Attributes:
        ours: What is measured, by the client's name.
        others: What it is measured against.
        unit: Counts of calls are multiples of it.
        whole: It is that count, once in a round.
        goals: The least speed relative to Java, by the client's name.
        floor: The most time relative to the bare loop. Such a row has one processor.
    """

    name: str
    ours: Mapping[str, Run]
    others: Mapping[str, Run]
    unit: int = 1
    whole: int = 0
    goals: Mapping[str, float] = field(default_factory=dict)
    floor: float | None = None


def rows(stack: ExitStack, chosen: Callable[[str], bool]) -> Iterator[Row]:
    """All rows, on servers that end with `stack`."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    server = stack.enter_context(Infinispan(MODERN, jvm=JVM))
    port = server.addresses[0][1]
    embedded_port = stack.enter_context(peer("embedded", CACHE, FULL))

    def closed(thing: Any) -> Any:
        stack.callback(thing.close)
        return thing

    java = closed(Java(port, folder / "java.log"))
    bare = closed(Bare(port))
    sync, loops = closed(Sync(port)), {"asyncio": closed(Async(port, None))}
    with suppress(ImportError):  # there is none for Windows
        loops["uvloop"] = closed(Async(port, importlib.import_module("uvloop").new_event_loop))
    e_sync, e_async = closed(Sync(embedded_port)), closed(Async(embedded_port, None))
    sync.fill(ENTRIES if chosen(ITERATION) else 0)
    e_sync.fill(EMBEDDED_ENTRIES)
    encoder = bare.encoder

    def echo(requests: Sequence[bytes], op: Op) -> Run:
        size = bare.answer_size(requests[0], op)
        other = closed(Bare(stack.enter_context(peer("echo", len(requests[0]), size))))
        return lambda count: other.exchange(requests, size, count)

    def parts(encode: Callable[[Any, int], bytes], data: Sequence[Any], size: int) -> list[bytes]:
        """The same keys as ours, so many at a time."""
        return [encode(data[i : i + size], 1) for i in range(0, len(data) - size + 1, size)]

    def gathered(keys: Sequence[bytes], first_id: int) -> bytes:
        requests = range(0, len(keys), GATHERED)
        return b"".join(
            encoder.get_all(keys[i : i + GATHERED], first_id + i // GATHERED) for i in requests
        )

    some = [(key, VALUE) for key in KEYS]
    kinds: list[tuple[str, Op, Callable[[Any, int], bytes], Sequence[Any]]] = [
        ("get", Op.GET, encoder.get_many, KEYS),
        ("put", Op.PUT, encoder.put_many, some),
    ]
    for action, op, many, data in kinds:
        for name in (f"{action}_many", f"{action}_all"):
            if not chosen(name):
                continue
            # As ours: what reads many asks for some hundred by each request.
            if op is Op.GET:
                floor = bare(parts(gathered, data, BATCH), Op.GET_ALL, BATCH // GATHERED, BATCH)
            elif name == "put_many":
                floor = bare(parts(many, data, BATCH), op, BATCH, BATCH)
            else:
                floor = bare(parts(encoder.put_all, data, BATCH), Op.PUT_ALL, 1, BATCH)
            yield Row(
                f"{name}, {BATCH} at a time",
                {"sync": sync(name)} | {loop: client(name) for loop, client in loops.items()},
                {
                    "java": java(name),
                    **({"java getAll": java("get_all")} if name == "get_many" else {}),
                    "bare": floor,
                    "embedded": e_async(name),
                },
                unit=BATCH,
                goals=dict.fromkeys(("sync", *loops), 2.0 if name == "get_many" else 1.0),
            )
    # Not the first, as the server has not compiled much then.
    for action, op, many, data in kinds:
        if chosen(f"{action}, {IN_FLIGHT} in flight"):
            name = f"{action}_in_flight"
            yield Row(
                f"{action}, {IN_FLIGHT} in flight",
                {loop: client(name) for loop, client in loops.items()},
                {
                    "java": java(name),
                    "bare": bare(parts(many, data, IN_FLIGHT), op, IN_FLIGHT, IN_FLIGHT),
                    "embedded": e_async(name),
                },
                unit=IN_FLIGHT,
                # Servers write each put's answer by itself: there is nothing to win for a client.
                goals={"asyncio": 1.0, "uvloop": 1.3 if op is Op.GET else 1.0},
            )
    if chosen(ITERATION):
        yield Row(
            ITERATION,
            {
                "sync, entries()": sync("entries"),
                "asyncio, entries()": loops["asyncio"]("entries"),
                "sync, batches()": sync("batches"),
                "asyncio, batches()": loops["asyncio"]("batches"),
            },
            {
                "java": java("retrieve_entries"),
                "java entrySet": java("entry_set"),
                "bare": bare.iteration,
                "embedded": e_sync("entries"),
            },
            whole=ENTRIES,
            goals={
                "sync, entries()": 1.0,
                "asyncio, entries()": 1.0,
                "sync, batches()": 1.0,
                "asyncio, batches()": 1.0,
            },
        )
    # The last: with one processor, what Java has not compiled by now would be in the way.
    gets = [encoder.get(key, 1) for key in KEYS]
    puts = [encoder.put(key, VALUE, 1) for key in KEYS]
    for action, one, op in (("get", gets, Op.GET), ("put", puts, Op.PUT)):
        if chosen(f"{action}, one after the other"):
            yield Row(
                f"{action}, one after the other",
                {"sync": sync(action)},
                {
                    "java": java(action),
                    "bare": bare(one, op),
                    "echo": echo(one, op),
                    "embedded": e_sync(action),
                },
                floor=1.2,
            )


# ---- measuring ---------------------------------------------------------------------------------


def warm(run: Run, unit: int, seconds: float) -> int:
    """Run it for some time; how often it has to be done for a round of SECONDS."""
    count, end = unit, time.perf_counter() + seconds
    while True:
        rate = count / run(count)
        count = min(max(unit, int(rate * SECONDS)), count * 4) // unit * unit
        if time.perf_counter() > end:
            return count


@contextmanager
def one_processor() -> Iterator[None]:
    """Let this process and those that it has started share one processor.

    Where a request waits for the one before it, only one side ever works. Are there two processors,
    the scheduler may put both sides on one of them, or wake up an idle one for each message, which
    takes three times as long as all the rest; and leave it so for seconds. Then the figures tell of
    that alone.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    all_of_them = os.sched_getaffinity(0)
    try:
        for _ in range(2):  # again for threads that were started meanwhile by others
            let_run_on({max(all_of_them)})
        yield
    finally:
        let_run_on(all_of_them)


def let_run_on(processors: set[int]) -> None:
    for process in family():
        for thread in threads_of(process):
            with suppress(ProcessLookupError):
                os.sched_setaffinity(thread, processors)


def threads_of(process: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(thread) for thread in os.listdir(f"/proc/{process}/task")]
    return []


def family() -> list[int]:
    """This process, and those that it has started, and they."""
    found = [os.getpid()]
    for process in found:
        for thread in threads_of(process):
            with suppress(FileNotFoundError):
                text = Path(f"/proc/{process}/task/{thread}/children").read_text(encoding="ascii")
                found += map(int, text.split())
    return found


def measure(row: Row, rounds: int) -> list[dict[str, Any]]:
    """A line for each of our clients."""
    if row.floor is None:
        return _measure(row, rounds)
    with one_processor():
        return _measure(row, rounds)


def _measure(row: Row, rounds: int) -> list[dict[str, Any]]:
    sides = dict(row.ours) | dict(row.others)
    names = list(sides)
    if row.whole:
        counts = [EMBEDDED_ENTRIES if name == "embedded" else row.whole for name in names]
        rounds = max(3, rounds // 3)
        for run, count in zip(sides.values(), counts, strict=True):
            run(count)
    else:
        counts = [
            warm(run, row.unit, WARM_JAVA if name.startswith("java") else WARM)
            for name, run in sides.items()
        ]
    shuffle = random.Random(len(names)).shuffle
    times: dict[str, list[float]] = {name: [] for name in names}
    order = list(zip(names, counts, strict=True))
    for _ in range(rounds):
        shuffle(order)
        for name, count in order:
            times[name].append(sides[name](count) / count)
    for name in names:
        if name.startswith("java "):  # Java has two ways: the one that is faster counts
            times["java"] = min(times["java"], times.pop(name), key=statistics.median)
    return [
        {
            "row": row.name,
            "client": name,
            "ns": 1e9 * statistics.median(times[name]),
            "references": {
                other: {
                    "ns": (ratio := ratio_of(times[name], times[other])).reference_ns,
                    "time": ratio.median,
                    "low": ratio.low,
                    "high": ratio.high,
                }
                for other in row.others
                if other in times
            },
            "goal": row.goals.get(name),
            "floor": row.floor,
        }
        for name in row.ours
    ]


# ---- what came out -----------------------------------------------------------------------------

HEADINGS = (
    "operation",
    "client",
    "time",
    "Java",
    "speed",
    "bare",
    "x bare",
    "echo",
    "embedded",
    "goals",
)


def verdict(line: Mapping[str, Any]) -> str:
    references = line["references"]
    said = []
    if line["goal"] is not None:
        met = 1 / references["java"]["time"] >= line["goal"]
        text = f"{'met' if met else 'MISSED'}: {line['goal']:g} x Java's speed"
        if not met and "bare" in references:  # more than the server gives to anybody?
            bare = references["java"]["ns"] / references["bare"]["ns"]
            text += f" (the bare loop: {bare:.2f})"
        said.append(text)
    if line["floor"] is not None:
        met = references["bare"]["time"] <= line["floor"]
        said.append(f"{'met' if met else 'MISSED'}: {line['floor']:g} x the bare loop's time")
    return "; ".join(said)


def cells(line: Mapping[str, Any]) -> list[str]:
    references = line["references"]

    def of(name: str) -> str:
        return nanoseconds(references[name]["ns"]) if name in references else ""

    return [
        line["row"],
        line["client"],
        nanoseconds(line["ns"]),
        of("java"),
        f"{1 / references['java']['time']:.2f}",
        of("bare"),
        f"{references['bare']['time']:.2f}",
        of("echo"),
        of("embedded"),
        verdict(line),
    ]


def shown(row: Sequence[str]) -> str:
    """A line of the table for the terminal."""
    name, client, *figures, goals = row
    return f"{name:30} {client:20}" + "".join(f"{cell:>9}" for cell in figures) + f"  {goals}"


def markdown(result: Mapping[str, Any]) -> str:
    table = [cells(line) for line in result["lines"]]
    return "\n".join(
        [
            result["machine"],
            "",
            "| " + " | ".join(HEADINGS) + " |",
            "|---|---" + "|--:" * (len(HEADINGS) - 3) + "|---|",
            *("| " + " | ".join(row) + " |" for row in table),
        ]
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="The client beside Java's and bare sockets.")
    parser.add_argument("-k", default="", help="only rows with these words")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--docs", type=Path, metavar="FILE", help="write the block of a result")
    options = parser.parse_args(arguments)
    if options.docs is not None:
        result = json.loads(options.docs.read_text(encoding="utf-8"))
        rewrite_block(DOCS / "performance.md", "client", markdown(result))
        return
    lines: list[dict[str, Any]] = []
    print(shown(HEADINGS))
    with ExitStack() as stack:
        for row in rows(stack, lambda name: options.k in name):
            for line in measure(row, options.rounds):
                print(shown(cells(line)), flush=True)
                lines.append(line)
    versions = [f"CPython {platform.python_version()}"]
    if "uvloop" in sys.modules:
        versions.append(f"uvloop {sys.modules['uvloop'].__version__}")
    machine = f"{', '.join(versions)}, Infinispan {MODERN}, {platform.system()}, "
    machine += f"{os.cpu_count()} processors."
    RESULT.write_text(json.dumps({"machine": machine, "lines": lines}, indent=1), encoding="utf-8")
    missed = [line for line in lines if "MISSED" in verdict(line)]
    for line in missed:
        print(f"{line['row']}, {line['client']}: {verdict(line)}")
    print(f"{len(lines)} rows, {len(missed) or 'none'} of them with a goal missed; {RESULT}")


if __name__ == "__main__":
    main(sys.argv[1:])
