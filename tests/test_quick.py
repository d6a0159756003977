"""The quick path says what the plain path says, of whole frames and of all others.

Single calls take the quick path for `bytes` and default limits, and the plain one for any other
buffer: the same frame goes both ways.
"""

from __future__ import annotations

from typing import Any

import pytest

import strategies
from hotrod_codec import (
    DecodeError,
    Layout,
    LimitError,
    Limits,
    MediaType,
    Op,
    Reader,
    Request,
    RequestContext,
    Response,
    Status,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)

IDS = [0, 1, 127, 128, 300, 2**32, 2**63 - 1, 2**63, 2**64 - 1]
VALUES = [b"", b"v", bytes(127), bytes(128), bytes(20_000)]
# What an error, a topology or another answer looks like from its first bytes.
BESIDES = bytes.fromhex("00 01 02 03 04 05 06 07 08 50 7f 80 81 85 a0 a1 ff")


def said_of(message: Any) -> Any:
    """All that a message tells."""
    if message is None:
        return None
    told = {
        name: getattr(message, name)
        for name in dir(message)
        if not name.startswith("_")
        and not callable(getattr(message, name, None))
        and hasattr(message, name)
    }
    return type(message), told, message.encode(), repr(message)


def outcome(data: Any, context: Any, **keywords: Any) -> Any:
    try:
        message = decode_response(data, context, **keywords)
    except DecodeError as error:
        return type(error), str(error), error.offset
    return said_of(message)


def both_ways(frame: bytes, context: Any, **keywords: Any) -> Any:
    quick = outcome(frame, context, **keywords)
    assert outcome(bytearray(frame), context, **keywords) == quick
    assert outcome(frame, context, limits=Limits(), **keywords) == quick
    return quick


def through_a_reader(pieces: list[bytes], context: RequestContext, message_id: int) -> Any:
    reader = Reader()
    reader.expect(context, message_id)
    found = []
    for piece in pieces:
        reader.feed(piece)
        found += list(reader)
    assert len(found) == 1
    assert (reader.buffered, reader.pending_requests) == (0, 0)
    return said_of(found[0])


def request_both_ways(frame: bytes, offset: int = 0) -> Any:
    """What a request says, quickly and plainly; None, or the error, where it is none."""

    def told_of(data: Any, **keywords: Any) -> Any:
        try:
            return said_of(decode_request(data, offset, **keywords))
        except DecodeError as error:
            return type(error), str(error), error.offset

    quick = told_of(frame)
    assert told_of(bytearray(frame)) == quick
    assert told_of(frame, limits=Limits()) == quick
    return quick


def request_through_a_reader(pieces: list[bytes]) -> Any:
    reader = Reader("server")
    found = []
    for piece in pieces:
        reader.feed(piece)
        found += list(reader)
    assert len(found) == 1
    assert reader.buffered == 0
    return said_of(found[0])


def bodies(each: Layout, status: Status) -> list[dict[str, Any]]:
    """The fields of answers that the quick path may take."""
    fields = list(each.response)
    if status is not Status.SUCCESS or not fields or each.op in strategies.PREVIOUS:
        return [{}]
    if len(fields) > 1 or fields[0].kind != "bytes":
        return []
    return [{fields[0].names[0]: value} for value in VALUES]


QUICK = [each for each in strategies.OPERATIONS if bodies(each, Status.NOT_EXECUTED)]
STATUSES = [Status.SUCCESS, Status.NOT_EXECUTED, Status.KEY_DOES_NOT_EXIST]


@pytest.mark.parametrize("each", QUICK, ids=lambda each: each.op.name)
def test_answers_both_ways(each: Layout) -> None:
    frames = 0
    for version in strategies.versions_of(each):
        context = RequestContext(each.op, version)
        for status in STATUSES:
            for i, fields in enumerate(bodies(each, status)):
                message_id = IDS[(frames + i) % len(IDS)]
                frame = encode_response(
                    each.op, version=version, message_id=message_id, status=status, **fields
                )
                told = both_ways(frame + b"behind", context)
                assert told[0] is Response
                assert told[1]["fields"] == fields
                assert (told[1]["size"], told[2]) == (len(frame), frame)
                assert both_ways(b"before" + frame, context, offset=6) == told
                assert through_a_reader([frame], context, message_id) == told
                for at in (*range(min(len(frame), 12)), len(frame) - 1):
                    assert both_ways(frame[:at], context) is None
                    pieces = [frame[:at], frame[at:]]
                    assert through_a_reader(pieces, context, message_id) == told
                frames += 1
    assert frames >= 2 * len(strategies.versions_of(each))


@pytest.mark.parametrize("each", QUICK, ids=lambda each: each.op.name)
def test_what_server_9_4_has_behind_a_miss(each: Layout) -> None:
    empty_entry = b"\x03" + b"\xff" * 8 + b"\0"
    miss = Status.KEY_DOES_NOT_EXIST
    for version in strategies.versions_of(each):
        if version < 20:
            continue
        context = RequestContext(each.op, version)
        frame = encode_response(each.op, version=version, message_id=1, status=miss) + empty_entry
        told = both_ways(frame, context, legacy_server=True)
        behind = each.op is Op.GET_MULTIMAP_WITH_METADATA
        assert told[1]["size"] == (len(frame) if behind else len(frame) - len(empty_entry))
        assert told[1]["canonical"] is not behind
        assert both_ways(frame, context)[1]["size"] == len(frame) - len(empty_entry)


