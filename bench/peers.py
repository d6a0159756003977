"""Processes that bench.client talks to: they end when their input does.

    python -m bench.peers echo REQUEST ANSWER      so many bytes come, so many go
    python -m bench.peers embedded CACHE...        an embedded server with caches of bytes

Both print their port.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hotrod_codec import EmbeddedServer

HOST = "127.0.0.1"


@contextmanager
def peer(*arguments: object) -> Iterator[int]:
    """One of these processes; its port."""
    command = [sys.executable, "-m", "bench.peers", *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def _echo(request: int, answer: int) -> None:
    with socket.create_server((HOST, 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        sock, _ = listening.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = bytes(answer)
    buffer = memoryview(bytearray(request))
    with sock:
        while True:
            got = 0
            while got < request:
                count = sock.recv_into(buffer[got:])
                if not count:
                    return
                got += count
            sock.sendall(data)


def _embedded(*caches: str) -> None:
    with EmbeddedServer(caches=dict.fromkeys(caches, "application/octet-stream")) as server:
        print(server.address.port, flush=True)
        sys.stdin.read()


def main() -> None:
    kind, *arguments = sys.argv[1:]
    if kind == "embedded":
        _embedded(*arguments)
        return
    # Its loop ends with its connection, which may never come.
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    _echo(*map(int, arguments))


if __name__ == "__main__":
    main()
