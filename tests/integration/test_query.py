"""Queries over a registered schema: as an operation, as iteration, and as listeners that follow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from hotrod_codec import MediaType, Op, Response, Status, Version, protostream
from hotrod_codec.protostream import (
    ContinuousQueryResult,
    FilterResult,
    Int32,
    JsonQueryResponse,
    Message,
    QueryRequest,
    QueryResponse,
    ResultType,
    schemas,
)
from integration.conftest import Servers
from integration.outcomes import Outcomes
from integration.peers import Peer, Target

PROTOSTREAM, JSON = MediaType("application/x-protostream"), MediaType("application/json")
SCHEMA = """\
syntax = "proto2";
package codec;
message Person {
    optional string name = 1;
    optional int32 age = 2;
}
"""
PERSON = "codec.Person"
PEOPLE = {"ada": 36, "bob": 50, "cid": 40, "dora": 18}

pytestmark = [pytest.mark.operation(Op.QUERY), pytest.mark.versions(embedded=False)]


def person(name: str, age: int) -> Message:
    text = name.encode()
    return Message(PERSON, b"\x0a" + bytes([len(text)]) + text + b"\x10" + bytes([age]))


def types(version: Version, kind: MediaType = PROTOSTREAM) -> dict[str, Any]:
    """How a request says what keys and values are; before 2.8 it cannot."""
    if version < Version.V2_8:
        return {}
    return {"key_media_type": kind, "value_media_type": kind}


def register(peer: Peer, name: str, text: str) -> str | None:
    """Store a schema; return what the server has against it."""
    version = peer.version
    kind = schemas.media_type(version)
    media = {} if kind is None else {"key_media_type": kind, "value_media_type": kind}
    errors = schemas.encode_text(schemas.errors_key(name), version)
    answer = peer.call(
        Op.PUT,
        cache=schemas.CACHE,
        key=schemas.encode_text(schemas.file_name(name), version),
        value=schemas.encode_text(text, version),
        **media,
    )
    assert not answer.is_error, answer
    found = peer.call(Op.GET, cache=schemas.CACHE, key=errors, **media).value
    return None if found is None else schemas.decode_text(found, version)


def put(peer: Peer, name: str, age: int) -> None:
    answer = peer.call(
        Op.PUT,
        key=protostream.encode(name),
        value=protostream.encode(person(name, age)),
        **types(peer.version),
    )
    assert not answer.is_error, answer


@pytest.fixture
def people(peer: Peer) -> dict[str, int]:
    """The people who are stored, in a cache that has nothing else."""
    peer.cache = "proto"
    assert register(peer, "codec/person.proto", SCHEMA) is None
    peer.call(Op.CLEAR)
    for name, age in PEOPLE.items():
        put(peer, name, age)
    return PEOPLE


def ask(peer: Peer, query: str, **arguments: Any) -> QueryResponse:
    request = QueryRequest(query, **arguments)
    answer = peer.call(Op.QUERY, query=request.encode(), **types(peer.version))
    assert answer.status == Status.SUCCESS, answer
    response = QueryResponse.decode(answer.result)
    assert QueryResponse.decode(response.encode()) == response
    return response


def test_a_query_finds_entities(peer: Peer, people: dict[str, int]) -> None:
    found = ask(peer, "from codec.Person p where p.age > 36 order by p.age")
    assert found.rows() == [person("cid", 40), person("bob", 50)]
    assert (found.num_results, found.projection_size, found.hit_count) == (2, 0, 2)


def test_a_query_finds_columns(peer: Peer, people: dict[str, int]) -> None:
    found = ask(peer, "select p.name, p.age from codec.Person p order by p.name desc")
    assert found.rows() == [(name, Int32(age)) for name, age in sorted(people.items())[::-1]]
    assert (found.num_results, found.projection_size) == (4, 2)


def test_a_query_counts(peer: Peer, people: dict[str, int]) -> None:
    assert ask(peer, "select count(p.name) from codec.Person p").rows() == [(4,)]


def test_a_query_takes_parameters(peer: Peer, people: dict[str, int]) -> None:
    found = ask(
        peer,
        "from codec.Person p where p.name = :name or p.age = :age order by p.age",
        parameters={"name": "bob", "age": Int32(18)},
    )
    assert found.rows() == [person("dora", 18), person("bob", 50)]


def test_a_query_gives_a_part(peer: Peer, people: dict[str, int]) -> None:
    found = ask(peer, "from codec.Person p order by p.age", start_offset=1, max_results=2)
    assert found.rows() == [person("ada", 36), person("cid", 40)]
    assert found.hit_count == 4


def test_a_query_finds_nothing(peer: Peer, people: dict[str, int]) -> None:
    found = ask(peer, "from codec.Person p where p.age = 1")
    assert (found.rows(), found.num_results, found.hit_count) == ([], 0, 0)


@pytest.mark.versions(legacy=False)
def test_a_statement_deletes(peer: Peer, people: dict[str, int]) -> None:
    found = ask(peer, "delete from codec.Person p where p.age < 40")
    assert (found.num_results, found.hit_count) == (0, 2)
    assert peer.call(Op.SIZE)["size"] == 2


@pytest.mark.parametrize(
    "query",
    ["from codec.Nobody", "select from where", "from codec.Person p where p.height = 1"],
)
def test_a_wrong_query_is_an_error(peer: Peer, people: dict[str, int], query: str) -> None:
    answer = peer.call(Op.QUERY, query=QueryRequest(query).encode(), **types(peer.version))
    assert (answer.status, answer.op) == (Status.SERVER_ERROR, Op.QUERY)
    assert answer.error


def test_a_cache_of_bytes_cannot_be_queried(peer: Peer, people: dict[str, int]) -> None:
    answer = peer.call(
        Op.QUERY,
        cache="octets",
        query=QueryRequest("from codec.Person").encode(),
        **types(peer.version),
    )
    assert (answer.status, answer.op) == (Status.SERVER_ERROR, Op.QUERY)


def ask_in_json(peer: Peer, payload: bytes) -> Response:
    return peer.call(Op.QUERY, query=payload, **types(peer.version, JSON))


@pytest.mark.versions(since=Version.V2_9, legacy=True)
def test_old_servers_know_fewer_members_in_json(peer: Peer, people: dict[str, int]) -> None:
    query = "from codec.Person p where p.age > 36 order by p.age"
    answer = ask_in_json(peer, QueryRequest(query).encode_json())
    assert answer.status == Status.SERVER_ERROR
    assert 'Unrecognized field "' in answer.error
    cid = {"_type": PERSON, "name": "cid", "age": 40}
    bob = {"_type": PERSON, "name": "bob", "age": 50}
    for request, hits in (
        (QueryRequest(query), (cid, bob)),
        (QueryRequest(query, start_offset=1, max_results=5), (bob,)),
        (QueryRequest(query, start_offset=0, max_results=1), (cid,)),
    ):
        answer = ask_in_json(peer, request.encode_json(legacy_server=True))
        assert answer.status == Status.SUCCESS, answer
        found = JsonQueryResponse.decode(answer.result)
        assert found == JsonQueryResponse(hits, 2, None)


@pytest.mark.versions(since=Version.V2_9, legacy=True)
def test_old_servers_take_no_parameters_in_json(peer: Peer, people: dict[str, int]) -> None:
    query = {"queryString": "from codec.Person p where p.age > :age"}
    for value in (20, "20"):
        parameters = {"namedParameters": [{"name": "age", "value": value}]}
        answer = ask_in_json(peer, json.dumps(query | parameters).encode())
        assert answer.status == Status.SERVER_ERROR
        assert "NamedParameter" in answer.error


@pytest.mark.versions(since=Version.V2_9, legacy=False)
def test_queries_in_json(peer: Peer, people: dict[str, int]) -> None:
    def asked(query: str, **arguments: Any) -> JsonQueryResponse:
        answer = ask_in_json(peer, QueryRequest(query, **arguments).encode_json())
        assert answer.status == Status.SUCCESS, answer
        return JsonQueryResponse.decode(answer.result)

    found = asked("from codec.Person p where p.age > 36 order by p.age")
    assert found.hits == (
        {"_type": PERSON, "name": "cid", "age": 40},
        {"_type": PERSON, "name": "bob", "age": 50},
    )
    assert found.hit_count == 2
    found = asked("select p.name from codec.Person p where p.age = :age", parameters={"age": 18})
    assert [list(hit.values()) for hit in found.hits] == [["dora"]]


@pytest.mark.versions(embedded=None)
def test_a_schema_with_errors_says_so(peer: Peer) -> None:
    name = "codec/wrong.proto"
    errors = register(peer, name, "message { nonsense")
    assert errors
    assert register(peer, name, 'syntax = "proto2"; package fine;') is None


# ------------------------------------------------------------------ iterations and listeners


@pytest.mark.operation(Op.ITERATION_START, Op.ITERATION_NEXT)
@pytest.mark.versions(since=Version.V2_4)
def test_an_iteration_over_what_a_query_finds(peer: Peer, people: dict[str, int]) -> None:
    def first_batch(query: str, **parameters: Any) -> Response:
        started = peer.call(
            Op.ITERATION_START,
            batch_size=10,
            filter_factory=protostream.ITERATION_FILTER_FACTORY,
            filter_params=list(protostream.factory_parameters(query, parameters)),
            **types(peer.version),
        )
        assert started.status == Status.SUCCESS, started
        iteration_id = started.iteration_id
        answer = peer.call(Op.ITERATION_NEXT, iteration_id=iteration_id, **types(peer.version))
        ended = peer.call(Op.ITERATION_END, iteration_id=iteration_id)
        assert ended.status == Status.SUCCESS
        return answer

    entries = first_batch("from codec.Person p where p.age > :age", age=Int32(36)).entries
    assert {protostream.decode(entry.key) for entry in entries} == {"bob", "cid"}
    assert {len(entry.values) for entry in entries} == {1}
    answer = first_batch("select p.name, p.age from codec.Person p where p.age < 40")
    if peer.target.is_legacy and peer.version < Version.V2_8:
        # It cannot turn its array of columns into what headers without media types stand for.
        assert answer.status == Status.SERVER_ERROR
        assert "ISPN000497" in answer.error
        return
    columns = {protostream.iterated_columns(entry.values) for entry in answer.entries}
    assert columns == {("ada", Int32(36)), ("dora", Int32(18))}


@pytest.fixture
def writer(target: Target, servers: Servers) -> Iterator[Peer]:
    """A second connection: not under test."""
    witness = Target(target.server, Version.V2_9)
    address = servers.address(target.server)
    with Peer(address, witness, Outcomes().sightings, cache="proto") as peer:
        yield peer


def follow(peer: Peer, listener_id: bytes, factory: str, query: str, **arguments: Any) -> None:
    answer = peer.call(
        Op.ADD_CLIENT_LISTENER,
        listener_id=listener_id,
        filter_factory=factory,
        filter_params=list(protostream.factory_parameters(query, {"age": Int32(30)})),
        converter_factory=factory,
        converter_params=[],
        use_raw_data=True,
        **arguments,
        **types(peer.version),
    )
    assert answer.status == Status.SUCCESS, answer


def stop(peer: Peer, listener_id: bytes) -> None:
    assert peer.call(Op.REMOVE_CLIENT_LISTENER, listener_id=listener_id).status == Status.SUCCESS


@pytest.mark.operation(
    Op.ADD_CLIENT_LISTENER,
    Op.CACHE_ENTRY_CREATED,
    Op.CACHE_ENTRY_MODIFIED,
    Op.CACHE_ENTRY_REMOVED,
)
@pytest.mark.versions(since=Version.V2_1)
def test_a_continuous_query(peer: Peer, writer: Peer, people: dict[str, int], key: bytes) -> None:
    def told(event: Response) -> tuple[Op | None, ResultType, str]:
        result = ContinuousQueryResult.decode(event.event_data)
        assert event.custom_marker == 2
        assert result.encode() == event.event_data
        return event.op, result.result, protostream.decode(result.key)

    query = "from codec.Person p where p.age > :age"
    follow(peer, key, protostream.CONTINUOUS_QUERY_FACTORY, query, include_state=True)
    state = sorted(told(peer.event()) for _ in range(3))
    created, modified = Op.CACHE_ENTRY_CREATED, Op.CACHE_ENTRY_MODIFIED
    assert state == [(created, ResultType.JOINING, name) for name in ("ada", "bob", "cid")]
    put(writer, "ada", 37)
    assert told(peer.event()) == (modified, ResultType.UPDATED, "ada")
    put(writer, "dora", 31)
    assert told(peer.event()) == (modified, ResultType.JOINING, "dora")
    put(writer, "bob", 3)
    assert told(peer.event()) == (modified, ResultType.LEAVING, "bob")
    writer.call(Op.REMOVE, key=protostream.encode("cid"), **types(writer.version))
    assert told(peer.event()) == (Op.CACHE_ENTRY_REMOVED, ResultType.LEAVING, "cid")
    stop(peer, key)


@pytest.mark.operation(Op.ADD_CLIENT_LISTENER, Op.CACHE_ENTRY_CREATED, Op.CACHE_ENTRY_MODIFIED)
@pytest.mark.versions(since=Version.V2_1)
def test_a_query_filters_events(
    peer: Peer, writer: Peer, people: dict[str, int], key: bytes
) -> None:
    def told(event: Response) -> tuple[Op | None, Any]:
        result = FilterResult.decode(event.event_data)
        assert result.encode() == event.event_data
        return event.op, result.entity()

    query = "from codec.Person p where p.age > :age"
    follow(peer, key, protostream.QUERY_FILTER_FACTORY, query)
    put(writer, "eve", 20)
    put(writer, "ada", 20)
    put(writer, "eve", 44)
    assert told(peer.event()) == (Op.CACHE_ENTRY_MODIFIED, person("eve", 44))
    put(writer, "fred", 80)
    assert told(peer.event()) == (Op.CACHE_ENTRY_CREATED, person("fred", 80))
    stop(peer, key)
