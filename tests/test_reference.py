"""Proof of the oracle: reference.py against what real clients and servers said.

Every frame of tests/vectors is read, compared with the fields that another decoder found in it,
and written again byte for byte. What cannot be is listed here with its reason and counted.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import reference
import vector_data
from reference import Bad, More
from vector_data import Vector

Message = dict[str, Any]

# Requests that are wrong on purpose: what they are, how the oracle must refuse them, how many.
REFUSED: dict[str, tuple[type[Exception], int]] = {
    "an unknown opcode and then a good request on the same connection": (Bad, 1),
    "key length -1 (five-byte varint)": (Bad, 2),
    "key length 2^31-1": (More, 3),
    "key length: a varint that never ends": (Bad, 1),
    "magic 0x00 (looks like another protocol)": (Bad, 2),
    "magic 0xA2": (Bad, 3),
    "media type definition 3": (Bad, 8),
    "message id: a varint that never ends": (Bad, 3),
    "opcode 0x04 (a response opcode)": (Bad, 28),
    "opcode 0x45 (not assigned)": (Bad, 28),
    "time unit 9 (not assigned)": (Bad, 21),
    "truncated: half a request, then silence": (More, 1),
    "version byte 0 is not known": (Bad, 2),
    "version byte 9 is not known": (Bad, 2),
    "version byte 14 is not known": (Bad, 2),
    "version byte 19 is not known": (Bad, 2),
    "version byte 42 is not known": (Bad, 2),
    "version byte 50 is not known": (Bad, 2),
    "version byte 99 is not known": (Bad, 2),
    "version byte 255 is not known": (Bad, 2),
    "weak and bounded at once (flags 3)": (Bad, 9),
}

NO_SUCH_VERSION = "a success under a version that does not exist has no form to compare with"
OLD_PING = "a 9.4 server does not know 3.0 and answers in its own form, without version and opcodes"
UNREAD_REQUEST = "its second frame answers a request that stands behind one that cannot be read"

# Answers that are no frame of the protocol, or whose request is not one.
LEFT_OUT = {
    "raw-error-0.0-s001": NO_SUCH_VERSION,
    "raw-error-0.0-s002": NO_SUCH_VERSION,
    "raw-error-0.9-s001": NO_SUCH_VERSION,
    "raw-error-0.9-s002": NO_SUCH_VERSION,
    "raw-error-1.4-s001": NO_SUCH_VERSION,
    "raw-error-1.4-s002": NO_SUCH_VERSION,
    "raw-error-1.9-s001": NO_SUCH_VERSION,
    "raw-error-1.9-s002": NO_SUCH_VERSION,
    "raw-error-25.5-s002": NO_SUCH_VERSION,
    "raw-error-4.2-s001": NO_SUCH_VERSION,
    "raw-error-4.2-s002": NO_SUCH_VERSION,
    "raw-error-5.0-s001": NO_SUCH_VERSION,
    "raw-error-5.0-s002": NO_SUCH_VERSION,
    "raw-error-9.9-s001": NO_SUCH_VERSION,
    "raw-error-9.9-s002": NO_SUCH_VERSION,
    "raw-error-3.0-s019": OLD_PING,
    "raw-error-4.0-s003": UNREAD_REQUEST,
}

# A 9.4 server put an empty entry behind the status that says that there is none: the other decoder
# told it as the body, here it is dropped.
WITH_EMPTY_ENTRY = {"multimap-2.7-s013", "multimap-2.8-s015", "multimap-2.9-s014"}
EMPTY_ENTRY = {"metadata": {"flags": 3, "version": -1}, "values": []}

# By area: its vectors, the requests in them, the answers and events in them. All of these passed.
PASSED = {
    "admin": (152, 152, 152),
    "auth": (177, 185, 185),
    "bulk": (259, 259, 259),
    "counter": (473, 423, 473),
    "error": (45, 45, 45),
    "extended-ops": (282, 272, 288),
    "format": (117, 117, 117),
    "handmade": (505, 533, 533),
    "handshake": (244, 244, 244),
    "iteration": (1163, 1163, 1162),
    "js": (205, 202, 205),
    "kv": (1250, 1250, 1250),
    "listener": (805, 458, 805),
    "multimap": (275, 275, 275),
    "near": (323, 205, 323),
    "query": (797, 707, 797),
    "raw-error": (343, 220, 1321),
    "stream": (114, 114, 114),
    "topology": (733, 733, 733),
    "tx": (317, 317, 317),
    "versioned": (420, 420, 420),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a vector, taken apart. `request` is what it answers, empty where unknown."""

    vector: Vector
    data: bytes
    message: Message
    request: Message | None

    @property
    def legacy_server(self) -> bool:
        return shortens(self.vector)

    def decode(self, data: bytes) -> tuple[Message, int]:
        if self.request is None:
            return reference.decode_request(data)
        return reference.decode_response(data, self.request, legacy_server=self.legacy_server)

    def encode(self) -> bytes:
        if self.request is None:
            return reference.encode_request(self.message)
        return reference.encode_response(
            self.message, self.request, legacy_server=self.legacy_server
        )


