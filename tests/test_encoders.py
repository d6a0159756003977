"""CacheEncoder gives what encode_request gives, and refuses what it refuses, in the same words."""

from __future__ import annotations

import gc
import inspect
import math
import pickle
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import strategies
from hotrod_codec import (
    CacheEncoder,
    Duration,
    EncodeError,
    Flag,
    Layout,
    Op,
    Reader,
    RequestContext,
    TimeUnit,
    Version,
    encode_request,
    encode_response,
    layout,
)
from strategies import Arguments

HEADER = (
    "version",
    "cache",
    "flags",
    "intelligence",
    "topology_id",
    "key_media_type",
    "value_media_type",
    "other_params",
)
# Methods, with the fields that they take in order.
METHODS: dict[str, tuple[str, ...]] = {
    "get": ("key",),
    "get_with_metadata": ("key",),
    "get_with_version": ("key",),
    "contains_key": ("key",),
    "remove": ("key",),
    "put": ("key", "value"),
    "put_if_absent": ("key", "value"),
    "replace": ("key", "value"),
    "replace_if_unmodified": ("key", "value", "entry_version"),
    "remove_if_unmodified": ("key", "entry_version"),
}
LAYOUTS = {name: layout(name) for name in METHODS}
CASES = [
    pytest.param(name, version, id=f"{name}-{version // 10}.{version % 10}")
    for name in METHODS
    for version in strategies.versions_of(LAYOUTS[name])
]
# Of every length on the wire, both sides of each border.
IDS = sorted(
    {n for i in range(1, 10) for n in (2 ** (7 * i) - 1, 2 ** (7 * i))} | {0, 1, 2**64 - 1}
)
ids = st.one_of(st.sampled_from(IDS), st.integers(0, 2**64 - 1))

quick = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def split(arguments: Arguments) -> tuple[Arguments, Arguments]:
    """What the encoder is made of, and the fields of the request."""
    header = {name: arguments[name] for name in HEADER if name in arguments}
    fields = {k: v for k, v in arguments.items() if k not in header and k != "message_id"}
    return header, fields


def outcome(call: Callable[[], Any]) -> Any:
    """What came of it: a result, or the type and the words of an error."""
    try:
        return call()
    except (ValueError, TypeError) as e:
        return type(e), str(e)


@pytest.mark.parametrize(("name", "version"), CASES)
@quick
@given(drawn=st.data())
def test_the_same_bytes(name: str, version: Version, drawn: st.DataObject) -> None:
    arguments = drawn.draw(strategies.requests(LAYOUTS[name], version))
    arguments["message_id"] = message_id = drawn.draw(ids)
    header, fields = split(arguments)
    frame = encode_request(name, **arguments)
    encoder: Any = CacheEncoder(**header)
    first = [fields.pop(each) for each in METHODS[name]]
    method = getattr(encoder, name)
    assert method(*first, message_id, **fields) == frame
    assert method(*first, message_id=message_id, **fields) == frame
    assert method(*map(bytearray_of, first), message_id, **fields) == frame
    by_name = dict(zip(METHODS[name], first, strict=True))
    assert method(**by_name, message_id=message_id, **fields) == frame
    assert encoder.encode(name, message_id, **by_name, **fields) == frame
    if not fields:
        arguments["message_id"] = 0
        assert method(*first) == encode_request(name, **arguments)
    if name == "put":
        assert b"".join(encoder.put_pieces(*first, message_id, **fields)) == frame


def bytearray_of(value: Any) -> Any:
    return bytearray(value) if isinstance(value, bytes) else value


@pytest.mark.parametrize("each", strategies.OPERATIONS, ids=lambda each: each.op.name)
@quick
@given(drawn=st.data())
def test_any_operation(each: Layout, drawn: st.DataObject) -> None:
    version = drawn.draw(st.sampled_from(strategies.versions_of(each)))
    arguments = drawn.draw(strategies.requests(each, version))
    header, fields = split(arguments)
    frame = encode_request(each.op, **arguments)
    assert CacheEncoder(**header).encode(each.op, arguments["message_id"], **fields) == frame


# What may be wrong with a request, beside its header.
MISTAKES: list[tuple[str, tuple[Any, ...], Arguments]] = [
    ("get", (5,), {}),
    ("get", (None,), {}),
    ("get", ("text",), {}),
    ("get", (np.arange(9).reshape(3, 3)[:, 1],), {}),
    ("get", (b"k",), {"message_id": -1}),
    ("get", (b"k",), {"message_id": 2**64}),
    ("get", (b"k",), {"message_id": 1.5}),
    ("get", (b"k",), {"message_id": None}),
    ("get", (5,), {"message_id": -1}),
    ("get_with_metadata", (b"k",), {}),
    ("remove", ([],), {}),
    ("put", (b"k", 5), {}),
    ("put", (5, 5), {"lifespan": -1}),
    ("put", (b"k", 5), {"lifespan": -1}),
    ("put", (b"k", b"v"), {"lifespan": 0}),
    ("put", (b"k", b"v"), {"lifespan": "1"}),
    ("put", (b"k", b"v"), {"max_idle": math.nan}),
    ("put", (b"k", b"v"), {"max_idle": 2592001}),
    ("put", (b"k", b"v"), {"lifespan": 2**70}),
    ("put", (b"k", b"v"), {"lifespan": Duration(2**40)}),
    ("replace", (b"k", None), {}),
    ("replace_if_unmodified", (b"k", b"v", 2**63), {}),
    ("replace_if_unmodified", (b"k", b"v", None), {}),
    ("remove_if_unmodified", (b"k", 0.0), {}),
]


