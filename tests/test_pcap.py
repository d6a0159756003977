"""Packet captures: what was said on a connection is read from packets of every kind, in any order,
and what is missing is told."""

from __future__ import annotations

import io
import itertools
import json
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import captures
import vector_data
from captures import ACK, ETHERNET, LINKS, RAW, RST, SLL, Segment, Talk
from hotrod_codec import encode_request, encode_response, trace_request, trace_response
from hotrod_codec.cli import main
from hotrod_codec.explain import Explainer, Frame, Note
from hotrod_codec.pcap import CaptureError, Chunk, Reassembler, is_capture, read_packets
from hotrod_codec.recording import Direction, Record

Parts = list[tuple[int, bytes]]


def explain(data: bytes, **options: object) -> tuple[list[Frame], list[Note]]:
    """The frames and the notes of a capture."""
    found = list(Explainer().capture(read_packets(io.BytesIO(data)), **options))  # type: ignore[arg-type]
    return (
        [item for item in found if isinstance(item, Frame)],
        [item for item in found if isinstance(item, Note)],
    )


def problems(frames: Sequence[Frame], notes: Sequence[Note]) -> list[str]:
    return [f.problem for f in frames if f.problem] + [n.text for n in notes if n.is_problem]


def streams(data: bytes) -> dict[tuple[int, int], bytes]:
    """The bytes of each connection and side, without a word on what is missing."""
    reassembler = Reassembler()
    found: dict[tuple[int, int], bytes] = {}
    events = [e for packet in read_packets(io.BytesIO(data)) for e in reassembler.feed(packet)]
    for event in [*events, *reassembler.finish()]:
        if isinstance(event, Chunk):
            key = (event.connection.number, event.side)
            found[key] = found.get(key, b"") + event.data
    return found


def exchange(count: int, *, first: int = 1, version: str = "3.0", size: int = 40) -> Parts:
    """Gets and their answers."""
    parts: Parts = []
    for i in range(first, first + count):
        parts.append((0, encode_request("get", version=version, message_id=i, key=b"k%d" % i)))
        value = bytes((i + j) % 256 for j in range(size))
        parts.append((1, encode_response("get", version=version, message_id=i, value=value)))
    return parts


PARTS = exchange(5)


def read_whole(frames: list[Frame]) -> list[str]:
    return [frame.title.split(",")[0] for frame in frames]


