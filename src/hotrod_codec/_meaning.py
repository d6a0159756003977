"""What the fields of one frame mean: the codec's spans and decoded attributes, told as rows.

Knows how names, numbers and times are said, and which attribute of a message a span has made; what
is in the bytes, the codec says, and where it does not say it, the meaning stays empty. Cutting
inputs into frames is explain.py's.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from hotrod_codec import (
    Duration,
    Event,
    Flag,
    Layout,
    Metadata,
    Op,
    Request,
    Response,
    Status,
    Topology,
    Version,
    layout,
)

if TYPE_CHECKING:
    from hotrod_codec.protostream.query import JsonQueryResponse, QueryRequest, QueryResponse

__all__ = [
    "Reading",
    "Row",
    "Span",
    "layouts",
    "moment_text",
    "op_of_request",
    "op_of_response",
    "plural",
    "quoted",
    "shortened",
    "version_text",
]

# Name, start, end, kind, item: see trace_request.
Span = tuple[str, int, int, str, int]

_HEX_BYTES: Final = 10  # of a long field
_PREVIEW: Final = 48  # characters

# Fields of these kinds hold numbers, names and counts. What is of any other kind, one that a later
# operation brings as well, may hold what users store.
_OPEN_KINDS: Final = frozenset(
    {"u8", "u16", "bool", "vint", "vlong", "i32", "i64", "text", "media", "life", "meta"}
    | {"factory", "some_factory", "bits", "some_bits", "counter", "counter_state"}
    | {"pairs", "pairs_more", "bytes_list", "bytes_more", "few_bytes", "text_list", "text_pairs"}
    | {"params", "few_params", "u16_list", "iterated", "xids", "modifications"}
)
# Spans of these kinds are the count of a list; its items follow.
_LIST_KINDS: Final = frozenset(
    {"pairs", "bytes_list", "few_bytes", "text_list", "text_pairs", "params", "few_params"}
    | {"u16_list", "iterated", "xids", "modifications"}
)
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
# The same for values that have parts.
_PART_ATTRIBUTES: Final = {
    "entry_version": "version",
    "xid format": "format_id",
    "xid global part": "global_id",
    "xid branch part": "branch_id",
    "lower bound": "lower",
    "upper bound": "upper",
    "initial value": "initial",
}
# What numbers stand for, by field and by operation and field.
_NUMBERS: Final[dict[tuple[str, int | None], str]] = {
    ("custom_marker", 0): "a plain event",
    ("custom_marker", 1): "made by the listener's converter",
    ("custom_marker", 2): "made by the listener's converter, as raw data",
    ("scope", 0): "the default",
    ("scope", 1): "of all servers",
    ("scope", 2): "of this server",
    ("interests", 0): "all events",
    # As the XA specification has them.
    ("xa_code", 0): "XA_OK",
    ("xa_code", 3): "XA_RDONLY: nothing was written, nothing is to be committed",
    ("xa_code", 4): "XA_RETRY",
    ("xa_code", 5): "XA_HEURMIX: committed in part, rolled back in part",
    ("xa_code", 6): "XA_HEURRB: rolled back by the server's own decision",
    ("xa_code", 7): "XA_HEURCOM: committed by the server's own decision",
    ("xa_code", 8): "XA_HEURHAZ: may have been completed by the server's own decision",
    ("xa_code", 100): "XA_RBROLLBACK: rolled back",
    ("xa_code", 101): "XA_RBCOMMFAIL: rolled back, communication failed",
    ("xa_code", 102): "XA_RBDEADLOCK: rolled back, deadlock",
    ("xa_code", 103): "XA_RBINTEGRITY: rolled back, integrity violated",
    ("xa_code", 104): "XA_RBOTHER: rolled back",
    ("xa_code", 105): "XA_RBPROTO: rolled back, protocol error",
    ("xa_code", 106): "XA_RBTIMEOUT: rolled back, took too long",
    ("xa_code", 107): "XA_RBTRANSIENT: rolled back, may be tried again",
    ("xa_code", -3): "XAER_RMERR: the server failed",
    ("xa_code", -4): "XAER_NOTA: no such transaction",
    ("xa_code", -5): "XAER_INVAL: invalid arguments",
    ("xa_code", -6): "XAER_PROTO: not in this state",
    ("xa_code", -7): "XAER_RMFAIL: the server is not available",
    ("xa_code", -8): "XAER_DUPID: the transaction exists already",
    ("xa_code", -9): "XAER_OUTSIDE",
}
_NUMBERS_OF: Final[dict[tuple[Op | None, str, int | None], str]] = {
    (Op.BULK_GET, "count", 0): "all entries",
    **{
        (op, "entry_version", number): text
        for op in (Op.PUT_STREAM, Op.START_PUT_STREAM)
        for number, text in ((0, "put"), (-1, "put if absent"))
    },
}
_STATUS_OF: Final[dict[tuple[Op | None, Status], str]] = {
    (Op.CONTAINS_KEY, Status.SUCCESS): "the key is there",
    (Op.COUNTER_IS_DEFINED, Status.SUCCESS): "the counter is defined",
    (Op.COUNTER_IS_DEFINED, Status.NOT_EXECUTED): "the counter is not defined",
    (Op.COUNTER_CREATE, Status.NOT_EXECUTED): "the counter was defined already",
    (Op.COUNTER_ADD_AND_GET, Status.NOT_EXECUTED_WITH_PREVIOUS): "a bound was hit",
    (Op.COUNTER_CAS, Status.NOT_EXECUTED_WITH_PREVIOUS): "a bound was hit",
    (Op.COUNTER_GET_AND_SET, Status.NOT_EXECUTED_WITH_PREVIOUS): "a bound was hit",
}
# What server 9.4 puts behind KEY_DOES_NOT_EXIST. decisions.md: an empty entry behind a miss
_BEHIND_MISS: Final = frozenset({"previous", "metadata flags", "entry_version", "values"})
_INTERESTS: Final = {1: "created", 2: "modified", 4: "removed", 8: "expired"}
_CONTROLS: Final = {1: "the entry was not read", 2: "there was no entry", 4: "removes the key"}
_COUNTER_STATES: Final = {0: "valid", 1: "at the lower bound", 2: "at the upper bound"}
_TOPOLOGY_LISTS: Final = {"host": "servers", "port": "servers", "hash id": "hash_ids"}
_SEGMENT: Final = "owners of segment"


# ---- rows ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a field, or a note in place of several (then `hex` and `meaning` may be empty).

    Attributes:
        start, end: Offsets into the input, of a recording into the stream of this direction.
        hex: The bytes, shortened.
        name: The field, with the index of its item.
        meaning: What the codec made of it.
        is_note: Stands for fields that are left out, or for bytes that are no field.
        kind: How the field is written, see trace_request; of a note "omitted" or "unread".
        item: The index of the list's item that it belongs to, -1 outside of lists.
    """

    start: int
    end: int
    hex: str
    name: str
    meaning: str
    is_note: bool = False
    kind: str = ""
    item: int = -1


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


