"""Encoding and decoding as a caller meets them: arguments, defaults, results, errors.

What every row shares is in test_properties.py, recorded bytes in test_vectors.py.
"""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

import hotrod_codec
from hotrod_codec import (
    DecodeError,
    Duration,
    EncodeError,
    Event,
    Flag,
    LimitError,
    Limits,
    MediaType,
    Metadata,
    Op,
    RequestContext,
    ServerAddress,
    ServerError,
    Status,
    TimeUnit,
    Topology,
    Version,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)

PUT_40 = bytes.fromhex(
    "a0 ac02 28 01"  # magic, message id 300, version 4.0, PUT
    "01 63 00 01 00"  # cache "c", flags, basic intelligence, topology 0
    "00 00 00"  # key and value media types not given, no other parameters
    "01 6b 77 01 76"  # key "k", default lifespan and max idle, value "v"
)
GET = RequestContext("get", "4.1")


def put(**keywords: Any) -> bytes:
    arguments = {"version": "2.8", "key": b"k", "value": b"v"}
    return encode_request("put", **(arguments | keywords))


class TestRequests:
    def test_the_sample_of_the_docs(self) -> None:
        frame = encode_request(
            "put", version="4.0", message_id=300, cache="c", key=b"k", value=b"v"
        )
        assert frame == PUT_40

    @pytest.mark.parametrize("op", ["put", "PUT", "Put", Op.PUT, 1])
    @pytest.mark.parametrize("version", ["4.0", Version.V4_0, 40])
    def test_operation_and_version_in_any_form(self, op: Any, version: Any) -> None:
        arguments: Any = {"message_id": 300, "cache": "c", "key": b"k", "value": b"v"}
        assert encode_request(op, version=version, **arguments) == PUT_40

    @pytest.mark.parametrize("make", [bytearray, memoryview, lambda b: np.frombuffer(b, "u1")])
    def test_any_contiguous_buffer_is_bytes(self, make: Any) -> None:
        assert put(key=make(b"key"), value=make(b"value")) == put(key=b"key", value=b"value")
        request = decode_request(make(put()))
        assert request is not None
        assert request.key == b"k"

    def test_pairs_may_be_a_mapping_or_any_iterable(self) -> None:
        entries = {b"a": b"1", b"b": b"2"}
        frame = encode_request("put_all", entries=entries)
        assert frame == encode_request("put_all", entries=list(entries.items()))
        assert frame == encode_request("put_all", entries=([k, v] for k, v in entries.items()))

    def test_a_generator_that_changes_its_source_changes_nothing(self) -> None:
        keys = [b"a" * 10, b"b" * 10]

        def generate() -> Any:
            for key in list(keys):
                keys.clear()
                yield bytearray(key)

        frame = encode_request("get_all", keys=generate())
        request = decode_request(frame)
        assert request is not None
        assert request["keys"] == [b"a" * 10, b"b" * 10]

    def test_topology_ids_are_patterns_of_32_bits(self) -> None:
        assert put(topology_id=-1) == put(topology_id=2**32 - 1)
        request = decode_request(put(topology_id=-921516751))
        assert request is not None
        assert request.topology_id == -921516751

    def test_media_types_as_text_and_as_values(self) -> None:
        frame = put(key_media_type="text/plain; charset=utf-8", value_media_type="application/json")
        request = decode_request(frame)
        assert request is not None
        key_type = request.key_media_type
        assert key_type == MediaType("text/plain", (("charset", "utf-8"),))
        assert key_type is not None
        assert (key_type.id, str(key_type)) == (13, "text/plain; charset=utf-8")
        assert request.value_media_type == MediaType("application/json")

    def test_a_known_media_type_may_go_by_name(self) -> None:
        media_type = MediaType("application/json", custom=True)
        request = decode_request(put(key_media_type=media_type))
        assert request is not None
        assert request.key_media_type == media_type
        assert b"application/json" in request.encode()

    def test_text_that_is_no_utf_8_survives(self) -> None:
        frame = put(cache="c").replace(b"\x01c", b"\x01\xff")
        request = decode_request(frame)
        assert request is not None
        assert request.encode() == frame
        assert put(cache=request.cache) == frame

    def test_an_event_is_no_request(self) -> None:
        with pytest.raises(EncodeError, match="sent by a server"):
            encode_request("cache_entry_created", listener_id=b"l")


