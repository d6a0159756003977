"""Settings as text: what a URI's parameter or a property of the Java client becomes here.

One table, PROPERTIES, says it for every name that the Java client has, without its prefix
"infinispan.client.hotrod.": the keyword and how its text is read, or why there is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypeAlias

from hotrod_codec.client.config import Configuration
from hotrod_codec.errors import ConfigurationError

__all__ = [
    "JAVA_CLASS",
    "PROPERTIES",
    "Known",
    "Property",
    "Senseless",
    "keyword_of",
    "names",
    "read_integer",
    "read_near_mode",
    "without_login",
]

_UNITS: Final = {"": 1, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_BOOLEANS: Final = {"true": True, "false": False}


class Known(NamedTuple):
    """A name that means something here."""

    keyword: str
    read: Callable[[str], Any]

    def add(self, text: str, found: dict[str, Any]) -> None:
        """Put the value into the keywords. Raises ValueError with what is valid."""
        found[self.keyword] = self.read(text)


class Senseless(NamedTuple):
    """A name that means nothing here, and why."""

    why: str


def _milliseconds(text: str) -> timedelta:
    """A number of milliseconds, or with a unit: 2s, 5m."""
    match = re.fullmatch(r"\s*(\d+)\s*(ms|s|m|h|d|)\s*", text, re.I)
    if match is None:
        raise ValueError(f"{text!r}: expected milliseconds, or a number and ms, s, m, h or d")
    try:
        return timedelta(milliseconds=int(match[1]) * _UNITS[match[2].lower()])
    except OverflowError:
        raise ValueError(f"{text!r}: that is too long") from None


def _failure_timeout(text: str) -> timedelta:
    """0 and less: never forgotten."""
    if re.fullmatch(r"\s*(-\d+|0+)\s*", text):
        return timedelta(days=36_500)
    return _milliseconds(text)


def _boolean(text: str) -> bool:
    value = _BOOLEANS.get(text.strip().lower())
    if value is None:
        raise ValueError(f"{text!r}: expected true or false")
    return value


def read_integer(text: str) -> int:
    try:
        return int(text, 10)
    except ValueError:
        raise ValueError(f"{text!r}: expected a whole number") from None


def read_near_mode(text: str) -> bool:
    """Whether there is a near cache. Older Java clients had two modes more."""
    mode = text.strip().upper()
    if mode not in ("DISABLED", "INVALIDATED", "LAZY", "EAGER"):
        raise ValueError(f"{text!r}: expected DISABLED or INVALIDATED")
    return mode != "DISABLED"


def _word(text: str) -> str:
    return text.strip()


def _version(text: str) -> str:
    text = text.strip()
    return "auto" if text.upper() == "AUTO" else text.removeprefix("PROTOCOL_VERSION_")


def _ciphers(text: str) -> str:
    return ":".join(text.split())


def _marshaller(text: str) -> str:
    """The class of Java's marshaller, as the name of ours."""
    name = text.strip().rpartition(".")[2]
    if name in _MARSHALLERS:
        return _MARSHALLERS[name]
    if "." not in text:
        return text.strip()
    raise ValueError(f"{text!r} has no counterpart; {', '.join(_MARSHALLERS)} have")


_MARSHALLERS: Final = {
    "ProtoStreamMarshaller": "protostream",
    "UTF8StringMarshaller": "text",
    "StringMarshaller": "text",
    "IdentityMarshaller": "bytes",
}


def _pem(text: str) -> str:
    if re.search(r"\.(jks|jceks|p12|pfx|bcfks)$", text, re.I):
        raise ValueError(
            f"{text!r}: keystores of Java are not read; make a PEM file of it "
            "(keytool -importkeystore … -deststoretype PKCS12, then openssl pkcs12 -nodes)"
        )
    return text


def _pem_type(text: str) -> None:
    if text.upper() != "PEM":
        raise ValueError(f"{text!r}: only PEM is read")


class _Both(NamedTuple):
    """Java has one marshaller for keys and values."""

    read: Callable[[str], Any] = _marshaller
    keyword: str = "marshaller"

    def add(self, text: str, found: dict[str, Any]) -> None:
        found["key_marshaller"] = found["value_marshaller"] = self.read(text)


class _Checked(NamedTuple):
    """A name that is read and checked, and tells nothing more."""

    read: Callable[[str], Any]
    keyword: str = ""

    def add(self, text: str, found: dict[str, Any]) -> None:
        self.read(text)


class _Login(NamedTuple):
    """use_auth: whether the credentials beside it are used."""

    keyword: str = "use_auth"

    def add(self, text: str, found: dict[str, Any]) -> None:
        found[self.keyword] = _boolean(text)


def without_login(found: dict[str, Any]) -> dict[str, Any]:
    """The keywords without the credentials if there was a use_auth=false."""
    if found.pop("use_auth", True):
        return found
    return {n: v for n, v in found.items() if n not in ("username", "password", "token")}


_POOL: Final = Senseless("the Java client has no pool any more, and ignores it as well")
_THREADS: Final = Senseless("there are no threads to configure")
JAVA_CLASS: Final = Senseless("names a Java class")
_JMX: Final = Senseless("there is no JMX here")
_TRANSACTIONS: Final = Senseless("client.transaction() begins one, and takes its timeout")
_NEAR_CACHE: Final = Senseless("is said of single caches: cache.NAME.near_cache.mode and so on")
_DNS: Final = Senseless("the system resolves names")

Property: TypeAlias = Known | _Both | _Checked | _Login | Senseless

