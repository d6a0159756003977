"""EXEC: the tasks that administer a server, and those that there are not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import pytest

from hotrod_codec import Op, Response, Status, Version, admin
from hotrod_codec.admin import AdminTask, SchemaRemoval, SchemaResult
from integration.peers import Peer

T = TypeVar("T")

CONFIGURATION = '<local-cache><encoding media-type="application/octet-stream"/></local-cache>'
LEGACY_CONFIGURATION = """
<infinispan><cache-container><local-cache name="NAME">
    <encoding><key media-type="application/octet-stream"/>
    <value media-type="application/octet-stream"/></encoding>
</local-cache></cache-container></infinispan>
"""

pytestmark = pytest.mark.operation(Op.EXEC)


def execute(peer: Peer, task: AdminTask[Any]) -> Response:
    return peer.call(Op.EXEC, cache="", **task.fields)


def done(peer: Peer, task: AdminTask[T]) -> T:
    answer = execute(peer, task)
    assert answer.status == Status.SUCCESS, answer
    return task.parse(answer.result)


def refused(peer: Peer, task: AdminTask[Any]) -> str:
    answer = execute(peer, task)
    assert (answer.status, answer.op) == (Status.SERVER_ERROR, Op.EXEC)
    error: str = answer.error
    return error


@pytest.fixture
def name(peer: Peer, key: bytes) -> Iterator[str]:
    """A cache's name, which is free again after the test."""
    name = "".join(c for c in key.decode() if c.isalnum())
    yield name
    done(peer, admin.remove_cache(name))


def arguments(peer: Peer, name: str) -> dict[str, Any]:
    """What makes a cache of bytes that lasts until the server ends."""
    if peer.target.is_legacy:
        return {"configuration": LEGACY_CONFIGURATION.replace("NAME", name)}
    return {"configuration": CONFIGURATION, "flags": "VOLATILE"}


def test_caches_have_names(peer: Peer) -> None:
    names = done(peer, admin.cache_names())
    assert {"octets", "text", "proto", "___protobuf_metadata"} <= set(names)


def test_a_cache_is_created_used_and_removed(peer: Peer, name: str, key: bytes) -> None:
    assert peer.call(Op.PING, cache=name).status == Status.REQUEST_PARSING_ERROR
    done(peer, admin.create_cache(name, **arguments(peer, name)))
    assert name in done(peer, admin.cache_names())
    peer.call(Op.PUT, cache=name, key=key, value=b"one")
    assert peer.call(Op.GET, cache=name, key=key).value == b"one"
    done(peer, admin.remove_cache(name))
    assert name not in done(peer, admin.cache_names())
    assert peer.call(Op.PING, cache=name).status == Status.REQUEST_PARSING_ERROR


def test_a_cache_is_created_once(peer: Peer, name: str) -> None:
    done(peer, admin.create_cache(name, **arguments(peer, name)))
    assert "ISPN000507" in refused(peer, admin.create_cache(name, **arguments(peer, name)))


def test_get_or_create_takes_what_is_there(peer: Peer, name: str, key: bytes) -> None:
    for _ in range(2):
        done(peer, admin.get_or_create_cache(name, **arguments(peer, name)))
        peer.call(Op.PUT_IF_ABSENT, cache=name, key=key, value=b"one")
    assert peer.call(Op.SIZE, cache=name)["size"] == 1


def test_a_template_that_is_not_there(peer: Peer, name: str) -> None:
    flags = "" if peer.target.is_legacy else "VOLATILE"
    task = admin.create_cache(name, template="nowhere", flags=flags.split())
    assert "ISPN000374" in refused(peer, task)


def test_a_cache_without_index_cannot_be_reindexed(peer: Peer) -> None:
    assert refused(peer, admin.reindex_cache("octets"))


def test_an_unknown_task_is_an_error(peer: Peer) -> None:
    answer = peer.call(Op.EXEC, cache="", task="no such task", params={"a": b"1", "b": b""})
    assert (answer.status, answer.op) == (Status.SERVER_ERROR, Op.EXEC)
    assert "ISPN027002" in answer.error


@pytest.mark.versions(legacy=False)
def test_a_template_is_created_used_and_removed(peer: Peer, name: str) -> None:
    template = f"template{name}"
    done(peer, admin.create_template(template, CONFIGURATION, flags="VOLATILE"))
    done(peer, admin.create_cache(name, template=template, flags="VOLATILE"))
    assert name in done(peer, admin.cache_names())
    done(peer, admin.remove_cache(name))
    done(peer, admin.remove_template(template))
    task = admin.create_cache(name, template=template, flags="VOLATILE")
    assert "ISPN000374" in refused(peer, task)


@pytest.mark.versions(legacy=False)
def test_an_attribute_is_changed(peer: Peer, name: str, key: bytes) -> None:
    done(peer, admin.create_cache(name, **arguments(peer, name)))
    done(peer, admin.update_configuration_attribute(name, "expiration.lifespan", "60000"))
    peer.call(Op.PUT, cache=name, key=key, value=b"one")
    assert peer.call(Op.GET_WITH_METADATA, cache=name, key=key).metadata.lifespan == 60


def test_schemas_are_administered_by_the_newest_only(peer: Peer, key: bytes) -> None:
    file = f"{key.decode()}.proto"
    task = admin.create_or_update_schema(file, 'syntax = "proto3";')
    if not peer.target.is_modern:
        assert "ISPN027002" in refused(peer, task)
        return
    assert done(peer, task).result == SchemaResult.CREATED
    assert done(peer, task).result == SchemaResult.UNCHANGED
    wrong = done(peer, admin.create_or_update_schema(file, "message { nonsense"))
    assert wrong.result == SchemaResult.UPDATED
    assert wrong.error
    assert done(peer, admin.remove_schema(file)) == SchemaRemoval.REMOVED
    assert done(peer, admin.remove_schema(file)) == SchemaRemoval.NOT_FOUND


@pytest.mark.versions(since=Version.V2_8)
def test_media_types_do_not_matter_to_tasks(peer: Peer) -> None:
    task = admin.cache_names()
    types = {"key_media_type": "text/plain", "value_media_type": "application/json"}
    answer = peer.call(Op.EXEC, cache="", **types, **task.fields)
    assert "octets" in task.parse(answer.result)
