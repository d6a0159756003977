"""The client for asyncio: what is edited, and what `_sync` is made from."""