# ---- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [("10.0.0.1", "10.0.0.2"), ("fe80::1", "2001:db8::2")])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("link", LINKS)
def test_every_file_and_link_says_the_same(link: int, order: str, address: tuple[str, str]) -> None:
    client, server = address
    segments = Talk((client, 40000), (server, 11222)).whole(PARTS)
    files = [
        captures.pcap(segments, link=link, order=order),
        captures.pcap(segments, link=link, order=order, nanoseconds=True),
        captures.pcapng(segments, link=link, order=order),
    ]
    times = []
    for data in files:
        assert is_capture(data[:12])
        frames, notes = explain(data)
        assert problems(frames, notes) == []
        assert read_whole(frames) == ["GET request", "GET response"] * 5
        host = f"[{client}]" if ":" in client else client
        assert f"connection 1: client {host}:40000, server " in notes[0].text
        times.append([frame.time for frame in frames])
    assert times[1] == times[2]
    assert times[0] == [time // 1000 * 1000 for time in times[1] if time is not None]


@pytest.mark.parametrize("vlans", [1, 2])
@pytest.mark.parametrize("link", [ETHERNET, SLL])
def test_vlans(link: int, vlans: int) -> None:
    frames, notes = explain(captures.pcap(Talk().whole(PARTS), link=link, vlans=vlans))
    assert (len(frames), problems(frames, notes)) == (10, [])


def test_sections_interfaces_and_simple_packets() -> None:
    segments = Talk().whole(PARTS)
    a, b, c = segments[:4], segments[4:7], segments[7:]
    data = captures.section() + captures.interface(RAW) + captures.interface(ETHERNET)
    data += b"".join(captures.enhanced(segment, ETHERNET, which=1) for segment in a)
    data += captures.section(">") + captures.interface(ETHERNET, ">")
    data += b"".join(captures.simple(segment, ETHERNET, ">") for segment in b)
    data += captures.section() + captures.interface(SLL)
    data += b"".join(captures.enhanced(segment, SLL) for segment in c)
    frames, notes = explain(data)
    assert (len(frames), problems(frames, notes)) == (10, [])
    assert {frame.time is None for frame in frames} == {True, False}


@pytest.mark.parametrize(
    ("options", "unit", "offset"),
    [
        ([], 1000, 0),
        ([(9, b"\x03")], 10**6, 0),
        ([(9, b"\x09"), (14, struct.pack("<q", 100))], 1, 100),
        ([(9, b"\x8a")], 0, 0),  # 2**-10 seconds
    ],
)
def test_units_of_time(options: list[tuple[int, bytes]], unit: int, offset: int) -> None:
    (segment,) = Talk().send(0, b"x")
    data = captures.section() + captures.interface(RAW, options=options)
    if unit:
        data += captures.enhanced(segment, RAW, unit=unit)
        wanted = segment.time // unit * unit + offset * 10**9
    else:
        ticks = 3 * 1024 + 512
        data += captures.enhanced(replace(segment, time=ticks), RAW, unit=1)
        wanted = 3_500_000_000
    assert [packet.time for packet in read_packets(io.BytesIO(data))] == [wanted]


FILES = [
    captures.pcap(Talk().whole(PARTS)),
    captures.pcap(Talk().whole(PARTS), order=">", link=SLL),
    captures.pcapng(Talk().whole(PARTS)),
]


@pytest.mark.parametrize("data", FILES)
def test_a_capture_that_breaks_off(data: bytes) -> None:
    whole = len(list(read_packets(io.BytesIO(data))))
    for end in range(4, len(data), 37):
        packets = []
        problem = None
        try:
            for packet in read_packets(io.BytesIO(data[:end])):
                packets.append(packet)
        except CaptureError as e:
            problem = e
        assert len(packets) < whole
        if problem is not None:
            assert 0 <= problem.offset <= end
            assert f"byte {problem.offset}" in str(problem)
    frames, notes = explain(data[:-90])
    assert len(frames) > 5
    assert notes[-1].is_problem
    assert "capture at byte" in notes[-1].text


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        (captures.block(1, bytes(4)), "an interface block without an interface"),
        (captures.interface(RAW) * (2**16 + 1), "more than 65536 interfaces"),
        (captures.interface(RAW) + captures.block(6, bytes(8)), "a packet block of 8 bytes"),
        (captures.section()[:8] + bytes.fromhex("11223344"), "byte order is 11 22 33 44"),
    ],
    ids=["interface", "interfaces", "packet", "section"],
)
def test_blocks_that_make_no_sense(blocks: bytes, words: str) -> None:
    with pytest.raises(CaptureError, match=words):
        list(read_packets(io.BytesIO(captures.section() + blocks)))


def test_a_file_that_is_no_capture() -> None:
    assert not is_capture(b"\xa1\xb2\xc3\xd4\x00\x00")  # may be a response
    with pytest.raises(CaptureError, match="neither pcap nor pcapng"):
        list(read_packets(io.BytesIO(b"\xa0\x01\x02\x03")))
    data = captures.section() + struct.pack("<II", 6, 2**32 - 4) + bytes(100)
    with pytest.raises(CaptureError, match="at byte 28: a block of 4294967292 bytes"):
        list(read_packets(io.BytesIO(data)))
    data = captures.section() + captures.enhanced(Talk().send(0)[0], RAW)
    with pytest.raises(CaptureError, match="interface 0, of which nothing was said"):
        list(read_packets(io.BytesIO(data)))
    data = captures.pcap([])[:24] + struct.pack("<IIII", 0, 0, 2**31, 2**31)
    with pytest.raises(CaptureError, match="no packet is that long"):
        list(read_packets(io.BytesIO(data)))


@pytest.mark.parametrize("data", FILES)
def test_damaged_captures_neither_crash_nor_hang(data: bytes) -> None:
    rng = random.Random(len(data))
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 3, 30])):
            damaged[rng.randrange(4, len(damaged))] = rng.randrange(256)
        try:
            explain(bytes(damaged))
        except CaptureError as e:
            pytest.fail(f"not told as a note: {e}")


