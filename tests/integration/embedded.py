"""The embedded server in the shape of infinispan.Infinispan: the same caches and users."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from hotrod_codec import EmbeddedServer
from hotrod_codec.server import CacheConfiguration
from integration.infinispan import PASSWORD, SASL_MECHANISMS, TOKEN, USER

EMBEDDED = "embedded"

CERTIFICATES = Path(__file__).parent.parent / "server" / "certificates"

_OCTETS = "application/octet-stream"
_CACHES: dict[str, CacheConfiguration | str | None] = {
    "octets": _OCTETS,
    "many": _OCTETS,
    "text": "text/plain",
    "json": "application/json",
    "objects": "application/x-java-object",
    "mortal": CacheConfiguration(_OCTETS, lifespan=1800, max_idle=900),
    "multimap": _OCTETS,
    "proto": "application/x-protostream",
    "segments20": CacheConfiguration(_OCTETS, segments=20),
    "replicated": CacheConfiguration(_OCTETS, mode="replicated"),
    "invalidation": CacheConfiguration(_OCTETS, mode="invalidation"),
}


def _greeting(parameters: Mapping[str, bytes]) -> bytes:
    """As server/Greeting.java, as far as bytes go."""
    who = parameters.get("who", b"").decode()
    if who == "nobody":
        raise ValueError("nobody is there")
    return f"hello {who}".encode() if who else b""


class Embedded:
    """One node, or a cluster; with `auth`, `tls` and `certificates` as Infinispan has them."""

    def __init__(
        self,
        *,
        nodes: int = 1,
        auth: bool = False,
        tls: bool = False,
        certificates: bool = False,
        tokens: bool = False,
    ) -> None:
        self._nodes = nodes
        self._tls = tls
        self._certificates = certificates
        mechanisms = SASL_MECHANISMS.split()
        if certificates:
            mechanisms = ["EXTERNAL"]
        elif tokens:
            mechanisms = ["OAUTHBEARER"]
        self._server = EmbeddedServer(
            nodes=nodes,
            caches=_CACHES,
            default_cache="octets",
            tasks={"greeting": _greeting},
            users={USER: PASSWORD} if auth else None,
            tokens={TOKEN: USER} if tokens else None,
            mechanisms=mechanisms if auth else None,
            server_name="hotrod-codec",
            tls=str(CERTIFICATES / "server.pem") if tls else None,
            client_ca=str(CERTIFICATES / "ca.pem") if certificates else None,
        )

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    @property
    def is_whole(self) -> bool:
        return len(self._server.addresses) == self._nodes

    def kill_node(self, index: int) -> None:
        self._server.kill_node(index)

    def start_node(self, index: int) -> None:
        self._server.start_node(index)

    def restart(self) -> None:
        """Start all nodes anew, with nothing in them."""
        self._server.stop()
        self._server.start()

    def advance(self, seconds: float) -> None:
        self._server.advance(seconds)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [(host, port) for host, port in self._server.addresses]

    @property
    def context(self) -> ssl.SSLContext | None:
        if not self._tls:
            return None
        context = ssl.create_default_context(cafile=str(CERTIFICATES / "ca.pem"))
        if self._certificates:
            context.load_cert_chain(str(CERTIFICATES / "client.pem"))
        return context
