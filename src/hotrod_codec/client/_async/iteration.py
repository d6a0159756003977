"""Iterations: all entries of a cache, each exactly once, though servers come and go meanwhile.

The servers are asked side by side, each for the segments that it owns, and each of them is asked
for its next batch before the last one is given out: so one batch of each waits, and no more. When
one fails, the segments that it had not finished are asked for elsewhere, and the keys that it had
told of them already are skipped: so many keys are remembered, no more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hotrod_codec._ext.keyset import KeySet
from hotrod_codec.client._async.batches import let_send
from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.client._async.driver import Ahead, Connection, clock
from hotrod_codec.client.cluster import CacheState, Call, may_retry
from hotrod_codec.client.session import ConnectError, Header, Into
from hotrod_codec.errors import HotRodError, TransportError
from hotrod_codec.ops import Op, Status
from hotrod_codec.values import ServerAddress

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["KEYS_ONLY", "Iteration"]

KEYS_ONLY = "org.infinispan.server.hotrod.HotRodServer$ToEmptyBytesKeyValueFilterConverter"
"""A filter of the servers' own: entries come with empty values."""

_MOST_REPEATED = 10_000
"""Entries that one server may tell twice. It repeats those that another one told of before; for
the others there is no reason but that the cluster changes meanwhile."""

_MOST_SERVERS = 8
"""How many are asked side by side."""


class _Part:
    """What one server is asked for.

    Args:
        segments: Which; None: all.
        may_repeat: How many entries it may tell that were told before.
    """

    def __init__(self, server: ServerAddress, segments: set[int] | None, may_repeat: int) -> None:
        self.server = server
        self.segments = segments
        self.may_repeat = may_repeat
        self.connection: Connection | None = None
        self.iteration_id: str | None = None
        self.ahead: Ahead | None = None
        self.generation = 0


