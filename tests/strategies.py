"""Hypothesis strategies made from the package's own table: arguments for every operation, event,
version and direction. A kind of field without a strategy is an error, not a gap.
"""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from hotrod_codec import (
    CounterConfiguration,
    Duration,
    FieldLayout,
    IteratedEntry,
    Layout,
    MediaType,
    Metadata,
    Modification,
    Op,
    ServerAddress,
    Status,
    TimeUnit,
    Topology,
    Version,
    Xid,
    layout,
)

Arguments = dict[str, Any]

LAYOUTS = [layout(op) for op in Op]
OPERATIONS = [each for each in LAYOUTS if each.request_code is not None]
EVENTS = [each for each in LAYOUTS if each.request_code is None]
# The operations whose answers have a previous value, and the statuses that carry it.
PREVIOUS = {each.op for each in LAYOUTS if each.response and "previous" in each.response[0].names}
WITH_PREVIOUS = {Status.SUCCESS_WITH_PREVIOUS, Status.NOT_EXECUTED_WITH_PREVIOUS}

# Around the places where lengths take one more byte.
sizes = st.one_of(st.integers(0, 20), st.sampled_from([126, 127, 128, 129, 16383, 16384]))
data = st.one_of(st.binary(max_size=20), sizes.map(lambda n: b"\x80" * n))
text = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), st.just("ä" * 70))


def edges(bits: int, *, signed: bool = False) -> st.SearchStrategy[int]:
    """Numbers of so many bits, the ends and the varint borders among them."""
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    borders = [n for i in range(1, 10) for n in (2 ** (7 * i) - 1, 2 ** (7 * i))]
    near = [n for n in (least, least + 1, -1, 0, 1, *borders, most - 1, most) if least <= n <= most]
    return st.one_of(st.sampled_from(near), st.integers(least, most))


u32 = edges(32)
i32 = edges(32, signed=True)
i64 = edges(64, signed=True)
u64 = edges(64)


def durations(version: int) -> st.SearchStrategy[Any]:
    # In 1.0 and 1.1 nothing says "default": the wire's 0 reads as immortal there.
    none = st.sampled_from([math.inf] if version < 12 else [None, math.inf])
    if version < 22:
        return st.one_of(none, st.integers(1, 2**31 - 1).map(Duration))
    units = st.sampled_from([u for u in TimeUnit if u < TimeUnit.DEFAULT])
    return st.one_of(none, st.builds(Duration, u64, units))


media_types = st.one_of(
    st.none(),
    st.sampled_from(["application/json", "application/x-protostream"]).map(MediaType),
    st.builds(
        MediaType,
        st.sampled_from(["text/plain", "application/x-own"]),
        st.lists(st.tuples(text, text), max_size=2).map(tuple),
        custom=st.just(True),
    ),
    st.just(MediaType("", id=999)),
)


@st.composite
def metadata(draw: st.DrawFn) -> Metadata:
    created, lifespan, last_used, max_idle = None, None, None, None
    if draw(st.booleans()):
        created, lifespan = draw(i64), draw(u32)
    if draw(st.booleans()):
        last_used, max_idle = draw(i64), draw(u32)
    return Metadata(draw(i64), created, lifespan, last_used, max_idle)


@st.composite
def modifications(draw: st.DrawFn, version: int) -> Modification:
    control = draw(st.sampled_from([0, 1, 2, 4, 5, 6]))
    arguments: Arguments = {"key": draw(data), "control": control}
    if not control & 3:
        arguments["entry_version"] = draw(i64)
    if not control & 4:
        arguments["value"] = draw(data)
        arguments |= {name: draw(durations(version)) for name in ("lifespan", "max_idle")}
    return Modification(**arguments)


@st.composite
def counters(draw: st.DrawFn) -> CounterConfiguration:
    arguments: Arguments = {"initial": draw(i64), "persistent": draw(st.booleans())}
    match draw(st.integers(0, 2)):
        case 1:
            arguments |= {"lower": draw(i64), "upper": draw(i64)}
        case 2:
            arguments["concurrency"] = draw(u32)
    return CounterConfiguration(**arguments)


@st.composite
def batches(draw: st.DrawFn, version: int) -> Arguments:
    width = draw(st.integers(1, 3)) if version >= 24 else 1
    meta = st.one_of(st.none(), metadata()) if version >= 25 else st.none()
    values = st.lists(data, min_size=width, max_size=width).map(tuple)
    entries = draw(st.lists(st.builds(IteratedEntry, data, values, meta), max_size=3))
    found: Arguments = {"entries": entries}
    if entries and version >= 24:
        found["projections"] = width
    return found


@st.composite
def events(draw: st.DrawFn, names: tuple[str, ...]) -> Arguments:
    marker = draw(st.integers(0, 2))
    found: Arguments = {"custom_marker": marker, "retried": draw(st.booleans())}
    if marker:
        return found | {"event_data": draw(data)}
    found["key"] = draw(data)
    return found | ({"entry_version": draw(i64)} if "entry_version" in names else {})


@st.composite
def factories(draw: st.DrawFn, names: tuple[str, ...], kind: str, version: int) -> Arguments:
    name, params = names
    none = "" if kind == "factory" else None
    factory = draw(st.one_of(st.just(none), text.filter(bool)))
    found: Arguments = {name: factory}
    if factory and (kind == "factory" or version >= 24):
        found[params] = draw(st.lists(data, max_size=3))
    return found


xids = st.builds(Xid, i32, *[st.binary(min_size=1, max_size=64)] * 2)
segments = st.sets(st.integers(0, 300), max_size=6).map(sorted)
names_and_bytes = st.dictionaries(text, data, max_size=3)

