"""What a client can be told: names, types, defaults, and what is valid. Pure data, no I/O.

Every setting is one field of Configuration; its `metadata` holds what it means, what is valid.
URIs (uri.py) and properties files (properties.py) are read into the same keywords, by the names
in texts.py, and docs/configuration.md is made from the fields.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypedDict, cast

from hotrod_codec.errors import ConfigurationError
from hotrod_codec.marshallers import BYTES, JSON, PROTOSTREAM, TEXT, Marshaller, marshaller_for
from hotrod_codec.ops import Intelligence, Version
from hotrod_codec.sasl import MECHANISMS
from hotrod_codec.values import Limits, ServerAddress

if TYPE_CHECKING:
    import ssl

__all__ = [
    "DEFAULT_PORT",
    "MARSHALLERS",
    "CacheSettings",
    "ClusterSettings",
    "Configuration",
    "Mistakes",
    "NearSize",
    "Seconds",
    "Settings",
    "address_of",
    "as_marshaller",
    "as_seconds",
    "configure",
    "environment",
    "near_size",
]

DEFAULT_PORT: Final = 11222
UNBOUNDED: Final = 2**63 - 1
"""As the size of a near cache: no limit."""

MARSHALLERS: Final[Mapping[str, Marshaller[Any]]] = {
    "text": TEXT,
    "bytes": BYTES,
    "json": JSON,
    "protostream": PROTOSTREAM,
}
"""Marshallers by the names that settings take; a media type will do as well."""


_ENVIRONMENT: Final = {
    "HOTROD_USERNAME": "username",
    "HOTROD_PASSWORD": "password",
    "HOTROD_TOKEN": "token",
}

_LONGEST: Final = 2**32
"""Seconds: what systems can wait for; 136 years."""

Address: TypeAlias = str | tuple[str, int]
Seconds: TypeAlias = float | timedelta
NearSize: TypeAlias = bool | int | None
TraceContext: TypeAlias = Callable[[], Mapping[str, str] | None]
AddressMap: TypeAlias = (
    Mapping[tuple[str, int], tuple[str, int]] | Callable[[str, int], tuple[str, int]]
)


class Mistakes(list[str]):
    """What is wrong, one line each, so that all of it is said at once."""

    def raise_any(self) -> None:
        if self:
            raise ConfigurationError("; ".join(self))


class Secret(str):
    """Text that no repr, log line or error shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


# ---- what is valid ------------------------------------------------------------------------------
# A check gets a value and returns it in the form in which it is kept, or raises ValueError with
# what is valid.

_Check: TypeAlias = Callable[[Any], Any]


_LOGIN: Final = "an address has no '@': username and password are settings of their own"


def address_of(value: Any) -> ServerAddress:
    """ "host", "host:port", "[v6]:port" or (host, port). Raises ValueError."""
    if isinstance(value, str):
        if "@" in value:
            raise ValueError(_LOGIN)
        value = _split(value)
    if isinstance(value, tuple) and len(value) == 2:
        host, port = value
        if isinstance(host, str) and "@" in host:
            raise ValueError(_LOGIN)
    else:
        raise ValueError(f"expected 'host:port' or (host, port), got {type(value).__name__}")
    if not isinstance(host, str) or not host or any(c.isspace() for c in host):
        raise ValueError(f"{host!r} is no host")
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        raise ValueError(f"{port!r} is no port; 1 to 65535 are")
    return ServerAddress(host, port)


def _split(text: str) -> tuple[str, int]:
    text = text.strip()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r}: expected '[address]:port'")
        port = rest[1:] if rest else ""
    elif text.count(":") > 1:
        host, port = text, ""  # an IPv6 address without a port
    else:
        host, _, port = text.partition(":")
        if text.endswith(":"):
            raise ValueError(f"{text!r}: no port after the colon")
    if not port:
        return host, DEFAULT_PORT
    if not (port.isascii() and port.isdigit()):
        raise ValueError(f"{port!r} is no port; 1 to 65535 are")
    return host, int(port)