def shortens(vector: Vector) -> bool:
    return vector.server.startswith("9.4.")


def requests_of(vector: Vector) -> list[Frame]:
    """The frames of the request; most have one, some two in a row."""
    frames = []
    data = vector.request or b""
    while data:
        message, size = reference.decode_request(data)
        frames.append(Frame(vector, data[:size], message, None))
        data = data[size:]
    return frames


def message_id_of(answer: bytes) -> int:
    cursor = reference.Cursor(answer[1:])
    message_id: int = reference.VLONG.get(cursor)
    return message_id


def responses_of(vector: Vector, requests: list[Frame]) -> list[Frame]:
    """The frames of the answer, each with the request of the same message id."""
    by_id = {frame.message["message_id"]: frame.message for frame in requests}
    data = vector.response or b""
    if vector.rest is not None:
        assert data.endswith(vector.rest)
        data = data[: -len(vector.rest)]
    frames = []
    while data:
        request = by_id.get(message_id_of(data), {})
        message, size = reference.decode_response(data, request, legacy_server=shortens(vector))
        frames.append(Frame(vector, data[:size], message, request))
        data = data[size:]
    return frames


@functools.cache
def frames_of(area: str) -> list[Frame]:
    """All frames of an area that are not on one of the lists above."""
    frames = []
    for vector in vector_data.load(area):
        requests = [] if vector.note in REFUSED else requests_of(vector)
        frames += requests
        if vector.id not in LEFT_OUT:
            frames += responses_of(vector, requests)
    return frames


# --- The form that the recordings' own decoder gives to a frame -----------------------

UNIT_NAMES = {
    "seconds": "s",
    "milliseconds": "ms",
    "nanoseconds": "ns",
    "microseconds": "us",
    "minutes": "min",
    "hours": "h",
    "days": "d",
}
NAMES = {
    "entry_version": "version",
    "mechanism": "mech",
    "mechanisms": "mechs",
    "completed": "complete",
    "use_raw_data": "raw",
    "filter_factory": "filter",
    "converter_factory": "converter",
    "include_metadata": "metadata",
    "delta": "amount",
    "params": "task_params",
    "bloom_filter": "bloom",
    "custom_marker": "custom",
    "old_value": "old",
    "new_value": "new",
    "key_media_type": "key_format",
    "value_media_type": "value_format",
    "format_id": "format",
    "global_id": "global",
    "branch_id": "branch",
}
# These stand there as null; other absent fields do not stand there at all.
NULLS = {"segments", "filter", "key_format", "value_format"}