PROPERTIES: Final[dict[str, Property]] = {
    "server_list": Known("addresses", _word),
    "client_intelligence": Known("client_intelligence", _word),
    "request_balancing_strategy": JAVA_CLASS,
    "socket_timeout": Known("request_timeout", _milliseconds),
    "connect_timeout": Known("connect_timeout", _milliseconds),
    "max_retries": Known("max_retries", read_integer),
    "server_failure_timeout": Known("server_failure_timeout", _failure_timeout),
    "batch_size": Known("batch_size", read_integer),
    "protocol_version": Known("protocol_version", _version),
    "tcp_no_delay": Known("tcp_no_delay", _boolean),
    "tcp_keep_alive": Known("tcp_keep_alive", _boolean),
    "transport_factory": JAVA_CLASS,
    "dns_resolver_min_ttl": _DNS,
    "dns_resolver_max_ttl": _DNS,
    "dns_resolver_negative_ttl": _DNS,
    "connection_pool.max_active": _POOL,
    "connection_pool.exhausted_action": _POOL,
    "connection_pool.max_wait": _POOL,
    "connection_pool.min_idle": _POOL,
    "connection_pool.max_pending_requests": _POOL,
    "connection_pool.min_evictable_idle_time": _POOL,
    "async_executor_factory": JAVA_CLASS,
    "default_executor_factory.pool_size": _THREADS,
    "default_executor_factory.threadname_prefix": _THREADS,
    "default_executor_factory.threadname_suffix": _THREADS,
    "marshaller": _Both(),
    "context-initializers": JAVA_CLASS,
    "java_serial_allowlist": Senseless("nothing of Java is deserialized"),
    "force_return_values": Known("force_return", _boolean),
    "hash_function_impl.2": JAVA_CLASS,
    "hash_function_impl.3": JAVA_CLASS,
    "hash_function_impl.4": JAVA_CLASS,
    "use_ssl": Known("tls", _boolean),
    "key_store_file_name": Known("client_certificate", _pem),
    "key_store_type": _Checked(_pem_type),
    "key_store_password": Known("client_key_password", str),
    "key_alias": Senseless("a PEM file has one key"),
    "trust_store_file_name": Known("trust_file", _pem),
    "trust_store_path": Known("trust_file", _pem),
    "trust_store_type": _Checked(_pem_type),
    "trust_store_password": Senseless("a PEM file of certificates has no password"),
    "sni_host_name": Known("sni_host_name", _word),
    "ssl_hostname_validation": Known("hostname_validation", _boolean),
    "ssl_protocol": Senseless("TLS 1.2 and later are used; for others there is ssl_context"),
    "ssl_provider": Senseless("OpenSSL is used"),
    "ssl_ciphers": Known("tls_ciphers", _ciphers),
    "ssl_named_groups": Senseless("OpenSSL's own are used; for others there is ssl_context"),
    "ssl_context": Senseless("is an object: give it as a keyword"),
    "use_auth": _Login(),
    "sasl_mechanism": Known("sasl_mechanisms", _word),
    "auth_username": Known("username", str),
    "auth_password": Known("password", str),
    "auth_token": Known("token", str),
    "auth_realm": Known("realm", str),
    "auth_server_name": Known("sasl_server_name", _word),
    "auth_callback_handler": JAVA_CLASS,
    "auth_client_subject": Senseless("is an object of Java"),
    "transaction.timeout": _TRANSACTIONS,
    "transaction.transaction_mode": _TRANSACTIONS,
    "transaction.transaction_manager_lookup": JAVA_CLASS,
    "statistics": Known("statistics", _boolean),
    "jmx": _JMX,
    "jmx_name": _JMX,
    "jmx_domain": _JMX,
    "tracing.propagation_enabled": Senseless("trace_context does it, if it is wanted"),
    "near_cache.mode": _NEAR_CACHE,
    "near_cache.max_entries": _NEAR_CACHE,
    "near_cache.name_pattern": _NEAR_CACHE,
}
"""Every name of the Java client without its prefix; those of single caches and clusters and of
SASL's properties are read in properties.py."""

_BY_TYPE: Final[dict[str, Callable[[str], Any]]] = {
    "bool": _boolean,
    "int": read_integer,
    "float": _milliseconds,
}
# Objects, and what a URI says elsewhere.
_NOT_AS_TEXT: Final = frozenset(
    {"addresses", "address_map", "balancer", "caches", "clusters", "ssl_context"}
)


def _own() -> dict[str, Known]:
    found = {}
    for each in fields(Configuration):
        if each.name not in _NOT_AS_TEXT:
            read = _BY_TYPE.get(str(each.type), str)
            found[each.name] = Known(each.name, read)
    found["sasl_mechanisms"] = Known("sasl_mechanisms", lambda text: text.split(","))
    return found


_OWN: Final = _own()


def keyword_of(name: str) -> Known | _Both | _Checked | _Login | None:
    """What a parameter of this name is: a name of the Java client, or one of ours.

    Raises:
        ConfigurationError: The Java client has it, and it makes no sense here.
    """
    java = PROPERTIES.get(name)
    if isinstance(java, Senseless):
        raise ConfigurationError(f"makes no sense here: {java.why}")
    return java if java is not None else _OWN.get(name)


def names() -> list[str]:
    """All names that `keyword_of` knows."""
    known = {n for n, p in PROPERTIES.items() if not isinstance(p, Senseless)}
    return sorted(known | _OWN.keys())
