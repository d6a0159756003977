"""Frames taken apart: every recorded one can be, in every version, and nothing of what users store
is shown unasked."""

from __future__ import annotations

import functools

import pytest

import vector_data
from hotrod_codec import (
    Duration,
    Flag,
    Metadata,
    Modification,
    Op,
    Request,
    Response,
    TimeUnit,
    Topology,
    Version,
    Xid,
    decode_request,
    encode_request,
    encode_response,
    trace_request,
    trace_response,
)
from hotrod_codec.explain import Assumed, Explainer, Frame
from hotrod_codec.protostream.query import QueryRequest, QueryResponse
from hotrod_codec.recording import Direction, Record, iter_recording, read_recording
from test_reference import WITH_EMPTY_ENTRY
from vector_data import Vector


def explain(data: bytes, **options: bool) -> list[Frame]:
    return list(Explainer(show_data=options.get("show_data", False)).frames(data))


def meanings(frame: Frame) -> dict[str, str]:
    return {row.name: row.meaning for row in frame.rows}


def known(vector: Vector) -> Request | None:
    """The vector's request, if it is sound and of an operation that the package knows."""
    if vector.request is None or vector.area in ("raw-error", "handmade"):
        return None
    request: Request | None = trace_request(vector.request)[1]
    return request


@functools.cache
def exchanges() -> list[tuple[Vector, Request]]:
    found = [(vector, known(vector)) for vector in vector_data.load_all()]
    return [(vector, request) for vector, request in found if request is not None]


def test_every_version_is_among_the_recorded_exchanges() -> None:
    assert {request.version for _, request in exchanges()} == set(Version)


@pytest.mark.parametrize("version", Version, ids=lambda version: version.name)
def test_recorded_exchanges_are_explained_to_their_last_byte(version: Version) -> None:
    for vector, request in exchanges():
        if request.version != version or vector.request is None:
            continue
        response = vector.response or b""
        if vector.rest:
            response = response.removesuffix(vector.rest)
        old = vector.server.startswith("9.4")
        data = vector.request + response
        frames = list(Explainer(legacy_server=old, everything=True).frames(data))
        assert [frame.problem for frame in frames if frame.problem] == [], vector.id
        # Every byte stands in exactly one row, and every row has a meaning.
        rows = [row for frame in frames for row in frame.rows]
        assert [row.start for row in rows] == [0, *(row.end for row in rows[:-1])], vector.id
        assert rows[-1].end == len(data), vector.id
        assert [row.name for row in rows if not row.meaning] == [], vector.id


@pytest.mark.parametrize(
    ("op", "version", "answer", "names"),
    [
        (
            Op.GET_MULTIMAP_WITH_METADATA,
            Version.V2_7,
            "a1016a0200 03 ffffffffffffffff 00",
            ["metadata flags", "entry_version", "values"],
        ),
        (Op.GET, Version.V1_3, "a101040200 00", ["previous"]),
    ],
)
def test_what_server_9_4_has_behind_a_miss_is_dropped(
    op: Op, version: Version, answer: str, names: list[str]
) -> None:
    assumed = Assumed(op, version, Flag.FORCE_RETURN_VALUE)
    (frame,) = Explainer(assumed=assumed, legacy_server=True).frames(bytes.fromhex(answer))
    assert frame.problem == ""
    assert [row.name for row in frame.rows if row.meaning.startswith("dropped: ")] == names


def test_an_empty_entry_behind_a_miss_is_left_over_without_the_switch() -> None:
    found = [vector for vector, _ in exchanges() if vector.id in WITH_EMPTY_ENTRY]
    assert len(found) == len(WITH_EMPTY_ENTRY)
    for vector in found:
        assert vector.request is not None
        assert vector.response is not None
        frames = explain(vector.request + vector.response)
        assert [frame.problem for frame in frames[:-1]] == ["", ""]
        assert frames[-1].problem.endswith("0x03 begins neither a request nor a response")
        assert frames[-1].start == frames[1].end == len(vector.request + vector.response) - 10


