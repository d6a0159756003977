"""Queries: what goes into and comes out of the operation QUERY, and the events and parameters of
continuous queries and query filters.

Here: the envelopes, as messages of protobuf and as JSON, both directions. Each holds keys, values
and columns as the bytes that came; `unwrap_entity` and `unwrap_column` say what is in them. The
format: [wire-extended 4, 5].
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any, Final, Self

from hotrod_codec.errors import DecodeError, EncodeError
from hotrod_codec.protostream import types as t
from hotrod_codec.protostream._commons import put_text
from hotrod_codec.protostream._fields import (
    BYTES,
    VARINT,
    Reader,
    as_bytes,
    put_bytes,
    put_varint,
    tag,
)
from hotrod_codec.protostream.wrapping import (
    WRAPPED_MESSAGE_ID,
    MessageTypes,
    decode,
    encode,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "CONTINUOUS_QUERY_FACTORY",
    "ITERATION_FILTER_FACTORY",
    "QUERY_FILTER_FACTORY",
    "ContinuousQueryResult",
    "FilterResult",
    "JsonQueryResponse",
    "QueryRequest",
    "QueryResponse",
    "ResultType",
    "as_query_parameters",
    "factory_parameters",
    "iterated_columns",
    "unwrap_column",
    "unwrap_entity",
]

CONTINUOUS_QUERY_FACTORY: Final = "continuous-query-filter-converter-factory"
"""Filter and converter, by the same name, of a listener that follows a query."""

QUERY_FILTER_FACTORY: Final = "query-dsl-filter-converter-factory"
"""Filter and converter, by the same name, of a listener that a query filters."""

ITERATION_FILTER_FACTORY: Final = "iteration-filter-converter-factory"
"""Filter of an iteration over what a query finds."""

_WRAPPED_MESSAGE_NAME: Final = "org.infinispan.protostream.WrappedMessage"
_FILTER_RESULT: Final = 4402
_CONTINUOUS_QUERY_RESULT: Final = 4403
# What they were until 9.4.
_LEGACY_FILTER_RESULT: Final = 1000103
_LEGACY_CONTINUOUS_QUERY_RESULT: Final = 1000104


def unwrap_entity(data: Buffer, *, types: MessageTypes | None = None) -> Any:
    """The entity in a row of `from ...`: its stored bytes are wrapped once more, as a byte array.

    Raises:
        DecodeError: Not a WrappedMessage, or what is in it is none.
    """
    value = decode(data, types=types)
    if isinstance(value, t.Message) and value.type in (WRAPPED_MESSAGE_ID, _WRAPPED_MESSAGE_NAME):
        value = decode(value.payload, types=types)
    return decode(value, types=types) if isinstance(value, bytes) else value


def unwrap_column(data: Buffer, *, types: MessageTypes | None = None) -> Any:
    """A column of `select ...`: a plain value, None, or an entity in three layers.

    A byte array is a value here and not unwrapped.
    """
    value = decode(data, types=types)
    if isinstance(value, t.Message) and value.type in (WRAPPED_MESSAGE_ID, _WRAPPED_MESSAGE_NAME):
        return unwrap_entity(value.payload, types=types)
    return value


def iterated_columns(
    values: Sequence[Buffer], *, types: MessageTypes | None = None
) -> tuple[Any, ...]:
    """The columns of an entry of an iteration whose query has `select ...`.

    From 3.0 on they are the entry's values; before, its only value is an array of them.
    """
    if len(values) == 1:
        value = decode(values[0], types=types)
        if isinstance(value, t.Container) and value.type == "ObjectArray":
            return tuple(
                unwrap_column(column, types=types) if isinstance(column, bytes) else column
                for column in value
            )
    return tuple(unwrap_column(value, types=types) for value in values)


def as_query_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """`parameters` as Java's client converts them for a query: a bool to "true" or "false", an
    enum to its number, a moment to milliseconds since 1970. Others stay as they are; the server
    converts a number to the type of the field that it is compared with.
    """
    return {name: _as_query_parameter(value) for name, value in parameters.items()}


def _as_query_parameter(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, t.EnumValue):
        return t.Int32(value.number)
    if isinstance(value, Enum) and isinstance(value.value, int):
        return t.Int32(value.value)
    if isinstance(value, datetime):
        value = t.Date.of(value)
    if isinstance(value, t.Date):
        return value.millis
    if isinstance(value, t.Instant):
        return value.seconds * 1000 + value.nanos // 10**6
    return value


def factory_parameters(
    query: str, parameters: Mapping[str, Any] | None = None, *, types: MessageTypes | None = None
) -> tuple[bytes, ...]:
    """The parameters of the factories above: the query, then names and values in turn.

    A listener gives them to its filter and none to its converter, and sets use_raw_data; with
    CONTINUOUS_QUERY_FACTORY also include_state.
    """
    values: list[Any] = [query]
    for name, value in as_query_parameters(parameters or {}).items():
        values += [name, value]
    return tuple(encode(value, types=types) for value in values)


def _put_optional(out: bytearray, number: int, value: int | None) -> None:
    if value is not None:
        put_varint(out, number, value)


def _check_bits(name: str, value: int | None, bits: int) -> None:
    if value is not None and not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise EncodeError(f"{value} does not fit into {bits} bits", field=name)


# --- requests -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """The payload of a QUERY request. Versions from 2.8 on must say its format as the value's
    media type: application/x-protostream for `encode`, application/json for `encode_json`.

    Attributes:
        query: In the language Ickle: "from example.Person p where p.age > :age".
        start_offset: Rows to leave out; None: 0. Clients until 15 send -1 for that.
        max_results: Rows at most; None: what the server has configured, usually 100. Clients until
            15 send -1 for that.
        parameters: Values of the query's parameters; `as_query_parameters` converts what a server
            takes in another form only.
        local: Only what the answering server holds; None: no.
        hit_count_accuracy: Count exactly up to so many; None or -1: what the cache has configured.
        query_mode: "FETCH" or "BROADCAST", from clients before 10. No more in use, and it has the
            place of `local`.
    """

    query: str
    start_offset: int | None = None
    max_results: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    local: bool | None = None
    hit_count_accuracy: int | None = None
    query_mode: str | None = None

    def _check(self) -> None:
        if not isinstance(self.query, str):
            raise TypeError(f"query: expected str, got {type(self.query).__name__}")
        _check_bits("start_offset", self.start_offset, 64)
        _check_bits("max_results", self.max_results, 32)
        _check_bits("hit_count_accuracy", self.hit_count_accuracy, 32)
        if self.local is not None and self.query_mode is not None:
            raise EncodeError("takes the place of local: give one of them", field="query_mode")
        for name, value in self.parameters.items():
            if value is None:
                raise EncodeError("a parameter cannot be null", field=f"parameters[{name!r}]")

    def encode(self, *, types: MessageTypes | None = None) -> bytes:
        """The message of protobuf; parameters as `hotrod_codec.protostream.encode` has them."""
        self._check()
        out = bytearray()
        put_text(out, 1, self.query, "query")
        _put_optional(out, 3, self.start_offset)
        _put_optional(out, 4, self.max_results)
        for name, value in self.parameters.items():
            parameter = bytearray()
            put_text(parameter, 1, name, "parameters")
            put_bytes(parameter, 2, encode(value, types=types))
            put_bytes(out, 5, parameter)
        if self.query_mode is not None:
            put_text(out, 6, self.query_mode, "query_mode")
        _put_optional(out, 6, self.local)
        _put_optional(out, 7, self.hit_count_accuracy)
        return bytes(out)

    @classmethod
    def decode(cls, data: Buffer, /, *, types: MessageTypes | None = None) -> Self:
        """The request in `data`. Raises DecodeError."""
        reader = Reader(as_bytes(data), "QueryRequest")
        fields: dict[str, Any] = {}
        parameters: dict[str, Any] = {}
        while reader.left:
            found = reader.tag()
            if found == tag(1, BYTES):
                fields["query"] = reader.text("query")
            elif found == tag(3, VARINT):
                fields["start_offset"] = reader.int64("start_offset")
            elif found == tag(4, VARINT):
                fields["max_results"] = reader.int32("max_results")
            elif found == tag(5, BYTES):
                name, value = _parameter(reader.inner("parameters"), types)
                parameters[name] = value
            elif found == tag(6, VARINT):
                fields["local"] = reader.flag("local")
            elif found == tag(6, BYTES):
                fields["query_mode"] = reader.text("query_mode")
            elif found == tag(7, VARINT):
                fields["hit_count_accuracy"] = reader.int32("hit_count_accuracy")
            else:
                reader.skip(found)
        if "query" not in fields:
            raise reader.error("missing", "query", reader.pos)
        return cls(parameters=parameters, **fields)

    def encode_json(self, *, legacy_server: bool = False) -> bytes:
        """The JSON form, versions from 2.9 on.

        Args:
            legacy_server: As server 9.4 takes it, which refuses keys that it does not know:
                without `local`, `hit_count_accuracy` and parameters. Else all keys are there, null
                where nothing is set: servers 15 and 16 fail without.

        Raises:
            EncodeError: Something is set that this form has no place for.
            TypeError: A parameter is neither text nor a number nor a bool.
        """
        self._check()
        if self.query_mode is not None:
            raise EncodeError("has no place in JSON", field="query_mode")
        members: dict[str, Any] = {
            "queryString": self.query,
            "startOffset": self.start_offset,
            "maxResults": self.max_results,
        }
        if legacy_server:
            self._check_legacy_json()
            return _to_json(members, "QueryRequest")
        for name, value in self.parameters.items():
            if not isinstance(value, str | int | float):
                raise TypeError(
                    f"parameters[{name!r}]: JSON has no {type(value).__name__}; "
                    "as_query_parameters converts moments and enums"
                )
        named = [{"name": name, "value": value} for name, value in self.parameters.items()]
        members |= {
            "hitCountAccuracy": self.hit_count_accuracy,
            "namedParameters": named or None,
            "local": self.local,
        }
        return _to_json(members, "QueryRequest")

    def _check_legacy_json(self) -> None:
        for name in ("local", "hit_count_accuracy"):
            if getattr(self, name) is not None:
                raise EncodeError("server 9.4 does not know it in JSON", field=name)
        if self.parameters:
            raise EncodeError(
                "server 9.4 takes none in JSON: write the values into the query, or send it as "
                "protobuf",
                field="parameters",
            )

    @classmethod
    def decode_json(cls, data: Buffer, /) -> Self:
        """The request in the JSON form; keys may be missing. Raises DecodeError."""
        members = _Members(data, "QueryRequest")
        parameters: dict[str, Any] = {}
        for item in members.get("namedParameters", list) or ():
            if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                raise members.error("wants objects with a name and a value", "namedParameters")
            parameters[item["name"]] = item.get("value")
        query = members.get("queryString", str)
        if query is None:
            raise members.error("missing", "queryString")
        return cls(
            query,
            members.get("startOffset", int),
            members.get("maxResults", int),
            parameters,
            members.get("local", bool),
            members.get("hitCountAccuracy", int),
        )


def _parameter(reader: Reader, types: MessageTypes | None) -> tuple[str, Any]:
    start = reader.pos
    name = value = None
    while reader.left:
        found = reader.tag()
        if found == tag(1, BYTES):
            name = reader.text("parameter name")
        elif found == tag(2, BYTES):
            value = _decode_at(reader, "parameter value", types)
        else:
            reader.skip(found)
    if name is None or value is None:
        raise reader.error("wants a name and a value", "parameters", start)
    return name, value


def _decode_at(reader: Reader, name: str, types: MessageTypes | None) -> Any:
    begin, end = reader.span(name)
    try:
        return decode(reader.data[begin:end], types=types)
    except DecodeError as problem:
        raise reader.error(str(problem), name, begin) from problem


# --- responses ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class QueryResponse:
    """The payload of a QUERY response.

    Attributes:
        results: The rows, column after column, each a WrappedMessage: `rows` unwraps them.
        num_results: Number of rows.
        projection_size: Columns of a row; 0: rows are entities.
        hit_count: How many rows there are in all; for a delete statement, how many it deleted.
        hit_count_exact: Whether that was counted to the end. None: servers until 11 do not say.
    """

    results: tuple[bytes, ...] = ()
    num_results: int | None = None
    projection_size: int | None = None
    hit_count: int | None = None
    hit_count_exact: bool | None = None

    def __repr__(self) -> str:
        return (
            f"QueryResponse({len(self.results)} results, num_results={self.num_results}, "
            f"projection_size={self.projection_size}, hit_count={self.hit_count}, "
            f"hit_count_exact={self.hit_count_exact})"
        )

    def rows(self, *, types: MessageTypes | None = None) -> list[Any]:
        """The entities, or for each row the tuple of its columns. Raises DecodeError."""
        if not self.projection_size:
            return [unwrap_entity(result, types=types) for result in self.results]
        size = self.projection_size
        columns = [unwrap_column(result, types=types) for result in self.results]
        return [tuple(columns[at : at + size]) for at in range(0, len(columns), size)]

    @classmethod
    def of_entities(cls, stored: Iterable[bytes], *, hit_count: int | None = None) -> Self:
        """A server's answer to `from ...`: `stored` are the values as they are stored."""
        results = tuple(encode(value, type="bytes") for value in stored)
        return cls(results, len(results), 0, len(results) if hit_count is None else hit_count, True)

    @classmethod
    def of_rows(
        cls,
        rows: Iterable[Sequence[Any]],
        *,
        columns: int,
        hit_count: int | None = None,
        types: MessageTypes | None = None,
    ) -> Self:
        """A server's answer to `select ...`: plain values, `columns` in each of `rows`."""
        results: list[bytes] = []
        for row in rows:
            if len(row) != columns:
                raise EncodeError(f"wants {columns} columns, got {len(row)}", field="rows")
            results += (encode(value, types=types) for value in row)
        count = len(results) // columns
        return cls(tuple(results), count, columns, count if hit_count is None else hit_count, True)

    def encode(self) -> bytes:
        """The message of protobuf."""
        _check_bits("num_results", self.num_results, 32)
        _check_bits("projection_size", self.projection_size, 32)
        _check_bits("hit_count", self.hit_count, 64)
        out = bytearray()
        _put_optional(out, 1, self.num_results)
        _put_optional(out, 2, self.projection_size)
        for result in self.results:
            put_bytes(out, 3, result)
        _put_optional(out, 4, self.hit_count)
        _put_optional(out, 5, self.hit_count_exact)
        return bytes(out)

    @classmethod
    def decode(cls, data: Buffer, /) -> Self:
        """The response in `data`. Raises DecodeError, also when the rows are not as many as it
        says."""
        reader = Reader(as_bytes(data), "QueryResponse")
        fields: dict[str, Any] = {}
        results: list[bytes] = []
        while reader.left:
            found = reader.tag()
            if found == tag(1, VARINT):
                fields["num_results"] = reader.int32("num_results")
            elif found == tag(2, VARINT):
                fields["projection_size"] = reader.int32("projection_size")
            elif found == tag(3, BYTES):
                results.append(reader.content(f"results[{len(results)}]"))
            elif found == tag(4, VARINT):
                # 32 bits today, 64 until 11.
                fields["hit_count"] = reader.int64("hit_count")
            elif found == tag(5, VARINT):
                fields["hit_count_exact"] = reader.flag("hit_count_exact")
            else:
                reader.skip(found)
        columns = fields.get("projection_size", 0)
        if columns < 0:
            raise reader.error(f"{columns} columns", "projection_size", reader.pos)
        wanted = fields.get("num_results", 0) * max(1, columns)
        if len(results) != wanted:
            raise reader.error(f"{len(results)}, the counts say {wanted}", "results", reader.pos)
        return cls(tuple(results), **fields)


