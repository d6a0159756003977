"""The clients' caches beside a model, as in tests/client/test_model.py, on every server.

`--full` plays longer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext

import pytest
from hypothesis import HealthCheck, given, settings

from client.both import KINDS
from client.machine import Ground, play
from client.programs import Step, programs, run
from hotrod_codec import ServerAddress
from hotrod_codec.marshallers import BYTES
from hotrod_codec.ops import Version
from integration.conftest import Servers, client_of
from integration.embedded import EMBEDDED
from integration.peers import Target, versions_of

CACHES = {"bytes": "many", "text": "text", "json": "json", "protostream": "proto"}


@pytest.fixture(scope="session")
def times(pytestconfig: pytest.Config) -> int:
    """How much longer than usual."""
    return 10 if pytestconfig.getoption("--full", default=False) else 1


@pytest.fixture
def check(
    target: Target, servers: Servers, wait: Callable[[float], None], times: int
) -> Callable[[str], None]:
    """Plays in a single server's cache of a form."""

    def check(form: str) -> None:
        with ExitStack() as stack:
            here = [servers.address(target.server)]
            clients = [stack.enter_context(client_of(target, kind, here)) for kind in KINDS]
            ground = Ground(clients, CACHES[form], form, wait=wait)
            play(lambda: nullcontext(ground), examples=4 * times, shrink=target.server == EMBEDDED)

    return check


@pytest.mark.versions(newest=True, since=Version.V2_0)  # listeners
@pytest.mark.parametrize("form", ["bytes", "text", "protostream"])
def test_a_cache_is_a_dict(check: Callable[[str], None], form: str) -> None:
    check(form)


@pytest.mark.versions(newest=True, since=Version.V2_8, legacy=False)
def test_a_cache_of_json_is_a_dict(check: Callable[[str], None]) -> None:
    check("json")


@pytest.mark.versions(newest=True, since=Version.V2_0)  # listeners
def test_a_cache_of_three_nodes_is_a_dict(
    target: Target, addresses: list[ServerAddress], wait: Callable[[float], None], times: int
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(client_of(target, kind, addresses)) for kind in KINDS]
        # A 9.4 cluster goes on counting and iterating entries whose idle time is over.
        idles = not target.is_legacy
        ground = Ground(clients, "many", "bytes", wait=wait, idles=idles)
        play(lambda: nullcontext(ground), examples=4 * times, shrink=target.server == EMBEDDED)


@pytest.mark.versions(newest=True)
def test_a_program_does_the_same_in_every_version(
    target: Target, servers: Servers, times: int
) -> None:
    with ExitStack() as stack:
        here = [servers.address(target.server)]
        caches = {
            version: stack.enter_context(
                client_of(target, "sync", here, protocol_version=version)
            ).cache("many", keys=BYTES, values=BYTES)
            for version in versions_of(target.server)
        }

        @settings(
            max_examples=(5 if target.server == EMBEDDED else 20) * times,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(program=programs)
        def check(program: list[Step]) -> None:
            expected = run(caches[max(caches)], program)
            for version, cache in caches.items():
                assert run(cache, program) == expected, version

        check()
