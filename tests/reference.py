"""The Hot Rod protocol, slow and plain: what the tests hold the real codec against.

Here: every operation, event and error of versions 1.0 to 4.1, both directions, written from the
protocol alone. A message is a dict, a frame is bytes. Not here: speed, limits, sockets, anything
of the package `hotrod_codec`, which must be able to disagree with this file.

    encode_request(message) -> bytes             decode_request(data) -> (message, length)
    encode_response(message, request) -> bytes   decode_response(data, request) -> (message, length)

`More`: the data ends before the frame does. `Bad`: no continuation makes it a frame.

Messages
    request: op, message_id, version (the byte: 41 is 4.1), cache, flags, intelligence,
        topology_id (signed), key_media_type, value_media_type (None or
        {"id": int | None, "name": str | None, "params": [(str, str)]}), other_params
        ({str: bytes}), tx_type (1.x), body. What the version has not is None in a decoded one.
    response: op (the request's), opcode, message_id, status, topology (None or a dict), error
        (None or str), body. To encode, opcode and message_id may be left out.
    event: as a response; op is its own name, `request` does not matter.
    topology: id, servers [(host, port)], hash_version (None in the basic form);
        2.0 on: num_segments, segment_owners [[server index]];
        1.x: key_owners, hash_space, virtual_nodes (None in 1.0), hash_ids (one for each server).
    body: the fields of the table; to encode, one that the version has not may be left out.

Values
    bytes and str as such; numbers as int, yes and no as bool.
    lifespan, max_idle in requests: None (the cache's default), "infinite" or [amount, unit name].
        1.0-2.1 have only seconds and the flags: 0 reads as None when the DEFAULT_ flag of the
        request is set and as "infinite" otherwise; other units are rounded up. Clients also write
        a negative number for "infinite": it stays what the bytes say, 2^31 or more seconds.
    metadata: {"version", "created", "lifespan", "last_used", "max_idle"}; ms since 1970 and whole
        seconds, both None for an infinite duration.
    xid: {"format_id", "global_id", "branch_id"}.
    config: {"type": UNBOUNDED_STRONG | BOUNDED_STRONG | WEAK, "storage": VOLATILE | PERSISTENT,
        "initial", "lower", "upper" (bounded only), "concurrency" (weak only)}.
    segments, finished_segments: sorted numbers of the bits that are set.

    EXP stands for lifespan, max_idle; PREV for previous (bytes; None when the frame has none) and
    metadata (from 4.0). (+v) marks what came with version v. "-" is nothing.

    operation                      request                                response, on success
    PUT PUT_IF_ABSENT REPLACE      key EXP value                          PREV
    REPLACE_IF_UNMODIFIED          key EXP entry_version value            PREV
    REMOVE                         key                                    PREV
    REMOVE_IF_UNMODIFIED           key entry_version                      PREV
    GET                            key                                    value
    CONTAINS_KEY                   key                                    -
    GET_WITH_VERSION               key                                    entry_version value
    GET_WITH_METADATA              key                                    metadata value
    CLEAR                          -                                      -
    STATS                          -                                      stats {str: str}
    PING                           -                                      key_media_type,
                                   value_media_type (+2.9), server_version, opcodes [int] (+3.0)
    BULK_GET                       count                                  entries [(key, value)]
    BULK_GET_KEYS                  scope                                  keys [bytes]
    QUERY                          query                                  result
    SIZE                           -                                      size
    PUT_ALL                        EXP entries [(key, value)]             -
    GET_ALL                        keys [bytes]                           entries [(key, value)]
    EXEC                           task params {str: bytes}               result
    AUTH_MECH_LIST                 -                                      mechanisms [str]
    AUTH                           mechanism response                     completed challenge
    ADD_CLIENT_LISTENER            listener_id include_state filter_factory filter_params
                                   converter_factory converter_params use_raw_data (+2.1)
                                   interests (+2.6)                       -
                                   a factory "" is none, its params are None then
    REMOVE_CLIENT_LISTENER         listener_id                            -
    ADD_BLOOM_FILTER_NEAR_CACHE_LISTENER  listener_id bloom_bits          -
    UPDATE_BLOOM_FILTER            bloom_filter                           -
    ITERATION_START                segments (None: all) filter_factory (None: none) filter_params
                                   (+2.4) batch_size include_metadata (+2.4)   iteration_id
    ITERATION_NEXT                 iteration_id                           finished_segments
                                   projections (+2.4, None without entries)
                                   entries [{"metadata" (+2.5) "key" "values": [bytes]}]
    ITERATION_END                  iteration_id                           -
    GET_STREAM                     key offset                             metadata value
    PUT_STREAM                     key EXP entry_version chunks [bytes]   PREV
    START_GET_STREAM               key batch_size                         stream_id complete
                                                                          metadata chunk
    NEXT_GET_STREAM                stream_id                              stream_id complete chunk
    START_PUT_STREAM               key EXP entry_version                  stream_id
    NEXT_PUT_STREAM                stream_id last chunk                   PREV
    END_GET_STREAM END_PUT_STREAM  stream_id                              -
    PREPARE_TX                     xid one_phase modifications            xa_code
    PREPARE_TX_2                   xid one_phase recoverable timeout_ms modifications  xa_code
                                   [{"key" "control" "entry_version" "lifespan" "max_idle" "value"}]
    COMMIT_TX ROLLBACK_TX          xid                                    xa_code
    FORGET_TX                      xid                                    -
    FETCH_TX_RECOVERY              -                                      xids [xid]
    COUNTER_CREATE                 name config                            -
    COUNTER_GET_CONFIGURATION      name                                   config
    COUNTER_IS_DEFINED             name                                   -
    COUNTER_RESET COUNTER_REMOVE   name                                   -
    COUNTER_GET                    name                                   value
    COUNTER_ADD_AND_GET            name delta                             value
    COUNTER_GET_AND_SET            name value                             value
    COUNTER_CAS                    name expect update                     value
    COUNTER_ADD_LISTENER COUNTER_REMOVE_LISTENER  name listener_id        -
    COUNTER_GET_NAMES              -                                      names [str]
    every multimap operation ends with supports_duplicates (+4.0)
    GET_MULTIMAP                   key                                    values [bytes]
    GET_MULTIMAP_WITH_METADATA     key                                    metadata values [bytes]
    PUT_MULTIMAP                   key EXP value                          -
    REMOVE_KEY_MULTIMAP CONTAINS_KEY_MULTIMAP      key                    result
    REMOVE_ENTRY_MULTIMAP CONTAINS_ENTRY_MULTIMAP  key EXP value          result
    CONTAINS_VALUE_MULTIMAP        EXP value                              result
    SIZE_MULTIMAP                  -                                      size

    event                          fields
    CACHE_ENTRY_CREATED, _MODIFIED listener_id custom_marker retried, then key entry_version when
                                   custom_marker is 0, else event_data
    CACHE_ENTRY_REMOVED, _EXPIRED  the same without entry_version
    COUNTER                        name listener_id state old_value new_value

Stricter than some peers. `Bad` are: a varint that is longer than 5 (vInt) or 10 (vLong) bytes or
has bits over 32 or 64; a length or count from 2^31 up; text that is not UTF-8; a topology marker
or an "another one follows" byte other than 0 and 1; a topology that was not asked for
(intelligence 1); a status that the operation cannot have. Padded varints that keep within the 5 or
10 bytes are read, and never written. A byte for yes or no is yes when it is not 0 ("retried": when
it is 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

Body = dict[str, Any]

VERSIONS = (10, 11, 12, 13, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 40, 41)

REQUEST_MAGIC = 0xA0
RESPONSE_MAGIC = 0xA1
ERROR_OPCODE = 0x50

FORCE_RETURN_VALUE = 0x01
DEFAULT_LIFESPAN = 0x02
DEFAULT_MAXIDLE = 0x04

BASIC, TOPOLOGY_AWARE, HASH_DISTRIBUTION_AWARE = 1, 2, 3

SUCCESS = 0x00
NOT_EXECUTED = 0x01
KEY_DOES_NOT_EXIST = 0x02
SUCCESS_WITH_PREVIOUS = 0x03
NOT_EXECUTED_WITH_PREVIOUS = 0x04
INVALID_ITERATION = 0x05
# The same as 0x00, 0x03 and 0x04, from a cache that stores objects.
SUCCESS_OBJ_STORAGE = 0x06
SUCCESS_WITH_PREVIOUS_OBJ_STORAGE = 0x07
NOT_EXECUTED_WITH_PREVIOUS_OBJ_STORAGE = 0x08
ERROR_STATUSES = range(0x81, 0x89)

MEDIA_TYPES = {
    1: "application/x-java-object",
    2: "application/json",
    3: "application/octet-stream",
    4: "application/pdf",
    5: "application/rtf",
    6: "application/zip",
    7: "image/gif",
    8: "image/jpeg",
    9: "image/png",
    10: "text/css",
    11: "text/csv",
    12: "application/x-protostream",
    13: "text/plain",
    14: "text/html",
    15: "application/x-jboss-marshalling",
    16: "application/x-infinispan-marshalling",
    17: "application/unknown",
}

# name, nanoseconds; the index is the number on the wire.
TIME_UNITS = (
    ("seconds", 10**9),
    ("milliseconds", 10**6),
    ("nanoseconds", 1),
    ("microseconds", 10**3),
    ("minutes", 60 * 10**9),
    ("hours", 3600 * 10**9),
    ("days", 86400 * 10**9),
)
UNIT_DEFAULT, UNIT_INFINITE = 7, 8


class More(Exception):
    """The data ends inside the frame."""


class Bad(Exception):
    """The bytes are no Hot Rod frame."""


class Cursor:
    """Reads from `data` and remembers how far."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        if len(self.data) - self.at < size:
            raise More
        self.at += size
        return self.data[self.at - size : self.at]

    def bad(self, problem: str) -> NoReturn:
        raise Bad(f"before byte {self.at}: {problem}")


