"""hotrod-client.properties, the Java client's file, into the keywords of Configuration.

The syntax is java.util.Properties': `name=value`, `name: value` or `name value`, # and ! comments,
a backslash at the end of a line, escapes such as \\t and \\u00e9. `${VARIABLE:default}` is taken
from the environment. What makes no sense in Python is named once, in one warning of the log.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from hotrod_codec.client.config import Mistakes
from hotrod_codec.client.texts import (
    JAVA_CLASS,
    PROPERTIES,
    Known,
    Property,
    Senseless,
    read_integer,
    read_near_mode,
    without_login,
)
from hotrod_codec.client.uri import parse_uri
from hotrod_codec.errors import ConfigurationError

__all__ = ["parse_properties", "read_properties"]

logger = logging.getLogger(__name__)

PREFIX: Final = "infinispan.client.hotrod."
_ESCAPES: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_CACHE: Final = re.compile(r"cache\.(?:\[([^\]]+)\]|([^.]+))\.(.+)")
_VARIABLE: Final = re.compile(r"\$\{([^}:]+)(?::([^}]*))?\}")


def read_properties(
    path: str | os.PathLike[str], variables: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """The keywords that a file stands for. It may be UTF-8, or ISO-8859-1 as in older Java.

    Raises:
        ConfigurationError: It cannot be read, or a property is unknown or wrong.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("iso-8859-1")
    try:
        return keywords_of(dict(parse_properties(text)), variables)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def parse_properties(text: str) -> Iterator[tuple[str, str]]:
    """Names and values of a file in the form of java.util.Properties.

    Raises:
        ConfigurationError: A \\u is not followed by four hexadecimal digits.
    """
    for line in _logical_lines(text):
        # A name ends at the first '=', ':' or white space without a backslash before it.
        match = re.match(r"((?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*", line, re.S)
        assert match is not None  # all of it may be empty
        yield _unescape(match[1]), _unescape(line[match.end() :])


def _logical_lines(text: str) -> Iterator[str]:
    """Lines without comments, with those joined that a backslash continues."""
    begun = ""
    going_on = False
    for each in re.split(r"\r\n|\n|\r", text):
        line = each.lstrip(" \t\f")
        if not going_on and (not line or line[0] in "#!"):
            continue
        backslashes = len(line) - len(line.rstrip("\\"))
        going_on = backslashes % 2 == 1
        begun += line[:-1] if going_on else line
        if not going_on:
            yield begun
            begun = ""
    if begun:
        yield begun


def _unescape(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        if match[1] is None:
            return _ESCAPES.get(match[2], match[2])
        if len(match[1]) != 4:
            raise ConfigurationError("\\u: expected four hexadecimal digits behind it")
        return chr(int(match[1], 16))

    found = re.sub(r"\\(?:u([0-9a-fA-F]{0,4})|(.))", character, text, flags=re.S)
    # Characters beyond the first plane come as two halves.
    return found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def keywords_of(properties: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, Any]:
    """What properties with the Java client's names mean. Those without its prefix are ignored."""
    ours = {
        name.removeprefix(PREFIX): _expand(value, variables)
        for name, value in properties.items()
        if name.startswith(PREFIX)
    }
    mistakes = Mistakes()
    senseless: list[str] = []
    found: dict[str, Any] = {}
    if "uri" in ours:
        found |= parse_uri(ours.pop("uri"))
    for name, value in ours.items():
        try:
            why = _add(name, value, found)
        except ValueError as error:
            mistakes.append(f"{PREFIX}{name}: {error}")
        else:
            if why:
                senseless.append(f"{name} ({why})")
    for settings in found.get("caches", {}).values():
        _join_near_cache(settings)
    for site, intelligence in found.pop("intelligences", {}).items():
        servers = found.get("clusters", {}).get(site)
        if servers is None:
            mistakes.append(f"{PREFIX}cluster.intelligence.{site}: there is no cluster.{site}")
        else:
            both = {"addresses": servers, "client_intelligence": intelligence}
            found["clusters"][site] = both
    mistakes.raise_any()
    if senseless:
        logger.warning("settings of the Java client without effect: %s", "; ".join(senseless))
    return without_login(found)


def _expand(value: str, variables: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda m: variables.get(m[1], m[2] if m[2] is not None else m[0]), value)


def _add(name: str, value: str, found: dict[str, Any]) -> str:
    """Put one property into the keywords, or say why it has no effect."""
    match = _CACHE.fullmatch(name)
    if match is not None:
        return _add_of_cache(match[1] or match[2], match[3], value, found)
    if name.startswith("cluster.intelligence."):
        site = name.removeprefix("cluster.intelligence.")
        found.setdefault("intelligences", {})[site] = value.strip()
        return ""
    if name.startswith("cluster."):
        found.setdefault("clusters", {})[name.removeprefix("cluster.")] = value
        return ""
    if name.startswith("sasl_properties."):
        return "mechanisms have no properties here"
    return _put(PROPERTIES.get(name), value, found)


def _add_of_cache(cache: str, name: str, value: str, found: dict[str, Any]) -> str:
    settings = found.get("caches", {}).get(cache, {})
    why = _put(_OF_CACHES.get(name), value, settings)
    if not why:
        found.setdefault("caches", {})[cache] = settings
    return why


def _put(known: Property | None, value: str, found: dict[str, Any]) -> str:
    """As `_add`, when it is known what the name means."""
    if known is None:
        return "no property of the Java client"
    if isinstance(known, Senseless):
        return known.why
    known.add(value, found)
    return ""


def _join_near_cache(settings: dict[str, Any]) -> None:
    """Java has two properties for what is one setting here."""
    wanted = settings.pop("near_cache.mode", None)
    most = settings.pop("near_cache.max_entries", -1)
    if wanted is not None:
        settings["near_cache"] = wanted and (most if most > 0 else True)


def _definition(uri: str) -> str:
    """The text of a cache's definition in a local file."""
    path = uri.removeprefix("file://")
    if "://" in path:
        raise ValueError(f"{uri}: only files are read")
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{uri}: {error.strerror}") from None


# Java's names of one cache's settings.
_OF_CACHES: Final[Mapping[str, Property]] = {
    "force_return_values": PROPERTIES["force_return_values"],
    "marshaller": PROPERTIES["marshaller"],
    "template_name": Known("template", str),
    "configuration": Known("configuration", str),
    "configuration_uri": Known("configuration", _definition),
    "near_cache.mode": Known("near_cache.mode", read_near_mode),
    "near_cache.max_entries": Known("near_cache.max_entries", read_integer),
    "near_cache.bloom_filter": Senseless("near caches have no Bloom filter yet"),
    "near_cache.factory": JAVA_CLASS,
    "transaction.transaction_mode": PROPERTIES["transaction.transaction_mode"],
    "transaction.transaction_manager_lookup": JAVA_CLASS,
}
