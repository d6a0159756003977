"""Sockets: their options, for both drivers; connecting in time, where asyncio does not do it."""

from __future__ import annotations

import contextlib
import ipaddress
import queue
import socket
import threading
import time
from typing import Any, Final

from hotrod_codec.client.config import Configuration
from hotrod_codec.values import ServerAddress

__all__ = ["connect", "is_name", "left_until", "set_options"]

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


def is_name(host: str) -> bool:
    """Whether it has to be looked up, and may have several addresses."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def connect(server: ServerAddress, deadline: float) -> socket.socket:
    """A connection to a server, by the first of its addresses that takes one.

    Args:
        deadline: On the clock of time.monotonic, for all of that: looking up the name and trying
            each address, to which it is shared out.

    Raises:
        TimeoutError: It is over.
        OSError, ValueError: There is no such name, or no address takes a connection.
    """
    addresses = _look_up(server, deadline)
    for more, (family, kind, protocol, _, address) in zip(
        reversed(range(len(addresses))), addresses, strict=True
    ):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(left_until(deadline) / (more + 1))
            sock.connect(address)
            sock.settimeout(left_until(deadline))
            return sock
        except OSError:
            sock.close()
            if not more:
                raise
        except BaseException:
            sock.close()
            raise
    raise OSError("its name has no address")


def _look_up(server: ServerAddress, deadline: float) -> list[Any]:
    host, port = server
    if not is_name(host):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # The system may take as long as it likes, and cannot be interrupted.
    found: queue.SimpleQueue[list[Any] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except Exception as error:
            found.put(error)

    threading.Thread(target=ask, name=f"address of {host[:50]}", daemon=True).start()
    try:
        answer = found.get(timeout=left_until(deadline))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def left_until(deadline: float) -> float:
    """How many seconds are left. Raises TimeoutError when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
