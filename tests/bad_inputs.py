"""Bad inputs, one by one: what was tried at which entry point of the codec.

    python tests/bad_inputs.py     writes the last part of docs/bad-inputs.md (make gen)

Here: the inputs. What comes of them stands in docs/bad-inputs.md alone; test_bad_inputs.py compares
the two, and asks of each that it ends in a typed error (or is told to be fine) in little memory.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hotrod_codec import (
    CacheEncoder,
    CounterConfiguration,
    Duration,
    HashWheel,
    HotRodError,
    Limits,
    MediaType,
    Metadata,
    Modification,
    Reader,
    RequestContext,
    ResponseEncoder,
    ServerAddress,
    Topology,
    Xid,
    decode_request,
    decode_response,
    decode_varint,
    encode_request,
    encode_response,
    encode_varint,
    marshallers,
    murmur3,
    owners_of,
    protostream,
    sasl,
    segment_of,
    segments_of,
    trace_request,
    trace_response,
)
from hotrod_codec.explain import Explainer
from hotrod_codec.pcap import read_packets
from hotrod_codec.protostream.query import QueryRequest, QueryResponse
from hotrod_codec.recording import read_recording

DOCUMENT = Path(__file__).parent.parent / "docs/bad-inputs.md"
# What an entry point may raise: the package's own, and Python's for a wrong call.
HEADINGS = ("| input |", "| --- |")
ERRORS = (HotRodError, TypeError, ValueError, RuntimeError, IndexError)
# In CPython's words, which differ from one version to another.
CPYTHONS = (BufferError, OverflowError, MemoryError)
FINE = "fine"
MORE = "wants more"


@dataclass(frozen=True, slots=True)
class Bad:
    """One input at one entry point."""

    area: str
    what: str
    entry: str
    call: Callable[[], object]

    def outcome(self) -> str:
        """What came of it, as the document has it."""
        try:
            result = self.call()
        except ERRORS as e:
            return f"{type(e).__name__}: {e}"
        except CPYTHONS as e:
            return type(e).__name__
        return MORE if result is None else FINE


Table = Sequence[tuple[str, bytes]]

# ---- frames -------------------------------------------------------------------------------------


def vint(number: int) -> bytes:
    return encode_varint(number)


MOST = vint(2**32 - 1)
HUGE = vint(2**31 - 1)


def request(code: int, body: bytes = b"", version: int = 40) -> bytes:
    """A request with a short header, its body as it is given."""
    types = b"\x00\x00" if version >= 28 else b""
    return bytes([0xA0, 1, version, code, 0, 0, 1, 0]) + types + b"\x00" * (version >= 40) + body


REQUESTS: Table = [
    ("magic of a response", b"\xa1" + request(3, b"\x01k")[1:]),
    ("magic 0x00", bytes(40)),
    ("HTTP", b"GET / HTTP/1.1\r\nHost: example\r\n\r\n"),
    ("TLS handshake", bytes.fromhex("1603010200010001fc0303") + bytes(60)),
    ("message id of 11 bytes", b"\xa0" + b"\x80" * 10 + b"\x01" + bytes(20)),
    ("message id of 65 bits", b"\xa0" + b"\xff" * 9 + b"\x02" + bytes(20)),
    ("version 5", bytes([0xA0, 1, 5, 3]) + bytes(20)),
    ("version 4.2", bytes([0xA0, 1, 42, 3]) + bytes(20)),
    ("version 25.5", bytes([0xA0, 1, 255, 3]) + bytes(20)),
    ("operation 0x00", request(0)),
    ("operation 0xff", request(255)),
    ("operation of a response", request(4)),
    ("operation of an event", request(0x60)),
    ("operation newer than the version (SIZE in 1.3)", request(0x29, b"\x00", 13)),
    (
        "operation older than the version (PUT_STREAM in 4.1)",
        request(0x39, b"\x01k\x77" + bytes(8) + b"\x01v\x00", 41),
    ),
    ("cache name of 2^32 - 1 bytes", bytes([0xA0, 1, 40, 3]) + MOST + bytes(40)),
    ("cache name of 2^31 - 1 bytes", bytes([0xA0, 1, 40, 3]) + HUGE + bytes(40)),
    ("cache name that is no UTF-8", bytes([0xA0, 1, 20, 0x17, 2, 0xFF, 0xFE, 0, 1, 0])),
    ("length of 6 bytes", request(3, b"\x80\x80\x80\x80\x80\x00k")),
    ("length of 33 bits", request(3, b"\xff\xff\xff\xff\x10k")),
    ("key of 2^32 - 1 bytes", request(3, MOST + b"k")),
    ("key of 2^31 - 1 bytes", request(3, HUGE + b"k")),
    ("key of 2^30 bytes, which are not there", request(3, vint(2**30) + b"k")),
    ("kind of media type 3", bytes([0xA0, 1, 40, 3, 0, 0, 1, 0, 3]) + bytes(20)),
    ("2^31 - 1 parameters of a media type", bytes([0xA0, 1, 40, 3, 0, 0, 1, 0, 1, 1]) + HUGE),
    ("2^32 - 1 parameters of a header", bytes([0xA0, 1, 40, 3, 0, 0, 1, 0, 0, 0]) + MOST),
    ("time unit 9", request(1, b"\x01k\x99\x01v")),
    ("2^32 - 1 entries of PUT_ALL", request(0x2D, b"\x77" + MOST + b"\x01k\x01v")),
    ("2^28 entries of PUT_ALL, which are not there", request(0x2D, b"\x77" + vint(2**28))),
    ("2^31 - 1 keys of GET_ALL", request(0x2F, HUGE + b"\x01k")),
    ("2^31 - 1 parameters of EXEC", request(0x2B, b"\x01t" + HUGE)),
    ("a task's name of 2^31 - 1 bytes", request(0x2B, HUGE + b"task")),
    ("a truth value of 2", request(0x25, b"\x01l\x02\x00\x00\x00\x00")),
    ("255 parameters of a filter, none there", request(0x25, b"\x01l\x00\x01f\xff\x00\x00\x00")),
    ("segments in 2^30 bytes, not there", request(0x31, vint(2**31) + bytes(9))),
    ("segments in -2^30 bytes", request(0x31, HUGE + b"\x00" * 9)),
    ("an XID's part of 0 bytes", request(0x3D, b"\x00\x00\x01b")),
    ("an XID's part of 65 bytes", request(0x3D, b"\x00\x41" + bytes(65) + b"\x01b")),
    ("2^31 - 1 modifications", request(0x3B, b"\x00\x01g\x01b\x00" + HUGE)),
    ("a modification's control of 0xff", request(0x3B, b"\x00\x01g\x01b\x00\x01\x01k\xff")),
    ("a counter's flags of 0xff", request(0x4B, b"\x01n\xff" + bytes(40))),
    ("chunks of a stream without an end", request(0x39, b"\x01k\x77" + bytes(8) + b"\x01v" * 999)),
    ("2^31 - 1 bytes of a stream's chunk", request(0x39, b"\x01k\x77" + bytes(8) + HUGE)),
]


def response(code: int, body: bytes = b"", status: int = 0, topology: bytes = b"\x00") -> bytes:
    return bytes([0xA1, 1, code, status]) + topology + body


def topology(body: bytes) -> bytes:
    """A topology of a GET's answer; the value behind it is there."""
    return response(4, b"\x01v", topology=b"\x01" + body)


