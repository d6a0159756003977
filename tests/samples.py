"""One message of every row and direction, full of all that it can carry, without chance.

Here: arguments, frames, and how each is read. For tests that go through all kinds of messages many
times, where strategies.py would be too slow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hotrod_codec import (
    CounterConfiguration,
    Duration,
    FieldLayout,
    IteratedEntry,
    Layout,
    Limits,
    MediaType,
    Metadata,
    Modification,
    Op,
    Reader,
    RequestContext,
    ServerAddress,
    Status,
    Topology,
    Version,
    Xid,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from strategies import LAYOUTS, PREVIOUS, Arguments, versions_of

MESSAGE_ID = 2**40 + 5
METADATA = Metadata(2**33, 1_600_000_000_000, 3600, 1_600_000_000_001, 60)
XID = Xid(70_000, b"global-1", b"branch-1")
PAIRS = [(b"key-%d" % i, b"value-%d" % i) for i in range(3)]
KEYS = [key for key, _ in PAIRS]
WITH_LISTS = {"pairs", "pairs_more", "iterated"}
WITH_COLUMNS = WITH_LISTS | {"bytes_list", "bytes_more"}

VALUES: dict[str, Any] = {
    "bytes": b"some-bytes",
    "text": "some text: \u00e4\u20ac",
    "u8": 40,
    "bool": True,
    "vint": 2**31 + 7,
    "vlong": 2**63 + 7,
    "i32": -70_000,
    "i64": -(2**40),
    "meta": METADATA,
    "media": MediaType("application/x-own", (("charset", "utf-8"),), custom=True),
    "bits": [0, 9, 300],
    "some_bits": [1, 8, 255],
    "xid": XID,
    "counter": CounterConfiguration(2**40, -(2**41), 2**41, persistent=True),
    "counter_state": 1,
    "pairs": PAIRS,
    "pairs_more": PAIRS,
    "bytes_list": KEYS,
    "bytes_more": KEYS,
    "pieces": KEYS,
    "text_list": ["PLAIN", "SCRAM-SHA-256"],
    "text_pairs": {"stores": "12", "hits": "34"},
    "few_params": {"first": b"parameter", "second": b""},
    "u16_list": [1, 3, 40_000],
    "xids": [XID, XID],
}


def _field(each: FieldLayout, version: int) -> Arguments:
    names = each.names
    if each.kind == "life":
        return {names[0]: Duration(9000), names[1]: Duration(12_345)}
    if each.kind == "old_value":
        return {names[0]: b"what was there"} | ({names[1]: METADATA} if version >= 40 else {})
    if each.kind == "iterated":
        metadata = METADATA if version >= 25 else None
        width = 2 if version >= 24 else 1
        entries = [IteratedEntry(key, (b"a value",) * width, metadata) for key in KEYS]
        return {"entries": entries} | ({"projections": width} if version >= 24 else {})
    if each.kind in ("write_event", "remove_event"):
        found = {"custom_marker": 0, "retried": True, "key": b"a-key"}
        return found | ({"entry_version": 2**40} if each.kind == "write_event" else {})
    if each.kind in ("factory", "some_factory"):
        with_params = each.kind == "factory" or version >= 24
        return {names[0]: "a factory"} | ({names[1]: KEYS} if with_params else {})
    if each.kind == "modifications":
        return {
            names[0]: [
                Modification(b"k1", 0, 2**40, b"value", Duration(9000), Duration(8000)),
                Modification(b"k2", 4, 2**41),
            ]
        }
    return {names[0]: VALUES[each.kind]}


def _body(fields: tuple[FieldLayout, ...], version: int) -> Arguments:
    found: Arguments = {}
    for each in fields:
        if version >= each.since:
            found |= _field(each, version)
    return found


SERVERS = (ServerAddress("node-1.example", 11222), ServerAddress("node-2.example", 11223))


def topology(version: int) -> Topology:
    """As a server of that version sends it to a client that knows hashes."""
    if version >= 20:
        return Topology(7, SERVERS, hash_version=3, segment_owners=((0, 1), (1,), ()))
    nodes = 3 if version > 10 else None
    return Topology(
        7,
        SERVERS,
        hash_version=2,
        key_owners=2,
        hash_space=2**31 - 1,
        virtual_nodes=nodes,
        hash_ids=(-5, 2**30),
    )


@dataclass(frozen=True, slots=True)
class Sample:
    """A message: what it is encoded from, its bytes, and how they are read.

    Attributes:
        context: What a response or event is read against; None for a request.
    """

    name: str
    layout: Layout
    version: Version
    arguments: Arguments
    context: RequestContext | None
    frame: bytes

    @property
    def op(self) -> Op:
        return self.layout.op

    @property
    def forms(self) -> tuple[str, ...]:
        """What a list that ends the answer may become, besides "pairs"."""
        kind = self.layout.response[-1].kind if self.context and self.layout.response else ""
        if kind not in WITH_COLUMNS:
            return ()
        return ("dict", "lists", "batch") if kind in WITH_LISTS else ("batch",)

    def encode(self, arguments: Arguments) -> bytes:
        if self.context is None:
            return encode_request(self.op, **arguments)
        return encode_response(self.op, **arguments)

    def decode(self, data: Any, offset: int = 0, **keywords: Any) -> Any:
        if self.context is None:
            return decode_request(data, offset, **keywords)
        return decode_response(data, self.context, offset, **keywords)

    def reader(self, into: Any = "pairs", limits: Limits | None = None) -> Reader:
        """One that waits for the message."""
        if self.context is None:
            return Reader("server", limits=limits)
        reader = Reader(limits=limits)
        reader.expect(self.context, MESSAGE_ID, into=into)
        return reader


def _request(each: Layout, version: Version) -> Sample:
    arguments: Arguments = {
        "version": version,
        "message_id": MESSAGE_ID,
        "cache": "orders \u00e4",
        "flags": 1,
        "intelligence": 3,
        "topology_id": -2,
    }
    if version >= 28:
        arguments["key_media_type"] = VALUES["media"]
        arguments["value_media_type"] = MediaType("application/json")
    if version >= 40:
        arguments["other_params"] = {"trace": b"a-trace-id"}
    arguments |= _body(each.request, version)
    name = f"{each.op.name}-{version // 10}.{version % 10} request"
    return Sample(name, each, version, arguments, None, encode_request(each.op, **arguments))


def _response(each: Layout, version: Version, kind: str) -> Sample:
    arguments: Arguments = {"version": version, "message_id": MESSAGE_ID}
    if kind == "event":
        arguments |= _body(each.response, version)
    else:
        arguments["topology"] = topology(version)
        if kind == "error":
            arguments |= {"status": Status.SERVER_ERROR, "error": "what the server says"}
        else:
            arguments |= _body(each.response, version)
            if each.op in PREVIOUS and version >= 20:
                arguments["status"] = Status.SUCCESS_WITH_PREVIOUS
    context = RequestContext(each.op, version, 1, 3)
    name = f"{each.op.name}-{version // 10}.{version % 10} {kind}"
    return Sample(name, each, version, arguments, context, encode_response(each.op, **arguments))


def _samples() -> list[Sample]:
    found = []
    for each in LAYOUTS:
        versions = versions_of(each)
        for version in sorted({versions[0], versions[-1]}):
            if each.request_code is None:
                found.append(_response(each, version, "event"))
            else:
                found.append(_request(each, version))
                found.append(_response(each, version, "response"))
        if each.op in (Op.PUT, Op.GET, Op.BULK_GET, Op.ITERATION_NEXT):  # alike for all
            found.append(_response(each, versions[-1], "error"))
    return found


SAMPLES = _samples()
