"""A test of one's own code with the fixtures of the package: no mocks, no containers.

    pytest examples/test_orders.py
    HOTROD_URI=hotrod://... pytest examples/test_orders.py     # where it can be: a real cluster

The code under test is real, the protocol and the sockets are real, and what goes wrong does so at
the very byte where the test wants it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from _cluster import cache

from hotrod_codec import Cache, Client, EmbeddedServer, Op, Status, TransportError

# ---- what is tested: it would be in a module of its own -----------------------------------------


class OutOfStock(Exception):
    """Nothing is left of it."""


def order(stock: Cache[str, Any], product: str) -> int:
    """Take one of a product; how many are left."""

    def one_less(_: str, left: int | None) -> int:
        if not left:
            raise OutOfStock(product)
        return left - 1

    left = stock.compute(product, one_less)
    assert isinstance(left, int)
    return left


# ---- the tests ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def hotrod_server_options() -> Mapping[str, Any]:
    """In a real project this stands in conftest.py."""
    return {"nodes": 2, "caches": {"stock": "application/json"}}


@pytest.fixture
def stock(hotrod_server: EmbeddedServer) -> Iterator[Cache[str, Any]]:
    with (
        Client(os.environ.get("HOTROD_URI") or hotrod_server.uri) as client,
        cache(client, "example-stock", "application/json") as name,
    ):
        yield client.cache(name, keys="json", values="json")


def test_the_last_one_is_sold_once(stock: Cache[str, Any]) -> None:
    stock.put("chair", 2)
    assert order(stock, "chair") == 1
    assert order(stock, "chair") == 0
    with pytest.raises(OutOfStock):
        order(stock, "chair")


@pytest.fixture
def embedded_stock(hotrod_client: Client) -> Cache[str, Any]:
    return hotrod_client.cache("stock", keys="json", values="json")


def test_an_order_survives_the_death_of_a_node(
    hotrod_server: EmbeddedServer, embedded_stock: Cache[str, Any]
) -> None:
    embedded_stock.put_all({f"chair {n}": 5 for n in range(20)})
    hotrod_server.kill_node(0)
    assert [order(embedded_stock, f"chair {n}") for n in range(20)] == [4] * 20


def test_a_lost_answer_does_not_sell_twice(
    hotrod_server: EmbeddedServer, embedded_stock: Cache[str, Any]
) -> None:
    embedded_stock.put("chair", 5)
    # The server does it, and its answer breaks off at the second byte: was it done or not? The
    # client does not send it again, and the customer hears of it.
    hotrod_server.faults.cut(at=1, op=Op.REPLACE_IF_UNMODIFIED)
    with pytest.raises(TransportError):
        order(embedded_stock, "chair")
    assert embedded_stock.get("chair") == 4


def test_a_busy_server_is_asked_again(
    hotrod_server: EmbeddedServer, embedded_stock: Cache[str, Any]
) -> None:
    embedded_stock.put("chair", 5)
    hotrod_server.faults.status(Status.NODE_SUSPECTED, "a node is leaving", op=Op.GET_WITH_METADATA)
    assert order(embedded_stock, "chair") == 4


if __name__ == "__main__":
    # In a process of its own: pytest wants to be there before what it tests.
    options = ["-q", "-p", "no:cacheprovider"]
    sys.exit(subprocess.call([sys.executable, "-m", "pytest", *options, __file__]))
