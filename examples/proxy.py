"""A tool of one's own on the codec alone: a proxy that tells who asks what, and how long it takes.

    python examples/proxy.py [hotrod://...]              # tries itself
    python examples/proxy.py hotrod://... --listen 11333 # until Ctrl-C

Bytes go through as they come. Beside that, one `Reader` takes the requests out of one direction and
another one the answers out of the other; it has to be told of each request, as an answer can only
be read in the light of its request. When a stream cannot be read (TLS, or no Hot Rod at all) the
bytes still go through. Keys and values are counted, never shown.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from _cluster import arguments, cluster

from hotrod_codec import Client, DecodeError, Event, Reader

Log = Callable[[str], None]


class Watcher:
    """What is known of one connection."""

    def __init__(self, name: str, log: Log) -> None:
        self.name = name
        self.log = log
        self.requests = Reader("server")
        self.answers = Reader("client")
        self.sent: dict[int, tuple[float, int]] = {}
        self.lock = threading.Lock()
        self.readable = True

    def saw(self, data: bytes, *, to_server: bool) -> None:
        with self.lock:
            if self.readable:
                try:
                    self.look_at_requests(data) if to_server else self.look_at_answers(data)
                except DecodeError as error:
                    self.readable = False
                    self.log(f"{self.name}: cannot be read any more: {error}")

    def look_at_requests(self, data: bytes) -> None:
        self.requests.feed(data)
        for request in self.requests:
            self.answers.expect(request)
            self.sent[request.message_id] = time.perf_counter(), request.size

    def look_at_answers(self, data: bytes) -> None:
        self.answers.feed(data)
        for answer in self.answers:
            if answer.op is None:  # the server could not tell what it was asked
                self.log(f"{self.name}: {answer.status.name}: {answer.error}")
                continue
            if isinstance(answer, Event):
                self.log(f"{self.name}: {answer.op.name}, {answer.size} bytes")
                continue
            began, size = self.sent.pop(answer.message_id)
            took = (time.perf_counter() - began) * 1e6
            told = f"{answer.op.name} {answer.status.name}, {size} bytes, {answer.size} bytes back"
            self.log(f"{self.name}: {told}, {took:.0f} us")


def pump(source: socket.socket, target: socket.socket, saw: Callable[[bytes], None]) -> None:
    """Bytes from one to the other until there are no more."""
    with suppress(OSError):
        while data := source.recv(65536):
            saw(data)  # before the peer can answer
            target.sendall(data)
    for sock in (source, target):
        with suppress(OSError):  # the other direction was faster
            sock.shutdown(socket.SHUT_RDWR)


def serve(listening: socket.socket, server: tuple[str, int], log: Log) -> None:
    while True:
        try:
            client, (host, port) = listening.accept()
        except OSError:  # closed
            return
        threading.Thread(
            target=connect, args=(client, server, f"{host}:{port}", log), daemon=True
        ).start()


def connect(client: socket.socket, server: tuple[str, int], name: str, log: Log) -> None:
    with client, socket.create_connection(server) as upstream:
        watcher = Watcher(name, log)
        back = threading.Thread(
            target=pump, args=(upstream, client, lambda data: watcher.saw(data, to_server=False))
        )
        back.start()
        pump(client, upstream, lambda data: watcher.saw(data, to_server=True))
        back.join()


def main() -> None:
    options = arguments()
    port = int(options[1]) if options[:1] == ["--listen"] else 0
    with cluster() as uri, socket.create_server(("127.0.0.1", port)) as listening:
        login, _, servers = urlsplit(uri).netloc.rpartition("@")
        host, _, number = servers.partition(",")[0].rpartition(":")
        lines: list[str] = []
        log = print if port else lines.append
        threading.Thread(
            target=serve, args=(listening, (host.strip("[]"), int(number)), log), daemon=True
        ).start()
        through = f"hotrod://{login}{'@' * bool(login)}127.0.0.1:{listening.getsockname()[1]}"
        if port:
            print(f"listening at 127.0.0.1:{port} for {host}:{number}")
            threading.Event().wait()
        # A client that goes to the proxy only: it is not told of the servers behind it.
        with Client(through, client_intelligence="basic") as client:
            client.cache().put("proxied", "v", lifespan=60)
            client.cache().get("proxied")
            client.cache().remove("proxied")
        print(*lines, sep="\n")
        assert [line.split()[1] for line in lines][-3:] == ["PUT", "GET", "REMOVE"]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
