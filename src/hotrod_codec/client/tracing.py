"""Sessions whose requests tell in which trace they were made: W3C's `traceparent`, `tracestate`.

The context is asked for where a request is made, so that it is that of the thread or task. It
stands among the other parameters of headers, which there are since version 4.0.
"""

from __future__ import annotations

import logging
from typing import Any

from hotrod_codec.client.config import Configuration, TraceContext
from hotrod_codec.client.session import Header, Session, View
from hotrod_codec.ops import Intelligence, Version
from hotrod_codec.values import ServerAddress

__all__ = ["session_of"]

logger = logging.getLogger(__name__)


def session_of(
    c: Configuration,
    server: ServerAddress,
    version: Version,
    intelligence: Intelligence,
    **more: Any,
) -> Session:
    """The session of a connection that is past its handshake; `more` as for Session."""
    settings: dict[str, Any] = more | {
        "intelligence": intelligence,
        "limits": c.limits,
        "legacy_server": c.legacy_server,
    }
    if c.trace_context is None or version < Version.V4_0:
        return Session(server, version, **settings)
    return _TracedSession(c.trace_context, server, version, **settings)


class _TracedSession(Session):
    """Puts the context of each request into its header."""

    def __init__(self, context: TraceContext, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._context = context
        self._latest: dict[Header, tuple[dict[str, bytes], View]] = {}
        self._warned = False
        self.fresh_views = True

    def _new_view(self, header: Header) -> View:
        params = self._params()
        known = self._latest.get(header)
        if known is not None and known[0] == params:
            return known[1]
        view = self._view_of(header, params)
        self._latest[header] = params, view
        return view

    def _params(self) -> dict[str, bytes]:
        """The current context; none if that fails: requests matter more."""
        try:
            found = self._context() or {}
            return {name: value.encode() for name, value in found.items()}
        except Exception:
            if not self._warned:
                logger.exception("there is no trace context")
            self._warned = True
            return {}
