"""An asynchronous service: a cache in front of something slow, asked once for each key.

    python examples/cache_aside_asyncio.py [hotrod://...]

`get` looks into the cluster first and loads what is missing. Those who ask for the same key at the
same time share one task, so that a popular key that has expired costs the database one query and
not hundreds. When the cluster cannot be reached, the service is slower but goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from _cluster import cache, cluster

from hotrod_codec import AsyncCache, AsyncClient, Client, TransportError


class CacheAside:
    """Values of `load`, kept in a cache for `lifespan` seconds."""

    def __init__(
        self,
        cache: AsyncCache[str, Any],
        load: Callable[[str], Awaitable[Any]],
        lifespan: float,
    ) -> None:
        self._cache = cache
        self._load = load
        self._lifespan = lifespan
        self._loading: dict[str, asyncio.Task[Any]] = {}

    async def get(self, key: str) -> Any:
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(self._find(key))
            task.add_done_callback(lambda _: self._loading.pop(key))
        # Shielded: somebody who does not wait any more does not end it for the others.
        return await asyncio.shield(task)

    async def _find(self, key: str) -> Any:
        try:
            found = await self._cache.get(key)
        except TransportError:
            return await self._load(key)
        if found is None:
            found = await self._load(key)
            # Another process may have loaded it meanwhile: the first one stays.
            await self._cache.put_if_absent(key, found, lifespan=self._lifespan)
        return found


async def serve(uri: str, name: str) -> None:
    queries: Counter[str] = Counter()

    async def load(key: str) -> Any:
        """The database."""
        queries[key] += 1
        await asyncio.sleep(0.05)
        return {"name": key, "length": len(key)}

    async with AsyncClient(uri) as client:
        products = CacheAside(client.cache(name, keys="json", values="json"), load, lifespan=60)
        keys = [f"product {n % 10}" for n in range(1000)]
        found = await asyncio.gather(*map(products.get, keys))
        assert [product["name"] for product in found] == keys
        print(f"{len(keys)} requests at once for {len(set(keys))} keys: {queries.total()} queries")
        again = await asyncio.gather(*map(products.get, keys))
        assert again == found
        print(f"the same again: {queries.total() - len(set(keys))} more")
        assert set(queries.values()) == {1}


def main() -> None:
    with (
        cluster() as uri,
        Client(uri) as client,
        cache(client, "example-products", "application/json") as name,
    ):
        asyncio.run(serve(uri, name))


if __name__ == "__main__":
    main()
