"""Between the media types of requests and those that caches store. [wire-extended 9]

A converter makes bytes of bytes, or raises ConversionError; None stands for "as they are".
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

from hotrod_codec import protostream
from hotrod_codec.values import MediaType

__all__ = ["PLAIN", "Conversion", "ConversionError", "Converter", "conversion", "convert"]

Converter: TypeAlias = Callable[[bytes], bytes] | None

OCTETS: Final = "application/octet-stream"
TEXT: Final = "text/plain"
JSON: Final = "application/json"
PROTOSTREAM: Final = "application/x-protostream"
OBJECT: Final = "application/x-java-object"
UNKNOWN: Final = "application/unknown"


class ConversionError(Exception):
    """These bytes, or these types, cannot be converted. The text is for the client."""


def convert(converter: Converter, data: bytes) -> bytes:
    return data if converter is None else converter(data)


class Conversion(NamedTuple):
    """What to do with keys and values on their way in and out."""

    key_in: Converter
    key_out: Converter
    value_in: Converter
    value_out: Converter


PLAIN: Final = Conversion(None, None, None, None)


def conversion(
    key: MediaType | None,
    value: MediaType | None,
    stored_key: MediaType | None,
    stored_value: MediaType | None,
) -> Conversion:
    """How a request with these media types talks to a cache with those.

    Where there is no way, what has to be converted is refused, and what has not is done.

    Raises:
        ConversionError: One of them is no media type.
    """
    return Conversion(*_pair(key, stored_key), *_pair(value, stored_value))


def _pair(asked: MediaType | None, stored: MediaType | None) -> tuple[Converter, Converter]:
    """In and out."""
    if stored is None:
        return None, None
    if asked is None:
        return _PAIRS[OCTETS, JSON] if stored.name == JSON else (None, None)
    if asked.name == UNKNOWN:
        return None, None
    if not asked.name:
        raise ConversionError(f"ISPN000492: Cannot find transcoder for media type {asked.id}")
    if asked.name == stored.name:
        one, other = _charset(asked), _charset(stored)
        if asked.name != TEXT or one == other:
            return None, None
        return _recode(one, other), _recode(other, one)
    if asked.name == TEXT and stored.name in (PROTOSTREAM, OBJECT):
        charset = _charset(asked)
        return (
            lambda data: protostream.encode(_decoded(data, charset)),
            lambda data: _shown(_unwrapped(data)).encode(charset, "replace"),
        )
    found = _PAIRS.get((asked.name, stored.name))
    if found is None:
        refuse = _refusing(f"ISPN000492: Cannot find transcoder between '{asked}' to '{stored}'")
        return refuse, refuse
    return found


def _refusing(text: str) -> Callable[[bytes], bytes]:
    def refuse(data: bytes) -> NoReturn:
        raise ConversionError(text)

    return refuse


def _charset(media_type: MediaType) -> str:
    name = dict(media_type.params).get("charset", "utf-8")
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise ConversionError(f"unknown charset {name!r}") from None


def _decoded(data: bytes, charset: str) -> str:
    try:
        return data.decode(charset)
    except UnicodeDecodeError as error:
        raise ConversionError(f"ISPN000493: not {charset}: {error.reason}") from None


def _recode(one: str, other: str) -> Converter:
    return lambda data: _decoded(data, one).encode(other, "replace")


def _unwrapped(data: bytes) -> Any:
    try:
        return protostream.decode(data)
    except ValueError as error:
        raise ConversionError(f"ISPN000493: no WrappedMessage: {error}") from None


def _shown(value: Any) -> str:
    """A stored value as text: strings as they are, numbers in decimal."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _wrap_bytes(data: bytes) -> bytes:
    return protostream.encode(data)


def _unwrap_bytes(data: bytes) -> bytes:
    """The bytes in a WrappedMessage; any other one stays wrapped."""
    value = _unwrapped(data)
    return value if isinstance(value, bytes) else data


def _wrap_text(data: bytes) -> bytes:
    return protostream.encode(_decoded(data, "utf-8"))


def _unwrap_text(data: bytes) -> bytes:
    return _shown(_unwrapped(data)).encode()


def _json(data: bytes) -> bytes:
    """The same bytes, if they are JSON: for real servers, any number of values, even none."""
    try:
        text = data.decode()
        at = _after_blanks(text, 0)
        while at < len(text):
            first, end = text[at], _STRICT.raw_decode(text, at)[1]
            at = _after_blanks(text, end)
            if at == end < len(text) and first not in _CLOSED:
                raise ValueError(f"{text[end]!r} ends no number and no word")
    except (ValueError, RecursionError):
        raise ConversionError("ISPN000655: Unable to convert text content to JSON") from None
    return data


def _after_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return at if found is None else found.end()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_CLOSED: Final = '{["'
_STRICT: Final = json.JSONDecoder(parse_constant=_no_constant)


_JSON_TYPES: Final = ("string", "int32", "int64", "double", "float", "bool", "bytes")


def _json_to_wrapped(data: bytes) -> bytes:
    """Canonical JSON of a scalar, as the wire says it: {"_type": "int32", "_value": 5}."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.get("_type") not in _JSON_TYPES:
        raise ConversionError(
            f"ISPN000493: JSON has to be an object with _type, one of {', '.join(_JSON_TYPES)}"
        )
    value = found.get("_value")
    try:
        if found["_type"] == "bytes":
            value = codecs.decode(str(value).encode(), "base64")
        return protostream.encode(value, type=found["_type"])
    except (ValueError, TypeError) as error:
        raise ConversionError(f"ISPN000493: {error}") from None


def _wrapped_to_json(data: bytes) -> bytes:
    value = _unwrapped(data)
    if not isinstance(value, str | int | float | bytes):
        raise ConversionError("ISPN000493: only scalars become JSON here")
    name = protostream.wire_type(value)
    if name not in _JSON_TYPES:
        name = "int32"
    if isinstance(value, bytes):
        value = codecs.encode(value, "base64").replace(b"\n", b"").decode()
    return json.dumps({"_type": name, "_value": value}, separators=(",", ":")).encode()


_no_octets: Final = _refusing(f"ISPN000497: cannot convert content from {JSON} to {OCTETS}")

_PAIRS: Final[dict[tuple[str, str], tuple[Converter, Converter]]] = {
    (OCTETS, PROTOSTREAM): (_wrap_bytes, _unwrap_bytes),
    (OCTETS, OBJECT): (_wrap_bytes, _unwrap_bytes),
    (PROTOSTREAM, OBJECT): (None, None),
    (OBJECT, PROTOSTREAM): (None, None),
    (JSON, PROTOSTREAM): (_json_to_wrapped, _wrapped_to_json),
    (JSON, OBJECT): (_json_to_wrapped, _wrapped_to_json),
    (TEXT, OCTETS): (None, None),
    (PROTOSTREAM, OCTETS): (_unwrap_bytes, _wrap_bytes),
    (OCTETS, TEXT): (None, None),
    (PROTOSTREAM, TEXT): (_unwrap_text, _wrap_text),
    (JSON, TEXT): (None, _json),
    (JSON, OCTETS): (_no_octets, _json),
    (OCTETS, JSON): (_json, _no_octets),
    (TEXT, JSON): (_json, None),
}
