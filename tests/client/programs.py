"""Programs: lists of steps on a cache, and what a user sees of them, whatever the version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from hypothesis import strategies as st

Step: TypeAlias = tuple[Any, ...]

KEYS = tuple(b"key %d" % i for i in range(5))
_keys = st.sampled_from(KEYS)
_values = st.binary(min_size=1, max_size=30)
_many = st.lists(st.tuples(_keys, _values), max_size=5)


def _step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), *arguments)


programs = st.lists(
    st.one_of(
        _step("put", _keys, _values),
        _step("get", _keys),
        _step("contains_key", _keys),
        _step("put_if_absent", _keys, _values),
        _step("replace", _keys, _values),
        _step("remove", _keys),
        _step("get_and_put", _keys, _values),
        _step("get_and_replace", _keys, _values),
        _step("get_and_put_if_absent", _keys, _values),
        _step("get_and_remove", _keys),
        _step("versioned", _keys, _values, st.booleans()),
        _step("unversioned", _keys, st.booleans()),
        _step("computed", _keys, _values),
        _step("put_all", _many),
        _step("put_many", _many),
        _step("get_all", st.lists(_keys, max_size=5)),
        _step("get_many", st.lists(_keys, max_size=5)),
        _step("everything"),
        _step("mortal", _keys, _values),
        _step("clear"),
    ),
    min_size=1,
    max_size=25,
)


def _versioned(cache: Any, key: bytes, value: bytes, stale: bool) -> Any:
    found = cache.get_with_metadata(key)
    if found is None:
        return cache.replace_with_version(key, value, 1), None
    if stale:
        cache.put(key, b"between")
    return cache.replace_with_version(key, value, found.version), found.value


def _unversioned(cache: Any, key: bytes, stale: bool) -> Any:
    found = cache.get_with_metadata(key)
    if found is None:
        return cache.remove_with_version(key, 1), None
    if stale:
        cache.put(key, b"between")
    return cache.remove_with_version(key, found.version), found.value


def _computed(cache: Any, key: bytes, value: bytes) -> Any:
    return cache.compute(
        key, lambda _, old: None if old and len(old) > 40 else (old or b"") + value
    )


def _everything(cache: Any) -> Any:
    entries = list(cache.entries())
    return cache.size(), cache.is_empty(), sorted(entries), sorted(cache.keys())


def _mortal(cache: Any, key: bytes, value: bytes) -> Any:
    return cache.put(key, value, lifespan=1000), cache.get(key)


_STEPS: dict[str, Callable[..., Any]] = {
    "versioned": _versioned,
    "unversioned": _unversioned,
    "computed": _computed,
    "everything": _everything,
    "mortal": _mortal,
    "put_all": lambda cache, pairs: cache.put_all(dict(pairs)),
    "put_many": lambda cache, pairs: cache.put_many(dict(pairs)),
}


def run(cache: Any, program: list[Step]) -> list[Any]:
    """What each step gives, on a cache that is empty."""
    cache.clear()
    seen = []
    for name, *arguments in program:
        step = _STEPS.get(name)
        seen.append(getattr(cache, name)(*arguments) if step is None else step(cache, *arguments))
    return [*seen, sorted(cache.entries())]
