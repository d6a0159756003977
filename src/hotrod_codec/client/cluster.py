"""Which server gets a request, and what follows when it fails. No I/O; time is an argument.

Here: what is known of each cache's servers and of who owns which keys, the servers that failed
lately, other clusters to go to, and the rule for what may be tried again. All methods may be
called from several threads.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Final, Protocol, cast

from hotrod_codec import CacheEncoder, HashWheel, segment_of, split_by_owner
from hotrod_codec._ext.exchange import Front, Paths, Target
from hotrod_codec._ext.scalars import end_of_fitting, total_size
from hotrod_codec.client.config import Configuration
from hotrod_codec.client.session import Header, Into, NotSentError, name_of
from hotrod_codec.errors import (
    IllegalLifecycleStateError,
    LimitError,
    NodeSuspectedError,
    RequestTimeoutError,
    TransportError,
)
from hotrod_codec.ops import Intelligence, Op, Version
from hotrod_codec.values import MediaType, ServerAddress, Topology

__all__ = [
    "DEFAULT_CLUSTER",
    "ONCE",
    "SHARED_FROM",
    "Balancer",
    "CacheState",
    "Call",
    "Calls",
    "Cluster",
    "RoundRobin",
    "Routing",
    "Statement",
    "end_of_piece",
    "keys_come_back",
    "length_of",
    "may_retry",
]

logger = logging.getLogger(__name__)

DEFAULT_CLUSTER: Final = ""
"""The name of the cluster of `addresses`."""

_NO_FIELDS: Final[Mapping[str, Any]] = MappingProxyType({})
_MOST_NAMED: Final = 10  # servers in a line of the log
_HEAD: Final = 40
"""About how many bytes a request has beside key and value."""

_UNKNOWN: Final = -1
_SWITCHED: Final = -2  # tells the server that what we knew was of another cluster

_LISTS: Final = {Op.GET_ALL: "keys", Op.PUT_ALL: "entries"}
"""What requests for many keys have their lists in."""

_ENDLESS: Final = 2**62

SHARED_FROM: Final = 512
"""How many keys of one server are worth a second connection: a server does what comes by one
connection in one thread, one after the other."""

READS: Final = frozenset(
    {
        Op.GET,
        Op.GET_ALL,
        Op.GET_WITH_METADATA,
        Op.GET_WITH_VERSION,
        Op.CONTAINS_KEY,
        Op.BULK_GET,
        Op.BULK_GET_KEYS,
        Op.PING,
        Op.QUERY,
        Op.SIZE,
        Op.STATS,
        Op.COUNTER_GET,
        Op.COUNTER_GET_CONFIGURATION,
        Op.COUNTER_GET_NAMES,
        Op.COUNTER_IS_DEFINED,
        Op.GET_MULTIMAP,
        Op.GET_MULTIMAP_WITH_METADATA,
        Op.SIZE_MULTIMAP,
        Op.CONTAINS_ENTRY_MULTIMAP,
        Op.CONTAINS_KEY_MULTIMAP,
        Op.CONTAINS_VALUE_MULTIMAP,
        Op.START_GET_STREAM,
        Op.START_PUT_STREAM,
        Op.COMMIT_TX,
        Op.ROLLBACK_TX,
    }
)
"""What may be done twice without anybody noticing."""

ONCE: Final = frozenset(
    {
        Op.COUNTER_CREATE,
        Op.COUNTER_ADD_AND_GET,
        Op.COUNTER_RESET,
        Op.COUNTER_CAS,
        Op.COUNTER_GET_AND_SET,
        Op.COUNTER_REMOVE,
    }
)
"""Writes that nobody may allow to be done twice: what they come to depends on how often."""


class Balancer(Protocol):
    """Chooses servers for requests that any server can answer. Each cache has its own; calls do
    not overlap."""

    def set_servers(self, servers: Sequence[ServerAddress], /) -> None:
        """These are the servers from now on: one or more."""

    def next_server(self, failed: Collection[ServerAddress], /) -> ServerAddress:
        """A server, if possible none of `failed`."""
        ...


class RoundRobin:
    """One after the other."""

    def __init__(self) -> None:
        self._servers: Sequence[ServerAddress] = ()
        self._next = -1

    def set_servers(self, servers: Sequence[ServerAddress], /) -> None:
        """Begin again with these."""
        self._servers = servers
        self._next = -1

    def next_server(self, failed: Collection[ServerAddress], /) -> ServerAddress:
        """The next that has not failed; when all have, the next."""
        servers = self._servers
        for _ in servers:
            self._next = (self._next + 1) % len(servers)
            if servers[self._next] not in failed:
                break
        return servers[self._next]


class Routing(Paths):
    """What one topology says. Immutable.

    Attributes:
        servers: All of them, each once.
        segments: For each segment its owners, primary first; empty when keys have no owners, or
            the version (1.x) has none.
    """

    __slots__ = (
        "_primaries",
        "_wheel",
        "_wheel_servers",
        "segments",
        "servers",
    )

    def __init__(
        self,
        topology_id: int,
        servers: Iterable[ServerAddress],
        segments: tuple[tuple[ServerAddress, ...], ...] = (),
        wheel: HashWheel | None = None,
    ) -> None:
        self._wheel = wheel
        self._wheel_servers = tuple(servers)
        self.servers = tuple(dict.fromkeys(self._wheel_servers))
        super().__init__(topology_id, self.servers[0] if len(self.servers) == 1 else None)
        self.segments = segments
        self._primaries: list[int] | None = None

    @classmethod
    def of(cls, topology: Topology, address_map: Any) -> Routing:
        """The routing that a topology describes, its addresses as they can be reached."""
        servers = [_reachable(server, address_map) for server in topology.servers]
        if topology.hash_version in (2, 3) and topology.segment_owners:
            owners = {
                numbers: tuple(servers[i] for i in numbers)
                for numbers in set(topology.segment_owners)
            }
            return cls(topology.id, servers, tuple(owners[n] for n in topology.segment_owners))
        # Version 1 of the hash is older than servers that are still about: no owners then.
        if topology.hash_version == 2 and topology.hash_ids and topology.hash_space:
            wheel = HashWheel(
                topology.hash_ids,
                hash_space=topology.hash_space,
                virtual_nodes=topology.virtual_nodes,
            )
            return cls(topology.id, servers, wheel=wheel)
        return cls(topology.id, servers)

    def outdated(self) -> Routing:
        """The same, but servers that are told of it tell what they know."""
        return Routing(_UNKNOWN, self._wheel_servers, self.segments, self._wheel)

    def owners_of(self, key: bytes) -> tuple[ServerAddress, ...]:
        """Who has this key, primary first; nobody in particular: empty."""
        if self.segments:
            return self.segments[segment_of(key, len(self.segments))]
        if self._wheel is not None:
            return (self._wheel_servers[self._wheel.owner_of(key)],)
        return ()

    def split(self, keys: Sequence[bytes]) -> dict[ServerAddress | None, Sequence[int]]:
        """The indices of many keys by their primary owners; None: nobody in particular."""
        if self._wheel is not None:
            found: dict[ServerAddress | None, list[int]] = {}
            for i, key in enumerate(keys):
                found.setdefault(self.owners_of(key)[0], []).append(i)
            return dict(found)
        if not self.segments:
            return {None: range(len(keys))}
        if self.only is not None:
            return {self.only: range(len(keys))}
        if self._primaries is None:
            numbers = {server: i for i, server in enumerate(self.servers)}
            self._primaries = [numbers[owners[0]] if owners else -1 for owners in self.segments]
        return {
            None if number < 0 else self.servers[number]: indices.tolist()
            for number, indices in split_by_owner(keys, self._primaries).items()
        }


def _reachable(server: ServerAddress, address_map: Any) -> ServerAddress:
    if address_map is None:
        return server
    if isinstance(address_map, Mapping):
        return ServerAddress(*address_map.get(server, server))
    return ServerAddress(*address_map(*server))


class CacheState(Target):
    """What a client knows of one cache.

    Attributes:
        name: Its name.
        routing: Of its latest topology.
        balancer: For what has no key.
        known: Whether the server was asked for the cache, so that the next two are known.
        key_type, value_type: How the server stores; None: it did not say.
        version: The protocol version of the answer that said so.
        value_size: About how long its values are, in bytes; None: nobody has seen enough of them.
        refuses_many: Whether its server refused to read many keys by one request.
        epoch: Changes when all of that has to be asked for anew.
    """

    __slots__ = (
        "balancer",
        "epoch",
        "key_type",
        "known",
        "name",
        "refuses_many",
        "value_size",
        "value_type",
        "version",
    )

    routing: Routing

    def __init__(self, name: str, routing: Routing, balancer: Balancer) -> None:
        self.name = name
        self.routing = routing
        self.balancer = balancer
        self.epoch = 0
        self.known = False
        self.key_type: MediaType | None = None
        self.value_type: MediaType | None = None
        self.version = Version.V4_1
        self.value_size: float | None = None
        self.refuses_many = False

    def forget(self) -> None:
        """It is another cache now, though of that name."""
        self.known = False
        self.value_size = None
        self.refuses_many = False
        self.epoch += 1

    def note_values(self, values: list[bytes | None]) -> None:
        """These were read of it, None where there is none."""
        size, found = total_size(values), len(values)
        if size < 0:
            size, found = total_size(values, none=True), found - values.count(None)
        if found:
            self.value_size = size / found


class Call:
    """One request, wherever it goes.

    Attributes:
        op: The operation.
        state: Of its cache.
        header: What goes in front.
        fields: The body, as for encode_request.
        key: What decides where it goes, as the server stores it; None: any server.
        into: What the answer's list becomes.
    """

    __slots__ = ("fields", "header", "into", "key", "op", "state")

    def __init__(
        self,
        op: Op,
        state: CacheState,
        header: Header,
        fields: Mapping[str, Any] = _NO_FIELDS,
        key: bytes | None = None,
        into: Into = "pairs",
    ) -> None:
        self.op = op
        self.state = state
        self.header = header
        self.fields = fields
        self.key = key
        self.into: Into = into

    @property
    def reads(self) -> bool:
        """Whether it may be done twice without anybody noticing."""
        return self.op in READS


class Statement(Call):
    """A query that deletes what it finds."""

    __slots__ = ()

    @property
    def reads(self) -> bool:
        return False


class Calls:
    """Requests of one kind, to be sent side by side.

    Attributes:
        op, state, header, into: Of all of them, as in Call.
        items: What each is about: keys of GET, pairs of PUT, else fields as in Call.
        places: What decides where each goes, as Call.key.
        life: Lifespan and max idle of PUT.
        any_order: Whether one may overtake another.
    """

    __slots__ = ("any_order", "header", "into", "items", "life", "op", "places", "state")

    def __init__(
        self,
        op: Op,
        state: CacheState,
        header: Header,
        items: list[Any],
        places: Sequence[bytes | None],
        *,
        life: Mapping[str, Any] = _NO_FIELDS,
        into: Into = "pairs",
        any_order: bool | None = None,
    ) -> None:
        self.op = op
        self.any_order = op in READS if any_order is None else any_order
        self.state = state
        self.header = header
        self.items = items
        self.places = places
        self.life = life
        self.into: Into = into

    def __len__(self) -> int:
        return len(self.items)

    def only(self, indices: Sequence[int]) -> Calls:
        """Some of them."""
        if len(indices) == len(self.items):
            return self
        items, places = self.items, self.places
        return Calls(
            self.op,
            self.state,
            self.header,
            [items[i] for i in indices],
            [places[i] for i in indices],
            life=self.life,
            into=self.into,
            any_order=self.any_order,
        )

    @property
    def is_worth_a_second(self) -> bool:
        """Whether a second connection for half of them is of use, if all are for one server."""
        count = len(self.items)
        if count < 2 or not self.any_order:
            return False
        if self.op in _LISTS:
            count = sum(len(fields[_LISTS[self.op]]) for fields in self.items)
        return count >= SHARED_FROM

    def cut(self, start: int, count: int, size: int) -> tuple[int, int]:
        """Where to end a piece that begins at `start`: at most so many requests, and of so many
        bytes unless it is one alone. Beside it, about how many bytes they are."""
        if self.op in (Op.GET, Op.PUT):
            stop = min(start + count, len(self.items))
            return end_of_fitting(self.items, start, stop, _HEAD, size)
        part = self.items[start : start + min(count, size // _HEAD + 1)]
        if self.op in _LISTS:
            sizes = [_HEAD + length_of(fields[_LISTS[self.op]]) for fields in part]
        else:
            sizes = [_HEAD + len(fields["key"]) for fields in part]
        ends = list(accumulate(sizes))
        stop = end_of_piece(ends, 0, len(part), size)
        return start + stop, ends[stop - 1]

    def encoded(self, encoder: CacheEncoder, first_id: int, start: int, stop: int) -> bytes:
        """The bytes of a piece, its ids from `first_id` on."""
        items = self.items[start:stop]
        if self.op is Op.GET:
            return encoder.get_many(items, first_id)
        if self.op is Op.PUT:
            return encoder.put_many(items, first_id, **self.life)
        return b"".join(
            encoder.encode(self.op, message_id, **fields)
            for message_id, fields in enumerate(items, first_id)
        )


def length_of(things: list[Any]) -> int:
    """How many bytes there are in keys or values, or in pairs of them."""
    return end_of_fitting(things, 0, len(things), 0, _ENDLESS)[1] if things else 0


def end_of_piece(ends: Sequence[int], start: int, last: int, size: int) -> int:
    """Where to end what begins at `start`: not behind `last`, and so that it is no longer than
    `size`, but at least one thing.

    Args:
        ends: Where each thing ends, if they are all laid one behind the other.
    """
    before = ends[start - 1] if start else 0
    return max(start + 1, bisect_right(ends, before + size, start, last))


class Cluster(Front):
    """The servers of a client.

    Attributes:
        generation: Changes when the client goes to another cluster: topologies in answers to
            requests of an older generation concern servers that are of no interest any more.
        name: Of the current cluster.
        intelligence: What to tell its servers.
        failed: The servers that could not be reached, and until when to leave them alone.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._address_map = configuration.address_map
        self._failure_timeout = configuration.server_failure_timeout
        self._make_balancer = configuration.balancer or RoundRobin
        self._sites: dict[str, tuple[tuple[ServerAddress, ...], Intelligence]] = {
            DEFAULT_CLUSTER: (configuration.addresses, configuration.client_intelligence)
        }
        for name, settings in configuration.clusters.items():
            intelligence = settings.client_intelligence or configuration.client_intelligence
            self._sites[name] = settings.addresses, intelligence
        self.name = DEFAULT_CLUSTER
        self.generation = 0
        self._seeds, self.intelligence = self._sites[self.name]
        self._caches: dict[str, CacheState] = {}
        self._lock = threading.Lock()

    def after_fork(self) -> None:
        """Another thread may have held the lock."""
        self._lock = threading.Lock()

    def cache(self, name: str) -> CacheState:
        """What is known of a cache; always the same object."""
        state = self._caches.get(name)
        if state is None:
            with self._lock:
                state = self._caches.get(name)
                if state is None:
                    balancer: Balancer = self._make_balancer()
                    balancer.set_servers(self._seeds)
                    state = CacheState(name, Routing(_UNKNOWN, self._seeds), balancer)
                    self._caches[name] = state
        return state

    # ---- choosing

    def choose(
        self,
        state: CacheState,
        key: bytes | None,
        tried: Collection[ServerAddress],
        now: float,
    ) -> ServerAddress:
        """The server for a request.

        Args:
            key: As in Call.
            tried: Those that failed this request before.
            now: On the clock of `server_failed`.
        """
        routing = state.routing
        all_is_well = not tried and not self.failed
        if all_is_well and routing.only is not None:
            return routing.only
        if key is not None:
            owners = routing.owners_of(key)
            if owners and all_is_well:
                return owners[0]
            for server in owners:
                if server not in tried and not self._is_failed(server, now):
                    return server
        with self._lock:
            return self._choose_any(state, tried, now)

    def split(
        self,
        calls: Calls,
        indices: Sequence[int],
        tried: Collection[ServerAddress],
        now: float,
    ) -> dict[ServerAddress, Sequence[int]]:
        """The servers for many requests: for each the indices of its requests, out of `indices`.
        Otherwise as `choose`."""
        state, places = calls.state, calls.places
        if not tried and not self.failed and len(indices) == len(places):
            only = state.routing.only
            if only is not None:
                return {only: indices}
            if None not in places:
                found = state.routing.split(cast("Sequence[bytes]", places))
                if None not in found:
                    return cast("dict[ServerAddress, Sequence[int]]", found)
        split: dict[ServerAddress, list[int]] = {}
        for i in indices:
            split.setdefault(self.choose(state, places[i], tried, now), []).append(i)
        return dict(split)

    def _choose_any(
        self, state: CacheState, tried: Collection[ServerAddress], now: float
    ) -> ServerAddress:
        bad = set(tried)
        if self.failed:
            bad.update(s for s in tuple(self.failed) if self._is_failed(s, now))
        server = state.balancer.next_server(bad)
        if server not in bad:
            return server
        # The addresses in a topology may be of no use from here, those that we were given may.
        for seed in self._seeds:
            if seed not in bad:
                return seed
        servers = (*state.routing.servers, *self._seeds)
        if all(self._is_failed(s, now) for s in servers) and self._switch_from_dead(now):
            return state.balancer.next_server(())
        # All have failed. Those that this request has not seen yet may be back.
        for server in servers:
            if server not in tried:
                return server
        return state.balancer.next_server(())

    def _is_failed(self, server: ServerAddress, now: float) -> bool:
        until = self.failed.get(server)
        if until is None:
            return False
        if until > now:
            return True
        self.failed.pop(server, None)
        return False

    # ---- learning

    def server_failed(self, server: ServerAddress, now: float) -> None:
        """It could not be reached: leave it alone for a while."""
        self.failed[server] = now + self._failure_timeout

    def server_lost(self, server: ServerAddress) -> None:
        """A connection to it has ended. It may be another one when it is back, in another cluster
        that counts its topologies from the beginning: one with a known number may be a new one."""
        with self._lock:
            for state in self._caches.values():
                routing = state.routing
                if routing.topology_id != _SWITCHED and server in routing.servers:
                    state.routing = routing.outdated()

    def server_works(self, server: ServerAddress) -> None:
        """It could be reached."""
        if self.failed:
            self.failed.pop(server, None)

    def learn(self, state: CacheState, topology: Topology, generation: int) -> bool:
        """Take in the topology of an answer.

        Args:
            generation: When the request was sent.

        Returns:
            Whether there is news.
        """
        if not topology.servers:
            return False
        with self._lock:
            if generation != self.generation or topology.id == state.routing.topology_id:
                return False
            routing = Routing.of(topology, self._address_map)
            if routing.servers != state.routing.servers:
                state.balancer.set_servers(routing.servers)
                logger.info(
                    "cache %r: topology %d, %d servers: %s",
                    state.name,
                    topology.id,
                    len(routing.servers),
                    ", ".join(name_of(server) for server in routing.servers[:_MOST_NAMED]),
                )
            for gone in set(state.routing.servers).difference(routing.servers):
                self.failed.pop(gone, None)
            state.routing = routing
            return True

    def servers(self) -> set[ServerAddress]:
        """All that may be asked for something."""
        with self._lock:
            found = set(self._seeds)
            for state in self._caches.values():
                found.update(state.routing.servers)
            return found

    # ---- other clusters

    def switch(self, name: str) -> bool:
        """Go to another cluster; False: there is none of that name."""
        with self._lock:
            if name not in self._sites:
                return False
            for seed in self._sites[name][0]:
                self.failed.pop(seed, None)  # who says so knows better
            if name != self.name:
                self._go_to(name)
            return True

    def _switch_from_dead(self, now: float) -> bool:
        """All servers of this cluster have failed: go to the next, in order of definition."""
        names = list(self._sites)
        at = names.index(self.name)
        for name in (*names[at + 1 :], *names[:at]):
            if any(not self._is_failed(seed, now) for seed in self._sites[name][0]):
                self._go_to(name)
                return True
        return False

    def _go_to(self, name: str) -> None:
        logger.warning("going to cluster %r", name or "default")
        self.name = name
        self.generation += 1
        self._seeds, self.intelligence = self._sites[name]
        for state in self._caches.values():
            state.forget()
            state.routing = Routing(_SWITCHED, self._seeds)
            state.balancer.set_servers(self._seeds)