# --- 1. Values ------------------------------------------------------------------------


@dataclass(frozen=True)
class Type:
    """How one kind of value is written and read."""

    put: Callable[[Any], bytes]
    get: Callable[[Cursor], Any]


def fixed(size: int, *, signed: bool = False) -> Type:
    """A big-endian number of `size` bytes."""
    return Type(
        put=lambda value: int(value).to_bytes(size, signed=signed),
        get=lambda c: int.from_bytes(c.take(size), signed=signed),
    )


def varint(bits: int, *, signed: bool = False) -> Type:
    """7 bits a byte, the lowest first; a negative number stands as its two's complement."""

    def put(value: int) -> bytes:
        low = -(1 << (bits - 1)) if signed else 0
        if not low <= value < (1 << (bits - signed)):
            raise ValueError(f"{value} does not fit in {bits} bits")
        rest = value % (1 << bits)
        out = bytearray()
        while rest >= 0x80:
            out.append(rest & 0x7F | 0x80)
            rest >>= 7
        out.append(rest)
        return bytes(out)

    def get(c: Cursor) -> int:
        value = 0
        for shift in range(0, bits, 7):
            byte = c.take(1)[0]
            value |= (byte & 0x7F) << shift
            if value >> bits:
                c.bad(f"a varint of more than {bits} bits")
            if byte < 0x80:
                return value - (1 << bits) if signed and value >> (bits - 1) else value
        c.bad("a varint without end")

    return Type(put, get)


U8 = fixed(1)
U16 = fixed(2)
I32 = fixed(4, signed=True)
I64 = fixed(8, signed=True)
VINT = varint(32)
SIGNED_VINT = varint(32, signed=True)
VLONG = varint(64)

BOOL = Type(put=lambda value: bytes([bool(value)]), get=lambda c: c.take(1)[0] != 0)
RETRIED = Type(put=BOOL.put, get=lambda c: c.take(1)[0] == 1)


def get_count(c: Cursor) -> int:
    """A length or a number of items: negative, to a Java peer, from 2^31 up."""
    count: int = VINT.get(c)
    if count >= 1 << 31:
        c.bad(f"a length of {count}")
    return count


def get_zigzag(c: Cursor) -> int:
    pattern: int = VINT.get(c)
    return pattern >> 1 ^ -(pattern & 1)


def get_text(c: Cursor, size: int) -> str:
    try:
        return c.take(size).decode()
    except UnicodeDecodeError:
        c.bad("text that is not UTF-8")


COUNT = Type(put=VINT.put, get=get_count)
ZIGZAG = Type(put=lambda n: VINT.put(2 * n if n >= 0 else -2 * n - 1), get=get_zigzag)
BYTES = Type(put=lambda data: VINT.put(len(data)) + data, get=lambda c: c.take(get_count(c)))
STR = Type(put=lambda text: BYTES.put(text.encode()), get=lambda c: get_text(c, get_count(c)))


