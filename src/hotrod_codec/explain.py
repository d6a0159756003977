"""Frames taken apart for people: each field with its place, its bytes and what it means.

Cuts streams into frames (plain bytes, recordings, the connections of a packet capture), finds the
request that a response answers, and says where a stream breaks and why. Knows no layout: where a
field lies and what it holds, the codec says; _meaning.py puts it into words; how packets make
streams is pcap.py's. Prints nothing; see cli.py.

Keys, values and other byte arrays may be secret: without `show_data` a row has their length only.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from hotrod_codec import (
    DecodeError,
    Event,
    Layout,
    Limits,
    Op,
    RequestContext,
    Response,
    Version,
    decode_request,
    decode_response,
    trace_request,
    trace_response,
)
from hotrod_codec._meaning import (
    Reading,
    Row,
    Span,
    layouts,
    moment_text,
    op_of_request,
    op_of_response,
    plural,
    quoted,
    shortened,
    version_text,
)
from hotrod_codec.pcap import CaptureError, Chunk, Closed, Connection, Packet, Reassembler
from hotrod_codec.recording import Direction, Record, RecordingError

__all__ = ["Assumed", "Explainer", "Frame", "Note", "Row"]

_FIRST_ITEMS: Final = 3  # of a long list
_LAST_ITEMS: Final = 2  # of a list that is cut or broken
_PREVIEW: Final = 48  # characters
# What is held of a list's spans takes many times its bytes.
_LIMITS: Final = Limits(items=1 << 21)
_WAYS: Final = {
    Direction.TO_SERVER: "client to server",
    Direction.TO_CLIENT: "server to client",
}

# What is missing: the field, where it begins, how many bytes more at the least.
_Missing = tuple[str, int, int]
_Trace = tuple[list[Span], Any, DecodeError | None, _Missing | None]  # see trace_request
_Data = bytes | bytearray


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, or what there is of it.

    Attributes:
        title: What it is.
        start, end: Offsets, as in Row; `end` is that of the bytes that are known to belong to it.
        rows: Its fields in order.
        problem: Why it could not be read to its end; "" when it could.
        origin: Where in a recording or capture it comes from, in words.
        kind: "request", "response" or "event"; "" for what is no frame.
        op: The operation or event, such as "GET"; "" when it is not known.
        version: Such as "2.8"; for a response that of its request.
        message_id, status: As decoded; None and "" where there is none.
        missing: Of an incomplete frame the field that was being read, where it begins, and how
            many more bytes the frame has at the least.
        connection: The number of the connection in a capture.
        direction: Which way it went, where that is known.
        time: Nanoseconds, when its last byte came: since 1970 in a capture, since its first
            record in a recording.
        asked: Of a response that was matched, where its request begins in the other direction.
        after: How many nanoseconds its request came before it.
    """

    title: str
    start: int
    end: int
    rows: list[Row]
    problem: str = ""
    origin: str = ""
    kind: str = ""
    op: str = ""
    version: str = ""
    message_id: int | None = None
    status: str = ""
    missing: _Missing | None = None
    connection: int | None = None
    direction: Direction | None = None
    time: int | None = None
    asked: int | None = None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Something about a capture or one of its connections.

    Attributes:
        text: What there is to say.
        is_problem: Whether frames could not be read for it.
        connection: The number of the connection that it is about.
        time: As in Frame.
    """

    text: str
    is_problem: bool = False
    connection: int | None = None
    time: int | None = None


@dataclass(frozen=True, slots=True)
class Assumed:
    """What is assumed of the request of a response that has none in the input. The operation is
    known from the response itself, its version is not."""

    op: Op | None = None
    version: Version | None = None
    flags: int = 0
    intelligence: int = 1


# ---- operations ----------------------------------------------------------------------------------


@functools.cache
def _bare() -> Layout:
    """An operation whose frames are a header and nothing else."""
    return next(
        row
        for row in layouts()
        if row.request_code is not None and not row.request and not row.response
    )


@functools.cache
def _context(op: Op, version: Version) -> RequestContext:
    return RequestContext(op, version)


@functools.cache
def _op_answering(code: int) -> Op | None:
    """The operation whose responses have this opcode."""
    return next(
        (row.op for row in layouts() if row.request_code is not None and row.response_code == code),
        None,
    )


@functools.cache
def _requests() -> dict[int, Layout]:
    return {row.request_code: row for row in layouts() if row.request_code is not None}


def _runs(spans: list[Span]) -> Iterator[list[Span]]:
    """Cut the spans into lists (all their items in one run) and what stands between them."""
    run: list[Span] = []
    for span in spans:
        if run and ((span[4] < 0) != (run[-1][4] < 0) or span[4] < run[-1][4]):
            yield run
            run = []
        run.append(span)
    if run:
        yield run


def _find(spans: list[Span], name: str) -> Span | None:
    return next((span for span in spans if span[0] == name), None)


# ---- one frame, without words --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that waits for its answer."""

    context: RequestContext
    offset: int
    time: int | None