def may_retry(error: BaseException, *, reads: bool, retry_writes: bool) -> bool:
    """Whether a request may be tried again after `error`.

    Those that read always, if it makes sense. Writes only if they were surely not done: otherwise
    they could be done twice, or overwrite what came in between; `retry_writes` allows that.
    """
    if isinstance(error, NotSentError):
        return True
    if isinstance(error, TransportError):
        return (reads or retry_writes) and not _is_too_large(error)
    if isinstance(error, RequestTimeoutError | NodeSuspectedError | IllegalLifecycleStateError):
        return reads or retry_writes
    return False


def _is_too_large(error: BaseException | None) -> bool:
    """An answer beyond our limits would be so again."""
    while error is not None:
        if isinstance(error, LimitError):
            return True
        error = error.__cause__
    return False


# Text and bytes have one form, however they are stored.
_ONE_FORM: Final = frozenset({"text/plain", "application/octet-stream"})


def keys_come_back(sent: MediaType, stored: MediaType | None, version: Version) -> bool:
    """Whether keys in events and answers have the bytes that were sent for them, and different
    bytes are different keys: servers that convert write keys in their own way.

    Args:
        sent: How keys are sent.
        stored: How the server stores them; None: it did not say.
        version: The protocol's.
    """
    if sent.name in _ONE_FORM:
        return True
    if stored is None:
        return version != Version.V2_8  # which converts and does not tell from what
    return stored.name == sent.name
