"""encode_request and encode_response look at usual arguments in a short way. It gives what the long
way gives, and whatever is not usual takes that."""

from __future__ import annotations

import gc
import inspect
import pickle
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import strategies
from hotrod_codec import (
    CacheEncoder,
    EncodeError,
    Flag,
    Intelligence,
    Layout,
    Op,
    Reader,
    ResponseEncoder,
    Status,
    Version,
    encode_request,
    encode_response,
    layout,
)
from strategies import Arguments

quick = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
REQUESTS = [
    pytest.param(each, version, id=f"{each.op.name}-{version // 10}.{version % 10}")
    for each in strategies.OPERATIONS
    for version in strategies.versions_of(each)
    if {name for field in each.request for name in field.names}
    <= {"key", "value", "lifespan", "max_idle", "entry_version"}
]
RESPONSES = [
    pytest.param(each, version, id=f"{each.op.name}-{version // 10}.{version % 10}")
    for each in strategies.OPERATIONS
    for version in strategies.versions_of(each)
    if version in (10, 20, 30, 41)
]


class Long(str):
    """A name of an operation that is not of the usual kind."""

    __slots__ = ()


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (ValueError, TypeError) as e:
        return type(e), str(e)


def same(encode: Any, name: str, arguments: Arguments) -> Any:
    """What both ways give."""
    found = outcome(partial(encode, name, **arguments))
    assert outcome(partial(encode, Long(name), **arguments)) == found
    return found


usual_headers: st.SearchStrategy[Arguments] = st.fixed_dictionaries(
    {},
    optional={
        "message_id": st.one_of(strategies.u64, st.integers(0, 300), st.booleans()),
        "cache": strategies.text,
        "flags": st.one_of(strategies.u32, st.sampled_from(list(Flag)), st.booleans()),
        "intelligence": st.one_of(st.integers(0, 255), st.sampled_from(list(Intelligence))),
        "topology_id": st.one_of(strategies.i32, strategies.u32),
        "key_media_type": st.none(),
        "value_media_type": st.none(),
        "other_params": st.sampled_from([None, {}]),
    },
)


def forms_of(version: Version) -> list[Any]:
    return [version, int(version), f"{version // 10}.{version % 10}"]


@pytest.mark.parametrize(("each", "version"), REQUESTS)
@quick
@given(drawn=st.data())
def test_requests(each: Layout, version: Version, drawn: st.DataObject) -> None:
    name = each.op.name.lower()
    arguments = drawn.draw(usual_headers) | drawn.draw(strategies.body(each.request, version))
    arguments["version"] = drawn.draw(st.sampled_from(forms_of(version)))
    order = drawn.draw(st.permutations(list(arguments)))
    arguments = {key: arguments[key] for key in order}
    frame = same(encode_request, name, arguments)
    assert isinstance(frame, bytes)
    ops: list[Any] = [each.op, int(each.op), each.op.name]
    for op in ops:
        assert encode_request(op, **arguments) == frame


@pytest.mark.parametrize(("each", "version"), RESPONSES)
@quick
@given(drawn=st.data())
def test_responses(each: Layout, version: Version, drawn: st.DataObject) -> None:
    name = each.op.name.lower()
    arguments = drawn.draw(strategies.responses(each, version, drawn.draw(st.integers(0, 1)), 1))
    frame = same(encode_response, name, arguments)
    assert isinstance(frame, bytes)
    assert encode_response(each.op, **arguments) == frame
    rest = {k: v for k, v in arguments.items() if k not in ("version", "message_id")}
    encoder = ResponseEncoder(version)
    assert encoder.encode(each.op, arguments["message_id"], **rest) == frame
    if arguments["topology"] is None:
        del arguments["topology"]
        assert same(encode_response, name, arguments) == frame


ODD: list[Any] = [
    None,
    5,
    -1,
    0,
    True,
    2**31,
    2**32,
    2**63,
    2**64,
    -(2**31),
    -(2**63),
    1.5,
    "text",
    "\ud800",
    b"bytes",
    bytearray(b"array"),
    memoryview(b"view"),
    [],
    {},
    Flag.FORCE_RETURN_VALUE,
    Status.SUCCESS,
    Status.KEY_DOES_NOT_EXIST,
    Status.SERVER_ERROR,
    Version.V2_0,
    "2.0",
    "2.99",
    "9.9",
    "4/1",
    "÷.1",
    "1.:",
    " .1",
]
BODIES: list[tuple[str, Arguments]] = [
    ("ping", {}),
    ("get", {"key": b"k"}),
    ("get_with_metadata", {"key": b"k"}),
    ("put", {"key": b"k", "value": b"v"}),
    ("replace_if_unmodified", {"key": b"k", "value": b"v", "entry_version": 7}),
    ("size", {}),
]
NAMES = [
    "version",
    "message_id",
    "cache",
    "flags",
    "intelligence",
    "topology_id",
    "key_media_type",
    "other_params",
    "key",
    "value",
    "lifespan",
    "max_idle",
    "entry_version",
    "status",
    "topology",
    "error",
    "previous",
    "nonsense",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("op", "body"), BODIES)
def test_odd_requests(op: str, body: Arguments, name: str) -> None:
    for value in ODD:
        same(encode_request, op, body | {name: value})
        same(encode_request, op, {name: value} | body | {"version": "1.0"})
    same(encode_request, op, {k: v for k, v in body.items() if k != name})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("op", ["get", "put", "ping", "contains_key", "get_with_version"])
