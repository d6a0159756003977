"""Real Infinispan servers on 127.0.0.1, for the integration tests and for trying things out.

As a library, the servers live as long as the block, or at most as long as the process::

    with Infinispan("16.0.7", nodes=3) as cluster:
        socket.create_connection(cluster.addresses[0])

As a command, they live until they are stopped::

    python tests/integration/infinispan.py start --version 9.4.19.Final
    python tests/integration/infinispan.py stop

Wants a JDK (17 or newer) and Maven on the PATH; Maven fetches the server's jars the first time.
Versions before 10 are the Hot Rod module in a main class of our own, as nothing else speaks 1.x.
This file does not use hotrod_codec: a server that does not start is not to be taken for a codec
that does not decode.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

MODERN = "16.0.7"
OLDER = "15.0.21.Final"
LEGACY = "9.4.19.Final"

HOST = "127.0.0.1"
USER, PASSWORD = "tester", "secret"
READER = "reader"
"""Who may read single entries of the cache `guarded`; with PASSWORD, too."""
TOKEN = "token-of-the-tester"
STORE_PASSWORD = "changeit"
_STORE = ("-storetype", "PKCS12", "-storepass", STORE_PASSWORD)
SASL_MECHANISMS = (
    "SCRAM-SHA-512 SCRAM-SHA-384 SCRAM-SHA-256 SCRAM-SHA-1 "
    "DIGEST-SHA-512 DIGEST-SHA-384 DIGEST-SHA-256 DIGEST-SHA DIGEST-MD5 PLAIN"
)

_FILES = Path(__file__).resolve().parent / "server"
_SERVICES = _FILES / "services"  # says which tasks there are
_COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
_MAVEN_SECONDS = 900.0
_TOOL_SECONDS = 120.0
_STOP_SECONDS = 15.0

# 9.4 is older than the module system and reflects into these packages.
_LEGACY_OPENS = (
    "java.base/java.lang",
    "java.base/java.lang.invoke",
    "java.base/java.lang.reflect",
    "java.base/java.io",
    "java.base/java.nio",
    "java.base/java.text",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/sun.nio.ch",
    "java.desktop/java.awt.font",
    "java.security.sasl/com.sun.security.sasl",
    "java.security.sasl/com.sun.security.sasl.digest",
)

# Short-lived servers: less work before the first answer matters more than speed.
_QUICK_START = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

# A server that stops at its configuration leaves its JVM running; only the log tells.
_STARTED = re.compile(r"ISPN080001|^READY", re.MULTILINE)
_TAKEN = re.compile("BindException|Address already in use|Unable to start JGroups Channel")
_FAILED = re.compile(r'Exception in thread "main"|ISPN080028')


class LaunchError(RuntimeError):
    """A server could not be fetched, started or reached. The text says what to do about it."""


class _PortTakenError(LaunchError):
    """A port that was free is not any more."""


# ------------------------------------------------------------------ tools and jars


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        needed = {"mvn": "Maven", "npm": "Node.js"}.get(name, "a JDK, version 17 or newer,")
        raise LaunchError(f"'{name}' is not on the PATH; this needs {needed} installed")
    return path


def run_tool(name: str, *arguments: str, seconds: float = _TOOL_SECONDS) -> str:
    """Run a tool to its end and return all that it printed."""
    try:
        done = subprocess.run(
            [tool(name), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise LaunchError(f"{name} took longer than {seconds:.0f} s") from None
    if done.returncode != 0:
        lines = done.stdout.splitlines()
        errors = [line for line in lines if "ERROR" in line][:5] or lines[-10:]
        raise LaunchError("\n  ".join([f"{name} failed:", *errors]))
    return done.stdout


def _check_java() -> None:
    text = run_tool("java", "-version")
    found = re.search(r'version "(\d+)', text)
    if found is None or int(found[1]) < 17:
        raise LaunchError(f"Java 17 or newer is needed; 'java -version' says: {text.strip()}")


def home() -> Path:
    """Where jars and the servers of the command are kept: $HOTROD_SERVERS or the user's cache."""
    if given := os.environ.get("HOTROD_SERVERS"):
        return Path(given).expanduser().resolve()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "hotrod-codec" / "infinispan"