def plain(value: Any) -> Any:
    """Bytes as hex, or as length and digest; the names inside of dicts and lists."""
    if isinstance(value, bytes):
        if len(value) > 700:
            return {"len": len(value), "sha256": hashlib.sha256(value).hexdigest()}
        return value.hex()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def bits(numbers: list[int] | None) -> str | None:
    if numbers is None:
        return None
    pattern = sum(1 << number for number in numbers)
    return pattern.to_bytes((pattern.bit_length() + 7) // 8, "little").hex()


def media(media_type: Message | None) -> Any:
    if media_type is None:
        return None
    known = media_type["id"] is not None
    form: Message = {"id": media_type["id"]} if known else {"name": media_type["name"]}
    if media_type["params"]:
        form["params"] = dict(media_type["params"])
    return form


def metadata(meta: Message) -> Message:
    flags = (meta["lifespan"] is None) + 2 * (meta["max_idle"] is None)
    return {"flags": flags} | {k: v for k, v in meta.items() if v is not None}


def expiration(body: Message, version: int) -> Message:
    """The two durations of `body`, which lose their place there."""
    form: Message = {}
    for name in ("lifespan", "max_idle"):
        duration = body.pop(name)
        if version < 22:
            amount, unit = duration if isinstance(duration, list) else (0, "seconds")
            assert unit == "seconds"
            form[f"{name}_s"] = amount
        elif isinstance(duration, list):
            form[name], form[f"{name}_unit"] = duration[0], UNIT_NAMES[duration[1]]
        else:
            form[f"{name}_unit"] = duration or "default"
    return form


def named(body: Message) -> Message:
    renamed = {NAMES.get(name, name): value for name, value in body.items()}
    return {k: plain(v) for k, v in renamed.items() if v is not None or k in NULLS}


def modification(change: Message, version: int) -> Message:
    change = dict(change)
    if change["control"] & 4:
        change = {name: change[name] for name in ("key", "control", "entry_version")}
    else:
        change["expiration"] = expiration(change, version)
    change["version_read"] = change.pop("entry_version")
    return named(change)


def counter_config(config: Message) -> Message:
    kinds = {"UNBOUNDED_STRONG": 0, "WEAK": 1, "BOUNDED_STRONG": 2}
    return {"flags": kinds[config["type"]] | 4 * (config["storage"] == "PERSISTENT")} | config


def body_form(body: Message, op: str, version: int) -> Message:
    body = dict(body)
    if "lifespan" in body:
        body["expiration"] = expiration(body, version)
    for name in ("key_media_type", "value_media_type"):
        if name in body and version >= 29:
            body[name] = media(body[name])
    for name in ("segments", "finished_segments"):
        if name in body:
            body[name] = bits(body[name])
    if body.get("metadata") is not None:
        body["metadata"] = metadata(body["metadata"])
    if "config" in body:
        body["config"] = counter_config(body["config"])
    if "xid" in body:
        body["xid"] = named(body["xid"])
    if "xids" in body:
        body["xids"] = [named(xid) for xid in body["xids"]]
    if "modifications" in body:
        body["modifications"] = [modification(m, version) for m in body["modifications"]]
    if "stats" in body:
        body["stats"] = [list(item) for item in body["stats"].items()]
    if "params" in body:
        body["params"] = {name: plain(value) for name, value in body["params"].items()}
    if op == "ITERATION_START" and "batch_size" in body:
        body["batch"] = body.pop("batch_size")
    if op == "ITERATION_NEXT" and "entries" in body:
        if body["entries"]:
            body["entries"] = [body_form(entry, "", version) for entry in body["entries"]]
            # 2.3 has no such field; that decoder says what it would be.
            body["projections"] = body["projections"] or 1
        else:
            del body["entries"]
    if op == "COUNTER_GET_AND_SET" and "name" in body:
        body["amount"] = body.pop("value")
    form = named(body)
    if op == "PING" and version < 29:
        return {}
    return form


def request_form(message: Message) -> Message:
    version = message["version"]
    form = {
        name: message[name]
        for name in ("message_id", "version", "op", "cache", "flags", "intelligence")
    }
    form["opcode"] = reference.OPERATIONS[message["op"]].request
    form["topology_id"] = message["topology_id"] % 2**32
    if version < 20:
        form["tx_type"] = message["tx_type"]
    if version >= 28:
        form["key_format"] = media(message["key_media_type"])
        form["value_format"] = media(message["value_media_type"])
    if version >= 40:
        form["params"] = {name: plain(data) for name, data in message["other_params"].items()}
    form["body"] = body_form(message["body"], message["op"], version)
    return form


def topology_form(topology: Message) -> Message:
    form: Message = {"id": topology["id"] % 2**32, "servers": plain(topology["servers"])}
    if topology["hash_version"] is None:
        return form
    form["hash_function"] = topology["hash_version"]
    if "segment_owners" in topology:
        owners = {"owners": topology["segment_owners"]} if topology["hash_version"] else {}
        return form | {"num_segments": topology["num_segments"]} | owners
    form["num_owners"] = topology["key_owners"]
    form["hash_space"] = topology["hash_space"]
    if topology["virtual_nodes"] is not None:
        form["num_virtual_nodes"] = topology["virtual_nodes"]
    hashed = zip(form["servers"], topology["hash_ids"], strict=True)
    return form | {"servers": [[*server, hash_id] for server, hash_id in hashed]}


def response_form(message: Message, version: int) -> Message:
    form = {
        "message_id": message["message_id"],
        "opcode": message["opcode"],
        "op": "ERROR" if message["opcode"] == reference.ERROR_OPCODE else message["op"],
        "status_code": message["status"],
    }
    if message["topology"] is not None:
        form["topology"] = topology_form(message["topology"])
    if message["error"] is not None:
        form["body"] = {"error": message["error"]}
    else:
        form["body"] = body_form(message["body"], message["op"], version)
    return form


def told(fields: Message | list[Message] | None) -> list[Message]:
    """What the recordings' decoder says of one side, without the words for the status."""
    if fields is None:
        return []
    listed = fields if isinstance(fields, list) else [fields]
    return [{k: v for k, v in frame.items() if k != "status"} for frame in listed]


# --- The vectors ----------------------------------------------------------------------


@pytest.mark.parametrize("area", vector_data.areas())
def test_every_frame_is_written_again_as_it_was(area: str) -> None:
    for frame in frames_of(area):
        assert frame.encode() == frame.data, frame.vector.id


@pytest.mark.parametrize("area", vector_data.areas())
def test_the_name_of_the_operation(area: str) -> None:
    for frame in frames_of(area):
        if frame.request is None and frame.vector.op != "PUT+GET":
            first = frame.vector.request is not None and frame.vector.request.startswith(frame.data)
            assert not first or frame.message["op"] == frame.vector.op, frame.vector.id


@pytest.mark.parametrize("area", [a for a in vector_data.areas() if a != "extended-ops"])
def test_every_frame_has_the_fields_that_another_decoder_found(area: str) -> None:
    by_vector = itertools.groupby(frames_of(area), key=lambda frame: frame.vector.id)
    for vector_id, group in by_vector:
        frames = list(group)
        vector = frames[0].vector
        sides: dict[bool, list[Message]] = {True: [], False: []}
        for frame in frames:
            if frame.request is None:
                sides[True].append(request_form(frame.message))
            else:
                version = frame.request.get("version", vector.version_byte)
                sides[False].append(response_form(frame.message, version))
        assert vector.fields is not None
        if vector.note not in REFUSED:
            assert sides[True] == told(vector.fields["request"]), vector_id
        if vector.id not in LEFT_OUT:
            expected = told(vector.fields["response"])
            if vector_id in WITH_EMPTY_ENTRY:
                assert expected[0]["body"] == EMPTY_ENTRY
                expected[0]["body"] = {}
            assert sides[False] == expected, vector_id


def cuts(size: int, whole: bool) -> Iterator[int]:
    """Where to cut a frame: everywhere, or at a few places."""
    if whole and size <= 1000:
        yield from range(size)
    elif whole:
        yield from range(0, size, size // 500)
        yield size - 1
    else:
        yield from {size // 3, size * 3 // 4, size - 1}


def test_a_part_of_a_frame_asks_for_more() -> None:
    """All prefixes of the first frame of its kind, three prefixes of each other one."""
    kinds = set()
    for frame in itertools.chain.from_iterable(map(frames_of, vector_data.areas())):
        version = (frame.request if frame.request is not None else frame.message).get("version")
        message = frame.message
        status = message.get("status")
        kind = (
            message["op"],
            version,
            frame.request is None,
            status,
            bool(message.get("topology")),
        )
        for cut in cuts(len(frame.data), kind not in kinds):
            with pytest.raises(More):
                frame.decode(frame.data[:cut])
        kinds.add(kind)
    assert len(kinds) > 1500


def test_bytes_behind_a_frame_are_left_alone() -> None:
    for area in vector_data.areas():
        for frame in frames_of(area)[::7]:
            assert frame.decode(frame.data + b"\xa0\xa1\xff") == (frame.message, len(frame.data))


def test_wrong_requests_are_refused() -> None:
    found: collections.Counter[str] = collections.Counter()
    for vector in vector_data.load_all():
        if vector.note in REFUSED:
            assert vector.request is not None
            with pytest.raises(REFUSED[vector.note][0]):
                reference.decode_request(vector.request)
            found[vector.note] += 1
    assert found == {note: count for note, (_, count) in REFUSED.items()}


def test_answers_that_are_left_out_are_as_described() -> None:
    by_id = {vector.id: vector for vector in vector_data.load_all()}
    for vector_id, reason in LEFT_OUT.items():
        vector = by_id[vector_id]
        assert vector.request is not None
        assert vector.response is not None
        if reason == OLD_PING:
            request = reference.decode_request(vector.request)[0]
            with pytest.raises(More):
                reference.decode_response(vector.response, request)
            _, size = reference.decode_response(vector.response, request | {"version": 29})
            assert size == len(vector.response)
        elif reason == UNREAD_REQUEST:
            message, size = reference.decode_response(vector.response, {})
            assert message["status"] == 0x82
            request = {"op": "GET", "version": 40}
            message, end = reference.decode_response(vector.response[size:], request)
            assert (message["status"], size + end) == (0, len(vector.response))
        else:
            assert vector.note in REFUSED
            assert vector.version_byte not in reference.VERSIONS
            with pytest.raises(Bad):
                reference.decode_response(vector.response, {})
    assert len(LEFT_OUT) == 17


def test_how_much_was_compared() -> None:
    """No vector is lost on the way: each counts here or is on a list above."""
    counted = {}
    for area in vector_data.areas():
        frames = frames_of(area)
        requests = sum(frame.request is None for frame in frames)
        counted[area] = (len(vector_data.load(area)), requests, len(frames) - requests)
    assert counted == PASSED


def test_every_operation_and_event_was_seen() -> None:
    messages = [frame for area in vector_data.areas() for frame in frames_of(area)]
    asked = {frame.message["op"] for frame in messages if frame.request is None}
    answered = {
        f.message["op"] for f in messages if f.request is not None and not f.message["error"]
    }
    assert len(reference.OPERATIONS) == 64
    # No client ever gave up a stream that it was writing.
    assert set(reference.OPERATIONS) - asked == {"END_PUT_STREAM"}
    assert set(reference.OPERATIONS) - answered == {"END_PUT_STREAM"}
    assert set(reference.EVENTS) <= answered
    versions = {frame.message["version"] for frame in messages if frame.request is None}
    assert versions == set(reference.VERSIONS)


def test_authentication_exchanges() -> None:
    steps = [step for exchange in vector_data.sasl()["exchanges"] for step in exchange["steps"]]
    assert len(steps) == 13
    for step in steps:
        data = bytes.fromhex(step["request_hex"])
        request, size = reference.decode_request(data)
        assert size == len(data)
        assert reference.encode_request(request) == data
        assert request["body"]["response"] == step["client_response"].encode()
        answer = bytes.fromhex(step["response_hex"])
        message, size = reference.decode_response(answer, request)
        assert size == len(answer)
        assert reference.encode_response(message, request) == answer
        assert message["body"]["challenge"] == step["server_challenge"].encode()
        assert message["body"]["completed"] == bool(step["server_complete_byte"])


# --- The streams ----------------------------------------------------------------------


def all_requests(data: bytes) -> list[Message]:
    messages = []
    at = 0
    while at < len(data):
        message, size = reference.decode_request(data[at:])
        assert reference.encode_request(message) == data[at : at + size]
        messages.append(message)
        at += size
    return messages


def entries_of(answer: Message) -> list[tuple[bytes, bytes]]:
    body = answer["body"]
    if answer["op"] == "ITERATION_NEXT":
        return [(entry["key"], entry["values"][0]) for entry in body["entries"]]
    if answer["op"] == "BULK_GET_KEYS":
        return [(key, b"") for key in body["keys"]]
    return list(body.get("entries", []))


def digest(entries: list[tuple[bytes, bytes]]) -> str:
    state = hashlib.sha256()
    for part in itertools.chain.from_iterable(sorted(entries)):
        state.update(len(part).to_bytes(4) + part)
    return state.hexdigest()


@pytest.mark.parametrize("stream", vector_data.streams(), ids=lambda stream: stream.path.stem)
def test_recorded_stream(stream: vector_data.Stream) -> None:
    assert hashlib.sha256(stream.path.read_bytes()).hexdigest() == stream.manifest["file_sha256"]
    requests = all_requests(stream.sent(vector_data.TO_SERVER))
    by_id = {request["message_id"]: request for request in requests}
    assert len(requests) == len(by_id) == stream.requests
    assert sorted({request["op"] for request in requests}) == stream.manifest["request_ops"]
    data = stream.sent(vector_data.TO_CLIENT)
    entries: list[tuple[bytes, bytes]] = []
    count = at = 0
    while at < len(data):
        request = by_id[message_id_of(data[at : at + 12])]
        answer, size = reference.decode_response(data[at:], request)
        assert reference.encode_response(answer, request) == data[at : at + size]
        entries += entries_of(answer)
        count += 1
        at += size
    assert count == stream.responses
    assert len(entries) == stream.entries
    if entries:
        assert digest(entries) == stream.entries_sha256


# --- What no recording shows ----------------------------------------------------------


def test_any_request_in_any_version() -> None:
    """What the header takes away or adds, the body follows."""
    samples: dict[str, Message] = {}
    for frame in itertools.chain.from_iterable(map(frames_of, vector_data.areas())):
        if frame.request is None:
            samples.setdefault(frame.message["op"], frame.message)
    samples["END_PUT_STREAM"] = samples["END_GET_STREAM"] | {"op": "END_PUT_STREAM"}
    assert set(samples) == set(reference.OPERATIONS)
    for sample, version in itertools.product(samples.values(), reference.VERSIONS):
        data = reference.encode_request(sample | {"version": version})
        message, size = reference.decode_request(data)
        assert size == len(data)
        assert reference.encode_request(message) == data
        assert (message["op"], message["version"]) == (sample["op"], version)
        assert (message["tx_type"] is None) == (version >= 20)
        assert (message["other_params"] is None) == (version < 40)


FORCE = reference.FORCE_RETURN_VALUE

# request; legacy_server; answer; its status and body
ANSWERS: list[tuple[Message, bool, str, int, Message]] = [
    # 1.x: the flag decides, on every status.
    ({"op": "PUT", "version": 10}, False, "a10102 00 00", 0, {"previous": None}),
    ({"op": "PUT", "version": 10, "flags": FORCE}, False, "a10102 00 00 00", 0, {"previous": b""}),
    (
        {"op": "REPLACE", "version": 13, "flags": FORCE},
        False,
        "a10108 01 00 00",
        1,
        {"previous": b""},
    ),
    # ... as a 9.4 server has it.
    ({"op": "REPLACE", "version": 13, "flags": FORCE}, True, "a10108 01 00", 1, {"previous": None}),
    (
        {"op": "PUT_IF_ABSENT", "version": 10, "flags": FORCE},
        True,
        "a10106 01 00 01 76",
        1,
        {"previous": b"v"},
    ),
    (
        {"op": "REMOVE", "version": 12, "flags": FORCE},
        True,
        "a1010c 02 00 00",
        2,
        {"previous": b""},
    ),
    ({"op": "GET", "version": 11, "flags": FORCE}, True, "a10104 02 00 00", 2, {}),
    ({"op": "CONTAINS_KEY", "version": 11, "flags": FORCE}, True, "a10110 02 00 00", 2, {}),
    ({"op": "GET", "version": 11, "flags": FORCE}, False, "a10104 02 00", 2, {}),
    ({"op": "GET", "version": 11}, True, "a10104 02 00", 2, {}),
    # 2.0 on: the status decides, with the switch as well.
    ({"op": "PUT", "version": 20, "flags": FORCE}, True, "a10102 00 00", 0, {"previous": None}),
    ({"op": "GET", "version": 20, "flags": FORCE}, True, "a10104 02 00", 2, {}),
    # ... but a 9.4 server has an entry behind one status that says that there is none.
    (
        {"op": "GET_MULTIMAP_WITH_METADATA", "version": 27},
        True,
        "a1016a 02 00 03 ffffffffffffffff 00",
        2,
        {},
    ),
    ({"op": "GET_MULTIMAP_WITH_METADATA", "version": 27}, False, "a1016a 02 00", 2, {}),
    ({"op": "GET_MULTIMAP", "version": 27}, True, "a10168 02 00", 2, {}),
    # 2.4 to 2.8: answers of a cache that stores objects.
    ({"op": "GET", "version": 24}, False, "a10104 06 00 01 76", 6, {"value": b"v"}),
    ({"op": "REMOVE", "version": 25}, False, "a1010c 07 00 01 76", 7, {"previous": b"v"}),
    ({"op": "PUT_IF_ABSENT", "version": 28}, False, "a10106 08 00 01 76", 8, {"previous": b"v"}),
    # 4.1: no previous value between the pieces, one behind the last.
    ({"op": "NEXT_PUT_STREAM", "version": 41}, False, "a101ec 00 00", 0, {"previous": None}),
    (
        {"op": "NEXT_PUT_STREAM", "version": 41},
        False,
        "a101ec 03 00 03 ffffffffffffffff 00",
        3,
        {
            "previous": b"",
            "metadata": {
                "version": -1,
                "created": None,
                "lifespan": None,
                "last_used": None,
                "max_idle": None,
            },
        },
    ),
    ({"op": "END_PUT_STREAM", "version": 41}, False, "a101ea 00 00", 0, {}),
    ({"op": "PREPARE_TX", "version": 27}, False, "a1013c 01 00", 1, {}),
    (
        {"op": "FETCH_TX_RECOVERY", "version": 29},
        False,
        "a1017c 00 00 01 09 02 6701 01 62",
        0,
        {"xids": [{"format_id": -5, "global_id": b"g\x01", "branch_id": b"b"}]},
    ),
    (
        {"op": "ITERATION_NEXT", "version": 25},
        False,
        "a10134 05 00 00 00",
        5,
        {"finished_segments": [], "projections": None, "entries": []},
    ),
]


@pytest.mark.parametrize(("request_", "short", "hexed", "status", "body"), ANSWERS)
def test_answer(request_: Message, short: bool, hexed: str, status: int, body: Message) -> None:
    data = bytes.fromhex(hexed)
    message, size = reference.decode_response(data, request_, legacy_server=short)
    assert (message["status"], size) == (status, len(data))
    if "previous" in body:
        body = {"metadata": None} | body
    assert message["body"] == body
    assert reference.encode_response(message, request_, legacy_server=short) == data


HASH_AWARE = {"intelligence": reference.HASH_DISTRIBUTION_AWARE}

TOPOLOGIES: list[tuple[Message, str, Message]] = [
    # No hash function: no segment, whatever their number says.
    (
        {"version": 40},
        "feffffff0f 01 02 6831 2c22 00 07",
        {"id": -2, "hash_version": 0, "num_segments": 7, "segment_owners": []},
    ),
    (
        {"version": 20},
        "05 01 02 6831 ffff 03 02 01 00 00",
        {"id": 5, "hash_version": 3, "num_segments": 2, "segment_owners": [[0], []]},
    ),
    (
        {"version": 10},
        "05 0002 02 ffffffff07 01 02 6831 2c22 90000000",
        {
            "id": 5,
            "key_owners": 2,
            "hash_version": 2,
            "hash_space": 2**31 - 1,
            "virtual_nodes": None,
            "hash_ids": [-0x70000000],
        },
    ),
    (
        {"version": 11},
        "05 0001 01 8050 01 00 02 6831 2c22 0000007b",
        {
            "id": 5,
            "key_owners": 1,
            "hash_version": 1,
            "hash_space": 10240,
            "virtual_nodes": 0,
            "hash_ids": [123],
        },
    ),
]


@pytest.mark.parametrize(("header", "block", "expected"), TOPOLOGIES)
def test_topology(header: Message, block: str, expected: Message) -> None:
    request = header | HASH_AWARE | {"op": "GET"}
    for start, rest in (("a10104 00 01", "01 76"), ("a10150 86 01", "01 74")):
        data = bytes.fromhex(start + block + rest)
        message, size = reference.decode_response(data, request)
        assert size == len(data)
        topology = message["topology"]
        assert topology.pop("servers")[0][0] == "h1"
        assert topology == expected
        assert message["error"] == ("t" if message["status"] else None)
        whole = reference.decode_response(data, request)[0]
        assert reference.encode_response(whole, request) == data


GET_41: Message = {"op": "GET", "version": 41} | HASH_AWARE
GET_PREFIX = "a00129 03 00 00 01 00 00 00 00"

BAD_REQUESTS = {
    "vInt of 6 bytes": "a00129 03 00 8080808080",
    "vInt with bit 32 set": "a00129 03 00 ffffffff1f",
    "vLong of 11 bytes": "a0 80808080808080808080",
    "vLong with bit 64 set": "a0 ffffffffffffffffff02",
    "length of 2^31": GET_PREFIX + "8080808008",
    "version 1.4": "a001 0e",
    "opcode 0x04": "a00129 04",
    "cache name of broken UTF-8": "a00129 03 01 ff",
    "media type of kind 3": "a00129 03 00 00 01 00 03",
    "lifespan of unit 9": "a00129 01 00 00 01 00 00 00 00 01 6b 97",
    "max idle of unit 15": "a00129 01 00 00 01 00 00 00 00 01 6b 7f",
    "transaction id without global part": "a00129 3d 00 00 01 00 00 00 00 00 00",
    "transaction id part of 65 bytes": "a00129 3d 00 00 01 00 00 00 00 00 41",
    "task with 128 parameters": "a00129 2b 00 00 01 00 00 00 00 01 74 80",
    "change of a key neither read nor there": (
        "a00129 3b 00 00 01 00 00 00 00 00 01 67 01 62 00 01 01 6b 03"
    ),
}
BAD_RESPONSES = {
    "request magic": "a0",
    "opcode of another operation": "a10102",
    "status 0x09": "a10104 09",
    "status 0x89": "a10150 89",
    "error status under the own opcode": "a10104 85",
    "success under the error opcode": "a10150 00",
    "previous value of a read": "a10104 03 00",
    "topology marker 2": "a10104 00 02",
    "owner that is no server": "a10104 00 01 05 01 02 6831 2c22 03 01 01 01",
    "event with a status": "a10060 01",
    "event with a topology": "a10060 00 01",
    "custom marker 3": "a10060 00 00 01 6c 03",
    "counter state 3": "a10066 00 00 01 63 01 6c 03",
    "counter state 12": "a10066 00 00 01 63 01 6c 0c",
}


@pytest.mark.parametrize("hexed", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_no_request(hexed: str) -> None:
    data = bytes.fromhex(hexed)
    with pytest.raises(Bad):
        reference.decode_request(data)
    with pytest.raises(More):
        reference.decode_request(data[:-1])


@pytest.mark.parametrize("hexed", BAD_RESPONSES.values(), ids=BAD_RESPONSES)
def test_no_response(hexed: str) -> None:
    data = bytes.fromhex(hexed)
    with pytest.raises(Bad):
        reference.decode_response(data, GET_41)


def test_padded_varints_are_read_and_not_written() -> None:
    data = bytes.fromhex(
        "a0 81808080808080808000 29 03 808000 8080808000 01 8000 00 00 8000 8100 6b"
    )
    message, size = reference.decode_request(data)
    assert size == len(data)
    assert (message["message_id"], message["body"]) == (1, {"key": b"k"})
    assert reference.encode_request(message) == bytes.fromhex(GET_PREFIX + "016b")


@pytest.mark.parametrize(
    ("version", "flags", "lifespan", "max_idle", "hexed", "back"),
    [
        (10, 0, "infinite", [1500, "milliseconds"], "00 02", ("infinite", [2, "seconds"])),
        (12, reference.DEFAULT_LIFESPAN, None, "infinite", "00 00", (None, "infinite")),
        (21, reference.DEFAULT_MAXIDLE, [1, "days"], None, "80a305 00", ([86400, "seconds"], None)),
        (
            21,
            0,
            [1, "nanoseconds"],
            [60, "minutes"],
            "01 901c",
            ([1, "seconds"], [3600, "seconds"]),
        ),
        (22, 0, None, "infinite", "78", (None, "infinite")),
        (22, 7, [0, "seconds"], None, "07 00", ([0, "seconds"], None)),
        (41, 0, [5, "microseconds"], [6, "days"], "36 05 06", ([5, "microseconds"], [6, "days"])),
    ],
)
def test_expiration(
    version: int, flags: int, lifespan: Any, max_idle: Any, hexed: str, back: tuple[Any, Any]
) -> None:
    header = {"op": "PUT_ALL", "version": version, "flags": flags}
    body = {"lifespan": lifespan, "max_idle": max_idle, "entries": []}
    data = reference.encode_request(header | {"body": body})
    assert data.endswith(bytes.fromhex(hexed) + b"\0")
    read = reference.decode_request(data)[0]["body"]
    assert (read["lifespan"], read["max_idle"]) == back
