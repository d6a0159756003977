"""An embedded Hot Rod server, for trying and testing: in memory, in this process.

    from hotrod_codec import EmbeddedServer

    with EmbeddedServer() as server:
        print(server.uri)

What is inside: store (caches, entries), handler and its operations (requests to answers, without
I/O), tcp (sockets, threads). The client is not used here, nor is this used there.
"""

from hotrod_codec.server.faults import Fault, Faults
from hotrod_codec.server.store import CacheConfiguration
from hotrod_codec.server.tcp import EmbeddedServer

__all__ = ["CacheConfiguration", "EmbeddedServer", "Fault", "Faults"]
