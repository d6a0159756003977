"""Who is told of changes: listeners of caches, and near caches behind a Bloom filter."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from hotrod_codec import Request, encode_response, encode_varint, murmur3, protostream
from hotrod_codec.ops import Op, Status, Version
from hotrod_codec.server.media import Conversion, convert
from hotrod_codec.server.session import RefusedError, Session
from hotrod_codec.server.store import Cache, Change, Entry

if TYPE_CHECKING:
    from hotrod_codec.server.handler import Handler, Operation

__all__ = ["OPERATIONS", "near_cache_holds"]

logger = logging.getLogger(__name__)

KEY_VALUE_VERSION: Final = "___eager-key-value-version-converter"

_EVENTS: Final = {
    Change.CREATED: Op.CACHE_ENTRY_CREATED,
    Change.MODIFIED: Op.CACHE_ENTRY_MODIFIED,
    Change.REMOVED: Op.CACHE_ENTRY_REMOVED,
    Change.EXPIRED: Op.CACHE_ENTRY_EXPIRED,
}
_ALL: Final = 15
_NEAR_CACHE: Final = 14
_PLAIN, _CUSTOM, _RAW = 0, 1, 2
_SEEDS: Final = (239, 1847, 2719)
_MOST_LISTENERS: Final = 10_000
_MOST_BITS: Final = 2**24


class BloomFilter:
    """Which keys a near cache may hold. [wire-extended 12]"""

    __slots__ = ("bits", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.bits = bytearray()

    def _places(self, key: bytes) -> list[int]:
        return [abs(murmur3(key, seed)) % self.size for seed in _SEEDS]

    def add(self, key: bytes) -> None:
        for place in self._places(key):
            missing = place // 8 + 1 - len(self.bits)
            if missing > 0:
                self.bits += bytes(missing)
            self.bits[place // 8] |= 1 << place % 8

    def may_hold(self, key: bytes) -> bool:
        return all(
            place // 8 < len(self.bits) and self.bits[place // 8] >> place % 8 & 1
            for place in self._places(key)
        )


class Listener:
    """Sends what happens to a cache's entries to one connection."""

    def __init__(
        self,
        handler: Handler,
        session: Session,
        q: Request,
        conversion: Conversion,
        *,
        interests: int = _ALL,
        marker: int = _PLAIN,
        old_values: bool = False,
        bloom: BloomFilter | None = None,
    ) -> None:
        self._handler = handler
        self._session = session
        self._version = q.version
        self._conversion = conversion
        self._interests = interests
        self._marker = marker
        self._old_values = old_values
        self._bloom = bloom
        self.id: bytes = q["listener_id"]

    def changed(
        self,
        change: Change,
        key: bytes,
        entry: Entry | None,
        old: Entry | None,
        message_id: int = 0,
    ) -> None:
        if not change.value & self._interests:
            return
        if self._bloom is not None and not self._bloom.may_hold(key):
            return
        try:
            event = self._event(change, key, entry, old, message_id)
        except Exception:  # who writes is not to suffer for who listens
            logger.exception("an event of listener %s cannot be written", self.id.hex())
            return
        self._session.send(event)

    def _event(
        self, change: Change, key: bytes, entry: Entry | None, old: Entry | None, message_id: int
    ) -> bytes:
        fields: dict[str, Any]
        if self._marker == _PLAIN:
            fields = {"key": convert(self._conversion.key_out, key)}
            if entry is not None:
                fields["entry_version"] = entry.version
        else:
            told = old if entry is None and self._old_values else entry
            fields = {"event_data": self._data(key, told)}
        return encode_response(
            _EVENTS[change],
            # Servers tell 2.0 of expired entries as well, although it has no such event.
            version=max(self._version, Version.V2_1),
            message_id=message_id,
            listener_id=self.id,
            custom_marker=self._marker,
            retried=self._handler.faults.retried_events and change != Change.EXPIRED,
            **fields,
        )

    def _data(self, key: bytes, entry: Entry | None) -> bytes:
        """Key, value and version as KEY_VALUE_VERSION writes them."""
        parts = [key] if entry is None else [key, entry.value]
        if self._marker == _CUSTOM:
            parts = [protostream.encode(part) for part in parts]
        data = b"".join(encode_varint(len(part)) + part for part in parts)
        return data if entry is None else data + entry.version.to_bytes(8, "big", signed=True)


def _add(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    marker, old_values = _PLAIN, False
    names = {q["filter_factory"], q["converter_factory"]} - {"", None}
    for name in sorted(names):
        if name != KEY_VALUE_VERSION or name == q["filter_factory"]:
            raise RefusedError(
                Status.SERVER_ERROR,
                "org.infinispan.server.hotrod.MissingFactoryException: ISPN028013: "
                f"Listener filter or converter factory '{name}' not found in server",
            )
        marker = _RAW if q.version >= Version.V2_1 and q["use_raw_data"] else _CUSTOM
        old_values = bool(q["converter_params"])
    interests = (q["interests"] if q.version >= Version.V2_6 else 0) or _ALL
    listener = Listener(h, s, q, v, interests=interests, marker=marker, old_values=old_values)
    _register(s, c, listener)
    if q["include_state"] and interests & Change.CREATED.value:
        for key, entry in c.entries().items():
            listener.changed(Change.CREATED, key, entry, None, q.message_id)
    return h.reply(q, c)


def _register(s: Session, c: Cache, listener: Listener) -> None:
    """One id is one listener: a second one takes the first one's place."""
    if len(c.watchers) >= _MOST_LISTENERS:
        raise RefusedError(Status.SERVER_ERROR, f"there are {_MOST_LISTENERS} listeners already")
    about = ("listener", c.name, listener.id)
    undo = s.on_close.pop(about, None)
    if undo is not None:
        undo()
    c.watchers.append(listener)
    s.on_close[about] = lambda: c.watchers.remove(listener)


def _remove(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    undo = s.on_close.pop(("listener", c.name, q["listener_id"]), None)
    if undo is None:
        return h.reply(q, c, Status.NOT_EXECUTED)
    undo()
    return h.reply(q, c)


# ------------------------------------------------------------------ near caches


def near_cache_holds(s: Session, c: Cache, key: bytes) -> None:
    """A near cache on this connection has read this key."""
    if s.blooms:
        bloom = s.blooms.get(c.name)
        if bloom is not None:
            bloom.add(key)


def _add_bloom(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    bits = q["bloom_bits"]
    if not 0 < bits <= _MOST_BITS:
        raise RefusedError(Status.SERVER_ERROR, f"bloom_bits: {bits} is not within 1 and 2**24")
    bloom = BloomFilter(bits)
    s.blooms.setdefault(c.name, bloom)  # a second one keeps, as servers do, the first filter
    _register(s, c, Listener(h, s, q, v, interests=_NEAR_CACHE, bloom=bloom))
    return h.reply(q, c)


def _update_bloom(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    bloom = s.blooms.get(c.name)
    if bloom is None:
        return h.reply(q, c, Status.NOT_EXECUTED)
    bloom.bits = bytearray(q["bloom_filter"][: -(-bloom.size // 8)])
    return h.reply(q, c)


OPERATIONS: Final[dict[Op, Operation]] = {
    Op.ADD_CLIENT_LISTENER: _add,
    Op.REMOVE_CLIENT_LISTENER: _remove,
    Op.ADD_BLOOM_FILTER_NEAR_CACHE_LISTENER: _add_bloom,
    Op.UPDATE_BLOOM_FILTER: _update_bloom,
}
