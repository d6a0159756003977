"""Many requests in one buffer are the requests one by one, whatever the keys and entries lie in."""

from __future__ import annotations

import gc
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from hotrod_codec import (
    CacheEncoder,
    EncodeError,
    EntryBatch,
    Reader,
    RequestContext,
    Version,
    decode_response,
    encode_request,
    encode_response,
    layout,
)
from strategies import Arguments

KEY_METHODS = {"get_many": "get", "contains_many": "contains_key", "remove_many": "remove"}
quick = settings(max_examples=20, deadline=None, derandomize=True)
blobs = st.lists(strategies.data, max_size=6)
# So that ids grow by a byte within a batch.
BORDERS = [2 ** (7 * i) - 3 for i in range(1, 10)]
firsts = st.one_of(st.sampled_from([0, *BORDERS, 2**64 - 10]), st.integers(0, 2**64 - 10))


class Column:
    """As BytesColumn has them: items in any order, with gaps, by start and length."""

    def __init__(self, items: Sequence[bytes]) -> None:
        backwards = list(items)[::-1]
        ends = list(accumulate(1 + len(item) for item in backwards))
        self.buffer = b"".join(b"#" + item for item in backwards)
        table = np.zeros((len(items), 3), "int64")
        table[:, 0] = [e - len(i) for e, i in zip(ends, backwards, strict=True)][::-1]
        table[:, 2] = [len(item) for item in items]
        self.starts, self.lengths = table[:, 0], table[:, 2]


def arrow(items: Sequence[bytes], kind: str = "int64") -> tuple[bytes, Any]:
    """A buffer and offsets, which do not begin at 0."""
    offsets = np.array([3, *accumulate(map(len, items), initial=3)][1:], kind)
    return b"..." + b"".join(items), offsets


def as_array(items: Sequence[bytes]) -> tuple[bytes, Any]:
    buffer, offsets = arrow(items)
    return buffer, array("q", offsets.tolist())


FORMS: dict[str, Callable[[list[bytes]], Any]] = {
    "list": list,
    "tuple": tuple,
    "generator": iter,
    "dict keys": lambda items: dict(enumerate(items)).values(),
    "bytearrays": lambda items: [bytearray(item) for item in items],
    "one bytearray": lambda items: [bytearray(i) if n == 1 else i for n, i in enumerate(items)],
    "column": Column,
    "arrow": arrow,
    "arrow, int32": lambda items: arrow(items, "int32"),
    "arrow, array": as_array,
    "arrow, strided": lambda items: (arrow(items)[0], np.repeat(arrow(items)[1], 2)[::2]),
}
ENTRY_FORMS: dict[str, Callable[[list[tuple[bytes, bytes]]], Any]] = {
    "list": list,
    "tuple": tuple,
    "generator": iter,
    "lists": lambda pairs: [list(pair) for pair in pairs],
    "buffers": lambda pairs: [(bytearray(k), memoryview(v)) for k, v in pairs],
    "zip": lambda pairs: zip([k for k, _ in pairs], [v for _, v in pairs], strict=True),
    "batch": lambda pairs: batch(pairs),
}


def batch(pairs: list[tuple[bytes, bytes]]) -> Any:
    """With the attributes of an EntryBatch, and nothing to iterate over."""
    columns = Column([k for k, _ in pairs]), Column([v for _, v in pairs])

    class Batch:
        keys, values = columns
        projections = columns[1:]

    return Batch()


def one_by_one(op: str, bodies: list[Arguments], first: int, **header: Any) -> bytes:
    return b"".join(
        encode_request(op, message_id=first + i, **header, **body) for i, body in enumerate(bodies)
    )


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (ValueError, TypeError) as e:
        return type(e), str(e)


@pytest.mark.parametrize("form", FORMS)
@quick
@given(blobs, firsts, st.sampled_from(list(Version)))
def test_keys(form: str, keys: list[bytes], first: int, version: Version) -> None:
    header: Arguments = {"version": version, "cache": "orders", "flags": 3}
    encoder = CacheEncoder(**header)
    bodies: list[Arguments] = [{"key": key} for key in keys]
    for method, op in KEY_METHODS.items():
        expected = one_by_one(op, bodies, first, **header)
        assert getattr(encoder, method)(FORMS[form](keys), first) == expected
    if version >= 21:
        whole = encode_request("get_all", message_id=first, keys=keys, **header)
        assert encoder.get_all(FORMS[form](keys), first) == whole