def is_legacy(version: str) -> bool:
    return int(version.partition(".")[0]) < 10


@contextlib.contextmanager
def in_one_step(target: Path) -> Iterator[Path]:
    """A folder to fill, which then becomes `target`: interrupted work never looks complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unfinished-") as temporary:
        folder = Path(temporary) / target.name
        yield folder
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():  # else another run was first
                raise


def fetch(version: str) -> Path:
    """Return the folder with the server's jars; Maven fills it the first time (up to 100 MB)."""
    wanted = hashlib.sha256((_FILES / "pom.xml").read_bytes()).hexdigest()[:8]
    jars = home() / "jars" / f"{version}-{wanted}"
    if jars.is_dir():
        return jars
    _check_java()
    profiles = "legacy" if is_legacy(version) else "server"
    if version.startswith("15."):
        profiles += ",loader"
    with in_one_step(jars) as folder:
        run_tool(
            "mvn",
            "--batch-mode",
            f"--file={_FILES / 'pom.xml'}",
            f"-P{profiles}",
            f"-Dinfinispan.version={version}",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={folder}",
            _COPY_JARS,
            seconds=_MAVEN_SECONDS,
        )
    return jars


def compiled(version: str, jars: Path, sources: Sequence[Path]) -> Path:
    """Return the folder with these Java classes, compiled unless that was done before."""
    digest = hashlib.sha256(version.encode())
    for source in sources:
        digest.update(source.read_bytes())
    classes = home() / "classes" / digest.hexdigest()[:16]
    if not classes.is_dir():
        with in_one_step(classes) as folder:
            run_tool("javac", "-d", str(folder), "-cp", f"{jars}{os.sep}*", *map(str, sources))
    return classes


def _own_classes(version: str, jars: Path) -> Path:
    names = ["Node.java", "Pem.java", "Greeting.java"]
    if is_legacy(version):
        names.append("Legacy.java")
    return compiled(version, jars, [_FILES / name for name in names])


# ------------------------------------------------------------------ configuration


def _filled(name: str, **values: object) -> str:
    return string.Template((_FILES / name).read_text()).substitute(values)


def _are_free(first: int, count: int) -> bool:
    try:
        for port in range(first, first + count):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, port))
    except OSError:
        return False
    return True


def _free_ports(count: int) -> int:
    """First of `count` neighbouring free ports, below those that systems give to clients."""
    for first in random.sample(range(20_000, 32_000 - count), 200):
        if _are_free(first, count):
            return first
    raise LaunchError(f"found no {count} neighbouring free ports on {HOST}")


_ROLES = (
    "<security><authorization><identity-role-mapper/>"
    '<role name="admin" permissions="ALL"/><role name="reader" permissions="READ"/>'
    "</authorization></security>"
)


def _cache_elements(cluster: bool, roles: bool) -> str:
    """The caches of a full server, the same as those of Legacy.java and some more."""

    def cache(name: str, media_type: str, *, kind: str = "distributed", **more: str) -> str:
        attributes = f' segments="{more["segments"]}"' if cluster and "segments" in more else ""
        kind = kind if cluster else "local"
        return (
            f'<{kind}-cache name="{name}" statistics="true"{attributes}>'
            f'<encoding media-type="{media_type}"/>{more.get("inside", "")}</{kind}-cache>'
        )

    octets = "application/octet-stream"
    mortal = '<expiration lifespan="1800000" max-idle="900000"/>'

    def transactional(mode: str, locking: str) -> str:
        return (
            '<locking isolation="REPEATABLE_READ"/>'
            f'<transaction mode="{mode}" locking="{locking}"/>'
        )

    elements = [
        cache("octets", octets),
        cache("many", octets),
        cache("text", "text/plain"),
        cache("json", "application/json"),
        cache("objects", "application/x-java-object"),
        cache("mortal", octets, inside=mortal),
        cache("multimap", octets),
        cache("proto", "application/x-protostream"),
        cache("tx", octets, inside=transactional("NON_XA", "PESSIMISTIC")),
        cache("xa", octets, inside=transactional("FULL_XA", "OPTIMISTIC")),
    ]
    if roles:
        for_them = '<security><authorization roles="admin reader"/></security>'
        elements.append(cache("guarded", octets, inside=for_them))
    if cluster:
        elements += [
            cache("segments20", octets, segments="20"),
            cache("replicated", octets, kind="replicated"),
            cache("invalidation", octets, kind="invalidation"),
        ]
    return "\n    ".join(elements)


