"""The client: what a user makes, and what gives caches."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self, TypeVar, Unpack, overload

from hotrod_codec.client._async.admin import AsyncAdmin
from hotrod_codec.client._async.cache import AsyncCache
from hotrod_codec.client._async.counters import AsyncCounters
from hotrod_codec.client._async.counting import CountingDispatcher
from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.client._async.multimap import AsyncMultimap
from hotrod_codec.client._async.near import AsyncNearCache
from hotrod_codec.client._async.tasks import execute
from hotrod_codec.client._async.transactions import AsyncTransaction
from hotrod_codec.client.cluster import DEFAULT_CLUSTER
from hotrod_codec.client.config import (
    Configuration,
    NearSize,
    Seconds,
    Settings,
    as_marshaller,
    configure,
    near_size,
)
from hotrod_codec.client.session import NO_FLAGS
from hotrod_codec.client.statistics import ClientStatistics
from hotrod_codec.errors import ConfigurationError
from hotrod_codec.marshallers import Marshaller
from hotrod_codec.ops import Flag

__all__ = ["AsyncClient"]

K = TypeVar("K")
V = TypeVar("V")


class AsyncClient:
    """A client of Infinispan servers.

        async with AsyncClient("hotrod://user:password@127.0.0.1:11222") as client:
            cache = client.cache("users")
            await cache.put("k", "v", lifespan=60)
            await cache.get("k")

    Nothing is connected before it is needed. A client serves any number of threads, or of event
    loops, each of which has connections of its own.

    Args:
        uri: hotrod://user:password@host:port,...?name=value&..., hotrods:// for TLS; or a
            Configuration.
        properties: Path of a file in the form of hotrod-client.properties.
        settings: As Configuration says; these come first, then the URI, then the file.

    Raises:
        ConfigurationError: What is wrong with all that, and what is valid.
    """

    def __init__(
        self,
        uri: str | Configuration | None = None,
        /,
        *,
        properties: str | os.PathLike[str] | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        if isinstance(uri, Configuration):
            if settings or properties is not None:
                raise TypeError("settings: a Configuration is complete; dataclasses.replace it")
            configuration = uri
        else:
            configuration = configure(uri, properties=properties, settings=settings)
        self._configuration = configuration
        kind = CountingDispatcher if configuration.statistics else Dispatcher
        self._dispatcher = kind(configuration)

    @property
    def configuration(self) -> Configuration:
        """What the client was told."""
        return self._configuration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def disconnect(self) -> None:
        """Close the connections; with asyncio those of the running loop, such as before it ends.
        The client may be used on: connections are made anew when they are needed."""
        await self._dispatcher.driver.disconnect()

    async def close(self) -> None:
        """Close all connections, within a second. Requests that wait for answers fail with
        TransportError. May be called again."""
        await self._dispatcher.driver.close()

    def __repr__(self) -> str:
        servers = ",".join(f"{host}:{port}" for host, port in self._configuration.addresses)
        return f"<{type(self).__name__} {servers}>"

    @property
    def statistics(self) -> ClientStatistics:
        """What the client did with all of its caches up to now. Near caches and connections are
        counted always, the rest by clients with the setting `statistics`: else it is 0."""
        return self._dispatcher.book.of_client(self._dispatcher.driver.connections)

    # ---- caches

    @overload
    def cache(
        self, name: str = "", *, force_return: bool | None = None, near_cache: NearSize = None
    ) -> AsyncCache[str, str]: ...

    @overload
    def cache(
        self,
        name: str = "",
        *,
        keys: Marshaller[K],
        force_return: bool | None = None,
        near_cache: NearSize = None,
    ) -> AsyncCache[K, str]: ...

    @overload
    def cache(
        self,
        name: str = "",
        *,
        values: Marshaller[V],
        force_return: bool | None = None,
        near_cache: NearSize = None,
    ) -> AsyncCache[str, V]: ...

    @overload
    def cache(
        self,
        name: str = "",
        *,
        keys: Marshaller[K],
        values: Marshaller[V],
        force_return: bool | None = None,
        near_cache: NearSize = None,
    ) -> AsyncCache[K, V]: ...

    @overload
    def cache(
        self,
        name: str = "",
        *,
        keys: Marshaller[Any] | str = ...,
        values: Marshaller[Any] | str = ...,
        force_return: bool | None = None,
        near_cache: NearSize = None,
    ) -> AsyncCache[Any, Any]: ...

    def cache(
        self,
        name: str = "",
        *,
        keys: Marshaller[Any] | str | None = None,
        values: Marshaller[Any] | str | None = None,
        force_return: bool | None = None,
        near_cache: NearSize = None,
    ) -> AsyncCache[Any, Any]:
        """A cache by its name; "" is the server's default one. Asks no server yet: whether there
        is such a cache shows with the first request.

        Args:
            keys, values: How keys and values become bytes: a Marshaller, "text", "bytes", "json",
                "protostream" or a media type. By default as configured, which is text. (Type
                checkers take it for text as well: name marshallers here if the configuration has
                others.)
            force_return: Whether `put` gives previous values back; by default as configured.
            near_cache: How many values that were read are kept here, until a server tells that
                they changed: at most so many, True for any number, False for none; by default as
                configured.

        Raises:
            ValueError: An argument is none of these; says what is valid.
        """
        return self._cache(name, keys, values, force_return, near_cache)

    def _cache(
        self,
        name: str,
        keys: Marshaller[Any] | str | None,
        values: Marshaller[Any] | str | None,
        force_return: bool | None,
        near_cache: NearSize,
    ) -> AsyncCache[Any, Any]:
        c = self._configuration
        settings = c.cache(name)
        if keys is None:
            keys = settings.key_marshaller or c.key_marshaller
        if values is None:
            values = settings.value_marshaller or c.value_marshaller
        if force_return is None:
            force_return = settings.force_return
        if force_return is None:
            force_return = c.force_return
        flags = Flag.FORCE_RETURN_VALUE if force_return else NO_FLAGS
        types = as_marshaller(keys), as_marshaller(values)
        try:
            near = near_size(settings.near_cache if near_cache is None else near_cache)
        except ValueError as error:
            raise ConfigurationError(f"near_cache: {error}") from None
        if near:
            return AsyncNearCache(self._dispatcher, name, *types, flags=flags, max_entries=near)
        return AsyncCache(self._dispatcher, name, *types, flags=flags)

    @overload
    def multimap(self, name: str, *, duplicates: bool = False) -> AsyncMultimap[str, str]: ...

    @overload
    def multimap(
        self,
        name: str,
        *,
        keys: Marshaller[K],
        values: Marshaller[V],
        duplicates: bool = False,
    ) -> AsyncMultimap[K, V]: ...

    @overload
    def multimap(
        self,
        name: str,
        *,
        keys: Marshaller[Any] | str | None = ...,
        values: Marshaller[Any] | str | None = ...,
        duplicates: bool = False,
    ) -> AsyncMultimap[Any, Any]: ...

    def multimap(
        self,
        name: str,
        *,
        keys: Marshaller[Any] | str | None = None,
        values: Marshaller[Any] | str | None = None,
        duplicates: bool = False,
    ) -> AsyncMultimap[Any, Any]:
        """A cache with several values under a key.

        Args:
            keys, values: As for `cache`.
            duplicates: Whether a value may be there several times under a key; since 4.0.
        """
        cache: AsyncCache[Any, Any] = self._cache(name, keys, values, None, False)
        return AsyncMultimap(cache, duplicates=duplicates)

    @overload
    async def execute(
        self, task: str, parameters: Mapping[str, str] | None = None
    ) -> str | None: ...

    @overload
    async def execute(
        self, task: str, parameters: Mapping[str, V] | None = None, *, values: Marshaller[V]
    ) -> V | None: ...

    @overload
    async def execute(
        self, task: str, parameters: Mapping[str, Any] | None = None, *, values: str
    ) -> Any: ...

    async def execute(
        self,
        task: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        values: Marshaller[Any] | str | None = None,
    ) -> Any:
        """Run a task or a script that the server has, on no cache in particular; what it gives,
        None: nothing. `AsyncCache.execute` runs one on a cache.

        Args:
            task: Its name.
            parameters: By their names.
            values: How they, and the result, become bytes; as for `cache`.

        Raises:
            ServerError: There is no such task, or it failed.

        Hot Rod: EXEC 0x2B, since 2.1.
        """
        given = self._configuration.value_marshaller if values is None else values
        state = self._dispatcher.cluster.cache("")
        return await execute(self._dispatcher, state, as_marshaller(given), task, parameters)

    def transaction(self, *, timeout: Seconds = 60) -> AsyncTransaction:
        """A transaction: writes to one cache or to several that happen together or not at all.

        Args:
            timeout: For how long servers keep one that is not committed after all: seconds or a
                timedelta.

        Raises:
            EncodeError: `timeout` is not positive, or not finite.

        Hot Rod: PREPARE_TX_2 0x7D, since 2.9; before, PREPARE_TX 0x3B, since 2.7.
        """
        return AsyncTransaction(self._dispatcher, timeout)

    @property
    def counters(self) -> AsyncCounters:
        """The counters of the cluster."""
        return AsyncCounters(self._dispatcher)

    @property
    def admin(self) -> AsyncAdmin:
        """What an administrator does: create and remove caches, and so on."""
        return AsyncAdmin(self._dispatcher)

    # ---- clusters

    @property
    def current_cluster(self) -> str:
        """The name of the cluster that is used; "" is the one of `addresses`."""
        return self._dispatcher.cluster.name

    def switch_to_cluster(self, name: str) -> bool:
        """Use another of the configured clusters from now on; False: there is none of that name."""
        return self._dispatcher.switch(name)

    def switch_to_default_cluster(self) -> bool:
        """Use the cluster of `addresses` from now on."""
        return self._dispatcher.switch(DEFAULT_CLUSTER)
