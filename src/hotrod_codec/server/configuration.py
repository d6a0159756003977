"""Cache configurations as servers take them, XML, JSON or YAML, as far as they matter here.

Read are the kind of cache, encoding, expiration, number of owners and segments, and the greatest
number of entries. Whatever else stands there is accepted and has no effect.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, Final
from xml.etree import ElementTree

from hotrod_codec.server.store import (
    DISTRIBUTED,
    INVALIDATION,
    LOCAL,
    REPLICATED,
    CacheConfiguration,
)

__all__ = ["changed", "parse"]

_KINDS: Final = {
    "local-cache": LOCAL,
    "distributed-cache": DISTRIBUTED,
    "replicated-cache": REPLICATED,
    "invalidation-cache": INVALIDATION,
    "scattered-cache": DISTRIBUTED,
}
_MOST: Final = 2**20
_DEPTH: Final = 50

_Tree = dict[str, Any]


def parse(text: str) -> CacheConfiguration:
    """The configuration of the one cache in `text`.

    Raises:
        ValueError: It is no such thing.
    """
    if len(text) > _MOST:
        raise ValueError(f"the configuration has more than {_MOST} characters")
    text = text.strip()
    try:
        if text.startswith("<"):
            tree = _from_xml(text)
        elif text.startswith("{"):
            tree = json.loads(text)
        else:
            tree = _from_yaml(text)
        kind, cache = _only_cache(tree)
        return _configuration(kind, cache)
    except (RecursionError, ElementTree.ParseError, TypeError, AttributeError) as error:
        raise ValueError(f"ISPN000374: cannot be read: {error}") from None


def changed(configuration: CacheConfiguration, attribute: str, value: str) -> CacheConfiguration:
    """The configuration with an attribute that may change while a cache is used.

    Raises:
        ValueError: There is no such attribute.
    """
    attributes = {
        "expiration.lifespan": "lifespan",
        "expiration.max-idle": "max_idle",
        "memory.max-count": "max_entries",
    }
    name = attributes.get(attribute)
    if name is None:
        raise ValueError(f"ISPN000500: no attribute {attribute!r} that can be changed")
    new: Any = _count(value) if name == "max_entries" else _seconds(value)
    return replace(configuration, **{name: new})


def _dashed(name: str) -> str:
    """distributedCache, distributed-cache and {urn:...}distributed-cache are the same."""
    name = name.rpartition("}")[2]
    return re.sub(r"(?<=[a-z])([A-Z])", r"-\1", name).lower()


def _from_xml(text: str) -> _Tree:
    # Up to the end where one has none: else each of many would be looked through to the end.
    if "<!" in re.sub(r"<!--.*?(?:-->|\Z)", "", text, flags=re.S):
        raise ValueError("XML with declarations (<!...) is not read")
    root = ElementTree.fromstring(text)
    return {root.tag: _element(root, 0)}


def _element(element: ElementTree.Element, depth: int) -> _Tree:
    if depth > _DEPTH:
        raise ValueError(f"elements lie deeper than {_DEPTH} in each other")
    tree: _Tree = dict(element.attrib)
    for child in element:
        tree[child.tag] = _element(child, depth + 1)
    return tree


def _from_yaml(text: str) -> _Tree:
    """Names with values or with indented names below them: what such configurations consist of."""
    root: _Tree = {}
    open_: list[tuple[int, _Tree]] = [(-1, root)]
    for line in text.splitlines():
        bare = re.sub(r"(^|\s)#.*", "", line).rstrip()
        if not bare or bare in ("---", "..."):
            continue
        indent = len(bare) - len(bare.lstrip())
        found = re.fullmatch(r"""["']?([\w.-]+)["']?\s*:(?:\s+(.*))?""", bare.strip())
        if found is None:
            raise ValueError(f"no YAML that is understood here: {bare.strip()[:80]!r}")
        while indent <= open_[-1][0]:
            open_.pop()
        parent = open_[-1][1]
        if found[2]:
            parent[found[1]] = found[2].strip("\"'")
        else:
            below: _Tree = {}
            parent[found[1]] = below
            open_.append((indent, below))
    return root


def _only_cache(tree: _Tree) -> tuple[str, _Tree]:
    found = list(_caches(tree, 0))
    if len(found) != 1:
        raise ValueError(f"wanted the configuration of one cache, found {len(found)}")
    return found[0]


def _caches(tree: Any, depth: int) -> Iterator[tuple[str, _Tree]]:
    if not isinstance(tree, dict) or depth > _DEPTH:
        return
    for name, inside in tree.items():
        kind = _KINDS.get(_dashed(name).removesuffix("-configuration"))
        if kind is None:
            yield from _caches(inside, depth + 1)
        else:
            yield kind, inside or {}


def _get(tree: Any, *path: str) -> Any:
    for name in path:
        if not isinstance(tree, dict):
            return None
        tree = next((value for key, value in tree.items() if _dashed(key) == name), None)
    return tree


def _configuration(kind: str, cache: _Tree) -> CacheConfiguration:
    both = _get(cache, "encoding", "media-type")
    if isinstance(_get(cache, "encoding"), str):
        both = _get(cache, "encoding")
    given = {
        "media_type": both,
        "key_media_type": _get(cache, "encoding", "key", "media-type"),
        "value_media_type": _get(cache, "encoding", "value", "media-type"),
        "owners": _count(_get(cache, "owners")),
        "segments": _count(_get(cache, "segments")),
        "max_entries": _count(_get(cache, "memory", "max-count")),
        "lifespan": _seconds(_get(cache, "expiration", "lifespan")),
        "max_idle": _seconds(_get(cache, "expiration", "max-idle")),
    }
    known = {field.name for field in fields(CacheConfiguration)}
    assert given.keys() <= known
    return CacheConfiguration(mode=kind, **given)


def _count(value: Any) -> int | None:
    if value is None:
        return None
    number = int(value)
    return None if number < 0 else number


_UNITS: Final = {"": 0.001, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def _seconds(value: Any) -> float | None:
    """Milliseconds, or a number with a unit."""
    if value is None:
        return None
    found = re.fullmatch(r"(-?[\d.]+)\s*(|ms|s|m|h|d)", str(value).strip())
    if found is None:
        raise ValueError(f"{value!r} is no duration")
    seconds = float(found[1]) * _UNITS[found[2]]
    return None if seconds < 0 else seconds