@pytest.mark.parametrize("form", ENTRY_FORMS)
@quick
@given(st.data())
def test_entries(form: str, drawn: st.DataObject) -> None:
    version = drawn.draw(st.sampled_from(list(Version)))
    pairs = drawn.draw(st.lists(st.tuples(strategies.data, strategies.data), max_size=6))
    first = drawn.draw(firsts)
    header: Arguments = {"version": version, "cache": "orders", "topology_id": 300}
    life: Arguments = drawn.draw(
        st.fixed_dictionaries(
            {}, optional={n: strategies.durations(version) for n in ("lifespan", "max_idle")}
        )
    )
    encoder = CacheEncoder(**header)
    bodies: list[Arguments] = [{"key": k, "value": v, **life} for k, v in pairs]
    expected = one_by_one("put", bodies, first, **header)
    assert encoder.put_many(ENTRY_FORMS[form](pairs), first, **life) == expected
    if version >= 21:
        whole = encode_request("put_all", message_id=first, entries=pairs, **header, **life)
        assert encoder.put_all(ENTRY_FORMS[form](pairs), first, **life) == whole


@pytest.mark.parametrize("make", [dict, MappingProxyType, lambda d: d.items()])
def test_mappings(make: Any) -> None:
    found = {b"%d" % i: b"v" * i for i in range(200)}
    encoder = CacheEncoder()
    bodies: list[Arguments] = [{"key": k, "value": v} for k, v in found.items()]
    assert encoder.put_many(make(found), 100) == one_by_one("put", bodies, 100)


@pytest.mark.parametrize("keys_form", FORMS)
@pytest.mark.parametrize("values_form", ["list", "column", "arrow"])
def test_columns(keys_form: str, values_form: str) -> None:
    keys = [b"%d" % i for i in range(5)]
    values = [b"v" * (90 + 10 * i) for i in range(5)]
    bodies: list[Arguments] = [
        {"key": k, "value": v, "lifespan": 60} for k, v in zip(keys, values, strict=True)
    ]
    found = CacheEncoder().put_columns(
        FORMS[keys_form](keys), FORMS[values_form](values), 126, lifespan=60
    )
    assert found == one_by_one("put", bodies, 126)


def test_what_decoding_gives() -> None:
    pairs = [(b"key %d" % i, b"value" * i) for i in range(50)]
    frame = encode_response("bulk_get", entries=pairs)
    response = decode_response(frame, RequestContext("bulk_get"), into="batch")
    assert response is not None
    found = response.entries
    assert isinstance(found, EntryBatch)
    encoder = CacheEncoder()
    assert encoder.put_many(found, 7, lifespan=60) == encoder.put_many(pairs, 7, lifespan=60)
    assert encoder.put_all(found) == encode_request("put_all", entries=pairs)
    assert encoder.put_many(found[::-3]) == encoder.put_many(pairs[::-3])
    assert encoder.put_columns(found.keys, found.values) == encoder.put_many(pairs)
    assert encoder.get_many(found.keys) == encoder.get_many([key for key, _ in pairs])
    assert encoder.get_all(found.keys[5:9]) == encoder.get_all([key for key, _ in pairs[5:9]])


def test_nothing_to_do() -> None:
    encoder = CacheEncoder()
    nothing: list[Any] = [[], (), {}, iter(()), (b"", np.zeros(1, "int64"))]
    for empty in nothing:
        assert encoder.get_many(empty, 2**64 - 1) == b""
    assert encoder.put_many({}) == b""
    assert encoder.put_columns([], []) == b""


@pytest.mark.parametrize(
    "keys",
    [
        [b"a", 5, b"c"],
        (b"a", "b"),
        [b"a", None],
        5,
        None,
        b"abc",
        "abc",
        bytearray(b"abc"),
        memoryview(b"abc"),
        [np.arange(9).reshape(3, 3)[:, 1]],
        iter([b"a", 1.5]),
    ],
)
def test_wrong_keys(keys: Any) -> None:
    """In the words of encode_request, of a request that takes such a list."""
    keys = list(keys) if hasattr(keys, "__next__") else keys
    kind, words = outcome(partial(encode_request, "get_all", keys=keys))
    for method, op in KEY_METHODS.items():
        found = outcome(partial(getattr(CacheEncoder(), method), keys))
        assert found == (kind, words.replace("GET_ALL", op.upper()))
    assert outcome(partial(CacheEncoder().get_all, keys)) == (kind, words)


