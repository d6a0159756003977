"""A synchronous service: sessions and a rate limit for a WSGI application.

    python examples/sessions_wsgi.py [hotrod://...]

One Client serves all threads of the server. A session is an entry that the cluster drops when it
was not used for half an hour (`max_idle`); the rate limit is an entry per client and minute,
counted up with `compute`, which tries again when another thread was faster.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from _cluster import cache, cluster

from hotrod_codec import Cache, Client

HALF_AN_HOUR = 1800
MOST_A_MINUTE = 20


class Application:
    """GET / counts the visits of a session; the session's id is in a cookie."""

    def __init__(self, sessions: Cache[str, Any], hits: Cache[str, Any]) -> None:
        self.sessions = sessions
        self.hits = hits

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if not self.is_welcome(environ["REMOTE_ADDR"]):
            start_response("429 Too Many Requests", [("Content-Type", "text/plain")])
            return [b"slow down\n"]
        sid = environ.get("HTTP_COOKIE", "").partition("sid=")[2]
        session = self.sessions.get(sid) if sid else None
        if session is None:
            sid, session = secrets.token_urlsafe(16), {"visits": 0}
        session["visits"] += 1
        self.sessions.put(sid, session, max_idle=HALF_AN_HOUR)
        headers = [("Content-Type", "application/json"), ("Set-Cookie", f"sid={sid}; HttpOnly")]
        start_response("200 OK", headers)
        return [json.dumps(session).encode()]

    def is_welcome(self, address: str) -> bool:
        minute = f"{address} {time.time() // 60:.0f}"
        hits = self.hits.compute(minute, lambda _, n: (n or 0) + 1, lifespan=120)
        return bool(hits and hits <= MOST_A_MINUTE)


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def visit(url: str, cookie: str = "") -> tuple[int, str, str]:
    """Status, body and the session's cookie, as a browser keeps it."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers={"Cookie": cookie}), timeout=20
        ) as answer:
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
            return answer.status, answer.read().decode(), cookie
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), cookie


def main() -> None:
    with (
        cluster() as uri,
        Client(uri) as client,
        cache(client, "example-sessions", "application/json") as name,
    ):
        store = client.cache(name, keys="json", values="json")
        application = Application(store, store)
        with make_server("127.0.0.1", 0, application, Server, Quiet) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}/"
            body = cookie = ""
            for _ in range(3):
                status, body, cookie = visit(url, cookie)
                print(status, body)
            assert json.loads(body) == {"visits": 3}
            # Many threads at once: exactly as many get in as the limit says. (Unless the minute
            # turns just now: then a few more.)
            with ThreadPoolExecutor(8) as threads:
                statuses = [status for status, *_ in threads.map(visit, [url] * 40)]
            print(f"40 more at once: {statuses.count(200)} served, {statuses.count(429)} refused")
            assert 0 < statuses.count(200) <= 2 * MOST_A_MINUTE
            server.shutdown()


if __name__ == "__main__":
    main()
