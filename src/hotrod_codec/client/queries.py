"""Queries of a cache: what goes out and what the answer means for its marshaller. No I/O.

A cache whose values are JSON asks in JSON, every other one in protobuf. [wire-extended 4]
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

from hotrod_codec import protostream
from hotrod_codec.client.results import QueryEvent, QueryEventKind, QueryResult
from hotrod_codec.client.session import NO_FLAGS, Header
from hotrod_codec.errors import EncodeError
from hotrod_codec.marshallers import JSON, PROTOSTREAM, JsonMarshaller, Marshaller
from hotrod_codec.marshallers import ProtoStreamMarshaller as ProtoStream
from hotrod_codec.ops import Version
from hotrod_codec.protostream import (
    ContinuousQueryResult,
    JsonQueryResponse,
    QueryRequest,
    QueryResponse,
)
from hotrod_codec.values import MediaType

__all__ = ["Followed", "Query", "deletes"]

K = TypeVar("K")
V = TypeVar("V")

_JSON_SINCE: Final = Version.V2_9


class Query(Generic[V]):
    """One query.

    Args:
        values: Of the cache.
        legacy_server: Whether to ask in JSON as server 9.4 does.
        parameters: As Python values.
        start_offset, max_results, local, hit_count_accuracy: As in QueryRequest.
    """

    def __init__(
        self,
        query: str,
        values: Marshaller[V],
        *,
        legacy_server: bool = False,
        parameters: Mapping[str, Any] | None = None,
        start_offset: int | None = None,
        max_results: int | None = None,
        local: bool | None = None,
        hit_count_accuracy: int | None = None,
    ) -> None:
        for name, number in (("offset", start_offset), ("max_results", max_results)):
            if number is not None and number < 0:
                raise EncodeError(f"{number} is negative", op="QUERY", field=name)
        self._request = QueryRequest(
            query,
            start_offset,
            max_results,
            protostream.as_query_parameters(parameters or {}),
            local or None,
            hit_count_accuracy,
        )
        self._values = values
        self._types = values.types if isinstance(values, ProtoStream) else None
        self._is_json = values.media_type.name == "application/json"
        self._legacy_server = legacy_server

    @property
    def media_type(self) -> MediaType:
        """Of the payload."""
        return (JSON if self._is_json else PROTOSTREAM).media_type

    def payload(self, version: Version) -> bytes:
        """What goes out.

        Raises:
            EncodeError, TypeError: It cannot be said in this version, or in this form.
        """
        if not self._is_json:
            return self._request.encode(types=self._types)
        if version < _JSON_SINCE:
            raise EncodeError("servers take JSON from version 2.9 on", op="QUERY", field="query")
        return self._request.encode_json(legacy_server=self._legacy_server)

    def result(self, data: bytes) -> QueryResult[V]:
        """What the answer means. Raises DecodeError."""
        return self._from_json(data) if self._is_json else self._from_protobuf(data)

    def _from_protobuf(self, data: bytes) -> QueryResult[V]:
        found = QueryResponse.decode(data)
        selects = bool(found.projection_size)
        rows: list[tuple[Any, ...]]
        if selects:
            rows = found.rows(types=self._types)
        else:
            rows = [(self._entity(result),) for result in found.results]
        return QueryResult(rows, selects, found.hit_count, found.hit_count_exact)

    def _entity(self, result: bytes) -> Any:
        """What is stored stands in a byte array; its form is the one that the cache has."""
        stored = protostream.decode(result, types=self._types)
        if isinstance(stored, bytes) and self._values.media_type.name == self.media_type.name:
            return self._values.decode(stored)
        return protostream.unwrap_entity(result, types=self._types)

    def _from_json(self, data: bytes) -> QueryResult[V]:
        found = JsonQueryResponse.decode(data)
        selects = any("_type" not in hit for hit in found.hits)
        rows: list[tuple[Any, ...]]
        if selects:
            rows = [tuple(hit.values()) for hit in found.hits]
        elif isinstance(self._values, JsonMarshaller):
            rows = [(hit,) for hit in found.hits]
        else:
            rows = [(self._values.decode(json.dumps(hit).encode()),) for hit in found.hits]
        return QueryResult(rows, selects, found.hit_count, found.hit_count_exact)


class Followed(Generic[K, V]):
    """A query whose finds are told one by one: as events or by an iteration. In protobuf only.

    Attributes:
        parameters: Of the server's filter.

    Raises:
        EncodeError: Values are JSON; or it is a statement.
    """

    def __init__(
        self,
        query: str,
        keys: Marshaller[K],
        values: Marshaller[V],
        parameters: Mapping[str, Any] | None,
    ) -> None:
        if values.media_type.name == "application/json":
            text = "in protobuf only, while values are JSON: with_marshallers gives others"
            raise EncodeError(text, op="QUERY", field="values")
        if deletes(query):
            raise EncodeError("a statement has no results", op="QUERY", field="query")
        self._keys = keys
        self._values = values
        self._types = values.types if isinstance(values, ProtoStream) else None
        self.parameters = protostream.factory_parameters(query, parameters, types=self._types)

    def header(self, cache: str) -> Header:
        """What goes in front of requests."""
        return Header(cache, NO_FLAGS, PROTOSTREAM.media_type, PROTOSTREAM.media_type)

    def event(self, data: bytes) -> QueryEvent[K, V]:
        """What an event says. Raises DecodeError."""
        found = ContinuousQueryResult.decode(data)
        kind = QueryEventKind[found.result.name]
        key: K = self._decoded(self._keys, found.key)
        if found.projection:
            return QueryEvent(kind, key, columns=found.columns(types=self._types))
        value = None if found.value is None else self._decoded(self._values, found.value)
        return QueryEvent(kind, key, value)

    def _decoded(self, marshaller: Marshaller[Any], data: bytes) -> Any:
        if marshaller.media_type.name == PROTOSTREAM.media_type.name:
            return marshaller.decode(data)
        return protostream.decode(data, types=self._types)


def deletes(query: str) -> bool:
    """Whether it is a statement, which removes what it finds."""
    return query.lstrip()[:7].rstrip().lower() == "delete"
