"""Decoding single responses, and requests as a server does.

The bare reference makes the value's bytes from its known place; of a request the text of the
cache's name and the key's bytes. The peer decodes a message of the same parts: kind, message id,
status, value; kind, message id, cache, key. "Plain" is the tests' codec, in Python alone.
"""

from __future__ import annotations

from typing import Any

from bench.conftest import Compare, Reference
from bench.inputs import KEY, MESSAGE_ID, VALUE, VERSION, blobs, get_response
from hotrod_codec import RequestContext, decode_request, decode_response, encode_request

VALUE_BYTES = blobs(1, VALUE)[0]
FRAME = get_response(MESSAGE_ID, VALUE_BYTES)
NAMES = {
    "decode_response": decode_response,
    "frame": FRAME,
    "context": RequestContext("get", VERSION),
    "start": len(FRAME) - VALUE,
    "length": VALUE,
}


def test_decode_get_response(compare: Compare, bare: Any, msgpack: Any, plain: Any) -> None:
    compare(
        "decode_response(frame, context)",
        {
            "bare": Reference("slice(frame, start, length)", lambda ours, b: ours.value == b),
            "msgpack": Reference(
                "unpackb(packed, use_list=False)",
                lambda ours, m: (ours.message_id, ours.status, ours.value) == m[1:],
            ),
            "plain": Reference(
                "decode_plain(frame, asked)", lambda ours, p: ours.value == p[0]["body"]["value"]
            ),
        },
        NAMES
        | {
            "slice": bare.slice,
            "decode_plain": plain.decode_response,
            "asked": {"op": "GET", "version": 41},
            "unpackb": msgpack.unpackb,
            "packed": msgpack.packb((1, MESSAGE_ID, 0, VALUE_BYTES)),
        },
    )


def test_value_of_a_decoded_get_response(compare: Compare, bare: Any) -> None:
    compare(
        "decode_response(frame, context).value",
        {"bare": Reference("slice(frame, start, length)")},
        NAMES | {"slice": bare.slice},
    )


CACHE = "orders"
KEY_BYTES = blobs(1, KEY)[0]
REQUEST = encode_request(
    "get", version=VERSION, message_id=MESSAGE_ID, cache=CACHE, intelligence=3, key=KEY_BYTES
)


def test_decode_get_request(compare: Compare, bare: Any, msgpack: Any) -> None:
    compare(
        "decode_request(frame)",
        {
            "bare": Reference(
                "get_request(frame, cache, cache_length, key, key_length)",
                lambda ours, b: ours.key == b,
            ),
            "msgpack": Reference(
                "unpackb(packed, use_list=False)",
                lambda ours, m: (ours.message_id, ours.cache, ours.key) == m[1:],
            ),
        },
        {
            "decode_request": decode_request,
            "frame": REQUEST,
            "get_request": bare.get_request,
            "cache": 1 + 2 + 1 + 1 + 1,  # magic, message id, version, operation, length
            "cache_length": len(CACHE),
            "key": len(REQUEST) - KEY,
            "key_length": KEY,
            "unpackb": msgpack.unpackb,
            "packed": msgpack.packb((1, MESSAGE_ID, CACHE, KEY_BYTES)),
        },
    )