def make_key(folder: Path, name: str, owner: str) -> Path:
    """Make a key (name.pfx) of `owner` and return its certificate as PEM."""
    certificate = folder / f"{name}.pem"
    common = ["-alias", name, "-keystore", str(folder / f"{name}.pfx"), *_STORE]
    run_tool(
        "keytool",
        "-genkeypair",
        *common,
        "-keyalg",
        "RSA",
        "-keysize",
        "2048",
        "-validity",
        "3650",
        "-dname",
        f"CN={owner}",
        "-ext",
        f"SAN=dns:localhost,ip:{HOST}",
    )
    run_tool("keytool", "-exportcert", "-rfc", *common, "-file", str(certificate))
    return certificate


def _make_client_key(folder: Path, classes: Path) -> Path:
    """Make the key of a client whom the server knows (trust.pfx); return it with certificate."""
    known = make_key(folder, "client", USER)
    trust = ["-keystore", str(folder / "trust.pfx"), *_STORE]
    run_tool("keytool", "-importcert", "-noprompt", "-alias", "client", "-file", str(known), *trust)
    secret = folder / "client-key.pem"
    store = str(folder / "client.pfx")
    secret.write_text(run_tool("java", "-cp", str(classes), "Pem", store, STORE_PASSWORD, "client"))
    return secret


# ------------------------------------------------------------------ ping


def _read_varint(stream: IO[bytes]) -> int:
    value = shift = 0
    while True:
        byte = stream.read(1)
        if not byte or shift > 63:
            raise ConnectionError("the answer to PING broke off")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7


