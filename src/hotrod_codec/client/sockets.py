"""Options of sockets, for both drivers."""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Final

from hotrod_codec.client.config import Configuration

__all__ = ["set_options"]

# Where there are such options: the first probe after a minute, dead after another one.
_PROBES: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


def set_options(sock: Any, configuration: Configuration) -> None:
    """Set what `configuration` says on a TCP socket, a real one or asyncio's view of it."""
    no_delay = int(configuration.tcp_no_delay)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, no_delay)
    if not configuration.tcp_keep_alive:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES:
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
