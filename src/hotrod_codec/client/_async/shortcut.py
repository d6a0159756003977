"""Requests of asyncio's client without coroutines of their own, as most of them go."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias

from hotrod_codec import Response
from hotrod_codec._ext.exchange import Answer, Current, Way
from hotrod_codec.client.cluster import CacheState, Cluster
from hotrod_codec.client.session import Fields, Header
from hotrod_codec.errors import HotRodError
from hotrod_codec.ops import Op
from hotrod_codec.values import ServerAddress

if TYPE_CHECKING:
    from hotrod_codec.client._async.dispatch import Dispatcher

__all__ = ["Ask", "Shortcut"]

Ask: TypeAlias = Callable[[Op, CacheState, Header, Fields, bytes | None], Awaitable[Response]]
"""As Dispatcher.request."""


class Shortcut(Way):
    """Writes a request at once, where there is nothing to wait for before.

    Only a plain answer goes straight to who awaits it. All else comes to `look`, and from there to
    the dispatcher if there is to be another attempt.
    """

    def __init__(
        self,
        current: Current,
        cluster: Cluster,
        dispatcher: Dispatcher,
        request_timeout: float,
        operation_timeout: float,
    ) -> None:
        limit = min(request_timeout, operation_timeout)
        super().__init__(current, cluster, limit, dispatcher.request)
        self._dispatcher = dispatcher
        self._left = operation_timeout - limit
        self._again: set[asyncio.Task[Response]] = set()

    def look(self, answer: Answer, outcome: Response | HotRodError) -> None:
        """What came for an answer, which is not what was asked for and nothing else."""
        op, state, server = answer.op, answer.state, answer.server
        tried: list[ServerAddress] = []
        deadline = answer.deadline + self._left
        try:
            try:
                if isinstance(outcome, Exception):
                    raise outcome
                self._dispatcher.learn(state, outcome, answer.generation)
                outcome.raise_for_status()
            except HotRodError as error:
                self._dispatcher.failed(op, state, error, server, tried, deadline)
                left = deadline - time.monotonic()
                again = self._dispatcher.request(
                    op, state, answer.header, answer.fields, answer.key, timeout=left, tried=tried
                )
                self._go_on(again, answer)
            else:
                answer.set_result(outcome)
        except Exception as error:  # any: what users have given is called, too
            answer.set_exception(error)

    def _go_on(self, again: Coroutine[Any, Any, Response], answer: Answer) -> None:
        """Let the answer have what comes of another attempt."""

        def end(task: asyncio.Task[Response]) -> None:
            self._again.discard(task)
            answer.again = None
            try:
                response = task.result()
            except asyncio.CancelledError as cancelled:
                answer.cancel(*cancelled.args)
            except BaseException as error:
                answer.set_exception(error)
            else:
                answer.set_result(response)

        # In a context as that of who awaits: where this runs, it is the connection's.
        context = (answer.context or contextvars.copy_context()).copy()
        task = answer.again = context.run(answer.get_loop().create_task, again)
        self._again.add(task)
        task.add_done_callback(end)
