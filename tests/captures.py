"""Packet captures made for tests: TCP segments in packets of every kind, files of every form.

Written from the formats' descriptions, on its own: nothing here is shared with what it tests.
Checksums are left 0, as where network cards fill them in.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
START = 1_700_000_000_123_456_789  # nanoseconds
NULL, ETHERNET, RAW, LOOP, SLL, SLL2 = 0, 1, 101, 108, 113, 276
LINKS = (NULL, ETHERNET, RAW, LOOP, SLL, SLL2)


@dataclass(frozen=True)
class Segment:
    """A TCP segment on its way; `cut` bytes of its end were not captured."""

    source: tuple[str, int]
    target: tuple[str, int]
    sequence: int
    acknowledged: int
    flags: int
    data: bytes = b""
    time: int = START
    cut: int = 0

    def tcp(self) -> bytes:
        options = b"\x01\x01\x08\x0a" + bytes(8) if not self.flags & SYN else b"\x02\x04\x05\xb4"
        offset = (20 + len(options)) // 4 << 4
        head = struct.pack(
            ">HHIIBBHHH",
            self.source[1],
            self.target[1],
            self.sequence & 0xFFFFFFFF,
            self.acknowledged & 0xFFFFFFFF,
            offset,
            self.flags,
            0xFFFF,
            0,
            0,
        )
        return head + options + self.data

    def ip(self) -> bytes:
        source, target = (ipaddress.ip_address(end[0]).packed for end in (self.source, self.target))
        payload = self.tcp()
        if len(source) == 4:
            head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0x4000, 64, 6, 0)
            return head + source + target + payload
        # With hop-by-hop and destination options, and a fragment header of the only fragment.
        extensions = bytes([60, 0]) + bytes(6) + bytes([44, 1]) + bytes(14)
        extensions += bytes([6, 0]) + bytes(6)
        length = len(extensions) + len(payload)
        return struct.pack(">IHBB", 6 << 28, length, 0, 64) + source + target + extensions + payload

    def packet(self, link: int, order: str = "<", vlans: int = 0) -> bytes:
        ip = self.ip()
        is_old = ip[0] >> 4 == 4
        protocol = struct.pack(">H", 0x0800 if is_old else 0x86DD)
        tags = b"".join(
            struct.pack(">HH", 0x88A8 if i else 0x8100, 7 + i) for i in reversed(range(vlans))
        )
        if link == ETHERNET:
            # Short frames are padded to 60 bytes.
            data = (bytes(12) + tags + protocol + ip).ljust(60, b"\xee")
        elif link == RAW:
            data = ip
        elif link == NULL:
            data = struct.pack(order + "I", 2 if is_old else 30) + ip
        elif link == LOOP:
            data = struct.pack(">I", 2 if is_old else 24) + ip
        elif link == SLL:
            data = struct.pack(">HHH8s", 0, 1, 6, bytes(8)) + tags + protocol + ip
        else:
            data = protocol + bytes(18) + ip
        return data[: len(data) - self.cut] if self.cut else data


@dataclass
class Talk:
    """Both ends of a TCP connection, as far as a capture sees them."""

    client: tuple[str, int] = ("10.0.0.1", 40000)
    server: tuple[str, int] = ("10.0.0.2", 11222)
    numbers: tuple[int, int] = (1000, 5_000_000)
    time: int = START

    def __post_init__(self) -> None:
        self.next = list(self.numbers)

    def send(
        self, side: int, data: bytes = b"", flags: int = ACK, *, size: int = 1448
    ) -> list[Segment]:
        """Segments from the client (0) or the server (1)."""
        ends = (self.client, self.server) if side == 0 else (self.server, self.client)
        made = []
        for i in range(0, max(1, len(data)), size):
            part = data[i : i + size]
            self.time += 1_000_000
            number, acknowledged = self.next[side], self.next[1 - side] if flags & ACK else 0
            made.append(Segment(*ends, number, acknowledged, flags, part, self.time))
            self.next[side] += len(part) + bool(flags & (SYN | FIN))
        return made

    def open(self) -> list[Segment]:
        return [*self.send(0, flags=SYN), *self.send(1, flags=SYN | ACK), *self.send(0)]

    def close(self) -> list[Segment]:
        return [*self.send(0, flags=FIN | ACK), *self.send(1, flags=FIN | ACK), *self.send(0)]

    def whole(self, parts: Iterable[tuple[int, bytes]], *, size: int = 1448) -> list[Segment]:
        """From handshake to end; `parts` are (side, data)."""
        made = self.open()
        for side, data in parts:
            made += self.send(side, data, ACK | PSH, size=size)
        return made + self.close()


def pcap(
    segments: Sequence[Segment],
    *,
    link: int = ETHERNET,
    order: str = "<",
    nanoseconds: bool = False,
    vlans: int = 0,
) -> bytes:
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link)]
    for segment in segments:
        data = segment.packet(link, order, vlans)
        seconds, rest = divmod(segment.time, 10**9)
        fraction = rest if nanoseconds else rest // 1000
        parts.append(
            struct.pack(order + "IIII", seconds, fraction, len(data), len(data) + segment.cut)
        )
        parts.append(data)
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + size + body + size


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int, order: str = "<", options: Sequence[tuple[int, bytes]] = ()) -> bytes:
    body = struct.pack(order + "HHI", link, 0, 262144)
    for code, value in options:
        body += struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)
    return block(1, body + (bytes(4) if options else b""), order)


def enhanced(
    segment: Segment, link: int, order: str = "<", *, which: int = 0, unit: int = 1000
) -> bytes:
    """An enhanced packet block; `unit` in nanoseconds."""
    data = segment.packet(link, order)
    time = segment.time // unit
    head = struct.pack(
        order + "IIIII", which, time >> 32, time & 0xFFFFFFFF, len(data), len(data) + segment.cut
    )
    return block(6, head + data + bytes(-len(data) % 4), order)


def simple(segment: Segment, link: int, order: str = "<") -> bytes:
    data = segment.packet(link, order)
    return block(3, struct.pack(order + "I", len(data)) + data, order)


def pcapng(segments: Sequence[Segment], *, link: int = ETHERNET, order: str = "<") -> bytes:
    return (
        section(order)
        + interface(link, order, [(9, b"\x09")])
        + block(5, bytes(12), order)  # statistics, to be left alone
        + b"".join(enhanced(segment, link, order, unit=1) for segment in segments)
    )


def moved(segment: Segment, seconds: float) -> Segment:
    """The segment at another time."""
    return replace(segment, time=segment.time + int(seconds * 10**9))