def test_recorded_events_are_explained() -> None:
    events = [v for v in vector_data.load_all() if v.request is None and v.response and v.version]
    assert len(events) > 500
    for vector in events:
        version = Version(vector.version_byte)
        (frame,) = Explainer(assumed=Assumed(version=version)).frames(vector.response or b"")
        assert frame.problem == "", vector.id
        assert frame.title.startswith(f"{vector.op} event"), vector.id
        assert [row.name for row in frame.rows if not row.meaning] == [], vector.id


def test_no_key_and_no_value_is_shown_unasked() -> None:
    looked_at = 0
    for vector, request in exchanges():
        secrets = secrets_of(request)
        if vector.response:
            response = trace_response(vector.response, request)[1]
            secrets += secrets_of(response) if response is not None else []
        shown = [
            row
            for frame in explain((vector.request or b"") + (vector.response or b""))
            for row in frame.rows
        ]
        hexes = " | ".join(row.hex for row in shown)
        for secret in secrets:
            looked_at += 1
            assert secret[:6].hex(" ") not in hexes, vector.id
    assert looked_at > 3000


def secrets_of(message: Request | Response) -> list[bytes]:
    found: list[bytes] = []
    for value in message.fields.values():
        items = value if isinstance(value, list) else [value]
        for item in items:
            parts = item if isinstance(item, tuple) else (item,)
            found += [part for part in parts if isinstance(part, bytes) and len(part) >= 6]
    # A key may be called like its cache, or begin like the value of a parameter.
    return [part for part in found if len(set(part[:6])) > 1]


def test_a_request_says_what_its_fields_are() -> None:
    data = encode_request(
        "put",
        version="2.8",
        message_id=300,
        cache="c",
        flags=0x11,
        intelligence=3,
        topology_id=-1,
        key_media_type="text/plain; charset=utf-8",
        key=b"secret key",
        value=b"secret value",
        lifespan=Duration(5, TimeUnit.MINUTES),
    )
    (frame,) = explain(data)
    assert frame.title == 'PUT request, version 2.8, message 300, cache "c"'
    assert (frame.start, frame.end, frame.problem) == (0, len(data), "")
    assert meanings(frame) == {
        "magic": "a request begins",
        "message id": "300",
        "version": "2.8",
        "opcode": "PUT",
        "cache name": '"c"',
        "flags": "FORCE_RETURN_VALUE | SKIP_INDEXING",
        "client intelligence": "HASH_DISTRIBUTION_AWARE",
        "topology id": "-1: none known",
        "key media type": "text/plain; charset=utf-8",
        "value media type": "not given",
        "key": "10 bytes",
        "time units": "lifespan: minutes, max_idle: the cache's default",
        "lifespan": "5 minutes",
        "value": "12 bytes",
    }
    (shown,) = explain(data, show_data=True)
    assert meanings(shown)["key"] == '10 bytes: "secret key"'
    assert next(row.hex for row in shown.rows if row.name == "key").startswith("0a 73 65 63")
    assert next(row.hex for row in frame.rows if row.name == "key") == "0a ..."


def test_a_response_is_read_in_the_light_of_its_request() -> None:
    data = encode_request(
        "put", version="4.0", message_id=7, flags=1, intelligence=3, key=b"k", value=b"v"
    ) + encode_response(
        "put",
        version="4.0",
        message_id=7,
        status=3,
        topology=Topology(-5, (("h", 1), ("i", 2)), hash_version=3, segment_owners=((1, 0),)),  # type: ignore[arg-type]
        previous=b"old",
        metadata=Metadata(9, created=0, lifespan=60),
    )
    _, frame = explain(data)
    assert frame.title == "PUT response, version 4.0, message 7, SUCCESS_WITH_PREVIOUS"
    told = meanings(frame)
    assert told["topology id"] == "-5"
    assert told["host 1"] == '"i"'
    assert told["port 1"] == "2"
    assert told["owners of segment 0"] == "server 1 (primary), server 0"
    assert told["created"] == "1970-01-01 00:00:00.000 UTC"
    assert told["lifespan"] == "60 seconds"
    assert told["entry_version"] == "9"
    assert told["previous"] == "3 bytes"


