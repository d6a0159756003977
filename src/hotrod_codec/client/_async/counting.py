"""A dispatcher that counts what comes of its requests."""

from __future__ import annotations

from typing import Any

from hotrod_codec import Response
from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.client._async.driver import Ask, clock
from hotrod_codec.client.cluster import CacheState, Calls
from hotrod_codec.client.session import Fields, Header, Into
from hotrod_codec.ops import Op
from hotrod_codec.values import ServerAddress

__all__ = ["CountingDispatcher"]


class CountingDispatcher(Dispatcher):
    """As a Dispatcher, for clients with `statistics`."""

    @property
    def ask(self) -> Ask:
        return self.request

    async def request(
        self,
        op: Op,
        state: CacheState,
        header: Header,
        fields: Fields,
        key: bytes | None,
        into: Into = "pairs",
        timeout: float | None = None,
        *,
        reads: bool | None = None,
        tried: list[ServerAddress] | None = None,
    ) -> Response:
        start = clock()
        answer = await super().request(
            op, state, header, fields, key, into, timeout, reads=reads, tried=tried
        )
        self.book.note(state.name, op, fields, answer, clock() - start)
        return answer

    async def try_many(self, calls: Calls, timeout: float | None = None) -> tuple[list[Any], bool]:
        start = clock()
        results, plain = await super().try_many(calls, timeout)
        if results:
            share = (clock() - start) / len(results)
            for item, result in zip(calls.items, results, strict=True):
                if not isinstance(result, Exception):
                    self.book.note(calls.state.name, calls.op, item, result, share)
        return results, plain

    def _note_retries(self, state: CacheState, count: int) -> None:
        self.book.note_retries(state.name, count)
