"""The embedded server: sockets, an event loop in a thread of its own, nodes that come and go."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import ipaddress
import logging
import ssl
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

from hotrod_codec.errors import TransportError
from hotrod_codec.ops import Op
from hotrod_codec.server.authentication import Authenticator
from hotrod_codec.server.connection import Connection
from hotrod_codec.server.faults import Faults
from hotrod_codec.server.handler import Handler
from hotrod_codec.server.schemas import create_schema_cache
from hotrod_codec.server.store import CacheConfiguration, Cluster
from hotrod_codec.values import Limits, ServerAddress

__all__ = ["EmbeddedServer", "Node"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

DEFAULT_CACHE: Final = "default"

_PATIENCE: Final = 10.0
"""Seconds within which the event loop has to do what it is told."""

_CLOSING: Final = 1.0
"""Seconds that connections have to send what is left."""

_HANDSHAKE: Final = 10.0
"""Seconds that a client has for TLS before it counts as a connection."""

_REAPING: Final = 30.0


class Node:
    """One of the servers of a cluster: a port, and those who are connected to it."""

    def __init__(self, server: EmbeddedServer, number: int, port: int) -> None:
        self.number = number
        self.handler = server._handler
        self.faults = server.faults
        self.counts = server._counts
        self.limits = server._limits
        self.most_bytes = server._most_bytes
        self.connections: set[Connection] = set()
        self.address = ServerAddress(server.host, port)
        self.running = False
        self._most_connections = server._most_connections
        self._context = server._context
        self._listening: asyncio.Server | None = None

    async def bind(self) -> None:
        """Take the port. Nobody can connect before `serve`."""
        loop = asyncio.get_running_loop()
        host, port = self.address
        self._listening = await loop.create_server(
            lambda: Connection(self),
            host,
            port,
            ssl=self._context,
            ssl_handshake_timeout=None if self._context is None else _HANDSHAKE,
            backlog=512,
            start_serving=False,
        )
        self.address = ServerAddress(host, self._listening.sockets[0].getsockname()[1])

    async def serve(self) -> None:
        assert self._listening is not None
        self.running = True
        await self._listening.start_serving()

    async def stop(self, *, gently: bool) -> None:
        self.running = False
        # First, before anything is waited for: a node that has left has no answers.
        for connection in list(self.connections):
            connection.close() if gently else connection.abort()
        if self._listening is not None:
            loop = asyncio.get_running_loop()
            with contextlib.suppress(NotImplementedError):  # Windows has no readers to remove
                for sock in self._listening.sockets:
                    loop.remove_reader(sock.fileno())
            # Who was accepted a moment ago has no transport yet, and would get none from asyncio
            # behind close(): nobody would ever close its socket. Now it gets one.
            await asyncio.sleep(0)
            self._listening.close()
            self._listening = None
        deadline = time.monotonic() + _CLOSING
        while self.connections and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        for connection in list(self.connections):
            connection.abort()
        while self.connections:
            await asyncio.sleep(0)

    def welcome(self, connection: Connection) -> bool:
        """Whether there is room for one more."""
        if not self.running or len(self.connections) >= self._most_connections:
            logger.warning("refused a connection: there are %d", len(self.connections))
            return False
        self.connections.add(connection)
        return True

    def farewell(self, connection: Connection) -> None:
        self.connections.discard(connection)


class EmbeddedServer:
    """An in-memory Hot Rod server in this process, for trying and testing.

        with EmbeddedServer(caches={"users": "text/plain"}) as server:
            client.connect(server.address)

    It speaks every version from 1.0 to 4.1 on real sockets, in a thread of its own. Several nodes
    make a cluster, with topologies as a real one tells them. It is not for production: nothing
    outlives it. Transactions and queries are answered with an error.

    Args:
        nodes: How many servers, each on a port of its own; two or more are a cluster.
        caches: Further caches by name: how they store, or just the media type of keys and values.
            The cache "default", which has no media type, is there unless it is given, and is the
            one that goes without a name.
        default_cache: The cache that goes without a name; it is made like "default".
        users: Passwords by user. Whoever is given has to authenticate.
        tokens: Users by the tokens that they may show instead (OAUTHBEARER).
        mechanisms: SASL mechanisms to offer; by default SCRAM and DIGEST, PLAIN and OAUTHBEARER
            only over TLS, EXTERNAL for clients with a certificate.
        server_name: What the server calls itself in DIGEST.
        tls: What to speak TLS with: a context, or the paths of a certificate and its key (PEM),
            which may be in one file.
        client_ca: Path of the certificates (PEM) that clients' ones are checked with: with it,
            clients have to show one.
        host: Where to listen. The loopback unless said otherwise: other machines reach the server
            at any other address, and without `users` everybody may do everything.
        port: Port of the first node, the next ones follow; 0: free ones.
        advertise: What clients are told as a node's address, where that is another one than the
            node's own: as behind address translation.
        tasks: What clients may run by EXEC: functions by name. Each gets its parameters as bytes by
            name, and gives bytes, as its clients marshal them. They run where all requests are
            handled: nothing may be waited for there.
        max_entries: The most that a cache keeps on a node; the least recently used go first.
        num_segments, num_owners: Of caches that say nothing else.
        max_request: The longest request in bytes; a streamed value may have twice as many.
        max_connections: The most connections of a node; further ones are closed at once.

    Raises:
        ValueError: An argument makes no sense.

    Attributes:
        faults: What shall go wrong: see Faults.
        host: Where it listens.
    """

    def __init__(
        self,
        *,
        nodes: int = 1,
        caches: Mapping[str, CacheConfiguration | str | None] | None = None,
        default_cache: str = DEFAULT_CACHE,
        users: Mapping[str, str] | None = None,
        tokens: Mapping[str, str] | None = None,
        mechanisms: Collection[str] | None = None,
        server_name: str = "infinispan",
        tls: ssl.SSLContext | str | tuple[str, str] | None = None,
        client_ca: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        advertise: Callable[[ServerAddress], tuple[str, int]] | None = None,
        tasks: Mapping[str, Callable[[Mapping[str, bytes]], bytes]] | None = None,
        max_entries: int | None = None,
        num_segments: int = 256,
        num_owners: int = 2,
        max_request: int = 2**27,
        max_connections: int = 2000,
    ) -> None:
        for name, number, most in (
            ("nodes", nodes, 100),
            ("max_entries", max_entries, 2**62),
            ("num_segments", num_segments, 2**16),
            ("num_owners", num_owners, 100),
            ("max_request", max_request, 2**31),
            ("max_connections", max_connections, 10**6),
        ):
            if number is not None and not 1 <= number <= most:
                raise ValueError(f"{name}: {number} is not within 1 and {most}")
        if not 0 <= port <= 65_536 - nodes:
            raise ValueError(f"port: {port} is no port")
        self.host = host
        self.faults = Faults()
        self._advertise = advertise
        self._context = _context_of(tls, client_ca)
        self._users = dict(users or {})
        self._ahead = 0
        self._cluster = Cluster(
            self._now,
            num_segments=num_segments,
            num_owners=num_owners,
            max_entries=max_entries,
            default_cache=default_cache,
        )
        guarded = bool(self._users or tokens) or mechanisms is not None
        self._handler = Handler(
            self._cluster,
            self._told_address,
            self.faults,
            Authenticator(self._users, dict(tokens or {}), mechanisms, server_name)
            if guarded
            else None,
        )
        self._handler.most_bytes = max_request
        self._handler.tasks = dict(tasks or {})
        self._counts = [0] * 256
        self._limits = Limits(bytes=max_request)
        self._most_bytes = max_request + 2**16
        self._most_connections = max_connections
        self._nodes = [Node(self, i, port + i if port else 0) for i in range(nodes)]
        self._size = nodes
        self._configurations = {default_cache: CacheConfiguration()} | {
            name: _configuration(given) for name, given in (caches or {}).items()
        }
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ending: asyncio.Event | None = None

    # ---- running

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen on all nodes.

        Raises:
            OSError: A port is taken, or the host is none of this machine's.
        """
        if self._thread is not None:
            raise RuntimeError("the server runs already")
        if not self.is_local:
            logger.warning("%s is no loopback address: other machines can connect", self.host)
        ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=self._run, args=(ready,), name="hotrod-server", daemon=True
        )
        self._thread.start()
        try:
            ready.result(_PATIENCE)
        except BaseException:  # its own failure, or an impatient user
            self.stop()
            raise

    def stop(self) -> None:
        """Close everything. Takes about a second at the most, and does nothing the second time."""
        thread, loop = self._thread, self._loop
        if thread is None:
            return
        self._thread = None
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                loop.call_soon_threadsafe(self._end)
        thread.join(_PATIENCE)
        if thread.is_alive():
            raise TransportError("the server's thread does not end")

    def reset(self) -> None:
        """Begin anew at the same addresses, as between two tests.

        The caches are as they were given, and empty; other caches, templates and counters are
        gone, as are faults and what `requests` counted and `advance` added. Nodes that left are
        there again, new ones are not. Connections stay, unless nodes came or went, and listeners
        are told of the entries that go. A server that was stopped starts.
        """
        self.faults.clear()
        if self._thread is None:
            del self._nodes[self._size :]
            self.start()
        else:
            self._wait(self._reset())

    async def _reset(self) -> None:
        if self._cluster.changed:
            await asyncio.gather(*(node.stop(gently=True) for node in self._nodes))
            del self._nodes[self._size :]
            await self._listen()
            return
        before = dict(self._cluster.caches)
        for cache in before.values():
            cache.clear()
        self._begin()
        for cache in self._cluster.caches.values():
            if cache.name in before:
                cache.watchers = before[cache.name].watchers

    def _end(self) -> None:
        if self._ending is not None:
            self._ending.set()

    def _run(self, ready: concurrent.futures.Future[None]) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            try:
                runner.run(self._serve(ready))
            except BaseException as error:
                if ready.done():
                    raise
                ready.set_exception(error)
            finally:
                self._loop = None

    async def _serve(self, ready: concurrent.futures.Future[None]) -> None:
        ending = self._ending = asyncio.Event()
        try:
            await self._listen()
            reaping = asyncio.ensure_future(self._reap())
            ready.set_result(None)
            await ending.wait()
            reaping.cancel()
        finally:
            await asyncio.gather(*(node.stop(gently=True) for node in self._nodes))

    async def _listen(self) -> None:
        """Begin anew, and let nobody in before."""
        for node in self._nodes:
            await node.bind()
        self._begin()
        for node in self._nodes:
            await node.serve()

    def _begin(self) -> None:
        """Nothing has happened yet."""
        self._ahead = 0
        self._counts[:] = [0] * len(self._counts)
        self._handler.counters.clear()
        cluster = self._cluster
        cluster.begin(len(self._nodes))
        for name, configuration in self._configurations.items():
            cluster.create(name, configuration)
        create_schema_cache(cluster)

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(_REAPING)
            self._cluster.reap()

    def _do(self, action: Callable[[], T]) -> T:
        """Do something in the event loop and wait for it."""

        async def act() -> T:
            return action()

        return self._wait(act())

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        loop = self._loop
        if loop is None or self._thread is None:
            coroutine.close()
            raise RuntimeError("the server does not run")
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(_PATIENCE)

    # ---- nodes

    @property
    def address(self) -> ServerAddress:
        """Where the first node that runs listens."""
        return self.addresses[0]

    @property
    def addresses(self) -> list[ServerAddress]:
        """Where the nodes listen that run."""
        found = [node.address for node in self._nodes if node.running]
        if not found:
            raise RuntimeError("no node runs")
        return found

    @property
    def uri(self) -> str:
        """What a client is given: the addresses, and the first user with password."""
        scheme = "hotrod" if self._context is None else "hotrods"
        user = next(iter(self._users), None)
        login = "" if user is None else f"{_quoted(user)}:{_quoted(self._users[user])}@"
        hosts = (f"[{host}]" if ":" in host else host for host, _ in self.addresses)
        servers = ",".join(
            f"{host}:{port}" for host, (_, port) in zip(hosts, self.addresses, strict=True)
        )
        return f"{scheme}://{login}{servers}"

    @property
    def is_local(self) -> bool:
        """Whether it listens on the loopback only."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def _told_address(self, node: int) -> ServerAddress:
        address = self._nodes[node].address
        return address if self._advertise is None else ServerAddress(*self._advertise(address))

    def address_of(self, node: int) -> ServerAddress:
        """Where a node listens, or did until it was stopped."""
        return self._nodes[node].address

    def stop_node(self, node: int) -> None:
        """Let a node leave: it hands its entries over, and its connections are closed."""
        self._wait(self._leave(node, gently=True))

    def kill_node(self, node: int) -> None:
        """Let a node die: its entries are gone, and its connections are reset."""
        self._wait(self._leave(node, gently=False))

    def start_node(self, node: int | None = None) -> int:
        """Let a node join: one that was stopped, on its old port, or a new one.

        Returns:
            Its number.
        """
        return self._wait(self._join(node))

    async def _leave(self, number: int, *, gently: bool) -> None:
        node = self._nodes[number]
        if not node.running:
            raise ValueError(f"node {number} does not run")
        node.running = False
        self._cluster.leave(number, hand_over=gently)
        self._handler.counters.leave(number)
        await node.stop(gently=gently)

    async def _join(self, number: int | None) -> int:
        if number is None:
            number = len(self._nodes)
            self._nodes.append(Node(self, number, 0))
        node = self._nodes[number]
        if node.running:
            raise ValueError(f"node {number} runs already")
        await node.bind()
        self._cluster.join(number)
        self._handler.counters.join(number)
        await node.serve()
        return number

    # ---- time

    def _now(self) -> int:
        return time.time_ns() // 1_000_000 + self._ahead

    def advance(self, seconds: float) -> None:
        """Let time pass for the entries: those that this makes too old expire."""
        if not 0 <= seconds < 1e9:
            raise ValueError(f"seconds: {seconds} is not within 0 and 1e9")
        self._ahead += round(seconds * 1000)

    # ---- looking inside

    @property
    def requests(self) -> dict[Op, int]:
        """How many requests of each operation there were."""
        return {op: self._counts[op] for op in Op if op < 256 and self._counts[op]}

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return sum(len(node.connections) for node in self._nodes)

    def keys_of(self, node: int, cache: str = "") -> set[bytes]:
        """The keys, as they are stored, of the entries that a node holds."""
        return self._do(lambda: self._handler.cache(cache).keys_of(node))


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _configuration(given: CacheConfiguration | str | None) -> CacheConfiguration:
    return given if isinstance(given, CacheConfiguration) else CacheConfiguration(given)


def _context_of(
    tls: ssl.SSLContext | str | tuple[str, str] | None, client_ca: str | None
) -> ssl.SSLContext | None:
    if tls is None:
        if client_ca is not None:
            raise ValueError("client_ca: clients show certificates only with tls")
        return None
    if isinstance(tls, ssl.SSLContext):
        context = tls
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*((tls,) if isinstance(tls, str) else tls))
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
