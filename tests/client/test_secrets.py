"""Passwords, tokens and passphrases stand in no text, whatever goes wrong: neither in errors and
their tracebacks, nor in logs, reprs and what the command prints; not even parts of them."""

from __future__ import annotations

import base64
import io
import pickle
import ssl
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from client.both import KINDS, connect
from client.test_config import made
from hotrod_codec import (
    AsyncClient,
    Client,
    ConfigurationError,
    EmbeddedServer,
    HotRodError,
    Op,
    Status,
    encode_request,
    encode_response,
    sasl,
)
from hotrod_codec.cli import main
from hotrod_codec.client.config import Configuration, configure
from hotrod_codec.errors import AuthenticationError
from server.peer import Peer

SECRET = "Zq7/kV@w2?mX#j9%Tb"  # with all that means something in a URI
CERTIFICATES = Path(__file__).parent.parent / "server" / "certificates"
PASSPHRASE = "hG4x-vN8r"  # of the key in client-encrypted.pem


class Shown:
    """All text that somebody might read."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self._texts: list[str] = []

    def add(self, *things: object) -> None:
        for thing in things:
            self._texts += [thing] if isinstance(thing, str) else [repr(thing), str(thing)]

    def error(self, error: BaseException) -> None:
        self._texts += traceback.format_exception(error)
        seen: BaseException | None = error
        while seen is not None:
            self.add(seen, seen.args, vars(seen), getattr(seen, "__notes__", ()))
            seen = seen.__cause__ or seen.__context__

    def check(self, secret: str = SECRET) -> None:
        text = "\n".join([*self._texts, self._caplog.text])
        assert text.strip()
        data = secret.encode()
        forms = {quote(secret, safe=""): 4, data.hex(): 10, data.hex(" "): 11, _base64(data): 4}
        for form, length in {secret: 4, **forms}.items():
            for i in range(len(form) - length + 1):
                if (part := form[i : i + length]) in text:
                    line = next(line for line in text.splitlines() if part in line)
                    pytest.fail(f"{part!r} of {secret!r} stands in: {line}")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


@pytest.fixture
def shown(caplog: pytest.LogCaptureFixture) -> Shown:
    caplog.set_level("DEBUG")
    return Shown(caplog)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_check_finds_what_it_looks_for(shown: Shown, caplog: pytest.LogCaptureFixture) -> None:
    for text in (SECRET[5:9], quote(SECRET, safe=""), _base64(SECRET.encode())):
        found = Shown(caplog)
        found.add(f"password {text}")
        with pytest.raises(pytest.fail.Exception, match="stands in: password"):
            found.check()


# ---- objects ------------------------------------------------------------------------------------


def test_objects(shown: Shown) -> None:
    settings: dict[str, Any] = {"username": "me", "password": SECRET, "token": SECRET}
    c = made(**settings, client_certificate="c.pem", client_key_password=SECRET)
    assert c.password == SECRET  # and it is still what it was
    exchange = sasl.client_exchange("PLAIN", username="me", password=SECRET)
    exchange.start()
    shown.add(repr(c), repr(c.password), f"{[c.password]}", exchange)
    for client in (Client(made(**settings)), AsyncClient(made(**settings))):
        cache = client.cache()
        shown.add(client, client.configuration.__repr__(), cache, client.admin, client.counters)
        shown.add(*map(repr, vars(client).values()), *map(repr, vars(client._dispatcher).values()))
    with EmbeddedServer(users={"me": SECRET}) as server:
        shown.add(server, *map(repr, (server._handler, server._handler.authenticator)))
    shown.check()


# ---- what clients are told ----------------------------------------------------------------------

ENCODED = quote(SECRET, safe="")
WRONG: dict[str, Callable[[Path], object]] = {
    "unknown setting": lambda _: made(pasword=SECRET),  # type: ignore[call-arg]
    "no user": lambda _: made(password=SECRET),
    "bytes": lambda _: made(username="me", password=SECRET.encode()),  # type: ignore[arg-type]
    "address with login": lambda _: made(addresses=f"me:{SECRET}@host"),
    "address tuple": lambda _: made(addresses=(f"me:{SECRET}@ho st", 1)),
    "clusters": lambda _: made(clusters={"b": f"me:{SECRET}@host:1"}),
    "URI, other scheme": lambda _: Configuration.from_uri(f"redis://me:{ENCODED}@host"),
    "URI, no scheme": lambda _: Configuration.from_uri(f"me:{ENCODED}@host"),
    "URI, not encoded": lambda _: Configuration.from_uri(f"hotrod://me:{SECRET}@host"),
    "URI, port": lambda _: Configuration.from_uri(f"hotrod://me:{ENCODED}@host:port"),
    "URI, no user": lambda _: Configuration.from_uri(f"hotrod://:{ENCODED}@host"),
    "URI, parameter": lambda _: Configuration.from_uri(f"hotrod://h?pasword={ENCODED}"),
    "URI, no name": lambda _: Configuration.from_uri(f"hotrod://h?{ENCODED}"),
    "file, name": lambda folder: configure(properties=_file(folder, f"auth_pasword={SECRET}")),
    "file, line": lambda folder: configure(
        properties=_file(folder, f"auth_password={SECRET}\\u12zz")
    ),
    "file, URI": lambda folder: configure(
        properties=_file(folder, f"uri=hotrod://me:{SECRET}@host")
    ),
    "environment": lambda _: configure(
        settings={"username": ""}, variables={"HOTROD_PASSWORD": SECRET}
    ),
}


def _file(folder: Path, *lines: str) -> Path:
    path = folder / "hotrod-client.properties"
    path.write_text("".join(f"infinispan.client.hotrod.{line}\n" for line in lines))
    return path


@pytest.mark.parametrize("name", WRONG)
def test_configurations_that_make_no_sense(name: str, tmp_path: Path, shown: Shown) -> None:
    try:
        shown.add(WRONG[name](tmp_path), "it made sense")
    except ConfigurationError as error:
        shown.error(error)
    shown.check()


@pytest.mark.parametrize("begin", ["12", SECRET[:5]])
@pytest.mark.parametrize("rest", ["12", "pass", "a=b", "tls=true&x", f"{SECRET[7:]}=b"])
@pytest.mark.parametrize("delimiter", ["/", "?", "#"])
def test_a_password_in_a_uri_that_is_not_encoded(
    begin: str, delimiter: str, rest: str, shown: Shown
) -> None:
    with pytest.raises(ConfigurationError, match="are %2F, %3F and %23") as caught:
        Configuration.from_uri(f"hotrod://me:{begin}{delimiter}{rest}{SECRET[:7]}@host")
    shown.error(caught.value)
    shown.check()


def test_other_uris_are_none_of_these() -> None:
    c = Configuration.from_uri("hotrod://me:a%2Fb%3Fc%23d@e@host:1?auth_username=me@corp#top")
    assert (c.username, c.password, c.addresses) == ("me@corp", "a/b?c#d@e", (("host", 1),))
    c = Configuration.from_uri("hotrod://host/path?auth_username=me@corp")
    assert (c.username, c.addresses) == ("me@corp", (("host", 11222),))


# ---- logins -------------------------------------------------------------------------------------

PASSWORDS = [name for name in sasl.MECHANISMS if name not in ("EXTERNAL", "OAUTHBEARER")]


@pytest.mark.parametrize("mechanism", PASSWORDS)
def test_wrong_passwords(mechanism: str, kind: str, shown: Shown) -> None:
    users = {"user": "another password"}
    with (
        EmbeddedServer(users=users, mechanisms=[mechanism]) as server,
        connect(
            kind,
            addresses=server.address,
            username="user",
            password=SECRET,
            sasl_mechanisms=[mechanism],
        ) as client,
    ):
        cache = client.cache()
        with pytest.raises(AuthenticationError) as caught:
            cache.get(SECRET)
        shown.error(caught.value)
        shown.error(pickle.loads(pickle.dumps(caught.value)))
        shown.add(repr(client), repr(cache))
    shown.check()


@pytest.mark.parametrize("password", [SECRET + "\x00", SECRET + "\x07", SECRET + "\ud800", ""])
@pytest.mark.parametrize("mechanism", PASSWORDS)
def test_passwords_that_cannot_be_sent(mechanism: str, password: str, shown: Shown) -> None:
    with (
        EmbeddedServer(users={"user": "other"}, mechanisms=[mechanism]) as server,
        Client(
            addresses=server.address,
            username="user",
            password=password,
            sasl_mechanisms=[mechanism],
        ) as client,
    ):
        with pytest.raises(HotRodError) as caught:
            client.cache().get("k")
        shown.error(caught.value)
    shown.check()


def test_answers_that_break_logins(kind: str, shown: Shown) -> None:
    with EmbeddedServer(users={"user": SECRET}, mechanisms=["PLAIN"]) as server:
        faults: list[Callable[[], None]] = [
            lambda: server.faults.cut(3, op=Op.AUTH),
            lambda: server.faults.replace(b"\xa1\x03\x24\x00\xff", op=Op.AUTH),
            lambda: server.faults.drop(op=Op.AUTH),
            lambda: server.faults.status(Status.SERVER_ERROR, "no", op=Op.AUTH),
        ]
        for arrange in faults:
            arrange()
            with connect(
                kind,
                server.uri,
                sasl_mechanisms=["PLAIN"],
                connect_timeout=0.2,
                max_retries=0,
            ) as client:
                with pytest.raises(HotRodError) as caught:
                    client.cache().get("k")
                shown.error(caught.value)
            server.faults.clear()
        assert not server.requests.get(Op.GET)
    shown.check()


def test_a_token(kind: str, shown: Shown) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.Zq7kVw2mXj9Tb"
    answer = encode_response("auth_mech_list", message_id=1, mechanisms=["OAUTHBEARER"])
    for sent in (token, token + "\x00", token + " "):
        with (
            EmbeddedServer() as server,
            connect(
                kind,
                addresses=server.address,
                token=sent,
                sasl_mechanisms=["OAUTHBEARER"],
                allow_plain_without_tls=True,
            ) as client,
        ):
            server.faults.replace(answer, op=Op.AUTH_MECH_LIST, times=None)
            with pytest.raises(HotRodError) as caught:
                client.cache().get("k")
            shown.error(caught.value)
    shown.check(token)


def test_a_login_that_the_server_does_not_take(shown: Shown) -> None:
    """What a client sends may be another one's password, typed into the wrong field."""
    with EmbeddedServer(users={"user": "other"}, mechanisms=["PLAIN", "CRAM-MD5"]) as server:
        for mechanism, response in (
            ("PLAIN", f"\0{SECRET}\0{SECRET}".encode()),
            ("PLAIN", SECRET.encode()),
            ("CRAM-MD5", b""),
        ):
            with Peer(server.address) as peer:
                answer = peer.call(Op.AUTH, mechanism=mechanism, response=response)
                if not answer.is_error:
                    answer = peer.call(Op.AUTH, mechanism=mechanism, response=SECRET.encode())
                assert answer.is_error
                shown.add(answer.error, answer)
    shown.check()


