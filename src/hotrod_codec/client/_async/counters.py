"""Counters of the cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from hotrod_codec import Event, Response
from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.client._async.driver import Connection, clock
from hotrod_codec.client._async.subscriptions import AsyncFeed
from hotrod_codec.client.cluster import Call
from hotrod_codec.client.results import (
    CounterBoundError,
    CounterEvent,
    CounterMissingError,
    CounterState,
    EventKind,
)
from hotrod_codec.client.session import Header
from hotrod_codec.errors import HotRodError
from hotrod_codec.ops import Op, Status
from hotrod_codec.values import CounterConfiguration, ServerAddress

__all__ = ["AsyncCounter", "AsyncCounterListener", "AsyncCounters"]

_CACHE = "org.infinispan.COUNTER"
_HEADER = Header(_CACHE)
_STATES = tuple(CounterState)


class AsyncCounters:
    """The counters of the cluster. Made by `AsyncClient.counters`; since version 2.7."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def define(self, name: str, configuration: CounterConfiguration) -> bool:
        """Define a counter; False: it is defined already, whatever its configuration."""
        answer = await _call(self._dispatcher, Op.COUNTER_CREATE, name=name, config=configuration)
        return answer.status == Status.SUCCESS

    async def is_defined(self, name: str) -> bool:
        """Whether there is such a counter."""
        answer = await _call(self._dispatcher, Op.COUNTER_IS_DEFINED, name=name)
        return answer.status == Status.SUCCESS

    async def configuration(self, name: str) -> CounterConfiguration | None:
        """How a counter is defined; None: it is not."""
        answer = await _call(self._dispatcher, Op.COUNTER_GET_CONFIGURATION, name=name)
        if answer.status != Status.SUCCESS:
            return None
        found: CounterConfiguration = answer.config
        return found

    async def remove(self, name: str) -> None:
        """Forget the value of a counter; its definition stays, it begins anew."""
        await _call(self._dispatcher, Op.COUNTER_REMOVE, name=name)

    async def names(self) -> set[str]:
        """The names of all counters that are defined."""
        return set((await _call(self._dispatcher, Op.COUNTER_GET_NAMES)).names)

    def get(self, name: str) -> AsyncCounter:
        """A counter by its name; whether it is defined shows with the first request."""
        return AsyncCounter(self._dispatcher, name)

    async def add_listener(
        self, *names: str, callback: Callable[[CounterEvent], None] | None = None
    ) -> AsyncCounterListener:
        """Listen to changes of counters.

        Args:
            names: Which.
            callback: Called with each event where it arrives: it must not wait for anything. None:
                iterate over the listener.

        Raises:
            CounterMissingError: One of them is not defined.

        Hot Rod: COUNTER_ADD_LISTENER 0x5A.
        """
        listener = AsyncCounterListener(self._dispatcher, names, callback)
        await listener.start()
        return listener