def test_random_packets_neither_crash_nor_hang() -> None:
    rng = random.Random(4)
    good = [segment.packet(ETHERNET) for segment in Talk().whole(PARTS)]
    for link in (*LINKS, 147):
        head = captures.pcap([], link=link)
        packets = [rng.randbytes(rng.randrange(120)) for _ in range(100)]
        for packet in good * 10:
            packets.append(packet[: rng.randrange(len(packet))])
            changed = bytearray(packet)
            changed[rng.randrange(min(80, len(packet)))] = rng.randrange(256)
            packets.append(bytes(changed))
        body = b"".join(struct.pack("<IIII", 0, 0, len(p), len(p)) + p for p in packets)
        explain(head + body)


# ---- connections ---------------------------------------------------------------------------------


def disordered(segments: list[Segment], rng: random.Random) -> list[Segment]:
    """Segments behind the handshake in disorder, some twice, some over each other."""
    head, body, tail = segments[:3], segments[3:-3], segments[-3:]
    made: list[Segment] = []
    for segment in body:
        made.append(segment)
        choice = rng.randrange(6)
        if choice == 0:
            made.append(segment)
        elif choice == 1 and len(segment.data) > 3:
            # What was sent again begins earlier or later than the first time.
            some = rng.randrange(1, len(segment.data))
            made.append(replace(segment, data=segment.data[:some]))
            made.append(
                replace(segment, sequence=segment.sequence + some, data=segment.data[some:])
            )
    for i in range(len(made) - 3):
        if rng.randrange(3) == 0:
            j = i + rng.randrange(1, 4)
            made[i], made[j] = made[j], made[i]
    return head + made + tail


def told(frames: Sequence[Frame], direction: Direction) -> list[object]:
    return [
        (frame.title, frame.start, frame.end, frame.rows, frame.asked)
        for frame in frames
        if frame.direction == direction and not frame.missing
    ]


@pytest.mark.parametrize("stream", vector_data.streams(), ids=lambda stream: stream.path.stem)
def test_recorded_connections(stream: vector_data.Stream) -> None:
    """The same frames as from the recording, through segments of any size, in disorder."""
    records = stream.records[: 10 if stream.requests > 1000 else 150]
    talk = Talk(numbers=(2**32 - 500, 2**32 - 9000))  # both begin again at 0 soon
    segments = talk.whole((record.direction, record.data) for record in records)
    frames, notes = explain(captures.pcap(disordered(segments, random.Random(7))))
    wanted = list(
        Explainer().recording(
            Record(Direction(r.direction), r.microseconds, r.data) for r in records
        )
    )
    assert [note.text for note in notes if note.is_problem] == []
    assert len(wanted) > 1
    for direction in Direction:
        assert told(frames, direction) == told(wanted, direction)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_segments_of_any_size(size: int) -> None:
    frames, notes = explain(captures.pcap(Talk().whole(PARTS, size=size)))
    assert (read_whole(frames), problems(frames, notes)) == (
        ["GET request", "GET response"] * 5,
        [],
    )


def test_any_order_of_few_segments() -> None:
    rng = random.Random(1)
    talk = Talk()
    opening = talk.open()
    sent = b"".join(data for side, data in PARTS if side == 0)
    segments = talk.send(0, sent, size=9)
    for _ in range(50):
        rng.shuffle(segments)
        found = streams(captures.pcap([*opening, *segments]))
        assert found == {(1, 0): sent}


def test_what_overlaps_counts_once() -> None:
    rng = random.Random(2)
    sent = bytes(range(256)) * 4
    for _ in range(50):
        talk = Talk(numbers=(2**32 - 600, 1))
        segments = talk.open()
        first = talk.next[0]
        for _ in range(30):
            at = rng.randrange(len(sent))
            end = at + rng.randrange(1, 200)
            segments.append(replace(segments[2], sequence=first + at, data=sent[at:end]))
        for at in range(0, len(sent), 300):
            segments.append(replace(segments[2], sequence=first + at, data=sent[at : at + 300]))
        assert streams(captures.pcap(segments, link=RAW)) == {(1, 0): sent}