@dataclass(frozen=True, slots=True, repr=False)
class JsonQueryResponse:
    """The payload of a QUERY response in JSON.

    Attributes:
        hits: For each row an object: an entity with its "_type", or columns by name ("*" is the
            whole entity; "score()", "version()").
        hit_count: How many rows there are in all.
        hit_count_exact: Whether that was counted to the end; None: servers until 11 do not say.
    """

    hits: tuple[dict[str, Any], ...] = ()
    hit_count: int | None = None
    hit_count_exact: bool | None = None

    def __repr__(self) -> str:
        return (
            f"JsonQueryResponse({len(self.hits)} hits, hit_count={self.hit_count}, "
            f"hit_count_exact={self.hit_count_exact})"
        )

    def encode(self) -> bytes:
        """The JSON; in the form of servers until 11 when `hit_count_exact` is None."""
        hits = [{"hit": hit} for hit in self.hits]
        members: dict[str, Any] = {"hit_count": self.hit_count}
        if self.hit_count_exact is None:
            members = {"total_results": self.hit_count}
        else:
            members["hit_count_exact"] = self.hit_count_exact
        return _to_json({**members, "hits": hits}, "JsonQueryResponse")

    @classmethod
    def decode(cls, data: Buffer, /) -> Self:
        """The response in `data`. Raises DecodeError."""
        members = _Members(data, "QueryResponse")
        hits = []
        for item in members.get("hits", list) or ():
            if not isinstance(item, dict) or not isinstance(item.get("hit"), dict):
                raise members.error("wants objects with a hit", "hits")
            hits.append(item["hit"])
        count = members.get("hit_count", int)
        if count is None:
            count = members.get("total_results", int)
        return cls(tuple(hits), count, members.get("hit_count_exact", bool))


