"""The samples of docs/ that the embedded server is not enough for: they find a `client`."""

from __future__ import annotations

import pytest

from hotrod_codec import Client
from integration.conftest import Servers
from integration.peers import Target
from test_documents import samples


@pytest.mark.versions(newest=True, legacy=False, embedded=False)
@pytest.mark.parametrize(("place", "code"), samples(on_real_server=True))
def test_a_sample_runs(place: str, code: str, target: Target, servers: Servers) -> None:
    with Client(addresses=[servers.address(target.server)]) as client:
        exec(compile(code, place, "exec"), {"client": client})
