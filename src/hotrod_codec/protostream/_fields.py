"""Protobuf's fields: tags, varints, fixed numbers and byte strings, read within bounds.

Knows the encoding of a field and no message; wrapping.py, commons.py and query.py know those.
Nothing is allocated from a length before that many bytes are known to be there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hotrod_codec.errors import DecodeError

if TYPE_CHECKING:
    from typing_extensions import Buffer

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5

_FORMS: Final = {
    VARINT: "varint",
    FIXED64: "fixed64",
    BYTES: "length-delimited",
    3: "group",
    4: "end of group",
    FIXED32: "fixed32",
}
_MASK64: Final = 2**64 - 1
MAX_INT32: Final = 2**31 - 1


def tag(number: int, form: int) -> int:
    """The number that stands before a field."""
    return number << 3 | form


def tag_name(value: int) -> str:
    """A field for error texts: "field 31 (varint)"."""
    return f"field {value >> 3} ({_FORMS.get(value & 7, 'unknown form')})"


def signed32(value: int) -> int:
    """The low 32 bits of `value` as a signed number."""
    return (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


def signed64(value: int) -> int:
    """The low 64 bits of `value` as a signed number."""
    return (value & _MASK64 ^ 2**63) - 2**63


def as_bytes(data: Buffer) -> bytes:
    """`data` itself, or a copy of any other object that holds bytes."""
    return data if type(data) is bytes else memoryview(data).tobytes()


class Reader:
    """The fields of one message. `op` names the message in errors; offsets count from the start
    of `data`, of which `pos` to `end` are read."""

    __slots__ = ("data", "end", "op", "pos")

    def __init__(self, data: bytes, op: str, pos: int = 0, end: int | None = None) -> None:
        self.data = data
        self.op = op
        self.pos = pos
        self.end = len(data) if end is None else end

    @property
    def left(self) -> int:
        return self.end - self.pos

    def error(self, problem: str, field: str, offset: int) -> DecodeError:
        return DecodeError(problem, op=self.op, field=field, offset=offset)

    def varint(self, field: str) -> int:
        """64 bits, unsigned; what the tenth byte has beyond them is dropped."""
        start = at = self.pos
        value = 0
        for shift in range(0, 70, 7):
            if at == self.end:
                raise self.error("the data ends inside a varint", field, start)
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                self.pos = at
                return value & _MASK64
        raise self.error("a varint of more than 10 bytes", field, start)

    def tag(self) -> int:
        start = self.pos
        value = self.varint("tag")
        if not 8 <= value <= MAX_INT32:
            raise self.error(f"{value} is no tag", "tag", start)
        return value

    def fixed(self, size: int, field: str) -> bytes:
        start = self.pos
        if self.left < size:
            raise self.error(f"wants {size} bytes, {self.left} left", field, start)
        self.pos += size
        return self.data[start : self.pos]

    def span(self, field: str) -> tuple[int, int]:
        """Where a length-delimited field's content begins and ends; the reader goes behind it."""
        start = self.pos
        size = self.varint(field)
        if size > self.left:
            raise self.error(f"wants {size} bytes, {self.left} left", field, start)
        begin = self.pos
        self.pos = begin + size
        return begin, self.pos

    def content(self, field: str) -> bytes:
        begin, end = self.span(field)
        return self.data[begin:end]

    def text(self, field: str) -> str:
        begin, end = self.span(field)
        try:
            return self.data[begin:end].decode()
        except UnicodeDecodeError as problem:
            raise self.error(f"not UTF-8: {problem.reason}", field, begin + problem.start) from None

    def flag(self, field: str) -> bool:
        start = self.pos
        byte = self.fixed(1, field)[0]
        if byte > 1:
            raise self.error(f"{byte} is neither 0 nor 1", field, start)
        return byte == 1

    def int32(self, field: str) -> int:
        return signed32(self.varint(field))

    def int64(self, field: str) -> int:
        return signed64(self.varint(field))

    def inner(self, field: str) -> Reader:
        """A reader of an embedded message."""
        return Reader(self.data, self.op, *self.span(field))

    def skip(self, value: int) -> None:
        """Leave out a field whose tag was just read, as readers of protobuf do."""
        form = value & 7
        if form == VARINT:
            self.varint(tag_name(value))
        elif form == FIXED64:
            self.fixed(8, tag_name(value))
        elif form == BYTES:
            self.span(tag_name(value))
        elif form == FIXED32:
            self.fixed(4, tag_name(value))
        else:
            raise self.error("not a form that is in use", tag_name(value), self.pos)


def varint(value: int) -> bytes:
    """`value` as a varint; a negative one as the 64 bits of its two's complement."""
    value &= _MASK64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def put_varint(out: bytearray, number: int, value: int) -> None:
    out += varint(tag(number, VARINT))
    out += varint(value)


def put_bytes(out: bytearray, number: int, value: bytes | bytearray) -> None:
    out += varint(tag(number, BYTES))
    out += varint(len(value))
    out += value
