"""Queries, statements and schemas, as users of the clients have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from hotrod_codec import ServerError, Version
from hotrod_codec.client import QueryEventKind
from hotrod_codec.errors import EncodeError
from hotrod_codec.marshallers import JSON, TEXT, ProtoStreamMarshaller
from hotrod_codec.protostream import Int32, Message, MessageTypes
from integration.peers import Target

SCHEMA = """\
syntax = "proto2";
package client;
message Person {
    optional string name = 1;
    optional int32 age = 2;
}
"""


@dataclass(frozen=True)
class Person:
    """A message with what those of the package protobuf have."""

    DESCRIPTOR: ClassVar[Any] = None
    name: str
    age: int | None = None

    @classmethod
    def FromString(cls, data: bytes) -> Person:
        end = 2 + data[1]
        return cls(data[2:end].decode(), data[end + 1] if data[end:] else None)

    def SerializeToString(self, *, deterministic: bool | None = None) -> bytes:
        name = self.name.encode()
        age = b"" if self.age is None else b"\x10" + bytes([self.age])
        return b"\x0a" + bytes([len(name)]) + name + age


TYPES = MessageTypes().add(Person, name="client.Person")
ADA, BOB, CID, DORA = Person("ada", 36), Person("bob", 50), Person("cid", 40), Person("dora")
PEOPLE = (ADA, BOB, CID, DORA)


@pytest.fixture
def people(client: Any) -> Any:
    """A cache that has PEOPLE and nothing else."""
    assert client.admin.schemas.register("client/person.proto", SCHEMA) is None
    marshaller = ProtoStreamMarshaller(types=TYPES)
    cache = client.cache("proto", keys=marshaller, values=marshaller)
    cache.clear()
    cache.put_many((person.name, person) for person in PEOPLE)
    return cache


real = pytest.mark.versions(since=Version.V1_3, embedded=False)


@real
def test_entities(people: Any, target: Target) -> None:
    found = people.query("from client.Person p where p.age > 36 order by p.age")
    assert found.entities == [CID, BOB]
    assert found.rows == [(CID,), (BOB,)]
    assert (len(found), found.selects, found.hit_count) == (2, False, 2)
    assert found.hit_count_exact is (None if target.is_legacy else True)


@real
def test_columns(people: Any) -> None:
    found = people.query("select p.name, p.age from client.Person p order by p.name")
    ages = [None if p.age is None else Int32(p.age) for p in PEOPLE]
    assert found.rows == list(zip(("ada", "bob", "cid", "dora"), ages, strict=True))
    assert found.selects
    with pytest.raises(TypeError, match="columns"):
        _ = found.entities
    assert people.query("select count(p.name) from client.Person p").rows == [(4,)]


@real
@pytest.mark.versions(legacy=False)
def test_an_entity_may_be_a_column(people: Any) -> None:
    found = people.query("select p, p.name from client.Person p where p.age = 50")
    assert found.rows == [(BOB, "bob")]


@real
def test_parameters(people: Any) -> None:
    query = "from client.Person p where p.name = :name or p.age = :age order by p.name"
    assert people.query(query, {"name": "dora", "age": 36}).entities == [ADA, DORA]
    with pytest.raises(EncodeError, match="null"):
        people.query(query, {"name": None, "age": 36})


@real
def test_a_part_of_what_is_found(people: Any) -> None:
    found = people.query("from client.Person p order by p.name", offset=1, max_results=2)
    assert found.entities == [BOB, CID]
    assert found.hit_count == 4
    for wrong in ({"offset": -1}, {"max_results": -1}):
        with pytest.raises(EncodeError, match="negative"):
            people.query("from client.Person", **wrong)


@real
@pytest.mark.versions(legacy=False)
def test_how_to_count_and_where(people: Any) -> None:
    found = people.query("from client.Person", hit_count_accuracy=1, local=True)
    assert len(found) == 4
    assert found.hit_count is not None


@real
@pytest.mark.versions(legacy=False)
def test_statements(people: Any) -> None:
    statement = "delete from client.Person p where p.age < :age"
    assert people.execute_statement(statement, {"age": 41}) == 2
    assert people.execute_statement(statement, {"age": 41}) == 0
    assert people.query("from client.Person p order by p.name").entities == [BOB, DORA]


@real
def test_what_is_wrong(client: Any, people: Any) -> None:
    for query in ("from client.Nobody", "select from where", "from client.Person p where p.x = 1"):
        with pytest.raises(ServerError):
            people.query(query)
    octets = client.cache("octets", keys="bytes", values="bytes")
    octets.put(b"no person", b"at all")  # server 9.4 looks at what is there
    with pytest.raises(ServerError):
        octets.query("from client.Person")
    assert len(people.query("from client.Person")) == 4


@real
@pytest.mark.versions(since=Version.V2_8, newest=True)
def test_marshallers_that_know_no_classes(client: Any, people: Any) -> None:
    """Values come as what they are stored as, if that is not what the cache's marshaller takes."""
    bob = Message("client.Person", BOB.SerializeToString())
    for values in ("protostream", TEXT):
        cache = client.cache("proto", values=values)
        assert cache.query("from client.Person p where p.age = 50").entities == [bob]


def named(person: Person) -> dict[str, Any]:
    age = {} if person.age is None else {"age": person.age}
    return {"_type": "client.Person", "name": person.name, **age}


