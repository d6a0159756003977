"""Frames taken apart for people: each field with its place, its bytes and what it means.

Cuts an input into frames, finds the request that a response answers, and turns the codec's spans
and decoded attributes into rows. Knows no layout: where a field lies and what it holds, the codec
says. Prints nothing; see cli.py.

Keys, values and other byte arrays may be secret: without `show_data` a row has their length only.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from hotrod_codec import (
    DecodeError,
    Duration,
    Event,
    Flag,
    Layout,
    Metadata,
    Op,
    Request,
    RequestContext,
    Response,
    Status,
    Topology,
    Version,
    decode_request,
    decode_response,
    layout,
    trace_request,
    trace_response,
)
from hotrod_codec.recording import Direction, Record

__all__ = ["Assumed", "Explainer", "Frame", "Row", "quoted", "version_text"]

_FIRST_ITEMS: Final = 3  # of a long list
_LAST_ITEMS: Final = 2  # of a list that is cut or broken
_HEX_BYTES: Final = 10  # of a long field
_PREVIEW: Final = 48  # characters
_MOST_PADDING: Final = 1 << 20
_MOST_SPANS: Final = 1 << 16

# Fields of these kinds hold numbers, names and counts. What is of any other kind, one that a later
# version adds as well, may hold what users store.
_OPEN_KINDS: Final = frozenset(
    {"u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "bool", "vint", "vlong", "svint"}
    | {"text", "media", "life", "meta", "pairs", "pairs_more", "bytes_list", "bytes_more"}
    | {"text_list", "text_pairs", "params", "u16_list"}
)
_LIST_KINDS: Final = ("pairs", "_list", "_more", "params")
# The spans of headers, and the attributes that they make where these are called otherwise. A body
# may have fields of the same names; they come later.
_REQUEST_HEADER: Final = frozenset(
    {"version", "message id", "cache name", "flags", "client intelligence", "topology id"}
    | {"transaction type", "key media type", "value media type", "other parameters"}
)
_RESPONSE_HEADER: Final = frozenset(
    {"message id", "status", "topology marker", "topology id", "key owners", "hash version"}
    | {"hash space", "number of servers", "virtual nodes", "number of segments"}
)
_HEADER_ATTRIBUTES: Final = {
    "cache name": "cache",
    "client intelligence": "intelligence",
    "other parameters": "other_params",
}
_METADATA_ATTRIBUTES: Final = {"entry_version": "version"}
_TOPOLOGY_LISTS: Final = {"host": "servers", "port": "servers", "hash id": "hash_ids"}
_SEGMENT: Final = "owners of segment"

_Span = tuple[str, int, int, str, int]
_Trace = tuple[list[_Span], Any, DecodeError | None]


# ---- what comes out -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a field, or a note in place of several (then `hex` and `meaning` may be empty).

    Attributes:
        start, end: Offsets into the input, of a recording into the stream of this direction.
        hex: The bytes, shortened.
        name: The field, with the index of its item.
        meaning: What the codec made of it.
        is_note: Stands for fields that are left out, or for bytes that are no field.
    """

    start: int
    end: int
    hex: str
    name: str
    meaning: str
    is_note: bool = False


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


# ---- words --------------------------------------------------------------------------------------


def version_text(version: int) -> str:
    """A version as people say it, such as "2.8"."""
    return f"{version // 10}.{version % 10}"


def quoted(text: str, limit: int | None = None) -> str:
    """The text in quotes, on one line, harmless to a terminal."""
    shown = text if limit is None or len(text) <= limit else text[:limit]
    escaped = "".join(
        c if c.isprintable() and c not in '"\\' else c.encode("unicode_escape").decode()
        for c in shown
    ).replace('"', '\\"')
    return f'"{escaped}"' + ("" if shown is text else f"... ({len(text)} characters)")


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _flags_text(flags: int) -> str:
    names = [flag.name or "" for flag in Flag if flags & flag]
    unknown = flags & ~sum(int(flag) for flag in Flag)
    if unknown:
        names.append(f"{unknown:#x} (unknown)")
    return " | ".join(names) or "none"


def _time_text(milliseconds: int) -> str:
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{milliseconds} ms since 1970"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{milliseconds % 1000:03} UTC"


