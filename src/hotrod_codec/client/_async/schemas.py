"""The Protobuf schemas that servers have: what queries are about."""

from __future__ import annotations

from hotrod_codec.client._async.cache import AsyncCache
from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.marshallers import PROTOSTREAM, TEXT, Marshaller
from hotrod_codec.ops import Version
from hotrod_codec.protostream import schemas

__all__ = ["AsyncSchemas"]


class AsyncSchemas:
    """The Protobuf schemas of the servers. Made by `AsyncAdmin.schemas`.

    They are entries of a cache that all servers have, so that this works in every version. Errors
    are those of AsyncCache. [wire-extended 6]
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def register(self, name: str, text: str) -> str | None:
        """Store a schema, whether it is right or not.

        Args:
            name: Its file name, such as "library/book.proto".
            text: What stands in it.

        Returns:
            What is wrong with it, in the server's words; None: nothing.

        Raises:
            EncodeError: The name does not end in ".proto".
        """
        errors = schemas.errors_key(name)
        cache = await self._cache()
        await cache.put(name, text)
        return await cache.get(errors)

    async def get(self, name: str) -> str | None:
        """The text of a schema; None: there is none of that name."""
        return await (await self._cache()).get(schemas.file_name(name))

    async def remove(self, name: str) -> bool:
        """Remove a schema, even if others need it, or a cache; whether it was there."""
        return await (await self._cache()).remove(schemas.file_name(name))

    async def names(self) -> list[str]:
        """The names of all schemas, sorted."""
        keys = (await self._cache()).keys()
        return sorted([key async for key in keys if key.endswith(".proto")])

    async def errors(self) -> dict[str, str]:
        """What is wrong, by the names of the schemas; those without fault are left out."""
        cache = await self._cache()
        names = schemas.failing_files(await cache.get(schemas.ERRORS_KEY))
        texts = await cache.get_many([schemas.errors_key(name) for name in names])
        return {name: text for name, text in zip(names, texts, strict=True) if text is not None}

    async def _cache(self) -> AsyncCache[str, str]:
        state = self._dispatcher.cluster.cache(schemas.CACHE)
        if not state.known:
            await self._dispatcher.look_up(state)
        # Until 2.7 headers do not say what keys and values are: then they are protostream.
        texts: Marshaller[str] = TEXT if state.version >= Version.V2_8 else PROTOSTREAM
        return AsyncCache(self._dispatcher, schemas.CACHE, texts, texts)