def _to_json(value: Any, name: str) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except (ValueError, RecursionError) as problem:
        raise EncodeError(f"cannot be JSON: {problem}", field=name) from None


class _Members:
    """The members of a JSON object, with a look at their types."""

    def __init__(self, data: Buffer, op: str) -> None:
        self._op = op
        try:
            members = json.loads(as_bytes(data).decode())
        except (ValueError, RecursionError) as problem:
            raise self.error(f"not JSON: {problem}", "value") from None
        if not isinstance(members, dict):
            raise self.error("not an object", "value")
        self._members = members

    def get(self, name: str, cls: type) -> Any:
        value = self._members.get(name)
        if value is None or type(value) is cls:
            return value
        raise self.error(f"expected {cls.__name__}, got {type(value).__name__}", name)

    def error(self, problem: str, name: str) -> DecodeError:
        return DecodeError(problem, op=self._op, field=name, offset=0)


# --- events ---------------------------------------------------------------------------


class ResultType(IntEnum):
    """What happened to an entry as a continuous query sees it.

    The event's opcode says something else: what was done to the entry.
    """

    JOINING = 1
    """It matches, and did not before."""
    UPDATED = 2
    """It still matches, with another value."""
    LEAVING = 3
    """It does not match any more, or is gone. On the wire 0 until 9.4."""