# ---- TLS ----------------------------------------------------------------------------------------


def test_tls_that_fails(kind: str, shown: Shown) -> None:
    tls = str(CERTIFICATES / "server.pem")
    foreign = str(CERTIFICATES / "client.pem")
    with EmbeddedServer(users={"user": SECRET}, tls=tls) as server:
        for settings in ({}, {"sni_host_name": "elsewhere"}, {"trust_file": foreign}):
            given: dict[str, Any] = {"max_retries": 0, "connect_timeout": 5, **settings}
            with connect(kind, server.uri, **given) as client:
                with pytest.raises(HotRodError) as caught:
                    client.cache().get("k")
                shown.error(caught.value)
        # In the clear, where TLS is spoken.
        plain = server.uri.replace("hotrods:", "hotrod:")
        with connect(kind, plain, max_retries=0, connect_timeout=5) as client:
            with pytest.raises(HotRodError) as caught:
                client.cache().get("k")
            shown.error(caught.value)
    shown.check()


def test_keys_that_are_encrypted(shown: Shown) -> None:
    pem = CERTIFICATES / "client-encrypted.pem"
    right = made(client_certificate=pem, client_key_password=PASSPHRASE)
    assert isinstance(right.make_ssl_context(), ssl.SSLContext)
    for passphrase in (SECRET, PASSPHRASE + SECRET, SECRET * 100, ""):
        wrong = made(client_certificate=pem, client_key_password=passphrase)
        with pytest.raises(ConfigurationError, match="client_certificate") as caught:
            wrong.make_ssl_context()
        shown.error(caught.value)
        with pytest.raises(ConfigurationError) as caught:
            Client(wrong)
        shown.error(caught.value)
    shown.check()
    shown.check(PASSPHRASE)