@real
@pytest.mark.versions(since=Version.V2_9)
def test_json(client: Any, people: Any, target: Target) -> None:
    cache = client.cache("proto", values=JSON)
    found = cache.query("from client.Person p where p.age > 36 order by p.age", max_results=1)
    assert found.entities == [named(CID)]
    assert (found.selects, found.hit_count) == (False, 2)
    query = "from client.Person p where p.age = :age"
    if target.is_legacy:
        with pytest.raises(EncodeError, match=r"server 9\.4"):
            cache.query(query, {"age": 50})
        return
    assert cache.query(query, {"age": 50}).entities == [named(BOB)]
    found = cache.query("select p.name, p.age from client.Person p order by p.name")
    assert found.rows == [(person.name, person.age) for person in PEOPLE]
    assert cache.execute_statement("delete from client.Person p where p.age = 50") == 1


def happening(events: Any) -> tuple[QueryEventKind, Any, Any]:
    event = events.next(10)
    assert event is not None
    return event.kind, event.key, event.value


@pytest.mark.versions(since=Version.V2_1, embedded=False)
def test_following_a_query(people: Any) -> None:
    query = "from client.Person p where p.age > :age"
    joining, updated, leaving, failover = QueryEventKind
    with people.add_query_listener(query, {"age": 39}) as events:
        state = sorted(happening(events)[:2] for _ in range(2))
        assert state == [(joining, "bob"), (joining, "cid")]
        people.put("ada", Person("ada", 40))
        assert happening(events) == (joining, "ada", Person("ada", 40))
        people.put("ada", Person("ada", 41))
        assert happening(events) == (updated, "ada", Person("ada", 41))
        people.put("dora", Person("dora", 1))
        people.put("ada", ADA)
        assert happening(events) == (leaving, "ada", Person("ada", 41))
        people.remove("bob")
        assert happening(events)[:2] == (leaving, "bob")
        events._connection.interrupt("lost")
        assert happening(events) == (failover, None, None)
        assert happening(events) == (joining, "cid", CID)
        assert events.next(0.1) is None
    assert events.next(1) is None


@pytest.mark.versions(since=Version.V2_1, embedded=False)
def test_following_columns(people: Any) -> None:
    query = "select p.name, p.age from client.Person p where p.age = 50"
    heard: list[Any] = []
    with people.add_query_listener(query, callback=heard.append) as events:
        people.put("bob", Person("bob", 51))
        people.put("bob", BOB)
        for _ in range(100):
            events.next(0.05)  # a loop has to run for events to come
            if len(heard) >= 3:
                break
    joining, _, leaving, _ = QueryEventKind
    assert [event.kind for event in heard] == [joining, leaving, joining]
    assert [event.columns for event in (heard[0], heard[2])] == [("bob", Int32(50))] * 2


@pytest.mark.versions(since=Version.V2_1, embedded=False)
def test_what_cannot_be_followed(client: Any, people: Any) -> None:
    with pytest.raises(ServerError):
        people.add_query_listener("from client.Nobody")
    with pytest.raises(EncodeError, match="values are JSON"):
        client.cache("proto", values=JSON).add_query_listener("from client.Person")
    with pytest.raises(EncodeError, match="statement"):
        people.add_query_listener("delete from client.Person")


@pytest.mark.versions(since=Version.V2_8, embedded=False, newest=True)
def test_following_with_other_marshallers(client: Any, people: Any) -> None:
    """Keys and values come as what they are stored as."""
    with client.cache("proto", values=TEXT).add_query_listener(
        "from client.Person p where p.age = 50"
    ) as events:
        bob = Message("client.Person", BOB.SerializeToString())
        assert happening(events) == (QueryEventKind.JOINING, "bob", bob)


@pytest.mark.versions(since=Version.V1_3, until=Version.V2_8)
def test_json_is_too_new_for_old_versions(client: Any) -> None:
    with pytest.raises(EncodeError, match=r"from version 2\.9 on"):
        client.cache("proto", values=JSON).query("from client.Person")


@pytest.mark.versions(newest=True)
def test_statements_are_no_queries(client: Any) -> None:
    cache = client.cache("proto", values="protostream")
    for statement in ("delete from client.Person", " DELETE\nfrom client.Person"):
        with pytest.raises(EncodeError, match="execute_statement"):
            cache.query(statement)
    for query in ("from client.Person", "deleted", ""):
        with pytest.raises(EncodeError, match="no delete statement"):
            cache.execute_statement(query)


@pytest.mark.versions(since=Version.V1_3, embedded=True, newest=True)
def test_the_embedded_server_has_no_queries(client: Any) -> None:
    with pytest.raises(ServerError, match="not supported by this server"):
        client.cache("proto", values="protostream").query("from client.Person")
    with pytest.raises(ServerError, match="ISPN028013"):
        client.cache("proto", values="protostream").add_query_listener("from client.Person")


def test_schemas(client: Any, target: Target) -> None:
    schemas = client.admin.schemas
    right, wrong = "client/right.proto", "client/wrong.proto"
    try:
        assert schemas.register(right, SCHEMA.replace("client;", "client.right;")) is None
        problem = schemas.register(wrong, "message { nonsense")
        assert problem
        assert {right, wrong} <= set(schemas.names())
        assert schemas.errors()[wrong] == problem
        assert right not in schemas.errors()
        assert schemas.get(wrong) == "message { nonsense"
        assert schemas.register(wrong, 'syntax = "proto2"; package client.wrong;') is None
        assert wrong not in schemas.errors()
    finally:
        assert schemas.remove(right)
        assert schemas.remove(wrong)
    assert not schemas.remove(right)
    assert schemas.get(right) is None
    assert {right, wrong}.isdisjoint(schemas.names())
    for call in (schemas.get, schemas.remove):
        with pytest.raises(EncodeError, match=r"\.proto"):
            call("person")