class Iteration:
    """One pass over a cache.

    Args:
        fields: Of ITERATION_START, but for segments.
        segments: Only these; None: all.
        segments_of_keys: The segments of keys as they come from the server; None: not known here.
        progress: Called after each batch with the number of entries so far and the share of the
            segments that are finished, 0 to 1.
        into: What each batch becomes: "pairs", "lists" or "batch".
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        state: CacheState,
        header: Header,
        fields: dict[str, Any],
        *,
        segments: Collection[int] | None,
        segments_of_keys: Callable[[list[bytes]], npt.NDArray[np.int32]] | None,
        progress: Callable[[int, float], None] | None,
        into: Into = "lists",
    ) -> None:
        self._dispatcher = dispatcher
        self._state = state
        self._header = header
        self._fields = fields
        self._into: Into = into
        self._segments_of_keys = segments_of_keys
        self._progress = progress
        self._given = None if segments is None else set(segments)
        count = len(state.routing.segments)
        self._todo = set(range(count)) if self._given is None else set(self._given)
        self._total = len(self._todo)
        self._ended = False
        self._entries = 0
        self._parts: list[_Part] = []
        self._seen = KeySet(0 if segments_of_keys is None else count)
        self._tried: list[ServerAddress] = []
        self._failures = 0

    async def batches(self) -> AsyncGenerator[Any, None]:
        """What the servers send, batch by batch, without what they sent before."""
        try:
            while not self._is_done():
                self._share_out()
                for part in list(self._parts):
                    batch = None
                    try:
                        batch = await self._next(part)
                    except HotRodError as error:
                        await self._leave(part)
                        self._raise_unless_again(part, error)
                        continue
                    if batch is None:
                        await self._leave(part)
                        continue
                    if _length(batch):
                        self._failures = 0
                    yield batch
        finally:
            for part in list(self._parts):
                await self._leave(part)

    def _is_done(self) -> bool:
        return not self._todo if self._total else self._ended

    def _raise_unless_again(self, part: _Part, error: HotRodError) -> None:
        self._failures += 1
        if self._failures > self._dispatcher.configuration.max_retries:
            raise error
        if self._dispatcher.driver.closed or not _may_go_on(error):
            raise error
        self._tried.append(part.server)
        if isinstance(error, ConnectError):
            self._dispatcher.cluster.server_failed(part.server, clock())

    # ---- who is asked for what

    def _share_out(self) -> None:
        """See to it that somebody is asked for every segment that is not finished."""
        if not self._total:
            if not self._parts:
                self._begin(self._any_server(), self._given)
            return
        free = self._todo.difference(*(part.segments or () for part in self._parts))
        while free and len(self._parts) < _MOST_SERVERS:
            server, segments = self._next_share(free)
            self._begin(server, segments)
            free -= segments

    def _next_share(self, free: set[int]) -> tuple[ServerAddress, set[int]]:
        """A server, and those of its segments that nobody is asked for."""
        owned = self._state.routing.segments
        first = min(free)
        known = len(owned) > max(free)
        owners = [s for s in owned[first] if s not in self._tried] if known else []
        if not owners:
            return self._any_server(), set(free)
        server = owners[0]
        return server, {s for s in free if server in owned[s][:1]} | {first}

    def _any_server(self) -> ServerAddress:
        return self._dispatcher.cluster.choose(self._state, None, self._tried, clock())

    def _begin(self, server: ServerAddress, segments: set[int] | None) -> None:
        self._parts.append(_Part(server, segments, _MOST_REPEATED + len(self._seen)))

    # ---- one server

    async def _next(self, part: _Part) -> Any:
        """Its next batch; None: that was all."""
        if part.may_repeat < 0:
            raise TransportError("the server repeats the same entries for ever")
        if part.ahead is None:
            await self._open(part)
        assert part.ahead is not None
        ahead, part.ahead = part.ahead, None
        answer = await ahead.take()
        self._dispatcher.learn(self._state, answer, part.generation)
        answer.raise_for_status()
        if answer.status == Status.INVALID_ITERATION:
            part.iteration_id = None
            raise TransportError("the server does not know the iteration any more")
        entries = answer.entries
        count = _length(entries)
        if not count:
            self._finish(answer.finished_segments)
            self._finish(part.segments or ())
            self._ended = True
            self._report()
            return None
        self._ask_ahead(part)
        await let_send()
        batch = self._without_seen(entries)
        fresh = _length(batch)
        part.may_repeat -= count - fresh
        self._finish(answer.finished_segments)
        self._entries += fresh
        self._report()
        return batch

    async def _open(self, part: _Part) -> None:
        limit = self._dispatcher.answer_timeout
        part.connection = await self._dispatcher.driver.hold(part.server, clock() + limit)
        fields = self._fields
        if part.segments is not None:
            fields = fields | {"segments": sorted(part.segments)}
        call = self._call(Op.ITERATION_START, fields)
        part.iteration_id = (await self._dispatcher.ask_at(part.connection, call)).iteration_id
        self._ask_ahead(part)

    def _ask_ahead(self, part: _Part) -> None:
        assert part.connection is not None
        part.generation = self._dispatcher.cluster.generation
        call = self._call(Op.ITERATION_NEXT, {"iteration_id": part.iteration_id}, self._into)
        limit = self._dispatcher.answer_timeout
        part.ahead = Ahead(part.connection, call, limit)

    async def _leave(self, part: _Part) -> None:
        """End what is not ended, and forget the part."""
        self._parts.remove(part)
        connection = part.connection
        if connection is None:
            return
        try:
            if part.ahead is not None:
                part.ahead.drop()
            if part.iteration_id is not None and connection.usable:
                # The server may forget it. If it does not hear that, it will in a few minutes.
                call = self._call(Op.ITERATION_END, {"iteration_id": part.iteration_id})
                with suppress(HotRodError):
                    await self._dispatcher.ask_at(connection, call)
        finally:
            self._dispatcher.driver.let_go(connection)

    def _call(self, op: Op, fields: dict[str, Any], into: Into = "pairs") -> Call:
        return Call(op, self._state, self._header, fields, into=into)

    # ---- once and not twice

    def _without_seen(self, entries: Any) -> Any:
        """The entries of a batch that did not come before."""
        if self._into == "batch":
            return entries
        keys = entries[0] if self._into == "lists" else [entry.key for entry in entries]
        segments = None if self._segments_of_keys is None else self._segments_of_keys(keys)
        places = self._seen.add(keys, segments)
        if places is None:
            return entries
        if self._into == "lists":
            return tuple([column[i] for i in places] for column in entries)
        return [entries[i] for i in places]

    def _finish(self, segments: Collection[int]) -> None:
        self._todo.difference_update(segments)
        self._seen.finish(segments)

    def _report(self) -> None:
        if self._progress is not None:
            share = 1 - len(self._todo) / self._total if self._total else float(self._ended)
            self._progress(self._entries, share)


def _length(entries: Any) -> int:
    """How many there are in a batch of any form."""
    return len(entries[0]) if type(entries) is tuple else len(entries)


def _may_go_on(error: HotRodError) -> bool:
    """An iteration reads."""
    return may_retry(error, reads=True, retry_writes=False)