def test_connections_side_by_side() -> None:
    talks = [
        Talk(("10.0.0.1", 40000 + i), numbers=(i * 77, i * 99)).whole(exchange(4, version=version))
        for i, version in enumerate(["2.0", "2.8", "3.1", "4.0"])
    ]
    segments = [segment for group in zip(*talks, strict=True) for segment in group]
    frames, notes = explain(captures.pcap(segments))
    assert problems(frames, notes) == []
    assert len(notes) == 4
    for number, version in enumerate(["2.0", "2.8", "3.1", "4.0"], 1):
        mine = [frame for frame in frames if frame.connection == number]
        assert read_whole(mine) == ["GET request", "GET response"] * 4
        assert {frame.version for frame in mine} == {version}
    frames, notes = explain(captures.pcap(segments), connections=[2, 4])
    assert {frame.connection for frame in frames} == {2, 4}
    assert len(notes) == 2


def test_ports_that_are_used_again() -> None:
    first = Talk().whole(exchange(2))
    second = Talk(numbers=(70_000, 80_000)).whole(exchange(3, version="2.0"))
    for ended in (first, first[:-3]):  # closed, or forgotten by both
        frames, notes = explain(captures.pcap([*ended, *second]))
        assert problems(frames, notes) == []
        assert [frame.connection for frame in frames] == [1] * 4 + [2] * 6


def test_a_reset_ends_a_connection() -> None:
    talk = Talk()
    segments = [*talk.open(), *talk.send(0, PARTS[0][1]), *talk.send(1, PARTS[1][1][:7])]
    segments += talk.send(1, flags=RST | ACK)
    segments += talk.send(1, b"never delivered")
    frames, notes = explain(captures.pcap(segments))
    (problem,) = problems(frames, notes)
    assert problem.startswith("incomplete: reset by 10.0.0.2:11222 at byte 7; value at byte 5")
    assert frames[1].missing == ("value", 5, 39)


def test_keep_alives_are_no_data() -> None:
    talk = Talk()
    segments = talk.open()
    for side, data in PARTS:
        sent = talk.send(side, data)
        segments += [*sent, replace(sent[0], sequence=sent[0].sequence + len(data) - 1, data=b"?")]
    frames, notes = explain(captures.pcap(segments))
    assert (len(frames), problems(frames, notes)) == (10, [])


def test_times_and_the_way_to_the_request() -> None:
    talk = Talk()
    segments = talk.open()
    segments += talk.send(0, PARTS[0][1])
    talk.time += 250_000
    segments += talk.send(1, PARTS[1][1], size=20)  # 45 bytes: three segments, 1 ms each
    frames, _ = explain(captures.pcap(segments, nanoseconds=True))
    request, response = frames
    assert request.time == captures.START + 4_000_000
    assert response.after == 3_250_000
    assert response.asked == 0
    assert request.origin == "connection 1, client to server, 2023-11-14 22:13:20.127456 UTC"
    assert response.origin.endswith(".130706 UTC, 3.250 ms after its request")


# ---- what is missing -----------------------------------------------------------------------------


LONG = exchange(60)


@pytest.mark.parametrize("side", [0, 1])
def test_a_lost_segment_is_told_and_reading_goes_on(side: int) -> None:
    segments = Talk().whole(LONG)
    lost = [
        s
        for s in segments
        if s.data and s.source == (("10.0.0.1", "10.0.0.2")[side], (40000, 11222)[side])
    ][20]
    segments.remove(lost)
    frames, notes = explain(captures.pcap(segments))
    at = sum(len(data) for s, data in LONG[: 2 * 20] if s == side)
    way = ("client to server", "server to client")[side]
    assert [note.text for note in notes if note.is_problem] == [
        f"connection 1, {way}: {len(lost.data)} bytes from byte {at} on are missing from "
        "the capture"
    ]
    assert [frame.problem for frame in frames] == [""] * 119
    numbers = [frame.message_id for frame in frames if frame.direction == side]
    assert numbers == [i for i in range(1, 61) if i != 21]
    # The answer without its request is read like the others.
    assert [f.message_id for f in frames if "without its request" in f.title] == [21] * (side == 0)
    ends = [f.end for f in frames if f.direction == side]
    assert ends[-1] == sum(len(data) for s, data in LONG if s == side)


