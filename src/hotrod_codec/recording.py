"""Recordings of a connection, files named .hrs.

A recording holds what a proxy between client and server read from both sockets, in order. Knows
the file's records and nothing of the frames inside: where a record ends, the network cut.

    file    = "HRS1" record*
    record  = direction (1 byte: 0 to the server, 1 to the client), microseconds since the first
              record (8 bytes), length (4 bytes), that many bytes; numbers are big-endian
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from hotrod_codec.errors import HotRodError

__all__ = [
    "Direction",
    "Record",
    "RecordingError",
    "is_recording",
    "iter_recording",
    "read_recording",
]

_MAGIC: Final = b"HRS1"
_HEAD: Final = struct.Struct(">BQI")


class RecordingError(HotRodError, ValueError):
    """The bytes are no recording, or end inside a record.

    Attributes:
        offset: The byte of the file at which what is wrong begins.
    """

    offset: int

    def __init__(self, problem: str, offset: int) -> None:
        super().__init__(problem)
        self.offset = offset


class Direction(IntEnum):
    """Which way bytes went."""

    TO_SERVER = 0
    TO_CLIENT = 1


@dataclass(frozen=True, slots=True)
class Record:
    """One read from a socket.

    Attributes:
        direction: Which way the bytes went.
        microseconds: Since the first record.
        data: The bytes; frames begin and end anywhere in them.
    """

    direction: Direction
    microseconds: int
    data: bytes


def is_recording(data: bytes) -> bool:
    """Whether the bytes begin as a recording does."""
    return data.startswith(_MAGIC)


def read_recording(data: bytes) -> list[Record]:
    """The records of a recording, in order.

    Raises:
        RecordingError: The bytes are no recording, or end inside a record.
    """
    return list(iter_recording(data))


def iter_recording(data: bytes) -> Iterator[Record]:
    """The same, one by one: those before a broken one are given."""
    if not is_recording(data):
        raise RecordingError(f"not a recording: it begins with {data[:4]!r}, not {_MAGIC!r}", 0)
    at = len(_MAGIC)
    while at < len(data):
        if len(data) - at < _HEAD.size:
            raise RecordingError(f"the recording ends inside the record at byte {at}", at)
        direction, microseconds, size = _HEAD.unpack_from(data, at)
        if direction not in (Direction.TO_SERVER, Direction.TO_CLIENT):
            problem = f"record at byte {at}: direction {direction}, expected 0 or 1"
            raise RecordingError(problem, at)
        start = at + _HEAD.size
        if len(data) - start < size:
            problem = f"record at byte {at}: wants {size} bytes, {len(data) - start} are left"
            raise RecordingError(problem, at)
        yield Record(Direction(direction), microseconds, data[start : start + size])
        at = start + size
