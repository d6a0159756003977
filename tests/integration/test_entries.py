"""Operations on one key: what they do, what they answer when nothing else is asked for."""

from __future__ import annotations

import pytest

from hotrod_codec import Flag, Op, Status, Version
from integration.peers import Peer


def stored(peer: Peer, key: bytes) -> bytes | None:
    value: bytes | None = peer.call(Op.GET, key=key).value
    return value


def entry_version(peer: Peer, key: bytes) -> int:
    version: int = peer.call(Op.GET_WITH_VERSION, key=key).entry_version
    return version


@pytest.mark.operation(Op.PUT, Op.GET)
def test_get_gives_what_put_stored(peer: Peer, key: bytes) -> None:
    assert peer.call(Op.PUT, key=key, value=b"one").status == Status.SUCCESS
    answer = peer.call(Op.GET, key=key)
    assert (answer.status, answer.value) == (Status.SUCCESS, b"one")


@pytest.mark.operation(Op.PUT)
def test_put_overwrites(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one")
    assert peer.call(Op.PUT, key=key, value=b"two").fields == {}
    assert stored(peer, key) == b"two"


@pytest.mark.operation(Op.GET)
def test_get_of_a_missing_key(peer: Peer, key: bytes) -> None:
    answer = peer.call(Op.GET, key=key)
    assert (answer.status, answer.value) == (Status.KEY_DOES_NOT_EXIST, None)


@pytest.mark.operation(Op.PUT, Op.GET)
@pytest.mark.parametrize(
    "value", [b"", bytes(range(256)), b"x" * 127, b"x" * 128, b"x" * 16384], ids=len
)
def test_values_of_all_kinds_come_back(peer: Peer, key: bytes, value: bytes) -> None:
    peer.call(Op.PUT, key=key, value=value)
    assert stored(peer, key) == value


@pytest.mark.operation(Op.PUT, Op.GET)
def test_keys_may_be_any_bytes(peer: Peer) -> None:
    key = bytes(range(256))
    peer.call(Op.PUT, key=key, value=b"one")
    assert stored(peer, key) == b"one"
    assert stored(peer, key[:-1]) is None


@pytest.mark.operation(Op.PUT, Op.GET)
def test_a_value_of_one_mebibyte_comes_back(peer: Peer, key: bytes) -> None:
    value = bytes(range(256)) * 4096
    assert peer.call(Op.PUT, key=key, value=value).status == Status.SUCCESS
    assert stored(peer, key) == value
    peer.call(Op.REMOVE, key=key)


@pytest.mark.operation(Op.PUT, Op.GET)
def test_the_default_cache_has_no_name(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, cache="", key=key, value=b"one")
    assert peer.call(Op.GET, cache="octets", key=key).value == b"one"


@pytest.mark.operation(Op.PUT, Op.GET)
@pytest.mark.versions(since=Version.V2_0)
def test_servers_take_the_skipping_flags(peer: Peer, key: bytes) -> None:
    flags = Flag.SKIP_CACHE_LOAD | Flag.SKIP_INDEXING
    if peer.version >= Version.V3_0:
        flags |= Flag.SKIP_LISTENER_NOTIFICATION
    assert peer.call(Op.PUT, key=key, value=b"one", flags=flags).status == Status.SUCCESS
    assert peer.call(Op.GET, key=key, flags=flags).value == b"one"


@pytest.mark.operation(Op.PUT)
@pytest.mark.versions(since=Version.V4_0)
def test_servers_take_other_parameters(peer: Peer, key: bytes) -> None:
    trace = {"traceparent": b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    answer = peer.call(Op.PUT, key=key, value=b"one", other_params=trace)
    assert answer.status == Status.SUCCESS


@pytest.mark.operation(Op.PUT_IF_ABSENT)
def test_put_if_absent_stores_a_new_key(peer: Peer, key: bytes) -> None:
    assert peer.call(Op.PUT_IF_ABSENT, key=key, value=b"one").status == Status.SUCCESS
    assert stored(peer, key) == b"one"


@pytest.mark.operation(Op.PUT_IF_ABSENT)
def test_put_if_absent_leaves_a_present_key(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one")
    answer = peer.call(Op.PUT_IF_ABSENT, key=key, value=b"two")
    assert (answer.status, answer.fields) == (Status.NOT_EXECUTED, {})
    assert stored(peer, key) == b"one"


@pytest.mark.operation(Op.REPLACE)
def test_replace_changes_a_present_key(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one")
    assert peer.call(Op.REPLACE, key=key, value=b"two").status == Status.SUCCESS
    assert stored(peer, key) == b"two"


@pytest.mark.operation(Op.REPLACE)
def test_replace_leaves_a_missing_key(peer: Peer, key: bytes) -> None:
    assert peer.call(Op.REPLACE, key=key, value=b"two").status == Status.NOT_EXECUTED
    assert stored(peer, key) is None


@pytest.mark.operation(Op.REMOVE)
def test_remove_takes_a_present_key_away(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one")
    assert peer.call(Op.REMOVE, key=key).status == Status.SUCCESS
    assert stored(peer, key) is None


@pytest.mark.operation(Op.REMOVE)
def test_remove_of_a_missing_key(peer: Peer, key: bytes) -> None:
    assert peer.call(Op.REMOVE, key=key).status == Status.KEY_DOES_NOT_EXIST


@pytest.mark.operation(Op.CONTAINS_KEY)
def test_contains_key_answers_by_status(peer: Peer, key: bytes) -> None:
    assert peer.call(Op.CONTAINS_KEY, key=key).status == Status.KEY_DOES_NOT_EXIST
    peer.call(Op.PUT, key=key, value=b"one")
    answer = peer.call(Op.CONTAINS_KEY, key=key)
    assert (answer.status, answer.fields) == (Status.SUCCESS, {})


@pytest.mark.operation(Op.GET_WITH_VERSION)
def test_each_write_gives_an_entry_a_new_version(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one")
    first = peer.call(Op.GET_WITH_VERSION, key=key)
    assert (first.status, first.value) == (Status.SUCCESS, b"one")
    assert entry_version(peer, key) == first.entry_version
    peer.call(Op.PUT, key=key, value=b"one")
    assert entry_version(peer, key) != first.entry_version


@pytest.mark.operation(Op.GET_WITH_VERSION)
def test_get_with_version_of_a_missing_key(peer: Peer, key: bytes) -> None:
    answer = peer.call(Op.GET_WITH_VERSION, key=key)
    assert (answer.status, answer.fields) == (Status.KEY_DOES_NOT_EXIST, {})


@pytest.mark.operation(Op.REPLACE_IF_UNMODIFIED)
def test_replace_if_unmodified_with_the_entrys_version(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one")
    version = entry_version(peer, key)
    answer = peer.call(Op.REPLACE_IF_UNMODIFIED, key=key, entry_version=version, value=b"two")
    assert answer.status == Status.SUCCESS
    assert stored(peer, key) == b"two"


@pytest.mark.operation(Op.REPLACE_IF_UNMODIFIED)
def test_replace_if_unmodified_with_an_old_version(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one")
    version = entry_version(peer, key)
    peer.call(Op.PUT, key=key, value=b"two")
    answer = peer.call(Op.REPLACE_IF_UNMODIFIED, key=key, entry_version=version, value=b"three")
    assert answer.status == Status.NOT_EXECUTED
    assert stored(peer, key) == b"two"


@pytest.mark.operation(Op.REPLACE_IF_UNMODIFIED)
def test_replace_if_unmodified_of_a_missing_key(peer: Peer, key: bytes) -> None:
    answer = peer.call(Op.REPLACE_IF_UNMODIFIED, key=key, entry_version=1, value=b"two")
    assert answer.status == Status.KEY_DOES_NOT_EXIST
    assert stored(peer, key) is None


@pytest.mark.operation(Op.REMOVE_IF_UNMODIFIED)
def test_remove_if_unmodified_with_the_entrys_version(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one")
    version = entry_version(peer, key)
    answer = peer.call(Op.REMOVE_IF_UNMODIFIED, key=key, entry_version=version)
    assert answer.status == Status.SUCCESS
    assert stored(peer, key) is None


@pytest.mark.operation(Op.REMOVE_IF_UNMODIFIED)
def test_remove_if_unmodified_with_an_old_version(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one")
    version = entry_version(peer, key)
    peer.call(Op.PUT, key=key, value=b"two")
    answer = peer.call(Op.REMOVE_IF_UNMODIFIED, key=key, entry_version=version)
    assert answer.status == Status.NOT_EXECUTED
    assert stored(peer, key) == b"two"


@pytest.mark.operation(Op.REMOVE_IF_UNMODIFIED)
def test_remove_if_unmodified_of_a_missing_key(peer: Peer, key: bytes) -> None:
    answer = peer.call(Op.REMOVE_IF_UNMODIFIED, key=key, entry_version=1)
    assert answer.status == Status.KEY_DOES_NOT_EXIST


@pytest.mark.operation(Op.GET_WITH_METADATA)
def test_get_with_metadata_of_an_immortal_entry(peer: Peer, key: bytes) -> None:
    peer.call(Op.PUT, key=key, value=b"one")
    answer = peer.call(Op.GET_WITH_METADATA, key=key)
    assert (answer.status, answer.value) == (Status.SUCCESS, b"one")
    assert (answer.metadata.lifespan, answer.metadata.max_idle) == (None, None)
    assert answer.metadata.version == entry_version(peer, key)


@pytest.mark.operation(Op.GET_WITH_METADATA)
def test_get_with_metadata_of_a_missing_key(peer: Peer, key: bytes) -> None:
    answer = peer.call(Op.GET_WITH_METADATA, key=key)
    assert (answer.status, answer.fields) == (Status.KEY_DOES_NOT_EXIST, {})