class TestExpiration:
    @pytest.mark.parametrize(
        ("given", "amount", "unit"),
        [
            (60, 60, TimeUnit.SECONDS),
            (60.0, 60, TimeUnit.SECONDS),
            (0.5, 500, TimeUnit.MILLISECONDS),
            (0.1, 100, TimeUnit.MILLISECONDS),
            (1.000001, 1000001, TimeUnit.MICROSECONDS),
            (5e-9, 5, TimeUnit.NANOSECONDS),
            (timedelta(days=1), 86400, TimeUnit.SECONDS),
            (timedelta(microseconds=7), 7, TimeUnit.MICROSECONDS),
            (Duration(3, TimeUnit.DAYS), 3, TimeUnit.DAYS),
            (Duration(0), 0, TimeUnit.SECONDS),
        ],
    )
    def test_units_from_2_2(self, given: Any, amount: int, unit: TimeUnit) -> None:
        request = decode_request(put(lifespan=given))
        assert request is not None
        assert request.lifespan == Duration(amount, unit)
        assert request.max_idle is None

    def test_default_and_immortal_carry_no_number(self) -> None:
        assert put(lifespan=None, max_idle=math.inf)[-4:] == b"k\x78\x01v"

    def test_seconds_before_2_2_are_rounded_up(self) -> None:
        request = decode_request(
            put(version="2.1", lifespan=0.2, max_idle=Duration(2, TimeUnit.DAYS))
        )
        assert request is not None
        assert (request.lifespan, request.max_idle) == (Duration(1), Duration(172800))

    @pytest.mark.parametrize("version", ["1.2", "1.3", "2.0", "2.1"])
    def test_the_default_is_a_flag_from_1_2_to_2_1(self, version: str) -> None:
        request = decode_request(put(version=version, max_idle=math.inf))
        assert request is not None
        assert request.flags == Flag.DEFAULT_LIFESPAN
        assert (request.lifespan, request.max_idle) == (None, math.inf)

    @pytest.mark.parametrize("version", ["1.0", "1.1"])
    def test_before_1_2_there_is_no_such_flag(self, version: str) -> None:
        request = decode_request(put(version=version))
        assert request is not None
        assert (request.flags, request.lifespan) == (0, math.inf)

    @pytest.mark.parametrize("version", ["1.3", "2.9"])
    def test_more_than_30_days_would_be_a_date_until_2_9(self, version: str) -> None:
        put(version=version, lifespan=timedelta(days=30))
        with pytest.raises(EncodeError, match=r"lifespan: .* 30 days"):
            put(version=version, lifespan=timedelta(days=31))
        put(version=version, lifespan=Duration(1_800_000_000))
        put(version="3.0", lifespan=timedelta(days=31))

    @pytest.mark.parametrize("given", [0, -1, 0.0, math.nan, -math.inf, timedelta(0)])
    def test_what_is_no_duration(self, given: Any) -> None:
        with pytest.raises(EncodeError, match="PUT: max_idle: "):
            put(max_idle=given)

    def test_too_many_seconds_for_old_versions(self) -> None:
        with pytest.raises(EncodeError, match=r"cannot be said before version 2\.2"):
            put(version="2.1", lifespan=Duration(2**31))

    def test_a_wrong_type(self) -> None:
        with pytest.raises(TypeError, match="lifespan: expected None, seconds"):
            put(lifespan="60")


