"""The cache in which a server keeps its protobuf schemas: its name, its keys and its values.
[wire-extended 6]

Names and text only: to register a schema, put it into CACHE under its file name, then get
`errors_key(name)`: a schema with errors is stored as well, and the errors are entries.

    name = schemas.file_name("person.proto")
    encode_request("put", cache=schemas.CACHE, key=schemas.encode_text(name, version), ...)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hotrod_codec.errors import DecodeError, EncodeError
from hotrod_codec.ops import Version
from hotrod_codec.protostream._fields import as_bytes
from hotrod_codec.protostream.wrapping import decode, encode
from hotrod_codec.values import MediaType

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "CACHE",
    "ERRORS_KEY",
    "decode_text",
    "encode_text",
    "errors_key",
    "failing_files",
    "file_name",
    "media_type",
]

CACHE: Final = "___protobuf_metadata"
"""The cache; String to String."""

ERRORS_KEY: Final = ".errors"
"""The key of the names of all files with errors; `failing_files` splits its value."""


def file_name(name: str) -> str:
    """`name`, which must be one that a server takes for a schema.

    Raises:
        EncodeError: It does not end in ".proto".
    """
    if not name.endswith(".proto") or name == ".proto":
        raise EncodeError(f"{name!r} does not end in '.proto'", field="schema")
    return name


def errors_key(name: str) -> str:
    """The key of the errors of schema `name`; no such entry when there are none."""
    return file_name(name) + ERRORS_KEY


def failing_files(value: str | None) -> tuple[str, ...]:
    """The names in the value of ERRORS_KEY; none when there is no such entry."""
    return tuple(line for line in (value or "").split("\n") if line)


def media_type(version: Version | int) -> MediaType | None:
    """What to send as media type of key and value: text/plain. None until 2.7, whose headers have
    no media types."""
    return MediaType.parse("text/plain") if version >= Version.V2_8 else None


def encode_text(text: str, version: Version | int) -> bytes:
    """A key or a value in the form that `media_type(version)` says: plain UTF-8, until 2.7 a
    WrappedMessage."""
    if version < Version.V2_8:
        return encode(text, type="string")
    try:
        return text.encode()
    except UnicodeEncodeError as problem:
        raise EncodeError(f"cannot be UTF-8: {problem.reason}", field="schema") from None


def decode_text(data: Buffer, version: Version | int) -> str:
    """The text of a key or a value. Raises DecodeError."""
    if version >= Version.V2_8:
        try:
            return as_bytes(data).decode()
        except UnicodeDecodeError as problem:
            raise DecodeError(
                f"not UTF-8: {problem.reason}", op="schema", field="text", offset=problem.start
            ) from None
    value = decode(data)
    if not isinstance(value, str):
        raise DecodeError(
            f"expected a string, got {type(value).__name__}", op="schema", field="text", offset=0
        )
    return value