def _duration_text(value: Any) -> str:
    if value is None:
        return "the cache's default"
    if isinstance(value, Duration):
        unit = value.unit.name.lower()
        return f"{value.amount} {unit.removesuffix('s') if value.amount == 1 else unit}"
    return "infinite" if value == math.inf else str(value)


def _is_duration(name: str) -> bool:
    return name in ("lifespan", "max_idle")


# ---- what the codec's tables say -----------------------------------------------------------------


@functools.cache
def _layouts() -> tuple[Layout, ...]:
    return tuple(layout(op) for op in Op)


@functools.cache
def _bare() -> Layout:
    """An operation whose frames are a header and nothing else."""
    return next(
        row
        for row in _layouts()
        if row.request_code is not None and not row.request and not row.response
    )


@functools.cache
def _context(op: Op, version: Version) -> RequestContext:
    return RequestContext(op, version)


def _op_of_request(code: int) -> str:
    return next((row.op.name for row in _layouts() if row.request_code == code), f"{code:#04x}")


def _op_of_response(code: int) -> str:
    return next((row.op.name for row in _layouts() if row.response_code == code), f"{code:#04x}")


def _ops_accepting(data: bytes, offset: int, version: Version) -> list[Op]:
    """The operations whose responses may have the opcode of this frame: one for an answer, all for
    an error or event, none for an opcode that is not known."""
    accepting = []
    for row in _layouts():
        if row.request_code is not None:
            spans, _, _ = trace_response(data, _context(row.op, version), offset)
            if any(span[0] == "opcode" for span in spans):
                accepting.append(row.op)
    return accepting