class TestWrongArguments:
    """EncodeError names the operation, the field, what was given and what is valid."""

    @pytest.mark.parametrize(
        ("call", "says"),
        [
            (lambda: encode_request("putt"), "op: unknown operation 'putt'; known: .*put_all"),
            (
                lambda: encode_request(2),  # type: ignore[arg-type]
                "op: unknown operation 2",
            ),
            (lambda: put(version="5.0"), "PUT: version: unknown version '5.0'; known: 1.0, .*4.1"),
            (lambda: put(version=42), "version: unknown version 42"),
            (lambda: encode_request("get"), "GET: key: missing"),
            (lambda: put(colour=1), "PUT: colour: no such field; a request has: key, lifespan"),
            (lambda: put(flags=-1), "PUT: flags: -1 is not within 0 and 4294967295"),
            (
                lambda: put(message_id=-1),
                "PUT: message_id: -1 is not within 0 and 18446744073709551615",
            ),
            (lambda: put(message_id=2**64), "message_id: 18446744073709551616 is not within"),
            (lambda: put(topology_id=2**32), "topology_id: 4294967296 is not within"),
            (lambda: put(intelligence=256), "intelligence: 256 is not within 0 and 255"),
            (
                lambda: encode_request("put_all", version="2.0", entries=[]),
                "PUT_ALL: version: exists from version 2.1 on, not in 2.0",
            ),
            (
                lambda: put(version="2.7", key_media_type="text/plain"),
                "key_media_type: media types exist from version 2.8 on, not in 2.7",
            ),
            (
                lambda: put(version="3.1", other_params={"a": b"b"}),
                "other_params: exist from version 4.0 on, not in 3.1",
            ),
            (lambda: put(key_media_type="text"), "key_media_type: 'text' is no media type"),
            (lambda: put(cache="\ud800"), "cache: text with a lone surrogate"),
            (
                lambda: encode_request("put_all", entries=[(b"a",)]),
                r"entries\[0\]: expected a pair",
            ),
            (
                lambda: encode_request("exec", task="t", params={str(i): b"" for i in range(128)}),
                "EXEC: params: 128 items are more than the 127",
            ),
            (lambda: encode_response("get", status=9), "GET: status: unknown status 9"),
            (lambda: encode_response("get", status=0), "GET: value: missing"),
            (
                lambda: encode_response("get", status=2, value=b"v"),
                "value: not carried with status",
            ),
            (lambda: encode_response("get", status=0x85), "GET: error: missing"),
            (
                lambda: encode_response(
                    "put", version="3.1", status=3, previous=b"", metadata=Metadata(1)
                ),
                "PUT: metadata: a previous value has metadata from 4.0 on",
            ),
            (
                lambda: encode_response("put", version="4.0", status=3, previous=b""),
                "metadata: missing; a previous value has metadata from 4.0 on",
            ),
            (
                lambda: encode_response(
                    "ping",
                    version="1.0",
                    topology=Topology(1, (), hash_version=3, segment_owners=()),
                ),
                "PING: topology: owners of segments exist from version 2.0 on",
            ),
            (
                lambda: encode_response(
                    "clear",
                    topology=Topology(
                        1, (ServerAddress("h", 1),), hash_version=3, segment_owners=((1,),)
                    ),
                ),
                r"topology.segment_owners\[0\]: 1 is not within 0 and 0",
            ),
        ],
    )
    def test_encode_error(self, call: Any, says: str) -> None:
        with pytest.raises(EncodeError, match=says) as caught:
            call()
        assert caught.value.field
        assert isinstance(caught.value, ValueError)

    @pytest.mark.parametrize(
        ("call", "says"),
        [
            (lambda: put(key="k"), "key: expected a bytes-like object, got str"),
            (lambda: put(value=None), "value: expected a bytes-like object, got NoneType"),
            (lambda: put(value=memoryview(b"abcd")[::2]), "value: expected contiguous memory"),
            (lambda: put(cache=b"c"), "cache: expected str, got bytes"),
            (lambda: put(flags="x"), "flags: expected int, got str"),
            (lambda: put(message_id=1.5), "message_id: expected int, got float"),
            (lambda: put(version=2.8), "version: expected Version or str, got float"),
            (lambda: put(value_media_type=1), "value_media_type: expected None, str or MediaType"),
            (lambda: encode_request(None), "op: expected Op or str, got NoneType"),  # type: ignore[arg-type]
            (lambda: encode_request("get_all", keys=b"ab"), "keys: expected a list, got bytes"),
            (lambda: encode_request("get_all", keys=5), "keys: expected a list, got int"),
            (lambda: encode_request("get_all", keys=["a"]), r"keys\[0\]: expected a bytes-like"),
            (lambda: encode_request("put_all", entries=["ab"]), r"entries\[0\]: expected a pair"),
            (lambda: encode_response("ping", topology=1), "topology: expected Topology, got int"),  # type: ignore[arg-type]
            (lambda: decode_request("x"), "data: expected a bytes-like object, got str"),  # type: ignore[arg-type]
            (lambda: decode_response(b"", None), "request: expected Request or RequestContext"),  # type: ignore[arg-type]
            (lambda: decode_request(b"", limits=5), "limits: expected Limits, got int"),  # type: ignore[arg-type]
        ],
    )
    def test_type_error(self, call: Any, says: str) -> None:
        with pytest.raises(TypeError, match=says):
            call()

    def test_keys_and_values_are_never_told(self) -> None:
        secret = b"s3cret-key"
        with pytest.raises(EncodeError) as caught:
            put(key=secret, value=secret, lifespan=-1)
        assert "s3cret" not in str(caught.value)
        request = decode_request(put(key=secret, value=secret))
        assert "s3cret" not in repr(request)
        assert "key=10 bytes" in repr(request)
        frame = encode_response("get_all", entries=[(secret, secret)])
        response = decode_response(frame, RequestContext("get_all"))
        assert "s3cret" not in repr(response)
        assert "entries=1 items" in repr(response)


