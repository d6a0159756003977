"""Administration: caches, templates, schemas and loggers of a server, as tasks of EXEC (0x2B).

Here: the tasks' names, their parameters as bytes and what their results mean. A function makes an
AdminTask; sending it is the codec's and the client's business:

    >>> from hotrod_codec import admin, encode_request
    >>> task = admin.create_cache("users", configuration='{"local-cache":{}}', flags="VOLATILE")
    >>> task.task, task.params["flags"]
    ('@@cache@create', b'VOLATILE')
    >>> request = encode_request("exec", message_id=7, **task.fields)

and with its answer ``task.parse(response.result)``. A failure on the server is an error answer,
as with any operation. Conventions, the same in every version since 2.1:

* The request's cache name stays empty; a name there has to be that of an existing cache, which the
  task does not use.
* Key and value media types stay out: parameters are UTF-8 text and results are bytes whatever the
  types say.
* Configurations are XML, JSON or YAML, the server sees which, and hold one cache, alone or inside
  a whole "infinispan" document. The name that the task gives wins over one in the configuration.
* Without VOLATILE a cache is meant to outlive the server, and a server without a place for that
  (global state) refuses: ISPN000501.

Which tasks there are depends on the server: 9.4 has names, create, getorcreate, remove and reindex,
15.0 templates, attributes and loggers as well, 16.0 schemas and aliases. One that it does not know
is ISPN027002.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from hotrod_codec.errors import DecodeError, EncodeError

__all__ = [
    "AdminFlag",
    "AdminTask",
    "SchemaChange",
    "SchemaOp",
    "SchemaRemoval",
    "SchemaResult",
    "assign_alias",
    "cache_names",
    "create_cache",
    "create_or_update_schema",
    "create_template",
    "get_or_create_cache",
    "reindex_cache",
    "remove_cache",
    "remove_logger",
    "remove_schema",
    "remove_template",
    "set_logger",
    "template_names",
    "update_configuration_attribute",
    "update_index_schema",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class AdminFlag(StrEnum):
    """How a task is meant. A server refuses a flag that it does not know (0x85)."""

    VOLATILE = "VOLATILE"
    """Until the server stops. Not in 9.4."""
    UPDATE = "UPDATE"
    """An existing cache or template takes the new configuration's mutable attributes. Not in
    9.4."""
    PERMANENT = "PERMANENT"
    """To outlive the server: in 9.4, where caches are volatile without it. 16 refuses it."""


class SchemaOp(StrEnum):
    """What `create_or_update_schema` may do."""

    CREATE = "c"
    UPDATE = "u"
    SAVE = "s"
    """Create or update."""


class SchemaResult(StrEnum):
    """What `create_or_update_schema` did."""

    CREATED = "c"
    UPDATED = "u"
    UNCHANGED = "n"
    """The schema was there and had to be created, was not there and had to be updated, or was
    there with this very content."""


class SchemaRemoval(StrEnum):
    """What `remove_schema` did."""

    REMOVED = "1"
    NOT_FOUND = "0"
    IN_USE = "-1"
    """Nothing: a cache indexes one of its types."""


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """The result of `create_or_update_schema`.

    Attributes:
        result: What was done.
        error: What is wrong with the schema, None for nothing. It is stored all the same. (One
            that contradicts its former self is not: that is an error answer, IPROTO000039.)
    """

    result: SchemaResult
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AdminTask(Generic[T_co]):
    """A task for EXEC.

    Attributes:
        task: Its name, "@@context@operation".
        params: Its parameters.
        parse: Gives the value of the answer's `result`. Raises DecodeError for bytes that are no
            result of this task; the connection stays usable.
    """

    task: str
    params: Mapping[str, bytes]
    parse: Callable[[bytes], T_co] = field(repr=False, compare=False)

    @property
    def fields(self) -> dict[str, Any]:
        """What encode_request("exec", ...) wants."""
        return {"task": self.task, "params": dict(self.params)}


# ---------------------------------------------------------------------------------------------
# Caches and templates


def cache_names() -> AdminTask[list[str]]:
    """The names of the caches that the user may see."""
    return _task("@@cache@names", _names("@@cache@names"))


def create_cache(
    name: str,
    *,
    template: str | None = None,
    configuration: str | None = None,
    flags: AdminFlag | str | Iterable[AdminFlag | str] = (),
) -> AdminTask[None]:
    """Create a cache; one of that name is an error (ISPN000507).

    Args:
        template, configuration: One of the two: the name of a template, or a configuration. The
            server takes neither for its default cache's configuration, or for an empty one, which
            differs from server to server; it is not said by accident here.
        flags: VOLATILE, UPDATE.
    """
    return _create("@@cache@create", name, template, configuration, flags)


def get_or_create_cache(
    name: str,
    *,
    template: str | None = None,
    configuration: str | None = None,
    flags: AdminFlag | str | Iterable[AdminFlag | str] = (),
) -> AdminTask[None]:
    """Create a cache unless there is one of that name, whatever its configuration.

    Args:
        template, configuration, flags: As in `create_cache`.
    """
    return _create("@@cache@getorcreate", name, template, configuration, flags)


def remove_cache(
    name: str, *, flags: AdminFlag | str | Iterable[AdminFlag | str] = ()
) -> AdminTask[None]:
    """Remove a cache and its data, on all nodes. That there is none is no error."""
    return _task("@@cache@remove", _nothing, name=name, flags=flags)


def reindex_cache(name: str) -> AdminTask[None]:
    """Build the index of a cache anew. One without index is an error."""
    return _task("@@cache@reindex", _nothing, name=name)


def update_index_schema(name: str) -> AdminTask[None]:
    """Let the index of a cache follow its changed schema."""
    return _task("@@cache@updateindexschema", _nothing, name=name)


def update_configuration_attribute(
    name: str,
    attribute: str,
    value: str,
    *,
    flags: AdminFlag | str | Iterable[AdminFlag | str] = (),
) -> AdminTask[None]:
    """Change a mutable attribute of a cache, such as "expiration.lifespan" to "60000"."""
    return _task(
        "@@cache@updateConfigurationAttribute",
        _nothing,
        name=name,
        flags=flags,
        value=value,
        attribute=attribute,
    )


def assign_alias(name: str, alias: str) -> AdminTask[None]:
    """Let `alias` name the cache `name`. Server 16.0.7 fails to (ISPN000436)."""
    return _task("@@cache@assignAlias", _nothing, name=name, alias=alias)


def template_names() -> AdminTask[list[str]]:
    """The names of templates and caches that `create_cache` can take for its template. Only
    embedded servers know the task; full servers answer that it is unknown."""
    return _task("@@cache@templates", _names("@@cache@templates"))


def create_template(
    name: str,
    configuration: str,
    *,
    flags: AdminFlag | str | Iterable[AdminFlag | str] = (),
) -> AdminTask[None]:
    """Create a template from a configuration."""
    return _task("@@template@create", _nothing, name=name, flags=flags, configuration=configuration)


def remove_template(
    name: str, *, flags: AdminFlag | str | Iterable[AdminFlag | str] = ()
) -> AdminTask[None]:
    """Remove a template."""
    return _task("@@template@remove", _nothing, name=name, flags=flags)


# ---------------------------------------------------------------------------------------------
# Schemas (servers since 16)


def create_or_update_schema(
    name: str, content: str, op: SchemaOp | str = SchemaOp.SAVE, *, force: bool = False
) -> AdminTask[SchemaChange]:
    """Register a Protobuf schema.

    Args:
        name: Its file name, such as "library/book.proto".
        content: Its text. A wrong one is stored too; see SchemaChange.error.
        op: Whether it may, or has to, be there already.
        force: To write it even when it has this very content. Not with CREATE. The result says
            less then: server 16.0.7 answers UPDATED to UPDATE of a missing schema, which stays
            missing, and CREATED to SAVE of one that was there.
    """
    task = "@@schemas@createOrUpdate"
    try:
        op = SchemaOp(op)
    except ValueError:
        raise _wrong(task, "op", f"{op!r} is not one of c, u, s (see SchemaOp)") from None
    if force and op is SchemaOp.CREATE:
        raise _wrong(task, "force", "has no meaning for what must not be there yet")
    params: dict[str, str] = {"force": "f"} if force else {}
    return _task(task, _schema_change, name=name, op=op.value, content=content, **params)


def remove_schema(name: str) -> AdminTask[SchemaRemoval]:
    """Remove a schema unless a cache indexes one of its types."""
    return _task("@@schemas@delete", _schema_removal, name=name)


# ---------------------------------------------------------------------------------------------
# Logging (full servers; the user needs the permission ADMIN)


def set_logger(
    name: str | None = None, *, level: str | None = None, appender: str | None = None
) -> AdminTask[None]:
    """Set the level or the appender of a logger, which is made if need be.

    Args:
        name: Such as "org.infinispan"; None is the root logger.
        level: "DEBUG", for example; None keeps it.
        appender: The name of the one that shall get what is logged; None keeps those that do. A
            server can take several, but Hot Rod has no form for more than one.
    """
    task = "@@logging@set"
    given = {"loggerName": name, "level": level, "appenders": appender}
    params = {key: value for key, value in given.items() if value is not None}
    if level is None and appender is None:
        raise _wrong(task, "level", "nothing to set: neither a level nor an appender")
    return _task(task, _nothing, **params)


def remove_logger(name: str) -> AdminTask[None]:
    """Remove the settings of a logger."""
    return _task("@@logging@remove", _nothing, loggerName=name)


# ---------------------------------------------------------------------------------------------
# Parameters

# The only parameters that may be empty: an attribute can be set to "", and an empty schema is one.
_MAY_BE_EMPTY = frozenset({"value", "content"})


def _wrong(task: str, parameter: str, problem: str) -> EncodeError:
    return EncodeError(problem, op=f"EXEC {task}", field=parameter)


def _task(
    task: str,
    parse: Callable[[bytes], T],
    *,
    flags: AdminFlag | str | Iterable[AdminFlag | str] = (),
    **params: str,
) -> AdminTask[T]:
    encoded: dict[str, bytes] = {}
    for name, value in params.items():
        if not isinstance(value, str):
            raise TypeError(f"{task}: {name}: expected a string, got {type(value).__name__}")
        if not value and name not in _MAY_BE_EMPTY:
            raise _wrong(task, name, "is empty")
        try:
            encoded[name] = value.encode()
        except UnicodeEncodeError:
            raise _wrong(task, name, "holds half a surrogate pair") from None
        # Where the Java client puts them: behind the name.
        if name == "name" and (text := _flags(task, flags)):
            encoded["flags"] = text.encode()
    return AdminTask(task, MappingProxyType(encoded), parse)


def _flags(task: str, flags: AdminFlag | str | Iterable[AdminFlag | str]) -> str:
    given: set[AdminFlag] = set()
    for flag in [flags] if isinstance(flags, str) else flags:
        try:
            given.add(AdminFlag(flag.upper()))
        except ValueError:
            known = ", ".join(AdminFlag)
            raise _wrong(task, "flags", f"{flag!r} is not one of {known}") from None
    return ",".join(flag for flag in AdminFlag if flag in given)


def _create(
    task: str,
    name: str,
    template: str | None,
    configuration: str | None,
    flags: AdminFlag | str | Iterable[AdminFlag | str],
) -> AdminTask[None]:
    if template is not None and configuration is not None:
        raise _wrong(task, "template", "either a template or a configuration, not both")
    if template is not None:
        return _task(task, _nothing, name=name, flags=flags, template=template)
    if configuration is not None:
        return _task(task, _nothing, name=name, flags=flags, configuration=configuration)
    raise _wrong(task, "configuration", "a configuration or a template is needed")


# ---------------------------------------------------------------------------------------------
# Results


def _bad_result(task: str, problem: str) -> DecodeError:
    return DecodeError(problem, op=f"EXEC {task} response", field="result", offset=0)


def _text(task: str, result: bytes) -> str:
    try:
        return bytes(result).decode()
    except UnicodeDecodeError:
        raise _bad_result(task, "is not UTF-8") from None


def _nothing(result: bytes) -> None:
    """The tasks that only do something answer nothing; what a later server may say is no error."""


def _names(task: str) -> Callable[[bytes], list[str]]:
    def parse(result: bytes) -> list[str]:
        text = _text(task, result)
        # The server puts quotes around the names and escapes nothing inside them, so JSON would
        # misread a name that holds a quote or a backslash.
        if text == "[]":
            return []
        if text.startswith('["') and text.endswith('"]') and len(text) >= 4:
            return text[2:-2].split('","')
        try:
            names = json.loads(text)
        except (ValueError, RecursionError):
            names = None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise _bad_result(task, "is not a JSON array of strings")
        return names

    return parse


def _schema_change(result: bytes) -> SchemaChange:
    task = "@@schemas@createOrUpdate"
    text = _text(task, result)
    letter, semicolon, error = text[:1], text[1:2], text[2:]
    if letter not in tuple(SchemaResult) or semicolon not in ("", ";"):
        raise _bad_result(task, f"wants c, u or n, and ; before an error; has {len(text)} others")
    return SchemaChange(SchemaResult(letter), error or None)


def _schema_removal(result: bytes) -> SchemaRemoval:
    task = "@@schemas@delete"
    try:
        return SchemaRemoval(_text(task, result))
    except ValueError as error:
        if isinstance(error, DecodeError):
            raise
        raise _bad_result(task, f"wants 1, 0 or -1, has {len(result)} other bytes") from None
