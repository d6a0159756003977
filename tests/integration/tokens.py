"""A service that knows one token, as servers ask for them."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from integration.infinispan import HOST, TOKEN, USER


class _Introspection(BaseHTTPRequestHandler):
    """Tells servers whose token one is. [RFC 7662]"""

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        known = form["token"] == [TOKEN]
        claims = {"active": known} | ({"username": USER} if known else {})
        body = json.dumps(claims).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def introspection_service() -> Iterator[str]:
    """Run it; gives its URL."""
    with ThreadingHTTPServer((HOST, 0), _Introspection) as service:
        thread = threading.Thread(target=service.serve_forever, daemon=True)
        thread.start()
        yield f"http://{HOST}:{service.server_port}/introspect"
        service.shutdown()
        thread.join()
