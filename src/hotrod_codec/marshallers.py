"""Python values to the bytes of a media type and back: for keys and values of entries.

A marshaller does what its media type says and nothing else: no guessing from the value, no
fallback, and never pickle, since whoever writes into the cache would run code here. The server
converts between the formats that it knows; which one a request uses, its header says (2.8 and
later). Octet-stream does not mean "as it is" there: on a cache that stores protostream it wraps
the bytes. [wire-extended 9]

    >>> marshaller_for("text/plain; charset=iso-8859-1").encode("é")
    b'\\xe9'
    >>> JSON.decode(b'{"a":1}')
    {'a': 1}
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, TypeVar

from hotrod_codec import protostream
from hotrod_codec._ext.scalars import (
    fast_decode_utf8,
    fast_encode_utf8,
    fast_opaque,
    total_size,
)
from hotrod_codec.errors import DecodeError, EncodeError
from hotrod_codec.values import MediaType

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "BYTES",
    "JSON",
    "PROTOSTREAM",
    "TEXT",
    "BytesMarshaller",
    "JsonMarshaller",
    "Marshaller",
    "ProtoStreamMarshaller",
    "TextMarshaller",
    "marshaller_for",
]

T = TypeVar("T")

# Formats whose bytes have no form in Python that this package could know.
_OPAQUE: Final = frozenset(
    {
        "application/octet-stream",
        "application/pdf",
        "application/rtf",
        "application/unknown",
        "application/zip",
        "image/gif",
        "image/jpeg",
        "image/png",
    }
)
_TEXTS: Final = frozenset({"application/javascript", "application/xml", "application/yaml"})
_JAVA_ONLY: Final = frozenset(
    {
        "application/x-infinispan-marshalling",
        "application/x-java-object",
        "application/x-java-serialized-object",
        "application/x-jboss-marshalling",
        "application/x-jdk-serialization",
    }
)
# Python takes these for charsets; they are escapes of its own, or of domain names.
_NO_CHARSETS: Final = frozenset(
    {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
)

# Where Python writes the machine's byte order, Java writes the high byte first, UTF-16 with a
# mark: what to write, and what says on reading that it is otherwise.
_MARKED: Final = {
    "utf-16": (codecs.BOM_UTF16_BE, (codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE)),
    "utf-32": (b"", (codecs.BOM_UTF32_BE, codecs.BOM_UTF32_LE)),
}


class Marshaller(Protocol[T]):
    """What a cache needs to know of its keys or of its values."""

    @property
    def media_type(self) -> MediaType:
        """The format, as request headers carry it."""
        ...

    def encode(self, value: T, /) -> bytes:
        """The bytes of `value`.

        Raises:
            TypeError: Not a value that this format takes.
            EncodeError: Of the right type, and still not to be said in it.
        """
        ...

    def decode(self, data: Buffer, /) -> T:
        """The value in `data`. Raises DecodeError."""
        ...


def _as_media_type(value: MediaType | str) -> MediaType:
    return MediaType.parse(value) if isinstance(value, str) else value


class _Base:
    __slots__ = ("_media_type",)

    def __init__(self, media_type: MediaType | str) -> None:
        self._media_type = _as_media_type(media_type)

    @property
    def media_type(self) -> MediaType:
        """The format, as request headers carry it."""
        return self._media_type

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._media_type}>"

    def _refuse(self, value: object, expected: str) -> NoReturn:
        raise TypeError(f"{self._media_type}: expected {expected}, got {type(value).__name__}")

    def _decode_error(self, problem: str, offset: int = 0) -> DecodeError:
        return DecodeError(problem, op=str(self._media_type), field="value", offset=offset)

    def _encode_error(self, problem: str) -> EncodeError:
        return EncodeError(problem, field=str(self._media_type))


def _bytes(data: Buffer) -> bytes:
    return data if type(data) is bytes else memoryview(data).tobytes()


class BytesMarshaller(_Base):
    """Bytes as they are."""

    __slots__ = ()

    def __init__(self, media_type: MediaType | str = "application/octet-stream") -> None:
        super().__init__(media_type)

    def encode(self, value: Buffer, /) -> bytes:
        """A copy as bytes; TypeError unless it is bytes-like."""
        if type(value) is bytes:
            return value
        try:
            return _bytes(value)
        except TypeError:
            self._refuse(value, "bytes")

    def decode(self, data: Buffer, /) -> bytes:
        """The bytes themselves."""
        return data if type(data) is bytes else _bytes(data)


class _TextBase(_Base):
    __slots__ = ("_charset",)

    def __init__(self, media_type: MediaType | str) -> None:
        super().__init__(media_type)
        params = {name.lower(): value for name, value in self._media_type.params}
        self._charset = _charset(params.get("charset", "utf-8"))

    def _to_bytes(self, text: str) -> bytes:
        try:
            if self._charset in _MARKED:
                mark, _ = _MARKED[self._charset]
                return (mark if text else b"") + text.encode(f"{self._charset}-be")
            return text.encode(self._charset)
        except UnicodeEncodeError as problem:
            raise self._encode_error(
                f"character {problem.start} is not in {self._charset}"
            ) from None

    def _to_text(self, data: Buffer) -> str:
        data = _bytes(data)
        try:
            if self._charset in _MARKED and not data.startswith(_MARKED[self._charset][1]):
                return data.decode(f"{self._charset}-be")
            return data.decode(self._charset)
        except UnicodeDecodeError as problem:
            raise self._decode_error(
                f"not {self._charset}: {problem.reason}", problem.start
            ) from None


def _charset(name: str) -> str:
    try:
        found = codecs.lookup(name).name
        "".encode(found)  # LookupError for what is no text, such as base64
    except (LookupError, ValueError):
        found = ""
    if not found or found.replace("_", "-") in _NO_CHARSETS:
        raise EncodeError(f"{name!r} is no charset that Python knows", field="media_type")
    return found


class TextMarshaller(_TextBase):
    """str in the charset that the media type's parameter says, by default UTF-8."""

    __slots__ = ()

    def __init__(self, media_type: MediaType | str = "text/plain") -> None:
        super().__init__(media_type)

    def encode(self, value: str, /) -> bytes:
        """TypeError unless it is a str; EncodeError for characters that the charset has not."""
        if type(value) is str and self._charset == "utf-8":  # what most do, in half the time
            try:
                return value.encode()
            except UnicodeEncodeError:
                pass  # said below
        if not isinstance(value, str):
            self._refuse(value, "str")
        return self._to_bytes(value)

    def decode(self, data: Buffer, /) -> str:
        """The text; DecodeError for bytes that are not of the charset."""
        if type(data) is bytes and self._charset == "utf-8":
            try:
                return data.decode()
            except UnicodeDecodeError:
                pass
        return self._to_text(data)


