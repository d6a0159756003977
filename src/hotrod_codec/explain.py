"""Frames taken apart for people: each field with its place, its bytes and what it means.

Cuts an input into frames, finds the request that a response answers, and says why a frame ends
early. Knows no layout: where a field lies and what it holds, the codec says; _meaning.py puts it
into words. Prints nothing; see cli.py.

Keys, values and other byte arrays may be secret: without `show_data` a row has their length only.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from hotrod_codec import (
    DecodeError,
    Event,
    Layout,
    Op,
    Request,
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
    op_of_request,
    op_of_response,
    plural,
    quoted,
    shortened,
    version_text,
)
from hotrod_codec.recording import Direction, Record

__all__ = ["Assumed", "Explainer", "Frame", "Row"]

_FIRST_ITEMS: Final = 3  # of a long list
_LAST_ITEMS: Final = 2  # of a list that is cut or broken
_PREVIEW: Final = 48  # characters
_MOST_PADDING: Final = 1 << 20
_MOST_SPANS: Final = 1 << 16

_Trace = tuple[list[Span], Any, DecodeError | None]  # see trace_request


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, or what there is of it.

    Attributes:
        title: What it is.
        start, end: Offsets, as in Row; `end` is that of the bytes that are known to belong to it.
        rows: Its fields in order.
        problem: Why it could not be read to its end; "" when it could.
        origin: Where in a recording it comes from.
    """

    title: str
    start: int
    end: int
    rows: list[Row]
    problem: str = ""
    origin: str = ""


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


def _ops_accepting(data: bytes, offset: int, version: Version) -> list[Op]:
    """The operations whose responses may have the opcode of this frame: one for an answer, all for
    an error or event, none for an opcode that is not known."""
    accepting = []
    for row in layouts():
        if row.request_code is not None:
            spans, _, _ = trace_response(data, _context(row.op, version), offset)
            if any(span[0] == "opcode" for span in spans):
                accepting.append(row.op)
    return accepting


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


# ---- many frames ---------------------------------------------------------------------------------


