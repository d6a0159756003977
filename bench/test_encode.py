"""Encoding: requests and answers one by one, and many requests in one buffer.

The bare reference copies the finished frame: one object, allocated and filled. The peers get their
command ready made and only write it. Many keys or entries are joined by `bytes.join` or written as
one list by msgpack, both of which write no header for each of them. "Plain" is the tests' codec, in
Python alone.
"""

from __future__ import annotations

from typing import Any

from bench.conftest import Compare, Reference
from bench.inputs import MESSAGE_ID, blobs, pairs
from hotrod_codec import CacheEncoder, ResponseEncoder, encode_request, encode_response

KEY, VALUE = blobs(1, 20)[0], blobs(1, 100)[0]
NAMES = {
    "encode_request": encode_request,
    "encode_response": encode_response,
    "encoder": CacheEncoder("orders", intelligence=3, topology_id=9),
    "answers": ResponseEncoder(),
    "key": KEY,
    "value": VALUE,
    "large": blobs(1, 65536)[0],
    "message_id": MESSAGE_ID,
}
EIGHT = (
    "version='4.1', message_id=message_id, cache='orders', flags=1, intelligence=3, topology_id=9"
)


def frame_of(code: str) -> bytes:
    """What our expression gives."""
    return bytes(eval(code, dict(NAMES)))


def test_encode_get(compare: Compare, bare: Any, msgpack: Any, hiredis: Any, plain: Any) -> None:
    code = "encode_request('get', message_id=message_id, key=key)"
    message, command = (0, MESSAGE_ID, "get", KEY), ("GET", KEY)
    compare(
        code,
        {
            "bare": Reference("copy(frame)"),
            "msgpack": Reference(
                "packb(message)", lambda _, packed: msgpack.unpackb(packed)[-1] == KEY
            ),
            "hiredis": Reference("pack_command(command)", lambda _, packed: KEY in packed),
            "plain": Reference("encode_plain(as_dict)"),
        },
        NAMES
        | {
            "copy": bare.copy,
            "frame": frame_of(code),
            "encode_plain": plain.encode_request,
            "as_dict": plain.decode_request(frame_of(code))[0],
            "packb": msgpack.packb,
            "message": message,
            "pack_command": hiredis.pack_command,
            "command": command,
        },
    )


def test_encode_get_with_8_keywords(compare: Compare, bare: Any) -> None:
    code = f"encode_request('get', {EIGHT}, key=key, key_media_type=None)"
    compare(
        code,
        {"bare": Reference("copy(frame)")},
        NAMES | {"copy": bare.copy, "frame": frame_of(code)},
    )


def test_encode_put(compare: Compare, bare: Any, msgpack: Any, hiredis: Any) -> None:
    code = "encode_request('put', message_id=message_id, key=key, value=value)"
    message, command = (0, MESSAGE_ID, "put", KEY, VALUE), ("SET", KEY, VALUE)
    compare(
        code,
        {
            "bare": Reference("copy(frame)"),
            "msgpack": Reference(
                "packb(message)", lambda _, packed: msgpack.unpackb(packed)[-1] == VALUE
            ),
            "hiredis": Reference("pack_command(command)", lambda _, packed: VALUE in packed),
        },
        NAMES
        | {
            "copy": bare.copy,
            "frame": frame_of(code),
            "packb": msgpack.packb,
            "message": message,
            "pack_command": hiredis.pack_command,
            "command": command,
        },
    )


def test_encode_put_with_8_keywords(compare: Compare, bare: Any) -> None:
    code = f"encode_request('put', {EIGHT}, key=key, value=value)"
    compare(
        code,
        {
            "bare": Reference("copy(frame)"),
            "encoder": Reference("encoder.put(key, value)", lambda ours, theirs: VALUE in theirs),
        },
        NAMES | {"copy": bare.copy, "frame": frame_of(code)},
    )


def compare_one(
    compare: Compare, bare: Any, msgpack: Any, hiredis: Any, code: str, *parts: Any
) -> None:
    """A request of an encoder, and the same parts written by the peers."""
    last = parts[-1]
    compare(
        code,
        {
            "bare": Reference("copy(frame)"),
            "msgpack": Reference(
                "packb(message)", lambda _, packed: msgpack.unpackb(packed)[-1] == last
            ),
            "hiredis": Reference("pack_command(command)", lambda _, packed: last in packed),
        },
        NAMES
        | {
            "copy": bare.copy,
            "frame": frame_of(code),
            "packb": msgpack.packb,
            "message": (0, MESSAGE_ID, *parts),
            "pack_command": hiredis.pack_command,
            "command": parts,
        },
    )


def test_encoder_get(compare: Compare, bare: Any, msgpack: Any, hiredis: Any) -> None:
    compare_one(compare, bare, msgpack, hiredis, "encoder.get(key)", "GET", KEY)


def test_encoder_get_with_id(compare: Compare, bare: Any, msgpack: Any, hiredis: Any) -> None:
    compare_one(compare, bare, msgpack, hiredis, "encoder.get(key, message_id)", "GET", KEY)


def test_encoder_put(compare: Compare, bare: Any, msgpack: Any, hiredis: Any) -> None:
    compare_one(compare, bare, msgpack, hiredis, "encoder.put(key, value)", "SET", KEY, VALUE)


def test_encoder_put_with_id(compare: Compare, bare: Any, msgpack: Any, hiredis: Any) -> None:
    code = "encoder.put(key, value, message_id)"
    compare_one(compare, bare, msgpack, hiredis, code, "SET", KEY, VALUE)


def test_encoder_put_with_lifespan(compare: Compare, bare: Any) -> None:
    code = "encoder.put(key, value, message_id, lifespan=60)"
    compare(
        code,
        {"bare": Reference("copy(frame)")},
        NAMES | {"copy": bare.copy, "frame": frame_of(code)},
    )


def test_encoder_put_64k(compare: Compare, bare: Any) -> None:
    code = "encoder.put(key, large, message_id)"
    compare(
        code,
        {"bare": Reference("copy(frame)")},
        NAMES | {"copy": bare.copy, "frame": frame_of(code)},
    )


def test_get_many_100(compare: Compare, msgpack: Any) -> None:
    keys = blobs(100, 20)
    compare(
        "encoder.get_many(keys)",
        {"msgpack": Reference("packb(keys)", lambda _, packed: msgpack.unpackb(packed) == keys)},
        NAMES | {"keys": keys, "packb": msgpack.packb},
    )


def test_put_many_10000(compare: Compare, msgpack: Any) -> None:
    entries = pairs(10_000)
    compare(
        "encoder.put_many(entries)",
        {
            "join": Reference("join(parts)", lambda ours, joined: len(ours) > len(joined)),
            "msgpack": Reference("packb(entries)", lambda ours, packed: len(ours) > len(packed)),
        },
        NAMES
        | {
            "entries": entries,
            "parts": [part for entry in entries for part in entry],
            "join": b"".join,
            "packb": msgpack.packb,
        },
    )


def test_encode_get_response(compare: Compare, bare: Any) -> None:
    code = "encode_response('get', version='4.1', message_id=message_id, value=value)"
    compare(
        code,
        {"bare": Reference("copy(frame)")},
        NAMES | {"copy": bare.copy, "frame": frame_of(code)},
    )


def test_answer_get(compare: Compare, bare: Any) -> None:
    code = "answers.get(value, message_id)"
    compare(
        code,
        {"bare": Reference("copy(frame)")},
        NAMES | {"copy": bare.copy, "frame": frame_of(code)},
    )