@pytest.mark.parametrize(
    "entries",
    [
        [(b"a", b"b"), (b"a", 5)],
        [(b"a", b"b"), (5, b"a")],
        [(b"a", b"b", b"c")],
        [(b"a",)],
        [b"ab"],
        ["ab"],
        [5],
        {b"a": 5},
        {5: b"a"},
        {b"a": b"b", b"c": None},
        5,
        b"abc",
        iter([(b"a", None)]),
    ],
)
def test_wrong_entries(entries: Any) -> None:
    entries = list(entries) if hasattr(entries, "__next__") else entries
    kind, words = outcome(partial(encode_request, "put_all", entries=entries))
    encoder = CacheEncoder()
    assert outcome(partial(encoder.put_all, entries)) == (kind, words)
    assert outcome(partial(encoder.put_many, entries)) == (kind, words.replace("PUT_ALL", "PUT"))


@pytest.mark.parametrize(
    ("keywords", "field"),
    [
        ({"lifespan": -1}, "lifespan"),
        ({"max_idle": "x"}, "max_idle"),
        ({"first_id": -1}, "first_id"),
        ({"first_id": 2**64}, "first_id"),
        ({"first_id": 2**64 - 1}, "first_id"),
        ({"first_id": "1"}, "first_id"),
    ],
)
def test_wrong_arguments(keywords: Arguments, field: str) -> None:
    encoder = CacheEncoder()
    for call in (
        partial(encoder.put_many, [(b"a", b"b")] * 2),
        partial(encoder.put_many, ((b"a", b"b") for _ in range(2))),
        partial(encoder.put_columns, [b"a"] * 2, [b"b"] * 2),
    ):
        with pytest.raises((EncodeError, TypeError), match=rf"^(PUT: )?{field}: "):
            call(**keywords)


def test_the_last_ids() -> None:
    keys = [b"a", b"b"]
    expected = one_by_one("get", [{"key": key} for key in keys], 2**64 - 2)
    assert CacheEncoder().get_many(keys, 2**64 - 2) == expected


NINE = b"123456789"


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ((NINE, np.array([0, 10])), r"keys\[0\]: not within the buffer of 9 bytes"),
        ((NINE, np.array([0, 5, 4])), r"keys\[1\]: not within"),
        ((NINE, np.array([-1, 5])), r"keys\[0\]: not within"),
        ((NINE, np.array([0, 5, -(2**63)])), r"keys\[1\]: not within"),
        ((NINE, np.array([0, 2**63 - 1])), r"keys\[0\]: not within"),
        ((NINE, np.array([-(2**63), 2**63 - 1])), r"keys\[0\]: not within"),
        ((NINE, np.array([], "int64")), "keys: no offsets"),
        ((NINE, np.array([0.0, 1.0])), "keys: expected offsets as an int32 or int64 array"),
        ((NINE, np.array([0, 1], "uint64")), "keys: expected offsets"),
        ((NINE, np.array([0, 1], ">i8")), "keys: expected offsets"),
        ((NINE, np.array([[0, 1]])), "keys: expected offsets"),
        (("text", np.array([0, 1])), "keys: expected a bytes-like object, got str"),
        (
            SimpleNamespace(buffer=NINE, starts=np.zeros(2, "int64"), lengths=np.zeros(1, "int64")),
            "keys: 2 starts, but 1 lengths",
        ),
        (
            SimpleNamespace(buffer=NINE, starts=np.array([9]), lengths=np.array([1])),
            r"keys\[0\]: not within",
        ),
        (
            SimpleNamespace(buffer=NINE, starts=np.array([1]), lengths=np.array([-1])),
            r"keys\[0\]: not within",
        ),
    ],
)
def test_wrong_columns(column: Any, words: str) -> None:
    for call in (
        partial(CacheEncoder().get_many, column),
        partial(CacheEncoder().get_all, column),
        partial(CacheEncoder().put_columns, column, [b""]),
        partial(encode_request, "get_all", keys=column),
    ):
        with pytest.raises((EncodeError, TypeError), match=words):
            call()


