"""Requests of the client for threads without all that is seldom needed, as most of them go."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from hotrod_codec import Response
from hotrod_codec._ext.exchange import Direct
from hotrod_codec.client.cluster import CacheState
from hotrod_codec.client.session import Fields, Header
from hotrod_codec.errors import RequestTimeoutError, ServerError, TransportError
from hotrod_codec.ops import Op
from hotrod_codec.values import ServerAddress

if TYPE_CHECKING:
    from hotrod_codec.client._sync.dispatch import Dispatcher
    from hotrod_codec.client._sync.driver import Driver

__all__ = ["Ask", "Shortcut"]

Ask: TypeAlias = Callable[[Op, CacheState, Header, Fields, bytes | None], Response]
"""As Dispatcher.request."""


class Shortcut(Direct):
    """Asks at once, where there is a connection that nobody has to look at before.

    Only a plain answer goes straight to who asked. All else comes to `look`, and from there to the
    dispatcher if there is to be another attempt.
    """

    def __init__(
        self,
        driver: Driver,
        pools: dict[ServerAddress, Any],
        fresh: float,
        dispatcher: Dispatcher,
    ) -> None:
        c = dispatcher.configuration
        limit = min(c.request_timeout, c.operation_timeout)
        super().__init__(dispatcher.cluster, pools, limit, fresh, dispatcher.request)
        self.put_back = driver.put_back
        self.release = driver.release
        self._dispatcher = dispatcher
        self._left = c.operation_timeout - limit

    def look(
        self,
        op: Op,
        state: CacheState,
        header: Header,
        fields: Fields,
        key: bytes | None,
        server: ServerAddress,
        generation: int,
        deadline: float,
        outcome: Response | Exception,
    ) -> Response:
        """The answer, where what came is not what was asked for and nothing else."""
        tried: list[ServerAddress] = []
        deadline += self._left
        try:
            if isinstance(outcome, Exception):
                raise outcome
            self._dispatcher.learn(state, outcome, generation)
            outcome.raise_for_status()
        except (TransportError, RequestTimeoutError, ServerError) as error:
            self._dispatcher.failed(op, state, error, server, tried, deadline)
        else:
            return outcome
        left = deadline - time.monotonic()
        return self._dispatcher.request(op, state, header, fields, key, timeout=left, tried=tried)
