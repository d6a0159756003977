"""The cache of protobuf schemas: a schema with errors is stored too, its errors are entries.

Only the outline of a schema is checked: statements, names and braces. [wire-extended 6]
"""

from __future__ import annotations

import re
from typing import Final

from hotrod_codec import protostream
from hotrod_codec.ops import Status
from hotrod_codec.protostream import schemas
from hotrod_codec.server.session import RefusedError
from hotrod_codec.server.store import NEVER, Cache, CacheConfiguration, Cluster

__all__ = ["SchemaCache", "create_schema_cache"]

# Comments and strings that do not end go as far as they can: else each of many would be looked
# through to the end.
_TOKEN: Final = re.compile(
    r"""//[^\n]*|/\*.*?(?:\*/|\Z)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|[\w.]+|\S""", re.S
)
_BLOCKS: Final = ("message", "enum", "extend", "service", "oneof")
_STATEMENTS: Final = ("syntax", "edition", "package", "import", "option")
_NAME: Final = re.compile(r"\.?[A-Za-z_][\w.]*")


def problem_of(schema: str) -> str | None:
    """What is wrong with the outline of a schema; None: nothing."""
    tokens = [t for t in _TOKEN.findall(schema) if not t.startswith(("//", "/*"))]
    at = depth = 0
    fresh = True  # whether a statement begins
    while at < len(tokens):
        token = tokens[at]
        if fresh and token in _BLOCKS and at + 1 < len(tokens) and tokens[at + 1] != "=":
            name = tokens[at + 1]
            if not _NAME.fullmatch(name):
                return f"Syntax error: unexpected {name!r} behind {token!r}"
            if at + 2 >= len(tokens) or (depth == 0 and tokens[at + 2] != "{"):
                return f"Syntax error: no '{{' behind {token} {name}"
        elif fresh and depth == 0 and token not in (*_STATEMENTS, ";", "}"):
            return f"Syntax error: unexpected {token!r}"
        depth += (token == "{") - (token == "}")
        if depth < 0:
            return "Syntax error: unexpected '}'"
        fresh = token in "{};"
        at += 1
    if depth:
        return "Syntax error: unexpected end, a '}' is missing"
    return None if fresh else "Syntax error: unexpected end, a ';' is missing"


class SchemaCache(Cache):
    """String to String, as WrappedMessages; looks at what is written."""

    guarded = True

    def check(self, key: bytes) -> None:
        """Raises RefusedError for a key that is no schema's name."""
        name = self._text(key)
        if name is None or not name.endswith((".proto", schemas.ERRORS_KEY)):
            raise RefusedError(
                Status.SERVER_ERROR,
                "org.infinispan.commons.CacheException: ISPN028009: The key must be a String "
                f'ending with ".proto" : {name}',
            )

    def settle(self) -> None:
        """Something has changed: say anew which schemas have errors."""
        failing = []
        entries = self.entries()
        for key in entries:
            name = self._text(key) or ""
            if name.endswith(".proto"):
                problem = problem_of(self._text(entries[key].value) or "")
                self._note(schemas.errors_key(name), problem)
                if problem is not None:
                    failing.append(name)
            elif name != schemas.ERRORS_KEY:
                owner = protostream.encode(name.removesuffix(schemas.ERRORS_KEY))
                if owner not in entries:
                    self._note(name, None)
        self._note(schemas.ERRORS_KEY, "\n".join(sorted(failing)) or None)

    def _note(self, name: str, text: str | None) -> None:
        key = protostream.encode(name)
        old = self.peek(key)
        if text is None:
            if old is not None:
                self.drop(key)
        else:
            self.keep(key, protostream.encode(text), NEVER, NEVER)

    @staticmethod
    def _text(data: bytes) -> str | None:
        try:
            found = protostream.decode(data)
        except ValueError:
            return None
        return found if isinstance(found, str) else None

    def save(self, name: str, content: str, op: str, *, force: bool) -> str:
        """Create or update a schema; return what was done, as the task says it."""
        key, value = protostream.encode(name), protostream.encode(content)
        old = self.peek(key)
        if (op == "c" and old is not None) or (op == "u" and old is None):
            return "n"
        if old is not None and old.value == value and not force:
            return "n"
        self.check(key)
        self.put(key, value, NEVER, NEVER, old)
        problem = problem_of(content)
        return ("c" if old is None else "u") + (f";{problem}" if problem else "")

    def delete(self, name: str) -> str:
        key = protostream.encode(name)
        old = self.peek(key)
        if old is None:
            return "0"
        self.remove(key, old)
        return "1"


def create_schema_cache(cluster: Cluster) -> SchemaCache:
    """The cache, under the name that servers give it."""
    configuration = CacheConfiguration("application/x-java-object", mode="replicated")
    cache = SchemaCache(schemas.CACHE, configuration, cluster)
    cluster.caches[cache.name] = cache
    return cache