def plural(count: int, what: str) -> str:
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


def moment_text(nanoseconds: int) -> str:
    """A moment, of which microseconds are told."""
    try:
        moment = datetime.fromtimestamp(nanoseconds // 10**9, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{nanoseconds} ns since 1970"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{nanoseconds % 10**9 // 1000:06} UTC"


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
def layouts() -> tuple[Layout, ...]:
    return tuple(layout(op) for op in Op)


def op_of_request(code: int) -> str:
    return next((row.op.name for row in layouts() if row.request_code == code), f"{code:#04x}")


def op_of_response(code: int) -> str:
    return next((row.op.name for row in layouts() if row.response_code == code), f"{code:#04x}")


# ---- one frame -----------------------------------------------------------------------------------


def shortened(data: bytes | bytearray) -> str:
    """The bytes in hex, not all of them if there are many."""
    if len(data) <= _HEX_BYTES + 1:
        return data.hex(" ")
    return data[:_HEX_BYTES].hex(" ") + " ..."


def _has_parts(value: Any) -> bool:
    return hasattr(value, "__match_args__")


@dataclass(slots=True)
class Reading:
    """One frame while its rows are made.

    Attributes:
        data: The input.
        message: The decoded frame; None when it is not whole.
        header: The same, or a message with nothing but this header where the body cannot be read.
        is_request: Whether it began as a request.
        show_data: Show what keys and values hold.
        everything: Show all bytes of long fields.
    """

    data: bytes | bytearray
    message: Any
    header: Any
    is_request: bool
    show_data: bool
    everything: bool
    head: str = ""  # the list whose items come
    seen: set[str] = field(default_factory=set)
    lists: dict[str, list[Any]] = field(default_factory=dict)
    factories: int = 0  # how many have come
    item: int = -1  # the present one, and how many of its keys, names and values have come
    parts: int = 0
    values: int = 0

    def rows(self, spans: Sequence[Span]) -> Iterator[Row]:
        """The rows of spans that follow each other."""
        for name, start, end, kind, item in spans:
            # A field with several names: the last one is its list.
            name = name.rpartition(", ")[2]
            span = (name, start, end, kind, item)
            value = self._item_value(span) if item >= 0 else self._value(span)
            hexes, label, meaning = self._hex(span, value), self._label(span), ""
            if self.message is not None:
                meaning = self._particular(span, value)
            yield Row(
                start, end, hexes, label, meaning or self._meaning(span, value), False, kind, item
            )
            if item < 0:
                self.seen.add(name)
                if kind in _LIST_KINDS:
                    self.head = name
                elif name != "projections":  # stands between the count and the items
                    self.head = ""

    # -- values: attributes of the message by the name of a span --

    @property
    def fields(self) -> dict[str, Any]:
        return {} if self.message is None else self.message.fields

    def _factory(self, part: int) -> Any:
        """The name (0) or the parameters (1) of the factory that is being told."""
        return self.fields.get(self._factory_name(part))

    def _factory_name(self, part: int) -> str:
        if self.message is None or self.message.op is None:
            return ""
        rows = layout(self.message.op).request
        names = [row.names for row in rows if row.kind in ("factory", "some_factory")]
        return names[self.factories - 1][part] if self.factories else ""

    def _list(self, name: str) -> list[Any] | None:
        """The items of a list of the body (or of other_params)."""
        if name == "factory parameters":
            params: list[Any] | None = self._factory(1)
            return params
        if name not in self.lists:
            found = self.fields.get(name)
            if name == "other parameters" and isinstance(self.header, Request):
                found = self.header.other_params
            if not isinstance(found, (list, dict)):
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

    def _owners(self, item: int) -> Iterator[Any]:
        """The values with parts that a span may be a part of."""
        if item < 0:
            yield from (value for value in self.fields.values() if _has_parts(value))
            return
        _, items = self._items()
        if item < len(items) and _has_parts(items[item]):
            yield items[item]
            metadata = getattr(items[item], "metadata", None)
            if metadata is not None:
                yield metadata

    def _part(self, name: str, item: int) -> Any:
        for attribute in (name, _PART_ATTRIBUTES.get(name, name)):
            for owner in self._owners(item):
                if attribute != "value" and hasattr(owner, attribute):
                    return getattr(owner, attribute)
        return None

    def _metadata(self, item: int) -> Metadata | None:
        return next((owner for owner in self._owners(item) if isinstance(owner, Metadata)), None)

    def _topology(self) -> Topology | None:
        return self.header.topology if isinstance(self.header, Response) else None

    def _value(self, span: Span) -> Any:
        """What the codec decoded from a span; None where it cannot be told apart."""
        name, start, end, kind, _ = span
        header = _REQUEST_HEADER if self.is_request else _RESPONSE_HEADER
        if kind == "text" and name in ("factory", "filter_factory"):
            self.factories += 1
            return self._factory(0)
        if name == "factory parameters":
            return self._factory(1)
        if name not in header or name in self.seen:
            if name in self.fields:
                return self.fields[name]
            found = self._part(name, -1)
        else:
            attribute = _HEADER_ATTRIBUTES.get(name, name.replace(" ", "_"))
            found = getattr(self.header, attribute, None)
            if found is None:
                attribute = "id" if name == "topology id" else attribute
                found = getattr(self._topology(), attribute, None)
        if found is None and kind == "u8" and end - start == 1:
            return self.data[start]
        return found

    def _item_value(self, span: Span) -> Any:
        name, start, end, kind, item = span
        topology = self._topology()
        if topology is not None and name in _TOPOLOGY_LISTS:
            found: Any = getattr(topology, _TOPOLOGY_LISTS[name])
            return getattr(found[item], name, found[item]) if found else None
        if topology is not None and name == _SEGMENT:
            return topology.segment_owners[item] if topology.segment_owners else None
        if name in ("more", "end"):
            return self.data[start] != 0
        if self.item != item:
            self.item, self.parts, self.values = item, 0, 0
        _, items = self._items()
        if item >= len(items):
            return None
        value = items[item]
        if _has_parts(value):
            value = self._part_of_item(name, value)
        elif isinstance(value, tuple):
            value = value[min(self.parts, len(value) - 1)]
        self.parts += 1
        # Take no other part's value for this one's: its bytes have to be the span's.
        data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        if isinstance(data, bytes) and self.data[end - len(data) : end] != data:
            return None
        if value is None and kind == "u8" and end - start == 1:
            return self.data[start]
        return value

    def _part_of_item(self, name: str, value: Any) -> Any:
        if name == "has metadata":
            return value.metadata is not None
        if name != "value":
            return self._part(name, self.item)
        values = getattr(value, "values", None)
        if values is None:
            return getattr(value, "value", None)
        self.values += 1
        return values[self.values - 1] if self.values <= len(values) else None

    # -- columns --

    def _label(self, span: Span) -> str:
        name, _, _, _, item = span
        if name == "factory":
            return self._factory_name(0) or name
        if name == "factory parameters" and item < 0:
            return self._factory_name(1) or name
        if item < 0:
            return name
        if name in _TOPOLOGY_LISTS or name == _SEGMENT:
            return f"{name} {item}"
        in_list, items = self._items()
        if in_list == "factory parameters":
            in_list = self._factory_name(1) or in_list
        if name == "end":
            return f"{in_list or 'list'}.end"
        if name == "more" or not in_list:
            return f"{in_list or 'item'}[{item}].{name}"
        single = item < len(items) and isinstance(items[item], (bytes, str, int))
        return f"{in_list}[{item}]" if single else f"{in_list}[{item}].{name}"

    def _hex(self, span: Span, value: Any) -> str:
        _, start, end, kind, _ = span
        if kind in _OPEN_KINDS or self.show_data:
            data = self.data[start:end]
            return data.hex(" ") if self.everything else shortened(data)
        # The length that stands before the bytes, but not the bytes.
        length = end - start - len(value) if isinstance(value, bytes) else 1
        hidden = end - start - length
        return self.data[start : start + length].hex(" ") + (" ..." if hidden > 0 else "")

    def _meaning(self, span: Span, value: Any) -> str:
        name, start, _, kind, item = span
        if name == "magic":
            return "a request begins" if self.is_request else "a response begins"
        if name == "opcode":
            return self._opcode(start)
        if name == "transaction type":
            return "not in use"
        if name == "time units":
            return self._time_units(item)
        if name == "metadata flags":
            return self._metadata_flags(item)
        if name == "topology marker":
            return "a topology follows" if self.data[start] == 1 else "no topology"
        if name.startswith("number of "):
            return self._number_of(name)
        if name == "counter flags":
            return self._counter_flags()
        if name in ("more", "end"):
            return "an item follows" if value else "the list ends"
        if name == _SEGMENT and isinstance(value, tuple):
            return ", ".join(
                f"server {owner}" + (" (primary)" if i == 0 else "")
                for i, owner in enumerate(value)
            )
        if kind == "media":
            known = self.header if " " in name else self.message
            return "not given" if value is None and known is not None else str(value or "")
        if item < 0 and name not in self.seen:
            said = self._header_text(name, value)
            if said:
                return said
        return self._text(span, value)

    # -- fields whose value says more than it seems --

    def _particular(self, span: Span, value: Any) -> str:
        """The meaning of a body's field that is more than its number or length; "" of others."""
        name, item = span[0], span[4]
        op = self.message.op
        if item >= 0:
            return _control_text(value) if name == "control" and isinstance(value, int) else ""
        if name == "status" and isinstance(self.message, Response):
            told = _STATUS_OF.get((op, self.message.status), "")
            return f"{self.message.status.name}: {told}" if told else ""
        if name in _BEHIND_MISS and self._is_empty_miss():
            return "dropped: the status says that there is none"
        if name in self.seen or name not in self.fields:
            return ""
        number = value if isinstance(value, int) and not isinstance(value, bool) else None
        if (name, number) in _NUMBERS:
            return f"{number}: {_NUMBERS[name, number]}"
        if (op, name, number) in _NUMBERS_OF:
            return f"{number}: {_NUMBERS_OF[op, name, number]}"
        if name == "interests" and number:
            return f"{number}: {_names_of_bits(number, _INTERESTS)}"
        if name == "state" and number is not None:
            before, after = number & 3, number >> 2 & 3
            return (
                f"{number}: {_COUNTER_STATES.get(before, before)} before, "
                f"{_COUNTER_STATES.get(after, after)} after"
            )
        if name == "timeout_ms" and number is not None:
            return f"{number:,} ms"
        if name == "segments" and value is None:
            return "none given: all segments"
        if name == "listener_id" and isinstance(value, bytes) and value:
            return f"{plural(len(value), 'byte')}: {value[:16].hex()}" + ("..." * (len(value) > 16))
        if name in ("query", "result") and op == Op.QUERY and isinstance(value, bytes):
            return self._query(name, value)
        return ""

    def _is_empty_miss(self) -> bool:
        message = self.message
        missed = isinstance(message, Response) and message.status == Status.KEY_DOES_NOT_EXIST
        return missed and not self.fields

    def _query(self, name: str, value: bytes) -> str:
        """What an envelope of a query holds; "" where it is none."""
        # Here, as it takes as long to load as the rest together.
        from hotrod_codec.protostream.query import JsonQueryResponse, QueryRequest, QueryResponse

        is_json = value[:1] == b"{"
        try:
            if name == "query":
                query = (QueryRequest.decode_json if is_json else QueryRequest.decode)(value)
                told = self._query_request(query)
            elif is_json:
                found = JsonQueryResponse.decode(value)
                told = f"{plural(len(found.hits), 'row')} of {_count_text(found)}"
            else:
                answer = QueryResponse.decode(value)
                told = f"{plural(answer.num_results or 0, 'row')} of {_count_text(answer)}"
                if answer.projection_size:
                    told += f", {plural(answer.projection_size, 'column')}"
        except (ValueError, RecursionError):
            return ""
        return f"{plural(len(value), 'byte')}: {'JSON, ' if is_json else ''}{told}"

    def _query_request(self, query: QueryRequest) -> str:
        text = quoted(query.query) if self.show_data else plural(len(query.query), "character")
        told = [f"a query of {text}" if not self.show_data else text]
        if query.parameters:
            told.append("parameters " + ", ".join(quoted(name) for name in query.parameters))
        if query.start_offset is not None and query.start_offset > 0:
            told.append(f"from row {query.start_offset} on")
        if query.max_results is not None and query.max_results >= 0:
            told.append(f"at most {plural(query.max_results, 'row')}")
        if query.local:
            told.append("of this server only")
        return ", ".join(told)

    def _header_text(self, name: str, value: Any) -> str:
        if name == "version" and isinstance(value, int):
            return version_text(value)
        if name == "status" and value in list(Status):
            return Status(value).name
        if name == "flags" and isinstance(value, Flag):
            return _flags_text(value)
        if name == "cache name" and value == "":
            return "the default cache"
        if name == "topology id" and self.is_request and value in (0, -1):
            return f"{value}: none known"
        if name == "server_version" and value in list(Version):
            return version_text(value)
        return ""

    def _opcode(self, start: int) -> str:
        code = self.data[start]
        if self.is_request:
            return op_of_request(code)
        if isinstance(self.message, Event):
            return f"{op_of_response(code)} event"
        if isinstance(self.message, Response) and self.message.is_error:
            op = self.message.op
            return "error answer" + (f" to {op.name}" if op is not None else "")
        return f"{op_of_response(code)} response"

    def _time_units(self, item: int) -> str:
        owner = next(self._owners(item), None) if item >= 0 else None
        if self.message is None or (item >= 0 and owner is None):
            return ""
        told = []
        for name in ("lifespan", "max_idle"):
            value = self.fields.get(name) if owner is None else getattr(owner, name, None)
            unit = value.unit.name.lower() if isinstance(value, Duration) else _duration_text(value)
            told.append(f"{name}: {unit}")
        return ", ".join(told)

    def _metadata_flags(self, item: int) -> str:
        metadata = self._metadata(item)
        if metadata is None:
            return ""
        return (
            f"lifespan {'infinite' if metadata.lifespan is None else 'given'}, "
            f"max_idle {'infinite' if metadata.max_idle is None else 'given'}"
        )

    def _counter_flags(self) -> str:
        counter = next(self._owners(-1), None)
        if counter is None:
            return ""
        bounded = "bounded" if counter.lower is not None else "unbounded"
        kind = bounded if counter.concurrency is None else "weak"
        return f"{kind}, {'persistent' if counter.persistent else 'volatile'}"

    def _number_of(self, name: str) -> str:
        topology = self._topology()
        if topology is None:
            return ""
        if name == "number of segments":
            return str(topology.num_segments)
        return str(len(topology.servers))

    def _text(self, span: Span, value: Any) -> str:
        name, start, end, kind, _ = span
        if value is None:
            if self.message is not None and _is_duration(name):
                return _duration_text(None)
            if self.message is not None and kind in ("text", "some_bits"):
                return "none"
            if kind in _OPEN_KINDS:
                return ""
            return f"{plural(end - start, 'byte')} with the length"
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, bytes):
            return self._bytes_text(value)
        if isinstance(value, str):
            return quoted(value, None if self.show_data else 4 * _PREVIEW)
        if kind in ("bits", "some_bits"):
            return _numbers_text(value)
        if isinstance(value, (list, tuple, dict)):
            return plural(len(value), "item")
        if name == "number" and self.head == "opcodes":
            return op_of_request(value)
        if name in ("created", "last_used"):
            return _time_text(value)
        if _is_duration(name) and isinstance(value, int):
            return plural(value, "second")
        if _is_duration(name):
            return _duration_text(value)
        if name == "entry_version" and value == -1 and "previous" in self.fields:
            return "-1: there was no entry"
        return str(getattr(value, "name", value))

    def _bytes_text(self, value: bytes) -> str:
        length = plural(len(value), "byte") if value else "empty"
        if not self.show_data or not value:
            return length
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = ""
        if text and text.isprintable():
            return f"{length}: {quoted(text[:_PREVIEW])}" + ("..." if text[_PREVIEW:] else "")
        return length


def _names_of_bits(number: int, names: dict[int, str]) -> str:
    known = [name for bit, name in names.items() if number & bit]
    rest = number & ~sum(names)
    return ", ".join([*known, *([f"{rest:#x} (unknown)"] if rest else [])])


def _control_text(control: int) -> str:
    return (
        f"{control}: {_names_of_bits(control, _CONTROLS)}"
        if control
        else ("0: if the entry still has the version")
    )


def _count_text(answer: QueryResponse | JsonQueryResponse) -> str:
    if answer.hit_count is None:
        return "an unknown number"
    at_least = "at least " if answer.hit_count_exact is False else ""
    return f"{at_least}{answer.hit_count:,}"


def _numbers_text(numbers: Sequence[int]) -> str:
    """A set of numbers, runs of them as first-last."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs[:8])
    return (shown or "none") + (", ..." if runs[8:] else "")