def test_items_carry_their_own_index() -> None:
    data = encode_request("put_all", entries=[(b"a", b"bb"), (b"ccc", b"dddd")])
    (frame,) = explain(data)
    rows = {row.name: row.meaning for row in frame.rows if row.name.startswith("entries[")}
    assert rows == {
        "entries[0].key": "1 byte",
        "entries[0].value": "2 bytes",
        "entries[1].key": "3 bytes",
        "entries[1].value": "4 bytes",
    }


def test_answers_in_another_order_than_their_requests() -> None:
    data = b"".join(
        [
            encode_request("get", version="2.0", message_id=1, key=b"k"),
            encode_request("size", version="2.0", message_id=2),
            encode_response("size", version="2.0", message_id=2, size=42),
            encode_response("get", version="2.0", message_id=1, value=b"v"),
        ]
    )
    frames = explain(data)
    assert [frame.title.split(",")[0] for frame in frames] == [
        "GET request",
        "SIZE request",
        "SIZE response",
        "GET response",
    ]
    assert meanings(frames[2])["size"] == "42"


RESPONSE = encode_response("get", version="1.2", message_id=9, value=b"v")


def test_a_response_alone_says_what_is_missing() -> None:
    (frame,) = explain(RESPONSE)
    assert "no request with its message id" in frame.problem
    assert "--op get --version" in frame.problem
    assert meanings(frame)["opcode"] == "GET response"


def test_a_response_alone_needs_only_the_version() -> None:
    (frame,) = Explainer(assumed=Assumed(version=Version.V1_2)).frames(RESPONSE)
    assert frame.problem == ""
    assert frame.title == "GET response, version 1.2, message 9, SUCCESS"


def test_a_topology_needs_the_intelligence() -> None:
    data = encode_response("get", version="2.0", topology=Topology(1, ()), value=b"v")
    (frame,) = Explainer(assumed=Assumed(version=Version.V2_0)).frames(data)
    assert "--intelligence" in frame.problem
    (frame,) = Explainer(assumed=Assumed(version=Version.V2_0, intelligence=2)).frames(data)
    assert frame.problem == ""


def test_an_error_needs_no_request() -> None:
    (frame,) = explain(encode_response("put", status=0x85, error="what\x1b[31m went wrong"))
    assert frame.problem == ""
    assert meanings(frame)["error"] == '"what\\x1b[31m went wrong"'


PUT = encode_request("put", version="2.8", message_id=5, cache="c", key=b"key", value=b"value")


@pytest.mark.parametrize("length", range(1, len(PUT)))
def test_a_cut_frame_says_how_it_goes_on(length: int) -> None:
    (frame,) = explain(PUT[:length])
    assert frame.problem.startswith(f"incomplete: the input ends at byte {length}")
    rows = [row for row in explain(PUT)[0].rows if row.end <= length]
    assert [row.name for row in frame.rows if not row.is_note] == [row.name for row in rows]
    cut = next(row for row in explain(PUT)[0].rows if row.end > length)
    missing = cut.end - length if length > cut.start else None
    assert f"{cut.name} at byte {cut.start} was being read" in frame.problem
    assert frame.missing is not None
    assert frame.missing[:2] == (cut.name, cut.start)
    assert 1 <= frame.missing[2] <= len(PUT) - length
    assert not any(secret in row.hex for row in frame.rows for secret in ("6b 65", "76 61"))
    if missing is not None:
        assert frame.missing[2] == missing
        assert f"goes on for at least {missing} byte" in frame.problem


def test_a_broken_frame_shows_its_header_and_the_break() -> None:
    at = PUT.index(b"\x77")  # the time units
    (frame,) = explain(PUT[:at] + b"\x99" + PUT[at + 1 :])
    assert frame.title == 'PUT request, version 2.8, message 5, cache "c"'
    assert f"time units at byte {at}: found 0x99" in frame.problem
    assert [row.name for row in frame.rows][-2:] == ["key", "(rest)"]
    assert meanings(frame)["message id"] == "5"
    assert meanings(frame)["opcode"] == "PUT"


def test_what_is_no_frame_at_all() -> None:
    frames = explain(PUT + b"\x17" + PUT)
    assert len(frames) == 2
    assert frames[1].problem == (f"byte {len(PUT)}: 0x17 begins neither a request nor a response")