_RESULT_TYPES: Final = {kind.value: kind for kind in ResultType}
_LEGACY_RESULT_TYPES: Final = {**_RESULT_TYPES, 0: ResultType.LEAVING}
del _LEGACY_RESULT_TYPES[ResultType.LEAVING.value]


def _typed(data: Buffer, name: str, ids: tuple[int, int]) -> tuple[Reader, bool]:
    """A reader of the payload of a message with one of these type ids; whether it is the second,
    the legacy one."""
    message = decode(data)
    if not isinstance(message, t.Message) or message.type not in ids:
        raise DecodeError(
            f"expected a message of type {ids[0]} or {ids[1]}, got {message!r:.60}",
            op=name,
            field="value",
            offset=0,
        )
    return Reader(message.payload, name), message.type == ids[1]


@dataclass(frozen=True, slots=True, repr=False)
class ContinuousQueryResult:
    """The data of an event of a continuous query. Offsets in errors count from the payload.

    Attributes:
        result: Whether the entry joins, stays or leaves.
        key: As it is stored.
        value: As it is stored; None with a projection. What leaves brings its previous value,
            servers from 15 on at least.
        projection: The columns of `select ...`, each a WrappedMessage.
        legacy: In the form of servers until 9.4.
    """

    result: ResultType
    key: bytes
    value: bytes | None = None
    projection: tuple[bytes, ...] = ()
    legacy: bool = False

    def __repr__(self) -> str:
        value = "None" if self.value is None else f"{len(self.value)} bytes"
        return (
            f"ContinuousQueryResult({self.result.name}, key={len(self.key)} bytes, value={value}, "
            f"projection={len(self.projection)} columns)"
        )

    def entity(self, *, types: MessageTypes | None = None) -> Any:
        """The value; None when there is none."""
        return None if self.value is None else unwrap_entity(self.value, types=types)

    def columns(self, *, types: MessageTypes | None = None) -> tuple[Any, ...]:
        """The columns of the projection."""
        return tuple(unwrap_column(column, types=types) for column in self.projection)

    def encode(self) -> bytes:
        """The event's data."""
        out = bytearray()
        left = self.legacy and self.result is ResultType.LEAVING
        put_varint(out, 1, 0 if left else self.result)
        put_bytes(out, 2, self.key)
        if self.value is not None:
            put_bytes(out, 3, self.value)
        for column in self.projection:
            put_bytes(out, 4, column)
        type_id = _LEGACY_CONTINUOUS_QUERY_RESULT if self.legacy else _CONTINUOUS_QUERY_RESULT
        return encode(t.Message(type_id, bytes(out)))

    @classmethod
    def decode(cls, data: Buffer, /) -> Self:
        """The result in an event's data. Raises DecodeError."""
        ids = (_CONTINUOUS_QUERY_RESULT, _LEGACY_CONTINUOUS_QUERY_RESULT)
        reader, legacy = _typed(data, "ContinuousQueryResult", ids)
        result = key = value = None
        projection: list[bytes] = []
        while reader.left:
            place = reader.pos
            found = reader.tag()
            if found == tag(1, VARINT):
                number = reader.int32("result")
                result = (_LEGACY_RESULT_TYPES if legacy else _RESULT_TYPES).get(number)
                if result is None:
                    raise reader.error(f"there is no type {number}", "result", place)
            elif found == tag(2, BYTES):
                key = reader.content("key")
            elif found == tag(3, BYTES):
                value = reader.content("value")
            elif found == tag(4, BYTES):
                projection.append(reader.content(f"projection[{len(projection)}]"))
            else:
                reader.skip(found)
        if result is None or key is None:
            raise reader.error("missing", "result" if result is None else "key", reader.pos)
        return cls(result, key, value, tuple(projection), legacy)


