"""Where the examples find their servers; no example itself.

The address of a real cluster is an argument (hotrod://user:password@host:11222) or in HOTROD_URI.
Without one there is an embedded cluster of three, in this process, for as long as the example runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hotrod_codec import Client, EmbeddedServer, ServerError

_CLUSTERED = '{"distributed-cache": {"mode": "SYNC", "encoding": {"media-type": "%s"}}}'
_SINGLE = '{"local-cache": {"encoding": {"media-type": "%s"}}}'


def arguments() -> list[str]:
    """What was given on the command line besides an address."""
    return [text for text in sys.argv[1:] if "://" not in text]


@contextmanager
def cluster() -> Iterator[str]:
    """The URI of servers that can be used within."""
    given = [text for text in sys.argv[1:] if "://" in text]
    uri = given[0] if given else os.environ.get("HOTROD_URI")
    if uri:
        yield uri
    else:
        with EmbeddedServer(nodes=3) as server:
            yield server.uri


@contextmanager
def cache(client: Client, name: str, media_type: str = "text/plain") -> Iterator[str]:
    """A cache that is there within and gone afterwards: examples leave nothing behind."""
    try:
        client.admin.create_cache(name, _CLUSTERED % media_type, flags="volatile")
    except ServerError:  # a server that is configured to be alone has no distributed caches
        client.admin.create_cache(name, _SINGLE % media_type, flags="volatile")
    try:
        yield name
    finally:
        client.admin.remove_cache(name)
