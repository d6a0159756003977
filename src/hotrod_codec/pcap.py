"""Packet captures: files of packets, and the byte streams of the TCP connections in them.

Reads pcap (both byte orders, microseconds and nanoseconds) and pcapng (sections, interfaces,
enhanced, simple and obsolete packets) as they come, from files and pipes; peels Ethernet (VLANs
too), Linux cooked, raw IP and loopback down to TCP; puts the segments of each connection and
direction in order. Knows no Hot Rod; explain.py does. Checksums are not looked at: in a capture on
the sending machine they are often not filled in yet. IP fragments are counted, not put together.

All input is untrusted: what is no capture is a CaptureError, a packet that makes no sense is
counted and left out, and what is held of segments out of order and of connections is bounded.
"""

from __future__ import annotations

import bisect
import ipaddress
import struct
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from hotrod_codec.errors import HotRodError

__all__ = [
    "CaptureError",
    "Chunk",
    "Closed",
    "Connection",
    "Endpoint",
    "Packet",
    "Reassembler",
    "Source",
    "is_capture",
    "read_packets",
]

_SECOND: Final = 10**9


class CaptureError(HotRodError, ValueError):
    """The file is no capture, or breaks off.

    Attributes:
        offset: The byte of the file at which what is wrong begins.
    """

    offset: int

    def __init__(self, problem: str, offset: int) -> None:
        super().__init__(f"capture at byte {offset}: {problem}")
        self.offset = offset


class Source(Protocol):
    """A binary file or pipe."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


# ---- files ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet as it was captured.

    Attributes:
        number: From 1 on, as other tools count.
        time: Nanoseconds since 1970; None where the file does not tell.
        link_type: How the packet begins: a number from the list of link types of libpcap.
        data: What was captured of it.
        truncated: Whether there was more.
    """

    number: int
    time: int | None
    link_type: int
    data: bytes
    truncated: bool