# ---- the command --------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "OAUTHBEARER", "CRAM-MD5"])
@pytest.mark.parametrize("form", [[], ["--json"], ["--all"]])
def test_explaining_a_login(
    mechanism: str,
    form: list[str],
    shown: Shown,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = encode_request("auth", mechanism=mechanism, response=b"\0me\0" + SECRET.encode())
    for data in (frame, frame[:-2], frame + b"\x00", frame[:-30] + b"\xff" + frame[-29:]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        main(["explain", "--binary", *form, "-"])
    output = capsys.readouterr()
    assert mechanism in output.out
    shown.add(output.out, output.err)
    shown.check()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--auth", SECRET],
        ["--auth", f":{SECRET}"],
        ["--auth", f"me:{SECRET}", "--host", "256.0.0.1"],
        ["--auth", f"me:{SECRET}", "--tls", "nothing.pem"],
        ["--auth", f"me:{SECRET}", "--nodes", "0"],
        ["--auth", f"me:{SECRET}", "--nodes", "1000"],
    ],
)
def test_serving_with_arguments_that_make_no_sense(
    arguments: list[str], shown: Shown, capsys: pytest.CaptureFixture[str]
) -> None:
    with suppress(SystemExit):
        assert main(["serve", "--port", "0", *arguments]) != 0
    output = capsys.readouterr()
    shown.add(output.out, output.err)
    shown.check()