_MOST_WAITING: Final = 1 << 16


class _Dialogue:
    """What is known of one connection: the requests that wait, by message id as it stands on the
    wire, since servers send it back as it came.

    Args:
        may_guess: Read a response without a request like those of the other requests, if there
            are any.
    """

    def __init__(self, *, may_guess: bool = False) -> None:
        self.waiting: dict[bytes, deque[_Asked]] = {}
        self.latest: RequestContext | None = None
        self.may_guess = may_guess

    def ask(self, message_id: bytes, asked: _Asked) -> None:
        self.latest = asked.context
        self.waiting.setdefault(message_id, deque()).append(asked)
        if len(self.waiting) > _MOST_WAITING:
            del self.waiting[next(iter(self.waiting))]

    def answered(self, message_id: bytes) -> None:
        asked = self.waiting[message_id]
        asked.popleft()
        if not asked:
            del self.waiting[message_id]


@dataclass(frozen=True, slots=True)
class _Read:
    """A frame as far as the codec can read it.

    Attributes:
        trace: What the codec says.
        context: What it was read in the light of; None for a request.
        message_id: As it stands on the wire; b"" when it could not be read.
        asked: The request that it answers.
        guessed: Whether the context is only likely.
        refused: Why it was not read further, where that is not the codec's word.
    """

    trace: _Trace
    context: RequestContext | None
    message_id: bytes = b""
    asked: _Asked | None = None
    guessed: bool = False
    refused: str = ""

    @property
    def is_whole(self) -> bool:
        return self.trace[1] is not None and not self.refused

    @property
    def goes_on(self) -> bool:
        return self.trace[3] is not None and not self.refused


def _header_of(data: _Data, offset: int, spans: list[Span], context: RequestContext | None) -> Any:
    """What the codec makes of the header of a frame whose body cannot be read: the same header
    over an operation that has no body. None when the header cannot be read either."""
    opcode = _find(spans, "opcode")
    if opcode is None:
        return None
    bare = _bare()
    code = bare.request_code if context is None else bare.response_code
    if code is None:
        return None
    frame = data[offset : opcode[1]] + bytes([code]) + data[opcode[2] : spans[-1][2]]
    try:
        if context is None:
            return decode_request(frame)
        return decode_response(
            frame,
            RequestContext(bare.op, context.version, context.flags, context.intelligence),
        )
    except DecodeError:
        return None


# ---- many frames ---------------------------------------------------------------------------------


