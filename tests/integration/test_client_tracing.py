"""Requests tell in which trace they were made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace

from client.both import KINDS, connect
from client.relay import Relay
from hotrod_codec import AsyncClient, Op, Version
from hotrod_codec.marshallers import BYTES
from integration.conftest import Servers
from integration.peers import Target

newest = pytest.mark.versions(since=Version.V4_0, newest=True)


@pytest.fixture
def relay(target: Target, servers: Servers) -> Iterator[Relay]:
    with Relay(servers.address(target.server)) as relay:
        yield relay


@pytest.fixture(params=KINDS)
def traced(
    request: pytest.FixtureRequest, target: Target, relay: Relay
) -> Iterator[Callable[[Any], Any]]:
    """Gives caches of clients with a trace context."""
    made: list[Any] = []

    def cache(context: Any) -> Any:
        client = connect(
            request.param,
            addresses=[relay.address],
            client_intelligence="basic",
            protocol_version=target.version,
            legacy_server=target.is_legacy,
            trace_context=context,
        )
        made.append(client)
        return client.cache("octets", keys=BYTES, values=BYTES)

    yield cache
    for client in made:
        client.__exit__(None, None, None)


def span(number: int) -> Any:
    """The current span is one of this number."""
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    context = trace.SpanContext(0xABC, number, is_remote=False, trace_flags=flags)
    return trace.use_span(trace.NonRecordingSpan(context))


def parent(number: int) -> dict[str, bytes]:
    return {"traceparent": f"00-{0xABC:032x}-{number:016x}-01".encode()}


@pytest.mark.versions(since=Version.V3_1)
def test_a_context_goes_along(traced: Any, target: Target, relay: Relay, key: bytes) -> None:
    context = {"traceparent": "00-1-2-01", "tracestate": "vendor=é"}
    octets = traced(lambda: context)
    octets.put(key, b"v")
    assert octets.get(key) == b"v"
    assert octets.get_many([key, key]) == [b"v", b"v"]
    assert octets.get_all([key]) == {key: b"v"}
    told = {name: value.encode() for name, value in context.items()}
    for op in (Op.PING, Op.PUT, Op.GET, Op.GET_ALL):
        assert relay.params[op] == (told if target.version >= Version.V4_0 else {})


@newest
def test_each_request_has_its_own(traced: Any, relay: Relay, key: bytes) -> None:
    contexts = iter([{}, None, {"traceparent": "1"}, {"traceparent": "2"}, {"traceparent": "2"}])
    octets = traced(lambda: next(contexts))  # the first is for the question for the cache
    found = []
    for _ in range(4):
        octets.get(key)
        found.append(relay.params[Op.GET])
    assert found == [{}, {"traceparent": b"1"}, {"traceparent": b"2"}, {"traceparent": b"2"}]


@newest
@pytest.mark.parametrize("context", [lambda: 1 / 0, lambda: {"traceparent": 5}, lambda: 5])
def test_a_context_that_fails_harms_nothing(
    traced: Any, relay: Relay, key: bytes, caplog: pytest.LogCaptureFixture, context: Any
) -> None:
    octets = traced(context)
    octets.put(key, b"v")
    assert octets.get(key) == b"v"
    assert relay.params[Op.GET] == {}
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert record.message == "there is no trace context"


@newest
@pytest.mark.parametrize("traced", ["sync"], indirect=True)  # tasks: below
def test_opentelemetry(traced: Any, relay: Relay, key: bytes) -> None:
    octets = traced("opentelemetry")
    octets.get(key)
    assert relay.params[Op.GET] == {}
    for number in (1, 2):
        with span(number):
            octets.get(key)
            assert relay.params[Op.GET] == parent(number)
    octets.get(key)
    assert relay.params[Op.GET] == {}


@newest
def test_tasks_have_their_own_spans(target: Target, relay: Relay, key: bytes) -> None:
    """Although they share a connection."""

    async def main() -> None:
        async with AsyncClient(
            addresses=[relay.address],
            client_intelligence="basic",
            protocol_version=target.version,
            legacy_server=target.is_legacy,
            trace_context="opentelemetry",
        ) as client:
            octets = client.cache("octets", keys=BYTES, values=BYTES)
            await octets.size()

            async def work(op: Op, number: int, call: Callable[[bytes], Any]) -> None:
                with span(number):
                    await asyncio.sleep(0)
                    await call(key)
                assert relay.params[op] == parent(number)

            await asyncio.gather(
                work(Op.GET, 1, octets.get),
                work(Op.CONTAINS_KEY, 2, octets.contains_key),
                work(Op.REMOVE, 3, octets.remove),
            )

    asyncio.run(main())