SERVER = b"\x01a\x2b\xd6"

# What was asked, and what came.
RESPONSES: Sequence[tuple[str, str, bytes]] = [
    ("get", "magic of a request", b"\xa0" + response(4, b"\x01v")[1:]),
    ("get", "magic 0x00", bytes(40)),
    ("get", "HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ("get", "message id of 11 bytes", b"\xa1" + b"\x80" * 10 + b"\x01" + bytes(20)),
    ("get", "operation 0xff", response(255)),
    ("get", "answer to another operation", response(2)),
    ("get", "event that there is none of (0x65 is COUNTER_GET_NAMES)", response(0x65)),
    ("get", "status 0x42", response(4, b"\x01v", status=0x42)),
    ("get", "error's code with status 0", response(0x50, b"\x01e")),
    ("get", "error's status with a plain code", response(4, b"\x01e", status=0x85)),
    ("get", "error's words of 2^32 - 1 bytes", response(0x50, MOST, status=0x85)),
    ("get", "error's words that are no UTF-8", response(0x50, b"\x02\xff\xfe", status=0x85)),
    ("get", "value of 2^32 - 1 bytes", response(4, MOST + b"v")),
    ("get", "value of 2^31 - 1 bytes", response(4, HUGE + b"v")),
    ("get", "value of 2^30 bytes, which are not there", response(4, vint(2**30) + b"v")),
    ("get", "topology marker 2", response(4, b"\x01v", topology=b"\x02")),
    ("get", "topology of 2^32 - 1 servers", topology(b"\x05" + MOST + SERVER)),
    ("get", "topology of 2^20 servers, which are not there", topology(b"\x05" + vint(2**20))),
    ("get", "host name of 2^31 - 1 bytes", topology(b"\x05\x01" + HUGE + b"a")),
    ("get", "topology of 2^32 - 1 segments", topology(b"\x05\x01" + SERVER + b"\x03" + MOST)),
    ("get", "2^20 segments, not there", topology(b"\x05\x01" + SERVER + b"\x03" + vint(2**20))),
    ("get", "segments without hash", topology(b"\x05\x01" + SERVER + b"\x00" + MOST)),
    ("get", "owner 5 of 1", topology(b"\x05\x01" + SERVER + b"\x03\x01\x01\x05")),
    ("get", "owner 2^32 - 1", topology(b"\x05\x01" + SERVER + b"\x03\x01\x01" + MOST)),
    ("get", "255 owners, none there", topology(b"\x05\x01" + SERVER + b"\x03\x01\xff")),
    ("get", "owners, but no servers", topology(b"\x05\x00\x03\x01\x01\x00")),
    (
        "get_with_metadata",
        "metadata's flags of 0xff",
        response(0x1C, b"\xff" + bytes(8) + b"\x01v"),
    ),
    ("get_with_metadata", "metadata cut short", response(0x1C, b"\x00" + bytes(4))),
    ("stats", "2^32 - 1 statistics", response(0x16, MOST + b"\x01n\x01v")),
    ("ping", "2^32 - 1 operations", response(0x18, b"\x00\x00\x28" + MOST)),
    ("auth_mech_list", "2^32 - 1 mechanisms", response(0x22, MOST + b"\x05PLAIN")),
    ("bulk_get", "a mark of 2 between entries", response(0x1A, b"\x01\x01k\x01v\x02")),
    ("bulk_get", "a list without an end", response(0x1A, b"\x01\x01k\x01v" * 2000)),
    ("bulk_get", "a key of 2^32 - 1 bytes in a list", response(0x1A, b"\x01" + MOST + b"k\x01v")),
    ("get_all", "2^32 - 1 entries", response(0x30, MOST + b"\x01k\x01v")),
    ("get_all", "2^28 entries, which are not there", response(0x30, vint(2**28) + b"\x01k\x01v")),
    ("bulk_get_keys", "keys without an end", response(0x1E, b"\x01\x01k" * 3000)),
    ("iteration_next", "2^32 - 1 entries", response(0x34, b"\x00" + MOST + b"\x01\x00\x01k")),
    (
        "iteration_next",
        "2^31 - 1 values of each",
        response(0x34, b"\x00\x01" + HUGE + b"\x00\x01k"),
    ),
    ("iteration_next", "values of none", response(0x34, b"\x00\x05\x00" + b"\x00\x01k" * 5)),
    ("iteration_next", "mark of metadata 2", response(0x34, b"\x00\x01\x01\x02\x01k\x01v")),
    ("iteration_next", "segments in 2^31 - 1 bytes", response(0x34, HUGE + bytes(9))),
    ("get_multimap", "2^32 - 1 values", response(0x68, MOST + b"\x01v")),
    ("counter_get_configuration", "flags of 0xff", response(0x4E, b"\xff" + bytes(40))),
    ("counter_get_names", "2^32 - 1 names", response(0x65, MOST + b"\x01n")),
    ("fetch_tx_recovery", "2^31 - 1 transactions", response(0x7C, HUGE)),
    ("fetch_tx_recovery", "an XID's part of 0 bytes", response(0x7C, b"\x01\x00\x00\x01b")),
    ("get", "an event's mark of 3", response(0x60, b"\x01l\x03\x00\x01k" + bytes(8))),
    ("get", "an event's listener of 2^31 - 1 bytes", response(0x60, HUGE)),
    ("get", "a counter's state of 3", response(0x66, b"\x01n\x01l\x03" + bytes(16))),
]


def read_as_server(data: bytes) -> object:
    reader = Reader("server", limits=Limits(items=500))
    reader.feed(data)
    return next(iter(reader), None)


def read_as_client(op: str, data: bytes, into: Any = "pairs") -> object:
    reader = Reader(limits=Limits(items=1000))
    reader.expect(RequestContext(op, "4.1", 0, 3), 1, into=into)
    reader.feed(data)
    return list(reader) or None


def frames() -> Iterator[Bad]:
    for what, data in REQUESTS:
        area = "Requests"
        yield Bad(area, what, "decode_request", partial(decode_request, data))
        yield Bad(area, what, "decode_request, bytearray", partial(decode_request, bytearray(data)))
        yield Bad(area, what, "Reader", partial(read_as_server, data))
        yield Bad(area, what, "trace_request", partial(traced, trace_request, data))
    for op, what, data in RESPONSES:
        area, what = "Responses", f"`{op}`: {what}"
        context = RequestContext(op, "4.1", 0, 3)
        yield Bad(area, what, "decode_response", partial(decode_response, data, context))
        yield Bad(area, what, "Reader", partial(read_as_client, op, data))
        yield Bad(area, what, "trace_response", partial(traced, trace_response, data, context))
        if op in ("bulk_get", "get_all", "bulk_get_keys", "iteration_next", "get_multimap"):
            batch = partial(decode_response, data, context, into="batch")
            yield Bad(area, what, 'into="batch"', batch)
            streamed = partial(read_as_client, op, data, "batches")
            yield Bad(area, what, 'into="batches"', streamed)
    yield from in_the_light_of_a_request()


def traced(trace: Callable[..., Any], data: bytes, *context: RequestContext) -> object:
    _, message, error, _ = trace(data, *context)
    if error is not None:
        raise error
    return message


def in_the_light_of_a_request() -> Iterator[Bad]:
    asked: Any = decode_request(encode_request("get", message_id=7, key=b"k"))
    good = encode_response("get", message_id=8, value=b"v")
    basic = RequestContext("get", "4.1", 0, 1)
    with_topology = topology(b"\x05\x01" + SERVER + b"\x03\x01\x01\x00")
    small = Limits(bytes=10, text=10, items=2, params=1, servers=1, segments=1)
    area = "Responses"
    calls: list[tuple[str, str, Callable[[], object]]] = [
        ("answer to another message", "decode_response", lambda: decode_response(good, asked)),
        ("answer to another message", "Reader", lambda: read_as_client("get", good)),
        ("topology for a client that takes none", "decode_response",
         lambda: decode_response(with_topology, basic)),
        ("topology of more servers than the limit", "decode_response",
         lambda: decode_response(topology(b"\x05\x02" + SERVER * 2), basic_of(2), limits=small)),
        ("topology of more segments than the limit", "decode_response",
         lambda: decode_response(
             topology(b"\x05\x01" + SERVER + b"\x03\x02\x01\x00" * 2), basic_of(3), limits=small)),
        ("value longer than the limit", "decode_response",
         lambda: decode_response(response(4, b"\x0b" + bytes(11)), basic, limits=small)),
        ("list longer than the limit", "decode_response",
         lambda: decode_response(
             response(0x30, b"\x03" + b"\x01k\x01v" * 3), RequestContext("get_all"), limits=small)),
    ]  # fmt: skip
    for what, entry, call in calls:
        yield Bad(area, what, entry, call)


def basic_of(intelligence: int) -> RequestContext:
    return RequestContext("get", "4.1", 0, intelligence)


# ---- calls --------------------------------------------------------------------------------------


def reader_calls() -> Iterator[Bad]:
    area, get = "Calls of a Reader and of decoders", RequestContext("get")
    frame = encode_response("get", message_id=1, value=b"v")

    def expecting(**keywords: Any) -> Reader:
        reader = Reader(**keywords)
        reader.expect(get, 1)
        return reader

    any_: Any = None
    calls: list[tuple[str, str, Callable[[], object]]] = [
        ("an id that waits already", "expect", lambda: expecting().expect(get, 1)),
        ("no id", "expect", lambda: Reader().expect(get)),
        ("id -1", "expect", lambda: Reader().expect(get, -1)),
        ("id 2^64", "expect", lambda: Reader().expect(get, 2**64)),
        ("a name for a request", "expect", lambda: Reader().expect("get", 1)),  # type: ignore[arg-type]
        ("ids beyond 2^64", "expect_many", lambda: Reader().expect_many(get, 2**64 - 1, 2)),
        ("2^31 ids", "expect_many", lambda: Reader().expect_many(get, 1, 2**31)),
        ("a tuple for a list", "next_values", lambda: Reader().next_values((1,), 1, 1)),  # type: ignore[arg-type]
        ("a list too short", "next_values", lambda: Reader().next_values([1], 1, 2)),
        ("a list for a dict", "resolve", lambda: Reader().resolve([])),  # type: ignore[arg-type]
        ("an unknown form", "expect", lambda: Reader().expect(get, 1, into="tuple")),  # type: ignore[arg-type]
        ("a form of lists for a value", "expect", lambda: Reader().expect(get, 1, into="batch")),
        ("a server that expects", "expect", lambda: Reader("server").expect(get, 1)),
        ("an unknown role", "Reader", lambda: Reader("proxy")),  # type: ignore[arg-type]
        ("numbers for limits", "Reader", lambda: Reader(limits=5)),  # type: ignore[arg-type]
        ("text", "feed", lambda: Reader().feed("text")),  # type: ignore[arg-type]
        ("None", "feed", lambda: Reader().feed(any_)),
        ("every other byte of a view", "feed", lambda: Reader().feed(memoryview(frame)[::2])),
        ("more than there is room for", "commit", lambda: Reader().commit(1)),
        ("-1 bytes", "commit", lambda: Reader().commit(-1)),
        ("2^70 bytes", "commit", lambda: Reader().commit(2**70)),
        ("2^62 bytes", "buffer", lambda: Reader().buffer(2**62) and None),
        ("text", "decode_request", lambda: decode_request("text")),  # type: ignore[arg-type]
        ("offset -1", "decode_request", lambda: decode_request(b"abc", -1)),
        ("offset beyond the end", "decode_request", lambda: decode_request(b"abc", 4)),
        ("offset 2^70", "decode_request", lambda: decode_request(b"abc", 2**70)),
        ("no request", "decode_response", lambda: decode_response(frame, None)),  # type: ignore[arg-type]
        ("an unknown form", "decode_response", lambda: decode_response(frame, get, into="x")),  # type: ignore[arg-type]
        ("an unknown operation", "RequestContext", lambda: RequestContext("got")),
        ("an unknown version", "RequestContext", lambda: RequestContext("get", "4.2")),
        ("intelligence 256", "RequestContext", lambda: RequestContext("get", "4.1", 0, 256)),
        ("limits below 0", "Limits", lambda: Limits(bytes=-1)),
        ("limits that are no numbers", "Limits", lambda: Limits(items="5")),  # type: ignore[arg-type]
    ]  # fmt: skip
    for what, entry, call in calls:
        yield Bad(area, what, entry, call)


XID = Xid(1, b"g", b"b")
SERVERS = (ServerAddress("a", 1),)
# Operation, what is wrong, fields.
FIELDS: Sequence[tuple[str, str, dict[str, Any]]] = [
    ("got", "an unknown operation", {}),
    ("get", "no key", {}),
    ("get", "a field that it has not", {"key": b"k", "value": b"v"}),
    ("get", "text for a key", {"key": "k"}),
    ("get", "None for a key", {"key": None}),
    ("get", "a number for a key", {"key": 5}),
    ("get", "every other byte of a view", {"key": memoryview(b"abcd")[::2]}),
    ("get", "message id -1", {"key": b"k", "message_id": -1}),
    ("get", "message id 2^64", {"key": b"k", "message_id": 2**64}),
    ("get", "message id 1.5", {"key": b"k", "message_id": 1.5}),
    ("get", "version 4.2", {"key": b"k", "version": "4.2"}),
    ("get", "version 4.1 as a float", {"key": b"k", "version": 4.1}),
    ("size", "version 1.3, which has it not", {"version": "1.3"}),
    ("get", "a cache's name that is no text", {"key": b"k", "cache": b"c"}),
    ("get", "a cache's name with a lone surrogate", {"key": b"k", "cache": "\ud800"}),
    ("get", "flags -1", {"key": b"k", "flags": -1}),
    ("get", "flags 2^32", {"key": b"k", "flags": 2**32}),
    ("get", "intelligence 256", {"key": b"k", "intelligence": 256}),
    ("get", "topology id 2^32", {"key": b"k", "topology_id": 2**32}),
    ("get", "a media type without a slash", {"key": b"k", "key_media_type": "json"}),
    ("get", "a media type in 2.7", {"key": b"k", "version": "2.7", "key_media_type": "text/plain"}),
    ("get", "other parameters in 3.1", {"key": b"k", "version": "3.1", "other_params": {"a": b""}}),
    ("put", "lifespan NaN", {"key": b"k", "value": b"v", "lifespan": math.nan}),
    ("put", "lifespan -inf", {"key": b"k", "value": b"v", "lifespan": -math.inf}),
    ("put", "lifespan -1", {"key": b"k", "value": b"v", "lifespan": -1}),
    ("put", "lifespan 0", {"key": b"k", "value": b"v", "lifespan": 0}),
    ("put", "lifespan 2^70", {"key": b"k", "value": b"v", "lifespan": 2**70}),
    ("put", "lifespan 1e300", {"key": b"k", "value": b"v", "lifespan": 1e300}),
    ("put", "lifespan of a billionth", {"key": b"k", "value": b"v", "lifespan": 1e-12}),
    ("put", "a negative timedelta", {"key": b"k", "value": b"v", "max_idle": timedelta(-1)}),
    ("put", "46 days in 2.9", {"key": b"k", "value": b"v", "lifespan": 4e6, "version": "2.9"}),
    ("put", "half a second in 2.1",
     {"key": b"k", "value": b"v", "lifespan": 0.5, "version": "2.1"}),
    ("put", "a Duration of 2^40 s in 1.3",
     {"key": b"k", "value": b"v", "lifespan": Duration(2**40), "version": "1.3"}),
    ("replace_if_unmodified", "entry version 2^63",
     {"key": b"k", "value": b"v", "entry_version": 2**63}),
    ("put_all", "a number for entries", {"entries": 5}),
    ("put_all", "bytes for entries", {"entries": b"kv"}),
    ("put_all", "a triple among entries", {"entries": [(b"k", b"v", b"x")]}),
    ("put_all", "text as a pair", {"entries": ["kv"]}),
    ("get_all", "text among keys", {"keys": [b"k", "k"]}),
    ("get_all", "offsets beyond the buffer", {"keys": (b"abc", np.array([0, 4]))}),
    ("get_all", "offsets that fall", {"keys": (b"abc", np.array([2, 1]))}),
    ("get_all", "offsets below 0", {"keys": (b"abc", np.array([-1, 1]))}),
    ("get_all", "offsets of 16 bits", {"keys": (b"abc", np.array([0, 1], np.int16))}),
    ("get_all", "no offsets", {"keys": (b"abc", np.array([], np.int32))}),
    ("exec", "256 bytes under a number", {"task": "t", "params": {5: b""}}),
    ("iteration_start", "segment -1", {"batch_size": 5, "segments": [-1]}),
    ("iteration_start", "segment 2^24", {"batch_size": 5, "segments": [2**24]}),
    ("iteration_start", "segments: 5", {"batch_size": 5, "segments": 5}),
    ("iteration_start", "parameters of a filter in 2.3",
     {"batch_size": 5, "filter_factory": "f", "filter_params": [b"x"], "version": "2.3"}),
    ("iteration_start", "parameters of no filter", {"batch_size": 5, "filter_params": [b"x"]}),
    ("add_client_listener", "256 parameters of a filter",
     {"listener_id": b"l", "filter_factory": "f", "filter_params": [b""] * 256}),
    ("put_stream", "an empty chunk",
     {"key": b"k", "entry_version": 0, "chunks": [b""], "version": "4.0"}),
    ("commit_tx", "a part of 65 bytes", {"xid": Xid(1, bytes(65), b"b")}),
    ("commit_tx", "an empty part", {"xid": Xid(1, b"", b"b")}),
    ("commit_tx", "a pair for an XID", {"xid": (1, b"g")}),
    ("prepare_tx", "a modification that is none",
     {"xid": XID, "one_phase": True, "modifications": [(b"k", b"v")]}),
    ("prepare_tx", "a modification of two controls",
     {"xid": XID, "one_phase": True, "modifications": [Modification(b"k", 3)]}),
    ("prepare_tx", "the version of what was not read",
     {"xid": XID, "one_phase": True, "modifications": [Modification(b"k", 1, 5, b"v")]}),
    ("prepare_tx", "the value of what is removed",
     {"xid": XID, "one_phase": True, "modifications": [Modification(b"k", 5, None, b"v")]}),
    ("prepare_tx", "one phase: text", {"xid": XID, "one_phase": "yes", "modifications": []}),
    ("counter_create", "a configuration that is none", {"name": "n", "config": 5}),
    ("counter_create", "a bound of 2^63",
     {"name": "n", "config": CounterConfiguration(0, 0, 2**63)}),
    ("counter_add_and_get", "2^63", {"name": "n", "delta": 2**63}),
    ("cache_entry_created", "an event", {"listener_id": b"l"}),
]  # fmt: skip
ANSWERS: Sequence[tuple[str, str, dict[str, Any]]] = [
    ("get", "status 0x42", {"status": 0x42, "value": b"v"}),
    ("get", "status text", {"status": "ok", "value": b"v"}),
    ("get", "an error without words", {"status": 0x85}),
    ("get", "a value beside an error", {"status": 0x85, "error": "e", "value": b"v"}),
    ("get", "no value", {}),
    ("put", "a previous value without metadata", {"status": 3, "previous": b"p"}),
    ("get", "a topology that is none", {"value": b"v", "topology": 5}),
    ("get", "a port of 65536",
     {"value": b"v", "topology": Topology(1, (ServerAddress("a", 65536),))}),
    ("get", "an owner of no server",
     {"value": b"v", "topology": Topology(1, SERVERS, hash_version=3, segment_owners=((1,),))}),
    ("get", "256 owners", {"value": b"v", "topology": Topology(
        1, SERVERS, hash_version=3, segment_owners=((0,) * 256,))}),
    ("get", "2^40 segments", {"value": b"v", "topology": Topology(
        1, SERVERS, hash_version=0, segment_owners=(), num_segments=2**40)}),
    ("get", "a wheel in 4.1", {"value": b"v", "topology": Topology(
        1, SERVERS, hash_version=2, hash_ids=(1,), key_owners=1, hash_space=1)}),
    ("get", "virtual nodes in 1.0", {"version": "1.0", "value": b"v", "topology": Topology(
        1, SERVERS, hash_version=2, hash_ids=(1,), key_owners=1, hash_space=1, virtual_nodes=1)}),
    ("get", "a wheel without its size", {"version": "1.0", "value": b"v", "topology": Topology(
        1, SERVERS, hash_version=2, hash_ids=(1,))}),
    ("get", "owners with hash version 0", {"value": b"v", "topology": Topology(
        1, SERVERS, hash_version=0, segment_owners=((0,),), num_segments=1)}),
    ("get", "owners of one of two segments", {"value": b"v", "topology": Topology(
        1, SERVERS, hash_version=3, segment_owners=((0,),), num_segments=2)}),
    ("get_with_metadata", "metadata that are none", {"value": b"v", "metadata": 5}),
    ("get_with_metadata", "a lifespan of 2^32",
     {"value": b"v", "metadata": Metadata(1, 0, 2**32, None, None)}),
    ("iteration_next", "values of two widths",
     {"finished_segments": [], "entries": [(b"k", (b"a",)), (b"k", (b"a", b"b"))]}),
    ("iteration_next", "no finished segments", {"finished_segments": None, "entries": []}),
    ("iteration_next", "no entries", {"finished_segments": []}),
    ("iteration_next", "an entry that is none", {"finished_segments": [], "entries": [5]}),
    ("iteration_next", "values of another width than announced",
     {"finished_segments": [], "entries": [(b"k", (b"v",))], "projections": 2}),
    ("iteration_next", "a width without entries",
     {"finished_segments": [], "entries": [], "projections": 1}),
    ("iteration_next", "two values in 2.3",
     {"finished_segments": [], "entries": [(b"k", (b"a", b"b"))], "version": "2.3"}),
    ("iteration_next", "metadata in 2.4",
     {"finished_segments": [], "entries": [(b"k", (b"v",), Metadata(1))], "version": "2.4"}),
    ("cache_entry_created", "a key beside custom data",
     {"listener_id": b"l", "custom_marker": 1, "event_data": b"d", "key": b"k"}),
    ("cache_entry_created", "mark 3", {"listener_id": b"l", "custom_marker": 3}),
    ("cache_entry_created", "no key", {"listener_id": b"l", "custom_marker": 0}),
    ("counter", "state 3",
     {"name": "n", "listener_id": b"l", "state": 3, "old_value": 0, "new_value": 1}),
]  # fmt: skip
HEADER = (
    "version",
    "cache",
    "flags",
    "intelligence",
    "topology_id",
    "key_media_type",
    "other_params",
)


def by_encoder(op: str, fields: dict[str, Any]) -> object:
    header = {name: fields[name] for name in HEADER if name in fields}
    rest = {name: value for name, value in fields.items() if name not in header}
    return CacheEncoder(**header).encode(op, rest.pop("message_id", 0), **rest)


def by_response_encoder(op: str, fields: dict[str, Any]) -> object:
    return ResponseEncoder().encode(op, 0, **fields)


def encoding() -> Iterator[Bad]:
    for op, what, fields in FIELDS:
        area, what = "Encoding requests", f"`{op}`: {what}"
        yield Bad(area, what, "encode_request", partial(encode_request, op, **fields))
        yield Bad(area, what, "CacheEncoder", partial(by_encoder, op, fields))
    for op, what, fields in ANSWERS:
        area, what = "Encoding responses", f"`{op}`: {what}"
        yield Bad(area, what, "encode_response", partial(encode_response, op, **fields))
        yield Bad(area, what, "ResponseEncoder", partial(by_response_encoder, op, fields))
    encoder = CacheEncoder()
    keys: list[tuple[str, Any]] = [
        ("a number", 5),
        ("text", "keys"),
        ("text among keys", [b"k", "k"]),
        ("offsets beyond the buffer", (b"abc", np.array([0, 2**40]))),
        ("offsets of floats", (b"abc", np.array([0.0, 1.0]))),
    ]
    area = "Encoding requests"
    for what, each in keys:
        yield Bad(area, f"many: {what}", "get_many", partial(encoder.get_many, each))
    columns: Callable[..., object] = encoder.put_columns
    yield Bad(
        area, "many: ids beyond 2^64", "get_many", partial(encoder.get_many, [b""] * 2, 2**64 - 1)
    )
    yield Bad(
        area, "many: more keys than values", "put_columns", partial(columns, [b"a", b"b"], [b""])
    )
    yield Bad(area, "many: a single among pairs", "put_many", partial(encoder.put_many, [b"ab"]))  # type: ignore[list-item]


def hashing() -> Iterator[Bad]:
    area = "Hashing"
    wheel = HashWheel([1, 2], hash_space=100)
    calls: list[tuple[str, str, Callable[[], object]]] = [
        ("text", "murmur3", lambda: murmur3("key")),  # type: ignore[arg-type]
        ("seed 2^31", "murmur3", lambda: murmur3(b"key", 2**31)),
        ("0 segments", "segment_of", lambda: segment_of(b"key", 0)),
        ("-1 segments", "segment_of", lambda: segment_of(b"key", -1)),
        ("2^31 segments", "segment_of", lambda: segment_of(b"key", 2**31)),
        ("1.5 segments", "segment_of", lambda: segment_of(b"key", 1.5)),  # type: ignore[arg-type]
        ("a number", "segments_of", lambda: segments_of(5, 9)),  # type: ignore[arg-type]
        ("text among keys", "segments_of", lambda: segments_of([b"k", "k"], 9)),  # type: ignore[list-item]
        ("offsets that fall", "segments_of", lambda: segments_of((b"abc", np.array([2, 1])), 9)),
        ("offsets below 0", "segments_of", lambda: segments_of((b"abc", np.array([-5, 1])), 9)),
        ("offsets beyond", "segments_of", lambda: segments_of((b"abc", np.array([0, 2**62])), 9)),
        ("offsets of floats", "segments_of", lambda: segments_of((b"abc", np.array([0.0])), 9)),
        ("no owners", "owners_of", lambda: owners_of([b"k"], [])),
        ("owners of text", "owners_of", lambda: owners_of([b"k"], ["a"])),  # type: ignore[arg-type]
        ("owners of 2^40", "owners_of", lambda: owners_of([b"k"], [2**40])),
        ("no places", "HashWheel", lambda: HashWheel([], hash_space=5)),
        ("a hash space of 0", "HashWheel", lambda: HashWheel([1], hash_space=0)),
        ("2^31 - 1 virtual nodes", "HashWheel",
         lambda: HashWheel([1], hash_space=5, virtual_nodes=2**31 - 1)),
        ("place -1", "HashWheel.owner_at", lambda: wheel.owner_at(-1)),
    ]  # fmt: skip
    for what, entry, call in calls:
        yield Bad(area, what, entry, call)


# ---- payloads and files -------------------------------------------------------------------------


def field(number: int, form: int, body: bytes) -> bytes:
    return vint(number << 3 | form) + body


def sized(data: bytes) -> bytes:
    return vint(len(data)) + data


def nested(depth: int) -> bytes:
    """A container in a container in a container."""
    found: list[Any] = [1]
    for _ in range(depth):
        found = [found]
    return protostream.encode(found)


def _deep(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


PAYLOADS: Table = [
    ("a tag alone", b"\x4a"),
    ("a tag of 11 bytes", b"\xff" * 11),
    ("field 0", b"\x02\x01a"),
    ("a group", b"\x4b\x4c"),
    ("text of 2^64 - 1 bytes", b"\x4a" + vint(2**64 - 1) + b"a"),
    ("text of 2^31 - 1 bytes", b"\x4a" + HUGE + b"a"),
    ("text that is no UTF-8", b"\x4a\x02\xff\xfe"),
    ("a number of 11 bytes", b"\x18" + b"\xff" * 10 + b"\x01"),
    ("two values", protostream.encode("a") + protostream.encode("b")),
    ("a message's type that is no UTF-8", field(16, 2, sized(b"\xff")) + field(17, 2, sized(b""))),
    ("a message without its type", field(17, 2, sized(b"abc"))),
    ("half a message", field(16, 2, sized(b"a.Type")) + field(17, 2, vint(9) + b"abc")),
    ("a container without items", protostream.encode([1, 2])[:-2]),
    ("a container of 2^31 - 1 items", protostream.encode([]).replace(b"\x00", HUGE)),
    ("zeros", bytes(50)),
    ("0xff", b"\xff" * 50),
]


def payloads() -> Iterator[Bad]:
    area = "ProtoStream and media types"
    for what, data in PAYLOADS:
        yield Bad(area, what, "protostream.decode", partial(protostream.decode, data))
        yield Bad(area, what, "QueryRequest.decode", partial(QueryRequest.decode, data))
        yield Bad(area, what, "QueryResponse.decode", partial(QueryResponse.decode, data))
    values: list[tuple[str, Any]] = [
        ("an object", object()),
        ("text with a lone surrogate", "\ud800"),
        ("2^70", 2**70),
        ("a list in a list, 5000 deep", _deep(5000)),
        ("a list that holds itself", _itself()),
    ]
    for what, value in values:
        yield Bad(area, what, "protostream.encode", partial(protostream.encode, value))
    deep = partial(protostream.decode, nested(60), max_depth=50)
    yield Bad(area, "containers deeper than the limit", "protostream.decode", deep)
    decoders: list[tuple[str, Any, bytes]] = [
        ("TextMarshaller", marshallers.TextMarshaller(), b"\xff\xfe"),
        ("JsonMarshaller", marshallers.JsonMarshaller(), b"{"),
        ("JsonMarshaller", marshallers.JsonMarshaller(), b"\xff"),
        ("JsonMarshaller", marshallers.JsonMarshaller(), b"[" * 100_000),
        ("JsonMarshaller", marshallers.JsonMarshaller(), b"1" * 5000),
    ]
    for entry, marshaller, data in decoders:
        what = f"{data[:4]!r}" + (f" and so on, {len(data)} bytes" if len(data) > 4 else "")
        yield Bad(area, what, f"{entry}.decode", partial(marshaller.decode, data))
    numbers: list[tuple[str, Any]] = [("-1", -1), ("2^64", 2**64), ("1.5", 1.5)]
    for what, value in numbers:
        yield Bad(area, what, "encode_varint", partial(encode_varint, value))
    for what, data in [("11 bytes", b"\xff" * 11), ("half a number", b"\xff"), ("nothing", b"")]:
        yield Bad(area, what, "decode_varint", partial(decode_varint, data))
    yield Bad(area, "offset beyond the end", "decode_varint", partial(decode_varint, b"\x01", 2))
    yield Bad(area, "no slash", "MediaType.parse", partial(MediaType.parse, "json"))
    yield Bad(
        area, "a parameter without value", "MediaType.parse", partial(MediaType.parse, "a/b; c")
    )


def _itself() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


PCAP = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 ffff0000 01000000")
PCAPNG = bytes.fromhex("0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1c000000")
FILES: Table = [
    ("nothing", b""),
    ("another magic", b"PK\x03\x04" + bytes(40)),
    ("half a head", PCAP[:10]),
    ("a packet of 2^32 - 1 bytes", PCAP + bytes(8) + b"\xff" * 8 + bytes(9)),
    ("a packet that is cut short", PCAP + bytes(8) + b"\x40\x00\x00\x00" * 2 + bytes(9)),
    ("a link type that is not known", PCAP[:20] + b"\xfe\x00\x00\x00" + bytes(16)),
    ("a block of 0 bytes", PCAPNG + b"\x06\x00\x00\x00" + bytes(12)),
    ("a block of 2^32 - 1 bytes", PCAPNG + b"\x06\x00\x00\x00" + b"\xff" * 4 + bytes(12)),
    ("a block whose lengths differ", PCAPNG[:-4] + b"\x20\x00\x00\x00"),
    ("another byte order's magic", PCAPNG[:8] + b"\x00" * 4 + PCAPNG[12:]),
]


def packets_of(data: bytes) -> object:
    return list(read_packets(io.BytesIO(data)))


def explained(data: bytes) -> object:
    return list(Explainer().frames(data))


def files() -> Iterator[Bad]:
    area = "Recordings and captures"
    for what, data in FILES:
        yield Bad(area, what, "read_packets", partial(packets_of, data))
    records: Table = [
        ("nothing", b""),
        ("another magic", b"HRS2"),
        ("half a record", b"HRS1" + bytes(5)),
        ("direction 2", b"HRS1\x02" + bytes(12)),
        ("a record of 2^32 - 1 bytes", b"HRS1\x00" + bytes(8) + b"\xff" * 4 + b"abc"),
    ]
    for what, data in records:
        yield Bad(area, what, "read_recording", partial(read_recording, data))
    for what, data in [("zeros", bytes(200)), ("0xff", b"\xff" * 200), *REQUESTS[:3]]:
        yield Bad(area, what, "Explainer", partial(explained, data))


def challenge(text: str, mechanism: str = "SCRAM-SHA-256") -> object:
    """A client's answer to a server's challenge."""
    exchange = sasl.client_exchange(mechanism, username="user", password="pencil", nonce="n" * 20)
    exchange.start()
    return exchange.step(text.encode("latin-1"), False)


def answer(data: bytes, mechanism: str) -> object:
    """What a server makes of a client's first message."""
    exchange = sasl.server_exchange(
        mechanism,
        credentials={"user": "pencil"},
        nonce="s" * 20,
        salt=b"0123456789ab",
    )
    return exchange.step(data)


SALT = base64.b64encode(b"0123456789ab").decode()
NONCE = "n" * 20 + "server"


def authentication() -> Iterator[Bad]:
    area = "SASL"
    challenges: list[tuple[str, str]] = [
        ("nothing", ""),
        ("bytes that are no UTF-8", "\xff\xfe"),
        ("another nonce", f"r=other,s={SALT},i=4096"),
        ("no salt", f"r={NONCE},i=4096"),
        ("salt that is no base64", f"r={NONCE},s=***,i=4096"),
        ("1 iteration", f"r={NONCE},s={SALT},i=1"),
        ("2^31 - 1 iterations", f"r={NONCE},s={SALT},i=2147483647"),
        ("10^40 iterations", f"r={NONCE},s={SALT},i=1{'0' * 40}"),
        ("-1 iterations", f"r={NONCE},s={SALT},i=-1"),
    ]
    for what, text in challenges:
        yield Bad(area, f"SCRAM: {what}", "client_exchange", partial(challenge, text))
    for what, text in [("nothing", ""), ("no nonce", 'realm="r"'), ("an open quote", 'nonce="abc')]:
        call = partial(challenge, text, "DIGEST-MD5")
        yield Bad(area, f"DIGEST-MD5: {what}", "client_exchange", call)
    for mechanism, what, data in [
        ("PLAIN", "nothing", b""),
        ("PLAIN", "no zeros", b"user"),
        ("PLAIN", "a wrong password", b"\0user\0pen"),
        ("PLAIN", "no UTF-8", b"\0\xff\0\xfe"),
        ("SCRAM-SHA-256", "garbage", b"\xff" * 40),
        ("SCRAM-SHA-256", "no name", b"n,,r=abc"),
        ("SCRAM-SHA-256", "another user", b"n,,n=nobody,r=abcdefghijklmnop"),
    ]:
        call_ = partial(answer, data, mechanism)
        yield Bad(area, f"{mechanism}: {what}", "server_exchange", call_)


def inputs() -> list[Bad]:
    """All of them, in the order of the document."""
    parts = (frames, reader_calls, encoding, hashing, payloads, files, authentication)
    found = [each for part in parts for each in part()]
    return sorted(found, key=lambda each: [b.area for b in found].index(each.area))


# ---- the document -------------------------------------------------------------------------------

MARK = """## The codec

Written by `make gen` from `tests/bad_inputs.py`; `tests/test_bad_inputs.py` tries each again.
*fine*: it is no mistake, or none that can be seen there. *wants more*: the frame goes on behind
what is there; a length alone takes no memory. Besides: each byte of each kind of frame changed and
cut off (`tests/leaks.py`), readers dropped at any byte (`tests/test_ends.py`), fuzzing (`make
fuzz`, `make fuzz-python`).
"""


def cell(text: str) -> str:
    for old, new in (("\n", " "), ("|", "\\|"), ("<", "&lt;"), ("*", "\\*")):
        text = text.replace(old, new)
    return text if len(text) <= 200 else text[:190] + " ..."


def shown(outcome: str) -> str:
    """An outcome as the document has it."""
    return cell(outcome) if ":" in outcome or outcome.endswith("Error") else f"*{outcome}*"


def document(found: Sequence[Bad]) -> str:
    """docs/bad-inputs.md, its last part anew. Entry points with the same outcome share a row."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for each in found:
        row = (each.area, cell(each.what), shown(each.outcome()))
        rows.setdefault(row, []).append(f"`{each.entry}`")
    before = DOCUMENT.read_text(encoding="utf-8").partition(MARK.splitlines()[0])[0]
    lines = [before + MARK.rstrip()]
    for area in dict.fromkeys(area for area, _, _ in rows):
        lines.append(f"\n### {area}\n\n| input | where | outcome |\n| --- | --- | --- |")
        for (of, what, outcome), entries in rows.items():
            if of == area:
                lines.append(f"| {what} | {', '.join(entries)} | {outcome} |")
    return "\n".join(lines) + "\n"


def written() -> dict[tuple[str, str, str], str]:
    """The outcomes in the document, by area, input and entry point."""
    found = {}
    area = ""
    part = DOCUMENT.read_text(encoding="utf-8").partition(MARK.splitlines()[0])[2]
    for line in part.splitlines():
        if line.startswith("### "):
            area = line.removeprefix("### ")
        elif line.startswith("| ") and not line.startswith(HEADINGS):
            what, entries, outcome = line.removeprefix("| ").removesuffix(" |").split(" | ", 2)
            for entry in entries.strip("`").split("`, `"):
                found[area, what, entry] = outcome
    return found


if __name__ == "__main__":
    DOCUMENT.write_text(document(inputs()), encoding="utf-8")