class Explainer:
    """Takes inputs apart, frame by frame. Responses are read in the light of their requests: the
    oldest one with the same message id on the same connection.

    Args:
        assumed: What is assumed of the request of a response that has none in the input.
        show_data: Show what keys and values hold, not their lengths only.
        everything: Show every item of long lists.
        legacy_server: As for decode_response.
    """

    def __init__(
        self,
        *,
        assumed: Assumed | None = None,
        show_data: bool = False,
        everything: bool = False,
        legacy_server: bool = False,
    ) -> None:
        self._assumed = assumed or Assumed()
        self._show_data = show_data
        self._everything = everything
        self._legacy_server = legacy_server
        self._dialogue = _Dialogue()

    def frames(self, data: bytes) -> Iterator[Frame]:
        """The frames of `data`, requests and responses as they come. Ends with the first that
        cannot be read: nobody can tell where the next one begins. Requests are remembered from
        call to call."""
        offset = 0
        while offset < len(data):
            read = self.read(data, offset, self._dialogue)
            self.settle(read, self._dialogue, offset, None)
            frame = self.told(read, data, offset)
            yield frame
            if frame.problem:
                return
            offset = frame.end

    def recording(self, records: Iterable[Record]) -> Iterator[Frame]:
        """The frames of a recording, about in the order in which they were complete. What is wrong
        with the recording itself (a RecordingError of `records`) is the problem of a last frame
        without fields."""
        conversation = _Conversation(self)
        broken: RecordingError | None = None
        try:
            for record in records:
                time = record.microseconds * 1000
                yield from _frames(conversation.feed(record.direction, record.data, time))
        except RecordingError as e:
            broken = e
        yield from _frames(conversation.finish("the input ends"))
        if broken is not None:
            yield Frame("no record", broken.offset, broken.offset, [], str(broken))

    def capture(
        self,
        packets: Iterable[Packet],
        *,
        port: int | None = None,
        connections: Collection[int] = (),
    ) -> Iterator[Frame | Note]:
        """The frames of a packet capture's connections, about in the order in which they were
        complete, and notes: what connections there are, what is missing from them, which are
        encrypted or no Hot Rod. A CaptureError of `packets` comes as the last note.

        Args:
            packets: As read_packets gives them.
            port: Look only at connections to a server with this port. Without it, the server is
                the side that sends responses.
            connections: Look only at connections with these numbers; all if empty.
        """
        streams = _Streams(self, port, frozenset(connections))
        reassembler = Reassembler()
        broken = ""
        try:
            for packet in packets:
                for event in reassembler.feed(packet):
                    yield from streams.take(event)
        except CaptureError as e:
            broken = str(e)
        for event in reassembler.finish():
            yield from streams.take(event)
        for reason, count in sorted(reassembler.skipped.items()):
            if reason not in ("not IP", "not TCP"):
                yield Note(f"{plural(count, 'packet')} left out: {reason}")
        if broken:
            yield Note(broken, is_problem=True)
        elif not streams.has_frames:
            yield Note("no Hot Rod that could be read in the capture", is_problem=True)

    # -- reading: what the codec says --

    def read(
        self, data: _Data, offset: int, dialogue: _Dialogue, direction: Direction | None = None
    ) -> _Read:
        """Read the frame at `offset`; only a request or a response if a direction is given."""
        if direction != Direction.TO_CLIENT:
            trace: _Trace = trace_request(data, offset, limits=_LIMITS)
            if trace[0]:  # the magic was a request's
                return _Read(trace, None, _id_bytes(data, trace[0]))
        bare = _context(_bare().op, max(Version))
        if direction != Direction.TO_SERVER:
            trace = trace_response(data, bare, offset, limits=_LIMITS)
            if trace[0]:
                return self._read_response(data, offset, trace, bare, dialogue)
        begins = {
            None: "neither a request nor a response",
            Direction.TO_SERVER: "no request",
            Direction.TO_CLIENT: "no response",
        }[direction]
        refused = f"{data[offset]:#04x} begins {begins}"
        return _Read(([], None, None, None), None, refused=refused)

    def _read_response(
        self, data: _Data, offset: int, trace: _Trace, bare: RequestContext, dialogue: _Dialogue
    ) -> _Read:
        message_id = _id_bytes(data, trace[0])
        opcode = _opcode_at(data, trace)
        if not message_id or opcode is None:
            return _Read(trace, bare, message_id)
        waiting = dialogue.waiting.get(message_id)
        if waiting:
            asked = waiting[0]
            trace = self._trace(data, asked.context, offset)
            return _Read(trace, asked.context, message_id, asked)
        assumed = self._assumed
        latest = dialogue.latest
        version = assumed.version or (latest.version if latest else max(Version))
        op = _op_answering(opcode)
        if op is None:
            is_known = _find(trace[0], "opcode") is not None  # of an error or event
            context = RequestContext(
                assumed.op or bare.op, version, assumed.flags, assumed.intelligence
            )
            if not is_known:
                found = f"opcode at byte {{}}: unknown answer or event {opcode:#04x}"
                return _Read(trace, context, message_id, refused=found)
            return _Read(self._trace(data, context, offset), context, message_id)
        intelligence = assumed.intelligence
        guessed = assumed.version is None
        if guessed:
            if latest is None or not dialogue.may_guess:
                trace = self._trace(data, _context(op, max(Version)), offset)
                return _Read(trace, bare, message_id, refused=_without_request(op))
            intelligence = int(latest.intelligence)
        context = RequestContext(assumed.op or op, version, assumed.flags, intelligence)
        trace = self._trace(data, context, offset)
        return _Read(trace, context, message_id, guessed=guessed)

    def _trace(self, data: _Data, context: RequestContext, offset: int) -> _Trace:
        traced: _Trace = trace_response(
            data, context, offset, limits=_LIMITS, legacy_server=self._legacy_server
        )
        return traced

    @staticmethod
    def settle(read: _Read, dialogue: _Dialogue, offset: int, time: int | None) -> None:
        """Remember a request, forget the one that a response answers."""
        message = read.trace[1]
        if message is None:
            return
        if read.context is None:
            context = RequestContext(
                message.op, message.version, message.flags, int(message.intelligence)
            )
            dialogue.ask(read.message_id, _Asked(context, offset, time))
        elif read.asked is not None and not isinstance(message, Event):
            dialogue.answered(read.message_id)

    # -- telling: a frame as rows --

    def told(
        self,
        read: _Read,
        data: _Data,
        offset: int,
        base: int = 0,
        *,
        why: str = "the input ends",
    ) -> Frame:
        """A frame in words.

        Args:
            read: What was read of it.
            data: What it was read from.
            offset: Where it begins there.
            base: Where `data` begins in the stream: added to all offsets that are told.
            why: What ends the bytes of an incomplete frame.
        """
        spans, message, error, missing = read.trace
        end = len(data)
        context = read.context
        if not spans:
            problem = f"byte {base + offset}: {read.refused}"
            rows = list(self._rest(data, offset, end, base))
            return Frame("no frame", base + offset, base + end, rows, problem)
        if read.refused:  # then all that is sure is the beginning
            spans = [span for span in spans if span[0] in ("magic", "message id", "opcode")][:3]
        header = message if message is not None else _header_of(data, offset, spans, context)
        reading = Reading(data, message, header, context is None, self._show_data, self._everything)
        rows = []
        for run in _runs(spans):
            rows += self._run(reading, run)
        if base:
            rows = [replace(row, start=row.start + base, end=row.end + base) for row in rows]
        problem = ""
        if message is not None and not read.refused:
            end = offset + message.size
        else:
            rows += self._rest(data, spans[-1][2], end, base)
            if read.refused:
                at = base + (spans[-1][2] if "{}" in read.refused else offset)
                problem = "response: " + read.refused.format(at)
            elif error is not None:
                problem = _problem_of(error, base)
                if error.field == "topology marker" and context is not None:
                    problem += "; give it with --intelligence"
            elif missing is not None:
                missing = (missing[0], missing[1] + base, missing[2])
                problem = (
                    f"incomplete: {why} at byte {base + len(data)}; {missing[0]} at byte "
                    f"{missing[1]} was being read, and the frame goes on for at least "
                    f"{plural(missing[2], 'byte')}"
                )
        made = Frame("", base + offset, base + end, rows, problem, missing=missing)
        return _named(made, read, data, header, spans)

    def _run(self, reading: Reading, run: list[Span]) -> Iterator[Row]:
        last = run[-1][4]
        hidden_from, hidden_to = _FIRST_ITEMS, last + 1
        if run[-1][0] == "more" and reading.data[run[-1][1]] == 0:
            hidden_to = last  # the mark at the end is no item
        if reading.message is None:
            hidden_to -= _LAST_ITEMS
        if last < 0 or self._everything or hidden_to - hidden_from < 2:
            yield from reading.rows(run)
            return
        hidden = [span for span in run if hidden_from <= span[4] < hidden_to]
        yield from reading.rows([span for span in run if span[4] < hidden_from])
        yield Row(
            hidden[0][1],
            hidden[-1][2],
            "",
            "...",
            f"{plural(hidden_to - hidden_from, 'more item')} in "
            f"{plural(hidden[-1][2] - hidden[0][1], 'byte')} (--all shows them)",
            is_note=True,
            kind="omitted",
        )
        yield from reading.rows([span for span in run if span[4] >= hidden_to])

    def _rest(self, data: _Data, start: int, end: int, base: int) -> Iterator[Row]:
        if start < end:
            shown = shortened(data[start : min(end, start + 64)] if self._show_data else b"")
            shown = shown if self._show_data else data[start : start + 1].hex()
            if not self._show_data and end - start > 1:
                shown += " ..."
            yield Row(
                base + start,
                base + end,
                shown,
                "(rest)",
                f"{plural(end - start, 'byte')} not read",
                is_note=True,
                kind="unread",
            )