class TestDecoding:
    def test_bytes_before_and_behind_are_left_alone(self) -> None:
        request = decode_request(b"before" + PUT_40 + b"behind", 6)
        assert request is not None
        assert request.size == len(PUT_40)

    @pytest.mark.parametrize("offset", [-1, 19])
    def test_an_offset_outside(self, offset: int) -> None:
        with pytest.raises(ValueError, match=r"offset: .* is not within 0 and 18"):
            decode_request(PUT_40, offset)

    def test_a_miss_and_an_empty_value(self) -> None:
        miss = decode_response(bytes.fromhex("a1 04 04 02 00"), GET)
        hit = decode_response(bytes.fromhex("a1 04 04 00 00 00"), GET)
        assert miss is not None
        assert hit is not None
        assert (miss.status, miss.value) == (Status.KEY_DOES_NOT_EXIST, None)
        assert (hit.status, hit.value) == (Status.SUCCESS, b"")
        assert miss.fields == {}
        assert hit.fields == {"value": b""}
        assert miss != hit

    def test_fields_by_attribute_and_by_name(self) -> None:
        response = decode_response(encode_response("size", size=7), RequestContext("size"))
        assert response is not None
        assert (response["size"], response.size) == (7, 6)
        assert response.error is None
        with pytest.raises(
            AttributeError, match="SIZE response has no 'value'; its fields: size, error"
        ):
            _ = response.value
        with pytest.raises(KeyError):
            _ = response["value"]

    def test_previous_values_of_4_0_and_an_error_answer(self) -> None:
        d5 = bytes.fromhex("a10502 0300 02 0000018bcfe56800 02 0000000000000007 027630")
        response = decode_response(d5, RequestContext("put", "4.0"))
        assert response is not None
        assert response.previous == b"v0"
        assert response.metadata == Metadata(7, created=1700000000000, lifespan=2)
        d10 = bytes.fromhex("a10a50 8400 0a6e6f206361636865 2078")
        error = decode_response(d10, GET)
        assert error is not None
        assert error.is_error
        assert error.error == "no cache x"
        assert error.op is Op.GET
        with pytest.raises(hotrod_codec.RequestParsingError, match="GET: no cache x") as caught:
            error.raise_for_status()
        assert caught.value.status is Status.REQUEST_PARSING_ERROR
        assert isinstance(caught.value, ServerError)

    def test_an_event_whatever_the_context(self) -> None:
        frame = encode_response(
            "cache_entry_created", version="2.5", listener_id=b"l", key=b"k", entry_version=5
        )
        event = decode_response(frame, RequestContext("clear", "2.5"))
        assert event is not None
        assert isinstance(event, Event)
        assert (event.op, event.key, event.entry_version) == (Op.CACHE_ENTRY_CREATED, b"k", 5)
        assert (event.custom_marker, event.retried, event.event_data) == (0, False, None)

    def test_the_answer_to_another_request(self) -> None:
        request = decode_request(PUT_40)
        assert request is not None
        answer = encode_response("put", version="4.0", message_id=300)
        assert decode_response(answer, request) is not None
        with pytest.raises(
            DecodeError, match="message id at byte 1: found 301, the request has 300"
        ):
            decode_response(encode_response("put", version="4.0", message_id=301), request)
        with pytest.raises(DecodeError, match=r"opcode at byte 3: found 0x04 \(GET response\)"):
            decode_response(encode_response("get", status=2, message_id=300), request)

    @pytest.mark.parametrize(
        ("data", "op", "field", "offset", "says"),
        [
            ("b0", "request", "magic", 0, "found 0xb0, expected 0xa0"),
            (
                "a0 ffffffffff ffffffffff",
                "request",
                "message id",
                1,
                "at most 10 bytes and 64 bits",
            ),
            ("a0 01 2a", "request", "version", 2, "unknown version 42"),
            ("a0 01 28 02", "request", "opcode", 3, "unknown operation 0x02"),
            ("a0 01 1c 03 00 00 01 00 03", "GET request", "key media type", 8, "found 0x03"),
            ("a0 01 16 01 00 00 01 00 01 6b 97", "PUT request", "time units", 10, "found 0x97"),
            (
                "a0 01 16 03 00 00 01 00 ff ff ff ff 0f",
                "GET request",
                "key",
                8,
                "length 4294967295",
            ),
            ("a0 01 16 03 00 00 01 00 ff ff ff ff 1f", "GET request", "key", 8, "32 bits"),
            ("a0 01 16 03 00 00 01 00 ff ff ff ff 07", "GET request", "key", 8, "Limits"),
        ],
    )
    def test_bad_requests(self, data: str, op: str, field: str, offset: int, says: str) -> None:
        for before in (b"", b"some bytes"):
            with pytest.raises(DecodeError, match=says) as caught:
                decode_request(before + bytes.fromhex(data), len(before))
            error = caught.value
            assert (error.op, error.field, error.offset) == (op, field, offset + len(before))

    @pytest.mark.parametrize(
        ("data", "op", "field", "offset", "says"),
        [
            ("a0", "GET", "magic", 0, "found 0xa0, expected 0xa1"),
            ("a1 01 04 09", "GET", "status", 3, "found 0x09"),
            ("a1 01 04 03", "GET", "status", 3, "found 0x03"),
            ("a1 01 50 00", "GET", "status", 3, "0x81 or higher|higher"),
            ("a1 01 04 00 01", "GET", "topology marker", 4, "intelligence is 1"),
            (
                "a1 01 1a 00 00 02",
                "BULK_GET",
                "more of item 0",
                5,
                "found 0x02, expected at most 0x01",
            ),
            ("a1 01 1a 00 00 01 00 00 01 ffffffffff", "BULK_GET", "key of item 1", 9, "bits"),
        ],
    )
    def test_bad_responses(self, data: str, op: str, field: str, offset: int, says: str) -> None:
        with pytest.raises(DecodeError, match=says) as caught:
            decode_response(bytes.fromhex(data), RequestContext(op))
        assert (caught.value.op, caught.value.field) == (f"{op} response", field)
        assert caught.value.offset == offset

    def test_an_owner_that_is_no_server(self) -> None:
        frame = bytes.fromhex("a1 09 04 00 01 05 01 01 68 2c22 03 01 01 01 00")
        with pytest.raises(DecodeError, match="found server 1, but there are only 1 servers"):
            decode_response(frame, RequestContext("get", "2.0", intelligence=3))