def test_odd_responses(op: str, name: str) -> None:
    for value in ODD:
        for status in (0, 2, 3, Status.SUCCESS_WITH_PREVIOUS, 0x85):
            same(encode_response, op, {"status": status, name: value})
            same(encode_response, op, {name: value, "value": b"v", "version": "2.0"})


@pytest.mark.parametrize("encode", [encode_request, encode_response])
def test_odd_operations(encode: Any) -> None:
    for op in [*ODD, "got", "cache_entry_removed", Op.CACHE_ENTRY_REMOVED, 255, 256, "PuT"]:
        found = outcome(partial(encode, op, key=b"k"))
        if isinstance(op, str):
            assert outcome(partial(encode, Long(op), key=b"k")) == found
    for call in (encode, partial(encode, "get", "put"), partial(encode, op="get")):
        with pytest.raises(TypeError):
            call()


def test_names_that_are_not_interned() -> None:
    name, key = "".join(["g", "et"]), "".join(["k", "ey"])
    assert name is not sys.intern(name) or key is not sys.intern(key)
    arguments: Arguments = {key: b"k"}
    assert encode_request(name, **arguments) == encode_request("get", key=b"k")


def test_signatures_stay() -> None:
    parameters = inspect.signature(encode_request).parameters
    assert list(parameters)[:3] == ["op", "version", "message_id"]
    assert parameters["op"].kind is inspect.Parameter.POSITIONAL_ONLY
    assert parameters["version"].default == "4.1"
    assert parameters["fields"].kind is inspect.Parameter.VAR_KEYWORD
    assert list(inspect.signature(encode_response).parameters)[-1] == "fields"
    for encode in (encode_request, encode_response):
        assert encode.__doc__ is not None
        assert encode.__doc__.startswith("Encode one re")
        assert pickle.loads(pickle.dumps(encode)) is encode


def test_nothing_is_kept() -> None:
    key, value, message_id, cache = b"k" * 40, b"v" * 40, 2**40, "cache " * 10
    encoder = ResponseEncoder()
    calls: list[Callable[[], Any]] = [
        lambda: encode_request("put", message_id=message_id, cache=cache, key=key, value=value),
        lambda: encode_request("put", message_id=-1, cache=cache, key=key, value=value),
        lambda: encode_request("put", message_id=message_id, cache=cache, key=key, value=cache),
        lambda: encode_response("get", message_id=message_id, value=value),
        lambda: encode_response("get", message_id=message_id, value=cache),
        lambda: encoder.get(value, message_id),
        lambda: encoder.get(bytearray(value), message_id),
    ]
    for call in calls:
        outcome(call)
        gc.collect()
        before = [sys.getrefcount(each) for each in (key, value, message_id, cache)]
        for _ in range(50):
            outcome(call)
        assert [sys.getrefcount(each) for each in (key, value, message_id, cache)] == before


class TestResponseEncoder:
    @pytest.mark.parametrize("version", list(Version))
    def test_get(self, version: Version) -> None:
        encoder = ResponseEncoder(version)
        for message_id in (0, 127, 128, 2**32, 2**63, 2**64 - 1):
            for value in (b"", b"v" * 100, b"v" * 20000, bytearray(b"v")):
                expected = encode_response(
                    "get", version=version, message_id=message_id, value=value
                )
                assert encoder.get(value, message_id) == expected
                assert encoder.get(value, message_id=message_id) == expected
            expected = encode_response("get", version=version, message_id=message_id, status=2)
            assert encoder.get(None, message_id) == expected
        assert encoder.get(b"v") == encode_response("get", version=version, value=b"v")

    @pytest.mark.parametrize("value", [5, "text", [b"v"]])
    def test_wrong_values(self, value: Any) -> None:
        expected = outcome(partial(encode_response, "get", value=value))
        assert outcome(partial(ResponseEncoder().get, value)) == expected

    @pytest.mark.parametrize("message_id", [-1, 2**64, 1.5, None, b"1"])
    def test_wrong_ids(self, message_id: Any) -> None:
        expected = outcome(partial(encode_response, "get", message_id=message_id, value=b"v"))
        assert outcome(partial(ResponseEncoder().get, b"v", message_id)) == expected

    def test_versions(self) -> None:
        assert ResponseEncoder("2.5").version is Version.V2_5
        assert repr(ResponseEncoder("2.5")) == "<ResponseEncoder version=2.5>"
        with pytest.raises(EncodeError, match=r"version: unknown version '2\.99'"):
            ResponseEncoder("2.99")
        with pytest.raises(EncodeError, match=r"SIZE: version: exists from version 2\.0 on"):
            ResponseEncoder("1.0").encode("size", size=1)
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(ResponseEncoder())

    def test_a_client_reads_it(self) -> None:
        reader, encoder = Reader(), ResponseEncoder("3.0")
        reader.expect_many(CacheEncoder(version="3.0").context("get"), 5, 2)
        reader.feed(encoder.get(b"value", 5) + encoder.get(None, 6))
        assert [(answer.status, answer.message_id) for answer in reader] == [
            (Status.SUCCESS, 5),
            (Status.KEY_DOES_NOT_EXIST, 6),
        ]


def test_a_row_has_what_the_test_believes() -> None:
    assert [field.names for field in layout("get").response] == [("value",)]
    assert len(REQUESTS) > 100
