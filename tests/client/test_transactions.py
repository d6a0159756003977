"""What transactions keep before they are committed. What servers make of them is in
tests/integration/test_client_transactions.py."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from hotrod_codec import Client, EmbeddedServer
from hotrod_codec.errors import EncodeError
from hotrod_codec.marshallers import BYTES, JSON


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[Client]:
    with Client(server.uri) as client:
        yield client


def test_a_value_of_none_is_a_value(client: Client) -> None:
    """JSON has null."""
    accounts = client.transaction().cache(client.cache(values=JSON))
    accounts.put("k", None)
    assert accounts.contains_key("k")
    assert accounts.remove("k")
    assert not accounts.contains_key("k")
    assert not accounts.remove("k")


def test_to_remove_takes_no_value(client: Client) -> None:
    """Not even one that can be read."""
    client.cache(values=BYTES).put("k", b"\xff")
    texts = client.transaction().cache(client.cache())
    assert texts.remove("k")
    assert texts.get_and_remove("k") is None


@pytest.mark.parametrize("timeout", [0, -1, math.inf, math.nan, "60", None])
def test_timeouts_that_are_none(timeout: Any) -> None:
    with Client() as client, pytest.raises(EncodeError, match=r"timeout: .*(more than 0|expected)"):
        client.transaction(timeout=timeout)


def test_timeouts() -> None:
    with Client() as client:
        for timeout in (1.5, timedelta(seconds=1.5)):
            assert client.transaction(timeout=timeout)._milliseconds == 1500
