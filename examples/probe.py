"""A tool of one's own on the codec alone: what does this server speak?

    python examples/probe.py [hotrod://...]

No client: a socket, `encode_request` for what goes out, `decode_response` for what comes in. Such a
thing fits wherever a client would be too much, such as in a health check.
"""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

from _cluster import cluster

from hotrod_codec import (
    Intelligence,
    Op,
    Response,
    Topology,
    TransportError,
    Version,
    decode_request,
    decode_response,
    encode_request,
)


def ask(address: tuple[str, int], op: Op, version: Version, **fields: Any) -> Response:
    """One request on a connection of its own, and its answer."""
    smart = Intelligence.HASH_DISTRIBUTION_AWARE
    out = encode_request(op, version=version, intelligence=smart, **fields)
    request = decode_request(out)  # an answer is read in the light of its request
    assert request is not None
    with socket.create_connection(address, timeout=5) as sock:
        sock.sendall(out)
        received = b""
        while True:
            answer = decode_response(received, request)
            if answer is not None:
                return answer
            data = sock.recv(65536)
            if not data:
                raise TransportError("the server closed the connection")
            received += data


def main() -> None:
    with cluster() as uri:
        host, _, port = urlsplit(uri).netloc.rpartition("@")[2].partition(",")[0].rpartition(":")
        address = host.strip("[]"), int(port)
        print(f"{host}:{port}")
        spoken = []
        for version in Version:
            try:
                answer = ask(address, Op.GET, version, key=b"probe")
            except (OSError, TransportError):
                continue
            if not answer.is_error:
                spoken.append(version)
        print("versions:", *(f"{version // 10}.{version % 10}" for version in spoken))

        answer = ask(address, Op.PING, max(spoken))
        if answer.is_error:
            raise SystemExit(f"the ping failed: {answer.error}")
        print("the default cache stores", answer.key_media_type, "to", answer.value_media_type)
        print("operations beside the usual ones:", len(answer["opcodes"]))
        topology = answer.topology
        if isinstance(topology, Topology):
            print("cluster:", *(f"{host}:{port}" for host, port in topology.servers))
            print("segments:", len(topology.segment_owners or ()))
        assert spoken


if __name__ == "__main__":
    main()
