"""`hotrod serve`, as a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hotrod_codec import EmbeddedServer, Op, Status, sasl
from hotrod_codec.server.certificates import make_certificate
from server.peer import Peer

SECONDS = 30
CERTIFICATES = Path(__file__).parent / "certificates"


@contextmanager
def heeding_interrupts() -> Iterator[None]:
    """Processes begun here end at an interrupt even where a shell began the tests with `&`.

    Such a shell has its children ignore SIGINT, and they their own; a handler does not pass on.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[tuple[str, int]]]]:
    """The process, and where it says that it listens."""
    command = [sys.executable, "-m", "hotrod_codec", "serve", "--port", "0", *arguments]
    with heeding_interrupts():
        begun = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"NO_COLOR": "1"},
        )
    with begun as process:
        try:
            assert process.stdout is not None
            addresses = []
            for line in process.stdout:
                found = re.fullmatch(r"listening on hotrods?://(.*):(\d+)\n", line)
                if found is not None:
                    addresses.append((found[1], int(found[2])))
                if line.startswith("Ctrl-C"):
                    break
            yield process, addresses
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_interrupted(number: signal.Signals) -> None:
    with serving("--every", "0.05", "--cache", "text=text/plain") as (process, addresses):
        with Peer(addresses[0]) as peer:
            assert peer.call(Op.PUT, cache="text", key=b"k", value=b"v").status == Status.SUCCESS
            assert peer.call(Op.PING, cache="text").key_media_type.name == "text/plain"
            process.send_signal(number)
            out, _ = process.communicate(timeout=SECONDS)
            assert peer.rest() == b""
        assert process.returncode == 0
        assert "stopped after 2 requests" in out
        assert "Traceback" not in out


def test_what_is_asked_is_shown() -> None:
    with serving("--every", "0.05") as (process, addresses), Peer(addresses[0]) as peer:
        peer.call(Op.PUT, key=b"k", value=b"v")
        assert process.stdout is not None
        while "put " not in (line := process.stdout.readline()):
            assert line
        assert line.split()[-1] == "1"


def test_a_cluster_with_passwords() -> None:
    arguments = ("--nodes", "3", "--auth", "ada:secret", "--auth", "bob:too", "--max-entries", "9")
    with serving(*arguments) as (_, addresses):
        assert len(addresses) == 3
        with Peer(addresses[2]) as peer:
            assert "ISPN006017" in peer.call(Op.SIZE).error
            client = sasl.client_exchange(
                "SCRAM-SHA-256", username="bob", password="too", nonce="abcdefghijkl"
            )
            response: bytes | None = client.start()
            while response is not None:
                answer = peer.call(Op.AUTH, mechanism=client.mechanism, response=response)
                response = client.receive(answer)
            assert client.finished
            assert peer.call(Op.SIZE)["size"] == 0
            assert len(peer.told(Op.PING).servers) == 3


def test_tls_with_a_certificate() -> None:
    context = ssl.create_default_context(cafile=str(CERTIFICATES / "ca.pem"))
    with (
        serving("--tls", str(CERTIFICATES / "server.pem")) as (_, addresses),
        Peer(addresses[0], context=context) as peer,
    ):
        assert peer.call(Op.PING).status == Status.SUCCESS


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--port", "70000"], "no port"),
        (["--cache", "a=b"], "no media type"),
        (["--auth", "nobody"], "USER:PASSWORD"),
        (["--nodes", "0"], "less than 1"),
        (["--nodes", "1000"], "not within 1 and 100"),
        (["--tls", "/no/such/file.pem"], "No such file"),
        (["--every", "0"], "not within"),
    ],
)
def test_arguments_that_make_no_sense(arguments: list[str], problem: str) -> None:
    command = [sys.executable, "-m", "hotrod_codec", "serve", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2
    assert problem in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_certificate_is_made_for_the_occasion(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        with pytest.raises(OSError, match="openssl"):
            make_certificate(tmp_path)
        return
    path = make_certificate(tmp_path, "127.0.0.1")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o077 == 0
    context = ssl.create_default_context(cafile=str(path))
    with EmbeddedServer(tls=str(path)) as server, Peer(server.address, context=context) as peer:
        assert server.uri.startswith("hotrods://")
        assert peer.call(Op.PING).status == Status.SUCCESS


def test_without_openssl_there_is_no_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(OSError, match="give the path"):
        make_certificate(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        ([], ""),
        (["--host", "127.0.0.1"], ""),
        (["--host", "0.0.0.0"], "everybody, without any password, can come from other machines"),
        (["--host", "0.0.0.0", "--auth", "a:b"], "who knows a password can come"),
    ],
)
def test_it_says_who_can_come(arguments: list[str], warning: str) -> None:
    command = [sys.executable, "-m", "hotrod_codec", "serve", "--port", "0", *arguments]
    environment = os.environ | {"NO_COLOR": "1"}
    said = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if line.startswith("Ctrl-C"):
                break
        process.kill()
    host = arguments[1] if arguments else "127.0.0.1"
    assert f"listening on hotrod://{host}:" in said
    assert ("can come from other machines" in said) == bool(warning)
    assert warning in said
