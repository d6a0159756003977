"""Whether the other tests are complete: each operation and event, in each version that has it."""

from __future__ import annotations

import pytest

from hotrod_codec import Op, layout
from integration.conftest import exists, servers_of
from integration.peers import VERSIONS, Target, versions_of


def test_every_operation_is_tested_in_every_version(
    tested: set[tuple[Op, Target]], pytestconfig: pytest.Config
) -> None:
    wanted = {
        (op, Target(server, version))
        for server in servers_of(pytestconfig)
        for version in versions_of(server)
        for op in Op
        if exists(op, version)
    }
    assert sorted(f"{target} {op.name}" for op, target in wanted - tested) == []


@pytest.mark.parametrize("op", Op, ids=lambda op: op.name.lower())
def test_the_codec_has_the_same_versions(op: Op) -> None:
    found = layout(op)
    versions = {v for server in VERSIONS.values() for v in server}
    assert {v for v in versions if exists(op, v)} == {
        v for v in versions if found.since <= v <= found.until
    }
