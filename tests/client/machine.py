"""A cache beside a dict that has to look the same, whatever is done to both.

The same machine plays on the embedded server and on real ones; where nodes come and go and
connections break, what was acknowledged stays, and what was not is as it was or as it was to be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hotrod_codec import EmbeddedServer, Op, RequestTimeoutError, TransportError
from hotrod_codec.client import EventKind
from hotrod_codec.marshallers import BYTES, JSON, PROTOSTREAM, TEXT, Marshaller

SECONDS = 20.0
LOST = (TransportError, RequestTimeoutError)

CUT = (None, Op.GET, Op.PUT, Op.REMOVE, Op.REPLACE, Op.PUT_ALL, Op.ITERATION_NEXT)

KEYS = tuple(f"key {i}" for i in range(8))
keys = st.sampled_from(KEYS)
some_keys = st.lists(keys, max_size=6)
payloads = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
lifespans = st.sampled_from([None, None, None, 50.0, 500.0])

FORMS: dict[str, tuple[Marshaller[Any], Callable[[str], Any]]] = {
    "bytes": (BYTES, str.encode),
    "text": (TEXT, str),
    "json": (JSON, lambda text: {"text": text, "parts": [text, None, 1.5, {"deep": True}]}),
    "protostream": (PROTOSTREAM, str),
}


@dataclass(slots=True)
class Ground:
    """Where a machine plays.

    Attributes:
        clients: Of one cluster.
        cache: The cache's name; nobody else writes to it.
        form: A name of FORMS, for its keys and values.
        wait: Lets seconds pass for the entries.
        waits_for_free: Whether that takes no time.
        server: Whose nodes and faults may be played with; None: nobody's.
        listens: Whether there is a listener.
        idles: Whether entries die of being idle wherever one looks.
    """

    clients: list[Any]
    cache: str
    form: str
    wait: Callable[[float], None]
    waits_for_free: bool = False
    server: EmbeddedServer | None = None
    listens: bool = True
    idles: bool = True


@dataclass(slots=True)
class Known:
    """An entry as it has to be."""

    value: Any
    lifespan: float | None = None
    dies: float = float("inf")


_Change: TypeAlias = Mapping[str, Known | None]


class CacheMachine(RuleBasedStateMachine):
    """Played by a subclass that says where."""

    number = 0  # of the latest value: all of them differ

    def prepare(self) -> AbstractContextManager[Ground]:
        """Where this run is played; entered before it, left behind it."""
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.stack = ExitStack()
        self.caches: list[Any] = []
        self.listener: Any = None
        self.down: list[int] = []
        self.ground = g = self.stack.enter_context(self.prepare())
        marshaller, self.form = FORMS[g.form]
        self.caches = [
            client.cache(g.cache, keys=marshaller, values=marshaller) for client in g.clients
        ]
        self.caches[0].clear()
        self.model: dict[str, Known] = {}
        self.unheard: set[str] = set()
        self.now = 0.0
        self.harmed = False
        if g.listens:
            self.listener = self.caches[0].add_listener()
        self.fill()

    def fill(self) -> None:
        """All keys have values: what is to be lost has to be there."""
        new = {name: self.fresh("first") for name in KEYS}
        entries = {self.key(name): known.value for name, known in new.items()}
        self.change(new, lambda: self.caches[0].put_all(entries))

    # ---- helpers

    def key(self, name: str) -> Any:
        return name.encode() if self.ground.form == "bytes" else name

    def name(self, key: Any) -> str:
        return key.decode() if isinstance(key, bytes) else str(key)

    def fresh(self, payload: str, lifespan: float | None = None) -> Known:
        type(self).number += 1
        dies = float("inf") if lifespan is None else self.now + lifespan
        return Known(self.form(f"{self.number} {payload}"), lifespan, dies)

    def value_of(self, name: str) -> Any:
        known = self.model.get(name)
        return None if known is None else known.value

    def here(self, names: Iterable[str]) -> dict[Any, Any]:
        return {self.key(n): self.model[n].value for n in names if n in self.model}

    def set(self, changes: _Change) -> None:
        for name, known in changes.items():
            if known is None:
                self.model.pop(name, None)
            else:
                self.model[name] = known

    def change(self, changes: _Change, call: Callable[[], Any], expected: Any = None) -> None:
        """Do something that is to change the cache so, and give `expected`."""
        try:
            found = call()
        except LOST:
            if not self.harmed:
                raise
            self.recover(changes)
        else:
            self.set(changes)
            assert found == expected
            self.check(changes)

    def check(self, names: Iterable[str]) -> None:
        wanted = [self.key(name) for name in names]
        assert self.caches[-1].get_many(wanted) == [self.value_of(name) for name in names]

    def recover(self, changes: _Change) -> None:
        """Nobody knows whether it was done: each key is as before or as it was to be."""
        assert self.ground.server is not None
        self.ground.server.faults.clear()
        for name, known in changes.items():
            found = self.caches[0].get(self.key(name))
            wanted = None if known is None else known.value
            assert found in (wanted, self.value_of(name))
            if found == wanted:
                self.set({name: known})

    # ---- one key

    @rule(key=keys, payload=payloads, lifespan=lifespans, by=st.integers(0, 9))
    def put(self, key: str, payload: str, lifespan: float | None, by: int) -> None:
        new = self.fresh(payload, lifespan)
        self.change(
            {key: new},
            lambda: self.cache(by).put(self.key(key), new.value, lifespan=lifespan),
        )

    def cache(self, by: int) -> Any:
        return self.caches[by % len(self.caches)]

    @rule(key=keys, by=st.integers(0, 9))
    def get(self, key: str, by: int) -> None:
        assert self.cache(by).get(self.key(key)) == self.value_of(key)

    @rule(key=keys, by=st.integers(0, 9))
    def contains(self, key: str, by: int) -> None:
        assert self.cache(by).contains_key(self.key(key)) == (key in self.model)

    @rule(key=keys, payload=payloads, by=st.integers(0, 9))
    def put_if_absent(self, key: str, payload: str, by: int) -> None:
        new = self.fresh(payload)
        absent = key not in self.model
        self.change(
            {key: new} if absent else {},
            lambda: self.cache(by).put_if_absent(self.key(key), new.value),
            absent,
        )

    @rule(key=keys, payload=payloads, lifespan=lifespans, by=st.integers(0, 9))
    def replace(self, key: str, payload: str, lifespan: float | None, by: int) -> None:
        new = self.fresh(payload, lifespan)
        present = key in self.model
        self.change(
            {key: new} if present else {},
            lambda: self.cache(by).replace(self.key(key), new.value, lifespan=lifespan),
            present,
        )

    @rule(key=keys, by=st.integers(0, 9))
    def remove(self, key: str, by: int) -> None:
        present = key in self.model
        self.change({key: None}, lambda: self.cache(by).remove(self.key(key)), present)

    # ---- previous values

    @rule(key=keys, payload=payloads, by=st.integers(0, 9))
    def get_and_put(self, key: str, payload: str, by: int) -> None:
        new, old = self.fresh(payload), self.value_of(key)
        self.change({key: new}, lambda: self.cache(by).get_and_put(self.key(key), new.value), old)

    @rule(key=keys, payload=payloads, by=st.integers(0, 9))
    def get_and_replace(self, key: str, payload: str, by: int) -> None:
        new, old = self.fresh(payload), self.value_of(key)
        self.change(
            {key: new} if key in self.model else {},
            lambda: self.cache(by).get_and_replace(self.key(key), new.value),
            old,
        )

    @rule(key=keys, payload=payloads, by=st.integers(0, 9))
    def get_and_put_if_absent(self, key: str, payload: str, by: int) -> None:
        new, old = self.fresh(payload), self.value_of(key)
        self.change(
            {} if key in self.model else {key: new},
            lambda: self.cache(by).get_and_put_if_absent(self.key(key), new.value),
            old,
        )

    @rule(key=keys, by=st.integers(0, 9))
    def get_and_remove(self, key: str, by: int) -> None:
        old = self.value_of(key)
        self.change({key: None}, lambda: self.cache(by).get_and_remove(self.key(key)), old)

    # ---- versions

    @rule(key=keys, by=st.integers(0, 9))
    def metadata(self, key: str, by: int) -> None:
        found = self.cache(by).get_with_metadata(self.key(key))
        known = self.model.get(key)
        if known is None:
            assert found is None
        else:
            assert (found.value, found.lifespan) == (known.value, known.lifespan)

    @rule(key=keys, payload=payloads, stale=st.booleans(), by=st.integers(0, 9))
    def with_version(self, key: str, payload: str, stale: bool, by: int) -> None:
        cache, k = self.cache(by), self.key(key)
        found = cache.get_with_metadata(k)
        version = 12345 if found is None else found.version
        if stale and found is not None:
            between = self.fresh("between")
            self.change({key: between}, lambda: self.cache(by + 1).put(k, between.value))
            # Nothing is known of the version then if that was lost.
            if self.value_of(key) != between.value:
                return
        new = self.fresh(payload)
        right = found is not None and not stale
        self.change(
            {key: new} if right else {},
            lambda: cache.replace_with_version(k, new.value, version),
            right,
        )

    @rule(key=keys, stale=st.booleans(), by=st.integers(0, 9))
    def remove_with_version(self, key: str, stale: bool, by: int) -> None:
        cache, k = self.cache(by), self.key(key)
        found = cache.get_with_metadata(k)
        version = 12345 if found is None else found.version + stale
        right = found is not None and not stale
        self.change(
            {key: None} if right else {}, lambda: cache.remove_with_version(k, version), right
        )

    # ---- computed

    @rule(key=keys, payload=payloads, way=st.integers(0, 3), by=st.integers(0, 9))
    def compute(self, key: str, payload: str, way: int, by: int) -> None:
        new, present = self.fresh(payload), key in self.model
        cache, k = self.cache(by), self.key(key)
        old = self.value_of(key)
        if way == 0:
            self.change({key: new}, lambda: cache.compute(k, lambda _, v: new.value), new.value)
        elif way == 1:
            self.change({key: None}, lambda: cache.compute(k, lambda _, v: None))
        elif way == 2:
            self.change(
                {key: new} if present else {},
                lambda: cache.compute_if_present(k, lambda _, v: new.value),
                new.value if present else None,
            )
        else:
            self.change(
                {} if present else {key: new},
                lambda: cache.compute_if_absent(k, lambda _: new.value),
                old if present else new.value,
            )

    # ---- many keys

    @rule(names=some_keys, payload=payloads, many=st.booleans(), by=st.integers(0, 9))
    def put_several(self, names: list[str], payload: str, many: bool, by: int) -> None:
        new = {name: self.fresh(payload) for name in names}
        entries = {self.key(name): known.value for name, known in new.items()}
        cache = self.cache(by)
        put = cache.put_many if many else cache.put_all
        self.change(new, lambda: put(entries))

    @rule(names=some_keys, by=st.integers(0, 9))
    def get_several(self, names: list[str], by: int) -> None:
        wanted = [self.key(name) for name in names]
        assert self.cache(by).get_all(wanted) == self.here(names)
        assert self.cache(by).get_many(wanted) == [self.value_of(name) for name in names]

    # ---- the whole cache

    @rule(by=st.integers(0, 9), batch_size=st.sampled_from([1, 3, 1000]))
    def whole(self, by: int, batch_size: int) -> None:
        cache = self.cache(by)
        everything = self.here(self.model)
        assert cache.size() == len(everything)
        assert cache.is_empty() == (not everything)
        entries = list(cache.entries(batch_size=batch_size))
        assert len(entries) == len(everything)
        assert dict(entries) == everything
        assert sorted(cache.keys(batch_size=batch_size)) == sorted(everything)

    @rule(by=st.integers(0, 9))
    def clear(self, by: int) -> None:
        self.unheard.update(KEYS)  # not all servers tell of each entry
        self.change(dict.fromkeys(KEYS), self.cache(by).clear)

    # ---- time

    def pass_time(self, seconds: float) -> None:
        self.ground.wait(seconds)
        self.now += seconds
        for name in [name for name, known in self.model.items() if known.dies <= self.now]:
            del self.model[name]
            self.unheard.add(name)  # when that is told is not said

    @precondition(lambda self: self.ground.waits_for_free)
    @rule(seconds=st.sampled_from([10.0, 60.0, 600.0]))
    def time_passes(self, seconds: float) -> None:
        self.pass_time(seconds)

    @precondition(lambda self: self.ground.waits_for_free or self.now < 3)
    @rule(key=keys, payload=payloads, idle=st.booleans(), by=st.integers(0, 9))
    def expire(self, key: str, payload: str, idle: bool, by: int) -> None:
        new = self.fresh(payload)
        cache, k = self.cache(by), self.key(key)
        setting = {"max_idle": 1} if idle and self.ground.idles else {"lifespan": 1}
        self.change({key: new}, lambda: cache.put(k, new.value, **setting))
        new.dies = self.now + 1
        self.pass_time(1.5)

    # ---- harm

    @precondition(lambda self: self.ground.server is not None and not self.down)
    @rule(node=st.integers(0, 2), gently=st.booleans())
    def node_leaves(self, node: int, gently: bool) -> None:
        server = self.ground.server
        assert server is not None
        self.harmed = True
        self.fill()
        self.down.append(node)
        server.stop_node(node) if gently else server.kill_node(node)
        self.check(KEYS)

    @precondition(lambda self: bool(self.down))
    @rule()
    def node_returns(self) -> None:
        assert self.ground.server is not None
        self.fill()
        self.ground.server.start_node(self.down.pop())
        self.check(KEYS)

    @precondition(lambda self: self.ground.server is not None)
    @rule(at=st.integers(0, 12), op=st.sampled_from(CUT))
    def connection_breaks(self, at: int, op: Op | None) -> None:
        assert self.ground.server is not None
        self.harmed = True
        self.ground.server.faults.clear()
        self.ground.server.faults.cut(at, op=op)

    # ---- the end

    def teardown(self) -> None:
        if not hasattr(self, "stack"):
            return
        with self.stack:
            self.end()

    def end(self) -> None:
        server = self.ground.server
        if server is not None:
            server.faults.clear()
            while self.down:
                server.start_node(self.down.pop())
        try:
            for cache in self.caches:
                assert dict(cache.entries()) == self.here(self.model)
            if self.listener is not None and not self.harmed:
                self.check_what_was_heard()
        finally:
            if self.listener is not None:
                self.listener.remove()

    def check_what_was_heard(self) -> None:
        """The events, eventually, say which keys are there."""
        expected = {n: n in self.model for n in KEYS if n not in self.unheard}
        there: dict[str, bool] = {}
        deadline = time.monotonic() + SECONDS
        while any(there.get(n, False) != present for n, present in expected.items()):
            event = self.listener.next(max(0.0, deadline - time.monotonic()))
            assert event is not None, (there, expected)
            assert event.kind is not EventKind.FAILOVER
            there[self.name(event.key)] = event.kind in (EventKind.CREATED, EventKind.MODIFIED)


def play(
    prepare: Callable[[], AbstractContextManager[Ground]],
    *,
    examples: int,
    steps: int = 30,
    shrink: bool = True,
) -> None:
    """Run the machine so often, so many steps each, in what `prepare` gives each time.

    Args:
        shrink: Whether to look for a shorter way to fail; that takes long where time is real.
    """

    class Machine(CacheMachine):
        def prepare(self) -> AbstractContextManager[Ground]:
            return prepare()

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=[phase for phase in Phase if shrink or phase is not Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
