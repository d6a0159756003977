"""`hotrod demo`: the codec's main work in one go, measured, on what a real server once sent.

Decodes a recorded answer, encodes its entries as puts, routes them by hash, decodes them as server
and client do, and compares all of it with the recording's known digest.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from hotrod_codec import (
    HotRodError,
    Intelligence,
    Op,
    Reader,
    Request,
    RequestContext,
    Topology,
    Version,
    decode_response,
    encode_request,
    encode_response,
    segments_of,
)
from hotrod_codec._terminal import Advance, Output
from hotrod_codec.explain import Explainer, Frame
from hotrod_codec.recording import Direction, Record, read_recording

__all__ = ["DemoError", "digest", "find_recording", "run"]

_NAME: Final = "bulkget-2.9.hrs"
# Of its entries, as `digest` makes it; tests/vectors/streams/manifest.json has it, too.
_DIGEST: Final = "32d35c17cde52f13326c6e0b54a5ac9c38918f5f847efc56243911dd2ecd113e"
_ROWS: Final = 16  # of each explained frame
_SEGMENTS: Final = 256
_SERVERS: Final = tuple((f"10.0.0.{i}", 11222) for i in (1, 2, 3))

_Entry = tuple[bytes, bytes]
_T = TypeVar("_T")


class DemoError(Exception):
    """There is nothing to show: no recording, or nothing in it."""


def find_recording() -> Path:
    """The recording that comes with the package: installed beside it, or in a source checkout."""
    package = Path(__file__).resolve().parent
    places = (package / "data" / _NAME, package.parent.parent / "examples" / _NAME)
    for place in places:
        if place.is_file():
            return place
    raise DemoError(f"{_NAME} is not installed; give a recording with --file")


def digest(entries: Sequence[_Entry]) -> str:
    """SHA-256 over the entries in the order of their keys: of each its key and its value, each
    behind its length in four bytes."""
    total = hashlib.sha256()
    for entry in sorted(entries):
        for part in entry:
            total.update(len(part).to_bytes(4) + part)
    return total.hexdigest()


def _timed(step: Callable[[], _T]) -> tuple[_T, float]:
    start = time.perf_counter()
    result = step()
    return result, time.perf_counter() - start


class _Stopwatch:
    """Runs each step several times and keeps the best."""

    def __init__(self, rounds: int, advance: Advance) -> None:
        self._rounds = rounds
        self._advance = advance
        self.rows: list[tuple[str, ...]] = []

    def __call__(self, what: str, entries: int, size: int, step: Callable[[], _T]) -> _T:
        self._advance(what, 0)
        result, best = _timed(step)
        self._advance(what, 1)
        for _ in range(self._rounds - 1):
            result, seconds = _timed(step)
            best = min(best, seconds)
            self._advance(what, 1)
        self.rows.append(
            (
                what,
                f"{entries:,}",
                f"{size:,}",
                f"{best * 1e3:.2f}",
                f"{entries / best / 1e6:.2f}",
                f"{size / best / 1e6:.0f}",
            )
        )
        return result


def _requests(records: Sequence[Record]) -> list[Request]:
    reader = Reader("server")
    for record in records:
        if record.direction == Direction.TO_SERVER:
            reader.feed(record.data)
    return list(reader)


def _answers(records: Sequence[Record], requests: Sequence[Request]) -> list[Any]:
    """What a client reads: in the pieces in which the network had brought it."""
    reader = Reader("client")
    for request in requests:
        reader.expect(request)
    answers: list[Any] = []
    for record in records:
        if record.direction == Direction.TO_CLIENT:
            reader.feed(record.data)
            answers += reader
    return answers


def _entries(answers: Sequence[Any]) -> list[_Entry]:
    for answer in answers:
        found = answer.fields.get("entries")
        if found and isinstance(found[0], tuple) and isinstance(found[0][1], bytes):
            entries: list[_Entry] = found
            return entries
    raise DemoError("no answer with entries in the recording")


def _beginning(frame: Frame) -> Frame:
    return replace(frame, rows=frame.rows[:_ROWS])


def run(out: Output, path: Path | None, rounds: int) -> int:
    """Do all of it. Returns the exit status: 1 when what was decoded is not what was recorded.

    Raises:
        DemoError: There is no such recording, or nothing to show in it.
    """
    started = time.perf_counter()
    place = path or find_recording()
    try:
        records = read_recording(place.read_bytes())
        requests = _requests(records)
        entries = _entries(_answers(records, requests))
    except OSError as e:
        raise DemoError(f"{place}: {e.strerror}") from None
    except (ValueError, HotRodError) as e:
        raise DemoError(f"{place.name}: {e}") from None
    received = sum(len(r.data) for r in records if r.direction == Direction.TO_CLIENT)

    out.heading(f"{place.name}: {len(records)} reads, {received:,} bytes from a server")
    for i, frame in enumerate(Explainer().recording(records)):
        if i == 2:
            break
        out.frame(_beginning(frame))

    version = max(Version)
    count = len(entries)
    numbered = list(enumerate(entries, 1))

    def encode_puts() -> list[bytes]:
        return [
            encode_request(Op.PUT, version=version, message_id=i, cache="demo", key=k, value=v)
            for i, (k, v) in numbered
        ]

    def route() -> tuple[Any, Topology]:
        return segments_of([key for key, _ in entries], _SEGMENTS), topology

    def read_puts() -> list[Request]:
        reader = Reader("server")
        reader.feed(stream)
        return list(reader)

    def read_answers() -> list[Any]:
        reader = Reader("client")
        for i, _ in numbered:
            reader.expect(context, i)
        reader.feed(answers)
        return list(reader)

    def read_get_all() -> Any:
        return decode_response(all_at_once, RequestContext(Op.GET_ALL, version))

    out.heading("there and back")
    context = RequestContext(Op.PUT, version)
    topology = _topology(version)
    with out.progress(6 * rounds) as advance:
        measure = _Stopwatch(rounds, advance)
        recorded = _entries(
            measure("decode the recording", count, received, lambda: _answers(records, requests))
        )
        puts = measure("encode puts", count, sum(map(len, encode_puts())), encode_puts)
        keys = sum(len(key) for key, _ in entries)
        segments, _ = measure("route keys by hash", count, keys, route)
        stream = b"".join(puts)
        put = measure("decode the puts", count, len(stream), read_puts)
        answers = b"".join(
            encode_response(Op.PUT, version=version, message_id=i) for i, _ in numbered
        )
        done = measure("decode their answers", count, len(answers), read_answers)
        all_at_once = encode_response(Op.GET_ALL, version=version, entries=recorded)
        got = measure("decode one getAll answer", count, len(all_at_once), read_get_all)
    out.table(("step", "entries", "bytes", "ms", "M entries/s", "MB/s"), measure.rows)
    _tell_routes(out, segments.tolist(), topology)
    return _compare(
        out,
        place,
        time.perf_counter() - started,
        count,
        {
            "recorded answer": recorded,
            "puts": [(request.key, request.value) for request in put],
            "getAll answer": got.entries,
        },
        len(done),
    )


def _topology(version: Version) -> Topology:
    """A cluster of three, two copies of each segment, as a client learns it from an answer."""
    owners = [
        (segment % len(_SERVERS), (segment + 1) % len(_SERVERS)) for segment in range(_SEGMENTS)
    ]
    told = encode_response(
        Op.PING,
        version=version,
        topology=Topology(
            1,
            tuple(_SERVERS),  # type: ignore[arg-type]
            hash_version=3,
            segment_owners=tuple(owners),
        ),
        server_version=int(version),
        opcodes=[],
    )
    context = RequestContext(Op.PING, version, intelligence=Intelligence.HASH_DISTRIBUTION_AWARE)
    answer = decode_response(told, context)
    assert answer is not None
    topology: Topology | None = answer.topology
    assert topology is not None
    return topology


def _tell_routes(out: Output, segments: Sequence[int], topology: Topology) -> None:
    per_segment = Counter(segments)
    sizes = [per_segment[segment] for segment in range(_SEGMENTS)]
    out.line(
        f"{len(segments):,} keys in {_SEGMENTS} segments: {min(sizes)} to {max(sizes)} each, "
        f"{len(segments) / _SEGMENTS:.1f} on average"
    )
    owners = topology.segment_owners or ()
    primary = Counter(owners[segment][0] for segment in segments)
    copies = Counter(server for segment in segments for server in owners[segment])
    out.table(
        ("server", "segments", "its keys", "with copies"),
        [
            (
                f"{server.host}:{server.port}",
                str(sum(segment[0] == i for segment in owners)),
                f"{primary[i]:,}",
                f"{copies[i]:,}",
            )
            for i, server in enumerate(topology.servers)
        ],
    )


def _compare(
    out: Output,
    place: Path,
    seconds: float,
    count: int,
    decoded: dict[str, list[_Entry]],
    answered: int,
) -> int:
    digests = {name: digest(entries) for name, entries in decoded.items()}
    expected = _DIGEST if place.name == _NAME else digests["recorded answer"]
    wrong = [name for name, found in digests.items() if found != expected]
    if answered != count:
        wrong.append(f"{answered} of {count} answers")
    if wrong:
        out.line(f"WRONG: {', '.join(wrong)}: not the recorded entries (SHA-256 {expected})")
        return 1
    out.line(
        f"{count:,} entries decoded, encoded, routed and decoded again, the same each time; "
        f"SHA-256 {expected[:16]}... " + ("as recorded" if place.name == _NAME else "computed")
    )
    out.line(f"done in {seconds:.1f} s")
    return 0
