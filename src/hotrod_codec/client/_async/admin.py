"""Administration: caches, templates and schemas of the servers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from hotrod_codec import admin
from hotrod_codec.admin import AdminFlag, SchemaChange, SchemaOp, SchemaRemoval
from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.client._async.schemas import AsyncSchemas

__all__ = ["AsyncAdmin"]

_Flags: TypeAlias = AdminFlag | str | Iterable[AdminFlag | str]


class AsyncAdmin:
    """What an administrator does. Made by `AsyncClient.admin`; since version 2.1.

    Failures on the server are ServerErrors with its words. What each method means and which
    servers know it, hotrod_codec.admin says.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def cache_names(self) -> set[str]:
        """The names of the caches that the user may see."""
        return set(await self._dispatcher.run(admin.cache_names()))

    async def create_cache(
        self,
        name: str,
        configuration: str | None = None,
        *,
        template: str | None = None,
        flags: _Flags = (),
    ) -> None:
        """Create a cache; one of that name is an error.

        Args:
            configuration: XML, JSON or YAML; or
            template: the name of a template of the server.
            flags: VOLATILE: until the servers stop; UPDATE: change the one that is there.
        """
        await self._dispatcher.run(
            admin.create_cache(name, template=template, configuration=configuration, flags=flags)
        )

    async def get_or_create_cache(
        self,
        name: str,
        configuration: str | None = None,
        *,
        template: str | None = None,
        flags: _Flags = (),
    ) -> None:
        """Create a cache unless there is one of that name, whatever its configuration; arguments
        as for `create_cache`."""
        await self._dispatcher.run(
            admin.get_or_create_cache(
                name, template=template, configuration=configuration, flags=flags
            )
        )

    async def remove_cache(self, name: str, *, flags: _Flags = ()) -> None:
        """Remove a cache and its data, on all nodes. That there is none is no error."""
        await self._dispatcher.run(admin.remove_cache(name, flags=flags))
        self._dispatcher.cluster.cache(name).forget()
        for subscription in list(self._dispatcher.subscriptions.values()):
            subscription.cache_removed(name)

    async def update_configuration_attribute(
        self, name: str, attribute: str, value: str, *, flags: _Flags = ()
    ) -> None:
        """Change a mutable attribute of a cache, such as "expiration.lifespan" to "60000"."""
        await self._dispatcher.run(
            admin.update_configuration_attribute(name, attribute, value, flags=flags)
        )

    async def reindex_cache(self, name: str) -> None:
        """Build the index of a cache anew."""
        await self._dispatcher.run(admin.reindex_cache(name))

    async def update_index_schema(self, name: str) -> None:
        """Let the index of a cache follow its changed schema; not in 9.4."""
        await self._dispatcher.run(admin.update_index_schema(name))

    async def create_template(self, name: str, configuration: str, *, flags: _Flags = ()) -> None:
        """Create a template from a configuration."""
        await self._dispatcher.run(admin.create_template(name, configuration, flags=flags))

    async def remove_template(self, name: str, *, flags: _Flags = ()) -> None:
        """Remove a template."""
        await self._dispatcher.run(admin.remove_template(name, flags=flags))

    @property
    def schemas(self) -> AsyncSchemas:
        """The Protobuf schemas of the servers, whatever their version."""
        return AsyncSchemas(self._dispatcher)

    async def create_or_update_schema(
        self, name: str, content: str, op: SchemaOp | str = SchemaOp.SAVE, *, force: bool = False
    ) -> SchemaChange:
        """Register a Protobuf schema (servers since 16; `schemas` does in all); what was done, and
        what is wrong with it."""
        return await self._dispatcher.run(
            admin.create_or_update_schema(name, content, op, force=force)
        )

    async def remove_schema(self, name: str) -> SchemaRemoval:
        """Remove a schema unless a cache indexes one of its types (servers since 16)."""
        return await self._dispatcher.run(admin.remove_schema(name))