def test_an_unknown_answer() -> None:
    (frame,) = explain(bytes.fromhex("a1 01 ff 00 00"))
    assert frame.problem == "response: opcode at byte 2: unknown answer or event 0xff"


def test_long_lists_are_shortened() -> None:
    keys = [b"%05d" % i for i in range(1000)]
    data = encode_request("get_all", keys=keys)
    (frame,) = explain(data)
    note = frame.rows[-1]
    assert note.is_note
    assert note.meaning.startswith("997 more items in 5,982 bytes")
    assert (note.start, note.end) == (len(data) - 997 * 6, len(data))
    (whole,) = Explainer(everything=True).frames(data)
    assert sum(row.name.startswith("keys[") for row in whole.rows) == 1000


@pytest.mark.parametrize("stream", vector_data.streams(), ids=lambda stream: stream.path.stem)
def test_recorded_connections(stream: vector_data.Stream) -> None:
    frames = list(Explainer().recording(read_recording(stream.path.read_bytes())))
    assert [frame.problem for frame in frames if frame.problem] == []
    assert len(frames) == stream.requests + stream.responses
    ends = {
        way: [frame.end for frame in frames if frame.origin.startswith(way)]
        for way in ("client to server", "server to client")
    }
    assert ends["client to server"][-1] == len(stream.sent(vector_data.TO_SERVER))
    assert ends["server to client"][-1] == len(stream.sent(vector_data.TO_CLIENT))


