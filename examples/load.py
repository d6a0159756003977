"""A batch load: many entries in, with progress, and out again as numpy arrays.

    python examples/load.py [hotrod://...] [ENTRIES]        1,000,000 by default

Entries go in by `put_many`, thousands of requests on the way at once, in chunks that bound the
memory. They come back by `batches`: each is an EntryBatch, columns of bytes over what the server
sent, of which numpy makes numbers without a Python object for each entry.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from _cluster import arguments, cache, cluster

from hotrod_codec import BytesColumn, Client

CHUNK = 10_000
RECORD = np.dtype([("station", "<u4"), ("day", "<u2"), ("celsius", "<f4")])


def measurements(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Made up; the value is a record of numbers in a fixed form."""
    for n in range(count):
        station, day = divmod(n, 365)
        celsius = 10 - 8 * np.cos(day * 2 * np.pi / 365) + station % 7
        yield b"%d/%d" % (station, day), np.array((station, day, celsius), RECORD).tobytes()


def chunks(entries: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    rest = iter(entries)
    while chunk := list(itertools.islice(rest, CHUNK)):
        yield chunk


def records(values: BytesColumn) -> Any:
    """The values of a batch as one array. They lie where they arrived, each at its start."""
    data = np.frombuffer(values.buffer, np.uint8)
    places = values.starts[:, None] + np.arange(RECORD.itemsize)
    return data[places].view(RECORD)[:, 0]


def show(share: float) -> None:
    """One line that is written over and over, on a terminal only."""
    if sys.stdout.isatty():
        print(f"\r{share:4.0%}", end="", flush=True)


def main() -> None:
    count = int(next(iter(arguments()), 1_000_000))
    with (
        cluster() as uri,
        Client(uri) as client,
        cache(client, "example-weather", "application/octet-stream") as name,
    ):
        weather = client.cache(name, keys="bytes", values="bytes")
        began = time.perf_counter()
        done = 0
        for chunk in chunks(measurements(count)):
            weather.put_many(chunk)
            done += len(chunk)
            show(done / count)
        print(f"\r{count:,} entries in: {time.perf_counter() - began:.1f} s")

        began = time.perf_counter()
        batches = weather.batches(batch_size=CHUNK, progress=lambda _, share: show(share))
        found = np.concatenate([records(batch.values) for batch in batches])
        print(f"\rand out again: {time.perf_counter() - began:.1f} s")
        assert len(found) == count

        days = np.bincount(found["day"], weights=found["celsius"]) / np.bincount(found["day"])
        print(f"{len(np.unique(found['station'])):,} stations")
        print(f"warmest is day {days.argmax()} with {days.max():.1f} C on average")
        assert 172 <= days.argmax() <= 192


if __name__ == "__main__":
    main()
