"""Deadlines, and servers that tests share."""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Iterator

import pytest

from hotrod_codec import EmbeddedServer

SECONDS = 60 if sys.gettrace() is None else 600  # tracing is slow


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    """A test that hangs ends everything, and says where."""
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def cluster() -> Iterator[EmbeddedServer]:
    """Three nodes."""
    with EmbeddedServer(nodes=3) as server:
        yield server
