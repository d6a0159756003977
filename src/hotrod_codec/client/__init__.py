"""Clients for Hot Rod servers, over the codec.

What is inside: config (what a client can be told), uri and properties (other ways to tell it),
session (one connection without its socket), cluster (which server gets a request, what follows
when it fails), and for asyncio and for threads the drivers with sockets and the API. The API is
written once, in _async; _sync is made from it.

The names here are loaded when they are asked for: a configuration needs no event loop.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hotrod_codec.client._async.admin import AsyncAdmin
    from hotrod_codec.client._async.cache import AsyncCache
    from hotrod_codec.client._async.client import AsyncClient
    from hotrod_codec.client._async.counters import (
        AsyncCounter,
        AsyncCounterListener,
        AsyncCounters,
    )
    from hotrod_codec.client._async.following import AsyncQueryListener
    from hotrod_codec.client._async.listeners import AsyncListener
    from hotrod_codec.client._async.multimap import AsyncMultimap
    from hotrod_codec.client._async.schemas import AsyncSchemas
    from hotrod_codec.client._async.streams import AsyncValueReader, AsyncValueWriter
    from hotrod_codec.client._async.transactions import AsyncTransaction, AsyncTransactionCache
    from hotrod_codec.client._sync.admin import Admin
    from hotrod_codec.client._sync.cache import Cache
    from hotrod_codec.client._sync.client import Client
    from hotrod_codec.client._sync.counters import Counter, CounterListener, Counters
    from hotrod_codec.client._sync.following import QueryListener
    from hotrod_codec.client._sync.listeners import Listener
    from hotrod_codec.client._sync.multimap import Multimap
    from hotrod_codec.client._sync.schemas import Schemas
    from hotrod_codec.client._sync.streams import ValueReader, ValueWriter
    from hotrod_codec.client._sync.transactions import Transaction, TransactionCache
    from hotrod_codec.client.cluster import Balancer, RoundRobin
    from hotrod_codec.client.config import CacheSettings, ClusterSettings, Configuration
    from hotrod_codec.client.results import (
        CacheEvent,
        CounterBoundError,
        CounterEvent,
        CounterMissingError,
        CounterState,
        EventKind,
        MetadataValue,
        QueryEvent,
        QueryEventKind,
        QueryResult,
        TransactionConflictError,
        TransactionError,
        TransactionInDoubtError,
    )
    from hotrod_codec.client.session import NotSentError
    from hotrod_codec.client.statistics import CacheStatistics, ClientStatistics

__all__ = [
    "Admin",
    "AsyncAdmin",
    "AsyncCache",
    "AsyncClient",
    "AsyncCounter",
    "AsyncCounterListener",
    "AsyncCounters",
    "AsyncListener",
    "AsyncMultimap",
    "AsyncQueryListener",
    "AsyncSchemas",
    "AsyncTransaction",
    "AsyncTransactionCache",
    "AsyncValueReader",
    "AsyncValueWriter",
    "Balancer",
    "Cache",
    "CacheEvent",
    "CacheSettings",
    "CacheStatistics",
    "Client",
    "ClientStatistics",
    "ClusterSettings",
    "Configuration",
    "Counter",
    "CounterBoundError",
    "CounterEvent",
    "CounterListener",
    "CounterMissingError",
    "CounterState",
    "Counters",
    "EventKind",
    "Listener",
    "MetadataValue",
    "Multimap",
    "NotSentError",
    "QueryEvent",
    "QueryEventKind",
    "QueryListener",
    "QueryResult",
    "RoundRobin",
    "Schemas",
    "Transaction",
    "TransactionCache",
    "TransactionConflictError",
    "TransactionError",
    "TransactionInDoubtError",
    "ValueReader",
    "ValueWriter",
]

_HOMES = {
    "Admin": "_sync.admin",
    "AsyncAdmin": "_async.admin",
    "AsyncCache": "_async.cache",
    "AsyncClient": "_async.client",
    "AsyncCounter": "_async.counters",
    "AsyncCounterListener": "_async.counters",
    "AsyncCounters": "_async.counters",
    "AsyncListener": "_async.listeners",
    "AsyncMultimap": "_async.multimap",
    "AsyncQueryListener": "_async.following",
    "AsyncSchemas": "_async.schemas",
    "AsyncTransaction": "_async.transactions",
    "AsyncTransactionCache": "_async.transactions",
    "AsyncValueReader": "_async.streams",
    "AsyncValueWriter": "_async.streams",
    "Balancer": "cluster",
    "Cache": "_sync.cache",
    "CacheEvent": "results",
    "CacheSettings": "config",
    "CacheStatistics": "statistics",
    "Client": "_sync.client",
    "ClientStatistics": "statistics",
    "ClusterSettings": "config",
    "Configuration": "config",
    "Counter": "_sync.counters",
    "CounterBoundError": "results",
    "CounterEvent": "results",
    "CounterListener": "_sync.counters",
    "CounterMissingError": "results",
    "CounterState": "results",
    "Counters": "_sync.counters",
    "EventKind": "results",
    "Listener": "_sync.listeners",
    "MetadataValue": "results",
    "Multimap": "_sync.multimap",
    "NotSentError": "session",
    "QueryEvent": "results",
    "QueryEventKind": "results",
    "QueryListener": "_sync.following",
    "QueryResult": "results",
    "RoundRobin": "cluster",
    "Schemas": "_sync.schemas",
    "Transaction": "_sync.transactions",
    "TransactionCache": "_sync.transactions",
    "TransactionConflictError": "results",
    "TransactionError": "results",
    "TransactionInDoubtError": "results",
    "ValueReader": "_sync.streams",
    "ValueWriter": "_sync.streams",
}

if not TYPE_CHECKING:  # for type checkers there are no other names than those above

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'hotrod_codec.client' has no attribute {name!r}")
        module = import_module(f"hotrod_codec.client.{_HOMES[name]}")
        value = globals()[name] = getattr(module, name)
        return value
