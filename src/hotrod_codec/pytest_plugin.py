"""Fixtures for the tests of programs that use Infinispan: pytest's plugin of this package.

Which there are, and how they are used: docs/embedded-server.md. pytest imports this module in every
run in an environment where the package is installed, so that nothing slow is imported before a
fixture is asked for. Knows pytest and the public names of client and server, nothing else does.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hotrod_codec import AsyncClient, Cache, Client, EmbeddedServer

CACHES = "hotrod_caches"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        CACHES,
        "caches of the embedded Hot Rod server, one a line: NAME or NAME=MEDIA-TYPE",
        type="linelist",
        default=[],
    )


# ---- what users override ------------------------------------------------------------------------


@pytest.fixture(scope="session")
def hotrod_server_options(pytestconfig: pytest.Config) -> Mapping[str, Any]:
    """Arguments of the embedded servers: those of hotrod_codec.EmbeddedServer. By default the
    caches in the ini option hotrod_caches."""
    caches: dict[str, str | None] = {}
    for line in pytestconfig.getini(CACHES):
        name, equals, media_type = (part.strip() for part in line.partition("="))
        if not name or (equals and not media_type):
            raise pytest.UsageError(f"{CACHES}: {line!r} is no NAME or NAME=MEDIA-TYPE")
        caches[name] = media_type or None
    return {"caches": caches}


@pytest.fixture(scope="session")
def hotrod_client_options() -> Mapping[str, Any]:
    """Settings of the clients: those of hotrod_codec.Client. By default none."""
    return {}


# ---- servers ------------------------------------------------------------------------------------


def _running(options: Mapping[str, Any]) -> Iterator[EmbeddedServer]:
    from hotrod_codec import EmbeddedServer

    with EmbeddedServer(**options) as server:
        yield server


def _clean(server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    server.reset()
    yield server
    server.reset()


@pytest.fixture(scope="session")
def hotrod_session_server(hotrod_server_options: Mapping[str, Any]) -> Iterator[EmbeddedServer]:
    """The server of hotrod_server, for fixtures of a wider scope: nothing is reset for them."""
    yield from _running(hotrod_server_options)


@pytest.fixture(scope="session")
def hotrod_session_cluster(hotrod_server_options: Mapping[str, Any]) -> Iterator[EmbeddedServer]:
    """The servers of hotrod_cluster, for fixtures of a wider scope: nothing is reset for them."""
    yield from _running({**hotrod_server_options, "nodes": 3})


@pytest.fixture
def hotrod_server(hotrod_session_server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """An embedded server: one for the session at one address, as new for each test."""
    yield from _clean(hotrod_session_server)


@pytest.fixture
def hotrod_cluster(hotrod_session_cluster: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """The same with three nodes."""
    yield from _clean(hotrod_session_cluster)


# ---- clients ------------------------------------------------------------------------------------


@pytest.fixture
def hotrod_client(
    hotrod_server: EmbeddedServer, hotrod_client_options: Mapping[str, Any]
) -> Iterator[Client]:
    """A client of hotrod_server, for this test."""
    from hotrod_codec import Client

    with Client(hotrod_server.uri, **hotrod_client_options) as client:
        yield client


@pytest.fixture
def hotrod_cache(hotrod_client: Client) -> Cache[str, str]:
    """The server's default cache, empty, with texts for keys and values."""
    return hotrod_client.cache()


@pytest.fixture
def hotrod_async_client(
    hotrod_server: EmbeddedServer, hotrod_client_options: Mapping[str, Any]
) -> Iterator[AsyncClient]:
    """A client for asyncio of hotrod_server, for this test. Its connections are closed at the end
    of an asynchronous test, whichever plugin runs it; `async with` closes them earlier."""
    import asyncio

    from hotrod_codec import AsyncClient

    client = AsyncClient(hotrod_server.uri, **hotrod_client_options)
    yield client
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(client.close())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A connection belongs to the event loop of the test, which some plugins close before they
    tear fixtures down: the client has to disconnect in the test itself."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        client: Any = item.funcargs.get("hotrod_async_client")
        if client is not None:
            item.obj = _disconnecting(item.obj, client)
    return (yield)


def _disconnecting(
    test: Callable[..., Awaitable[None]], client: AsyncClient
) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        try:
            await test(*args, **kwargs)
        finally:
            await client.disconnect()

    return run
