"""Encoding single requests.

The bare reference copies the finished frame: one object, allocated and filled. The peers get their
command ready made and only write it.
"""

from __future__ import annotations

from typing import Any

from bench.conftest import Compare, Reference
from bench.inputs import MESSAGE_ID, blobs
from hotrod_codec import encode_request

KEY, VALUE = blobs(1, 20)[0], blobs(1, 100)[0]
NAMES = {"encode_request": encode_request, "key": KEY, "value": VALUE, "message_id": MESSAGE_ID}
EIGHT = (
    "version='4.1', message_id=message_id, cache='orders', flags=1, intelligence=3, topology_id=9"
)


def frame_of(code: str) -> bytes:
    """What our expression gives."""
    return bytes(eval(code, dict(NAMES)))


def test_encode_get(compare: Compare, bare: Any, msgpack: Any, hiredis: Any) -> None:
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
        {"bare": Reference("copy(frame)")},
        NAMES | {"copy": bare.copy, "frame": frame_of(code)},
    )
