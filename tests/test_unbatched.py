"""Unbatched does what an async generator of the language's own does: each story is told of both."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
)
from contextlib import aclosing
from typing import Any, TypeAlias

import pytest

from hotrod_codec._ext.unbatched import Unbatched


class Source:
    """Batches, with a wait before each and one at the end, whatever that is."""

    def __init__(self, *batches: Iterable[Any]) -> None:
        self.batches = batches
        self.seen: list[Any] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.waits_at_the_end = True

    async def whole(self) -> AsyncGenerator[Iterable[Any], None]:
        async with self:
            for batch in self.batches:
                await self.wait()
                yield batch

    async def one_by_one(self) -> AsyncGenerator[Any, None]:
        async with self:
            for batch in self.batches:
                await self.wait()
                for item in batch:
                    yield item

    async def wait(self) -> None:
        await self.gate.wait()
        await asyncio.sleep(0)

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        if error is not None:
            self.seen.append(repr(error))
        if self.waits_at_the_end:
            await asyncio.sleep(0)
        self.seen.append("closed")


def ours(source: Source) -> AsyncGenerator[Any, None]:
    return Unbatched(source.whole(), iter)


def plain(source: Source) -> AsyncGenerator[Any, None]:
    return source.one_by_one()


Make: TypeAlias = Callable[[Source], AsyncGenerator[Any, None]]


async def result_of(awaitable: Awaitable[Any]) -> Any:
    """What it gives, or what it raises."""
    try:
        return await awaitable
    except BaseException as error:
        return f"{error!r}"


def failing(*items: Any) -> Iterator[Any]:
    yield from items
    raise LookupError("bad item")


VALUES: list[Any] = [
    (),
    (1, 2),
    None,
    StopIteration(3),
    StopAsyncIteration(4),
    ValueError,
    LookupError(5),
    [],
]


async def all_of_them(make: Make) -> Any:
    source = Source(VALUES, [], (), iter(VALUES), [[1]])
    found = [item async for item in make(source)]
    assert found == [*VALUES, *VALUES, [1]]
    return source.seen


async def nothing(make: Make) -> Any:
    return [[item async for item in make(each)] for each in (Source(), Source([]), Source([], []))]


async def by_anext_and_asend(make: Make) -> Any:
    items = make(Source([1, (2,)], [3]))
    found = [await anext(items), await items.asend(None), await items.__anext__()]
    return found, await anext(items, "end"), await result_of(anext(items))


async def sent_too_early(make: Make) -> Any:
    items: Any = make(Source([1]))
    return await result_of(items.asend("x")), await anext(items)


async def not_awaited(make: Make) -> Any:
    items = make(Source([1, 2]))
    steps: list[Any] = [items.__anext__() for _ in range(3)]
    return await steps[2], await steps[0], await result_of(steps[1]), await result_of(steps[1])


async def awaited_twice(make: Make) -> Any:
    items = make(Source([1, 2]))
    step = items.__anext__()
    return await step, await result_of(step), await anext(items)


async def two_at_once(make: Make) -> Any:
    source = Source([1, 2], [3])
    items = make(source)
    first = [await anext(items), await anext(items)]
    source.gate.clear()
    waits = asyncio.ensure_future(result_of(anext(items)))
    await asyncio.sleep(0)
    others = [await result_of(anext(items)), await result_of(items.aclose())]
    source.gate.set()
    return first, others, await waits, await result_of(anext(items)), source.seen


async def cancelled(make: Make) -> Any:
    source = Source([1], [2])
    items = make(source)
    found = await anext(items)
    source.gate.clear()
    waits = asyncio.ensure_future(anext(items, None))
    await asyncio.sleep(0)
    waits.cancel()
    return found, await result_of(waits), await result_of(anext(items)), source.seen


async def out_of_time(make: Make) -> Any:
    """An item that nobody got is still there."""
    items = make(Source([1, 2, 3]))
    found = await anext(items)
    waits = asyncio.ensure_future(anext(items))
    waits.cancel()
    return found, await result_of(waits), [item async for item in items]


async def an_item_fails(make: Make) -> Any:
    source = Source(failing(1, 2), [3])
    items = make(source)
    found = [await result_of(anext(items)) for _ in range(4)]
    return found, source.seen[-1]


async def the_first_item_fails(make: Make) -> Any:
    source = Source([0], failing(), [3])
    items = make(source)
    found = [await result_of(anext(items)) for _ in range(3)]
    return found, source.seen[-1]


async def a_batch_is_none(make: Make) -> Any:
    source = Source([0], 1, [3])  # type: ignore[arg-type]
    items = make(source)
    found = [await result_of(anext(items)) for _ in range(3)]
    return found, source.seen[-1]


async def an_item_stops(make: Make) -> Any:
    class Stops:
        def __iter__(self) -> Stops:
            return self

        def __next__(self) -> Any:
            raise StopAsyncIteration("me?")

    items = make(Source([0], Stops(), [3]))
    found = [await anext(items)]
    with pytest.raises(RuntimeError, match="StopAsyncIteration"):
        await anext(items)
    return found, await result_of(anext(items))


async def left_early(make: Make) -> Any:
    source = Source([1, 2], [3])
    async with aclosing(make(source)) as items:
        async for _ in items:
            break
    await items.aclose()
    return source.seen, [item async for item in items]


async def closed_before_it_begins(make: Make) -> Any:
    source = Source([1])
    items = make(source)
    return await result_of(items.aclose()), await result_of(anext(items)), source.seen


async def thrown_into(make: Make) -> Any:
    found = []
    for error in (LookupError("x"), LookupError, StopAsyncIteration("x"), GeneratorExit()):
        for begun in (False, True):
            source = Source([1, 2], [3])
            items = make(source)
            if begun:
                await anext(items)
            told = await result_of(items.athrow(error))
            found.append((told, await result_of(anext(items)), source.seen[-1:]))
    return found


async def closed_while_it_waits(make: Make) -> Any:
    source = Source([1], [2])
    source.waits_at_the_end = False  # which is against the rules here
    items = make(source)
    await anext(items)
    source.gate.clear()

    async def wait() -> None:
        await anext(items)

    waits = wait()
    future = waits.send(None)
    waits.close()
    del future
    source.gate.set()
    return await result_of(anext(items)), source.seen


async def thrown_while_it_waits(make: Make) -> Any:
    found = []
    for error in (LookupError("x"), LookupError, asyncio.CancelledError()):
        source = Source([1], [2])
        items = make(source)
        await anext(items)
        source.gate.clear()
        step: Any = items.__anext__()
        step.send(None)
        try:
            found.append(step.throw(error))  # the source waits at its end
            step.send(None)
        except BaseException as told:
            found.append(repr(told))
        found.append((await result_of(anext(items)), source.seen))
    return found


async def by_hand(make: Make) -> Any:
    items: Any = make(Source([1, (2, 3), StopIteration(4)]))
    await anext(items)
    found = []
    for go_on in (lambda step: step.send(None), next):
        with pytest.raises(StopIteration) as caught:
            go_on(items.__anext__())
        found.append(repr(caught.value.value))
    step = items.__anext__()
    assert iter(step) is step
    assert step.__await__() is step
    return found, await result_of(step)


async def dropped(make: Make) -> Any:
    """The loop closes it."""
    source = Source([1, 2], [3])
    async for _ in make(source):
        break
    gc.collect()
    for _ in range(5):
        await asyncio.sleep(0)
    return source.seen


STORIES = [
    all_of_them,
    nothing,
    by_anext_and_asend,
    sent_too_early,
    not_awaited,
    awaited_twice,
    two_at_once,
    cancelled,
    out_of_time,
    an_item_fails,
    the_first_item_fails,
    a_batch_is_none,
    an_item_stops,
    left_early,
    closed_before_it_begins,
    thrown_into,
    closed_while_it_waits,
    thrown_while_it_waits,
    by_hand,
    dropped,
]


@pytest.mark.parametrize("story", STORIES)
def test_as_the_language_does(story: Callable[[Make], Awaitable[Any]]) -> None:
    async def told(make: Make) -> Any:
        async with asyncio.timeout(10):
            return await story(make)

    assert asyncio.run(told(ours)) == asyncio.run(told(plain))


def test_what_is_left_is_closed_with_the_loop() -> None:
    async def leave() -> tuple[Source, AsyncGenerator[Any, None]]:
        source = Source([1, 2], [3])
        items = ours(source)
        assert await anext(items) == 1
        return source, items

    source, _ = asyncio.run(leave())
    assert source.seen[-1] == "closed"


def test_its_type() -> None:
    items = ours(Source())
    assert isinstance(items, AsyncGenerator)
    assert weakref.ref(items)() is items
    with pytest.raises(TypeError):
        Unbatched()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="pickle"):
        items.__reduce_ex__(2)


def test_cycles_are_collected() -> None:
    class Item:
        held: Any = None

    async def first_of(items: AsyncGenerator[Any, None]) -> Any:
        return await anext(items)

    batch = [Item(), Item()]
    items = ours(Source(batch))
    batch[0].held = items.__anext__()
    batch[1].held = items
    assert asyncio.run(first_of(items)) is batch[0]
    gone = weakref.ref(batch[1])
    del batch, items
    gc.collect()
    assert gone() is None