def ping(address: tuple[str, int], context: ssl.SSLContext | None = None) -> tuple[int, int]:
    """Send one PING; return topology id and number of servers (0, 0 of a server on its own)."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection(address, timeout=3))
        if context is not None:
            secured = context.wrap_socket(connection, server_hostname="localhost")
            connection = stack.enter_context(secured)
        # Version 2.0, the default cache, no flags, intelligence 3, topology 0.
        connection.sendall(bytes.fromhex("a0 01 14 17 00 00 03 00"))
        with connection.makefile("rb") as stream:
            magic, message_id, opcode, status, marker = stream.read(5).ljust(5, b"\xff")
            if (magic, message_id, opcode, status) != (0xA1, 1, 0x18, 0):
                raise ConnectionError(f"PING was answered with opcode {opcode}, status {status}")
            return (_read_varint(stream), _read_varint(stream)) if marker == 1 else (0, 0)


# ------------------------------------------------------------------ servers


@dataclass
class Node:
    """One server process."""

    port: int
    pid: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    command: list[str] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def alive(self) -> bool:
        if self.process is not None:
            return self.process.poll() is None
        # The pid may be somebody else's by now; only ours has this folder in its command.
        try:
            command = Path(f"/proc/{self.pid}/cmdline").read_text(errors="replace")
        except FileNotFoundError:
            if sys.platform == "linux":
                return False
            command = subprocess.run(
                ["ps", "-ww", "-o", "args=", "-p", str(self.pid)], capture_output=True, text=True
            ).stdout
        return str(self.folder) in command


def end(nodes: Sequence[Node]) -> None:
    """End these nodes: at once those whose pipe we hold, politely and then firmly the others."""
    for node in nodes:
        if node.process is not None and node.process.stdin is not None:
            node.process.stdin.close()
        elif node.alive():
            os.kill(node.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    for node in nodes:
        while node.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        if node.alive():
            os.kill(node.pid, signal.SIGKILL)
        if node.process is not None:
            node.process.wait()


class Infinispan:
    """One server, or a cluster of `nodes` servers, on free ports of 127.0.0.1.

    Args:
        auth: Clients have to log in: as USER with PASSWORD, or by certificate or token, below.
        tls: The endpoint speaks TLS only: see `context`.
        certificates: With `tls`, clients have to show a certificate, and log in by that.
        introspection: URL of a service that knows tokens: clients log in by those.
        folder: Where configuration and logs go; a temporary folder when None.
        port: Node i listens on port + i; free ports when None.
        wait: Seconds within which all nodes have to be ready.
        detached: The servers outlive this process; `end(nodes)` is the caller's business.
        jvm: Options of each server's JVM; by default those that let it start quickly.
    """

    def __init__(
        self,
        version: str = MODERN,
        *,
        nodes: int = 1,
        auth: bool = False,
        tls: bool = False,
        certificates: bool = False,
        introspection: str | None = None,
        folder: Path | None = None,
        port: int | None = None,
        wait: float = 120.0,
        detached: bool = False,
        jvm: Sequence[str] = _QUICK_START,
    ) -> None:
        if tls and is_legacy(version):
            raise LaunchError(f"{version} offers no TLS here")
        if introspection and is_legacy(version):
            raise LaunchError(f"{version} takes no tokens here")
        self.version = version
        self.size = nodes
        self.nodes: list[Node] = []
        self.certificate: Path | None = None
        self.client_key: Path | None = None
        self._auth = auth
        self._tls = tls
        self._certificates = certificates
        self._introspection = introspection
        self._folder = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._port = port
        self._wait = wait
        self._detached = detached
        self._jvm = jvm

    @property
    def context(self) -> ssl.SSLContext | None:
        """What a client needs for TLS: whom to trust, and where the server wants one a certificate
        that it knows."""
        if self.certificate is None:
            return None
        context = ssl.create_default_context(cafile=str(self.certificate))
        if self.client_key is not None:
            context.load_cert_chain(self.client_key)
        return context

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [node.address for node in self.nodes]

    @property
    def is_whole(self) -> bool:
        """Whether no node is dead."""
        return all(node.alive() for node in self.nodes)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start all nodes and wait until each of them answers and knows all the others."""
        jars = fetch(self.version)
        _check_java()
        folder = self._folder
        if folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="infinispan-")
            folder = Path(self._temporary.name)
        folder.mkdir(parents=True, exist_ok=True)
        classes = _own_classes(self.version, jars)
        class_path = os.pathsep.join([str(classes), str(_SERVICES), f"{jars}{os.sep}*"])
        if self._tls:
            self.certificate = make_key(folder, "server", "localhost")
            if self._certificates:
                self.client_key = _make_client_key(folder, classes)
        deadline = time.monotonic() + self._wait
        try:
            for attempt in range(3):
                try:
                    self._start_nodes(folder / f"try{attempt}", class_path, deadline)
                    return
                except _PortTakenError:
                    # Somebody was faster: between looking for a free port and its use lies a start.
                    if self._port is not None or attempt == 2:
                        raise
                    end(self.nodes)
                    self.nodes = []
        except BaseException:
            self.stop()
            raise

    def _start_nodes(self, folder: Path, class_path: str, deadline: float) -> None:
        # Behind those for clients two each: the members' talk, and how they notice a dead one.
        first = _free_ports(self.size * (3 if self.size > 1 else 1))
        cluster_ports = first + self.size if self.size > 1 else 0
        if self._port is not None:
            first = self._port
        if not _are_free(first, self.size):
            raise _PortTakenError(f"port {first} of {HOST} is taken, or one of the next")
        for index in range(self.size):
            where = folder / f"node{index}"
            arguments = self._prepare(where, index, first + index, cluster_ports)
            self.nodes.append(self._launch(where, first + index, [class_path, *arguments]))
            if index == 0:
                self._wait_until_ready(deadline)  # the others find it and join
        self._wait_until_ready(deadline)

    def stop(self) -> None:
        end(self.nodes)
        self.nodes = []
        if self._temporary is not None:
            self._temporary.cleanup()

    def kill_node(self, index: int) -> None:
        """Let a node die as by kill -9. In a cluster the others make a new topology."""
        process = self.nodes[index].process
        assert process is not None
        process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def start_node(self, index: int) -> None:
        """Start a node that died anew, with nothing in it, and wait until it is a member."""
        self.nodes[index] = self._relaunch(self.nodes[index])
        self._wait_until_ready(time.monotonic() + self._wait)

    def restart(self) -> None:
        """Start all nodes anew, after all of them died."""
        dead, self.nodes = self.nodes, []
        for node in dead:
            self.nodes.append(self._relaunch(node))
            if len(self.nodes) == 1:
                self._wait_until_ready(time.monotonic() + self._wait)
        self._wait_until_ready(time.monotonic() + self._wait)

    def _relaunch(self, node: Node) -> Node:
        assert not node.alive(), f"port {node.port}: it runs"
        # What a dead node leaves there keeps the next one from starting.
        shutil.rmtree(node.folder / "data", ignore_errors=True)
        return self._run(node.folder, node.port, node.command)

    def _prepare(self, folder: Path, index: int, port: int, cluster: int) -> list[str]:
        """Write a node's configuration; return its main class and the arguments of that."""
        (folder / "conf").mkdir(parents=True)
        (folder / "lib").mkdir()  # the full server wants this folder, empty or not
        shutil.copy(_FILES / "log4j2.xml", folder / "conf")
        if is_legacy(self.version):
            return self._prepare_legacy(folder, index, port, cluster)
        return self._prepare_full(folder, index, port, cluster)

    def _launch(self, folder: Path, port: int, arguments: list[str]) -> Node:
        class_path, *main = arguments
        command = [
            tool("java"),
            *self._jvm,
            "-Djava.net.preferIPv4Stack=true",
            f"-Djgroups.bind_addr={HOST}",
            f"-Djava.io.tmpdir={folder}",
            f"-Dlog4j.configurationFile={folder / 'conf' / 'log4j2.xml'}",
            *(f"--add-opens={package}=ALL-UNNAMED" for package in _LEGACY_OPENS),
            "-cp",
            class_path,
            *([] if self._detached else ["Node"]),
            *main,
        ]
        return self._run(folder, port, command)

    def _run(self, folder: Path, port: int, command: list[str]) -> Node:
        with (folder / "server.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if self._detached else subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,
            )
        return Node(port, process.pid, folder, process, command)

    def _cluster_settings(self, index: int, first: int) -> dict[str, object]:
        hosts = (f"{HOST}[{first + 2 * i}]" for i in range(self.size))
        port = first + 2 * index
        return {"port": port, "failure_port": port + 1, "members": ",".join(hosts)}

    def _prepare_legacy(self, folder: Path, index: int, port: int, cluster: int) -> list[str]:
        stack = ""
        if cluster:
            settings = self._cluster_settings(index, cluster)
            (folder / "conf" / "jgroups.xml").write_text(_filled("jgroups-legacy.xml", **settings))
            stack = str(folder / "conf" / "jgroups.xml")
        login = [USER, PASSWORD] if self._auth else ["", ""]
        return ["Legacy", str(port), f"node{index}", stack, *login]

    def _prepare_full(self, folder: Path, index: int, port: int, cluster: int) -> list[str]:
        stack = transport = ""
        if cluster:
            stack = _filled("jgroups.xml", **self._cluster_settings(index, cluster))
            transport = f'<transport stack="loopback" node-name="node{index}"/>'
        for name in ("server.pfx", "trust.pfx"):
            if (made := folder.parents[1] / name).exists():
                shutil.copy(made, folder / "conf")
        authentication = ""
        if self._auth:
            mechanisms = SASL_MECHANISMS
            if self._certificates:
                mechanisms = "EXTERNAL"
            elif self._introspection:
                mechanisms = "OAUTHBEARER"
            authentication = (
                f'<authentication><sasl server-name="hotrod-codec" qop="auth" '
                f'mechanisms="{mechanisms}"/></authentication>'
            )
        realm = security_realm = ""
        if self._auth or self._tls:
            security_realm = 'security-realm="default"'
            if self._certificates:
                security_realm += ' require-ssl-client-auth="true"'
            realm = (
                '<security><security-realms><security-realm name="default">'
                f"{self._identity()}{self._users(folder)}"
                "</security-realm></security-realms></security>"
            )
        roles = self._auth and not self._certificates and not self._introspection
        configuration = _filled(
            "infinispan.xml",
            schema=".".join(self.version.split(".")[:2]),
            stack=stack,
            transport=transport,
            roles=_ROLES if roles else "",
            caches=_cache_elements(bool(cluster), roles),
            port=port,
            realm=realm,
            security_realm=security_realm,
            authentication=authentication,
        )
        (folder / "conf" / "infinispan.xml").write_text(configuration)
        return ["org.infinispan.server.Bootstrap", "-s", str(folder)]

    def _identity(self) -> str:
        """Who the server is, and which certificates it knows."""
        if not self._tls:
            return ""
        known = (
            f'<truststore path="trust.pfx" password="{STORE_PASSWORD}"/>'
            if self._certificates
            else ""
        )
        return (
            '<server-identities><ssl><keystore path="server.pfx" alias="server" '
            f'password="{STORE_PASSWORD}"/>{known}</ssl></server-identities>'
        )

    def _users(self, folder: Path) -> str:
        """How the server knows users. One way only: who is known by a certificate, of that one the
        passwords are not asked."""
        if self._certificates:
            return "<truststore-realm/>"
        if self._introspection:
            return (
                f'<token-realm name="tokens" client-id="clients" '
                f'auth-server-url="{self._introspection}">'
                f'<oauth2-introspection introspection-url="{self._introspection}" '
                'client-id="server" client-secret="secret"/></token-realm>'
            )
        if not self._auth:
            return ""
        (folder / "conf" / "users.properties").write_text(
            f"{USER}={PASSWORD}\n{READER}={PASSWORD}\n"
        )
        (folder / "conf" / "groups.properties").write_text(f"{USER}=admin\n{READER}=reader\n")
        return (
            '<properties-realm groups-attribute="Roles">'
            '<user-properties path="users.properties" plain-text="true"/>'
            '<group-properties path="groups.properties"/></properties-realm>'
        )

    def _wait_until_ready(self, deadline: float) -> None:
        """Wait until each node answers, with the same topology of all of them."""
        while (problem := self._problem()) is not None:
            if time.monotonic() > deadline:
                raise LaunchError(f"not ready after {self._wait:.0f} s: {problem}")
            time.sleep(0.1)

    def _problem(self) -> str | None:
        topologies = set()
        members = len(self.nodes)
        context = self.context
        for node in self.nodes:
            if not node.alive() or _FAILED.search(node.log()):
                tail = "\n  ".join(node.log().splitlines()[-40:])
                kind = _PortTakenError if _TAKEN.search(node.log()) else LaunchError
                raise kind(f"Infinispan {self.version} did not start:\n  {tail}")
            if not _STARTED.search(node.log()):
                return f"port {node.port}: still starting"  # it may answer, but not yet well
            try:
                topologies.add(ping(node.address, context))
            except OSError as error:
                return f"port {node.port}: {error}"
        if self.size > 1 and (len(topologies) > 1 or next(iter(topologies))[1] != members):
            return f"wanted one topology of {members} servers, found {sorted(topologies)}"
        return None