def test_records_are_those_of_the_recording() -> None:
    for stream in vector_data.streams():
        assert [
            (record.direction, record.microseconds, record.data)
            for record in read_recording(stream.path.read_bytes())
        ] == [(record.direction, record.microseconds, record.data) for record in stream.records]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"PK\x03\x04", "not a recording"),
        (b"HRS1" + bytes(5), "ends inside the record at byte 4"),
        (b"HRS1" + bytes(12) + b"\x05abc", "wants 5 bytes, 3 are left"),
        (b"HRS1\x02" + bytes(12), "direction 2"),
    ],
)
def test_damaged_recordings(data: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_recording(data)


def test_frames_that_the_network_cut() -> None:
    response = encode_response("get", version="2.8", message_id=5, value=b"v" * 10)
    request = encode_request("get", version="2.8", message_id=5, key=b"k")
    pieces = [
        Record(Direction.TO_SERVER, 0, request[:3]),
        Record(Direction.TO_SERVER, 10, request[3:]),
        Record(Direction.TO_CLIENT, 1500, response[:8]),
        Record(Direction.TO_CLIENT, 2500, response[8:]),
    ]
    frames = list(Explainer().recording(pieces))
    assert [frame.origin for frame in frames] == [
        "client to server, 0.010 ms",
        "server to client, 2.500 ms, 2.490 ms after its request",
    ]
    assert decode_request(request) is not None


def test_what_the_operations_table_has_is_all_told() -> None:
    """Every request without fields that have to be given, of every operation, in 4.1."""
    for op in Op:
        try:
            data = encode_request(op)
        except ValueError:
            continue
        (frame,) = explain(data)
        assert frame.problem == ""
        assert meanings(frame)["opcode"] == op.name


def meaning_in(frame: Frame, **wanted: str) -> None:
    told = meanings(frame)
    assert {name: told[name] for name in wanted} == wanted


def test_numbers_that_stand_for_something_are_told() -> None:
    meaning_in(
        explain(encode_request("bulk_get", version="2.0"))[0],
        count="0: all entries",
    )
    meaning_in(
        explain(
            encode_request(
                "add_client_listener",
                listener_id=b"0123456789abcdef",
                filter_factory="f",
                filter_params=[b"a"],
                converter_factory="c",
                interests=9,
            )
        )[0],
        listener_id="16 bytes: 30313233343536373839616263646566",
        filter_factory='"f"',
        **{"filter_params[0]": "1 byte"},
        converter_factory='"c"',
        interests="9: created, expired",
    )
    meaning_in(
        explain(encode_request("iteration_start", batch_size=5))[0],
        segments="none given: all segments",
    )
    (frame,) = explain(
        encode_request(
            "prepare_tx_2",
            xid=Xid(7, b"g", b"b"),
            one_phase=False,
            recoverable=True,
            timeout_ms=60000,
            modifications=[Modification(b"k", 1 | 4), Modification(b"k", 0, 5, b"v")],
        )
    )
    meaning_in(
        frame,
        timeout_ms="60,000 ms",
        **{
            "modifications[0].control": "5: the entry was not read, removes the key",
            "modifications[1].control": "0: if the entry still has the version",
        },
    )


def test_what_statuses_and_states_mean() -> None:
    def answer(op: str, **fields: object) -> Frame:
        (frame,) = Explainer(assumed=Assumed(version=Version.V3_1)).frames(
            encode_response(op, version="3.1", **fields)  # type: ignore[arg-type]
        )
        assert frame.problem == ""
        return frame

    meaning_in(
        answer("counter_is_defined", status=1),
        status="NOT_EXECUTED: the counter is not defined",
    )
    meaning_in(
        answer("counter_add_and_get", status=4),
        status="NOT_EXECUTED_WITH_PREVIOUS: a bound was hit",
    )
    meaning_in(answer("commit_tx", xa_code=-4), xa_code="-4: XAER_NOTA: no such transaction")
    meaning_in(
        answer("counter", name="c", listener_id=b"l", state=0b1001, old_value=1, new_value=2),
        state="9: at the lower bound before, at the upper bound after",
    )


def test_queries_are_told_without_their_text() -> None:
    query = QueryRequest("from p where p.name = 'secret'", 5, 10, {"name": "hidden"}).encode()
    data = encode_request("query", version="3.1", query=query)
    text = f'{len(query)} bytes: a query of 30 characters, parameters "name", from row 5 on, '
    meaning_in(explain(data)[0], query=text + "at most 10 rows")
    shown = meanings(explain(data, show_data=True)[0])["query"]
    assert "from p where p.name = 'secret'" in shown
    assert "hidden" not in shown
    result = QueryResponse.of_entities([b"a", b"b"], hit_count=70).encode()
    data += encode_response("query", version="3.1", result=result)
    meaning_in(explain(data)[1], result=f"{len(result)} bytes: 2 rows of 70")
    (frame,) = explain(encode_request("query", version="3.1", query=b"\xff\x00"))
    meaning_in(frame, query="2 bytes")  # whatever it is


def test_recorded_queries_are_all_understood() -> None:
    told = [
        meanings(frame)
        for vector, request in exchanges()
        if request.op == Op.QUERY
        for frame in explain((vector.request or b"") + (vector.response or b""))
        if frame.status in ("", "SUCCESS")
    ]
    assert len(told) > 100
    assert [row for row in told if ":" not in row.get("query", row.get("result", ":"))] == []


def test_a_broken_recording_is_told_behind_its_frames() -> None:
    path = vector_data.EXAMPLES / "bulkget-2.9.hrs"
    data = path.read_bytes()[:-10]
    frames = list(Explainer().recording(iter_recording(data)))
    assert frames[0].problem == ""
    assert frames[-1].problem.startswith(f"record at byte {frames[-1].start}: wants ")
    assert frames[-1].rows == []


def test_a_recording_says_where_a_stream_breaks() -> None:
    get = encode_request("get", version="2.8", message_id=1, key=b"k")
    broken = get[:2] + b"\x63" + get[3:]
    records = [
        Record(Direction.TO_SERVER, 0, get),
        Record(Direction.TO_SERVER, 5, broken),
        Record(Direction.TO_CLIENT, 9, encode_response("get", message_id=1, value=b"v")),
        Record(Direction.TO_SERVER, 10, get),
    ]
    frames = list(Explainer().recording(records))
    assert [frame.title.split(",")[0] for frame in frames] == [
        "GET request",
        "request",
        "GET response",
    ]
    assert f"version at byte {len(get) + 2}: unknown version 99" in frames[1].problem
    assert frames[1].start == len(get)


@pytest.mark.parametrize("direction", Direction)
def test_a_frame_of_the_other_direction(direction: Direction) -> None:
    data = [RESPONSE, PUT][direction]
    (frame,) = Explainer().recording([Record(direction, 0, data)])
    begins = ["0xa1 begins no request", "0xa0 begins no response"][direction]
    assert frame.problem == f"byte 0: {begins}"
