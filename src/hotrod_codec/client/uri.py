"""hotrod:// and hotrods:// URIs into the keywords of Configuration.

    hotrod[s]://[user[:password]@]host[:port][,host[:port]...][?name=value[&...]]

The Java client's names are taken as well as our own; plain numbers are milliseconds where a
duration is meant, as in Java. Differs from its parser on purpose: parts are
split first and percent-decoded afterwards, so that a password may hold any character; IPv6
addresses stand in brackets; unknown names are refused.
"""

from __future__ import annotations

import difflib
from typing import Any
from urllib.parse import unquote

from hotrod_codec.client.config import Mistakes, address_of
from hotrod_codec.client.texts import keyword_of, names, without_login
from hotrod_codec.errors import ConfigurationError

__all__ = ["parse_uri"]

_NOT_ENCODED = "'/', '?' and '#' in a user name or password are %2F, %3F and %23"


def parse_uri(uri: str) -> dict[str, Any]:
    """The keywords that a URI stands for.

    Raises:
        ConfigurationError: It is no such URI; says where, and never shows a password.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme.lower() not in ("hotrod", "hotrods"):
        raise ConfigurationError("uri: expected hotrod://… or hotrods://…")
    rest, _, fragment = rest.partition("#")
    authority, _, query = rest.partition("?")
    authority, _, path = authority.partition("/")
    found: dict[str, Any] = {}
    mistakes = Mistakes()
    if scheme.lower() == "hotrods":
        found["tls"] = True
    login, at, hosts = authority.rpartition("@")
    if at:
        user, colon, password = login.partition(":")
        if not user:
            mistakes.append("uri: a user name is missing before '@'")
        found["username"] = unquote(user)
        if colon:
            found["password"] = unquote(password)
    if "@" in path + fragment:  # then these are no hosts, but what belongs to a login
        raise ConfigurationError(f"uri: {_NOT_ENCODED}")
    wrong = _add_addresses(hosts, found)
    mistakes += [f"uri: {_NOT_ENCODED}"] if wrong and "@" in query and not at else wrong
    for part in query.split("&") if query else ():
        _add_parameter(part, found, mistakes)
    mistakes.raise_any()
    return without_login(found)


def _add_addresses(hosts: str, found: dict[str, Any]) -> Mistakes:
    mistakes = Mistakes()
    addresses = []
    for host in hosts.split(","):
        try:
            addresses.append(address_of(unquote(host)))
        except ValueError as error:
            mistakes.append(f"uri: server {len(addresses) + 1}: {error}")
    found["addresses"] = addresses
    return mistakes


def _add_parameter(part: str, found: dict[str, Any], mistakes: Mistakes) -> None:
    name, equals, value = part.partition("=")
    name = unquote(name)
    if not equals:
        # What is no name is not shown: it may be the rest of a password that holds a '?'.
        what, why = (repr(name), "") if name in names() else ("", f"; {_NOT_ENCODED}")
        mistakes.append(f"uri: parameter {what} has no value: expected name=value{why}")
        return
    try:
        known = keyword_of(name)
        if known is None and "@" in value:
            mistakes.append(f"uri: no such parameter; {_NOT_ENCODED}")
        elif known is None:
            near = difflib.get_close_matches(name, names(), n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(names())}"
            mistakes.append(f"uri: no such parameter {name!r}; {hint}")
        else:
            known.add(unquote(value.replace("+", "%2B")), found)
    except ValueError as error:
        mistakes.append(f"uri: {name}: {error}")
