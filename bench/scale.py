"""What an entry costs, by how many there are: time and memory of each representation.

    python -m bench.scale            docs/performance.md's block and its plots (some minutes)
    python -m bench.scale --quick    small sizes only, to the terminal

Each figure comes from a process of its own, one at a time: what another representation left in the
allocator would move it. Time is the median of decoding and letting go of the result; memory is
taken before, in the fresh process, with the result alive. Linux only (/proc).
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.inputs import KEY, MESSAGE_ID, VALUE, VERSION, bulk_response, get_response
from bench.report import DOCS, Curve, curves_plot, nanoseconds, rewrite_block
from hotrod_codec import Reader, RequestContext, decode_response, encode_request

SIZES = [1_000, 10_000, 100_000, 1_000_000, 10_000_000]
FORMS = {
    "pairs": "list of pairs",
    "dict": "dict",
    "lists": "two lists",
    "batch": "EntryBatch",
    "batches": "batches, streamed",
}
CHUNKS = [1, 16, 256, 1448, 4096, 16384, 65536, 262_144, 1 << 20]
CHUNK = 64 * 1024
LARGE = 16 * 1024 * 1024
SECONDS = 0.5  # of one figure, at least
PATIENCE = 8.0  # for a third run
MOST_RUNS = 200

Child = Callable[[int], dict[str, float]]


# ---- in the child ----------------------------------------------------------------------------


def bulk_frame(count: int) -> bytes:
    """The answer to a bulkGet, made as a whole: encoding 10 million tuples would take minutes."""
    entry = np.frombuffer(bulk_response([(bytes(KEY), bytes(VALUE))]), np.uint8)
    size = 1 + 1 + KEY + 1 + VALUE
    head, end = entry[: -size - 1], entry[-1:]
    frame = np.empty(len(head) + count * size + 1, np.uint8)
    frame[: len(head)] = head
    frame[-1:] = end
    entries = frame[len(head) : -1].reshape(count, size)
    entries[:] = entry[-size - 1 : -1]
    # Keys that differ: the bytes of a number.
    entries[:, 2:10] = np.arange(count, dtype=np.int64).view(np.uint8).reshape(count, 8)
    return frame.tobytes()


def resident() -> int:
    """Bytes of memory that the process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def median_seconds(run: Callable[[], Any]) -> float:
    """Of running it and letting go of the result."""
    times: list[float] = []
    while sum(times) < SECONDS or (len(times) < 3 and sum(times) < PATIENCE):
        if len(times) == MOST_RUNS:
            break
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def as_result(form: Any) -> Child:
    """One result of all entries."""

    def measure(count: int) -> dict[str, float]:
        frame = bulk_frame(count)
        context = RequestContext("bulk_get", VERSION)

        def run() -> Any:
            return decode_response(frame, context, into=form)

        run()
        # Small results are measured by many of them.
        copies = max(1, 200_000 // count)
        gc.collect()
        before = resident()
        held = [run() for _ in range(copies)]
        memory = (resident() - before) / copies / count
        del held
        if form == "batch":  # keeps the answer
            memory += len(frame) / count
        return {"ns": 1e9 * median_seconds(run) / count, "bytes": memory}

    return measure


def read(frame: bytes, chunk: int, into: Any, look: Callable[[], None] | None = None) -> int:
    """Feed a bulkGet's answer in chunks and take what comes. Returns how many entries came."""
    reader = Reader()
    reader.expect(RequestContext("bulk_get", VERSION), MESSAGE_ID, into=into)
    view = memoryview(frame)
    taken = 0
    for start in range(0, len(frame), chunk):
        reader.feed(view[start : start + chunk])
        while (item := reader.next()) is not None:
            entries = getattr(item, "entries", item) if into != "batches" else item
            taken += len(entries) if hasattr(entries, "__len__") else 0
            if look is not None:
                look()
    return taken


def streamed(count: int) -> dict[str, float]:
    """Batch by batch, each let go before the next."""
    frame = bulk_frame(count)
    most = before = 0

    def look() -> None:
        nonlocal most
        most = max(most, resident())

    gc.collect()
    before = most = resident()
    taken = read(frame, CHUNK, "batches", look)
    if taken != count:
        raise AssertionError(f"{taken} of {count} entries")
    seconds = median_seconds(lambda: read(frame, CHUNK, "batches"))
    return {"ns": 1e9 * seconds / count, "bytes": (most - before) / count, "grown": most - before}


def in_chunks(chunk: int) -> dict[str, float]:
    """10,000 entries into a list of pairs."""
    count = 10_000
    frame = bulk_frame(count)
    return {"ns": 1e9 * median_seconds(lambda: read(frame, chunk, "pairs")) / count}


def large_values(_: int) -> dict[str, float]:
    """16 MiB: seconds of each way, beside those of one copy."""
    value = random.Random(1).randbytes(LARGE)
    frame = get_response(MESSAGE_ID, value)
    context = RequestContext("get", VERSION)
    view = memoryview(frame)
    copied = memoryview(value)

    def feed(chunk: int) -> Any:
        reader = Reader()
        reader.expect(context, MESSAGE_ID)
        for start in range(0, len(frame), chunk):
            reader.feed(view[start : start + chunk])
        return reader.next()

    def receive() -> Any:
        reader = Reader()
        reader.expect(context, MESSAGE_ID)
        start = 0
        while start < len(frame):
            room = memoryview(reader.buffer())
            size = min(len(room), CHUNK, len(frame) - start)
            room[:size] = view[start : start + size]
            room.release()
            reader.commit(size)
            start += size
        return reader.next()

    def put() -> bytes:
        return encode_request("put", version=VERSION, message_id=1, key=b"k" * KEY, value=value)

    if feed(CHUNK).value != value or receive().value != value:
        raise AssertionError("another value")
    return {
        "one copy": median_seconds(lambda: copied.tobytes()),
        "encode a put": median_seconds(put),
        "decode a get": median_seconds(lambda: decode_response(frame, context)),
        "feed in 1,448 bytes": median_seconds(lambda: feed(1448)),
        "feed in 64 KiB": median_seconds(lambda: feed(CHUNK)),
        "feed at once": median_seconds(lambda: feed(len(frame))),
        "buffer, commit in 64 KiB": median_seconds(receive),
    }


CHILDREN: dict[str, Child] = {
    **{form: as_result(form) for form in FORMS if form != "batches"},
    "batches": streamed,
    "chunks": in_chunks,
    "large": large_values,
}


# ---- in the parent ---------------------------------------------------------------------------


def figure(kind: str, size: int) -> dict[str, float]:
    """What a child measures."""
    command = [sys.executable, "-m", "bench.scale", "--child", kind, str(size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    print(f"{kind} {size:,}: {done.stdout.strip()}", file=sys.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


Figures = dict[str, dict[int, dict[str, float]]]


def table_of(figures: Figures, key: str, sizes: Sequence[int]) -> list[str]:
    out = ["| entries | " + " | ".join(FORMS.values()) + " |", "|--:" * (len(FORMS) + 1) + "|"]
    for size in sizes:
        cells = [f"{figures[form][size][key]:,.{0 if key == 'bytes' else 1}f}" for form in FORMS]
        out.append(f"| {size:,} | " + " | ".join(cells) + " |")
    return out


def block_of(
    figures: Figures, sizes: Sequence[int], chunks: dict[int, float], large: dict[str, float]
) -> str:
    grown = max(figures["batches"][size]["grown"] for size in sizes)
    copy = large["one copy"]
    return "\n".join(
        [
            f"CPython {platform.python_version()}, {platform.system()} {platform.machine()}.",
            "",
            "Nanoseconds per entry (20 and 100 bytes):",
            "",
            *table_of(figures, "ns", sizes),
            "",
            "![Nanoseconds per entry](scaling-time.svg)",
            "",
            "Bytes per entry, the 120 of key and value included: of an EntryBatch the answer "
            "itself, which it keeps; of streamed batches what the process grew by at the most, "
            f"{grown / 2**20:.1f} MiB in all:",
            "",
            *table_of(figures, "bytes", sizes),
            "",
            "![Bytes per entry](scaling-memory.svg)",
            "",
            "10,000 entries into a list of pairs, fed in chunks:",
            "",
            "| bytes in a chunk | " + " | ".join(f"{chunk:,}" for chunk in chunks) + " |",
            "|---" + "|--:" * len(chunks) + "|",
            "| ns per entry | " + " | ".join(f"{ns:,.0f}" for ns in chunks.values()) + " |",
            "",
            "![Nanoseconds per entry by size of chunk](scaling-chunks.svg)",
            "",
            "A value of 16 MiB:",
            "",
            "| | time | relative to one copy |",
            "|---|--:|--:|",
            *(
                f"| {name} | {nanoseconds(1e9 * seconds)} | {seconds / copy:.2f} |"
                for name, seconds in large.items()
            ),
        ]
    )


def plots_of(figures: Figures, sizes: Sequence[int], chunks: dict[int, float]) -> dict[str, str]:
    def curves(key: str) -> list[Curve]:
        return [
            Curve(FORMS[form], [(size, max(1.0, figures[form][size][key])) for size in sizes])
            for form in FORMS
        ]

    return {
        "scaling-time.svg": curves_plot(
            "Time per entry", "entries in the answer", "ns per entry", curves("ns")
        ),
        "scaling-memory.svg": curves_plot(
            "Memory per entry", "entries in the answer", "bytes per entry", curves("bytes")
        ),
        "scaling-chunks.svg": curves_plot(
            "10,000 entries in chunks",
            "bytes in a chunk",
            "ns per entry",
            [Curve("list of pairs", list(chunks.items()))],
        ),
    }


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Time and memory per entry by size.")
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing written")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        kind, size = options.child
        print(json.dumps(CHILDREN[kind](int(size))))
        return
    sizes = SIZES[:3] if options.quick else SIZES
    figures: Figures = {form: {size: figure(form, size) for size in sizes} for form in FORMS}
    chunks = {chunk: figure("chunks", chunk)["ns"] for chunk in CHUNKS}
    block = block_of(figures, sizes, chunks, figure("large", LARGE))
    if options.quick:
        print(block)
        return
    for name, plot in plots_of(figures, sizes, chunks).items():
        (DOCS / name).write_text(plot, encoding="utf-8")
    rewrite_block(DOCS / "performance.md", "scaling", block)


if __name__ == "__main__":
    main(sys.argv[1:])
