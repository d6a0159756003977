"""Counters: strong, bounded and weak ones, and who listens to them. [wire-extended 1]"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hotrod_codec import Request, encode_response
from hotrod_codec.ops import Op, Status, Version
from hotrod_codec.server.session import RefusedError, Session
from hotrod_codec.server.store import Cache, CacheConfiguration, Cluster
from hotrod_codec.values import CounterConfiguration

if TYPE_CHECKING:
    from hotrod_codec.server.handler import Handler

__all__ = ["COUNTER_CACHE", "OPERATIONS", "Counters"]

COUNTER_CACHE: Final = "org.infinispan.COUNTER"

_VALID, _AT_LOWER, _AT_UPPER = range(3)
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1
_MOST_COUNTERS: Final = 100_000
_MOST_LISTENERS: Final = 10_000


class Counter:
    """A counter with its value; its name stays when it is removed, its value begins anew.

    Attributes:
        state: Of the value: which bound it has, if something was to go beyond it.
    """

    __slots__ = ("configuration", "lower", "state", "upper", "value")

    def __init__(self, configuration: CounterConfiguration) -> None:
        self.configuration = configuration
        self.begin()
        self.lower = configuration.lower if configuration.lower is not None else _LOWEST
        self.upper = configuration.upper if configuration.upper is not None else _HIGHEST
        if not self.lower <= configuration.initial <= self.upper:
            what = f"{configuration.initial} is not within {self.lower} and {self.upper}"
            raise RefusedError(
                Status.SERVER_ERROR,
                "org.infinispan.counter.exception.CounterConfigurationException: ISPN029503: "
                f"the initial value {what}"
                if self.is_bounded
                else what,
            )

    @property
    def is_weak(self) -> bool:
        return self.configuration.concurrency is not None

    @property
    def is_bounded(self) -> bool:
        return self.configuration.lower is not None

    def begin(self) -> None:
        """Have the initial value."""
        self.value = self.configuration.initial
        self.state = _VALID


class CounterListener:
    """An id that a client chose: one connection, any counters."""

    def __init__(self, session: Session, version: int) -> None:
        self.session = session
        self.version = version
        self.names: set[str] = set()


class Counters:
    """All counters of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.defined: dict[str, Counter] = {}
        self.listeners: dict[bytes, CounterListener] = {}
        self._cluster = cluster
        self._cache: Cache | None = None

    def cache(self) -> Cache:
        """No entries, but a topology: clients route by it."""
        if self._cache is None or self._cache.owners == []:
            self._cache = Cache(COUNTER_CACHE, CacheConfiguration(), self._cluster)
        return self._cache

    def clear(self) -> None:
        """No counter is defined any more."""
        self.defined.clear()
        self._cache = None

    def join(self, node: int) -> None:
        if self._cache is not None:
            self._cache.join(node)

    def leave(self, node: int) -> None:
        if self._cache is not None:
            self._cache.leave(node, hand_over=False)

    def change(self, name: str, counter: Counter, value: int, state: int = _VALID) -> None:
        """Set a counter and tell its listeners."""
        old, before = counter.value, counter.state
        counter.value, counter.state = value, state
        if (value, state) == (old, before):
            return
        for listener_id, listener in list(self.listeners.items()):
            if name in listener.names:
                listener.session.send(
                    encode_response(
                        Op.COUNTER,
                        version=listener.version,
                        message_id=0,
                        name=name,
                        listener_id=listener_id,
                        state=before | state << 2,
                        old_value=old,
                        new_value=value,
                    )
                )


def _counter(h: Handler, q: Request) -> Counter | None:
    return h.counters.defined.get(q["name"])


def _missing(h: Handler, q: Request) -> bytes:
    return h.reply(q, h.counters.cache(), Status.KEY_DOES_NOT_EXIST)


def _at_bound(h: Handler, q: Request) -> bytes:
    """NOT_EXECUTED_WITH_PREVIOUS stands for it, and nothing follows."""
    return h.reply(q, h.counters.cache(), Status.NOT_EXECUTED_WITH_PREVIOUS)


def _create(h: Handler, s: Session, q: Request) -> bytes:
    defined = h.counters.defined
    if q["name"] in defined:
        return h.reply(q, h.counters.cache(), Status.NOT_EXECUTED)
    if len(defined) >= _MOST_COUNTERS:
        raise RefusedError(Status.SERVER_ERROR, f"there are {_MOST_COUNTERS} counters already")
    defined[q["name"]] = Counter(q["config"])
    return h.reply(q, h.counters.cache())


def _get_configuration(h: Handler, s: Session, q: Request) -> bytes:
    counter = _counter(h, q)
    if counter is None:
        return _missing(h, q)
    return h.reply(q, h.counters.cache(), config=counter.configuration)


def _is_defined(h: Handler, s: Session, q: Request) -> bytes:
    status = Status.NOT_EXECUTED if _counter(h, q) is None else Status.SUCCESS
    return h.reply(q, h.counters.cache(), status)