class Explainer:
    """Takes inputs apart, frame by frame. Remembers the requests that it has seen: responses are
    read in the light of theirs, which is the oldest one with the same message id.

    Args:
        assumed: What is assumed of the request of a response that has none in the input.
        show_data: Show what keys and values hold, not their lengths only.
        everything: Show every item of long lists.
        short_previous: As for decode_response.
    """

    def __init__(
        self,
        *,
        assumed: Assumed | None = None,
        show_data: bool = False,
        everything: bool = False,
        short_previous: bool = False,
    ) -> None:
        self._assumed = assumed or Assumed()
        self._show_data = show_data
        self._everything = everything
        self._short_previous = short_previous
        self._waiting: dict[bytes, deque[Request]] = {}
        self._latest: Request | None = None

    def frames(self, data: bytes) -> Iterator[Frame]:
        """The frames of `data`, requests and responses as they come. Ends with the first that
        cannot be read: nobody can tell where the next one begins."""
        offset = 0
        while offset < len(data):
            frame = self._frame(data, offset)
            yield frame
            if frame.problem:
                return
            offset = frame.end

    def recording(self, records: Iterable[Record]) -> Iterator[Frame]:
        """The frames of a recording, in the order in which they were complete."""
        found: list[tuple[int, int, Frame]] = []
        streams: dict[Direction, tuple[bytearray, list[tuple[int, int, Record]]]] = {
            direction: (bytearray(), []) for direction in Direction
        }
        for index, record in enumerate(records):
            data, ends = streams[record.direction]
            data += record.data
            ends.append((len(data), index, record))
        # Requests first: a response may have been read before the last part of another request.
        for direction, (data, ends) in streams.items():
            place = 0
            for frame in self.frames(bytes(data)):
                while ends[place][0] < frame.end:
                    place += 1
                _, index, record = ends[place]
                way = "client to server" if direction == Direction.TO_SERVER else "server to client"
                origin = f"{way}, {record.microseconds / 1000:.3f} ms"
                found.append((index, direction, replace(frame, origin=origin)))
        found.sort(key=lambda entry: entry[:2])
        for _, _, frame in found:
            yield frame

    def _frame(self, data: bytes, offset: int) -> Frame:
        trace: _Trace = trace_request(data, offset)
        if trace[0]:  # the magic was a request's
            request = trace[1]
            if request is not None:
                self._latest = request
                self._waiting.setdefault(_id_bytes(data, trace[0]), deque()).append(request)
            return self._told(data, offset, trace, None)
        bare = _context(_bare().op, max(Version))
        trace = trace_response(data, bare, offset)
        if not trace[0]:
            return Frame(
                "no frame",
                offset,
                len(data),
                list(self._rest(data, offset)),
                f"byte {offset}: {data[offset]:#04x} begins neither a request nor a response",
            )
        if not any(span[0] == "message id" for span in trace[0]):
            return self._told(data, offset, trace, bare)
        return self._response(data, offset, _id_bytes(data, trace[0]))

    def _response(self, data: bytes, offset: int, message_id: bytes) -> Frame:
        waiting = self._waiting.get(message_id)
        context: Request | RequestContext
        if waiting:
            context = waiting[0]
            trace = trace_response(data, context, offset, short_previous=self._short_previous)
            if trace[1] is not None and not isinstance(trace[1], Event):
                waiting.popleft()
            return self._told(data, offset, trace, context)
        assumed = self._assumed
        version = assumed.version or (self._latest.version if self._latest else max(Version))
        accepting = _ops_accepting(data, offset, version)
        if len(accepting) == 1 and assumed.version is None:
            return self._without_request(data, offset, accepting[0])
        if not accepting:
            return self._unknown(data, offset, version)
        op = assumed.op or (accepting[0] if len(accepting) == 1 else _bare().op)
        context = RequestContext(op, version, assumed.flags, assumed.intelligence)
        trace = trace_response(data, context, offset, short_previous=self._short_previous)
        return self._told(data, offset, trace, context)

    def _unknown(self, data: bytes, offset: int, version: Version) -> Frame:
        """A response with an opcode that no operation and no event has."""
        spans, _, error = trace_response(data, _context(_bare().op, version), offset)
        reading = Reading(data, None, None, False, self._show_data, self._everything)
        rows = [*reading.rows(spans), *self._rest(data, spans[-1][2])]
        at = error.offset if error is not None else spans[-1][2]
        problem = f"response: opcode at byte {at}: unknown answer or event"
        if at < len(data):
            problem += f" {data[at]:#04x}"
        return Frame("response", offset, len(data), rows, problem)

    def _without_request(self, data: bytes, offset: int, op: Op) -> Frame:
        name = op.name.lower()
        spans, _, _ = trace_response(data, _context(op, max(Version)), offset)
        head = [span for span in spans if span[0] in ("magic", "message id", "opcode")][:3]
        header = _header_of(data, offset, spans, _context(op, max(Version)))
        reading = Reading(data, None, header, False, self._show_data, self._everything)
        rows = [*reading.rows(head), *self._rest(data, head[-1][2])]
        problem = (
            f"a {op.name} response at byte {offset}, and no request with its message id in the "
            "input: a response is laid out by its request's version, flags and intelligence. "
            f"Put the request before it, or give what it was: --op {name} --version 2.8 "
            "(and --flags, --intelligence 3 where it had them)"
        )
        return Frame(f"{op.name} response", offset, len(data), rows, problem)

    # -- a traced frame as rows --

    def _told(
        self,
        data: bytes,
        offset: int,
        trace: _Trace,
        context: Request | RequestContext | None,
    ) -> Frame:
        spans, message, error = trace
        header = message if message is not None else _header_of(data, offset, spans, context)
        reading = Reading(data, message, header, context is None, self._show_data, self._everything)
        rows: list[Row] = []
        for run in _runs(spans):
            rows += self._run(reading, run)
        problem = ""
        end = offset + message.size if message is not None else len(data)
        if message is None:
            rows += self._rest(data, spans[-1][2] if spans else offset)
            if error is not None:
                problem = str(error)
                if error.field == "topology marker" and context is not None:
                    problem += "; give it with --intelligence"
            else:
                problem = _how_it_goes_on(data, offset, spans, context, self._short_previous)
        return Frame(_title(header, spans, data, context), offset, end, rows, problem)

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
        )
        yield from reading.rows([span for span in run if span[4] >= hidden_to])

    def _rest(self, data: bytes, start: int) -> Iterator[Row]:
        if start < len(data):
            rest = data[start:]
            shown = shortened(rest) if self._show_data else shortened(rest[:1])
            if not self._show_data and len(rest) > 1:
                shown += " ..."
            yield Row(
                start, len(data), shown, "(rest)", f"{plural(len(rest), 'byte')} not read", True
            )