def test_a_frame_in_pieces_of_which_one_is_lost() -> None:
    parts = [*exchange(3), *exchange(1, first=4, size=4000), *exchange(3, first=5)]
    segments = Talk().whole(parts)
    lost = [segment for segment in segments if len(segment.data) == 1448][1]
    segments.remove(lost)
    frames, notes = explain(captures.pcap(segments))
    (broken,) = [frame for frame in frames if frame.problem]
    start = 3 * 46
    assert broken.problem == (
        f"incomplete: 1,448 bytes are missing from the capture at byte {start + 1448}; value at "
        f"byte {start + 5} was being read, and the frame goes on for at least 2,559 bytes"
    )
    assert broken.message_id == 4
    assert [f.message_id for f in frames if f.direction == 1 and not f.problem] == [
        1,
        2,
        3,
        5,
        6,
        7,
    ]
    assert any(f"a frame begins at byte {start + 4007}" in note.text for note in notes)


def test_a_capture_that_cuts_packets() -> None:
    parts = exchange(10, size=300)
    segments = [replace(s, cut=max(0, len(s.data) - 100)) for s in Talk().whole(parts)]
    frames, notes = explain(captures.pcap(segments, link=RAW))
    assert [f.message_id for f in frames if f.kind == "request"] == list(range(1, 11))
    answers = [f for f in frames if f.kind == "response"]
    assert [f.message_id for f in answers] == list(range(1, 11))
    assert all("207 bytes are missing from the capture" in f.problem for f in answers)
    assert len([note for note in notes if note.is_problem]) == 10


def test_a_capture_that_begins_later() -> None:
    segments = Talk().whole(exchange(10, size=200), size=64)
    for begin in range(3, 40):
        frames, notes = explain(captures.pcap(segments[begin:]))
        assert "the capture begins in the middle of it" in notes[0].text
        assert [frame.problem for frame in frames if frame.problem] == [], begin
        for direction in Direction:
            mine = [frame for frame in frames if frame.direction == direction]
            ids = [frame.message_id for frame in mine]
            assert ids == list(range(11 - len(ids), 11)), begin
            assert len(ids) >= 10 - (begin + 1) // 5, begin
            # Not one byte behind the first frame was left out.
            assert all(a.end == b.start for a, b in itertools.pairwise(mine))


def test_a_capture_of_one_direction() -> None:
    sent = [segment for segment in Talk().whole(PARTS) if segment.source[1] == 40000]
    frames, notes = explain(captures.pcap(sent))
    assert (read_whole(frames), problems(frames, notes)) == (["GET request"] * 5, [])
    events = [segment for segment in Talk().whole(PARTS) if segment.source[1] == 11222]
    frames, notes = explain(captures.pcap(events))
    assert frames == []
    assert notes[-1].text == "no Hot Rod that could be read in the capture"


def test_answers_captured_before_their_requests() -> None:
    segments = Talk().whole(LONG)
    for i in range(3, len(segments) - 4, 2):
        segments[i], segments[i + 1] = segments[i + 1], segments[i]
    frames, notes = explain(captures.pcap(segments))
    assert problems(frames, notes) == []
    assert all(frame.asked is not None for frame in frames if frame.kind == "response")
    assert len(frames) == 120


def test_fragments_are_told() -> None:
    segments = Talk().whole(PARTS)
    data = bytearray(captures.pcap(segments, link=RAW))
    at = 24
    for _ in range(4):  # the handshake and the first request
        at += 16 + struct.unpack_from("<I", data, at + 8)[0]
    data[at + 16 + 6] |= 0x20  # more fragments
    frames, notes = explain(bytes(data))
    assert "1 packet left out: IPv4 fragments, which are not put together here" in [
        note.text for note in notes
    ]
    assert len(frames) == 9


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (0, 0x50, "broken IP"),
        (6, 44, "IPv6 fragments, which are not put together here"),  # the first extension is one
    ],
)
def test_packets_of_ipv6_that_are_left_out(at: int, value: int, words: str) -> None:
    talk = Talk(("::1", 40000), ("::1", 11222))
    segments = talk.whole(PARTS)
    data = bytearray(captures.pcap(segments, link=captures.NULL))
    packet = 24 + 16 + 4  # the first one, behind the link's header
    data[packet + at] = value
    data[packet + 43] = 8  # of a fragment: its offset
    notes = [note.text for note in explain(bytes(data))[1]]
    assert f"1 packet left out: {words}" in notes