def _addresses(value: Any) -> tuple[ServerAddress, ...]:
    if isinstance(value, str):
        value = [part for part in value.replace(";", ",").split(",") if part.strip()]
    elif isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], int):
        value = [value]
    if not isinstance(value, Iterable):
        raise ValueError(f"expected addresses, got {type(value).__name__}")
    found = tuple(address_of(each) for each in value)
    if not found:
        raise ValueError("at least one address is needed")
    return found


def as_seconds(value: Seconds) -> float:
    """A duration in seconds. Raises ValueError with what is valid."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected seconds (a number or a timedelta), got {type(value).__name__}")
    if not 0 < value <= _LONGEST:
        raise ValueError(f"{value} s; more than 0 and up to {_LONGEST} are valid")
    return float(value)


def _number(least: int, most: int | None = None) -> _Check:
    valid = f"{least} or more" if most is None else f"{least} to {most}"

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"expected int, got {type(value).__name__}")
        if value < least or (most is not None and value > most):
            raise ValueError(f"{value}; {valid} is valid")
        return value

    return check


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected bool, got {type(value).__name__}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(
            "expected text, got " + (type(value).__name__ if value != "" else "nothing")
        )
    return value


def _secret(value: Any) -> Secret:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {type(value).__name__}")
    return Secret(value)


def _file(value: Any) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"expected a path, got {type(value).__name__}")
    return Path(value)


def _version(value: Any) -> Version | None:
    if value is None or value == "auto":
        return None
    if isinstance(value, Version):
        return value
    known = {f"{v // 10}.{v % 10}": v for v in Version}
    if value not in known:
        raise ValueError(f"{value!r}; 'auto' and {', '.join(known)} are valid")
    return known[value]


def _intelligence(value: Any) -> Intelligence:
    names = [i.name.lower() for i in Intelligence]
    if isinstance(value, str) and value.lower() in names:
        return Intelligence[value.upper()]
    if isinstance(value, int) and not isinstance(value, bool) and value in list(Intelligence):
        return Intelligence(value)
    raise ValueError(f"{value!r}; {', '.join(names)} (1, 2, 3) are valid")


def _mechanisms(value: Any) -> tuple[str, ...]:
    wanted = (value,) if isinstance(value, str) else tuple(value)
    unknown = [m for m in wanted if m not in MECHANISMS]
    if unknown or not wanted:
        raise ValueError(f"{', '.join(unknown) or 'none'}; {', '.join(MECHANISMS)} are valid")
    return wanted


def as_marshaller(value: Marshaller[Any] | str) -> Marshaller[Any]:
    """A marshaller, or the one of this name or media type. Raises ValueError with what is valid."""
    if isinstance(value, str):
        if value in MARSHALLERS:
            return MARSHALLERS[value]
        if "/" in value:
            return marshaller_for(value)
        raise ValueError(f"{value!r}; {', '.join(MARSHALLERS)} and media types are valid")
    if all(hasattr(value, name) for name in ("media_type", "encode", "decode")):
        return value
    raise ValueError(
        f"expected a name or a Marshaller (media_type, encode, decode), got {type(value).__name__}"
    )


def near_size(value: NearSize) -> int:
    """How many entries a near cache has at most; 0: there is none. Raises ValueError."""
    if value is None or isinstance(value, bool):
        return UNBOUNDED if value else 0
    return int(_number(0)(value))


def _callable(value: Any) -> Any:
    if not callable(value):
        raise ValueError(f"expected a callable, got {type(value).__name__}")
    return value


def _trace_context(value: Any) -> TraceContext:
    if value == "opentelemetry":
        return _from_opentelemetry()
    if not callable(value):
        raise ValueError(f"{value!r}; 'opentelemetry' and a callable are valid")
    return cast("TraceContext", value)


def _from_opentelemetry() -> TraceContext:
    try:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError as error:
        text = f"{error}; pip install hotrod-codec[opentelemetry]"
        raise ValueError(text) from error
    inject = TraceContextTextMapPropagator().inject

    def context() -> dict[str, str]:
        found: dict[str, str] = {}
        inject(found)
        return found

    return context


def _address_map(value: Any) -> Any:
    if callable(value):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a mapping or a callable, got {type(value).__name__}")
    return {address_of(old): address_of(new) for old, new in value.items()}


def _limits(value: Any) -> Limits:
    if not isinstance(value, Limits):
        raise ValueError(f"expected Limits, got {type(value).__name__}")
    return value


def _ssl_context(value: Any) -> Any:
    if not hasattr(value, "wrap_socket"):
        raise ValueError(f"expected ssl.SSLContext, got {type(value).__name__}")
    return value


def _setting(
    check: _Check,
    default: Any,
    doc: str,
    *,
    valid: str = "",
    secret: bool = False,
) -> Any:
    """A field, with what its value has to be. None passes where it is the default."""
    about = {"check": check, "doc": doc, "valid": valid}
    return field(default=default, repr=not secret, metadata=about)


def _check_fields(settings: Any, mistakes: Mistakes, prefix: str = "") -> None:
    """Put each field into the form in which it is kept."""
    for each in fields(settings):
        value = getattr(settings, each.name)
        if value is None and each.default is None:
            continue
        try:
            object.__setattr__(settings, each.name, each.metadata["check"](value))
        except ConfigurationError as error:  # of a part: says its own names
            mistakes.append(str(error))
        except (TypeError, ValueError) as error:
            mistakes.append(f"{prefix}{each.name}: {error}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """How one cache is used; what is None is as the client's own setting."""

    force_return: bool | None = _setting(_boolean, None, "Writes give previous values back.")
    key_marshaller: Marshaller[Any] | None = _setting(
        as_marshaller, None, "How keys become bytes.", valid="as key_marshaller"
    )
    value_marshaller: Marshaller[Any] | None = _setting(
        as_marshaller,
        None,
        "How values become bytes.",
        valid="as value_marshaller",
    )
    template: str | None = _setting(
        _text, None, "A template to create the cache from when it is missing."
    )
    configuration: str | None = _setting(
        _text,
        None,
        "A definition (XML, JSON or YAML) to create the cache from when it is missing.",
    )
    near_cache: NearSize = _setting(
        near_size,
        None,
        "How many values that were read are kept here until a server tells that they changed; the "
        "least recently used ones go.",
        valid="a number, `True` (any number), `False` (none)",
    )

    def __post_init__(self) -> None:
        mistakes = Mistakes()
        _check_fields(self, mistakes)
        if self.template is not None and self.configuration is not None:
            mistakes.append("template and configuration: only one of them is possible")
        mistakes.raise_any()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """Another cluster, to go to when no server of the first answers."""

    addresses: tuple[ServerAddress, ...] = _setting(_addresses, (), "Servers to ask first.")
    client_intelligence: Intelligence | None = _setting(
        _intelligence, None, "What to know of this cluster."
    )

    def __post_init__(self) -> None:
        mistakes = Mistakes()
        _check_fields(self, mistakes)
        mistakes.raise_any()


