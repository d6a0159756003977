"""What a connection reads or writes piece by piece: iterations, and values in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hotrod_codec import IteratedEntry, Request
from hotrod_codec.ops import Op, Status, Version
from hotrod_codec.server import entries, listeners
from hotrod_codec.server.media import Conversion, convert
from hotrod_codec.server.session import RefusedError, Session
from hotrod_codec.server.store import Cache

if TYPE_CHECKING:
    from hotrod_codec.server.handler import Handler, Operation

__all__ = ["OPERATIONS"]

KEYS_ONLY: Final = "org.infinispan.server.hotrod.HotRodServer$ToEmptyBytesKeyValueFilterConverter"

_MOST_CURSORS: Final = 100
_IDLE: Final = 300_000
_MOST_IN_BATCH: Final = 1_000_000


# ------------------------------------------------------------------ iterations


@dataclass(slots=True)
class Iteration:
    """The keys that are still to come, by segment."""

    batch_size: int
    include_metadata: bool
    keys_only: bool
    segments: Iterator[tuple[int, list[bytes]]]
    used: int
    segment: int | None = None
    keys: list[bytes] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)

    def next_key(self) -> bytes | None:
        while not self.keys:
            if self.segment is not None:
                self.finished.append(self.segment)
                self.segment = None
            following = next(self.segments, None)
            if following is None:
                return None
            self.segment, self.keys = following
        return self.keys.pop()


def _forget_idle(cursors: dict[Any, Any], now: int) -> None:
    """Make room for one more: what was not used for five minutes goes."""
    for name, cursor in list(cursors.items()):
        if cursor.used + _IDLE < now:
            del cursors[name]
    if len(cursors) >= _MOST_CURSORS:
        raise RefusedError(
            Status.SERVER_ERROR, f"this connection has {_MOST_CURSORS} of them open already"
        )


def _start(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    factory = q["filter_factory"]
    if factory not in (None, KEYS_ONLY):
        raise RefusedError(
            Status.SERVER_ERROR,
            "org.infinispan.server.hotrod.MissingFactoryException: ISPN028013: Key value filter "
            f"converter factory '{factory}' not found in server",
        )
    now = h.cluster.now()
    _forget_idle(s.iterations, now)
    iteration_id = str(h.next_id())
    s.iterations[iteration_id] = Iteration(
        batch_size=max(1, min(q["batch_size"], _MOST_IN_BATCH)),
        include_metadata=q.version >= Version.V2_5 and q["include_metadata"],
        keys_only=factory is not None,
        segments=c.by_segment(q["segments"]),
        used=now,
    )
    return h.reply(q, c, iteration_id=iteration_id)


def _next(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    iteration: Iteration | None = s.iterations.get(q["iteration_id"])
    if iteration is None:
        return h.reply(q, c, Status.INVALID_ITERATION, finished_segments=[], entries=[])
    iteration.used = h.cluster.now()
    batch: list[IteratedEntry] = []
    room = h.most_bytes
    while len(batch) < iteration.batch_size and room > 0:
        key = iteration.next_key()
        if key is None:
            break
        entry = c.peek(key)
        if entry is None:
            continue
        value = b"" if iteration.keys_only else convert(v.value_out, entry.value)
        metadata = entry.metadata() if iteration.include_metadata else None
        batch.append(IteratedEntry(convert(v.key_out, key), (value,), metadata))
        room -= len(key) + len(value)
    finished, iteration.finished = iteration.finished, []
    return h.reply(q, c, finished_segments=finished, entries=batch)


def _end(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    known = s.iterations.pop(q["iteration_id"], None) is not None
    return h.reply(q, c, Status.SUCCESS if known else Status.INVALID_ITERATION)


# ------------------------------------------------------------------ values in one long message


def _get_stream(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    key = convert(v.key_in, q.key)
    listeners.near_cache_holds(s, c, key)
    entry = c.find(key)
    if entry is None:
        return h.reply(q, c, Status.KEY_DOES_NOT_EXIST)
    value = convert(v.value_out, entry.value)[q["offset"] :]
    return h.reply(q, c, metadata=entry.metadata(), value=value)


def _conditions(version: int) -> dict[str, Any]:
    """What the version of a streamed put stands for. [wire-core 9.7]"""
    if version == 0:
        return {}
    return {"absent": True} if version < 0 else {"version": version}


def _put_stream(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    if q.version > Version.V4_0:
        raise RefusedError(
            Status.REQUEST_PARSING_ERROR, "4.1 puts in chunks by START_PUT_STREAM and NEXT"
        )
    value = b"".join(q["chunks"])
    conditions = _conditions(q["entry_version"])
    return entries.store(h, s, q, c, v, q.key, value, h.durations(q, c), **conditions)


# ------------------------------------------------------------------ values in chunks, 4.1


@dataclass(slots=True)
class GetStream:
    """A value that is being read."""

    value: bytes
    batch_size: int
    used: int
    at: int = 0

    def next(self) -> tuple[bool, bytes]:
        """Whether that is all, and the next chunk."""
        chunk = self.value[self.at : self.at + self.batch_size]
        self.at += len(chunk)
        return self.at >= len(self.value), chunk


@dataclass(slots=True)
class PutStream:
    """A value that is being written."""

    key: bytes
    durations: tuple[int, int]
    version: int
    used: int
    value: bytearray = field(default_factory=bytearray)


def _start_get(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    key = convert(v.key_in, q.key)
    listeners.near_cache_holds(s, c, key)
    entry = c.find(key)
    if entry is None:
        return h.reply(q, c, Status.KEY_DOES_NOT_EXIST)
    now = h.cluster.now()
    _forget_idle(s.streams, now)
    value = convert(v.value_out, entry.value)
    stream = GetStream(value, max(1, q["batch_size"]), now)
    complete, chunk = stream.next()
    stream_id = h.next_id()
    s.streams[stream_id] = stream
    return h.reply(
        q, c, stream_id=stream_id, complete=complete, metadata=entry.metadata(), chunk=chunk
    )


def _stream(h: Handler, s: Session, q: Request, kind: type[Any]) -> Any:
    found = s.streams.get(q["stream_id"])
    if found is None or not isinstance(found, kind):
        raise RefusedError(
            Status.REQUEST_PARSING_ERROR,
            "org.infinispan.server.hotrod.RequestParsingException: no stream has the id "
            f"{q['stream_id']}",
        )
    found.used = h.cluster.now()
    return found


def _next_get(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    stream: GetStream = _stream(h, s, q, GetStream)
    complete, chunk = stream.next()
    return h.reply(q, c, stream_id=q["stream_id"], complete=complete, chunk=chunk)


def _end_stream(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    s.streams.pop(q["stream_id"], None)
    return h.reply(q, c)


def _start_put(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    if q.version < Version.V4_0:
        raise RefusedError(Status.SERVER_ERROR, "START_PUT_STREAM is known from 4.0 on")
    now = h.cluster.now()
    _forget_idle(s.streams, now)
    stream_id = h.next_id()
    s.streams[stream_id] = PutStream(q.key, h.durations(q, c), q["entry_version"], now)
    return h.reply(q, c, stream_id=stream_id)


def _next_put(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    stream: PutStream = _stream(h, s, q, PutStream)
    if q.version < Version.V4_1 or not q["chunk"]:
        raise RefusedError(Status.REQUEST_PARSING_ERROR, "the chunk of a stream is empty")
    stream.value += q["chunk"]
    written = (x for x in s.streams.values() if isinstance(x, PutStream))
    if sum(len(other.value) for other in written) > 2 * h.most_bytes:
        del s.streams[q["stream_id"]]
        raise RefusedError(Status.SERVER_ERROR, f"more than {h.most_bytes} bytes in a stream")
    if not q["last"]:
        return h.reply(q, c)
    del s.streams[q["stream_id"]]
    conditions = _conditions(stream.version)
    value = bytes(stream.value)
    return entries.store(h, s, q, c, v, stream.key, value, stream.durations, **conditions)


OPERATIONS: Final[dict[Op, Operation]] = {
    Op.ITERATION_START: _start,
    Op.ITERATION_NEXT: _next,
    Op.ITERATION_END: _end,
    Op.GET_STREAM: _get_stream,
    Op.PUT_STREAM: _put_stream,
    Op.START_GET_STREAM: _start_get,
    Op.NEXT_GET_STREAM: _next_get,
    Op.END_GET_STREAM: _end_stream,
    Op.START_PUT_STREAM: _start_put,
    Op.NEXT_PUT_STREAM: _next_put,
    Op.END_PUT_STREAM: _end_stream,
}
