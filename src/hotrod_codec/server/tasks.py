"""EXEC: the tasks that administer caches, templates and schemas, and those of the user.
[wire-extended 7]"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from hotrod_codec import Request
from hotrod_codec.ops import Op, Status
from hotrod_codec.protostream import schemas
from hotrod_codec.server import configuration
from hotrod_codec.server.schemas import SchemaCache
from hotrod_codec.server.session import RefusedError, Session
from hotrod_codec.server.store import Cache, CacheConfiguration

if TYPE_CHECKING:
    from hotrod_codec.server.handler import Handler

__all__ = ["OPERATIONS"]

_MOST_CACHES: Final = 10_000
_FLAGS: Final = ("VOLATILE", "UPDATE")


def _failure(text: str) -> RefusedError:
    return RefusedError(Status.SERVER_ERROR, f"org.infinispan.commons.CacheException: {text}")


class Parameters:
    """What a task was given: UTF-8 by name."""

    def __init__(self, task: str, given: Mapping[str, bytes]) -> None:
        self._task = task
        self._given = given

    def get(self, name: str) -> str | None:
        data = self._given.get(name)
        if data is None:
            return None
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise _failure(f"parameter '{name}' is no UTF-8") from None

    def __getitem__(self, name: str) -> str:
        found = self.get(name)
        if not found:
            raise _failure(f"ISPN005030: Required parameter '{name}' missing in task {self._task}")
        return found

    def check_flags(self) -> None:
        for flag in (self.get("flags") or "").split(","):
            if flag.strip() and flag.strip() not in _FLAGS:
                raise _failure(f"no enum constant AdminFlag.{flag.strip()[:64]}")


Task = Callable[["Handler", Parameters], str]


def _wanted(h: Handler, p: Parameters) -> CacheConfiguration:
    p.check_flags()
    template, text = p.get("template"), p.get("configuration")
    if template:
        found = h.cluster.templates.get(template)
        if found is None:
            raise _failure(
                f"ISPN000374: No such template '{template}' when declaring '{p['name']}'"
            )
        return found
    return CacheConfiguration(mode=h.cluster.default_mode) if not text else _parsed(text)


def _parsed(text: str) -> CacheConfiguration:
    try:
        return configuration.parse(text)
    except ValueError as error:
        raise _failure(str(error)) from None


def _create(h: Handler, p: Parameters) -> str:
    name = p["name"]
    wanted = _wanted(h, p)
    if h.cluster.caches.get(name) is not None:
        raise _failure(f"ISPN000507: Cache {name} already exists")
    _make(h, name, wanted)
    return ""


def _make(h: Handler, name: str, wanted: CacheConfiguration) -> None:
    if len(h.cluster.caches) >= _MOST_CACHES:
        raise _failure(f"there are {_MOST_CACHES} caches already")
    h.cluster.create(name, wanted)


def _get_or_create(h: Handler, p: Parameters) -> str:
    name = p["name"]
    wanted = _wanted(h, p)
    if name not in h.cluster.caches:
        _make(h, name, wanted)
    return ""


def _remove(h: Handler, p: Parameters) -> str:
    name = p["name"]
    if name == schemas.CACHE:
        raise _failure(f"cache {name} is the server's own")
    h.cluster.remove(name)
    return ""


def _names(h: Handler, p: Parameters) -> str:
    return json.dumps(sorted(h.cluster.caches), ensure_ascii=False, separators=(",", ":"))


def _existing(h: Handler, p: Parameters) -> Cache:
    cache = h.cluster.caches.get(p["name"])
    if cache is None:
        raise _failure(f"ISPN000436: Cache '{p['name']}' has been requested, but no such exists")
    return cache


def _update_attribute(h: Handler, p: Parameters) -> str:
    cache = _existing(h, p)
    try:
        cache.configure(configuration.changed(cache.configuration, p["attribute"], p["value"]))
    except ValueError as error:
        raise _failure(str(error)) from None
    return ""


def _reindex(h: Handler, p: Parameters) -> str:
    raise _failure(f"ISPN005031: cache '{_existing(h, p).name}' is not indexed")


def _create_template(h: Handler, p: Parameters) -> str:
    p.check_flags()
    if len(h.cluster.templates) >= _MOST_CACHES:
        raise _failure(f"there are {_MOST_CACHES} templates already")
    h.cluster.templates[p["name"]] = _parsed(p["configuration"])
    return ""


def _remove_template(h: Handler, p: Parameters) -> str:
    h.cluster.templates.pop(p["name"], None)
    return ""


def _templates(h: Handler, p: Parameters) -> str:
    return json.dumps(sorted(h.cluster.templates), ensure_ascii=False)


def _schema_cache(h: Handler) -> SchemaCache:
    cache = h.cluster.caches[schemas.CACHE]
    assert isinstance(cache, SchemaCache)
    return cache


def _save_schema(h: Handler, p: Parameters) -> str:
    op = p["op"][:1]
    if op not in ("c", "u", "s"):
        raise _failure(f"op: '{op}' is none of c, u, s")
    force = (p.get("force") or "").lower() == "true"
    return _schema_cache(h).save(p["name"], p["content"], op, force=force)


def _delete_schema(h: Handler, p: Parameters) -> str:
    return _schema_cache(h).delete(p["name"])


TASKS: Final[dict[str, Task]] = {
    "@@cache@create": _create,
    "@@cache@getorcreate": _get_or_create,
    "@@cache@remove": _remove,
    "@@cache@names": _names,
    "@@cache@reindex": _reindex,
    "@@cache@updateindexschema": _reindex,
    "@@cache@updateConfigurationAttribute": _update_attribute,
    "@@cache@templates": _templates,
    "@@template@create": _create_template,
    "@@template@remove": _remove_template,
    "@@schemas@createOrUpdate": _save_schema,
    "@@schemas@delete": _delete_schema,
}


def _exec(h: Handler, s: Session, q: Request) -> bytes:
    cache = h.cache(q.cache) if q.cache else None
    task, own = q["task"], TASKS.get(q["task"])
    if own is not None:
        result = own(h, Parameters(task, dict(q["params"]))).encode()
    elif task in h.tasks:
        result = _result(task, h.tasks[task](dict(q["params"])))
    else:
        raise RefusedError(
            Status.SERVER_ERROR,
            f"java.lang.IllegalArgumentException: ISPN027002: Unknown task '{task[:200]}'",
        )
    return h.reply(q, cache, result=result)


def _result(task: str, given: object) -> bytes:
    if not isinstance(given, bytes):
        raise _failure(f"task '{task}' gave {type(given).__name__}, not bytes")
    return given


OPERATIONS: Final[dict[Op, Callable[[Handler, Session, Request], bytes]]] = {Op.EXEC: _exec}
