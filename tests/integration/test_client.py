"""The clients, in every version: what a user calls does what it says."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from typing import Any

import pytest

from hotrod_codec import CounterConfiguration, Flag, ServerError, Version
from hotrod_codec.client import CounterBoundError, CounterMissingError
from hotrod_codec.marshallers import BYTES, PROTOSTREAM, TEXT, BytesMarshaller
from integration.embedded import EMBEDDED
from integration.peers import Target


@pytest.fixture
def octets(client: Any) -> Any:
    """A cache of bytes."""
    return client.cache("octets", keys=BYTES, values=BYTES)


@pytest.fixture
def keys(key: bytes) -> list[bytes]:
    return [key + b"%d" % i for i in range(100)]


def test_one_key(octets: Any, key: bytes) -> None:
    assert octets.get(key) is None
    assert not octets.contains_key(key)
    assert octets.put(key, b"v") is None
    assert octets.get(key) == b"v"
    assert octets.contains_key(key)
    assert octets.remove(key)
    assert not octets.remove(key)
    assert octets.get(key) is None


def test_an_empty_value_is_not_none(octets: Any, key: bytes) -> None:
    octets.put(key, b"")
    assert octets.get(key) == b""
    assert octets.get_many([key]) == [b""]


def test_conditional_writes(octets: Any, key: bytes) -> None:
    assert not octets.replace(key, b"v")
    assert octets.put_if_absent(key, b"v1")
    assert not octets.put_if_absent(key, b"v2")
    assert octets.replace(key, b"v3")
    assert octets.get(key) == b"v3"


def test_previous_values(client: Any, octets: Any, key: bytes) -> None:
    assert octets.get_and_remove(key) is None
    assert octets.get_and_replace(key, b"a") is None
    assert octets.get_and_put(key, b"b") is None
    assert octets.get_and_put(key, b"c") == b"b"
    assert octets.get_and_replace(key, b"d") == b"c"
    assert octets.get_and_put_if_absent(key, b"e") == b"d"
    assert octets.get_and_remove(key) == b"d"
    assert octets.get_and_put_if_absent(key, b"f") is None
    assert octets.get(key) == b"f"
    forced = octets.with_flags(Flag.FORCE_RETURN_VALUE)
    assert forced.put(key, b"g") == b"f"
    assert forced.remove(key)
    by_option = client.cache("octets", keys=BYTES, values=BYTES, force_return=True)
    assert by_option.put(key, b"h") is None
    assert by_option.put(key, b"i") == b"h"


def test_versions(octets: Any, key: bytes) -> None:
    assert octets.get_with_metadata(key) is None
    assert not octets.replace_with_version(key, b"v", 1)
    octets.put(key, b"v1")
    first = octets.get_with_metadata(key)
    assert first.value == b"v1"
    assert octets.replace_with_version(key, b"v2", first.version)
    assert not octets.replace_with_version(key, b"v3", first.version)
    assert not octets.remove_with_version(key, first.version)
    second = octets.get_with_metadata(key)
    assert (second.value, second.version != first.version) == (b"v2", True)
    assert octets.remove_with_version(key, second.version)
    assert octets.get(key) is None


@pytest.mark.versions(since=Version.V1_2)
def test_expiration(client: Any, octets: Any, key: bytes, wait: Callable[[float], None]) -> None:
    octets.put(key, b"v", lifespan=100, max_idle=50)
    found = octets.get_with_metadata(key)
    assert (found.lifespan, found.max_idle) == (100, 50)
    octets.replace(key, b"v", lifespan=math.inf, max_idle=math.inf)
    found = octets.get_with_metadata(key)
    assert (found.lifespan, found.max_idle, found.created) == (None, None, None)
    mortal = client.cache("mortal", keys=BYTES, values=BYTES)
    mortal.put(key, b"v")
    found = mortal.get_with_metadata(key)
    assert (found.lifespan, found.max_idle) == (1800, 900)
    octets.put(key, b"v", lifespan=1)
    wait(1.2)
    assert octets.get(key) is None


def test_computing(octets: Any, key: bytes) -> None:
    def longer(_: bytes, old: bytes | None) -> bytes:
        return (old or b"") + b"x"

    assert octets.compute(key, longer) == b"x"
    assert octets.compute(key, longer) == b"xx"
    assert octets.compute_if_present(key, longer) == b"xxx"
    assert octets.compute_if_absent(key, lambda k: b"new") == b"xxx"
    assert octets.compute(key, lambda k, v: None) is None
    assert not octets.contains_key(key)
    assert octets.compute_if_present(key, longer) is None
    assert not octets.contains_key(key)
    assert octets.compute_if_absent(key, lambda k: None) is None
    assert octets.compute_if_absent(key, lambda k: b"new") == b"new"
    assert octets.get(key) == b"new"


def test_merging(octets: Any, key: bytes) -> None:
    def joined(old: bytes, new: bytes) -> bytes | None:
        return old + new if new else None

    assert octets.merge(key, b"a", joined) == b"a"
    assert octets.merge(key, b"b", joined) == b"ab"
    assert octets.get(key) == b"ab"
    assert octets.merge(key, b"", joined) is None
    assert not octets.contains_key(key)


def test_computing_sees_what_others_do(octets: Any, key: bytes) -> None:
    def interfere(_: bytes, old: bytes | None) -> bytes:
        seen.append(old)
        if len(seen) < 3:
            octets.put(key, b"%d" % len(seen))
        return (old or b"") + b"!"

    seen: list[bytes | None] = []
    if type(octets).__name__ == "Blocking":  # the function cannot wait within a loop that runs
        return
    assert octets.compute(key, interfere) == b"2!"
    assert seen == [None, b"1", b"2"]


def test_many_keys(octets: Any, keys: list[bytes]) -> None:
    half = {key: key + b"!" for key in keys[::2]}
    octets.put_all(half)
    assert octets.get_all(keys) == half
    assert octets.get_many(keys) == [half.get(key) for key in keys]
    assert octets.get_all([]) == {}
    octets.put_all({})
    octets.put_many((key, b"?") for key in keys)
    assert octets.get_all(keys) == dict.fromkeys(keys, b"?")
    assert octets.get_many([]) == []


def test_the_whole_cache(client: Any, key: bytes) -> None:
    many = client.cache("many", keys=BYTES, values=BYTES)
    many.clear()
    assert many.is_empty()
    many.put_all({key + b"%d" % i: b"v" for i in range(50)})
    assert many.size() == 50
    assert many.contains_value(b"v")
    assert not many.contains_value(b"w")
    stats = many.stats()
    assert stats["stores"] >= 50 or stats["stores"] == -1
    many.clear()
    assert many.size() == 0


def test_all_entries(client: Any, target: Target, key: bytes) -> None:
    many = client.cache("many", keys=BYTES, values=BYTES)
    many.clear()
    assert list(many.entries()) == []
    expected = {key + b"%d" % i: b"%d" % i for i in range(500)}
    many.put_all(expected)
    shares: list[float] = []
    found = list(many.entries(batch_size=70, progress=lambda n, share: shares.append(share)))
    assert len(found) == 500
    assert dict(found) == expected
    assert sorted(many.keys(batch_size=99)) == sorted(expected)
    assert sorted(many.values()) == sorted(expected.values())
    if target.version >= Version.V2_3:
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
    if target.version >= Version.V2_5:
        for k, found_value in many.entries_with_metadata():
            assert found_value.value == expected.pop(k)
            assert found_value.version == many.get_with_metadata(k).version
            if len(expected) < 490:
                break
    many.clear()


@pytest.mark.versions(since=Version.V2_3)
def test_entries_as_columns(client: Any, key: bytes) -> None:
    many = client.cache("many", keys=BYTES, values=BYTES)
    many.clear()
    expected = {key + b"%d" % i: b"%d" % i for i in range(500)}
    many.put_all(expected)
    found: dict[bytes, bytes] = {}
    for batch in many.batches(batch_size=200):
        assert len(batch.keys) == len(batch.values) <= 200
        found |= zip(batch.keys, batch.values, strict=True)
    assert found == expected
    many.clear()


@pytest.mark.versions(since=Version.V2_8)
@pytest.mark.parametrize(
    ("cache", "marshaller", "value"),
    [
        ("text", TEXT, "grüße"),
        ("octets", TEXT, "grüße"),
        ("proto", TEXT, "grüße"),
        ("proto", PROTOSTREAM, 42),
    ],
)
def test_marshallers(
    client: Any, target: Target, key: bytes, cache: str, marshaller: Any, value: Any
) -> None:
    typed = client.cache(cache, keys=TEXT, values=marshaller)
    name = key.decode()
    assert typed.get(name) is None
    typed.put(name, value)
    assert typed.get(name) == value
    assert typed.get_all([name]) == {name: value}
    assert typed.remove(name)


@pytest.mark.versions(since=Version.V2_8)
def test_other_marshallers(client: Any, key: bytes) -> None:
    texts = client.cache("text").with_flags(Flag.FORCE_RETURN_VALUE)
    octets = texts.with_marshallers(values=BYTES)
    assert texts.put(key.decode(), "grüße") is None
    assert octets.put(key.decode(), b"v") == "grüße".encode()
    assert texts.with_marshallers(keys="bytes").get(key) == "v"
    assert texts.with_marshallers(keys=BYTES, values=BYTES).get(key) == b"v"
    with pytest.raises(ValueError, match="jsn"):
        texts.with_marshallers(values="jsn")


@pytest.mark.versions(since=Version.V2_8, legacy=False)
def test_json(client: Any, key: bytes) -> None:
    cache = client.cache("json", keys="json", values="application/json")
    cache.put({"k": key.decode()}, [1, None, "ü"])
    assert cache.get({"k": key.decode()}) == [1, None, "ü"]


def test_a_cache_that_is_not_there(client: Any) -> None:
    with pytest.raises(ServerError, match="CacheNotFound"):
        client.cache("nowhere").get("k")
    assert client.cache("octets").get(secrets.token_hex()) is None


# ---- what is no plain cache ---------------------------------------------------------------------


@pytest.mark.versions(since=Version.V2_0)
def test_events(octets: Any, target: Target, key: bytes) -> None:
    with octets.add_listener() as events:
        octets.put(key, b"v1")
        octets.put(key, b"v2")
        octets.remove(key)
        heard: list[Any] = []
        while len(heard) < 3:
            event = events.next(10)
            assert event is not None
            if event.key == key:
                heard.append(event)
        assert [event.kind for event in heard] == ["created", "modified", "removed"]
        assert heard[0].version is not None
    assert events.next(1) is None


@pytest.mark.versions(since=Version.V2_0)
def test_only_some_events_and_those_of_entries_that_are_there(client: Any, key: bytes) -> None:
    many = client.cache("many", keys=BYTES, values=BYTES)
    many.clear()
    many.put_many({key: b"v"})
    with many.add_listener(kinds=["created"], include_state=True) as events:
        event = events.next(10)
        assert (event.kind, event.key) == ("created", key)
        many.put(key, b"w")
        many.put(key + b"!", b"w")
        assert events.next(10).key == key + b"!"
    many.clear()


@pytest.mark.versions(since=Version.V2_1)
def test_administration(client: Any, target: Target, key: bytes) -> None:
    name = "".join(c for c in key.decode() if c.isalnum())
    octets = "application/octet-stream"
    definition = f'<local-cache><encoding media-type="{octets}"/></local-cache>'
    if target.is_legacy:
        definition = (
            f'<infinispan><cache-container><local-cache name="{name}"><encoding>'
            f'<key media-type="{octets}"/><value media-type="{octets}"/>'
            "</encoding></local-cache></cache-container></infinispan>"
        )
    flags = () if target.is_legacy else ("VOLATILE",)
    client.admin.create_cache(name, definition, flags=flags)
    try:
        assert name in client.admin.cache_names()
        with pytest.raises(ServerError, match="ISPN000507"):
            client.admin.create_cache(name, definition, flags=flags)
        client.admin.get_or_create_cache(name, definition, flags=flags)
        cache = client.cache(name, keys=BYTES, values=BYTES)
        cache.put(key, b"v")
        assert cache.get(key) == b"v"
    finally:
        client.admin.remove_cache(name)
    assert name not in client.admin.cache_names()


@pytest.mark.versions(since=Version.V2_1)
def test_tasks(client: Any, target: Target) -> None:
    # In old versions no header says what parameters are, and new servers take them for protostream.
    converted = not target.is_legacy and target.server != EMBEDDED
    values = PROTOSTREAM if converted and target.version < Version.V2_8 else TEXT
    cache = client.cache("text", values=values)
    of_cache = "" if target.server == EMBEDDED else " of text"
    assert cache.execute("greeting", {"who": "bob"}) == f"hello bob{of_cache}"
    assert cache.execute("greeting", {}) is None
    assert cache.execute("greeting") is None
    assert client.execute("greeting", {"who": "bob"}, values=values).startswith("hello bob")
    assert client.execute("greeting", values=values) is None
    with pytest.raises(ServerError, match="nobody is there"):
        cache.execute("greeting", {"who": "nobody"})
    with pytest.raises(ServerError, match="ISPN027002"):
        cache.execute("no such task")
    with pytest.raises(TypeError):
        cache.execute("greeting", {"who": object()})


@pytest.mark.versions(since=Version.V2_7)
def test_counters(client: Any, key: bytes) -> None:
    name = key.decode()
    counter = client.counters.get(name)
    with pytest.raises(CounterMissingError):
        counter.value()
    assert not client.counters.is_defined(name)
    assert client.counters.configuration(name) is None
    bounded = CounterConfiguration(initial=5, lower=0, upper=10)
    assert client.counters.define(name, bounded)
    assert not client.counters.define(name, bounded)
    assert client.counters.is_defined(name)
    assert client.counters.configuration(name) == bounded
    assert name in client.counters.names()
    assert counter.value() == 5
    assert counter.add_and_get(3) == 8
    assert counter.increment_and_get() == 9
    assert counter.decrement_and_get() == 8
    assert counter.compare_and_set(8, 1)
    assert not counter.compare_and_set(8, 2)
    assert counter.compare_and_swap(7, 2) == 1
    with pytest.raises(CounterBoundError):
        counter.add_and_get(100)
    counter.reset()
    assert counter.value() == 5
    client.counters.remove(name)


@pytest.mark.versions(since=Version.V2_7)
def test_multimaps(client: Any, key: bytes) -> None:
    # Which asks for no conversion: server 9.4 would try one.
    plain = BytesMarshaller("application/unknown")
    multimap = client.multimap("multimap", keys=plain, values=plain)
    assert multimap.get(key) == []
    assert not multimap.remove(key)
    for value in (b"a", b"b", b"a"):
        multimap.put(key, value)
    assert sorted(multimap.get(key)) == [b"a", b"b"]
    assert multimap.size() >= 2
    assert multimap.contains_key(key)
    assert multimap.contains_entry(key, b"a")
    assert not multimap.contains_entry(key, b"c")
    assert multimap.contains_value(b"b")
    assert multimap.remove_entry(key, b"a")
    assert not multimap.remove_entry(key, b"a")
    assert multimap.get(key) == [b"b"]
    assert multimap.remove(key)
    assert not multimap.contains_key(key)