class JsonMarshaller(_TextBase):
    """What json.dumps makes of a value, without white space, and members in their order.

    Stricter than it: NaN and infinities, which JSON does not have, and keys that are no str, which
    would come back as one, are errors. A tuple comes back as a list.
    """

    __slots__ = ()

    def __init__(self, media_type: MediaType | str = "application/json") -> None:
        super().__init__(media_type)

    def encode(self, value: Any, /) -> bytes:
        """TypeError for what JSON cannot hold; EncodeError for NaN, infinities, deep nesting."""
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            _check_keys(value)
        except TypeError as problem:
            raise TypeError(f"{self._media_type}: {problem}") from None
        except ValueError as problem:
            raise self._encode_error(str(problem)) from None
        except RecursionError:
            raise self._encode_error("nested too deep") from None
        return self._to_bytes(text)

    def decode(self, data: Buffer, /) -> Any:
        """The value; DecodeError with the byte where it stops being JSON."""
        text = self._to_text(data)
        try:
            return json.loads(text, parse_constant=_no_constant)
        except json.JSONDecodeError as problem:
            # At most: a mark for the byte order may not have been there.
            offset = min(len(self._to_bytes(text[: problem.pos])), memoryview(data).nbytes)
            raise self._decode_error(f"not JSON: {problem.msg}", offset) from None
        except ValueError as problem:
            raise self._decode_error(f"not JSON: {problem}") from None
        except RecursionError:
            raise self._decode_error("nested too deep") from None


def _check_keys(value: Any) -> None:
    if isinstance(value, dict):
        for key, member in value.items():
            if not isinstance(key, str):
                raise TypeError(f"keys are str, not {type(key).__name__}")
            _check_keys(member)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_keys(item)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