# ---- one frame -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reading:
    """What is known of one frame while its rows are made."""

    data: bytes
    spans: list[_Span]
    message: Any  # Request, Response, or None: not whole
    header: Any  # the same, with nothing but the header where the body could not be read
    is_request: bool
    show_data: bool
    everything: bool
    head: str = ""  # the list whose items come
    seen: set[str] = field(default_factory=set)
    lists: dict[str, list[Any]] = field(default_factory=dict)
    part: tuple[int, int] = (-1, 0)  # item, and how many of its parts have come

    def rows(self, spans: Sequence[_Span]) -> Iterator[Row]:
        """The rows of spans that follow each other."""
        for span in spans:
            name, start, end, kind, item = span
            value = self._value(span)
            yield Row(
                start, end, self._hex(span, value), self._label(span), self._meaning(span, value)
            )
            if item < 0:
                self.seen.add(name)
                self.head = name if kind.endswith(_LIST_KINDS) else ""

    # -- values: attributes of the message by the name of a span --

    @property
    def fields(self) -> dict[str, Any]:
        return {} if self.message is None else self.message.fields

    def _list(self, name: str) -> list[Any] | None:
        """The items of a list of the body (or of other_params)."""
        if name not in self.lists:
            found = self.fields.get(name)
            if name == "other parameters" and isinstance(self.header, Request):
                found = self.header.other_params
            if not isinstance(found, (list, tuple, dict)):
                return None
            self.lists[name] = list(found.items() if isinstance(found, dict) else found)
        return self.lists[name]

    def _items(self) -> tuple[str, list[Any]]:
        """The list that the present item belongs to. A list whose items are marked one by one has
        no span of its own before them; there is one such list at the most."""
        if self.head:
            return self.head, self._list(self.head) or []
        for name in self.fields:
            items = self._list(name)
            if items is not None and name not in self.seen:
                return name, items
        return "", []

    def _metadata(self) -> Metadata | None:
        return next((v for v in self.fields.values() if isinstance(v, Metadata)), None)

    def _topology(self) -> Topology | None:
        return self.header.topology if isinstance(self.header, Response) else None

    def _value(self, span: _Span) -> Any:
        """What the codec decoded from a span; None where it cannot be told apart."""
        name, start, end, kind, item = span
        if item >= 0:
            return self._item_value(span)
        header = _REQUEST_HEADER if self.is_request else _RESPONSE_HEADER
        if name not in header or name in self.seen:
            if name in self.fields:
                return self.fields[name]
            found = getattr(self._metadata(), _METADATA_ATTRIBUTES.get(name, name), None)
        else:
            attribute = _HEADER_ATTRIBUTES.get(name, name.replace(" ", "_"))
            found = getattr(self.header, attribute, None)
            if found is None:
                attribute = "id" if name == "topology id" else attribute
                found = getattr(self._topology(), attribute, None)
        if found is None and kind == "u8" and end - start == 1:
            return self.data[start]
        return found

    def _item_value(self, span: _Span) -> Any:
        name, start, end, _, item = span
        topology = self._topology()
        if topology is not None and name in _TOPOLOGY_LISTS:
            found: Any = getattr(topology, _TOPOLOGY_LISTS[name])
            if found is None or item >= len(found):
                return None
            return getattr(found[item], name, found[item])
        if topology is not None and name == _SEGMENT and topology.segment_owners:
            return topology.segment_owners[item]
        if name == "more":
            return self.data[start] != 0
        self.part = (item, self.part[1] + 1 if self.part[0] == item else 0)
        _, items = self._items()
        if item >= len(items):
            return None
        value = items[item]
        if isinstance(value, tuple):
            value = getattr(value, name, value[min(self.part[1], len(value) - 1)])
        # An item may have more parts than a pair: take no other part's value for this one's.
        data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        if isinstance(data, bytes) and self.data[end - len(data) : end] != data:
            return None
        return value

    # -- columns --

    def _label(self, span: _Span) -> str:
        name, _, _, _, item = span
        if item < 0:
            return name
        if name in _TOPOLOGY_LISTS or name == _SEGMENT:
            return f"{name} {item}"
        in_list, items = self._items()
        if name == "more" or not in_list:
            return f"{in_list or 'item'}[{item}].{name}"
        whole = item < len(items) and not isinstance(items[item], tuple)
        return f"{in_list}[{item}]" if whole else f"{in_list}[{item}].{name}"

    def _hex(self, span: _Span, value: Any) -> str:
        _, start, end, kind, _ = span
        if kind in _OPEN_KINDS or self.show_data:
            data = self.data[start:end]
            return data.hex(" ") if self.everything else _shortened(data)
        # The length that stands before the bytes, but not the bytes.
        length = end - start - len(value) if isinstance(value, bytes) else 1
        hidden = end - start - length
        return self.data[start : start + length].hex(" ") + (" ..." if hidden > 0 else "")

    def _meaning(self, span: _Span, value: Any) -> str:
        name, start, end, kind, item = span
        if name == "magic":
            return "a request begins" if self.is_request else "a response begins"
        if name == "version" and isinstance(value, int) and item < 0:
            return version_text(value)
        if name == "opcode":
            return self._opcode(start)
        if name == "status" and value in list(Status):
            return Status(value).name
        if name == "transaction type":
            return "not in use"
        if name == "time units":
            if self.message is None:
                return ""
            return ", ".join(
                f"{part}: {self._unit(self.fields[part])}"
                for part in ("lifespan", "max_idle")
                if part in self.fields
            )
        if name == "metadata flags":
            return self._metadata_flags()
        if name == "topology marker":
            return "a topology follows" if self.data[start] == 1 else "no topology"
        if name.startswith("number of "):
            return self._number_of(name)
        if name == "more":
            return "an item follows" if value else "the list ends"
        if name == _SEGMENT and isinstance(value, tuple):
            return ", ".join(
                f"server {owner}" + (" (primary)" if i == 0 else "")
                for i, owner in enumerate(value)
            )
        if name == "number" and self._items()[0] == "opcodes" and isinstance(value, int):
            return _op_of_request(value)
        if name in ("key media type", "value media type") or kind == "media":
            known = self.header if " " in name else self.message
            return "not given" if value is None and known is not None else str(value or "")
        if name == "flags" and isinstance(value, Flag):
            return _flags_text(value)
        if name == "cache name" and value == "":
            return "the default cache"
        if name == "topology id" and self.is_request and value in (0, -1):
            return f"{value}: none known"
        return self._text(name, value, end - start, kind)

    def _opcode(self, start: int) -> str:
        code = self.data[start]
        if self.is_request:
            return _op_of_request(code)
        if isinstance(self.message, Event):
            return f"{_op_of_response(code)} event"
        if isinstance(self.message, Response) and self.message.is_error:
            op = self.message.op
            return "error answer" + (f" to {op.name}" if op is not None else "")
        return f"{_op_of_response(code)} response"

    @staticmethod
    def _unit(value: Any) -> str:
        return value.unit.name.lower() if isinstance(value, Duration) else _duration_text(value)

    def _metadata_flags(self) -> str:
        metadata = self._metadata()
        if metadata is None:
            return ""
        return (
            f"lifespan {'infinite' if metadata.lifespan is None else 'given'}, "
            f"max_idle {'infinite' if metadata.max_idle is None else 'given'}"
        )

    def _number_of(self, name: str) -> str:
        topology = self._topology()
        if topology is None:
            return ""
        if name == "number of segments":
            return str(topology.num_segments)
        return str(len(topology.servers))

    def _text(self, name: str, value: Any, size: int, kind: str) -> str:
        if value is None:
            if _is_duration(name) and name in self.fields:
                return _duration_text(None)
            return "" if kind in _OPEN_KINDS else f"{_plural(size, 'byte')} with the length"
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, bytes):
            return self._bytes_text(value)
        if isinstance(value, str):
            return quoted(value, None if self.show_data else 4 * _PREVIEW)
        if isinstance(value, (list, tuple, dict)):
            return _plural(len(value), "item")
        if name in ("created", "last_used"):
            return _time_text(int(value))
        if _is_duration(name) and isinstance(value, int):
            return _plural(value, "second")
        if _is_duration(name):
            return _duration_text(value)
        if name == "server_version" and value in list(Version):
            return version_text(value)
        if name == "entry_version" and value == -1 and "previous" in self.fields:
            return "-1: there was no entry"
        return str(getattr(value, "name", value))

    def _bytes_text(self, value: bytes) -> str:
        length = _plural(len(value), "byte") if value else "empty"
        if not self.show_data or not value:
            return length
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = ""
        if text and text.isprintable():
            return f"{length}: {quoted(text[:_PREVIEW])}" + ("..." if text[_PREVIEW:] else "")
        return length


