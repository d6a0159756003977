"""Single numbers and strings, from Python: what a call costs is nearly all of it.

The references are the interpreter's own ways to bytes and back, which know no tag and no length,
and protobuf's message of one string, which is what ProtoStream wraps a string into.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

from bench.conftest import Compare, Reference
from bench.inputs import KEY, MESSAGE_ID
from hotrod_codec import decode_varint, encode_varint, protostream

TEXT = "user:0123456789abcdef"[:KEY]


def test_protostream_encode_str(compare: Compare, protobuf: Any) -> None:
    compare(
        "encode(text)",
        {
            "str.encode": Reference("text.encode()", lambda ours, data: ours[2:] == data),
            "protobuf": Reference(
                "StringValue(value=text).SerializeToString()",
                lambda ours, data: ours[1:] == data[1:],  # the tag is another
            ),
        },
        {"encode": protostream.encode, "text": TEXT, "StringValue": protobuf.StringValue},
    )


def test_protostream_decode_str(compare: Compare, protobuf: Any) -> None:
    compare(
        "decode(wrapped)",
        {
            "bytes.decode": Reference("data.decode()"),
            "protobuf": Reference("from_string(message).value"),
        },
        {
            "decode": protostream.decode,
            "wrapped": protostream.encode(TEXT),
            "data": TEXT.encode(),
            "from_string": protobuf.StringValue.FromString,
            "message": protobuf.StringValue(value=TEXT).SerializeToString(),
        },
    )


def test_encode_varint(compare: Compare) -> None:
    compare(
        "encode_varint(number)",
        {"int.to_bytes": Reference("number.to_bytes(2, 'big')", same_size)},
        {"encode_varint": encode_varint, "number": MESSAGE_ID},
    )


def test_decode_varint(compare: Compare) -> None:
    compare(
        "decode_varint(data)",
        {"unpack_from": Reference("unpack_from(four)", lambda ours, theirs: ours[:1] == theirs)},
        {
            "decode_varint": decode_varint,
            "data": encode_varint(MESSAGE_ID),
            "unpack_from": Struct(">I").unpack_from,
            "four": MESSAGE_ID.to_bytes(4, "big"),
        },
    )


def same_size(ours: Any, theirs: Any) -> bool:
    return len(ours) == len(theirs)