class ProtoStreamMarshaller(_Base):
    """Any value that hotrod_codec.protostream takes.

    Args:
        type: What encoding makes of every value, such as "int32": for a cache whose Java users
            have Integers. By default what `protostream.encode` makes of its Python type.
        types: The user's classes.
    """

    __slots__ = ("_type", "_types")

    def __init__(
        self,
        *,
        type: str | None = None,
        types: protostream.MessageTypes | None = None,
        media_type: MediaType | str = "application/x-protostream",
    ) -> None:
        super().__init__(media_type)
        self._type = type
        self._types = types

    @property
    def types(self) -> protostream.MessageTypes | None:
        """The user's classes."""
        return self._types

    def encode(self, value: Any, /) -> bytes:
        """A WrappedMessage; errors as those of hotrod_codec.protostream.encode."""
        return protostream.encode(value, type=self._type, types=self._types)

    def decode(self, data: Buffer, /) -> Any:
        """What the WrappedMessage holds; DecodeError for other bytes."""
        return protostream.decode(data, types=self._types)


BYTES: Final = BytesMarshaller()
"""application/octet-stream"""

TEXT: Final = TextMarshaller()
"""text/plain in UTF-8"""

JSON: Final = JsonMarshaller()
"""application/json"""

PROTOSTREAM: Final = ProtoStreamMarshaller()
"""application/x-protostream"""


def marshaller_for(media_type: MediaType | str, /) -> Marshaller[Any]:
    """The marshaller of a media type, its charset parameter included.

    Raises:
        EncodeError: There is none: an unknown format or charset, or one that only Java can read.
    """
    media_type = _as_media_type(media_type)
    name = media_type.name.lower()
    if name in _OPAQUE:
        return BytesMarshaller(media_type)
    if name == "application/x-protostream":
        return ProtoStreamMarshaller(media_type=media_type)
    if name == "application/json" or name.endswith("+json"):
        return JsonMarshaller(media_type)
    if name.startswith("text/") or name in _TEXTS:
        return TextMarshaller(media_type)
    problem = "only Java reads this" if name in _JAVA_ONLY else "there is no marshaller for this"
    raise EncodeError(
        f"{media_type}: {problem}; BytesMarshaller({str(media_type)!r}) passes its bytes on",
        field="media_type",
    )


# ---- one value, without a call of Python where it is of the usual kind


def one_encoder(marshaller: Marshaller[T], /) -> Callable[[T], bytes]:
    """What encodes a value as `marshaller.encode` does."""
    if _is_opaque(marshaller):
        return fast_opaque(marshaller.encode)
    return fast_encode_utf8(marshaller.encode) if _is_utf8(marshaller) else marshaller.encode


def one_decoder(marshaller: Marshaller[T], /) -> Callable[[bytes], T]:
    """What decodes a value as `marshaller.decode` does."""
    if _is_opaque(marshaller):
        return fast_opaque(marshaller.decode)
    return fast_decode_utf8(marshaller.decode) if _is_utf8(marshaller) else marshaller.decode


# ---- many values at once, for who moves many: a call for each takes longer than all the rest


def many_encoder(marshaller: Marshaller[T], /) -> Callable[[list[T]], list[bytes]]:
    """What encodes many values as `marshaller.encode` does each. It may give back the same list."""
    encode = marshaller.encode

    def one_by_one(values: list[T]) -> list[bytes]:
        return list(map(encode, values))

    def as_they_are(values: list[Any]) -> list[bytes]:
        return values if total_size(values) >= 0 else one_by_one(values)

    def texts(values: list[Any]) -> list[bytes]:
        with suppress(UnicodeEncodeError):  # `encode` says which one it is, and in which words
            if _STR.issuperset(map(type, values)):
                return list(map(str.encode, values))
        return one_by_one(values)

    if _is_opaque(marshaller):
        return as_they_are
    return texts if _is_utf8(marshaller) else one_by_one


def many_decoder(marshaller: Marshaller[T], /) -> Callable[[list[Any]], Iterable[Any]]:
    """What decodes many values, bytes as they come from a Reader, as `marshaller.decode` does each,
    when they are wanted; None stays None. It may give back the list itself."""
    decode = marshaller.decode

    def one_by_one(datas: list[Any]) -> Iterable[Any]:
        return (None if data is None else decode(data) for data in datas)

    def as_they_are(datas: list[Any]) -> Iterable[Any]:
        return datas

    def texts(datas: list[Any]) -> Iterable[Any]:
        with suppress(UnicodeDecodeError):
            if total_size(datas) >= 0:
                return list(map(bytes.decode, datas))
        return one_by_one(datas)

    if _is_opaque(marshaller):
        return as_they_are
    return texts if _is_utf8(marshaller) else one_by_one


_STR: Final = frozenset({str})


def _is_opaque(marshaller: Any) -> bool:  # and no subclass, which may do anything
    return type(marshaller) is BytesMarshaller


def _is_utf8(marshaller: Any) -> bool:
    return type(marshaller) is TextMarshaller and marshaller._charset == "utf-8"
