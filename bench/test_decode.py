"""Decoding single responses.

The bare reference makes the value's bytes from its known place. The peer decodes a message of the
same parts: kind, message id, status, value.
"""

from __future__ import annotations

from typing import Any

from bench.conftest import Compare, Reference
from bench.inputs import MESSAGE_ID, VALUE, VERSION, blobs, get_response
from hotrod_codec import RequestContext, decode_response

VALUE_BYTES = blobs(1, VALUE)[0]
FRAME = get_response(MESSAGE_ID, VALUE_BYTES)
NAMES = {
    "decode_response": decode_response,
    "frame": FRAME,
    "context": RequestContext("get", VERSION),
    "start": len(FRAME) - VALUE,
    "length": VALUE,
}


def test_decode_get_response(compare: Compare, bare: Any, msgpack: Any) -> None:
    compare(
        "decode_response(frame, context)",
        {
            "bare": Reference("slice(frame, start, length)", lambda ours, b: ours.value == b),
            "msgpack": Reference(
                "unpackb(packed, use_list=False)",
                lambda ours, m: (ours.message_id, ours.status, ours.value) == m[1:],
            ),
        },
        NAMES
        | {
            "slice": bare.slice,
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
