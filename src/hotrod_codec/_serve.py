"""`hotrod serve`: an embedded server until Ctrl-C, and what it is asked."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from hotrod_codec import EmbeddedServer, Op
from hotrod_codec._terminal import Output
from hotrod_codec.server.certificates import make_certificate

__all__ = ["SELF_SIGNED", "run"]

SELF_SIGNED: Final = "self-signed"
"""What stands for a certificate that is made for the occasion."""

_HEADERS: Final = ("operation", "requests/s", "in all")
_ROWS: Final = 15


def run(out: Output, arguments: Mapping[str, Any], *, tls: str | None, every: float) -> None:
    """Serve until interrupted.

    Args:
        arguments: Of EmbeddedServer.
        tls: Path of a certificate with its key, SELF_SIGNED, or None.
        every: Seconds from one look at the requests to the next.

    Raises:
        OSError: A port is taken, or there is no such certificate.
        ValueError: An argument makes no sense.
    """
    with tempfile.TemporaryDirectory(prefix="hotrod-") as folder:
        certificate = tls
        if tls == SELF_SIGNED:
            certificate = str(make_certificate(Path(folder), arguments["host"]))
        total = 0
        with (
            _ended_politely(),
            suppress(KeyboardInterrupt),
            EmbeddedServer(**arguments, tls=certificate) as server,
        ):
            try:
                _introduce(out, server, certificate, guarded=bool(arguments.get("users")))
                with out.live(_HEADERS) as show:
                    _watch(server, show, every)
            finally:
                total = sum(server.requests.values())
    out.line(f"stopped after {total} requests")


@contextmanager
def _ended_politely() -> Iterator[None]:
    """To be told to end is the same as Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _introduce(
    out: Output, server: EmbeddedServer, certificate: str | None, *, guarded: bool
) -> None:
    scheme = "hotrod" if certificate is None else "hotrods"
    for address in server.addresses:
        host = f"[{address.host}]" if ":" in address.host else address.host
        out.line(f"listening on {scheme}://{host}:{address.port}")
    if certificate is not None:
        out.line(f"certificate, for clients to trust: {certificate}")
    if not server.is_local:
        access = "who knows a password" if guarded else "everybody, without any password,"
        out.line(f"{server.host} is no loopback address: {access} can come from other machines")
    out.line("Ctrl-C ends it")
    sys.stdout.flush()


def _watch(
    server: EmbeddedServer,
    show: Callable[[list[tuple[str, str, str]]], None],
    every: float,
) -> None:
    before: dict[Op, int] = {}
    looked = time.monotonic()
    while True:
        time.sleep(every)
        now, requests = time.monotonic(), server.requests
        rates = {op: (n - before.get(op, 0)) / (now - looked) for op, n in requests.items()}
        busiest = sorted(requests, key=lambda op: (rates[op], requests[op]), reverse=True)[:_ROWS]
        show([(op.name.lower(), f"{rates[op]:,.0f}", f"{requests[op]:,}") for op in busiest])
        before, looked = requests, now
