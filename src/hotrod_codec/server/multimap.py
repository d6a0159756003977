"""Multimaps: several values under a key, a set of them or, with duplicates, a list.

An entry's value is then a tuple of bytes. A cache is used as the one or as the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hotrod_codec import Request
from hotrod_codec.ops import Op, Status
from hotrod_codec.server.media import Conversion, convert
from hotrod_codec.server.session import RefusedError, Session
from hotrod_codec.server.store import NEVER, Cache
from hotrod_codec.values import Metadata

if TYPE_CHECKING:
    from hotrod_codec.server.handler import Handler, Operation

__all__ = ["OPERATIONS"]


def _values(c: Cache, v: Conversion, q: Request) -> tuple[bytes, tuple[bytes, ...]]:
    """The key as it is stored, and the values under it."""
    key = convert(v.key_in, q.key)
    entry = c.find(key)
    if entry is None:
        return key, ()
    if not isinstance(entry.value, tuple):
        raise RefusedError(Status.SERVER_ERROR, "the entry was not written by a multimap")
    return key, entry.value


def _keep(c: Cache, key: bytes, values: tuple[bytes, ...]) -> None:
    old = c.find(key)
    if values:
        c.put(key, values, NEVER, NEVER, old)  # durations are taken and have no effect
    elif old is not None:
        c.remove(key, old)


def _get(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    _, values = _values(c, v, q)
    if not values:
        return h.reply(q, c, Status.KEY_DOES_NOT_EXIST)
    return h.reply(q, c, values=[convert(v.value_out, value) for value in values])


def _get_with_metadata(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    _, values = _values(c, v, q)
    if not values:
        return h.reply(q, c, Status.KEY_DOES_NOT_EXIST)
    found = [convert(v.value_out, value) for value in values]
    return h.reply(q, c, metadata=Metadata(0), values=found)


def _put(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    key, values = _values(c, v, q)
    value = convert(v.value_in, q.value)
    if value not in values or _duplicates(q):
        _keep(c, key, (*values, value))
    return h.reply(q, c)


def _duplicates(q: Request) -> bool:
    return q.version >= 40 and bool(q["supports_duplicates"])


def _remove_key(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    key, values = _values(c, v, q)
    _keep(c, key, ())
    return h.reply(q, c, result=bool(values))


def _remove_entry(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    key, values = _values(c, v, q)
    value = convert(v.value_in, q.value)
    if value not in values:
        return h.reply(q, c, result=False)
    _keep(c, key, tuple(other for other in values if other != value))
    return h.reply(q, c, result=True)


def _all(c: Cache) -> list[tuple[bytes, ...]]:
    return [e.value for e in c.entries().values() if isinstance(e.value, tuple)]


def _size(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    return h.reply(q, c, size=sum(map(len, _all(c))))


def _contains_entry(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    _, values = _values(c, v, q)
    return h.reply(q, c, result=convert(v.value_in, q.value) in values)


def _contains_key(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    _, values = _values(c, v, q)
    return h.reply(q, c, result=bool(values))


def _contains_value(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    value = convert(v.value_in, q.value)
    return h.reply(q, c, result=any(value in values for values in _all(c)))


OPERATIONS: Final[dict[Op, Operation]] = {
    Op.GET_MULTIMAP: _get,
    Op.GET_MULTIMAP_WITH_METADATA: _get_with_metadata,
    Op.PUT_MULTIMAP: _put,
    Op.REMOVE_KEY_MULTIMAP: _remove_key,
    Op.REMOVE_ENTRY_MULTIMAP: _remove_entry,
    Op.SIZE_MULTIMAP: _size,
    Op.CONTAINS_ENTRY_MULTIMAP: _contains_entry,
    Op.CONTAINS_KEY_MULTIMAP: _contains_key,
    Op.CONTAINS_VALUE_MULTIMAP: _contains_value,
}
