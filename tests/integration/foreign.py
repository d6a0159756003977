"""Clients in other languages: processes that do what a line of JSON says, and answer with one.

Their sources are in interop/. What they need is fetched once, beside the servers' jars.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from integration.infinispan import MODERN, compiled, fetch, home, in_one_step, run_tool, tool

SECONDS = 60.0
"""How long an answer may take: the first one of a Java client on a busy machine is slow."""

_NPM_SECONDS = 300.0
_SOURCES = Path(__file__).resolve().parent / "interop"


class ForeignError(Exception):
    """What went wrong, in the words of the other side."""


class Foreign:
    """A process with clients in it, by name.

    Args:
        errors: File for what it writes besides answers.
    """

    def __init__(self, command: Sequence[str], errors: Path) -> None:
        self._errors = errors
        with errors.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        # A thread, since a pipe has no time limit of its own.
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="answers", daemon=True)
        self._reader.start()
        self._clients = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # which it takes for the end
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(b"")

    def ask(self, what: str, **arguments: Any) -> Any:
        """Have something done.

        Raises:
            ForeignError: It did not work.
            TimeoutError: It did not end.
        """
        assert self._process.stdin is not None
        request = json.dumps({"do": what} | arguments).encode() + b"\n"
        self._process.stdin.write(request)
        self._process.stdin.flush()
        try:
            line = self._answers.get(timeout=SECONDS)
        except queue.Empty:
            self._process.kill()
            raise TimeoutError(f"no answer to {request!r}; {self._tail()}") from None
        if not line:
            raise ForeignError(f"it ended at {request!r}; {self._tail()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ForeignError(f"{request!r}: {answer['error']}")
        return answer["result"]

    def _tail(self) -> str:
        return self._errors.read_text(errors="replace")[-4000:]

    def connect(self, **connection: Any) -> ForeignClient:
        """A further client in this process."""
        self._clients += 1
        client = ForeignClient(self, str(self._clients))
        client("connect", **connection)
        return client


class ForeignClient:
    """One client. Its result is that of the method that has this name there, or nearly.

    client("put", cache="text", key="k", value="v")
    """

    def __init__(self, process: Foreign, name: str) -> None:
        self._process = process
        self._name = name

    def __call__(self, what: str, **arguments: Any) -> Any:
        return self._process.ask(what, client=self._name, **arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self("close")


def java(errors: Path) -> Foreign:
    """The Java client, with the jars of the server of the same version."""
    jars = fetch(MODERN)
    classes = compiled(MODERN, jars, [_SOURCES / "JavaClient.java"])
    command = [
        tool("java"),
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Djava.net.preferIPv4Stack=true",
        "-cp",
        f"{classes}{os.pathsep}{jars}{os.sep}*",
        "JavaClient",
    ]
    return Foreign(command, errors)


def javascript(errors: Path) -> Foreign:
    """The JavaScript client, with the package `infinispan` of npm."""
    wanted = sha256((_SOURCES / "package.json").read_bytes()).hexdigest()[:8]
    packages = home() / "npm" / wanted
    if not packages.is_dir():
        with in_one_step(packages) as folder:
            folder.mkdir()
            shutil.copy(_SOURCES / "package.json", folder)
            options = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock")
            run_tool("npm", "install", f"--prefix={folder}", *options, seconds=_NPM_SECONDS)
    return Foreign([tool("node"), str(_SOURCES / "client.js"), str(packages)], errors)
