"""Operations on one key, on several, and on a whole cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hotrod_codec import Request
from hotrod_codec.ops import Flag, Op, Status, Version
from hotrod_codec.server import listeners
from hotrod_codec.server.media import Conversion, convert
from hotrod_codec.server.session import Session
from hotrod_codec.server.store import Cache, Entry

if TYPE_CHECKING:
    from hotrod_codec.server.handler import Handler, Operation

__all__ = ["OPERATIONS", "store"]

_SKIP_LISTENERS: Final = int(Flag.SKIP_LISTENER_NOTIFICATION)

# ------------------------------------------------------------------ one key


def _find(s: Session, c: Cache, key: bytes) -> Entry | None:
    """As a client reads: it counts. So do writes that look at the entry first."""
    entry = c.find(key)
    statistics = c.statistics[s.node]
    if entry is None:
        statistics.misses += 1
    else:
        statistics.hits += 1
    return entry


def _get(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    entry = _find(s, c, q.key if v.key_in is None else v.key_in(q.key))
    if entry is None:
        return h.reply(q, c, Status.KEY_DOES_NOT_EXIST)
    return h.reply(q, c, value=convert(v.value_out, entry.value))


def _get_with_version(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    entry = _find(s, c, convert(v.key_in, q.key))
    if entry is None:
        return h.reply(q, c, Status.KEY_DOES_NOT_EXIST)
    return h.reply(q, c, entry_version=entry.version, value=convert(v.value_out, entry.value))


def _get_with_metadata(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    key = convert(v.key_in, q.key)
    listeners.near_cache_holds(s, c, key)
    entry = _find(s, c, key)
    if entry is None:
        return h.reply(q, c, Status.KEY_DOES_NOT_EXIST)
    return h.reply(q, c, metadata=entry.metadata(), value=convert(v.value_out, entry.value))


def _contains_key(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    there = _find(s, c, convert(v.key_in, q.key)) is not None
    return h.reply(q, c, Status.SUCCESS if there else Status.KEY_DOES_NOT_EXIST)


def store(
    h: Handler,
    s: Session,
    q: Request,
    c: Cache,
    v: Conversion,
    key: bytes,
    value: bytes,
    durations: tuple[int, int],
    *,
    absent: bool | None = None,
    version: int | None = None,
) -> bytes:
    """Write under a condition and answer.

    Args:
        key, value: As the client gave them.
        absent: Whether the key has to be absent, or has to be there; None: whichever.
        version: The version that the entry has to have.
    """
    flags = int(q.flags)
    key = convert(v.key_in, key)
    value = convert(v.value_in, value)
    looks = version is not None or absent is False
    old = _find(s, c, key) if looks else c.find(key)
    if version is not None:
        if old is None:
            return h.written(q, c, v, flags, Status.KEY_DOES_NOT_EXIST, None)
        if old.version != version:
            return h.written(q, c, v, flags, Status.NOT_EXECUTED, old)
    elif absent is not None and absent is (old is not None):
        return h.written(q, c, v, flags, Status.NOT_EXECUTED, old)
    c.put(key, value, *durations, old, told=not flags & _SKIP_LISTENERS)
    c.statistics[s.node].stores += 1
    return h.written(q, c, v, flags, Status.SUCCESS, old)


def _put(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    return store(h, s, q, c, v, q.key, q.value, h.durations(q, c))


def _put_if_absent(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    return store(h, s, q, c, v, q.key, q.value, h.durations(q, c), absent=True)


def _replace(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    return store(h, s, q, c, v, q.key, q.value, h.durations(q, c), absent=False)


def _replace_if_unmodified(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    version = q["entry_version"]
    return store(h, s, q, c, v, q.key, q.value, h.durations(q, c), version=version)


def _remove(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    flags = int(q.flags)
    key = convert(v.key_in, q.key)
    old = c.find(key)
    c.remove(key, old, told=not flags & _SKIP_LISTENERS)
    statistics = c.statistics[s.node]
    if old is None:
        statistics.remove_misses += 1
        return h.written(q, c, v, flags, Status.KEY_DOES_NOT_EXIST, None)
    statistics.remove_hits += 1
    return h.written(q, c, v, flags, Status.SUCCESS, old)


def _remove_if_unmodified(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    flags = int(q.flags)
    key = convert(v.key_in, q.key)
    old = _find(s, c, key)
    if old is None:
        return h.written(q, c, v, flags, Status.KEY_DOES_NOT_EXIST, None)
    if old.version != q["entry_version"]:
        return h.written(q, c, v, flags, Status.NOT_EXECUTED, old)
    c.remove(key, old, told=not flags & _SKIP_LISTENERS)
    c.statistics[s.node].remove_hits += 1
    return h.written(q, c, v, flags, Status.SUCCESS, old)


# ------------------------------------------------------------------ the whole cache


def _clear(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    c.clear(told=not int(q.flags) & _SKIP_LISTENERS)
    return h.reply(q, c)


def _size(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    return h.reply(q, c, size=len(c))


def _put_all(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    told = not int(q.flags) & _SKIP_LISTENERS
    durations = h.durations(q, c)
    entries = [(convert(v.key_in, key), convert(v.value_in, value)) for key, value in q.entries]
    version = c.new_version()  # servers give all of them the same
    for key, value in entries:
        c.put(key, value, *durations, c.find(key), told=told, version=version)
    c.statistics[s.node].stores += len(entries)
    return h.reply(q, c)


def _get_all(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    found = []
    for key in dict.fromkeys(q["keys"]):
        entry = _find(s, c, convert(v.key_in, key))
        if entry is not None:
            found.append((key, convert(v.value_out, entry.value)))
    return h.reply(q, c, entries=found)


def _bulk_get(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    entries = list(c.entries().items())[: q["count"] or None]
    found = [(convert(v.key_out, key), convert(v.value_out, entry.value)) for key, entry in entries]
    return h.reply(q, c, entries=found)


def _bulk_get_keys(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    return h.reply(q, c, keys=[convert(v.key_out, key) for key in c.entries()])


def _stats(h: Handler, s: Session, q: Request, c: Cache, v: Conversion) -> bytes:
    own = c.statistics[s.node]
    held, primary = c.held_by(s.node)
    stats = {
        "timeSinceStart": (h.cluster.now() - own.since) // 1000,
        "currentNumberOfEntries": held,
        "stores": own.stores,
        "retrievals": own.hits + own.misses,
        "hits": own.hits,
        "misses": own.misses,
        "removeHits": own.remove_hits,
        "removeMisses": own.remove_misses,
        "approximateEntries": held,
        "approximateEntriesUnique": primary,
    }
    if q.version >= Version.V2_4:
        nodes = list(c.statistics.values())
        hits, misses = sum(n.hits for n in nodes), sum(n.misses for n in nodes)
        stats |= {
            "globalCurrentNumberOfEntries": len(c),
            "globalStores": sum(n.stores for n in nodes),
            "globalRetrievals": hits + misses,
            "globalHits": hits,
            "globalMisses": misses,
            "globalRemoveHits": sum(n.remove_hits for n in nodes),
            "globalRemoveMisses": sum(n.remove_misses for n in nodes),
            "globalApproximateEntries": sum(c.held_by(node)[0] for node in c.statistics),
            "globalApproximateEntriesUnique": len(c),
        }
    return h.reply(q, c, stats={name: str(number) for name, number in stats.items()})


OPERATIONS: Final[dict[Op, Operation]] = {
    Op.PUT: _put,
    Op.GET: _get,
    Op.PUT_IF_ABSENT: _put_if_absent,
    Op.REPLACE: _replace,
    Op.REPLACE_IF_UNMODIFIED: _replace_if_unmodified,
    Op.REMOVE: _remove,
    Op.REMOVE_IF_UNMODIFIED: _remove_if_unmodified,
    Op.CONTAINS_KEY: _contains_key,
    Op.GET_WITH_VERSION: _get_with_version,
    Op.GET_WITH_METADATA: _get_with_metadata,
    Op.CLEAR: _clear,
    Op.SIZE: _size,
    Op.PUT_ALL: _put_all,
    Op.GET_ALL: _get_all,
    Op.BULK_GET: _bulk_get,
    Op.BULK_GET_KEYS: _bulk_get_keys,
    Op.STATS: _stats,
}