@pytest.mark.parametrize("cut", [30, 60])
def test_packets_of_ipv6_that_are_cut_in_their_headers(cut: int) -> None:
    segment = Talk(("::1", 40000), ("::1", 11222)).open()[0]
    size = len(segment.packet(captures.NULL))
    data = captures.pcap([replace(segment, cut=size - 4 - cut)], link=captures.NULL)
    notes = [note.text for note in explain(data)[1]]
    assert "1 packet left out: cut off inside of their headers" in notes


# ---- what a connection is ------------------------------------------------------------------------

HELLO = bytes.fromhex("16 0301 0030 01 00002c 0303") + bytes(42)
SERVER_HELLO = bytes.fromhex("16 0303 0020 02 00001c 0303") + bytes(26)
RECORD = bytes.fromhex("17 0303 0010") + bytes(range(0xA0, 0xB0))


@pytest.mark.parametrize("begin", [0, 4, 5])
def test_tls_is_called_by_its_name(begin: int) -> None:
    talk = Talk()
    parts = [(0, HELLO), (1, SERVER_HELLO), (0, RECORD), (1, RECORD), (0, RECORD), (1, RECORD)]
    segments = talk.whole(parts)[begin:]
    for options in ({}, {"port": 11222}):
        frames, notes = explain(captures.pcap(segments), **options)
        assert frames == []
        assert notes[0].text.endswith("TLS: without its keys its frames cannot be read")
        assert not notes[0].is_problem
        assert "no Hot Rod" in notes[1].text
    other = Talk(("10.0.0.9", 1)).whole(PARTS)
    frames, notes = explain(captures.pcap([*segments, *other]))
    assert (len(frames), problems(frames, notes)) == (10, [])


def test_other_protocols_are_left_alone() -> None:
    http = Talk(("10.0.0.7", 1), ("10.0.0.2", 80)).whole(
        [(0, b"GET /rest/v2 HTTP/1.1\r\n\r\n"), (1, b"HTTP/1.1 200 OK\r\n\r\n" + bytes(3000))]
    )
    greeting = Talk(("10.0.0.7", 2), ("10.0.0.2", 25)).whole([(1, b"220 hello\r\n"), (0, b"QUIT")])
    silent = Talk(("10.0.0.7", 3)).whole([])
    hotrod = Talk().whole(PARTS)
    frames, notes = explain(captures.pcap([*http, *greeting, *silent, *hotrod]))
    assert (len(frames), problems(frames, notes)) == (10, [])
    assert [note.text for note in notes] == [
        "connection 1: 10.0.0.7:1 to 10.0.0.2:80: no Hot Rod: what 10.0.0.7:1 sent begins with "
        "47 45 54 20",
        "connection 2: 10.0.0.7:2 to 10.0.0.2:25: no Hot Rod: what 10.0.0.2:25 sent begins with "
        "32 32 30 20",
        "connection 4: client 10.0.0.1:40000, server 10.0.0.2:11222",
    ]
    frames, notes = explain(captures.pcap([*http, *hotrod]), port=11222)
    assert (len(frames), len(notes)) == (10, 1)
    frames, notes = explain(captures.pcap(http), port=80)
    assert problems(frames, notes)[0] == "byte 0: 0x47 begins no request"


def test_the_byte_at_which_a_stream_breaks() -> None:
    broken = PARTS[2][1][:2] + b"\x63" + PARTS[2][1][3:]
    parts = [*PARTS[:2], (0, broken), *PARTS[4:]]
    frames, notes = explain(captures.pcap(Talk().whole(parts)))
    at = len(PARTS[0][1])
    problem = problems(frames, notes)[0]
    assert problem.startswith(f"request: version at byte {at + 2}: unknown version 99")
    assert frames[2].start == at
    # Nobody can say where the next request begins; the answers of those before are read.
    assert [frame.kind for frame in frames][:3] == ["request", "response", "request"]


