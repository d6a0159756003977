"""Both clients behind one face, so that a test of behaviour is written once."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from hotrod_codec import AsyncClient, Client, EmbeddedServer
from hotrod_codec.client import EventKind

KINDS = ("sync", "async")
SECONDS = 10.0


class Blocking:
    """Something asynchronous: its methods wait, its iterators are plain ones."""

    def __init__(self, runner: asyncio.Runner, inner: Any) -> None:
        self._runner = runner
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return self._plain(getattr(self._inner, name))

    def _plain(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            return self._plain(self._runner.run(value))
        if isinstance(value, AsyncGenerator):
            return self._iterate(value)
        if callable(value):
            return lambda *args, **kwargs: self._plain(value(*args, **kwargs))
        if type(value).__module__.startswith("hotrod_codec.client._async"):
            return Blocking(self._runner, value)
        return value

    def _iterate(self, iterator: Any) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(iterator)

        try:
            while True:
                try:
                    yield self._runner.run(following())
                except StopAsyncIteration:
                    return
        finally:
            self._runner.run(iterator.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._runner.run(self._inner.__aexit__(kind, error, traceback))
        if isinstance(self._inner, AsyncClient):
            self._runner.run(_nothing_goes_on())
            self._runner.close()


async def _nothing_goes_on() -> None:
    """Tasks of a client that was closed end by themselves, and soon."""
    deadline = asyncio.get_running_loop().time() + SECONDS
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        assert asyncio.get_running_loop().time() < deadline, others
        await asyncio.sleep(0.005)


def connect(kind: str, *args: Any, **settings: Any) -> Any:
    """A client: either a Client, or an AsyncClient that behaves like one."""
    if kind == "sync":
        return Client(*args, **settings)
    return Blocking(asyncio.Runner(), AsyncClient(*args, **settings))


def next_of(events: Any, kind: EventKind) -> Any:
    """The next event of this kind that a listener hears."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        event = events.next(1)
        if event is not None and event.kind is kind:
            return event
    raise TimeoutError(kind)


@contextmanager
def making(kind: str, **always: Any) -> Iterator[Callable[..., Any]]:
    """Makes clients of a server, and closes them.

    Args:
        always: Settings of all of them, unless one has its own.
    """
    made: list[Any] = []

    def make(server: EmbeddedServer | None, **settings: Any) -> Any:
        uri = None if server is None else server.uri
        made.append(connect(kind, uri, **(always | settings)))
        return made[-1]

    yield make
    for client in made:
        client.__exit__(None, None, None)