class AsyncCounter:
    """One counter.

    All methods raise CounterMissingError when it is not defined. What changes it is sent once: if
    no answer comes, whether it was done is not known.
    """

    def __init__(self, dispatcher: Dispatcher, name: str) -> None:
        self._dispatcher = dispatcher
        self._name = name

    @property
    def name(self) -> str:
        """The counter's name."""
        return self._name

    async def value(self) -> int:
        """The value; of a weak counter, one that it lately had."""
        return int((await self._call(Op.COUNTER_GET)).value)

    async def add_and_get(self, delta: int) -> int:
        """Add, and give the new value; 0 for a weak counter.

        Raises:
            CounterBoundError: There is a bound in the way; that is its value now.
        """
        return int((await self._call(Op.COUNTER_ADD_AND_GET, delta=delta)).value)

    async def increment_and_get(self) -> int:
        """As `add_and_get` of 1."""
        return await self.add_and_get(1)

    async def decrement_and_get(self) -> int:
        """As `add_and_get` of -1."""
        return await self.add_and_get(-1)

    async def compare_and_set(self, expected: int, update: int) -> bool:
        """Set it if it has the expected value; whether it was set. Strong counters only.

        Raises:
            CounterBoundError: The update is outside of the bounds.
        """
        return await self.compare_and_swap(expected, update) == expected

    async def compare_and_swap(self, expected: int, update: int) -> int:
        """As `compare_and_set`; the value that it had before."""
        return int((await self._call(Op.COUNTER_CAS, expect=expected, update=update)).value)

    async def get_and_set(self, value: int) -> int:
        """Set it, and give the value that it had; since 3.1, servers since 15.

        Raises:
            CounterBoundError: The value is outside of the bounds.
        """
        return int((await self._call(Op.COUNTER_GET_AND_SET, value=value)).value)

    async def reset(self) -> None:
        """Set it to its initial value."""
        await self._call(Op.COUNTER_RESET)

    async def add_listener(
        self, callback: Callable[[CounterEvent], None] | None = None
    ) -> AsyncCounterListener:
        """Listen to changes of this counter; as `AsyncCounters.add_listener`."""
        return await AsyncCounters(self._dispatcher).add_listener(self._name, callback=callback)

    async def _call(self, op: Op, **fields: Any) -> Response:
        answer = await _call(self._dispatcher, op, name=self._name, **fields)
        _check_defined(self._name, defined=answer.status != Status.KEY_DOES_NOT_EXIST)
        if answer.status == Status.NOT_EXECUTED_WITH_PREVIOUS:
            raise CounterBoundError(f"{self._name!r}: the counter has reached its bound")
        return answer


class AsyncCounterListener(AsyncFeed[CounterEvent]):
    """Changes of counters, to be iterated over. Made by `AsyncCounters.add_listener`.

        async with await client.counters.add_listener("visits") as events:
            async for event in events:
                print(event.name, event.new_value)

    When its connection was lost it listens anew and gives a FAILOVER event. Remove it in the end,
    as `with` does: servers do not notice by themselves that nobody listens any more.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        names: Sequence[str],
        callback: Callable[[CounterEvent], None] | None,
    ) -> None:
        super().__init__(dispatcher, dispatcher.cluster.cache(_CACHE), _HEADER, callback)
        self._names = tuple(dict.fromkeys(names))

    async def remove(self) -> None:
        connection, is_over = self._connection, self._is_over()
        await super().remove()  # first: from now on it is not added again
        if connection is not None and not is_over:
            await self._forget_at(connection.server)

    async def _forget_at(self, server: ServerAddress) -> None:
        driver = self._dispatcher.driver
        limit = self._dispatcher.answer_timeout
        with suppress(HotRodError):
            connection = await driver.acquire(server, clock() + limit)
            try:
                await self._forget(connection)
            finally:
                driver.release(connection)

    async def _forget(self, connection: Connection) -> None:
        await self._call(connection, Op.COUNTER_REMOVE_LISTENER, name="", listener_id=self._id)

    async def _ask(self, connection: Connection) -> None:
        # A server that had this listener before would send its events to where that was.
        await self._forget(connection)
        for name in self._names:
            # To ask for events of a counter that is not there makes a server lose the others.
            answer = await self._call(connection, Op.COUNTER_IS_DEFINED, name=name)
            _check_defined(name, defined=answer.status == Status.SUCCESS)
        for name in self._names:
            answer = await self._call(
                connection, Op.COUNTER_ADD_LISTENER, name=name, listener_id=self._id
            )
            _check_defined(name, defined=answer.status != Status.KEY_DOES_NOT_EXIST)

    def _resume(self) -> None:
        self._tell(CounterEvent(EventKind.FAILOVER))

    def _hear(self, event: Event) -> None:
        state = event.state
        self._tell(
            CounterEvent(
                EventKind.MODIFIED,
                event.name,
                event.old_value,
                event.new_value,
                _state_of(state & 3),
                _state_of(state >> 2 & 3),
            )
        )


def _state_of(bits: int) -> CounterState:
    return _STATES[bits] if bits < len(_STATES) else CounterState.VALID


def _check_defined(name: str, *, defined: bool) -> None:
    if not defined:
        raise CounterMissingError(f"{name!r}: there is no such counter")


async def _call(dispatcher: Dispatcher, op: Op, **fields: Any) -> Response:
    return await dispatcher.execute(Call(op, dispatcher.cluster.cache(_CACHE), _HEADER, fields))