def _id_bytes(data: _Data, spans: list[Span]) -> bytes:
    span = _find(spans, "message id")
    return b"" if span is None else bytes(data[span[1] : span[2]])


def _opcode_at(data: _Data, trace: _Trace) -> int | None:
    """The opcode, also when it is not the one that was expected."""
    spans, _, error, _ = trace
    span = _find(spans, "opcode")
    if span is not None:
        return data[span[1]]
    if error is not None and error.field == "opcode" and error.offset < len(data):
        return data[error.offset]
    return None


def _problem_of(error: DecodeError, base: int) -> str:
    """The words of an error with its offset in the stream."""
    _, place, problem = str(error).partition(f" at byte {error.offset}: ")
    if not base or not place:
        return str(error)
    return f"{error.op}: {error.field} at byte {base + error.offset}: {problem}"


def _without_request(op: Op) -> str:
    return (
        f"a {op.name} response, and no request with its message id in the input: a response is "
        "laid out by its request's version, flags and intelligence. Put the request before it, or "
        f"give what it was: --op {op.name.lower()} --version 2.8 (and --flags, --intelligence 3 "
        "where it had them)"
    )


def _named(frame: Frame, read: _Read, data: _Data, header: Any, spans: list[Span]) -> Frame:
    """The frame with its title and what else its header says."""
    kind = "request" if read.context is None else "response"
    span = _find(spans, "opcode")
    code = data[span[1]] if span is not None else _opcode_at(data, read.trace)
    name = ""
    if code is not None and read.context is None:
        name = op_of_request(code) if code in _requests() else ""
    elif code is not None:
        name = op_of_response(code)
        name = "" if name.startswith("0x") else name
    if isinstance(header, Event):
        kind = "event"
    elif read.asked is not None and not name:
        name = read.asked.context.op.name
    made = replace(frame, kind=kind, op=name)
    if header is None or read.refused:
        return replace(made, title=f"{name} {kind}".strip())
    version = version_text(header.version)
    title = [f"{name or 'error'} {kind}", f"version {version}", f"message {header.message_id}"]
    status = ""
    if isinstance(header, Response):
        status = header.status.name
        title.append(status)
        if read.guessed:
            title.append("read without its request")
    elif header.cache:
        title.append(f"cache {quoted(header.cache, _PREVIEW)}")
    return replace(
        made,
        title=", ".join(title),
        version=version,
        message_id=header.message_id,
        status=status,
        asked=None if read.asked is None or kind == "event" else read.asked.offset,
    )