# ------------------------------------------------------------------ command


def _state_file(name: str) -> Path:
    return home() / "run" / name / "state.json"


def _load(name: str) -> list[Node]:
    try:
        state = json.loads(_state_file(name).read_text())
    except FileNotFoundError:
        return []
    return [Node(node["port"], node["pid"], Path(node["folder"])) for node in state["nodes"]]


def _start(options: argparse.Namespace) -> int:
    file = _state_file(options.name)
    if any(node.alive() for node in _load(options.name)):
        raise LaunchError(f"'{options.name}' is running; stop it first or give another --name")
    shutil.rmtree(file.parent, ignore_errors=True)
    servers = Infinispan(
        options.version,
        nodes=options.nodes,
        auth=options.auth,
        tls=options.tls or options.certificates,
        certificates=options.certificates,
        folder=file.parent,
        port=options.port,
        detached=True,
    )
    began = time.monotonic()
    servers.start()
    nodes = [{"port": n.port, "pid": n.pid, "folder": str(n.folder)} for n in servers.nodes]
    file.write_text(json.dumps({"version": options.version, "nodes": nodes}, indent=1))
    for node in servers.nodes:
        print(f"{HOST}:{node.port}  pid {node.pid}  log {node.folder / 'server.log'}")
    if servers.certificate is not None:
        print(f"server's certificate {servers.certificate}")
    if servers.client_key is not None:
        print(f"client's key {servers.client_key}")
    print(f"Infinispan {options.version} ready after {time.monotonic() - began:.1f} s")
    return 0


