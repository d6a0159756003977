"""Iterations: all entries of a cache, each exactly once, though servers come and go meanwhile.

One server after the other is asked for the segments that it owns. When one fails, the segments
that it had not finished are asked for elsewhere, and the keys that it had told of them already are
skipped: so many keys are remembered, no more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing, suppress
from typing import Any

from hotrod_codec import Response
from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.client._async.driver import Connection, clock
from hotrod_codec.client.cluster import CacheState, Call, may_retry
from hotrod_codec.client.session import ConnectError, Header, Into
from hotrod_codec.errors import HotRodError, TransportError
from hotrod_codec.ops import Op, Status
from hotrod_codec.values import ServerAddress

__all__ = ["KEYS_ONLY", "Iteration"]

KEYS_ONLY = "org.infinispan.server.hotrod.HotRodServer$ToEmptyBytesKeyValueFilterConverter"
"""A filter of the servers' own: entries come with empty values."""

_MOST_REPEATED = 10_000
"""Entries that one server may tell twice. It repeats those that another one told of before; for
the others there is no reason but that the cluster changes meanwhile."""


class Iteration:
    """One pass over a cache.

    Args:
        fields: Of ITERATION_START, but for segments.
        segments: Only these; None: all.
        segment_of_key: The segment of a key as it comes from the server; None: not known here.
        progress: Called after each batch with the number of entries so far and the share of the
            segments that are finished, 0 to 1.
        into: What each batch becomes.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        state: CacheState,
        header: Header,
        fields: dict[str, Any],
        *,
        segments: Collection[int] | None,
        segment_of_key: Callable[[bytes], int] | None,
        progress: Callable[[int, float], None] | None,
        into: Into = "pairs",
    ) -> None:
        self._dispatcher = dispatcher
        self._state = state
        self._header = header
        self._fields = fields
        self._into: Into = into
        self._segment_of_key = segment_of_key
        self._progress = progress
        self._given = None if segments is None else set(segments)
        count = len(state.routing.segments)
        self._todo = set(range(count)) if self._given is None else set(self._given)
        self._total = len(self._todo)
        self._ended = False
        self._entries = 0
        self._seen: dict[int, set[bytes]] = {}
        self._tried: list[ServerAddress] = []
        self._failures = 0
        self._may_repeat = 0

    async def batches(self) -> AsyncGenerator[Any, None]:
        """What the servers send, batch by batch, without what they sent before."""
        while not self._is_done():
            server, segments = self._next_part()
            try:
                async with aclosing(self._ask(server, segments)) as parts:
                    async for batch in parts:
                        if len(batch):
                            self._failures = 0
                        yield batch
            except HotRodError as error:
                self._failures += 1
                if self._failures > self._dispatcher.configuration.max_retries:
                    raise
                if self._dispatcher.driver.closed or not _may_go_on(error):
                    raise
                self._tried.append(server)
                if isinstance(error, ConnectError):
                    self._dispatcher.cluster.server_failed(server, clock())

    def _is_done(self) -> bool:
        return not self._todo if self._total else self._ended

    def _next_part(self) -> tuple[ServerAddress, set[int] | None]:
        """A server, and the segments to ask it for; None: all that there are."""
        cluster, state = self._dispatcher.cluster, self._state
        if not self._total:
            return cluster.choose(state, None, self._tried, clock()), self._given
        owned = state.routing.segments
        first = min(self._todo)
        known = len(owned) > max(self._todo)
        owners = [s for s in owned[first] if s not in self._tried] if known else []
        if not owners:
            return cluster.choose(state, None, self._tried, clock()), set(self._todo)
        server = owners[0]
        return server, {s for s in self._todo if server in owned[s][:1]} | {first}

    async def _ask(
        self, server: ServerAddress, segments: set[int] | None
    ) -> AsyncGenerator[Any, None]:
        driver = self._dispatcher.driver
        limit = self._dispatcher.configuration.request_timeout
        connection = await driver.hold(server, clock() + limit)
        self._may_repeat = _MOST_REPEATED + sum(map(len, self._seen.values()))
        iteration_id = None
        try:
            fields = self._fields
            if segments is not None:
                fields = fields | {"segments": sorted(segments)}
            iteration_id = (await self._call(connection, Op.ITERATION_START, fields)).iteration_id
            while True:
                answer = await self._call(
                    connection, Op.ITERATION_NEXT, {"iteration_id": iteration_id}
                )
                if answer.status == Status.INVALID_ITERATION:
                    iteration_id = None
                    raise TransportError("the server does not know the iteration any more")
                batch = self._without_seen(answer.entries)
                self._may_repeat -= len(answer.entries) - len(batch)
                if self._may_repeat < 0:
                    raise TransportError("the server repeats the same entries for ever")
                finished = answer.finished_segments
                self._finish(finished)
                if not len(answer.entries):
                    self._finish(segments or ())
                    self._ended = True
                    self._report()
                    return
                self._entries += len(batch)
                self._report()
                yield batch
        finally:
            if iteration_id is not None and connection.usable:
                await self._end(connection, iteration_id)
            driver.let_go(connection)

    async def _call(self, connection: Connection, op: Op, fields: dict[str, Any]) -> Response:
        into: Into = self._into if op is Op.ITERATION_NEXT else "pairs"
        call = Call(op, self._state, self._header, fields, into=into)
        return await self._dispatcher.ask(connection, call)

    async def _end(self, connection: Connection, iteration_id: str) -> None:
        """The server may forget it. If it does not hear that, it will in a few minutes."""
        with suppress(HotRodError):
            await self._call(connection, Op.ITERATION_END, {"iteration_id": iteration_id})

    # ---- once and not twice

    def _without_seen(self, entries: Any) -> Any:
        """The entries of a batch that did not come before; all of them are remembered."""
        if self._into != "pairs":
            return entries
        seen, segment_of_key = self._seen, self._segment_of_key
        fresh = []
        for entry in entries:
            segment = -1 if segment_of_key is None else segment_of_key(entry.key)
            keys = seen.get(segment)
            if keys is None:
                keys = seen[segment] = set()
            if entry.key not in keys:
                keys.add(entry.key)
                fresh.append(entry)
        return fresh

    def _finish(self, segments: Sequence[int] | set[int]) -> None:
        for segment in segments:
            self._todo.discard(segment)
            self._seen.pop(segment, None)

    def _report(self) -> None:
        if self._progress is not None:
            share = 1 - len(self._todo) / self._total if self._total else float(self._ended)
            self._progress(self._entries, share)


def _may_go_on(error: HotRodError) -> bool:
    """An iteration reads."""
    return may_retry(error, reads=True, retry_writes=False)