def optional(put: Callable[[Any], bytes], get: Callable[[Cursor, int], Any]) -> Type:
    """Bytes behind a zigzag length; a negative length is None."""

    def put_optional(value: Any) -> bytes:
        if value is None:
            return ZIGZAG.put(-1)
        data = put(value)
        return ZIGZAG.put(len(data)) + data

    def get_optional(c: Cursor) -> Any:
        size = get_zigzag(c)
        return None if size < 0 else get(c, size)

    return Type(put_optional, get_optional)


def put_bits(numbers: Sequence[int]) -> bytes:
    """Bit i is bit i % 8 of byte i // 8; no zero bytes at the end."""
    out = bytearray(max(numbers) // 8 + 1 if numbers else 0)
    for i in numbers:
        out[i // 8] |= 1 << i % 8
    return bytes(out)


def get_bits(c: Cursor, size: int) -> list[int]:
    return [
        8 * i + bit for i, byte in enumerate(c.take(size)) for bit in range(8) if byte >> bit & 1
    ]


OPTIONAL_STR = optional(lambda text: text.encode(), get_text)
OPTIONAL_BITS = optional(put_bits, get_bits)
BITS = Type(
    put=lambda numbers: BYTES.put(put_bits(numbers)),
    get=lambda c: get_bits(c, get_count(c)),
)


def pair(first: Type, second: Type) -> Type:
    return Type(
        put=lambda both: first.put(both[0]) + second.put(both[1]),
        get=lambda c: (first.get(c), second.get(c)),
    )


def many(item: Type, count: Type = COUNT) -> Type:
    """The number of items, then the items."""
    return Type(
        put=lambda items: count.put(len(items)) + b"".join(item.put(i) for i in items),
        get=lambda c: [item.get(c) for _ in range(count.get(c))],
    )


def chain(item: Type) -> Type:
    """01 before each item, 00 behind the last."""

    def get(c: Cursor) -> list[Any]:
        items = []
        while (mark := c.take(1)[0]) == 1:
            items.append(item.get(c))
        if mark != 0:
            c.bad(f"{mark:#04x} where 0 or 1 says whether another one follows")
        return items

    return Type(put=lambda items: b"".join(b"\1" + item.put(i) for i in items) + b"\0", get=get)


def mapping(value: Type, count: Type = COUNT) -> Type:
    """Names with values; a name that comes again replaces the one before."""
    items = many(pair(STR, value), count)
    return Type(put=lambda named: items.put(list(named.items())), get=lambda c: dict(items.get(c)))


def get_task_count(c: Cursor) -> int:
    """One byte. Some peers read a varint instead: the two agree below 128 only."""
    count = c.take(1)[0]
    if count >= 0x80:
        c.bad(f"{count} parameters of a task, at most 127 can be told")
    return count


ENTRIES = many(pair(BYTES, BYTES))
KEYS = many(BYTES)
SERVERS = many(pair(STR, U16))
TASK_PARAMS = mapping(BYTES, Type(put=U8.put, get=get_task_count))
FACTORY_PARAMS = many(BYTES, U8)


# --- 2. Media types, metadata, transaction ids, counter configurations ----------------


MEDIA_PARAMS = many(pair(STR, STR))


def put_media_type(media: dict[str, Any] | None) -> bytes:
    if media is None:
        return b"\0"
    params = MEDIA_PARAMS.put(media["params"])
    if media["id"] is None:
        return b"\2" + STR.put(media["name"]) + params
    return b"\1" + VINT.put(media["id"]) + params


def get_media_type(c: Cursor) -> dict[str, Any] | None:
    kind = c.take(1)[0]
    if kind == 0:
        return None
    if kind == 1:
        number = VINT.get(c)
        return {"id": number, "name": MEDIA_TYPES.get(number), "params": MEDIA_PARAMS.get(c)}
    if kind == 2:
        return {"id": None, "name": STR.get(c), "params": MEDIA_PARAMS.get(c)}
    c.bad(f"media type of kind {kind}, wants 0, 1 or 2")


def put_metadata(meta: dict[str, Any]) -> bytes:
    flags = (meta["lifespan"] is None) * 1 | (meta["max_idle"] is None) * 2
    out = U8.put(flags)
    if meta["lifespan"] is not None:
        out += I64.put(meta["created"]) + VINT.put(meta["lifespan"])
    if meta["max_idle"] is not None:
        out += I64.put(meta["last_used"]) + VINT.put(meta["max_idle"])
    return out + I64.put(meta["version"])


def get_metadata(c: Cursor) -> dict[str, Any]:
    flags = c.take(1)[0]
    created = lifespan = last_used = max_idle = None
    if not flags & 1:
        created, lifespan = I64.get(c), VINT.get(c)
    if not flags & 2:
        last_used, max_idle = I64.get(c), VINT.get(c)
    return {
        "version": I64.get(c),
        "created": created,
        "lifespan": lifespan,
        "last_used": last_used,
        "max_idle": max_idle,
    }


def xid_type(part: Type) -> Type:
    return Type(
        put=lambda xid: (
            ZIGZAG.put(xid["format_id"]) + part.put(xid["global_id"]) + part.put(xid["branch_id"])
        ),
        get=lambda c: {
            "format_id": ZIGZAG.get(c),
            "global_id": part.get(c),
            "branch_id": part.get(c),
        },
    )


def get_xid_part(c: Cursor) -> bytes:
    size = c.take(1)[0]
    if not 1 <= size <= 64:
        c.bad(f"a transaction id part of {size} bytes, wants 1 to 64")
    return c.take(size)


def put_counter_config(config: dict[str, Any]) -> bytes:
    weak, bounded = config["type"] == "WEAK", config["type"] == "BOUNDED_STRONG"
    out = U8.put(weak * 1 | bounded * 2 | (config["storage"] == "PERSISTENT") * 4)
    if weak:
        out += VINT.put(config["concurrency"])
    if bounded:
        out += I64.put(config["lower"]) + I64.put(config["upper"])
    return out + I64.put(config["initial"])


def get_counter_config(c: Cursor) -> dict[str, Any]:
    flags = c.take(1)[0]
    config: dict[str, Any] = {"storage": "PERSISTENT" if flags & 4 else "VOLATILE"}
    if flags & 3 == 3:
        c.bad("a counter that is weak and bounded")
    if flags & 1:
        config |= {"type": "WEAK", "concurrency": VINT.get(c)}
    elif flags & 2:
        config |= {"type": "BOUNDED_STRONG", "lower": I64.get(c), "upper": I64.get(c)}
    else:
        config["type"] = "UNBOUNDED_STRONG"
    return config | {"initial": I64.get(c)}


MEDIA_TYPE = Type(put_media_type, get_media_type)
METADATA = Type(put_metadata, get_metadata)
XID = xid_type(Type(put=lambda data: U8.put(len(data)) + data, get=get_xid_part))
ANSWERED_XID = xid_type(BYTES)
COUNTER_CONFIG = Type(put_counter_config, get_counter_config)


# --- 3. Fields of a body: values whose form hangs on the header -----------------------


@dataclass(frozen=True)
class Context:
    """What the header of the request says."""

    version: int
    flags: int = 0


class Field(Protocol):
    def put(self, body: Body, ctx: Context) -> bytes: ...
    def get(self, c: Cursor, ctx: Context) -> Body: ...


@dataclass(frozen=True)
class One:
    """A value under a name, in the versions from `since` on."""

    name: str
    type: Type
    since: int = 10
    default: Any = None

    def put(self, body: Body, ctx: Context) -> bytes:
        if ctx.version < self.since:
            return b""
        value = body.get(self.name)
        return self.type.put(self.default if value is None else value)

    def get(self, c: Cursor, ctx: Context) -> Body:
        return {self.name: self.type.get(c) if ctx.version >= self.since else None}


def _seconds(duration: Any) -> int:
    if duration is None or duration == "infinite":
        return 0
    amount, unit = duration
    nanoseconds: int = amount * dict(TIME_UNITS)[unit]
    return -(-nanoseconds // 10**9)


def _unit(duration: Any) -> int:
    if duration is None:
        return UNIT_DEFAULT
    if duration == "infinite":
        return UNIT_INFINITE
    return [name for name, _ in TIME_UNITS].index(duration[1])


class Expiration:
    """`lifespan` and `max_idle`."""

    def put(self, body: Body, ctx: Context) -> bytes:
        durations: list[Any] = [body.get("lifespan"), body.get("max_idle")]
        if ctx.version < 22:
            return b"".join(VINT.put(_seconds(d)) for d in durations)
        high, low = (_unit(d) for d in durations)
        out = U8.put(high << 4 | low)
        for duration, unit in zip(durations, (high, low), strict=True):
            if unit < UNIT_DEFAULT:
                out += VLONG.put(duration[0])
        return out

    def get(self, c: Cursor, ctx: Context) -> Body:
        names = ("lifespan", "max_idle")
        if ctx.version < 22:
            default_flags = (DEFAULT_LIFESPAN, DEFAULT_MAXIDLE)
            return {
                name: self._of_seconds(VINT.get(c), bool(ctx.flags & flag))
                for name, flag in zip(names, default_flags, strict=True)
            }
        byte = c.take(1)[0]
        units = (byte >> 4, byte & 15)
        if max(units) > UNIT_INFINITE:
            c.bad(f"time units {byte:#04x}")
        return {name: self._of_unit(c, unit) for name, unit in zip(names, units, strict=True)}

    @staticmethod
    def _of_seconds(seconds: int, default: bool) -> Any:
        if seconds:
            return [seconds, "seconds"]
        return None if default else "infinite"

    @staticmethod
    def _of_unit(c: Cursor, unit: int) -> Any:
        if unit == UNIT_DEFAULT:
            return None
        if unit == UNIT_INFINITE:
            return "infinite"
        return [VLONG.get(c), TIME_UNITS[unit][0]]


@dataclass(frozen=True)
class ListenerFactory:
    """`<prefix>_factory` and `<prefix>_params`; without a name there is no parameter count."""

    prefix: str

    def put(self, body: Body, ctx: Context) -> bytes:
        name = body.get(f"{self.prefix}_factory") or ""
        params = body.get(f"{self.prefix}_params") or []
        return STR.put(name) + (FACTORY_PARAMS.put(params) if name else b"")

    def get(self, c: Cursor, ctx: Context) -> Body:
        name = STR.get(c)
        params = FACTORY_PARAMS.get(c) if name else None
        return {f"{self.prefix}_factory": name, f"{self.prefix}_params": params}


class IterationFilter:
    """`filter_factory` and `filter_params`; parameters from 2.4 on, an empty name has them too."""

    def put(self, body: Body, ctx: Context) -> bytes:
        name = body.get("filter_factory")
        out = OPTIONAL_STR.put(name)
        if name is not None and ctx.version >= 24:
            out += FACTORY_PARAMS.put(body.get("filter_params") or [])
        return out

    def get(self, c: Cursor, ctx: Context) -> Body:
        name = OPTIONAL_STR.get(c)
        with_params = name is not None and ctx.version >= 24
        return {
            "filter_factory": name,
            "filter_params": FACTORY_PARAMS.get(c) if with_params else None,
        }


class IteratedEntries:
    """`projections` and `entries` of an iteration's answer."""

    def put(self, body: Body, ctx: Context) -> bytes:
        entries = body["entries"]
        out = COUNT.put(len(entries))
        if entries and ctx.version >= 24:
            out += COUNT.put(body["projections"])
        for entry in entries:
            if ctx.version >= 25:
                meta = entry.get("metadata")
                out += b"\0" if meta is None else b"\1" + METADATA.put(meta)
            out += BYTES.put(entry["key"]) + b"".join(BYTES.put(v) for v in entry["values"])
        return out

    def get(self, c: Cursor, ctx: Context) -> Body:
        count = get_count(c)
        projections = get_count(c) if count and ctx.version >= 24 else None
        values = 1 if projections is None else projections
        entries = [self._entry(c, ctx, values) for _ in range(count)]
        return {"projections": projections, "entries": entries}

    @staticmethod
    def _entry(c: Cursor, ctx: Context, values: int) -> dict[str, Any]:
        meta = None
        if ctx.version >= 25:
            mark = c.take(1)[0]
            if mark > 1:
                c.bad(f"{mark:#04x} where 0 or 1 says whether there is metadata")
            meta = METADATA.get(c) if mark else None
        key = BYTES.get(c)
        return {"metadata": meta, "key": key, "values": [BYTES.get(c) for _ in range(values)]}


class Chunks:
    """`chunks`: pieces of a value, an empty one behind the last."""

    def put(self, body: Body, ctx: Context) -> bytes:
        if not all(body["chunks"]):
            raise ValueError("an empty chunk would end the stream")
        return b"".join(BYTES.put(chunk) for chunk in body["chunks"]) + b"\0"

    def get(self, c: Cursor, ctx: Context) -> Body:
        chunks = []
        while chunk := BYTES.get(c):
            chunks.append(chunk)
        return {"chunks": chunks}


class Modifications:
    """`modifications` of a transaction."""

    NOT_READ, NON_EXISTING, REMOVE = 1, 2, 4

    def put(self, body: Body, ctx: Context) -> bytes:
        out = COUNT.put(len(body["modifications"]))
        for change in body["modifications"]:
            out += BYTES.put(change["key"]) + U8.put(change["control"])
            if not change["control"] & (self.NOT_READ | self.NON_EXISTING):
                out += I64.put(change["entry_version"])
            if not change["control"] & self.REMOVE:
                out += Expiration().put(change, ctx) + BYTES.put(change["value"])
        return out

    def get(self, c: Cursor, ctx: Context) -> Body:
        return {"modifications": [self._one(c, ctx) for _ in range(get_count(c))]}

    def _one(self, c: Cursor, ctx: Context) -> dict[str, Any]:
        key, control = BYTES.get(c), U8.get(c)
        change: dict[str, Any] = {
            "key": key,
            "control": control,
            "entry_version": None,
            "lifespan": None,
            "max_idle": None,
            "value": None,
        }
        if control & 3 == 3:
            c.bad("a modification of a key both not read and not existing")
        if not control & 3:
            change["entry_version"] = I64.get(c)
        if not control & self.REMOVE:
            change |= Expiration().get(c, ctx) | {"value": BYTES.get(c)}
        return change


class CacheEvent:
    """What follows the listener id: the key, or what a converter made of the entry."""

    def __init__(self, *, with_version: bool) -> None:
        self.plain = [One("key", BYTES)]
        if with_version:
            self.plain.append(One("entry_version", I64))
        self.custom = [One("event_data", BYTES)]

    def put(self, body: Body, ctx: Context) -> bytes:
        marker = body["custom_marker"]
        rest = put_fields(self.custom if marker else self.plain, body, ctx)
        return U8.put(marker) + BOOL.put(body["retried"]) + rest

    def get(self, c: Cursor, ctx: Context) -> Body:
        marker = U8.get(c)
        if marker > 2:
            c.bad(f"custom marker {marker}, wants 0, 1 or 2")
        body = {"custom_marker": marker, "retried": RETRIED.get(c)}
        return body | get_fields(self.custom if marker else self.plain, c, ctx)


class CounterState:
    """`state`: bits 0-1 the old, bits 2-3 the new one; 0 valid, 1 and 2 at a bound."""

    def put(self, body: Body, ctx: Context) -> bytes:
        return U8.put(body["state"])

    def get(self, c: Cursor, ctx: Context) -> Body:
        state = U8.get(c)
        if state & 3 == 3 or state >> 2 & 3 == 3:
            c.bad(f"counter state {state:#04x}")
        return {"state": state}


def put_fields(fields: Sequence[Field], body: Body, ctx: Context) -> bytes:
    return b"".join(field.put(body, ctx) for field in fields)


def get_fields(fields: Sequence[Field], c: Cursor, ctx: Context) -> Body:
    body: Body = {}
    for field in fields:
        body |= field.get(c, ctx)
    return body


# --- 4. The operations ----------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """`answer`: the body of a success. `previous`: the body is a previous value instead."""

    request: int
    response: int
    fields: tuple[Field, ...] = ()
    answer: tuple[Field, ...] = ()
    previous: bool = False


KEY = One("key", BYTES)
VALUE = One("value", BYTES)
EXPIRATION = Expiration()
ENTRY_VERSION = One("entry_version", I64)
META = One("metadata", METADATA)
LISTENER_ID = One("listener_id", BYTES)
ITERATION_ID = One("iteration_id", STR)
STREAM_ID = One("stream_id", I32)
COMPLETE = One("complete", BOOL)
CHUNK = One("chunk", BYTES)
BATCH_SIZE = One("batch_size", VINT)
TX_ID = One("xid", XID)
ONE_PHASE = One("one_phase", BOOL)
XA_CODE = One("xa_code", I32)
NAME = One("name", STR)
NUMBER = One("value", I64)
CONFIG = One("config", COUNTER_CONFIG)
DUPLICATES = One("supports_duplicates", BOOL, since=40, default=False)
RESULT = One("result", BOOL)

OPERATIONS = {
    "PUT": Operation(0x01, 0x02, (KEY, EXPIRATION, VALUE), previous=True),
    "GET": Operation(0x03, 0x04, (KEY,), (VALUE,)),
    "PUT_IF_ABSENT": Operation(0x05, 0x06, (KEY, EXPIRATION, VALUE), previous=True),
    "REPLACE": Operation(0x07, 0x08, (KEY, EXPIRATION, VALUE), previous=True),
    "REPLACE_IF_UNMODIFIED": Operation(
        0x09, 0x0A, (KEY, EXPIRATION, ENTRY_VERSION, VALUE), previous=True
    ),
    "REMOVE": Operation(0x0B, 0x0C, (KEY,), previous=True),
    "REMOVE_IF_UNMODIFIED": Operation(0x0D, 0x0E, (KEY, ENTRY_VERSION), previous=True),
    "CONTAINS_KEY": Operation(0x0F, 0x10, (KEY,)),
    "GET_WITH_VERSION": Operation(0x11, 0x12, (KEY,), (ENTRY_VERSION, VALUE)),
    "CLEAR": Operation(0x13, 0x14),
    "STATS": Operation(0x15, 0x16, (), (One("stats", mapping(STR)),)),
    "PING": Operation(
        0x17,
        0x18,
        (),
        (
            One("key_media_type", MEDIA_TYPE, since=29),
            One("value_media_type", MEDIA_TYPE, since=29),
            One("server_version", U8, since=30),
            One("opcodes", many(U16), since=30),
        ),
    ),
    "BULK_GET": Operation(
        0x19, 0x1A, (One("count", VINT),), (One("entries", chain(pair(BYTES, BYTES))),)
    ),
    "GET_WITH_METADATA": Operation(0x1B, 0x1C, (KEY,), (META, VALUE)),
    "BULK_GET_KEYS": Operation(0x1D, 0x1E, (One("scope", VINT),), (One("keys", chain(BYTES)),)),
    "QUERY": Operation(0x1F, 0x20, (One("query", BYTES),), (One("result", BYTES),)),
    "AUTH_MECH_LIST": Operation(0x21, 0x22, (), (One("mechanisms", many(STR)),)),
    "AUTH": Operation(
        0x23,
        0x24,
        (One("mechanism", STR), One("response", BYTES)),
        (One("completed", BOOL), One("challenge", BYTES)),
    ),
    "ADD_CLIENT_LISTENER": Operation(
        0x25,
        0x26,
        (
            LISTENER_ID,
            One("include_state", BOOL),
            ListenerFactory("filter"),
            ListenerFactory("converter"),
            One("use_raw_data", BOOL, since=21, default=False),
            One("interests", VINT, since=26, default=0),
        ),
    ),
    "REMOVE_CLIENT_LISTENER": Operation(0x27, 0x28, (LISTENER_ID,)),
    "SIZE": Operation(0x29, 0x2A, (), (One("size", VLONG),)),
    "EXEC": Operation(
        0x2B, 0x2C, (One("task", STR), One("params", TASK_PARAMS)), (One("result", BYTES),)
    ),
    "PUT_ALL": Operation(0x2D, 0x2E, (EXPIRATION, One("entries", ENTRIES))),
    "GET_ALL": Operation(0x2F, 0x30, (One("keys", KEYS),), (One("entries", ENTRIES),)),
    "ITERATION_START": Operation(
        0x31,
        0x32,
        (
            One("segments", OPTIONAL_BITS),
            IterationFilter(),
            BATCH_SIZE,
            One("include_metadata", BOOL, since=24, default=False),
        ),
        (ITERATION_ID,),
    ),
    "ITERATION_NEXT": Operation(
        0x33, 0x34, (ITERATION_ID,), (One("finished_segments", BITS), IteratedEntries())
    ),
    "ITERATION_END": Operation(0x35, 0x36, (ITERATION_ID,)),
    "GET_STREAM": Operation(0x37, 0x38, (KEY, One("offset", VINT)), (META, VALUE)),
    "PUT_STREAM": Operation(0x39, 0x3A, (KEY, EXPIRATION, ENTRY_VERSION, Chunks()), previous=True),
    "PREPARE_TX": Operation(0x3B, 0x3C, (TX_ID, ONE_PHASE, Modifications()), (XA_CODE,)),
    "COMMIT_TX": Operation(0x3D, 0x3E, (TX_ID,), (XA_CODE,)),
    "ROLLBACK_TX": Operation(0x3F, 0x40, (TX_ID,), (XA_CODE,)),
    "ADD_BLOOM_FILTER_NEAR_CACHE_LISTENER": Operation(
        0x41, 0x42, (LISTENER_ID, One("bloom_bits", VINT))
    ),
    "UPDATE_BLOOM_FILTER": Operation(0x43, 0x44, (One("bloom_filter", BYTES),)),
    "COUNTER_CREATE": Operation(0x4B, 0x4C, (NAME, CONFIG)),
    "COUNTER_GET_CONFIGURATION": Operation(0x4D, 0x4E, (NAME,), (CONFIG,)),
    # Not 0x50: that opcode says "error".
    "COUNTER_IS_DEFINED": Operation(0x4F, 0x51, (NAME,)),
    "COUNTER_ADD_AND_GET": Operation(0x52, 0x53, (NAME, One("delta", I64)), (NUMBER,)),
    "COUNTER_RESET": Operation(0x54, 0x55, (NAME,)),
    "COUNTER_GET": Operation(0x56, 0x57, (NAME,), (NUMBER,)),
    "COUNTER_CAS": Operation(0x58, 0x59, (NAME, One("expect", I64), One("update", I64)), (NUMBER,)),
    "COUNTER_ADD_LISTENER": Operation(0x5A, 0x5B, (NAME, LISTENER_ID)),
    "COUNTER_REMOVE_LISTENER": Operation(0x5C, 0x5D, (NAME, LISTENER_ID)),
    "COUNTER_REMOVE": Operation(0x5E, 0x5F, (NAME,)),
    "COUNTER_GET_NAMES": Operation(0x64, 0x65, (), (One("names", many(STR)),)),
    "GET_MULTIMAP": Operation(0x67, 0x68, (KEY, DUPLICATES), (One("values", KEYS),)),
    "GET_MULTIMAP_WITH_METADATA": Operation(
        0x69, 0x6A, (KEY, DUPLICATES), (META, One("values", KEYS))
    ),
    "PUT_MULTIMAP": Operation(0x6B, 0x6C, (KEY, EXPIRATION, VALUE, DUPLICATES)),
    "REMOVE_KEY_MULTIMAP": Operation(0x6D, 0x6E, (KEY, DUPLICATES), (RESULT,)),
    "REMOVE_ENTRY_MULTIMAP": Operation(0x6F, 0x70, (KEY, EXPIRATION, VALUE, DUPLICATES), (RESULT,)),
    "SIZE_MULTIMAP": Operation(0x71, 0x72, (DUPLICATES,), (One("size", VLONG),)),
    "CONTAINS_ENTRY_MULTIMAP": Operation(
        0x73, 0x74, (KEY, EXPIRATION, VALUE, DUPLICATES), (RESULT,)
    ),
    "CONTAINS_KEY_MULTIMAP": Operation(0x75, 0x76, (KEY, DUPLICATES), (RESULT,)),
    "CONTAINS_VALUE_MULTIMAP": Operation(0x77, 0x78, (EXPIRATION, VALUE, DUPLICATES), (RESULT,)),
    "FORGET_TX": Operation(0x79, 0x7A, (TX_ID,)),
    "FETCH_TX_RECOVERY": Operation(0x7B, 0x7C, (), (One("xids", many(ANSWERED_XID)),)),
    "PREPARE_TX_2": Operation(
        0x7D,
        0x7E,
        (TX_ID, ONE_PHASE, One("recoverable", BOOL), One("timeout_ms", I64), Modifications()),
        (XA_CODE,),
    ),
    "COUNTER_GET_AND_SET": Operation(0x7F, 0x80, (NAME, NUMBER), (NUMBER,)),
    # The six operations of 4.1 count down: the answer is one below the request.
    "END_GET_STREAM": Operation(0xE5, 0xE4, (STREAM_ID,)),
    "NEXT_GET_STREAM": Operation(0xE7, 0xE6, (STREAM_ID,), (STREAM_ID, COMPLETE, CHUNK)),
    "START_GET_STREAM": Operation(
        0xE9, 0xE8, (KEY, BATCH_SIZE), (STREAM_ID, COMPLETE, META, CHUNK)
    ),
    "END_PUT_STREAM": Operation(0xEB, 0xEA, (STREAM_ID,)),
    "NEXT_PUT_STREAM": Operation(0xED, 0xEC, (STREAM_ID, One("last", BOOL), CHUNK), previous=True),
    "START_PUT_STREAM": Operation(0xEF, 0xEE, (KEY, EXPIRATION, ENTRY_VERSION), (STREAM_ID,)),
}

EVENTS: dict[str, tuple[int, tuple[Field, ...]]] = {
    "CACHE_ENTRY_CREATED": (0x60, (LISTENER_ID, CacheEvent(with_version=True))),
    "CACHE_ENTRY_MODIFIED": (0x61, (LISTENER_ID, CacheEvent(with_version=True))),
    "CACHE_ENTRY_REMOVED": (0x62, (LISTENER_ID, CacheEvent(with_version=False))),
    "CACHE_ENTRY_EXPIRED": (0x63, (LISTENER_ID, CacheEvent(with_version=False))),
    "COUNTER": (
        0x66,
        (NAME, LISTENER_ID, CounterState(), One("old_value", I64), One("new_value", I64)),
    ),
}

OP_OF_REQUEST = {operation.request: name for name, operation in OPERATIONS.items()}
EVENT_OF_OPCODE = {opcode: name for name, (opcode, _) in EVENTS.items()}

# Counter operations that say "a bound was hit" with the status of a previous value.
BOUNDED_OPERATIONS = {"COUNTER_ADD_AND_GET", "COUNTER_CAS", "COUNTER_GET_AND_SET"}


# --- 5. Requests ----------------------------------------------------------------------


REQUEST_HEADER: tuple[One, ...] = (
    One("cache", STR, default=""),
    One("flags", VINT, default=0),
    One("intelligence", U8, default=BASIC),
    One("topology_id", SIGNED_VINT, default=0),
)
MEDIA_HEADER: tuple[One, ...] = (
    One("key_media_type", MEDIA_TYPE, since=28),
    One("value_media_type", MEDIA_TYPE, since=28),
    One("other_params", mapping(BYTES), since=40, default={}),
)


def encode_request(message: dict[str, Any]) -> bytes:
    operation = OPERATIONS[message["op"]]
    version = message["version"]
    if version not in VERSIONS:
        raise ValueError(f"version {version}")
    ctx = Context(version, message.get("flags") or 0)
    return b"".join(
        [
            U8.put(REQUEST_MAGIC),
            VLONG.put(message.get("message_id") or 0),
            U8.put(version),
            U8.put(operation.request),
            put_fields(REQUEST_HEADER, message, ctx),
            U8.put(message.get("tx_type") or 0) if version < 20 else b"",
            put_fields(MEDIA_HEADER, message, ctx),
            put_fields(operation.fields, message.get("body") or {}, ctx),
        ]
    )


def decode_request(data: bytes) -> tuple[dict[str, Any], int]:
    c = Cursor(data)
    if (magic := U8.get(c)) != REQUEST_MAGIC:
        c.bad(f"magic {magic:#04x}, wants 0xa0")
    message_id = VLONG.get(c)
    if (version := U8.get(c)) not in VERSIONS:
        c.bad(f"version byte {version}")
    if (opcode := U8.get(c)) not in OP_OF_REQUEST:
        c.bad(f"request opcode {opcode:#04x}")
    op = OP_OF_REQUEST[opcode]
    message: dict[str, Any] = {"op": op, "message_id": message_id, "version": version}
    message |= get_fields(REQUEST_HEADER, c, Context(version))
    message["tx_type"] = U8.get(c) if version < 20 else None
    message |= get_fields(MEDIA_HEADER, c, Context(version))
    ctx = Context(version, message["flags"])
    message["body"] = get_fields(OPERATIONS[op].fields, c, ctx)
    return message, c.at


# --- 6. Responses, errors and events --------------------------------------------------


PREVIOUS = (One("metadata", METADATA, since=40), One("previous", BYTES, default=b""))
NO_PREVIOUS: Body = {"metadata": None, "previous": None}
WITH_PREVIOUS = {
    SUCCESS_WITH_PREVIOUS,
    NOT_EXECUTED_WITH_PREVIOUS,
    SUCCESS_WITH_PREVIOUS_OBJ_STORAGE,
    NOT_EXECUTED_WITH_PREVIOUS_OBJ_STORAGE,
}
# A 9.4 server sends these 1.x answers without the previous value that was asked for.
SHORTENED = {("PUT_IF_ABSENT", SUCCESS), ("REPLACE", NOT_EXECUTED)}


def carries_previous(op: str, status: int, ctx: Context, legacy_server: bool) -> bool:
    """Whether the answer of a writing operation has a previous value.

    Up to 1.3 the request's flag decides, whatever the status; from 2.0 on the status does.
    """
    if ctx.version >= 20:
        return status in WITH_PREVIOUS
    if legacy_server and (op, status) in SHORTENED:
        return False
    return bool(ctx.flags & FORCE_RETURN_VALUE)


def carries_answer(op: str, status: int) -> bool:
    """Whether the answer of another operation has its body; Bad where the status is foreign."""
    if status in (SUCCESS, SUCCESS_OBJ_STORAGE):
        return True
    if status == INVALID_ITERATION and op.startswith("ITERATION_"):
        return op == "ITERATION_NEXT"
    if status in (NOT_EXECUTED, KEY_DOES_NOT_EXIST):
        return False
    if status == NOT_EXECUTED_WITH_PREVIOUS and op in BOUNDED_OPERATIONS:
        return False
    raise Bad(f"status {status:#04x} in an answer to {op}")


# Flags, version -1 and a count of values.
EMPTY_ENTRY = b"\x03" + b"\xff" * 8 + b"\0"


def behind_miss(op: str, status: int, ctx: Context, legacy_server: bool) -> bytes:
    """What a 9.4 server puts behind "no such key", where nothing should be: a length 0 in 1.x if
    the request had the flag, and an entry that is none in one operation from 2.0 on."""
    if not legacy_server or status != KEY_DOES_NOT_EXIST:
        return b""
    if ctx.version < 20:
        return b"\0" if ctx.flags & FORCE_RETURN_VALUE else b""
    return EMPTY_ENTRY if op == "GET_MULTIMAP_WITH_METADATA" else b""


def put_body(op: str, status: int, body: Body, ctx: Context, legacy_server: bool) -> bytes:
    operation = OPERATIONS[op]
    if operation.previous:
        carried = carries_previous(op, status, ctx, legacy_server)
        return put_fields(PREVIOUS, body, ctx) if carried else b""
    if carries_answer(op, status):
        return put_fields(operation.answer, body, ctx)
    return behind_miss(op, status, ctx, legacy_server)


def get_body(op: str, status: int, c: Cursor, ctx: Context, legacy_server: bool) -> Body:
    operation = OPERATIONS[op]
    if operation.previous:
        if status == INVALID_ITERATION:
            c.bad(f"status {status:#04x} in an answer to {op}")
        if carries_previous(op, status, ctx, legacy_server):
            return get_fields(PREVIOUS, c, ctx)
        return dict(NO_PREVIOUS)
    if carries_answer(op, status):
        return get_fields(operation.answer, c, ctx)
    behind = behind_miss(op, status, ctx, legacy_server)
    if c.take(len(behind)) != behind:
        c.bad("a value behind a status that says that there is none")
    return {}


def put_topology(topology: dict[str, Any], version: int, intelligence: int) -> bytes:
    out = SIGNED_VINT.put(topology["id"])
    servers = topology["servers"]
    if intelligence == TOPOLOGY_AWARE:
        return out + SERVERS.put(servers)
    if intelligence != HASH_DISTRIBUTION_AWARE:
        raise ValueError("a topology for a client that did not ask for it")
    if version >= 20:
        owners = topology["segment_owners"]
        out += SERVERS.put(servers) + U8.put(topology["hash_version"])
        out += COUNT.put(topology.get("num_segments", len(owners)))
        return out + b"".join(many(COUNT, U8).put(segment) for segment in owners)
    out += U16.put(topology["key_owners"]) + U8.put(topology["hash_version"])
    out += VINT.put(topology["hash_space"]) + COUNT.put(len(servers))
    if version >= 11:
        out += VINT.put(topology["virtual_nodes"])
    for server, hash_id in zip(servers, topology["hash_ids"], strict=True):
        out += pair(STR, U16).put(server) + I32.put(hash_id)
    return out


def get_topology(c: Cursor, version: int, intelligence: int) -> dict[str, Any]:
    if intelligence not in (TOPOLOGY_AWARE, HASH_DISTRIBUTION_AWARE):
        c.bad("a topology for a client that did not ask for it")
    topology: dict[str, Any] = {"id": SIGNED_VINT.get(c), "hash_version": None}
    if intelligence == TOPOLOGY_AWARE:
        return topology | {"servers": SERVERS.get(c)}
    if version >= 20:
        topology |= {"servers": SERVERS.get(c), "hash_version": U8.get(c)}
        topology["num_segments"] = get_count(c)
        # Without a hash function no segment follows, whatever their number.
        follow = topology["num_segments"] if topology["hash_version"] else 0
        topology["segment_owners"] = [
            get_owners(c, len(topology["servers"])) for _ in range(follow)
        ]
        return topology
    topology |= {"key_owners": U16.get(c), "hash_version": U8.get(c), "hash_space": VINT.get(c)}
    count = get_count(c)
    topology["virtual_nodes"] = VINT.get(c) if version >= 11 else None
    entries = [(pair(STR, U16).get(c), I32.get(c)) for _ in range(count)]
    topology["servers"] = [server for server, _ in entries]
    topology["hash_ids"] = [hash_id for _, hash_id in entries]
    return topology


def get_owners(c: Cursor, servers: int) -> list[int]:
    owners = []
    for _ in range(U8.get(c)):
        owners.append(get_count(c))
        if owners[-1] >= servers:
            c.bad(f"server {owners[-1]} of {servers} as the owner of a segment")
    return owners


def _context(request: dict[str, Any]) -> Context:
    return Context(request.get("version") or VERSIONS[-1], request.get("flags") or 0)


def encode_response(
    message: dict[str, Any], request: dict[str, Any], *, legacy_server: bool = False
) -> bytes:
    """`message` as the answer to `request`, or as an event (then `request` may be empty)."""
    op, status = message["op"], message.get("status") or 0
    ctx = _context(request)
    body = message.get("body") or {}
    message_id = message.get("message_id")
    if op in EVENTS:
        opcode, fields = EVENTS[op]
        rest = put_fields(fields, body, ctx)
        message_id = message_id or 0
    elif status in ERROR_STATUSES:
        opcode = ERROR_OPCODE
        rest = STR.put(message["error"])
    else:
        opcode = OPERATIONS[op].response
        rest = put_body(op, status, body, ctx, legacy_server)
    topology = message.get("topology")
    marked = b"\0"
    if topology is not None:
        marked = b"\1" + put_topology(topology, ctx.version, request.get("intelligence") or BASIC)
    return b"".join(
        [
            U8.put(RESPONSE_MAGIC),
            VLONG.put(request["message_id"] if message_id is None else message_id),
            U8.put(message.get("opcode") or opcode),
            U8.put(status),
            marked,
            rest,
        ]
    )


def decode_response(
    data: bytes, request: dict[str, Any], *, legacy_server: bool = False
) -> tuple[dict[str, Any], int]:
    """The answer to `request` (op, version, flags, intelligence), or any event.

    legacy_server: read answers as a 9.4 server shortens and lengthens them.
    """
    c = Cursor(data)
    if (magic := U8.get(c)) != RESPONSE_MAGIC:
        c.bad(f"magic {magic:#04x}, wants 0xa1")
    message: dict[str, Any] = {"op": request.get("op"), "message_id": VLONG.get(c)}
    message["opcode"] = opcode = U8.get(c)
    op: str | None = EVENT_OF_OPCODE.get(opcode, message["op"])
    message["op"] = op
    own = [OPERATIONS[op].response] if op in OPERATIONS else []
    if opcode not in (ERROR_OPCODE, *EVENT_OF_OPCODE, *own):
        c.bad(f"response opcode {opcode:#04x} to {op}")
    message["status"] = status = U8.get(c)
    failed = status in ERROR_STATUSES
    if status > NOT_EXECUTED_WITH_PREVIOUS_OBJ_STORAGE and not failed:
        c.bad(f"status {status:#04x}")
    if opcode in EVENT_OF_OPCODE and status != SUCCESS:
        c.bad(f"an event of status {status:#04x}")
    # Where nobody can log in, an attempt is refused under the opcode of its own answer.
    refused = failed and op == "AUTH"
    if (opcode == ERROR_OPCODE) != failed and not refused:
        c.bad(f"status {status:#04x} under opcode {opcode:#04x}")
    marker = U8.get(c)
    if marker > 1 or (marker and opcode in EVENT_OF_OPCODE):
        c.bad(f"topology marker {marker:#04x}")
    ctx = _context(request)
    message |= {"topology": None, "error": None, "body": {}}
    if marker:
        intelligence = request.get("intelligence") or BASIC
        message["topology"] = get_topology(c, ctx.version, intelligence)
    if failed:
        message["error"] = STR.get(c)
    elif op in EVENTS:
        message["body"] = get_fields(EVENTS[op][1], c, ctx)
    else:
        assert op is not None
        message["body"] = get_body(op, status, c, ctx, legacy_server)
    return message, c.at