@pytest.mark.parametrize("version", ["1.0", "2.0", "2.9", "4.1"])
@pytest.mark.parametrize(("name", "first", "keywords"), MISTAKES)
def test_the_same_errors(
    name: str, first: tuple[Any, ...], keywords: Arguments, version: str
) -> None:
    encoder: Any = CacheEncoder("c", version=version)
    fields = dict(zip(METHODS[name], first, strict=True))
    expected = outcome(
        lambda: encode_request(name, version=version, cache="c", **fields, **keywords)
    )
    assert outcome(lambda: getattr(encoder, name)(*first, **keywords)) == expected
    rest = dict(keywords)
    message_id = rest.pop("message_id", 0)
    assert outcome(lambda: getattr(encoder, name)(*first, message_id, **rest)) == expected
    assert outcome(lambda: encoder.encode(name, message_id, **fields, **rest)) == expected
    if name == "put":
        pieces = outcome(lambda: encoder.put_pieces(*first, message_id, **rest))
        assert pieces == expected or b"".join(pieces) == expected


@pytest.mark.parametrize(
    "keywords",
    [
        {"version": "5.0"},
        {"version": None},
        {"cache": 5},
        {"cache": "\ud800"},
        {"flags": -1},
        {"flags": "1"},
        {"intelligence": 256},
        {"topology_id": 2**32},
        {"key_media_type": "none"},
        {"value_media_type": 5},
        {"version": "2.7", "key_media_type": "text/plain"},
        {"version": "2.7", "value_media_type": "text/plain"},
        {"version": "3.1", "other_params": {"a": b"1"}},
        {"other_params": {5: b"1"}},
    ],
)
def test_a_wrong_header(keywords: Arguments) -> None:
    """The same words, but for the operation that there is none of yet."""
    kind, words = outcome(lambda: encode_request("get", key=b"", **keywords))
    assert outcome(lambda: CacheEncoder(**keywords)) == (kind, words.removeprefix("GET: "))


def test_unknown_operations_and_fields() -> None:
    encoder = CacheEncoder()
    wrong: list[tuple[str, Arguments]] = [
        ("got", {}),
        ("get", {"keys": []}),
        ("cache_entry_removed_event", {}),
    ]
    for op, fields in wrong:
        expected = outcome(partial(encode_request, op, **fields))
        assert outcome(partial(encoder.encode, op, 0, **fields)) == expected
        assert expected[0] is EncodeError


@pytest.mark.parametrize(
    "call",
    [
        lambda e: e.get(),
        lambda e: e.get(b"k", 1, 2),
        lambda e: e.get(b"k", 1, message_id=2),
        lambda e: e.get(b"k", id=2),
        lambda e: e.put(b"k"),
        lambda e: e.put(b"k", b"v", 1, 60),
        lambda e: e.put(b"k", b"v", ttl=60),
        lambda e: e.put(b"k", value=b"v", key=b"k"),
    ],
)
def test_wrong_calls(call: Callable[[CacheEncoder], Any]) -> None:
    with pytest.raises(TypeError, match="argument"):
        call(CacheEncoder())


def test_what_it_was_made_of() -> None:
    encoder = CacheEncoder(
        "orders",
        version="4.0",
        flags=Flag.FORCE_RETURN_VALUE,
        intelligence=3,
        topology_id=2**32 - 2,
        key_media_type="text/plain",
        other_params={"a": bytearray(b"1")},
    )
    assert encoder.cache == "orders"
    assert encoder.version is Version.V4_0
    assert encoder.flags is Flag.FORCE_RETURN_VALUE
    assert encoder.intelligence == 3
    assert encoder.topology_id == -2
    assert (encoder.key_media_type, encoder.value_media_type) == ("text/plain", None)
    assert encoder.other_params == {"a": b"1"}
    assert repr(encoder) == "<CacheEncoder cache='orders' version=4.0>"
    assert encoder.context("get") == RequestContext("get", "4.0", 1, 3)
    other = encoder.with_flags(Flag.SKIP_CACHE_LOAD)
    expected = encode_request(
        "get",
        version="4.0",
        cache="orders",
        flags=Flag.SKIP_CACHE_LOAD,
        intelligence=3,
        topology_id=-2,
        key_media_type="text/plain",
        other_params={"a": b"1"},
        key=b"k",
    )
    assert other.get(b"k") == expected