def _id_bytes(data: bytes, spans: list[Span]) -> bytes:
    """The message id as it stands on the wire: servers send it back as it came."""
    return next(data[span[1] : span[2]] for span in spans if span[0] == "message id")


def _header_of(
    data: bytes, offset: int, spans: list[Span], context: Request | RequestContext | None
) -> Any:
    """What the codec makes of the header of a frame whose body cannot be read: the same header
    over an operation that has no body. None when the header cannot be read either."""
    opcode = next((span for span in spans if span[0] == "opcode"), None)
    if opcode is None:
        return None
    bare = _bare()
    code = bare.request_code if context is None else bare.response_code
    if code is None:
        return None
    frame = data[offset : opcode[1]] + bytes([code]) + data[opcode[2] :]
    try:
        if context is None:
            return decode_request(frame)
        return decode_response(
            frame,
            RequestContext(bare.op, context.version, context.flags, context.intelligence),
        )
    except DecodeError:
        return None


def _title(
    header: Any, spans: list[Span], data: bytes, context: Request | RequestContext | None
) -> str:
    kind = "request" if context is None else "response"
    opcode = next((data[span[1]] for span in spans if span[0] == "opcode"), None)
    if opcode is None or header is None:
        return kind if opcode is None or context is None else f"{context.op.name} {kind}"
    if isinstance(header, Event):
        kind = "event"
    name = op_of_request(opcode) if context is None else op_of_response(opcode)
    if isinstance(header, Response) and header.is_error:
        name = header.op.name if isinstance(context, Request) and header.op else "error"
    parts = [f"{name} {kind}", f"version {version_text(header.version)}"]
    parts.append(f"message {header.message_id}")
    if isinstance(header, Response):
        parts.append(header.status.name)
    elif header.cache:
        parts.append(f"cache {quoted(header.cache, _PREVIEW)}")
    return ", ".join(parts)


def _how_it_goes_on(
    data: bytes,
    offset: int,
    spans: list[Span],
    context: Request | RequestContext | None,
    short_previous: bool,
) -> str:
    """Which field is cut and how much of it is missing at the least. The codec tells it when the
    frame is filled up with zeros until it has read one field more."""
    frame = data[offset:]

    def trace(padding: int) -> _Trace:
        filled = frame + bytes(padding)
        traced: _Trace
        if context is None:
            traced = trace_request(filled)
        else:
            traced = trace_response(filled, context, short_previous=short_previous)
        return traced

    def goes_further(padding: int) -> bool:
        more, _, error = trace(padding)
        return len(more) > len(spans) or error is not None

    end = spans[-1][2] if spans else offset
    text = f"incomplete: the input ends at byte {len(data)}, the frame goes on"
    if len(spans) > _MOST_SPANS:
        return f"{text} behind byte {end}"
    enough = 1
    while not goes_further(enough):
        enough *= 2
        if enough > _MOST_PADDING:
            return f"{text}; the field at byte {end} wants more than {plural(enough // 2, 'byte')}"
    least = enough // 2  # too few
    while enough - least > 1:
        middle = (enough + least) // 2
        if goes_further(middle):
            enough = middle
        else:
            least = middle
    more, _, error = trace(enough)
    if len(more) > len(spans):
        name, item = more[len(spans)][0], more[len(spans)][4]
    else:
        name, item = (error.field if error is not None else "frame"), -1
    what = f"{name} of item {item}" if item >= 0 else name
    return f"{text}; {what} at byte {end} wants at least {plural(enough, 'byte')} more"