def test_columns_of_different_lengths() -> None:
    with pytest.raises(EncodeError, match="PUT: values: 1 values for 2 keys"):
        CacheEncoder().put_columns([b"a", b"b"], [b"c"])


class Mischief:
    """Runs something when its buffer or its number is asked for."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def __index__(self) -> int:
        self.action()
        return 1

    if sys.version_info >= (3, 12):

        def __buffer__(self, flags: int) -> memoryview:
            self.action()
            return memoryview(b"mischief")


def test_a_list_that_changes_while_it_is_read() -> None:
    """Foreign code runs at an id, at an item that is no bytes and in a generator."""
    encoder = CacheEncoder()
    keys: list[Any] = [b"key %d" % i for i in range(1000)]
    first: Any = Mischief(keys.clear)
    assert encoder.get_many(keys, first) == b""
    entries: dict[Any, Any] = {b"key %d" % i: b"value" for i in range(1000)}
    first = Mischief(entries.clear)
    assert encoder.put_many(entries, first) == b""

    def generate() -> Iterator[bytes]:
        for i in range(10):
            gc.collect()
            yield b"key %d" % i

    expected = one_by_one("get", [{"key": b"key %d" % i} for i in range(10)], 1)
    assert encoder.get_many(generate()) == expected


if sys.version_info >= (3, 12):  # a buffer can be made by Python code

    def test_a_key_that_empties_its_list() -> None:
        encoder = CacheEncoder()
        names = [b"key %d" % i for i in range(100)]
        keys: list[Any] = [bytes(bytearray(name)) for name in names]
        keys.insert(50, Mischief(keys.clear))
        bodies: list[Arguments] = [{"key": key} for key in [*names[:50], b"mischief", *names[50:]]]
        assert encoder.get_many(keys) == one_by_one("get", bodies, 1)
        assert keys == []


def test_nothing_is_kept() -> None:
    encoder = CacheEncoder()
    key, value, buffer = b"k" * 40, bytearray(b"v" * 40), b"b" * 40
    offsets = np.array([0, 10, 40])
    calls: list[Callable[[], Any]] = [
        lambda: encoder.get_many([key] * 3),
        lambda: encoder.get_many([key, value]),
        lambda: encoder.get_many((buffer, offsets)),
        lambda: encoder.get_many([key, 5]),  # type: ignore[list-item]
        lambda: encoder.put_many([(key, key), (key, value)]),
        lambda: encoder.put_many({key: key}),
        lambda: encoder.put_many({key: value}),
        lambda: encoder.put_columns((buffer, offsets), [key, value]),
        lambda: encoder.put_columns((buffer, offsets), [key]),
        lambda: encoder.put_all({key: value}),
    ]
    for call in calls:
        outcome(call)
        gc.collect()
        before = [sys.getrefcount(each) for each in (key, value, buffer, offsets, encoder)]
        for _ in range(50):
            outcome(call)
        assert [sys.getrefcount(each) for each in (key, value, buffer, offsets, encoder)] == before
    value.append(1)  # no view is left open


def test_a_client_and_a_server_understand_each_other() -> None:
    encoder = CacheEncoder("orders")
    pairs = [(b"key %d" % i, b"value %d" % i) for i in range(300)]
    server, client = Reader("server"), Reader()
    server.feed(encoder.put_many(pairs, 1, lifespan=60))
    server.feed(encoder.get_many([key for key, _ in pairs], 301))
    puts = [server.next() for _ in pairs]
    assert [(put.message_id, put.key, put.value) for put in puts] == [
        (i, *pair) for i, pair in enumerate(pairs, 1)
    ]
    client.expect_many(encoder.context("get"), 301, 300)
    for get in server:
        value = dict(pairs)[get.key]
        client.feed(encode_response("get", message_id=get.message_id, value=value))
    assert [answer.value for answer in client] == [value for _, value in pairs]
    assert client.pending_requests == 0


def test_they_are_where_the_operations_are() -> None:
    with pytest.raises(EncodeError, match=r"PUT_ALL: version: exists from version 2\.1 on"):
        CacheEncoder(version="2.0").put_all({})
    assert layout("put_all").since is Version.V2_1