class TestLimits:
    """A frame beyond a limit names it; what is claimed is never allocated."""

    CASES = (
        ("bytes", "put", {"key": b"k" * 9, "value": b""}),
        ("text", "exec", {"task": "t" * 9}),
        ("items", "get_all", {"keys": [b""] * 9}),
        ("items", "put_stream", {"key": b"", "entry_version": 0, "chunks": [b"c"] * 9}),
        ("params", "ping", {"other_params": {str(i): b"" for i in range(9)}}),
        ("params", "ping", {"key_media_type": MediaType("text/plain", (("a", "b"),) * 9)}),
    )

    @pytest.mark.parametrize(("name", "op", "fields"), CASES)
    def test_requests(self, name: str, op: str, fields: dict[str, Any]) -> None:
        version = "4.0"
        frame = encode_request(op, version=version, **fields)
        assert decode_request(frame, limits=Limits(**{name: 9})) is not None
        with pytest.raises(
            LimitError, match=rf"9 exceeds the limit of 8 for {name}; pass limits="
        ) as e:
            decode_request(frame, limits=Limits(**{name: 8}))
        assert isinstance(e.value, DecodeError)

    def test_topologies(self) -> None:
        servers = tuple(ServerAddress("h", i) for i in range(9))
        topology = Topology(1, servers, hash_version=3, segment_owners=((0,),) * 9)
        frame = encode_response("ping", version="2.0", topology=topology)
        context = RequestContext("ping", "2.0", intelligence=3)
        for name in ("servers", "segments"):
            assert decode_response(frame, context, limits=Limits(**{name: 9})) is not None
            with pytest.raises(LimitError, match=f"for {name}"):
                decode_response(frame, context, limits=Limits(**{name: 8}))

    def test_a_limit_is_a_number(self) -> None:
        with pytest.raises(ValueError, match="items: -1"):
            Limits(items=-1)


