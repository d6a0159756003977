"""The clients' caches beside a model, on the embedded server: machine.py and programs.py play."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import given, settings

from client.both import KINDS, connect
from client.machine import FORMS, Ground, play
from client.programs import Step, programs, run
from hotrod_codec import EmbeddedServer, Version
from hotrod_codec.marshallers import BYTES


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    """Longer than for other tests: what fails is made smaller, which takes its time."""
    faulthandler.dump_traceback_later(600, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


CACHES = {
    "bytes": "application/octet-stream",
    "text": "text/plain",
    "json": "application/json",
    "protostream": "application/x-protostream",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_cache_is_a_dict(form: str) -> None:
    @contextmanager
    def prepare() -> Iterator[Ground]:
        with ExitStack() as stack:
            server = stack.enter_context(EmbeddedServer(caches={"own": CACHES[form]}))
            clients = [stack.enter_context(connect(kind, server.uri)) for kind in KINDS]
            yield Ground(clients, "own", form, wait=server.advance, waits_for_free=True)

    play(prepare, examples=15)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_acknowledged_stays(kind: str) -> None:
    """Two owners of each entry; nodes come and go one at a time, connections break."""

    @contextmanager
    def prepare() -> Iterator[Ground]:
        with ExitStack() as stack:
            server = stack.enter_context(EmbeddedServer(nodes=3, caches={"own": "text/plain"}))
            clients = [
                stack.enter_context(connect(each, server.uri, request_timeout=5))
                for each in (kind, "sync")
            ]
            yield Ground(
                clients, "own", "text", wait=server.advance, waits_for_free=True, server=server
            )

    play(prepare, examples=20)


def test_a_program_does_the_same_in_every_version() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedServer())
        caches = {
            version: stack.enter_context(
                connect("sync", server.uri, protocol_version=version)
            ).cache(keys=BYTES, values=BYTES)
            for version in Version
        }

        @settings(max_examples=30, deadline=None)
        @given(program=programs)
        def check(program: list[Step]) -> None:
            expected = run(caches[Version.V4_1], program)
            for version, cache in caches.items():
                assert run(cache, program) == expected, version

        check()