def _shortened(data: bytes) -> str:
    if len(data) <= _HEX_BYTES + 1:
        return data.hex(" ")
    return data[:_HEX_BYTES].hex(" ") + " ..."


def _runs(spans: list[_Span]) -> Iterator[list[_Span]]:
    """Cut the spans into lists (all their items in one run) and what stands between them."""
    run: list[_Span] = []
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
        trace = trace_request(data, offset)
        if trace[0]:  # the magic was a request's
            if isinstance(trace[1], Request):
                request = trace[1]
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
        reading = _Reading(data, spans, None, None, False, self._show_data, self._everything)
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
        reading = _Reading(data, head, None, None, False, self._show_data, self._everything)
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
        reading = _Reading(
            data, spans, message, header, context is None, self._show_data, self._everything
        )
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

    def _run(self, reading: _Reading, run: list[_Span]) -> Iterator[Row]:
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
            f"{_plural(hidden_to - hidden_from, 'more item')} in "
            f"{_plural(hidden[-1][2] - hidden[0][1], 'byte')} (--all shows them)",
            is_note=True,
        )
        yield from reading.rows([span for span in run if span[4] >= hidden_to])

    def _rest(self, data: bytes, start: int) -> Iterator[Row]:
        if start < len(data):
            rest = data[start:]
            shown = _shortened(rest) if self._show_data else _shortened(rest[:1])
            if not self._show_data and len(rest) > 1:
                shown += " ..."
            yield Row(
                start, len(data), shown, "(rest)", f"{_plural(len(rest), 'byte')} not read", True
            )


def _id_bytes(data: bytes, spans: list[_Span]) -> bytes:
    """The message id as it stands on the wire: servers send it back as it came."""
    return next(data[span[1] : span[2]] for span in spans if span[0] == "message id")


def _header_of(
    data: bytes, offset: int, spans: list[_Span], context: Request | RequestContext | None
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
    header: Any, spans: list[_Span], data: bytes, context: Request | RequestContext | None
) -> str:
    kind = "request" if context is None else "response"
    opcode = next((data[span[1]] for span in spans if span[0] == "opcode"), None)
    if opcode is None or header is None:
        return kind if opcode is None or context is None else f"{context.op.name} {kind}"
    if isinstance(header, Event):
        kind = "event"
    name = _op_of_request(opcode) if context is None else _op_of_response(opcode)
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
    spans: list[_Span],
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
            return f"{text}; the field at byte {end} wants more than {_plural(enough // 2, 'byte')}"
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
    return f"{text}; {what} at byte {end} wants at least {_plural(enough, 'byte')} more"
