"""`hotrod demo`: an embedded cluster, both clients, and what they do when a node dies.

Everything is checked as it goes: each value that comes back is compared with what was stored, and
the keys of each node with what the hash says. One wrong entry and the demo fails.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from typing import Final

from hotrod_codec import (
    Intelligence,
    Response,
    ServerAddress,
    decode_request,
    decode_response,
    encode_request,
    segments_of,
)
from hotrod_codec._terminal import Advance, Output
from hotrod_codec.client import AsyncClient, Client
from hotrod_codec.explain import Explainer
from hotrod_codec.server import EmbeddedServer

__all__ = ["DemoError", "run"]

_CACHE: Final = "people"
_BATCH: Final = 1_000
_IN_FLIGHT: Final = 64
_VALUE: Final = "x" * 90

_Rows = list[tuple[str, ...]]


class DemoError(Exception):
    """Something came back that was not stored so. Should never be seen."""


def run(out: Output, entries: int) -> int:
    """Show all of it with so many entries. Returns the exit status.

    Raises:
        DemoError: A value or a place was wrong.
    """
    started = time.perf_counter()
    people = {f"person-{n:09}": f"{n:09} {_VALUE}" for n in range(entries)}
    rows: _Rows = []
    with EmbeddedServer(nodes=3, caches={_CACHE: "text/plain"}) as server:
        nodes = ", ".join(f"{host}:{port}" for host, port in server.addresses)
        out.heading("an embedded cluster of three")
        out.line(f"nodes {nodes}; {server.uri}")
        with Client(server.uri) as client, out.progress(5 * entries) as advance:
            _store(client, people, rows, advance)
            _read(client, people, rows, advance, "sync: get_many")
            asyncio.run(_read_one_by_one(server.uri, people, rows, advance))
            routes = _routes(server, people)
            victim = server.addresses[1]
            server.kill_node(1)
            _read(client, people, rows, advance, "sync: get_many, a node is dead")
            kept = _iterate(client, people, rows, advance)
        out.heading("which node has what: the hash decides, both sides agree")
        out.table(("node", "its keys", "with copies"), routes)
        out.heading("one request and its answer on the wire")
        _explain(out, server.address)
        out.heading(f"node {victim.host}:{victim.port} was killed on the way")
        out.line(f"{kept:,} of {entries:,} entries are there, each value as it was stored")
        out.table(("what", "operations", "seconds", "operations/s"), rows)
    out.line(f"done in {time.perf_counter() - started:.1f} s")
    return 0


def _row(what: str, count: int, seconds: float) -> tuple[str, ...]:
    return what, f"{count:,}", f"{seconds:.2f}", f"{count / seconds:,.0f}"


def _check(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise DemoError(f"{what}: not what was stored")


def _store(client: Client, people: dict[str, str], rows: _Rows, advance: Advance) -> None:
    cache = client.cache(_CACHE)
    entries = list(people.items())
    start = time.perf_counter()
    for n in range(0, len(entries), _BATCH):
        batch = entries[n : n + _BATCH]
        cache.put_many(batch)
        advance("store", len(batch))
    rows.append(_row("sync: put_many", len(entries), time.perf_counter() - start))


def _read(client: Client, people: dict[str, str], rows: _Rows, advance: Advance, what: str) -> None:
    cache = client.cache(_CACHE)
    keys = list(people)
    start = time.perf_counter()
    for n in range(0, len(keys), _BATCH):
        batch = keys[n : n + _BATCH]
        _check(cache.get_many(batch), [people[key] for key in batch], what)
        advance(what, len(batch))
    rows.append(_row(what, len(keys), time.perf_counter() - start))


async def _read_one_by_one(uri: str, people: dict[str, str], rows: _Rows, advance: Advance) -> None:
    """As many services use it: one get for each key, some of them side by side."""
    async with AsyncClient(uri) as client:
        cache = client.cache(_CACHE)
        keys = list(people)
        waiting = iter(keys[:: max(1, len(keys) // 20_000)])
        done = 0

        async def work() -> None:
            nonlocal done
            for key in waiting:
                _check(await cache.get(key), people[key], "get")
                done += 1

        start = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(_IN_FLIGHT)))
        seconds = time.perf_counter() - start
        rows.append(_row(f"asyncio: get, {_IN_FLIGHT} in flight", done, seconds))
        advance("asyncio", len(keys))


def _ask(address: tuple[str, int], request: bytes) -> tuple[bytes, Response]:
    """Send a request over a plain socket; its answer, as bytes and read."""
    asked = decode_request(request)
    assert asked is not None
    data = b""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(request)
        while (answer := decode_response(data, asked)) is None:
            received = connection.recv(65536)
            if not received:
                raise DemoError("the server closed the connection")
            data += received
    return data, answer


def _routes(server: EmbeddedServer, people: dict[str, str]) -> _Rows:
    """Keys by node, as the topology and the hash have it, compared with what each node holds."""
    ping = encode_request(
        "ping",
        cache=_CACHE,
        message_id=1,
        intelligence=Intelligence.HASH_DISTRIBUTION_AWARE,
    )
    topology = _ask(server.address, ping)[1].topology
    if topology is None or not topology.segment_owners:
        raise DemoError("the servers told no owners")
    owners = topology.segment_owners
    keys = [key.encode() for key in people]
    primary: Counter[int] = Counter()
    held: list[set[bytes]] = [set() for _ in topology.servers]
    for key, segment in zip(keys, segments_of(keys, len(owners)).tolist(), strict=True):
        primary[owners[segment][0]] += 1
        for owner in owners[segment]:
            held[owner].add(key)
    rows: _Rows = []
    for n, (host, port) in enumerate(topology.servers):
        node = server.addresses.index(ServerAddress(host, port))
        _check(server.keys_of(node, _CACHE), held[n], f"the keys of node {node}")
        rows.append((f"{host}:{port}", f"{primary[n]:,}", f"{len(held[n]):,}"))
    return rows


def _iterate(client: Client, people: dict[str, str], rows: _Rows, advance: Advance) -> int:
    """Go over everything that the nodes left have."""
    start = time.perf_counter()
    found = dict(client.cache(_CACHE).entries())
    rows.append(_row("sync: entries, a node is dead", len(found), time.perf_counter() - start))
    _check(found, people, "entries")
    advance("iterate", len(people))
    return len(found)


def _explain(out: Output, address: tuple[str, int]) -> None:
    request = encode_request(
        "put",
        message_id=2,
        cache=_CACHE,
        key=b"ann",
        value=b"42",
        lifespan=60,
        key_media_type="text/plain",
        value_media_type="text/plain",
    )
    answer, _ = _ask(address, request)
    for frame in Explainer(show_data=True).frames(request + answer):
        out.frame(frame)
