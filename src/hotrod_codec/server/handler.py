"""Requests to answers: pure, no socket, no clock of its own.

Which function does which operation stands in OPERATIONS, from the modules beside this one. A
function gets the handler, the session, the request, its cache and the conversion between the media
types of both; it returns the answer's bytes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from hotrod_codec import Request, encode_response, layout
from hotrod_codec.errors import HotRodError
from hotrod_codec.ops import Flag, Op, Status, TimeUnit, Version
from hotrod_codec.server import (
    authentication,
    counters,
    cursors,
    entries,
    listeners,
    multimap,
    tasks,
)
from hotrod_codec.server.faults import Faults
from hotrod_codec.server.media import PLAIN, Conversion, ConversionError, conversion, convert
from hotrod_codec.server.session import RefusedError, Session
from hotrod_codec.server.store import NEVER, Cache, Cluster, Entry
from hotrod_codec.server.topology import Addresses, topology_of
from hotrod_codec.values import Duration, MediaType, Metadata, Topology

__all__ = ["OPERATIONS", "UNSUPPORTED", "Handler", "Operation"]

logger = logging.getLogger(__name__)

_FORCE_RETURN: Final = int(Flag.FORCE_RETURN_VALUE)
_THIRTY_DAYS: Final = 30 * 86_400_000
_LONGEST: Final = 2**53
_NO_ENTRY: Final = Metadata(-1)
_MOST_CONVERSIONS: Final = 256
_LAST_ID: Final = 2**31 - 1

# The same with the hint that a cache stores Java objects. [wire-core 3.1]
_OBJECT_STATUS: Final = {0: 6, 3: 7, 4: 8}

_PRIVATE: Final = "org.infinispan."


Operation: TypeAlias = Callable[["Handler", Session, Request, Cache, Conversion], bytes]


class Handler:
    """Answers requests from the caches of a cluster.

    Args:
        cluster: The caches.
        addresses: Where each node can be reached, by number, as clients are told.
        faults: What shall go wrong, as far as it is said in answers.
        authenticator: Who may come in; None: everybody.
    """

    def __init__(
        self,
        cluster: Cluster,
        addresses: Addresses,
        faults: Faults,
        authenticator: authentication.Authenticator | None = None,
    ) -> None:
        self.cluster = cluster
        self.addresses = addresses
        self.authenticator = authenticator
        self.counters = counters.Counters(cluster)
        self.most_bytes = 2**26
        self.tasks: Mapping[str, Callable[[Mapping[str, bytes]], bytes]] = {}
        self.faults = faults
        self._last_id = 0
        self._topologies: dict[Any, Topology] = {}
        self._conversions: dict[Any, Conversion] = {}

    def handle(self, s: Session, q: Request) -> bytes:
        """The answer to a request, encoded. Whatever goes wrong is an answer, too."""
        op = q.op
        try:
            if self.authenticator is not None and s.user is None and op not in _OPEN:
                raise RefusedError(
                    Status.SERVER_ERROR,
                    "java.lang.SecurityException: ISPN006017: Operation "
                    f"'{op.name}' requires authentication",
                )
            operation = _BY_CODE[op]
            if operation is None:
                return _WITHOUT_CACHE[op](self, s, q)
            c = self.cluster.caches.get(q.cache)
            if c is None:
                c = self.cache(q.cache)
            key, value = q.key_media_type, q.value_media_type
            # Nobody converts what comes without media types, but for JSON.
            plain = key is value is None and not c.json
            v = PLAIN if plain else self._conversion(key, value, c)
            return operation(self, s, q, c, v)
        except RefusedError as error:
            return self.error(q, error.status, str(error))
        except ConversionError as error:
            text = f"org.infinispan.commons.dataconversion.EncodingException: {error}"
            return self.error(q, Status.SERVER_ERROR, text)
        except HotRodError as error:
            return self.error(q, Status.SERVER_ERROR, str(error))
        except Exception as error:
            logger.exception("%s failed", op.name)
            return self.error(q, Status.SERVER_ERROR, f"{type(error).__name__}: {error}")

    def cache(self, name: str) -> Cache:
        """The cache of this name.

        Raises:
            RefusedError: There is none, or it is not for clients.
        """
        found = self.cluster.cache(name)
        if found is None:
            if name.startswith(_PRIVATE):
                raise RefusedError(
                    Status.REQUEST_PARSING_ERROR,
                    "org.infinispan.server.hotrod.RequestParsingException: Remote requests are "
                    f"not allowed to private caches. Do no send remote requests to cache '{name}'",
                )
            raise RefusedError(
                Status.REQUEST_PARSING_ERROR,
                "org.infinispan.server.hotrod.CacheNotFoundException: Cache with name "
                f"'{name}' not found amongst the configured caches",
            )
        return found

    def _conversion(self, key: MediaType | None, value: MediaType | None, c: Cache) -> Conversion:
        about = (key, value, c.key_type, c.value_type)
        found = self._conversions.get(about)
        if found is None:
            found = conversion(*about)
            if len(self._conversions) >= _MOST_CONVERSIONS:
                self._conversions.clear()
            self._conversions[about] = found
        return found

    def next_id(self) -> int:
        """A number for an iteration or a stream: 31 bits, and not the same again soon."""
        self._last_id = self._last_id % _LAST_ID + 1
        return self._last_id

    # ---- answers

    def reply(self, q: Request, c: Cache | None, status: int = 0, **fields: Any) -> bytes:
        """An answer that is no error, with the topology if the client has another one."""
        op, version = q.op, q.version
        topology = None
        if c is not None:
            if c.clustered:
                topology = self.topology(q, c)
            if c.objects and 24 <= version <= 28:
                status = _OBJECT_STATUS.get(status, status)
        versions = _VERSIONS[op]
        if versions is not None and version not in versions:
            # Whatever the version: the operation is done, and answered in its nearest form.
            version = versions[0] if version < versions[0] else versions[-1]
            topology = topology if q.version >= Version.V2_0 else None
        return encode_response(
            op,
            version=version,
            message_id=q.message_id,
            status=status,
            topology=topology,
            **fields,
        )

    @staticmethod
    def error(q: Request, status: int, text: str) -> bytes:
        # Errors look the same in all versions and of all operations.
        return encode_response(
            Op.PING, version=Version.V2_0, message_id=q.message_id, status=status, error=text
        )

    def topology(self, q: Request, c: Cache) -> Topology | None:
        """The cluster as this client has to be told it; None when it is not to be told."""
        intelligence = int(q.intelligence)
        if intelligence not in (2, 3) or q.topology_id == c.topology_id:
            return None
        kind = "servers" if intelligence == 2 else "segments"
        if intelligence == 3 and q.version < Version.V2_0:
            kind = "wheel 1.0" if q.version == Version.V1_0 else "wheel"
        about = (c.name, c.topology_id, kind)
        found = self._topologies.get(about)
        if found is None:
            if len(self._topologies) >= _MOST_CONVERSIONS:
                self._topologies.clear()
            found = self._topologies[about] = topology_of(c, self.addresses, kind)
        return found

    def written(
        self, q: Request, c: Cache, v: Conversion, flags: int, status: int, old: Entry | None
    ) -> bytes:
        """The answer to a write, with the previous value if that was asked for. [wire-core 7.3]"""
        if not flags & _FORCE_RETURN:
            return self.reply(q, c, status)
        previous = b"" if old is None else convert(v.value_out, old.value)
        if q.version < Version.V2_0:
            return self.reply(q, c, status, previous=previous)
        if status == Status.SUCCESS and (old is not None or q.op not in _IF_ABSENT):
            status = Status.SUCCESS_WITH_PREVIOUS
        elif status == Status.NOT_EXECUTED and old is not None:
            status = Status.NOT_EXECUTED_WITH_PREVIOUS
        else:
            return self.reply(q, c, status)
        if q.version < Version.V4_0:
            return self.reply(q, c, status, previous=previous)
        metadata = _NO_ENTRY if old is None else old.metadata()
        return self.reply(q, c, status, previous=previous, metadata=metadata)

    def durations(self, q: Request, c: Cache) -> tuple[int, int]:
        """Lifespan and max idle of a request in milliseconds."""
        lifespan, max_idle = q["lifespan"], q["max_idle"]
        if lifespan is None and max_idle is None:
            return c.lifespan, c.max_idle
        return (
            self._milliseconds(lifespan, c.lifespan, q.version),
            self._milliseconds(max_idle, c.max_idle, q.version),
        )

    def _milliseconds(self, given: Duration | float | None, default: int, version: int) -> int:
        if given is None:
            return default
        if not isinstance(given, Duration):
            assert given == math.inf
            return NEVER
        found = given.to_unit(TimeUnit.MILLISECONDS).amount
        if version < Version.V3_0 and found > _THIRTY_DAYS:  # then it is a date
            return max(0, found - self.cluster.now())
        return min(found, _LONGEST)


# ------------------------------------------------------------------ the server itself


def _ping(h: Handler, s: Session, q: Request) -> bytes:
    c = h.cache(q.cache) if q.cache or h.cluster.cache("") is not None else None
    fields: dict[str, Any] = {}
    if q.version >= Version.V2_9 and c is not None:
        fields = {"key_media_type": c.key_type, "value_media_type": c.value_type}
    if q.version >= Version.V3_0:
        fields |= {"server_version": int(max(Version)), "opcodes": _OPCODES}
    return h.reply(q, c, **fields)


def _unsupported(h: Handler, s: Session, q: Request) -> bytes:
    raise RefusedError(Status.SERVER_ERROR, f"{UNSUPPORTED[q.op]} not supported by this server")


# ------------------------------------------------------------------ which does which

# Clients ask this way whether a cache is transactional.
_TRANSACTIONS: Final = "ISPN006020: transactions are"
UNSUPPORTED: Final[dict[Op, str]] = {
    Op.QUERY: "queries are",
    Op.PREPARE_TX: _TRANSACTIONS,
    Op.COMMIT_TX: _TRANSACTIONS,
    Op.ROLLBACK_TX: _TRANSACTIONS,
    Op.FORGET_TX: _TRANSACTIONS,
    Op.FETCH_TX_RECOVERY: _TRANSACTIONS,
    Op.PREPARE_TX_2: _TRANSACTIONS,
}
"""What is answered with SERVER_ERROR, and what to call it."""

OPERATIONS: Final[dict[Op, Operation]] = {
    **entries.OPERATIONS,
    **cursors.OPERATIONS,
    **listeners.OPERATIONS,
    **multimap.OPERATIONS,
}

_WITHOUT_CACHE: Final[dict[Op, Callable[[Handler, Session, Request], bytes]]] = {
    Op.PING: _ping,
    **counters.OPERATIONS,
    **tasks.OPERATIONS,
    **authentication.OPERATIONS,
    **dict.fromkeys(UNSUPPORTED, _unsupported),
}

# By number: an enumeration's hash takes longer than the operation.
_BY_CODE: Final = [OPERATIONS.get(Op(code)) if code in set(Op) else None for code in range(256)]


def _versions_of(code: int) -> list[Version] | None:
    """The versions that have an operation; None: all, or none."""
    if code not in set(Op):
        return None
    found = layout(Op(code))
    versions = [version for version in Version if found.since <= version <= found.until]
    return None if len(versions) == len(Version) else versions


_VERSIONS: Final = [_versions_of(code) for code in range(256)]

_IF_ABSENT: Final = (Op.PUT_IF_ABSENT, Op.REPLACE)
_OPEN: Final = (Op.PING, Op.AUTH_MECH_LIST, Op.AUTH)
_OPCODES: Final = sorted(int(op) for op in (*OPERATIONS, *_WITHOUT_CACHE) if op not in UNSUPPORTED)