_PCAP_MAGICS: Final = {  # byte order, nanoseconds per unit
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
_PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
_BYTE_ORDERS: Final = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_PCAP_HEAD: Final = 24
_MOST_OF_PACKET: Final = 1 << 24  # bytes; capturing tools take 2**18 at the most
_MOST_OF_BLOCK: Final = 1 << 25
_MOST_INTERFACES: Final = 1 << 16

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_OLD_PACKET: Final = 2
_SIMPLE_PACKET: Final = 3
_ENHANCED_PACKET: Final = 6
_OPTION_TIME_UNIT: Final = 9
_OPTION_TIME_OFFSET: Final = 14


def is_capture(head: bytes) -> bool:
    """Whether bytes begin as a capture does; wants the first 12, as Hot Rod responses begin like
    one of the magics."""
    if head[:4] == _PCAPNG_MAGIC:
        return head[8:12] in _BYTE_ORDERS
    order = _PCAP_MAGICS.get(head[:4])
    return order is not None and head[4:8] == struct.pack(order[0] + "HH", 2, 4)


class _Input:
    """Bytes of the source in order, and how far they are."""

    def __init__(self, source: Source, head: bytes) -> None:
        self._source = source
        self._head = head
        self.at = 0

    def take(self, count: int, *, end: bool = False) -> bytes:
        """The next `count` bytes. With `end`, b"" where the source ends right here."""
        data = self._head[:count]
        self._head = self._head[count:]
        parts = [data]
        missing = count - len(data)
        while missing > 0 and (part := self._source.read(missing)):
            parts.append(part)
            missing -= len(part)
        if missing and not (end and missing == count):
            raise CaptureError(f"wants {count} bytes, {count - missing} are left", self.at)
        self.at += count - missing
        return b"".join(parts)

    def skip(self, count: int) -> None:
        while count > 0:
            count -= len(self.take(min(count, 1 << 20)))


def read_packets(source: Source, head: bytes = b"") -> Iterator[Packet]:
    """The packets of a capture as they come.

    Args:
        source: Where to read.
        head: What has been read from it already.

    Raises:
        CaptureError: The source is no capture, or breaks off; the packets before that have been
            given.
    """
    data = _Input(source, head)
    magic = data.take(4)
    if magic == _PCAPNG_MAGIC:
        yield from _pcapng(data)
    elif magic in _PCAP_MAGICS:
        yield from _pcap(data, *_PCAP_MAGICS[magic])
    else:
        raise CaptureError(f"neither pcap nor pcapng begins with {magic.hex(' ')}", 0)


def _pcap(data: _Input, order: str, unit: int) -> Iterator[Packet]:
    major, _, _, _, _, link = struct.unpack(order + "HHiIII", data.take(_PCAP_HEAD - 4))
    if major != 2:
        raise CaptureError(f"version {major} of pcap, expected 2", 4)
    record = struct.Struct(order + "IIII")
    number = 0
    while head := data.take(record.size, end=True):
        at = data.at - record.size
        seconds, fraction, captured, length = record.unpack(head)
        if captured > _MOST_OF_PACKET:
            raise CaptureError(f"a packet of {captured} bytes; no packet is that long", at)
        number += 1
        time = seconds * _SECOND + fraction * unit
        # The upper half of the link type tells of checksums behind the packet, which IP ignores.
        yield Packet(number, time, link & 0xFFFF, data.take(captured), captured < length)


@dataclass(slots=True)
class _Interface:
    """What pcapng tells of where packets were captured."""

    link_type: int
    most: int  # bytes of a packet, 0: all
    units: int = 10**6  # per second
    offset: int = 0  # seconds

    def time(self, high: int, low: int) -> int:
        return self.offset * _SECOND + ((high << 32) | low) * _SECOND // self.units


def _options(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from(order + "HH", data, at)
        if code == 0:
            return
        yield code, data[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4


def _interface(body: bytes, order: str, at: int) -> _Interface:
    if len(body) < 8:
        raise CaptureError("an interface block without an interface", at)
    link, _, most = struct.unpack_from(order + "HHI", body)
    made = _Interface(link, most)
    for code, value in _options(body[8:], order):
        if code == _OPTION_TIME_UNIT and value:
            made.units = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == _OPTION_TIME_OFFSET and len(value) == 8:
            (made.offset,) = struct.unpack(order + "q", value)
    return made


def _pcapng(data: _Input) -> Iterator[Packet]:
    order = "<"
    interfaces: list[_Interface] = []
    number = 0
    head = _PCAPNG_MAGIC + data.take(4)
    while head:
        at = data.at - 8
        body = b""
        if head[:4] == _PCAPNG_MAGIC:  # reads the same in both orders
            body = data.take(4)
            if body not in _BYTE_ORDERS:
                raise CaptureError(f"a section whose byte order is {body.hex(' ')}", at)
            order = _BYTE_ORDERS[body]
            interfaces = []
        kind, size = struct.unpack(order + "II", head)
        if size % 4 or size < 12 + len(body):
            raise CaptureError(f"a block of {size} bytes", at)
        rest = size - 12 - len(body)
        if kind in (_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET):
            if size > _MOST_OF_BLOCK:
                raise CaptureError(f"a block of {size} bytes; no packet is that long", at)
            body += data.take(rest)
        else:
            data.skip(rest)
        end = data.take(4)
        if struct.unpack(order + "I", end)[0] != size:
            raise CaptureError(
                f"the block's length is {size} at its beginning, "
                f"{struct.unpack(order + 'I', end)[0]} at its end",
                at,
            )
        if kind == _INTERFACE:
            if len(interfaces) == _MOST_INTERFACES:
                raise CaptureError(f"more than {_MOST_INTERFACES} interfaces", at)
            interfaces.append(_interface(body, order, at))
        elif kind in (_OLD_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET):
            number += 1
            yield _block_packet(kind, body, order, interfaces, number, at)
        head = data.take(8, end=True)


def _block_packet(
    kind: int, body: bytes, order: str, interfaces: list[_Interface], number: int, at: int
) -> Packet:
    which = high = low = 0
    try:
        if kind == _SIMPLE_PACKET:
            start = 4
            (length,) = struct.unpack_from(order + "I", body)
            captured = min(length, len(body) - start)
            if interfaces and interfaces[0].most:
                captured = min(captured, interfaces[0].most)
        else:
            start = 20
            form = "IIIII" if kind == _ENHANCED_PACKET else "HxxIIII"
            which, high, low, captured, length = struct.unpack_from(order + form, body)
    except struct.error:
        raise CaptureError(f"a packet block of {len(body)} bytes", at) from None
    if captured > len(body) - start:
        raise CaptureError(f"a packet of {captured} bytes in a block of {len(body)}", at)
    if which >= len(interfaces):
        raise CaptureError(f"a packet of interface {which}, of which nothing was said", at)
    interface = interfaces[which]
    time = None if kind == _SIMPLE_PACKET else interface.time(high, low)
    data = body[start : start + captured]
    return Packet(number, time, interface.link_type, data, captured < length)


# ---- packets -------------------------------------------------------------------------------------

_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_VLANS: Final = frozenset({0x8100, 0x88A8, 0x9100})
_NULL: Final = 0
_ETHERNET: Final = 1
_RAW: Final = frozenset({12, 14, 101, 228, 229})  # 12 and 14: what some systems call 101
_LOOP: Final = 108
_COOKED: Final = 113
_COOKED_2: Final = 276
# The address families of the loopback types: IPv4 everywhere, IPv6 by system.
_FAMILIES: Final = {2: _IPV4, 10: _IPV6, 24: _IPV6, 28: _IPV6, 30: _IPV6}
_TCP: Final = 6
_FRAGMENT_HEADER: Final = 44
_AUTHENTICATION_HEADER: Final = 51
_EXTENSIONS: Final = frozenset({0, 43, 60, 135, 139, 140, _FRAGMENT_HEADER, _AUTHENTICATION_HEADER})

_FIN: Final = 1
_SYN: Final = 2
_RST: Final = 4
_ACK: Final = 16


class _Skip(Exception):
    """The packet tells nothing of a TCP connection; says why."""


class Endpoint(NamedTuple):
    """One end of a connection."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_Place = tuple[bytes, int]  # address and port


class _Segment(NamedTuple):
    source: _Place
    target: _Place
    sequence: int
    acknowledged: int | None
    flags: int
    data: bytes
    length: int  # of the data when it was sent


def _u16(data: bytes, at: int) -> int:
    if at + 2 > len(data):
        raise _Skip("cut off inside of their headers")
    return data[at] << 8 | data[at + 1]


def _network_of(packet: Packet) -> tuple[int, int]:
    """The protocol over the link, and where it begins."""
    data, link = packet.data, packet.link_type
    if link == _ETHERNET:
        protocol, at = _u16(data, 12), 14
    elif link == _COOKED:
        protocol, at = _u16(data, 14), 16
    elif link == _COOKED_2:
        protocol, at = _u16(data, 0), 20
    elif link in (_NULL, _LOOP):
        family = _u16(data, 0), _u16(data, 2)  # in the byte order of whoever captured
        number = family[1] if family[0] == 0 else family[0] >> 8 | (family[0] & 0xFF) << 8
        return _FAMILIES.get(number, 0), 4
    elif link in _RAW:
        version = data[0] >> 4 if data else 0
        return {4: _IPV4, 6: _IPV6}.get(version, 0), 0
    else:
        raise _Skip(f"of link type {link}, which is not known here")
    while protocol in _VLANS:
        protocol, at = _u16(data, at + 2), at + 4
    return protocol, at


def _segment_of(packet: Packet) -> _Segment:
    """The TCP segment in a packet."""
    data = packet.data
    protocol, at = _network_of(packet)
    if protocol == _IPV4:
        source, target, at, end = _ipv4(data, at)
    elif protocol == _IPV6:
        source, target, at, end = _ipv6(data, at)
    else:
        raise _Skip("not IP")
    offset = (_u16(data, at + 12) >> 12) * 4
    if at + 20 > len(data) or at + offset > len(data):
        raise _Skip("cut off inside of their headers")
    if offset < 20 or at + offset > end:
        raise _Skip("broken TCP")
    ports, sequence, acknowledged, flags = struct.unpack_from(">IIIxB", data, at)
    start = at + offset
    return _Segment(
        (source, ports >> 16),
        (target, ports & 0xFFFF),
        sequence,
        acknowledged if flags & _ACK else None,
        flags,
        data[start:end],
        end - start,
    )


def _ipv4(data: bytes, at: int) -> tuple[bytes, bytes, int, int]:
    if at + 20 > len(data):
        raise _Skip("cut off inside of their headers")
    header = (data[at] & 15) * 4
    if data[at] >> 4 != 4 or header < 20:
        raise _Skip("broken IP")
    if data[at + 9] != _TCP:
        raise _Skip("not TCP")
    # More fragments, or a place within the whole.
    if _u16(data, at + 6) & 0x3FFF:
        raise _Skip("IPv4 fragments, which are not put together here")
    # A network card that cuts packets itself is given them without a length.
    length = _u16(data, at + 2) or len(data) - at
    if length < header:
        raise _Skip("broken IP")
    return data[at + 12 : at + 16], data[at + 16 : at + 20], at + header, at + length


def _ipv6(data: bytes, at: int) -> tuple[bytes, bytes, int, int]:
    if at + 40 > len(data):
        raise _Skip("cut off inside of their headers")
    if data[at] >> 4 != 6:
        raise _Skip("broken IP")
    source, target = data[at + 8 : at + 24], data[at + 24 : at + 40]
    end = at + 40 + (_u16(data, at + 4) or len(data) - at - 40)
    kind = data[at + 6]
    at += 40
    while kind in _EXTENSIONS:
        if at + 8 > len(data):
            raise _Skip("cut off inside of their headers")
        if kind == _FRAGMENT_HEADER:
            if _u16(data, at + 2) & 0xFFF9:
                raise _Skip("IPv6 fragments, which are not put together here")
            length = 8
        else:
            length = (
                (data[at + 1] + 2) * 4 if kind == _AUTHENTICATION_HEADER else 8 + data[at + 1] * 8
            )
        kind = data[at]
        at += length
    if kind != _TCP:
        raise _Skip("not TCP")
    return source, target, at, end


# ---- connections ---------------------------------------------------------------------------------

_MOST_PENDING: Final = 1 << 23  # bytes out of order, of one direction
_MOST_PENDING_IN_ALL: Final = 1 << 26
_MOST_SEGMENTS: Final = 4096  # out of order, of one direction
_MOST_CONNECTIONS: Final = 1 << 16
_PATIENCE: Final = 16  # packets that may come before a segment that was acknowledged already
_WINDOW: Final = 1 << 30  # no sender is further ahead of its receiver


@dataclass(eq=False, slots=True)
class Connection:
    """A TCP connection. Its two sides are 0 and 1; 0 is the one whose packet came first.

    Attributes:
        number: From 1 on, in the order of their first packets.
        ends: Address and port of each side.
        opener: The side that opened it; None when the capture began later.
        whole: For each side, whether the capture has its stream from the first byte on.
    """

    number: int
    ends: tuple[Endpoint, Endpoint]
    opener: int | None = None
    whole: list[bool] = field(default_factory=lambda: [False, False])


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next bytes of one direction, in order.

    Attributes:
        connection: Whose they are.
        side: The sender.
        time: When they were captured, as in Packet.
        offset: Their place in the stream: 0 is the first byte, of those captured if the capture
            began later.
        data: The bytes; b"" in place of bytes that are missing.
        missing: How many bytes right before `offset` are not in the capture.
    """

    connection: Connection
    side: int
    time: int | None
    offset: int
    data: bytes
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing more comes of a connection; `how` says why."""

    connection: Connection
    time: int | None
    how: str


class _Side:
    """One direction: what comes next, and what came too early. Sequence numbers are counted on
    beyond 32 bits."""

    __slots__ = (
        *("acknowledged", "begin", "end", "fin", "next", "pending", "size", "starts"),
        *("time", "times", "wait"),
    )

    def __init__(self) -> None:
        self.begin: int | None = None  # the number of the stream's first byte
        self.next = 0  # of the byte that is wanted
        self.end = 0  # behind the last byte that is known of
        self.acknowledged = 0
        self.fin: int | None = None
        self.starts: list[int] = []  # where pending segments begin
        self.pending: list[bytes] = []
        self.times: list[int | None] = []
        self.time: int | None = None  # of the bytes before `next`
        self.size = 0  # of the pending segments
        self.wait = 0  # packets since they were acknowledged

    def near(self, sequence: int) -> int:
        """The number nearest to `next` whose lower 32 bits are these."""
        distance = (sequence - self.next) & 0xFFFFFFFF
        return self.next + (distance if distance < 1 << 31 else distance - (1 << 32))

    def start(self, sequence: int) -> None:
        self.begin = self.next = self.end = self.acknowledged = sequence

    def hold(self, start: int, data: bytes, time: int | None) -> None:
        """Keep what came too early. Where two segments overlap, the first one counts."""
        i = bisect.bisect_right(self.starts, start)
        if i and (over := self.starts[i - 1] + len(self.pending[i - 1]) - start) > 0:
            start, data = start + over, data[over:]
        while data:
            room = self.starts[i] - start if i < len(self.starts) else len(data)
            if room > 0:
                self.starts.insert(i, start)
                self.pending.insert(i, data[:room])
                self.times.insert(i, time)
                self.size += len(self.pending[i])
                i += 1
            if i == len(self.starts):
                return
            over = self.starts[i] + len(self.pending[i]) - start
            start, data = start + over, data[over:]
            i += 1

    def take(self) -> Iterator[bytes]:
        """What is next in order now."""
        while self.starts and self.starts[0] <= self.next:
            start, data, time = self.starts.pop(0), self.pending.pop(0), self.times.pop(0)
            self.size -= len(data)
            if fresh := data[self.next - start :]:
                self.accept(fresh, time)
                yield fresh

    def accept(self, data: bytes, time: int | None) -> None:
        """These are next. They count as captured not before those in front of them."""
        self.next += len(data)
        if time is not None and (self.time is None or time > self.time):
            self.time = time


class _Tracked:
    """A connection while its packets come."""

    __slots__ = ("closed", "connection", "places", "sides")

    def __init__(self, connection: Connection, places: tuple[_Place, _Place]) -> None:
        self.connection = connection
        self.places = places
        self.sides = (_Side(), _Side())
        self.closed = False


class Reassembler:
    """Puts the TCP segments of packets in order.

    Attributes:
        skipped: How many packets told nothing of a TCP connection, by reason.
    """

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self._tracked: OrderedDict[tuple[_Place, _Place], _Tracked] = OrderedDict()
        self._count = 0
        self._held = 0  # bytes out of order, of all connections

    def feed(self, packet: Packet) -> Iterator[Chunk | Closed]:
        """What a packet brings. The iterator has to be read to its end."""
        try:
            segment = _segment_of(packet)
        except _Skip as e:
            # The reasons are few, link types excepted.
            if str(e) in self.skipped or len(self.skipped) < 64:
                self.skipped[str(e)] += 1
            return
        a, b = segment.source, segment.target
        key = (a, b) if a <= b else (b, a)
        tracked = self._tracked.get(key)
        if tracked is not None and segment.flags & _SYN and _is_new(tracked, segment):
            yield from self._close(tracked, packet.time, "the ports were used again")
            tracked = None
        if tracked is None:
            tracked = self._track(key, segment)
            if len(self._tracked) > _MOST_CONNECTIONS:
                _, oldest = self._tracked.popitem(last=False)
                yield from self._close(
                    oldest, packet.time, f"more than {_MOST_CONNECTIONS} connections"
                )
        self._tracked.move_to_end(key)
        if not tracked.closed:
            yield from self._segment(tracked, segment, packet.time)

    def finish(self) -> Iterator[Chunk | Closed]:
        """What is left when there are no more packets."""
        for tracked in self._tracked.values():
            yield from self._close(tracked, None, "the capture ends")
        self._tracked.clear()

    def _track(self, key: tuple[_Place, _Place], segment: _Segment) -> _Tracked:
        self._count += 1
        ends = [
            Endpoint(str(ipaddress.ip_address(address)), port)
            for address, port in (segment.source, segment.target)
        ]
        connection = Connection(self._count, (ends[0], ends[1]))
        tracked = _Tracked(connection, (segment.source, segment.target))
        self._tracked[key] = tracked
        return tracked

    def _segment(
        self, tracked: _Tracked, segment: _Segment, time: int | None
    ) -> Iterator[Chunk | Closed]:
        number = 0 if segment.source == tracked.places[0] else 1
        side, other = tracked.sides[number], tracked.sides[1 - number]
        sequence = segment.sequence
        if segment.flags & _SYN:
            sequence = (sequence + 1) & 0xFFFFFFFF  # it takes a number of its own
            if side.begin is None:
                side.start(sequence)
                tracked.connection.whole[number] = True
            if tracked.connection.opener is None:
                opener = 1 - number if segment.flags & _ACK else number
                tracked.connection.opener = opener
        if side.begin is None and segment.length:
            side.start(sequence)
        if other.begin is not None and segment.acknowledged is not None:
            acknowledged = other.near(segment.acknowledged)
            if acknowledged - other.next <= _WINDOW:
                other.acknowledged = max(other.acknowledged, acknowledged)
        if side.begin is not None:
            start = side.near(sequence)
            if start - side.next > _WINDOW:
                return  # of no connection that could be this one
            if segment.length:
                side.end = max(side.end, start + segment.length)
            if segment.flags & _FIN:
                side.fin = side.end = start + segment.length
            yield from self._data(tracked, number, start, segment.data, time)
            cut = start + len(segment.data)
            if cut <= side.next < start + segment.length:
                # What is left of the segment was not captured: no need to wait for it.
                yield from self._jump(tracked, number, start + segment.length)
        for index in (number, 1 - number):
            yield from self._give_up(tracked, index)
        if segment.flags & _RST:
            yield from self._close(
                tracked, time, "reset by " + str(tracked.connection.ends[number])
            )
        elif all(side.fin is not None and side.next >= side.fin for side in tracked.sides):
            yield from self._close(tracked, time, "closed")

    def _data(
        self, tracked: _Tracked, number: int, start: int, data: bytes, time: int | None
    ) -> Iterator[Chunk]:
        side = tracked.sides[number]
        if start < side.next:  # sent again, in part or in whole; a keep-alive
            data, start = data[side.next - start :], side.next
        if not data:
            return
        if start == side.next and not side.starts:
            side.accept(data, time)
            yield self._chunk(tracked, number, data)
            return
        self._held -= side.size
        side.hold(start, data, time)
        for ready in side.take():
            yield self._chunk(tracked, number, ready)
        self._held += side.size

    @staticmethod
    def _chunk(tracked: _Tracked, number: int, data: bytes, missing: int = 0) -> Chunk:
        side = tracked.sides[number]
        offset = side.next - len(data) - (side.begin or 0)
        return Chunk(tracked.connection, number, side.time, offset, data, missing)

    def _give_up(self, tracked: _Tracked, number: int) -> Iterator[Chunk]:
        """Wait no more for a segment that its receiver has got, or when too much has come since."""
        side = tracked.sides[number]
        if not side.starts:
            side.wait = 0
            return
        side.wait += side.acknowledged >= side.starts[0]
        while side.starts and (
            side.wait > _PATIENCE
            or side.size > _MOST_PENDING
            or len(side.starts) > _MOST_SEGMENTS
            or self._held > _MOST_PENDING_IN_ALL
        ):
            yield from self._jump(tracked, number, side.starts[0])
            side.wait = 0

    def _jump(self, tracked: _Tracked, number: int, to: int) -> Iterator[Chunk]:
        """Go on behind bytes that are missing: at `to`, or where a pending segment begins."""
        side = tracked.sides[number]
        if side.starts:
            to = min(to, side.starts[0])
        missing = to - side.next
        side.next = to
        yield self._chunk(tracked, number, b"", missing)
        self._held -= side.size
        for data in side.take():
            yield self._chunk(tracked, number, data)
        self._held += side.size

    def _close(self, tracked: _Tracked, time: int | None, how: str) -> Iterator[Chunk | Closed]:
        if tracked.closed:
            return
        tracked.closed = True
        for number, side in enumerate(tracked.sides):
            while side.starts:
                yield from self._jump(tracked, number, side.starts[0])
            end = side.end
            # A FIN that was not captured has been acknowledged, too.
            if side.fin is None and side.acknowledged > side.next + 1:
                end = max(end, side.acknowledged)
            if side.begin is not None and end > side.next:
                yield from self._jump(tracked, number, end)
        yield Closed(tracked.connection, time, how)


def _is_new(tracked: _Tracked, segment: _Segment) -> bool:
    """Whether a SYN opens another connection between the same ports, not this one once more."""
    number = 0 if segment.source == tracked.places[0] else 1
    side, other = tracked.sides[number], tracked.sides[1 - number]
    first = (segment.sequence + 1) & 0xFFFFFFFF
    if tracked.connection.whole[number]:
        return side.begin is None or side.begin & 0xFFFFFFFF != first
    # Its own first packet may have been captured behind one of the other side.
    fresh = other.begin is None or tracked.connection.whole[1 - number]
    return tracked.closed or side.begin is not None or not fresh
