"""Each file of examples/ runs as a program, against an embedded server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import captures
from hotrod_codec import Client, EmbeddedServer, encode_request, encode_response

EXAMPLES = Path(__file__).parent.parent / "examples"
PROGRAMS = sorted(path for path in EXAMPLES.glob("*.py") if path.name[0] != "_")
ARGUMENTS = {"load.py": ["20000"]}
# They need no server.
ALONE = {"capture.py"}


def run(path: Path, *arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", path, *ARGUMENTS.get(path.name, ()), *arguments],
        cwd=EXAMPLES.parent,
        env={k: v for k, v in os.environ.items() if not k.startswith("HOTROD_")} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_an_example_runs_and_leaves_nothing_behind(
    path: Path, hotrod_server: EmbeddedServer, hotrod_client: Client
) -> None:
    before = hotrod_client.admin.cache_names()
    assert run(path, HOTROD_URI=hotrod_server.uri)
    if path.name not in ALONE:
        assert sum(hotrod_server.requests.values()) > 2, "it used servers of its own"
    assert hotrod_client.admin.cache_names() == before
    assert hotrod_client.cache().is_empty()


def test_an_example_takes_an_address_as_an_argument(hotrod_server: EmbeddedServer) -> None:
    run(EXAMPLES / "probe.py", hotrod_server.uri)
    assert hotrod_server.requests


def test_an_example_finds_servers_of_its_own() -> None:
    assert "cluster: 127.0.0.1" in run(EXAMPLES / "probe.py")


def test_a_packet_capture(tmp_path: Path) -> None:
    get = encode_request("get", version="4.1", message_id=1, key=b"k")
    answer = encode_response("get", version="4.1", message_id=1, value=b"v")
    path = tmp_path / "captured.pcap"
    path.write_bytes(captures.pcap(captures.Talk().whole([(0, get), (1, answer)])))
    assert "GET                      response      1 frames" in run(
        EXAMPLES / "capture.py", str(path)
    )


def test_all_are_listed() -> None:
    text = (EXAMPLES / "README.md").read_text("utf-8")
    listed = re.findall(r"^\| \[(\w+\.py)\]\(\1\)", text, re.M)
    assert sorted(listed) == [path.name for path in PROGRAMS]