@pytest.mark.parametrize("op", [Op.GET, Op.PUT, Op.CONTAINS_KEY, Op.EXEC], ids=lambda op: op.name)
@pytest.mark.parametrize("version", ["1.3", "2.1", "3.1", "4.1"])
def test_any_byte_in_any_place_of_the_head(op: Op, version: str) -> None:
    fields: dict[str, Any] = (
        {"value": b"val"} if op is Op.GET else {"result": b"val"} if op is Op.EXEC else {}
    )
    if op is Op.EXEC and version < "2.1":
        return
    frame = encode_response(op, version=version, message_id=200, **fields)
    for legacy_server in (False, True):
        for flags in (0, 1):
            context = RequestContext(op, version, flags, 3)
            for at in range(min(len(frame), 8)):
                for byte in BESIDES:
                    changed = frame[:at] + bytes([byte]) + frame[at + 1 :] + bytes(8)
                    both_ways(changed, context, legacy_server=legacy_server)


def test_the_message_id_of_a_request_counts_on_both_paths() -> None:
    request = decode_request(encode_request("get", key=b"k", message_id=7))
    assert isinstance(request, Request)
    right, wrong = (encode_response("get", message_id=i, value=b"v") for i in (7, 8))
    assert both_ways(right, request)[1]["value"] == b"v"
    kind, text, offset = both_ways(wrong, request)
    assert (kind, offset) == (DecodeError, 1)
    assert "found 8, the request has 7" in text


def test_offsets_both_ways() -> None:
    frame = encode_response("get", value=b"v")
    context = RequestContext("get")
    for data in (frame, bytearray(frame)):
        for offset in (-1, len(frame) + 1):
            with pytest.raises(ValueError, match=f"offset: {offset} is not within 0 and "):
                decode_response(data, context, offset)
        assert decode_response(data, context, len(frame)) is None
        for wrong in ("1", None, 1.0):
            with pytest.raises(TypeError):
                decode_response(data, context, wrong)  # type: ignore[arg-type]


def test_a_value_above_the_default_limit_is_refused_both_ways() -> None:
    frame = bytes.fromhex("a1 00 04 00 00 ff ff ff ff 07")
    assert both_ways(frame, RequestContext("get"))[0] is LimitError


QUICK_REQUESTS = [
    each
    for each in strategies.OPERATIONS
    if {field.kind for field in each.request} <= {"bytes", "life"}
]
HEADS: list[dict[str, Any]] = [
    {},
    {"cache": "orders", "flags": 7, "intelligence": 3, "topology_id": -1},
    {"cache": "\xe4" * 70, "flags": 2**32 - 1, "intelligence": 255, "topology_id": 2**31 - 1},
]
TYPED: list[dict[str, Any]] = [
    {"key_media_type": "application/json", "value_media_type": "text/plain"},
    {"key_media_type": MediaType("", id=200)},
    {"value_media_type": "application/x-protostream", "key_media_type": "application/x-own"},
    {"value_media_type": MediaType("application/json", (("charset", "utf-8"),))},
]


@pytest.mark.parametrize("each", QUICK_REQUESTS, ids=lambda each: each.op.name)
def test_requests_both_ways(each: Layout) -> None:
    assert len(QUICK_REQUESTS) >= 15
    count = 0
    for version in strategies.versions_of(each):
        heads = HEADS + (TYPED if version >= 28 else [])
        if version >= 40:
            heads = [*heads, {"other_params": {"name": b"value"}}]
        for i, head in enumerate(heads):
            fields: dict[str, Any] = {}
            for j, field in enumerate(each.request):
                if field.kind == "bytes":
                    fields[field.names[0]] = VALUES[(i + j) % len(VALUES)]
                elif i == 1:
                    fields[field.names[0]] = 60
            message_id = IDS[(i + count) % len(IDS)]
            frame = encode_request(
                each.op, version=version, message_id=message_id, **head, **fields
            )
            told = request_both_ways(frame + b"behind")
            assert (told[1]["size"], told[2], told[0]) == (len(frame), frame, Request)
            for name, value in fields.items():
                if isinstance(value, bytes):
                    assert told[1]["fields"][name] == value
            assert request_both_ways(b"before" + frame, 6) == told
            assert request_through_a_reader([frame]) == told
            places = {*range(min(len(frame), 24)), len(frame) - 1}
            for at in places:
                assert request_both_ways(frame[:at]) is None
                assert request_through_a_reader([frame[:at], frame[at:]]) == told
            count += 1


@pytest.mark.parametrize("op", [Op.GET, Op.PUT, Op.CLEAR, Op.PING], ids=lambda op: op.name)
@pytest.mark.parametrize("version", ["1.3", "2.1", "2.2", "2.8", "3.1", "4.1"])
def test_any_byte_in_any_place_of_a_request(op: Op, version: str) -> None:
    fields: dict[str, Any] = {"key": b"k"} if op in (Op.GET, Op.PUT) else {}
    if op is Op.PUT:
        fields["value"] = b"val"
    frame = encode_request(op, version=version, message_id=200, cache="c", **fields)
    for at in range(len(frame)):
        for byte in BESIDES:
            request_both_ways(frame[:at] + bytes([byte]) + frame[at + 1 :] + bytes(8))


def test_limits_hold_on_both_paths_of_a_reader() -> None:
    frame = encode_request("put", cache="cache", key=b"key", value=b"value")
    for limits, refused in (
        (Limits(bytes=5, text=5), None),
        (Limits(bytes=4, text=5), "value"),
        (Limits(bytes=2, text=5), "key"),
        (Limits(bytes=5, text=4), "cache name"),
    ):
        reader = Reader("server", limits=limits)
        reader.feed(frame)
        if refused is None:
            assert next(reader).value == b"value"
            continue
        with pytest.raises(LimitError) as caught:
            reader.next()
        assert caught.value.field == refused