def _caches(value: Any) -> Mapping[str, CacheSettings]:
    return _named(value, CacheSettings, "caches", lambda each: CacheSettings(**each))


def _clusters(value: Any) -> Mapping[str, ClusterSettings]:
    def make(each: Any) -> ClusterSettings:
        if isinstance(each, Mapping):
            return ClusterSettings(**each)
        return ClusterSettings(addresses=each)

    return _named(value, ClusterSettings, "clusters", make)


def _named(value: Any, kind: type[Any], what: str, make: Callable[[Any], Any]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a mapping by name, got {type(value).__name__}")
    found = {}
    mistakes = Mistakes()
    valid = [f.name for f in fields(kind)]
    for name, each in value.items():
        try:
            if isinstance(each, Mapping):
                _check_names(each, valid)
            found[name] = each if isinstance(each, kind) else make(each)
        except (ConfigurationError, TypeError) as error:
            mistakes.append(f"{what}[{name!r}]: {error}")
    mistakes.raise_any()
    return found


# ---- the settings -------------------------------------------------------------------------------


class Settings(TypedDict, total=False):
    """The keywords of a client, as they may be given; see Configuration."""

    addresses: str | Address | Iterable[Address]
    protocol_version: Version | str | None
    client_intelligence: Intelligence | int | str
    connect_timeout: Seconds
    request_timeout: Seconds
    operation_timeout: Seconds
    max_retries: int
    retry_writes: bool
    server_failure_timeout: Seconds
    ping_interval: Seconds
    max_connections: int
    max_in_flight: int
    tcp_no_delay: bool
    tcp_keep_alive: bool
    balancer: Callable[[], Any] | None
    address_map: AddressMap | None
    clusters: Mapping[str, Any]
    force_return: bool
    key_marshaller: Marshaller[Any] | str
    value_marshaller: Marshaller[Any] | str
    batch_size: int
    caches: Mapping[str, Any]
    username: str | None
    password: str | None
    token: str | None
    realm: str | None
    sasl_mechanisms: str | Iterable[str] | None
    sasl_server_name: str
    allow_plain_without_tls: bool
    tls: bool
    ssl_context: ssl.SSLContext | None
    trust_file: str | os.PathLike[str] | None
    client_certificate: str | os.PathLike[str] | None
    client_key: str | os.PathLike[str] | None
    client_key_password: str | None
    sni_host_name: str | None
    hostname_validation: bool
    tls_ciphers: str | None
    limits: Limits
    legacy_server: bool
    statistics: bool
    trace_context: TraceContext | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All that a client is told. Immutable; every value is checked when it is made.

    Raises:
        ConfigurationError: Names every setting that is wrong, and what is valid.
    """

    addresses: tuple[ServerAddress, ...] = _setting(
        _addresses,
        (("127.0.0.1", DEFAULT_PORT),),
        "The servers to ask first: any of a cluster, as they tell of the others.",
        valid="`'host'`, `'host:port'`, `'[v6]:port'`, `(host, port)`; several in a list or, "
        "with commas, in one text",
    )
    protocol_version: Version | None = _setting(
        _version,
        "auto",
        "The newest that the server has, or a fixed one. None once it is checked: auto.",
        valid="`'auto'`, `'1.0'` to `'4.1'`",
    )
    client_intelligence: Intelligence = _setting(
        _intelligence,
        Intelligence.HASH_DISTRIBUTION_AWARE,
        "Whether to use the given servers only (basic), all of the cluster (topology_aware), or "
        "for each key the server that has it.",
        valid="`basic`, `topology_aware`, `hash_distribution_aware`; 1, 2, 3",
    )
    connect_timeout: float = _setting(
        as_seconds,
        2.0,
        "For a connection, from looking up the name to authentication, in seconds.",
    )
    request_timeout: float = _setting(as_seconds, 10.0, "For one answer of one server, in seconds.")
    operation_timeout: float = _setting(
        as_seconds, 60.0, "For one call with all its attempts, in seconds."
    )
    max_retries: int = _setting(_number(0), 3, "Attempts after the first, on other servers.")
    retry_writes: bool = _setting(
        _boolean,
        False,
        "Repeat writes even when the first attempt may have been carried out. Else only reads, "
        "and writes of which no byte was sent.",
    )
    server_failure_timeout: float = _setting(
        as_seconds,
        30.0,
        "How long a server that could not be reached is left aside, in seconds.",
    )
    ping_interval: float = _setting(
        as_seconds,
        30.0,
        "A connection idle for so long is pinged before it is trusted, in seconds.",
    )
    max_connections: int = _setting(_number(1), 16, "Connections to one server, of a sync client.")
    max_in_flight: int = _setting(
        _number(1), 1024, "Requests on one connection that wait for answers; more have to wait."
    )
    tcp_no_delay: bool = _setting(_boolean, True, "Send small packets at once.")
    tcp_keep_alive: bool = _setting(_boolean, True, "Let the system probe idle connections.")
    balancer: Callable[[], Any] | None = _setting(
        _callable,
        None,
        "Makes what chooses servers for requests without a key; round robin by default.",
    )
    address_map: Any = _setting(
        _address_map,
        None,
        "Where the addresses that servers tell can be reached from here (containers, NAT).",
        valid="a mapping `{(host, port): (host, port)}`, or a callable of host and port",
    )
    clusters: Mapping[str, ClusterSettings] = _setting(
        _clusters,
        (),
        "Further clusters by name, to switch to when no server of the first answers.",
        valid="`{name: addresses}` or `{name: {'addresses': …, 'client_intelligence': …}}`",
    )
    force_return: bool = _setting(_boolean, False, "Writes give previous values back.")
    key_marshaller: Marshaller[Any] = _setting(
        as_marshaller,
        "text",
        "How keys become bytes.",
        valid="`text`, `bytes`, `json`, `protostream`, a media type, a Marshaller",
    )
    value_marshaller: Marshaller[Any] = _setting(
        as_marshaller,
        "text",
        "How values become bytes.",
        valid="`text`, `bytes`, `json`, `protostream`, a media type, a Marshaller",
    )
    batch_size: int = _setting(_number(1, 2**31 - 1), 10_000, "Entries of an iteration's answers.")
    caches: Mapping[str, CacheSettings] = _setting(
        _caches,
        (),
        "What differs for single caches, by name or by pattern (`users-*`).",
        valid="`{name: {'force_return': …}}`; see below",
    )
    username: str | None = _setting(_text, None, "Who logs in; `HOTROD_USERNAME`.")
    password: str | None = _setting(_secret, None, "`HOTROD_PASSWORD`.", secret=True)
    token: str | None = _setting(_secret, None, "For OAUTHBEARER; `HOTROD_TOKEN`.", secret=True)
    realm: str | None = _setting(_text, None, "For DIGEST; the server's own by default.")
    sasl_mechanisms: tuple[str, ...] | None = _setting(
        _mechanisms,
        None,
        "Which may be used, the best first. By default the strongest that the server offers and "
        "the credentials fit; never PLAIN without TLS.",
        valid=", ".join(f"`{m}`" for m in MECHANISMS),
    )
    sasl_server_name: str = _setting(_text, "infinispan", "The server's name in DIGEST.")
    allow_plain_without_tls: bool = _setting(
        _boolean, False, "Send a password or token in the clear over a connection without TLS."
    )
    tls: bool = _setting(_boolean, False, "Encrypt; any other TLS setting switches it on.")
    ssl_context: ssl.SSLContext | None = _setting(
        _ssl_context, None, "A context of your own, in place of the files below."
    )
    trust_file: Path | None = _setting(
        _file,
        None,
        "Certificates (PEM) of who may sign the server's; the system's by default.",
    )
    client_certificate: Path | None = _setting(_file, None, "Our certificate (PEM), for EXTERNAL.")
    client_key: Path | None = _setting(
        _file, None, "Its private key (PEM) if it stands in a file of its own."
    )
    client_key_password: str | None = _setting(_secret, None, "For the private key.", secret=True)
    sni_host_name: str | None = _setting(
        _text,
        None,
        "The name to ask for and to find in the certificate; the address's host by default.",
    )
    hostname_validation: bool = _setting(
        _boolean,
        True,
        "Check that the certificate is of that name. Does not switch TLS on.",
    )
    tls_ciphers: str | None = _setting(_text, None, "Which ciphers, in OpenSSL's notation.")

    limits: Limits = _setting(
        _limits, Limits(), "The most that is taken from a server.", valid="Limits(...)"
    )
    legacy_server: bool = _setting(
        _boolean, False, "Servers until 9.4 differ from what is published; see decode_response."
    )
    statistics: bool = _setting(
        _boolean, False, "Count what requests come to, and how long they take."
    )
    trace_context: TraceContext | None = _setting(
        _trace_context,
        None,
        "In which trace each request is made, told to servers since version 4.0.",
        valid="`'opentelemetry'` (the current span; an extra), or a callable that gives "
        "`{'traceparent': …, 'tracestate': …}` or None",
    )

    def __post_init__(self) -> None:
        mistakes = Mistakes()
        for name in ("clusters", "caches"):
            if getattr(self, name) == ():
                object.__setattr__(self, name, {})
        _check_fields(self, mistakes)
        files = [n for n in _TLS_FILES if getattr(self, n) is not None]
        if self.ssl_context is not None and files:
            mistakes.append(f"ssl_context: excludes {', '.join(files)}")
        if self.client_key is not None and self.client_certificate is None:
            mistakes.append("client_key: needs client_certificate")
        if files or self.ssl_context is not None or self.sni_host_name is not None:
            object.__setattr__(self, "tls", True)
        if self.password is not None and self.username is None:
            mistakes.append("password: needs username")
        mistakes.raise_any()

    @classmethod
    def from_uri(cls, uri: str) -> Self:
        """From `hotrod://user:password@host:port,…?name=value&…`; `hotrods://` is TLS."""
        from hotrod_codec.client.uri import parse_uri

        return cls(**parse_uri(uri))

    @classmethod
    def from_properties(cls, path: str | os.PathLike[str]) -> Self:
        """From a file in the form of `hotrod-client.properties`."""
        from hotrod_codec.client.properties import read_properties

        return cls(**read_properties(path))

    def cache(self, name: str) -> CacheSettings:
        """The settings of this cache: its own, else those of the first pattern that fits."""
        from fnmatch import fnmatchcase

        if name in self.caches:
            return self.caches[name]
        for pattern, settings in self.caches.items():
            if fnmatchcase(name, pattern):
                return settings
        return CacheSettings()

    def make_ssl_context(self) -> ssl.SSLContext | None:
        """What TLS is done with: at least 1.2, certificates and host names checked. None: no TLS.

        Raises:
            ConfigurationError: A file cannot be read or is no PEM.
        """
        if not self.tls:
            return None
        if self.ssl_context is not None:
            return self.ssl_context
        import ssl

        name: str = "trust_file"
        try:
            context = ssl.create_default_context(cafile=self.trust_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.check_hostname = self.hostname_validation
            name = "tls_ciphers"
            if self.tls_ciphers is not None:
                context.set_ciphers(self.tls_ciphers)
            name = "client_certificate"
            if self.client_certificate is not None:
                # A callable, as without one OpenSSL would ask on the terminal.
                password = self.client_key_password or ""
                context.load_cert_chain(
                    self.client_certificate, self.client_key, lambda: str.__str__(password)
                )
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"{name}: {getattr(self, name)}: {_reason(error)}; PEM files are valid"
                if name != "tls_ciphers"
                else f"{name}: {_reason(error)}"
            ) from error
        return context


_TLS_FILES: Final = (
    "trust_file",
    "client_certificate",
    "client_key",
    "client_key_password",
    "tls_ciphers",
)
_NAMES: Final = [each.name for each in fields(Configuration)]


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def _check_names(given: Iterable[str], valid: list[str]) -> None:
    """Every name has to be known; says which is meant, perhaps."""
    mistakes = Mistakes()
    for name in given:
        if name in valid:
            continue
        near = difflib.get_close_matches(name, valid, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(valid)}"
        mistakes.append(f"{name}: no such setting; {hint}")
    mistakes.raise_any()


def environment(variables: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The credentials among the environment's variables, as keywords."""
    return {name: variables[v] for v, name in _ENVIRONMENT.items() if variables.get(v)}


def configure(
    uri: str | None = None,
    *,
    properties: str | os.PathLike[str] | None = None,
    variables: Mapping[str, str] = os.environ,
    settings: Mapping[str, object] | None = None,
) -> Configuration:
    """Put settings from several places together: the keywords `settings` come first, then the URI,
    then the properties file, then the environment's credentials, then the defaults.

    Raises:
        ConfigurationError: A setting is unknown or wrong; names all that are, and what is valid.
    """
    given: dict[str, Any] = dict(settings or {})
    _check_names(given, _NAMES)
    merged: dict[str, Any] = {}
    if properties is not None:
        from hotrod_codec.client.properties import read_properties

        merged |= read_properties(properties)
    if uri is not None:
        from hotrod_codec.client.uri import parse_uri

        merged |= parse_uri(uri)
    merged |= given
    found = environment(variables)
    # Somebody's password does not fit somebody else's name.
    if "token" in merged or merged.get("username", found.get("username")) != found.get(
        "username", merged.get("username")
    ):
        found = {}
    return Configuration(**{**found, **merged})