def _stop(options: argparse.Namespace) -> int:
    nodes = _load(options.name)
    end(nodes)
    shutil.rmtree(_state_file(options.name).parent, ignore_errors=True)
    print(f"stopped {len(nodes)} server(s)")
    return 0


def _status(options: argparse.Namespace) -> int:
    nodes = _load(options.name)
    for node in nodes:
        print(f"{HOST}:{node.port}  pid {node.pid}  {'running' if node.alive() else 'gone'}")
    if not nodes:
        print(f"no server named '{options.name}'")
    return 0 if nodes and all(node.alive() for node in nodes) else 3


def _fetch(options: argparse.Namespace) -> int:
    print(fetch(options.version))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Real Infinispan servers on 127.0.0.1.")
    commands = parser.add_subparsers(required=True, metavar="start|stop|status|fetch")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text)
        added.set_defaults(run=run)
        if name != "fetch":
            added.add_argument("--name", default="default", help="to run several side by side")
        if name in ("start", "fetch"):
            tried = f"tried: {MODERN} (default), {OLDER}, {LEGACY}"
            added.add_argument("--version", default=MODERN, help=tried)
        return added

    start = command("start", _start, "start and wait until ready")
    start.add_argument("--nodes", type=int, default=1, choices=range(1, 6))
    start.add_argument("--port", type=int, help="of the first node (default: a free one)")
    start.add_argument("--auth", action="store_true", help=f"log in as {USER}, {PASSWORD}")
    start.add_argument("--tls", action="store_true", help="TLS")
    start.add_argument(
        "--certificates", action="store_true", help="TLS, where clients show a certificate"
    )
    command("stop", _stop, "stop")
    command("status", _status, "say whether it runs")
    command("fetch", _fetch, "only fetch the jars")
    return parser


def _interrupted(_signal: int, _frame: object) -> None:
    raise SystemExit(143)


def main() -> int:
    # A start that is told to end takes its half-started servers with it.
    signal.signal(signal.SIGTERM, _interrupted)
    options = _parser().parse_args()
    try:
        return int(options.run(options))
    except LaunchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
