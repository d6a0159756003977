"""The client for threads: made from `_async` by tools/gen_sync.py, but for its driver."""