class TestMessages:
    def test_they_only_come_from_decoding(self) -> None:
        for kind in (hotrod_codec.Request, hotrod_codec.Response, Event):
            with pytest.raises(TypeError, match="comes from decoding"):
                kind()
            hollow = kind.__new__(kind)
            with pytest.raises(TypeError, match="comes from decoding"):
                hollow.encode()
            with pytest.raises((TypeError, KeyError)):
                repr(hollow)

    def test_equality(self) -> None:
        first, second = decode_request(put()), decode_request(put())
        assert first == second
        assert first != decode_request(put(value=b"w"))
        assert first != decode_request(put(message_id=1))
        assert first != b""
        with pytest.raises(TypeError):
            hash(first)

    def test_contexts(self) -> None:
        context = RequestContext("get", "2.8", 1, 3)
        assert context == RequestContext(Op.GET, Version.V2_8, Flag(1), 3)
        assert len({context, RequestContext("get", 28, 1, 3)}) == 1
        assert context != GET
        assert repr(context).startswith("RequestContext(GET, 2.8, ")


def test_importing_the_package_does_not_import_numpy() -> None:
    code = "import sys, hotrod_codec; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_layout_tells_of_a_row() -> None:
    row = hotrod_codec.layout("ping")
    assert (row.request_code, row.response_code, row.since) == (0x17, 0x18, Version.V1_0)
    assert [f.names for f in row.response][:2] == [("key_media_type",), ("value_media_type",)]
    assert row.response[3].since is Version.V3_0
    with pytest.raises(EncodeError, match="unknown operation"):
        hotrod_codec.layout("nope")