@dataclass(frozen=True, slots=True, repr=False)
class FilterResult:
    """The data of an event that a query filters. Offsets in errors count from the payload.

    Attributes:
        instance: The entity, as `unwrap_entity` takes it; None with a projection.
        projection: The columns of `select ...`, each a WrappedMessage.
        sort_projection: What `order by` compares.
        legacy: In the form of servers until 9.4.
    """

    instance: bytes | None = None
    projection: tuple[bytes, ...] = ()
    sort_projection: tuple[bytes, ...] = ()
    legacy: bool = False

    def __repr__(self) -> str:
        instance = "None" if self.instance is None else f"{len(self.instance)} bytes"
        return f"FilterResult(instance={instance}, projection={len(self.projection)} columns)"

    def entity(self, *, types: MessageTypes | None = None) -> Any:
        """The entity; None when there is none."""
        return None if self.instance is None else unwrap_entity(self.instance, types=types)

    def columns(self, *, types: MessageTypes | None = None) -> tuple[Any, ...]:
        """The columns of the projection."""
        return tuple(unwrap_column(column, types=types) for column in self.projection)

    def encode(self) -> bytes:
        """The event's data."""
        out = bytearray()
        for number, value in self._fields():
            put_bytes(out, number, value)
        type_id = _LEGACY_FILTER_RESULT if self.legacy else _FILTER_RESULT
        return encode(t.Message(type_id, bytes(out)))

    def _fields(self) -> Iterator[tuple[int, bytes]]:
        if self.instance is not None:
            yield 1, self.instance
        for column in self.projection:
            yield 2, column
        for column in self.sort_projection:
            yield 3, column

    @classmethod
    def decode(cls, data: Buffer, /) -> Self:
        """The result in an event's data. Raises DecodeError."""
        reader, legacy = _typed(data, "FilterResult", (_FILTER_RESULT, _LEGACY_FILTER_RESULT))
        instance = None
        columns: dict[int, list[bytes]] = {tag(2, BYTES): [], tag(3, BYTES): []}
        while reader.left:
            found = reader.tag()
            if found == tag(1, BYTES):
                instance = reader.content("instance")
            elif found in columns:
                columns[found].append(reader.content("projection"))
            else:
                reader.skip(found)
        projection, sort_projection = (tuple(found) for found in columns.values())
        return cls(instance, projection, sort_projection, legacy)
