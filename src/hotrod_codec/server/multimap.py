"""Multimaps: several values under a key, a set of them or, with duplicates, a list.

An entry's value is then a tuple of bytes. A cache is used as the one or as the other. Keys and
values stay as they come, whatever media types the request names: real servers convert neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hotrod_codec import Request
from hotrod_codec.ops import Op, Status
from hotrod_codec.server.media import Conversion
from hotrod_codec.server.session import RefusedError, Session
from hotrod_codec.server.store import NEVER, Cache
from hotrod_codec.values import Metadata

if TYPE_CHECKING:
    from hotrod_codec.server.handler import Handler, Operation

__all__ = ["OPERATIONS"]


def _values(c: Cache, q: Request) -> tuple[bytes, ...]:
    """The values under the request's key."""
    entry = c.find(q.key)
    if entry is None:
        return ()
    if not isinstance(entry.value, tuple):
        raise RefusedError(Status.SERVER_ERROR, "the entry was not written by a multimap")
    return entry.value


def _keep(c: Cache, key: bytes, values: tuple[bytes, ...]) -> None:
    old = c.find(key)
    if values:
        c.put(key, values, NEVER, NEVER, old)  # durations are taken and have no effect
    elif old is not None:
        c.remove(key, old)


def _get(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    values = _values(c, q)
    if not values:
        return h.reply(q, c, Status.KEY_DOES_NOT_EXIST)
    return h.reply(q, c, values=list(values))


def _get_with_metadata(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    values = _values(c, q)
    if not values:
        return h.reply(q, c, Status.KEY_DOES_NOT_EXIST)
    return h.reply(q, c, metadata=Metadata(0), values=list(values))


def _put(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    values = _values(c, q)
    if q.value not in values or _duplicates(q):
        _keep(c, q.key, (*values, q.value))
    return h.reply(q, c)


def _duplicates(q: Request) -> bool:
    return q.version >= 40 and bool(q["supports_duplicates"])


def _remove_key(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    values = _values(c, q)
    _keep(c, q.key, ())
    return h.reply(q, c, result=bool(values))


def _remove_entry(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    values = _values(c, q)
    if q.value not in values:
        return h.reply(q, c, result=False)
    _keep(c, q.key, tuple(other for other in values if other != q.value))
    return h.reply(q, c, result=True)


def _all(c: Cache) -> list[tuple[bytes, ...]]:
    return [e.value for e in c.entries().values() if isinstance(e.value, tuple)]


def _size(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    return h.reply(q, c, size=sum(map(len, _all(c))))


def _contains_entry(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    return h.reply(q, c, result=q.value in _values(c, q))


def _contains_key(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    return h.reply(q, c, result=bool(_values(c, q)))


def _contains_value(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    return h.reply(q, c, result=any(q.value in values for values in _all(c)))


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
