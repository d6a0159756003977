"""A dispatcher that counts what comes of its requests."""

from __future__ import annotations

from collections.abc import Sequence

from hotrod_codec import Response
from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.client._async.driver import clock
from hotrod_codec.client.cluster import CacheState, Call

__all__ = ["CountingDispatcher"]


class CountingDispatcher(Dispatcher):
    """As a Dispatcher, for clients with `statistics`."""

    async def execute(self, call: Call, timeout: float | None = None) -> Response:
        start = clock()
        answer = await super().execute(call, timeout)
        self.book.note(call.state.name, call.op, call.fields, answer, clock() - start)
        return answer

    async def try_many(
        self, calls: Sequence[Call], timeout: float | None = None
    ) -> list[Response | Exception]:
        start = clock()
        results = await super().try_many(calls, timeout)
        if calls:
            share = (clock() - start) / len(calls)
            for call, result in zip(calls, results, strict=True):
                if isinstance(result, Response):
                    self.book.note(call.state.name, call.op, call.fields, result, share)
        return results

    def _note_retries(self, state: CacheState, count: int) -> None:
        self.book.note_retries(state.name, count)