def test_many_connections_and_much_disorder_stay_bounded() -> None:
    reassembler = Reassembler()
    talk = Talk()
    opening = talk.open()
    segments = [*opening, *(s for s in talk.send(0, bytes(12_000_000), size=60_000)[1:])]
    most = 0
    data = captures.pcap(segments, link=RAW)
    for packet in read_packets(io.BytesIO(data)):
        for _ in reassembler.feed(packet):
            pass
        most = max(most, reassembler._held)
    assert 8_000_000 < most < 9_000_000


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many fields each try to read a frame went through."""
    counts: list[int] = []

    def counted(trace: Callable[..., Any]) -> Callable[..., Any]:
        def tracing(*arguments: Any, **options: Any) -> Any:
            traced = trace(*arguments, **options)
            counts.append(len(traced[0]))
            return traced

        return tracing

    for trace in (trace_request, trace_response):
        monkeypatch.setattr(f"hotrod_codec.explain.{trace.__name__}", counted(trace))
    return counts


def test_a_long_list_in_small_pieces_takes_linear_time(looked_at: list[int]) -> None:
    """Also while the client goes on asking, which makes an eager reader try again and again."""
    keys = [b"%06d" % i for i in range(20_000)]
    talk = Talk()
    segments = talk.open()
    segments += talk.send(0, encode_request("bulk_get_keys", version="2.0", message_id=1))
    answer = encode_response("bulk_get_keys", version="2.0", message_id=1, keys=keys)
    for i, at in enumerate(range(0, len(answer), 100), 2):
        segments += talk.send(1, answer[at : at + 100])
        segments += talk.send(0, encode_request("ping", version="2.0", message_id=i))
    frames, notes = explain(captures.pcap(segments))
    assert problems(frames, notes) == []
    (told,) = [frame for frame in frames if frame.kind == "response"]
    assert told.rows[-2].meaning.startswith("19,997 more items")
    assert sum(looked_at) < 20 * 2 * len(keys)  # mark and key of each


@pytest.mark.parametrize("size", [50, 60_000])
@pytest.mark.parametrize("is_lost", [True, False])
def test_bytes_made_to_look_like_frames(looked_at: list[int], size: int, is_lost: bool) -> None:
    # Each begins a GET_ALL request with so many keys that it goes on for ever.
    bait = (bytes.fromhex("a0 00 15 2f 00 00 01 00 ff ff 7f") + bytes(21)) * 5_000
    talk = Talk()
    segments = [*talk.open(), *talk.send(0, PARTS[0][1])] if is_lost else []
    segments += talk.send(0, b"lost")[1:]
    segments += talk.send(0, b"\x00" + bait, size=size)
    explain(captures.pcap(segments, link=RAW))
    assert sum(looked_at) < 10 * len(bait)


# ---- JSON ----------------------------------------------------------------------------------------


def test_json_of_captures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "some.pcap"
    segments = Talk().whole(LONG)
    path.write_bytes(captures.pcap(segments[:-4]))
    assert main(["explain", "--json", str(path)]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    note, *frames = objects
    assert (note["type"], note["connection"], note["problem"]) == ("note", 1, False)
    assert {frame["type"] for frame in frames} == {"frame"}
    assert {frame["direction"] for frame in frames} == {"to_server", "to_client"}
    answer = next(frame for frame in frames if frame["kind"] == "response")
    assert answer["connection"] == 1
    assert (answer["op"], answer["version"], answer["status"]) == ("GET", "3.0", "SUCCESS")
    assert (answer["message_id"], answer["request_offset"], answer["after_ns"]) == (1, 0, 1_000_000)
    assert answer["fields"][-1] == {
        "name": "value",
        "start": 5,
        "end": 46,
        "kind": "bytes",
        "item": None,
        "hex": "28 ...",
        "meaning": "40 bytes",
    }
    assert (answer["error"], answer["incomplete"]) == (None, None)
    segments.remove(segments[30])
    path.write_bytes(captures.pcap(segments))
    assert main(["explain", "--json", str(path), "--connection", "1", "--port", "11222"]) == 1
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [o["problem"] for o in objects if o["type"] == "note"] == [False, True]
    assert main(["explain", "--connection", "9", str(path)]) == 1


def test_a_broken_capture_in_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    talk = Talk()
    segments = [*talk.open(), *talk.send(0, PARTS[0][1][:-1])]
    path = tmp_path / "some.pcap"
    path.write_bytes(captures.pcap(segments))
    assert main(["explain", "--json", str(path)]) == 1
    _, frame = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    size = len(PARTS[0][1]) - 1
    assert frame["size"] == size
    assert frame["error"].startswith(f"incomplete: the capture ends at byte {size}; key at byte")
    assert frame["incomplete"] == {"field": "key", "offset": size - 2, "bytes": 1}