def _add_and_get(h: Handler, s: Session, q: Request) -> bytes:
    counter = _counter(h, q)
    if counter is None:
        return _missing(h, q)
    wanted = counter.value + q["delta"]
    if counter.is_weak:
        h.counters.change(q["name"], counter, max(_LOWEST, min(wanted, _HIGHEST)))
        return h.reply(q, h.counters.cache(), value=0)
    if (counter.state == _AT_UPPER and q["delta"] >= 0) or (
        counter.state == _AT_LOWER and q["delta"] <= 0
    ):
        return _at_bound(h, q)
    reached = max(counter.lower, min(wanted, counter.upper))
    if reached == wanted:
        h.counters.change(q["name"], counter, reached)
        return h.reply(q, h.counters.cache(), value=reached)
    if counter.is_bounded:
        state = _AT_UPPER if wanted > reached else _AT_LOWER
        h.counters.change(q["name"], counter, reached, state)
    else:
        h.counters.change(q["name"], counter, reached)
    return _at_bound(h, q)


def _reset(h: Handler, s: Session, q: Request) -> bytes:
    counter = _counter(h, q)
    if counter is None:
        return _missing(h, q)
    h.counters.change(q["name"], counter, counter.configuration.initial)
    return h.reply(q, h.counters.cache())


def _get(h: Handler, s: Session, q: Request) -> bytes:
    counter = _counter(h, q)
    if counter is None:
        return _missing(h, q)
    return h.reply(q, h.counters.cache(), value=counter.value)


def _check_strong(counter: Counter) -> None:
    if counter.is_weak:
        raise RefusedError(
            Status.SERVER_ERROR,
            "org.infinispan.counter.exception.CounterException: ISPN029512: Invalid counter type. "
            "Expected=UNBOUNDED_STRONG but got WEAK",
        )


def _compare_and_set(h: Handler, s: Session, q: Request) -> bytes:
    counter = _counter(h, q)
    if counter is None:
        return _missing(h, q)
    _check_strong(counter)
    before = counter.value
    if before == q["expect"]:
        if not counter.lower <= q["update"] <= counter.upper:
            return _at_bound(h, q)
        h.counters.change(q["name"], counter, q["update"])
    return h.reply(q, h.counters.cache(), value=before)


def _get_and_set(h: Handler, s: Session, q: Request) -> bytes:
    counter = _counter(h, q)
    if counter is None:
        return _missing(h, q)
    _check_strong(counter)
    if not counter.lower <= q.value <= counter.upper:
        return _at_bound(h, q)
    before = counter.value
    h.counters.change(q["name"], counter, q.value)
    return h.reply(q, h.counters.cache(), value=before)


def _remove(h: Handler, s: Session, q: Request) -> bytes:
    counter = _counter(h, q)
    if counter is not None:
        counter.begin()
    return h.reply(q, h.counters.cache())


def _names(h: Handler, s: Session, q: Request) -> bytes:
    return h.reply(q, h.counters.cache(), names=list(h.counters.defined))


def _add_listener(h: Handler, s: Session, q: Request) -> bytes:
    if _counter(h, q) is None:
        return _missing(h, q)
    listeners, listener_id = h.counters.listeners, q["listener_id"]
    known = listeners.get(listener_id)
    if known is None:
        if len(listeners) >= _MOST_LISTENERS:
            text = f"there are {_MOST_LISTENERS} listeners already"
            raise RefusedError(Status.SERVER_ERROR, text)
        listeners[listener_id] = known = CounterListener(s, max(q.version, Version.V2_7))
        s.on_close["counter", listener_id] = lambda: _forget(h, s, listener_id)
        status = Status.SUCCESS
    else:
        status = Status.NOT_EXECUTED
    known.names.add(q["name"])
    return h.reply(q, h.counters.cache(), status)


def _forget(h: Handler, s: Session, listener_id: bytes) -> None:
    listener = h.counters.listeners.get(listener_id)
    if listener is not None and listener.session is s:
        del h.counters.listeners[listener_id]


def _remove_listener(h: Handler, s: Session, q: Request) -> bytes:
    listener_id, name = q["listener_id"], q["name"]
    listener = h.counters.listeners.get(listener_id)
    if listener is None or (name and name not in listener.names):
        return _missing(h, q)
    if name:
        listener.names.discard(name)
    if name and listener.names:
        return h.reply(q, h.counters.cache(), Status.NOT_EXECUTED)
    del h.counters.listeners[listener_id]
    listener.session.on_close.pop(("counter", listener_id), None)
    return h.reply(q, h.counters.cache())


OPERATIONS: Final[dict[Op, Callable[[Handler, Session, Request], bytes]]] = {
    Op.COUNTER_CREATE: _create,
    Op.COUNTER_GET_CONFIGURATION: _get_configuration,
    Op.COUNTER_IS_DEFINED: _is_defined,
    Op.COUNTER_ADD_AND_GET: _add_and_get,
    Op.COUNTER_RESET: _reset,
    Op.COUNTER_GET: _get,
    Op.COUNTER_CAS: _compare_and_set,
    Op.COUNTER_GET_AND_SET: _get_and_set,
    Op.COUNTER_REMOVE: _remove,
    Op.COUNTER_GET_NAMES: _names,
    Op.COUNTER_ADD_LISTENER: _add_listener,
    Op.COUNTER_REMOVE_LISTENER: _remove_listener,
}