def _frames(items: Iterable[Frame | Note]) -> Iterator[Frame]:
    for item in items:
        if isinstance(item, Frame):
            yield item


# ---- conversations -------------------------------------------------------------------------------

_MOST_OF_FRAME: Final = 1 << 28
_MOST_OF_GUESS: Final = 1 << 20  # bytes that a frame without its request may have
_KEPT: Final = 1 << 16  # bytes that were read and are not yet removed
_MOST_EARLY: Final = 64  # pieces that come before the request of a response
_MOST_EARLY_BYTES: Final = 1 << 20
_SEARCHED: Final = 1 << 16  # bytes of a frame whose start is searched
# A search may look at so many bytes, and at so many for each byte that came. Of chance bytes it
# needs less than one; of bytes that somebody has put together, it must not take for ever.
_SEARCH_FREE: Final = 1 << 18
_SEARCH_CREDIT: Final = 4
_SEARCH_COST: Final = 32  # of a try, at the least


class _Half:
    """One direction of a conversation: what has come and was not read yet. Offsets into `data`
    count from `base` on in the stream."""

    def __init__(self, direction: Direction, *, is_whole: bool) -> None:
        self.direction = direction
        self.data = bytearray()
        self.base = 0
        self.at = 0  # where the next frame begins
        self.pieces: deque[tuple[int, int | None]] = deque()  # where they end in the stream; times
        self.starts: deque[int] = deque()  # where pieces begin in the stream
        self.wanted = 0  # nothing can be read before so many bytes are there
        self.tried = 0  # how many there were when it was tried
        self.tries = 0  # how often, with this frame
        self.early = 0  # pieces that have come since its response was early
        self.is_found = is_whole  # whether `at` is the start of a frame
        self.is_sure = is_whole  # whether a frame has been read since
        self.lost_at = 0  # where in the stream it was not known any more
        self.credit = _SEARCH_FREE
        self.is_stopped = False

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def add(self, data: bytes, time: int | None) -> None:
        self.starts.append(self.base + len(self.data))
        self.data += data
        self.pieces.append((self.base + len(self.data), time))
        self.credit += _SEARCH_CREDIT * len(data)

    def move(self, count: int) -> None:
        """Read on behind so many bytes."""
        self.at += count
        self.wanted = self.tried = self.tries = self.early = 0
        if self.at > _KEPT and 2 * self.at > len(self.data):
            self.base += self.at
            del self.data[: self.at]
            self.at = 0
        while self.pieces and self.pieces[0][0] < self.base + self.at:
            self.pieces.popleft()
        while self.starts and self.starts[0] < self.base + self.at:
            self.starts.popleft()

    def time_of(self, end: int) -> int | None:
        """When the byte before `end` came."""
        return next((time for place, time in self.pieces if place >= end), None)

    def lose(self, skipped: int = 0) -> None:
        """The start of the next frame is not known, but behind so many bytes at the least."""
        self.lost_at = self.base + self.at
        self.is_found = self.is_sure = False
        self.move(skipped)

    def pay(self, read: _Read, offset: int) -> None:
        """Pay for what was looked at in vain, perhaps."""
        spans = read.trace[0]
        self.credit -= _SEARCH_COST + (spans[-1][2] - offset if spans else 0)

    def is_worth_it(self) -> bool:
        """Whether to try before there is as much as is wanted; so that all tries together take
        time in proportion to the bytes."""
        fresh = self.left - self.tried
        return fresh > 0 and (self.tries < 8 or fresh >= self.left // 8)


class _Conversation:
    """The frames of one connection as its bytes come, both directions.

    Args:
        explainer: Reads and tells the frames.
        connection: Its number in a capture.
        whole: For each direction, whether its bytes come from the beginning on. A stream that is
            not whole is searched for the start of a frame.
    """

    def __init__(
        self,
        explainer: Explainer,
        connection: int | None = None,
        whole: tuple[bool, bool] = (True, True),
    ) -> None:
        self._explainer = explainer
        self._connection = connection
        self._dialogue = _Dialogue(may_guess=not all(whole))
        self._halves = {
            direction: _Half(direction, is_whole=whole[direction]) for direction in Direction
        }
        self._requests = self._halves[Direction.TO_SERVER]
        self._answers = self._halves[Direction.TO_CLIENT]
        self.has_frames = False

    def feed(self, direction: Direction, data: bytes, time: int | None) -> Iterator[Frame | Note]:
        """The frames that these bytes complete."""
        half = self._halves[direction]
        if half.is_stopped:
            return
        other = self._halves[Direction(1 - direction)]
        # Who is answered has said all, as a rule.
        yield from self._pump(other, eager=True)
        half.add(data, time)
        if self._answers.left:
            self._answers.early += 1
        yield from self._pump(half)
        if half is self._requests and self._answers.left:
            yield from self._pump(self._answers)

    def gap(self, direction: Direction, missing: int) -> Iterator[Frame | Note]:
        """So many bytes are missing here."""
        half = self._halves[direction]
        at = half.base + len(half.data)
        if half.is_stopped:
            return
        yield from self._pump(half, end=f"{plural(missing, 'byte')} are missing from the capture")
        self._dialogue.may_guess = True
        yield self._note(
            f"{_WAYS[direction]}: {plural(missing, 'byte')} from byte {at} on are missing from "
            "the capture",
            is_problem=True,
        )
        half.lose(half.left)
        half.data.clear()
        half.pieces.clear()
        half.starts.clear()
        half.at = 0
        half.base = half.lost_at = at + missing
        half.is_stopped = False

    def finish(self, how: str) -> Iterator[Frame | Note]:
        """Nothing more comes."""
        for half in (self._requests, self._answers):
            yield from self._pump(half, end=how)
            if not half.is_found and not half.is_stopped and half.base + half.at > half.lost_at:
                yield self._skipped(half, half.base + half.at, "no frame was found in them")
            half.is_stopped = True

    def _note(self, text: str, *, is_problem: bool = False) -> Note:
        if self._connection is not None:
            text = f"connection {self._connection}, {text}"
        return Note(text, is_problem, self._connection)

    def _skipped(self, half: _Half, to: int, why: str) -> Note:
        return self._note(
            f"{_WAYS[half.direction]}: {plural(to - half.lost_at, 'byte')} from byte "
            f"{half.lost_at} on left out: {why}"
        )

    def _pump(self, half: _Half, *, eager: bool = False, end: str = "") -> Iterator[Frame | Note]:
        """The frames that are there. With `eager`, try also before there is as much as is wanted;
        with `end`, no more comes and this is why."""
        while half.left and not half.is_stopped:
            if not half.is_found:
                yield from self._search(half, end)
                if not half.is_found:
                    return
            if not end:
                if half.left < half.wanted and not (eager and half.is_worth_it()):
                    return
                if half is self._answers and self._is_early():
                    yield from self._pump(self._requests, eager=True)
                    if self._is_early():
                        return
            half.tries += 1
            half.tried = half.left
            read = self._explainer.read(half.data, half.at, self._dialogue, half.direction)
            most = _MOST_OF_GUESS if read.guessed or not half.is_sure else _MOST_OF_FRAME
            if read.goes_on and not end:
                if half.left < most:
                    half.wanted = half.left + (read.trace[3][2] if read.trace[3] else 1)
                    if half.tries > 4:
                        half.wanted = max(half.wanted, half.left + half.left // 2)
                    return
                if half.is_sure:
                    end = f"no more than {plural(most, 'byte')} of a frame are read, which ends"
            if read.is_whole and not (read.guessed and not self._fits(half, read, end)):
                yield self._frame(half, read)
                half.is_sure = True
                half.move(read.trace[1].size)
                continue
            yield from self._broken(half, read, end)

    def _broken(self, half: _Half, read: _Read, end: str) -> Iterator[Frame | Note]:
        """A frame that cannot be read. A stream that was followed from its start is over; of one
        that was not, it may be no frame at all."""
        is_end = read.goes_on and end
        if is_end and read.asked is not None:
            self._dialogue.answered(read.message_id)
        if self._dialogue.may_guess and not is_end and (not half.is_sure or not read.asked):
            if half.is_sure and read.context is None:
                yield self._frame(half, read, end)
            lost_at = half.base + half.at if half.is_sure else half.lost_at
            half.pay(read, half.at)
            half.lose(1)
            half.lost_at = lost_at
            if half.credit < 0:
                yield self._skipped(half, half.base + len(half.data), "no frame was found in them")
                half.is_stopped = True
            return
        yield self._frame(half, read, end)
        half.is_stopped = True

    def _frame(self, half: _Half, read: _Read, end: str = "") -> Frame:
        self.has_frames = self.has_frames or half.is_sure or read.is_whole
        place = half.base + half.at
        frame = self._explainer.told(
            read, half.data, half.at, half.base, why=end or "the input ends"
        )
        time = half.time_of(frame.end)
        after = None
        if read.is_whole:
            Explainer.settle(read, self._dialogue, place, time)
        sent = None if read.asked is None or frame.asked is None else read.asked.time
        if time is not None and sent is not None:
            after = time - sent
        origin = [] if self._connection is None else [f"connection {self._connection}"]
        origin.append(_WAYS[half.direction])
        if time is not None:
            is_moment = self._connection is not None
            origin.append(moment_text(time) if is_moment else f"{time / 1e6:.3f} ms")
        if after is not None:
            origin.append(f"{after / 1e6:.3f} ms after its request")
        return replace(
            frame,
            origin=", ".join(origin),
            connection=self._connection,
            direction=half.direction,
            time=time,
            after=after,
        )

    def _is_early(self) -> bool:
        """Whether the request of the next response may still come: packets of the two directions
        may have been captured in another order."""
        half = self._answers
        if half.early > _MOST_EARLY or half.left > _MOST_EARLY_BYTES:
            return False
        head = bytes(half.data[half.at : half.at + 16])
        trace = trace_response(head, _context(_bare().op, max(Version)))
        message_id = _id_bytes(head, trace[0])
        opcode = _opcode_at(head, trace)
        if opcode is None:
            return False
        return message_id not in self._dialogue.waiting and _op_answering(opcode) is not None

    # -- where a frame begins --

    def _fits(self, half: _Half, read: _Read, end: str) -> bool:
        """Whether another frame begins behind this one, which may be none."""
        magic = 0xA0 if half.direction == Direction.TO_SERVER else 0xA1
        behind: int = half.at + read.trace[1].size
        return behind == len(half.data) or half.data[behind] == magic

    def _search(self, half: _Half, end: str) -> Iterator[Note]:
        """Go to the next place at which a frame begins, as far as can be told."""
        magic = b"\xa0" if half.direction == Direction.TO_SERVER else b"\xa1"
        if not end and half.left < half.wanted:
            return
        while True:
            found = half.data.find(magic, half.at)
            if found < 0:
                half.move(half.left)
                return
            half.move(found - half.at)
            begins = self._begins(half, end)
            if begins is None:
                half.wanted = half.left + half.left // 4 + 1
                return
            if begins:
                place = half.base + half.at
                if place > half.lost_at:
                    yield self._skipped(half, place, f"a frame begins at byte {place}")
                half.is_found = True
                return
            half.move(1)

    def _begins(self, half: _Half, end: str) -> bool | None:
        """Whether a frame begins at the next byte; None when more bytes may tell."""
        at_start = bool(half.starts) and half.starts[0] == half.base + half.at
        if half.credit <= 0:
            return False
        window = bytes(half.data[half.at : half.at + _SEARCHED])
        read = self._explainer.read(window, 0, self._dialogue, half.direction)
        half.pay(read, 0)
        if read.guessed and not at_start:
            return False
        if read.is_whole:
            return at_start or self._fits(half, read, end)
        if not read.goes_on:
            return False
        # The header was read: of chance bytes, one in thousands looks like it.
        is_likely = any(span[0] in ("flags", "status") for span in read.trace[0])
        if at_start and is_likely:
            return True
        if end or half.left >= _SEARCHED:
            return False
        return None


# ---- captures ------------------------------------------------------------------------------------

_MOST_UNDECIDED: Final = 1 << 16  # bytes of a connection of which nobody knows yet what it is
_TLS_RECORDS: Final = range(0x14, 0x18)
_TLS_HANDSHAKE: Final = 0x16


def _is_tls(data: _Data, kinds: Collection[int]) -> bool:
    """Whether a TLS record begins here: its kind, the version 3.x, a length. Where the next record
    should be, there has to be one as well."""
    if len(data) < 5 or data[0] not in kinds:
        return False
    size = data[3] << 8 | data[4]
    if data[1] != 3 or data[2] > 4 or not 0 < size <= (1 << 14) + 2048:
        return False
    behind = data[5 + size : 5 + size + 2]
    return not behind or (behind[0] in _TLS_RECORDS and behind[1:] in (b"", b"\x03"))


class _Stream:
    """A TCP connection: first what it is is not known, then a conversation, or of no interest."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.chunks: list[Chunk] = []  # while it is not known
        self.size = 0
        self.enough = 0  # bytes of which to try to tell what it is
        self.conversation: _Conversation | None = None
        self.client = 0
        self.is_done = False


class _Streams:
    """All connections of a capture."""

    def __init__(self, explainer: Explainer, port: int | None, numbers: frozenset[int]) -> None:
        self._explainer = explainer
        self._port = port
        self._numbers = numbers
        self._streams: dict[Connection, _Stream] = {}
        self.has_frames = False

    def take(self, event: Chunk | Closed) -> Iterator[Frame | Note]:
        connection = event.connection
        if self._numbers and connection.number not in self._numbers:
            return
        if self._port is not None and self._port not in {end.port for end in connection.ends}:
            return
        if isinstance(event, Closed):
            stream = self._streams.pop(connection, None)
            if stream is not None:
                yield from self._close(stream, event)
            return
        stream = self._streams.setdefault(connection, _Stream(connection))
        stream.size += len(event.data)
        if stream.is_done:
            return
        if stream.conversation is not None:
            yield from self._feed(stream, event)
            return
        stream.chunks.append(event)
        if stream.size >= stream.enough:
            stream.enough = min(stream.size + stream.size // 4, _MOST_UNDECIDED)
            yield from self._decide(stream, is_end=stream.size > _MOST_UNDECIDED)

    def _close(self, stream: _Stream, event: Closed) -> Iterator[Frame | Note]:
        if stream.conversation is None and not stream.is_done:
            yield from self._decide(stream, is_end=True)
        if stream.conversation is not None:
            yield from stream.conversation.finish(event.how)
            self.has_frames = self.has_frames or stream.conversation.has_frames

    def _feed(self, stream: _Stream, chunk: Chunk) -> Iterator[Frame | Note]:
        conversation = stream.conversation
        assert conversation is not None
        direction = Direction.TO_SERVER if chunk.side == stream.client else Direction.TO_CLIENT
        if chunk.missing:
            yield from conversation.gap(direction, chunk.missing)
        if chunk.data:
            yield from conversation.feed(direction, chunk.data, chunk.time)

    def _decide(self, stream: _Stream, *, is_end: bool) -> Iterator[Frame | Note]:
        """What a connection is, as soon as that can be said."""
        connection = stream.connection
        heads = (bytearray(), bytearray())
        for chunk in stream.chunks:
            if len(heads[chunk.side]) < _MOST_UNDECIDED:
                heads[chunk.side].extend(chunk.data)
        if not any(heads):
            return
        for head, whole in zip(heads, connection.whole, strict=True):
            if _is_tls(head, (_TLS_HANDSHAKE,) if whole else _TLS_RECORDS):
                yield from self._leave(stream, "TLS: without its keys its frames cannot be read")
                return
        # Five bytes tell TLS; a server may speak first, a request cannot be that short.
        if not is_end and not any(len(head) >= 5 for head in heads):
            return
        client = self._client(stream, heads, is_end)
        if client is None:
            if is_end:
                side = next(chunk.side for chunk in stream.chunks if chunk.data)
                begins = heads[side][:4].hex(" ")
                yield from self._leave(
                    stream, f"no Hot Rod: what {connection.ends[side]} sent begins with {begins}"
                )
            return
        stream.client = client
        both = connection.whole[client], connection.whole[1 - client]
        stream.conversation = _Conversation(self._explainer, connection.number, both)
        text = (
            f"connection {connection.number}: client {connection.ends[client]}, "
            f"server {connection.ends[1 - client]}"
        )
        if not all(both):
            text += "; the capture begins in the middle of it"
        yield Note(text, connection=connection.number, time=stream.chunks[0].time)
        chunks, stream.chunks = stream.chunks, []
        for chunk in chunks:
            yield from self._feed(stream, chunk)

    def _leave(self, stream: _Stream, what: str) -> Iterator[Note]:
        connection = stream.connection
        first, second = connection.ends
        if connection.opener == 1:
            first, second = second, first
        yield Note(
            f"connection {connection.number}: {first} to {second}: {what}",
            connection=connection.number,
            time=stream.chunks[0].time,
        )
        stream.is_done = True
        stream.chunks = []

    def _client(
        self, stream: _Stream, heads: tuple[bytearray, bytearray], is_end: bool
    ) -> int | None:
        """The side that sends requests; None: it cannot be told (yet), or neither does."""
        connection = stream.connection
        client = connection.opener
        if self._port is not None:
            ports = [end.port == self._port for end in connection.ends]
            return (client or 0) if all(ports) else ports.index(False)
        if client is not None and connection.whole[client]:
            if heads[client]:
                return client if heads[client][0] == 0xA0 else None
            return client if is_end and heads[1 - client][0] == 0xA1 else None
        for side in (0, 1):
            if self._speaks(stream, side, Direction.TO_SERVER, heads[side]):
                return side
        for side in (0, 1):
            if is_end and self._speaks(stream, side, Direction.TO_CLIENT, heads[side]):
                return 1 - side
        return None

    def _speaks(self, stream: _Stream, side: int, direction: Direction, head: bytearray) -> bool:
        """Whether a frame of this direction is to be found in what a side sent."""
        trial = _Conversation(Explainer(assumed=Assumed(version=max(Version))), 0, (False, False))
        half = trial._halves[direction]
        for chunk in stream.chunks:
            if chunk.side == side and chunk.data:
                half.add(chunk.data, None)
        for _ in trial._search(half, "end"):
            pass
        return half.is_found