def test_a_new_topology_id() -> None:
    encoder = CacheEncoder("orders", value_media_type="text/plain; a=b")
    for topology_id in (5, 2**31 - 1, -1, 2**32 - 1, 0):
        encoder.topology_id = topology_id
        expected = encode_request(
            "get",
            cache="orders",
            value_media_type="text/plain; a=b",
            topology_id=topology_id,
            key=b"k",
        )
        assert encoder.get(b"k") == expected
    frame = encoder.get(b"k")
    with pytest.raises(EncodeError, match="topology_id"):
        encoder.topology_id = 2**32
    assert encoder.get(b"k") == frame


def test_a_buffer_that_sets_the_topology_id_while_it_is_taken() -> None:
    encoder = CacheEncoder("c" * 200)

    class Key:
        def __buffer__(self, flags: int) -> memoryview:
            encoder.topology_id = 2**31 - 1
            return memoryview(b"key")

    key: Any = Key() if sys.version_info >= (3, 12) else bytearray(b"key")
    frame = encoder.get(key)
    topology_id = encoder.topology_id
    assert frame == encode_request("get", cache="c" * 200, topology_id=topology_id, key=b"key")


def test_durations_in_every_form() -> None:
    for version in ("1.2", "2.2", "2.9", "4.1"):
        encoder = CacheEncoder(version=version)
        forms: list[Any] = [1, True, 60.0, timedelta(minutes=1), math.inf, Duration(5), 2592000]
        forms += [0.25, Duration(5, TimeUnit.MILLISECONDS)] if version != "1.2" else []
        for lifespan in forms:
            for max_idle in (None, lifespan):
                expected = encode_request(
                    "put",
                    version=version,
                    key=b"k",
                    value=b"v",
                    lifespan=lifespan,
                    max_idle=max_idle,
                )
                assert encoder.put(b"k", b"v", lifespan=lifespan, max_idle=max_idle) == expected


def test_pieces_of_a_large_value() -> None:
    encoder = CacheEncoder("orders")
    value = bytes(300_000)
    head, same = encoder.put_pieces(b"key", value, 7, lifespan=60)
    assert same is value
    assert head + value == encoder.put(b"key", value, 7, lifespan=60)
    numbers: Any = np.arange(1000, dtype="int64").reshape(10, 100)
    head, rest = encoder.put_pieces(b"key", numbers)
    assert isinstance(rest, memoryview)
    assert (rest.nbytes, len(rest)) == (8000, 8000)
    assert head + bytes(rest) == encoder.put(b"key", numbers.tobytes())


def test_a_client_and_a_server_understand_each_other() -> None:
    encoder = CacheEncoder("orders", version="4.1", intelligence=3)
    server, client = Reader("server"), Reader()
    context = encoder.context("get")
    for message_id in (1, 200, 2**40):
        client.expect(context, message_id)
        server.feed(encoder.get(b"key", message_id))
        request = server.next()
        assert (request.op, request.key, request.message_id) == (Op.GET, b"key", message_id)
        client.feed(encode_response("get", message_id=request.message_id, value=b"value"))
        response = client.next()
        assert (response.message_id, response.value) == (message_id, b"value")
    assert client.pending_requests == 0


def test_methods_say_what_they_take() -> None:
    signature = inspect.signature(CacheEncoder.put)
    assert list(signature.parameters) == [
        "self",
        "key",
        "value",
        "message_id",
        "lifespan",
        "max_idle",
    ]
    assert signature.parameters["message_id"].default == 0
    assert CacheEncoder.get.__doc__ == "Read the value under a key."


def test_no_pickle() -> None:
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(CacheEncoder())


def test_nothing_is_kept() -> None:
    """References of arguments come back, on every way through, and results are not shared."""
    encoder = CacheEncoder("orders")
    key, value, message_id = b"k" * 40, bytearray(b"v" * 40), 2**40
    calls: list[Callable[[], Any]] = [
        lambda: encoder.get(key, message_id),
        lambda: encoder.put(key, key, message_id),
        lambda: encoder.put(key, key, message_id, lifespan=message_id),
        lambda: encoder.put(key, value, message_id=message_id),
        lambda: encoder.put_pieces(key, value, message_id),
        lambda: encoder.get(5, message_id),  # type: ignore[arg-type]
        lambda: encoder.put(key, value, -1),
    ]
    for call in calls:
        outcome(call)
        gc.collect()
        before = [sys.getrefcount(each) for each in (key, value, message_id, encoder)]
        for _ in range(50):
            outcome(call)
        after = [sys.getrefcount(each) for each in (key, value, message_id, encoder)]
        assert after == before
    value.append(1)  # no view is left open