KINDS: dict[str, st.SearchStrategy[Any]] = {
    "bytes": data,
    "text": text,
    "u8": st.integers(0, 255),
    "bool": st.booleans(),
    "vint": u32,
    "vlong": u64,
    "i32": i32,
    "i64": i64,
    "meta": metadata(),
    "media": media_types,
    "bits": segments,
    "some_bits": st.one_of(st.none(), segments),
    "xid": xids,
    "counter": counters(),
    "counter_state": st.builds(lambda a, b: a | b << 2, st.integers(0, 2), st.integers(0, 2)),
    "pairs": st.lists(st.tuples(data, data), max_size=4),
    "pairs_more": st.lists(st.tuples(data, data), max_size=4),
    "bytes_list": st.lists(data, max_size=4),
    "bytes_more": st.lists(data, max_size=4),
    "pieces": st.lists(data.filter(bool), max_size=4),
    "text_list": st.lists(text, max_size=4),
    "text_pairs": st.dictionaries(text, text, max_size=4),
    "few_params": names_and_bytes,
    "u16_list": st.lists(st.integers(0, 2**16 - 1), max_size=4),
    "xids": st.lists(xids, max_size=3),
}


def field(each: FieldLayout, version: int) -> st.SearchStrategy[Arguments]:
    """What one field of a body may be given."""
    names = each.names
    match each.kind:
        case "life":
            return st.fixed_dictionaries({name: durations(version) for name in names})
        case "old_value":
            meta = {names[1]: metadata()} if version >= 40 else {}
            return st.fixed_dictionaries({names[0]: data, **meta})
        case "iterated":
            return batches(version)
        case "write_event" | "remove_event":
            return events(names)
        case "factory" | "some_factory":
            return factories(names, each.kind, version)
        case "modifications":
            return st.fixed_dictionaries({names[0]: st.lists(modifications(version), max_size=3)})
    return st.fixed_dictionaries({names[0]: KINDS[each.kind]})


@st.composite
def body(draw: st.DrawFn, fields: tuple[FieldLayout, ...], version: int) -> Arguments:
    found: Arguments = {}
    for each in fields:
        if version >= each.since:
            found |= draw(field(each, version))
    return found


def versions_of(each: Layout) -> list[Version]:
    return [version for version in Version if each.since <= version <= each.until]


@st.composite
def requests(draw: st.DrawFn, each: Layout, version: Version) -> Arguments:
    """Keywords for encode_request."""
    arguments: Arguments = {
        "version": version,
        "message_id": draw(u64),
        "cache": draw(text),
        "flags": draw(u32),
        "intelligence": draw(st.integers(1, 3)),
        "topology_id": draw(i32),
    }
    if version >= 28:
        arguments["key_media_type"] = draw(media_types)
        arguments["value_media_type"] = draw(media_types)
    if version >= 40:
        arguments["other_params"] = draw(names_and_bytes)
    arguments |= draw(body(each.request, version))
    if 12 <= version < 22:
        # With the flag, 0 seconds are the default: immortal cannot be said then.
        for name, flag in (("lifespan", 2), ("max_idle", 4)):
            if arguments.get(name, 0) == math.inf:
                arguments["flags"] &= ~flag
    if version < 12:
        arguments["flags"] &= ~6
    return arguments


servers = st.lists(st.builds(ServerAddress, text, st.integers(0, 65535)), max_size=4).map(tuple)


@st.composite
def topologies(draw: st.DrawFn, version: int, intelligence: int) -> Topology | None:
    """A topology in the form for such a client; often none."""
    if intelligence == 1 or draw(st.booleans()):
        return None
    found = draw(servers)
    if intelligence == 2:
        return Topology(draw(i32), found)
    if version < 20:
        return Topology(
            draw(i32),
            found,
            hash_version=draw(st.integers(0, 255)),
            key_owners=draw(st.integers(0, 65535)),
            hash_space=draw(u32),
            virtual_nodes=draw(u32) if version > 10 else None,
            hash_ids=tuple(draw(i32) for _ in found),
        )
    if draw(st.booleans()):
        return Topology(
            draw(i32), found, hash_version=0, segment_owners=(), num_segments=draw(u32) % 2**20
        )
    owner = st.integers(0, len(found) - 1) if found else st.nothing()
    owners = st.lists(owner, max_size=3 if found else 0).map(tuple)
    segment_owners = draw(st.lists(owners, max_size=5).map(tuple))
    return Topology(draw(i32), found, hash_version=3, segment_owners=segment_owners)


@st.composite
def responses(
    draw: st.DrawFn, each: Layout, version: Version, flags: int, intelligence: int
) -> Arguments:
    """Keywords for encode_response, with a status that the operation can have."""
    event = each.request_code is None
    arguments: Arguments = {
        "version": version,
        "message_id": draw(u64),
        "topology": None if event else draw(topologies(version, intelligence)),
    }
    errors = [status for status in Status if status >= 0x81]
    plain = [Status.NOT_EXECUTED, Status.KEY_DOES_NOT_EXIST]
    success = [Status.SUCCESS, Status.SUCCESS_OBJ_STORAGE]
    if event:
        return arguments | draw(body(each.response, version))
    arguments["status"] = status = draw(
        st.sampled_from(
            errors
            + plain
            + success
            + (sorted(WITH_PREVIOUS) if each.op in PREVIOUS and version >= 20 else [])
        )
    )
    if status >= 0x81:
        return arguments | {"error": draw(text)}
    if each.op in PREVIOUS:
        carried = flags & 1 if version < 20 else status in WITH_PREVIOUS
    else:
        carried = status in success
    return arguments | (draw(body(each.response, version)) if carried else {})
