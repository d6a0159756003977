"""hotrod_codec._ext.exchange, and asyncio's requests on one key: what tasks await, without sockets
and with them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import importlib
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from types import MappingProxyType, SimpleNamespace
from typing import Any, TypeAlias, cast

import pytest

from client.relay import Relay
from hotrod_codec import (
    AsyncClient,
    EmbeddedServer,
    EncodeError,
    IllegalLifecycleStateError,
    NodeSuspectedError,
    Op,
    RequestTimeoutError,
    Response,
    ServerAddress,
    ServerError,
    ServerFailureError,
    Status,
    TransportError,
    Version,
    decode_request,
    encode_response,
)
from hotrod_codec._ext.exchange import Answer, Current, Front, Place, Target, Turns, Way
from hotrod_codec.client import NotSentError
from hotrod_codec.client._async.shortcut import Shortcut
from hotrod_codec.client.cluster import Routing
from hotrod_codec.client.session import Header, Session

Loop: TypeAlias = asyncio.AbstractEventLoop
Future: TypeAlias = Any  # an asyncio.Future, or an Answer that behaves as one

SERVER = ServerAddress("h", 1)
HEADER = Header("c")
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="nobody's")


# ---- without sockets


class Wire:
    """A Way with one connection, whose other end are the methods below."""

    def __init__(self, *, most: int = 100, server: ServerAddress = SERVER) -> None:
        loop = asyncio.get_running_loop()
        self.loop = loop
        self.session = Session(SERVER, Version.V3_1, gone=(asyncio.InvalidStateError,))
        self.session.attach(Turns(loop), self.flush, most)
        self.session.is_open = True
        self.current = Current()
        self.current.place = Place(loop)
        self.current.place.exchanges[SERVER] = self.session
        self.cluster = Front()
        self.cluster.generation = 3
        self.state = Target()
        self.state.routing = Routing(7, [server])
        self.written: list[list[bytes]] = []
        self.looked: list[tuple[Answer, Any]] = []
        self.slow: list[tuple[Any, ...]] = []
        looked, slow = self.looked, self.slow

        class Looking(Way):
            def look(self, answer: Answer, outcome: Any) -> None:
                looked.append((answer, outcome))

        async def request(*arguments: Any) -> Any:
            slow.append(arguments)

        self.way = Looking(self.current, self.cluster, 5.0, request)

    def flush(self) -> None:
        self.written.append(self.session.out)
        self.session.out = []

    def get(self, key: bytes | None = b"k") -> Answer:
        return cast(Answer, self.ask(Op.GET, {"key": key}, key))

    def ask(self, op: Op, fields: dict[str, Any], key: bytes | None = b"k") -> Awaitable[Response]:
        return self.way.ask(op, self.state, HEADER, fields, key)

    def say(self, *ids: int, **fields: Any) -> None:
        """Let the server answer."""
        for message_id in ids:
            data = encode_response("get", version="3.1", message_id=message_id, **fields)
            self.session.buffer()[: len(data)] = data
            self.session.received(len(data))


def answer_of(wire: Wire) -> Response:
    """An answer that is not a future's."""
    data = encode_response("get", version="3.1", message_id=1, value=b"v")
    reader = Session(SERVER, Version.V3_1)
    found: list[Response] = []
    waiter = SimpleNamespace(set_result=found.append)
    reader.submit(Op.GET, cast(Any, waiter), 0.0, 7, HEADER, {"key": b"k"})
    reader.buffer()[: len(data)] = data
    reader.received(len(data))
    return found[0]


def loop_factories() -> dict[str, Callable[[], Loop]]:
    found: dict[str, Callable[[], Loop]] = {"asyncio": asyncio.new_event_loop}
    with contextlib.suppress(ImportError):
        found["uvloop"] = importlib.import_module("uvloop").new_event_loop
    return found


def task_factories() -> dict[str, Any]:
    """How loops may make tasks."""
    found: dict[str, Any] = {"default": None}
    if asyncio.run(_knows_python_tasks()):
        found["python"] = _python_task
    if sys.version_info >= (3, 12):
        found["eager"] = asyncio.eager_task_factory
    return found


def _python_task(loop: Loop, coro: Any, **more: Any) -> Any:
    return cast(Any, asyncio.tasks)._PyTask(coro, loop=loop, **more)


async def _knows_python_tasks() -> bool:
    """Not since 3.14: what is written in C for asyncio knows its own tasks only."""

    async def is_known() -> bool:
        return asyncio.current_task() is not None

    return bool(await _python_task(asyncio.get_running_loop(), is_known()))


LOOPS = loop_factories()
TASKS = task_factories()

Run: TypeAlias = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]


@pytest.fixture(
    params=[
        *(("asyncio", task, False) for task in TASKS),
        ("asyncio", "default", True),
        *((loop, "default", False) for loop in LOOPS if loop != "asyncio"),
    ],
    ids=lambda kind: f"{kind[0]}-{kind[1]}{'-debug' if kind[2] else ''}",
)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine in all kinds of loops and tasks. Errors that nobody took are errors."""
    loop, task, debug = request.param
    lost: list[dict[str, Any]] = []

    def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        with asyncio.Runner(loop_factory=LOOPS[loop], debug=debug) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: lost.append(context))
            runner.get_loop().set_task_factory(TASKS[task])
            found = runner.run(main())
        gc.collect()
        assert lost == []
        return found

    return run


class Make:
    """Makes futures of the running loop. Answers are of one connection if they are made
    together."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self) -> Future:
        return self.several(1)[0]

    def several(self, count: int) -> list[Future]:
        if self.kind == "answer":
            wire = Wire()
            return [wire.get() for _ in range(count)]
        return [asyncio.get_running_loop().create_future() for _ in range(count)]


@pytest.fixture(params=["future", "answer"])
def make(request: pytest.FixtureRequest) -> Make:
    """What an Answer and an asyncio.Future have in common."""
    return Make(request.param)


class TestAsFuture:
    def test_an_outcome(self, run: Run, make: Make) -> None:
        async def main() -> None:
            outcome, future = object(), make()
            assert asyncio.isfuture(future)
            assert future.get_loop() is asyncio.get_running_loop()
            assert (future.done(), future.cancelled()) == (False, False)
            for method in (future.result, future.exception):
                with pytest.raises(asyncio.InvalidStateError):
                    method()
            task = asyncio.ensure_future(wait_for(future))
            await asyncio.sleep(0)
            future.set_result(outcome)
            assert (future.done(), future.cancelled()) == (True, False)
            assert (future.result(), future.exception()) == (outcome, None)
            assert await task is outcome
            assert await future is outcome
            assert future.cancel() is False
            for settle in (future.set_result, future.set_exception):
                with pytest.raises(asyncio.InvalidStateError):
                    settle(ValueError())
            assert future.result() is outcome

        run(main)

    def test_an_error(self, run: Run, make: Make) -> None:
        async def main() -> None:
            error, future = ValueError("it is"), make()
            task = asyncio.ensure_future(wait_for(future))
            await asyncio.sleep(0)
            future.set_exception(error)
            assert (future.done(), future.cancelled()) == (True, False)
            assert future.exception() is error
            for _ in range(2):
                with pytest.raises(ValueError, match="it is") as caught:
                    future.result()
                assert caught.value is error
                with pytest.raises(ValueError, match="it is") as caught:
                    await future
                assert caught.value is error
            with pytest.raises(ValueError, match="it is"):
                await task
            assert future.cancel() is False

        run(main)

    @pytest.mark.parametrize("message", [(), ("enough",)])
    def test_cancelled(self, run: Run, make: Make, message: tuple[str]) -> None:
        async def main() -> None:
            future = make()
            task = asyncio.ensure_future(wait_for(future))
            await asyncio.sleep(0)
            assert future.cancel(*message) is True
            assert (future.done(), future.cancelled(), future.cancel()) == (True, True, False)
            for method in (future.result, future.exception):
                with pytest.raises(asyncio.CancelledError) as caught:
                    method()
                assert caught.value.args == message
            for waiting in (task, future):
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            assert task.cancelled()
            with pytest.raises(asyncio.InvalidStateError):
                future.set_result(1)

        run(main)

    def test_a_task_that_is_cancelled(self, run: Run, make: Make) -> None:
        async def main() -> None:
            future = make()
            task = asyncio.ensure_future(wait_for(future))
            await asyncio.sleep(0)
            task.cancel("enough")
            assert future.cancelled() is True
            with pytest.raises(asyncio.CancelledError):
                await task
            # Before it began to wait.
            future, came = make(), list[Any]()
            task = asyncio.get_running_loop().create_task(wait_for(future, came.append))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert came == []

        run(main)

    def test_a_task_that_is_cancelled_too_late(self, run: Run, make: Make) -> None:
        """The outcome is there, but the task has not gone on."""

        async def main() -> None:
            for error in (None, ValueError("it is")):
                future, came = make(), list[Any]()
                task = asyncio.ensure_future(wait_for(future, came.append))
                await asyncio.sleep(0)
                if error is None:
                    future.set_result(1)
                else:
                    future.set_exception(error)
                assert task.cancel() is True
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert (came, future.cancelled()) == ([], False)

        run(main)

    def test_a_task_that_does_not_end_when_cancelled(self, run: Run, make: Make) -> None:
        async def stubborn(first: Future, second: Future) -> Any:
            with contextlib.suppress(asyncio.CancelledError):
                await first
            return await second

        async def main() -> None:
            first, second = make.several(2)
            task = asyncio.ensure_future(stubborn(first, second))
            await asyncio.sleep(0)
            task.cancel()
            for _ in range(3):
                await asyncio.sleep(0)
            second.set_result("so it is")
            assert await task == "so it is"

        run(main)

    def test_two_that_wait(self, run: Run, make: Make) -> None:
        async def main() -> None:
            future = make()
            tasks = [asyncio.ensure_future(wait_for(future)) for _ in range(3)]
            await asyncio.sleep(0)
            tasks.append(asyncio.ensure_future(wait_for(future)))
            future.set_result("it")
            assert await asyncio.gather(*tasks) == ["it"] * 4

        run(main)

    def test_what_asyncio_has_for_futures(self, run: Run, make: Make) -> None:
        async def main() -> None:
            one, two, three = make.several(3)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(one), 0.001)
            assert not one.done()
            asyncio.get_running_loop().call_soon(two.set_result, 2)
            done, pending = await asyncio.wait([one, two], return_when="FIRST_COMPLETED")
            assert (done, pending) == ({two}, {one})
            asyncio.get_running_loop().call_soon(one.set_result, 1)
            assert await asyncio.gather(*[one, two]) == [1, 2]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await three
            assert three.cancelled()

        run(main)

    def test_callbacks(self, run: Run, make: Make) -> None:
        """In their order, in their contexts, in another turn of the loop."""

        async def main() -> None:
            heard: list[Any] = []

            def one(future: Future) -> None:
                heard.append(("one", future, VARIABLE.get()))

            def two(future: Future) -> None:
                heard.append(("two", future, VARIABLE.get()))

            context = contextvars.copy_context()
            context.run(VARIABLE.set, "another's")
            VARIABLE.set("mine")
            future = make()
            for callback in (one, two, one, two):
                future.add_done_callback(callback)
            assert (future.remove_done_callback(one), future.remove_done_callback(one)) == (2, 0)
            future.add_done_callback(one, context=context)
            future.set_result(1)
            assert heard == []
            for _ in range(5):
                await asyncio.sleep(0)
            mine = ("two", future, "mine")
            assert heard == [mine, mine, ("one", future, "another's")]
            future.add_done_callback(two)
            future.add_done_callback(one)
            assert len(heard) == 3
            for _ in range(5):
                await asyncio.sleep(0)
            assert heard[3:] == [mine, ("one", future, "mine")]
            assert future.remove_done_callback(one) == 0

        run(main)

    def test_a_callback_that_fails_is_no_end_of_others(self, make: Make) -> None:
        def fail(future: Future) -> None:
            raise ValueError("of a callback")

        async def main() -> None:
            loop, heard, lost = asyncio.get_running_loop(), list[Future](), list[str]()
            loop.set_exception_handler(lambda _, context: lost.append(str(context["exception"])))
            futures = make.several(3)
            for future in futures:
                future.add_done_callback(heard.append)
                future.add_done_callback(fail)
                future.add_done_callback(heard.append)
            for future in futures:
                future.set_result(1)
            for _ in range(9):
                await asyncio.sleep(0)
            assert sorted(map(id, heard)) == sorted(map(id, futures * 2))
            assert lost == ["of a callback"] * 3

        asyncio.run(main())

    def test_another_loop_s_task(self, make: Make) -> None:
        async def main() -> Future:
            return make()

        future = asyncio.run(main())
        with pytest.raises(RuntimeError, match="attached to a different loop"):
            asyncio.run(wait_for(future))

    def test_attributes(self, run: Run, make: Make) -> None:
        async def main() -> None:
            future = make()
            for value in (True, False):
                future._asyncio_future_blocking = value
                assert future._asyncio_future_blocking is value
                assert getattr(future, "_asyncio_" + "future_blocking") is value
            assert not hasattr(future, "nothing")

        run(main)

    def test_who_is_called_with_it(self, run: Run, make: Make) -> None:
        """A task's method that is not what makes it go on gets it, as all others do."""

        async def main() -> None:
            future, called = make(), asyncio.Event()
            got: list[Any] = []
            task = asyncio.ensure_future(called.wait())
            await asyncio.sleep(0)
            future.add_done_callback(task.cancel)
            future.add_done_callback(got.append)
            waiting = asyncio.ensure_future(wait_for(future))
            await asyncio.sleep(0)
            outcome = object()
            future.set_result(outcome)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert got == [future]
            assert await waiting is outcome
            assert task.cancelled()

        run(main)

    def test_by_hand(self, make: Make) -> None:
        """As event loops and other coroutines drive it."""

        async def main() -> None:
            future = make()
            step = future.__await__()
            assert next(step) is future
            assert future._asyncio_future_blocking is True
            future._asyncio_future_blocking = False
            outcome = object()
            future.set_result(outcome)
            for step in (future.__await__(), iter(future)):
                with pytest.raises(StopIteration) as stop:
                    next(step)
                assert stop.value.value is outcome
                assert future._asyncio_future_blocking is False
            with pytest.raises(StopIteration) as stop:
                type(iter(future)).__next__(iter(future))
            assert stop.value.value is outcome
            # A coroutine around it.
            for end in ("throw", "close", "send"):
                future = make()
                around = wait_for(future)
                assert around.send(None) is future
                if end == "throw":
                    with pytest.raises(KeyError):
                        around.throw(KeyError())
                elif end == "close":
                    around.close()
                else:
                    future.set_result(outcome)
                    with pytest.raises(StopIteration) as stop:
                        around.send(None)
                    assert stop.value.value is outcome
                assert future.done() is (end == "send")
            # In the middle of an error.
            error, failed = KeyError(), make()
            failed.set_exception(error)

            def meet_it_again() -> None:
                try:
                    raise error
                finally:
                    next(failed.__await__())

            with pytest.raises(KeyError) as caught:
                meet_it_again()
            assert caught.value is error
            assert error.__context__ is None

        asyncio.run(main())

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    @pytest.mark.parametrize("task", list(TASKS))
    def test_nobody_is_forgotten_when_a_loop_is_interrupted(
        self, make: Make, kind: type[BaseException], task: str
    ) -> None:
        loop = asyncio.new_event_loop()
        loop.set_task_factory(TASKS[task])
        done: list[int] = []

        async def wait(number: int, future: Future) -> None:
            await future
            done.append(number)
            if number in (1, 2):
                raise kind

        async def begin() -> list[Any]:
            futures = make.several(6)
            tasks = [loop.create_task(wait(i, future)) for i, future in enumerate(futures)]
            await asyncio.sleep(0)
            loop.call_soon(lambda: [future.set_result(1) for future in futures])
            return tasks

        try:
            tasks = loop.run_until_complete(begin())
            for _ in range(2):
                with pytest.raises(kind):
                    loop.run_until_complete(asyncio.sleep(0.01))
            loop.run_until_complete(asyncio.sleep(0.01))
            assert done == list(range(6))
            assert [type(task.exception()) for task in tasks[1:3]] == [kind] * 2
        finally:
            loop.close()

    def test_nothing_is_kept(self, run: Run, make: Make) -> None:
        """Of what was awaited: neither outcomes, nor futures, nor errors."""

        async def main() -> None:
            outcome, error = object(), ValueError()

            async def all_ways() -> None:
                for _ in range(20):
                    for end in ("result", "error", "cancel", "task"):
                        future = make()
                        task = asyncio.ensure_future(wait_for(future))
                        await asyncio.sleep(0)
                        match end:
                            case "result":
                                future.set_result(outcome)
                            case "error":
                                future.set_exception(error)
                            case "cancel":
                                future.cancel()
                            case "task":
                                task.cancel()
                        await asyncio.wait([task])
                        with contextlib.suppress(BaseException):
                            next(future.__await__())
                        with contextlib.suppress(BaseException):
                            task.result()
                        error.__traceback__ = None

            await all_ways()
            gc.collect()
            before = sys.getrefcount(outcome), sys.getrefcount(error)
            await all_ways()
            gc.collect()
            assert (sys.getrefcount(outcome), sys.getrefcount(error)) == before
            assert not [each for each in gc.get_objects() if isinstance(each, Answer)]

        run(main)


async def wait_for(future: Future, then: Callable[[Any], object] | None = None) -> Any:
    found = await future
    if then is not None:
        then(found)
    return found


class TestKeys:
    @pytest.mark.parametrize(
        "fields", [b"k", {"key": b"k"}, MappingProxyType({"key": b"k"}), bytearray(b"k")]
    )
    def test_a_key_may_stand_for_all_fields_of_a_get(self, fields: Any) -> None:
        async def main() -> None:
            wire = Wire()
            answer = wire.ask(Op.GET, fields)
            wire.flush()
            ((data,),) = wire.written
            assert decode_request(data).fields["key"] == b"k"  # type: ignore[union-attr]
            wire.say(1, value=b"v")
            assert (await answer).value == b"v"

        asyncio.run(main())

    @pytest.mark.parametrize("fields", [5, None, "k", {}, []])
    def test_what_is_no_key(self, fields: Any) -> None:
        async def main() -> None:
            wire = Wire()
            with pytest.raises((TypeError, KeyError)):
                wire.ask(Op.GET, fields)
            assert wire.session.pending == wire.session.last_id == 0

        asyncio.run(main())

    def test_what_is_no_cache(self) -> None:
        async def main() -> None:
            wire = Wire()
            for state in (None, object()):
                with pytest.raises(TypeError):
                    wire.way.ask(Op.GET, cast(Any, state), HEADER, b"k", b"k")
            with pytest.raises(TypeError):
                Target().routing = object()
            with pytest.raises(TypeError):
                Way(wire.current, cast(Any, SimpleNamespace(failed={})), 1.0, cast(Any, print))

        asyncio.run(main())


class TestAnswer:
    def test_what_came_is_its_outcome(self, run: Run) -> None:
        async def main() -> None:
            wire = Wire()
            answers = [wire.get() for _ in range(3)]
            waiting = asyncio.gather(*map(wait_for, answers))
            await asyncio.sleep(0)
            wire.say(2, value=b"two")
            assert [answer.done() for answer in answers] == [False, True, False]
            wire.say(3, 1, value=b"others")
            assert [each.value for each in await waiting] == [b"others", b"two", b"others"]
            assert wire.session.pending == len(wire.session._waiting) == 0

        run(main)

    def test_nothing_comes_of_what_was_cancelled(self, run: Run) -> None:
        async def main() -> None:
            wire = Wire()
            for written in (False, True):
                gone, kept = wire.get(), wire.get()
                last = wire.session.last_id
                if written:
                    wire.flush()
                assert gone.cancel() is True
                session = wire.session
                assert (session.pending, session.abandoned) == (2, 1)
                wire.say(last - 1, last, value=b"v")
                assert (session.pending, session.abandoned) == (0, 0)
                assert gone.cancelled()
                assert (await kept).value == b"v"
            assert wire.looked == []

        run(main)

    def test_what_is_not_plain_is_looked_at(self) -> None:
        async def main() -> None:
            wire = Wire()
            answers = [wire.get(), wire.get()]
            await asyncio.sleep(0.002)
            answers += [wire.get(), wire.get()]
            answers[2].cancel()
            wire.say(1, status=Status.SERVER_ERROR, error="no")
            assert wire.session.expire(answers[1].deadline) == 1
            wire.session.fail(TransportError("lost"))
            assert [(answers.index(answer), type(outcome)) for answer, outcome in wire.looked] == [
                (0, Response),
                (1, RequestTimeoutError),
                (3, NotSentError),
            ]
            assert [answer.done() for answer in answers] == [False, False, True, False]
            answer = answers[0]
            assert (answer.op, answer.state, answer.header) == (Op.GET, wire.state, HEADER)
            assert (answer.fields, answer.key, answer.server) == ({"key": b"k"}, b"k", SERVER)
            assert answer.generation == 3

        asyncio.run(main())

    def test_what_nobody_made_does_no_harm(self) -> None:
        """Only a Way makes them in earnest."""
        answer = Answer()
        answer.add_done_callback(print)
        answer.remove_done_callback(print)
        assert answer.cancel() is True
        calls: list[Callable[[], object]] = [
            Answer().get_loop,
            Answer().result,
            Answer().exception,
            answer.result,
            lambda: next(answer.__await__()),
            lambda: answer.set_result(cast(Any, 1)),
            lambda: answer.end(ValueError()),
            lambda: answer.add_done_callback(print),
        ]
        for call in calls:
            with pytest.raises(AttributeError):
                call()

    def test_another_attempt(self, run: Run) -> None:
        """To cancel who waits for it is to cancel that; both have ended then."""

        async def attempt(ends: list[str]) -> None:
            try:
                await asyncio.sleep(20)
            finally:
                await asyncio.sleep(0)
                ends.append("attempt")

        async def main() -> None:
            ends: list[str] = []
            answer = Wire().get()
            task = asyncio.ensure_future(wait_for(answer))
            await asyncio.sleep(0)
            assert isinstance(answer.context, contextvars.Context)
            again = asyncio.ensure_future(attempt(ends))
            answer.again = cast(Any, again)
            await asyncio.sleep(0)
            assert answer.cancel("enough") is True
            assert not answer.done()
            with pytest.raises(asyncio.CancelledError):
                await again
            answer.again = None
            answer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert ends == ["attempt"]

        run(main)


class TestTurns:
    def test_one_callback_for_all(self) -> None:
        async def main() -> None:
            wire = Wire()
            answers = [wire.get() for _ in range(20)]
            tasks = [asyncio.ensure_future(wait_for(answer)) for answer in answers]
            await asyncio.sleep(0)
            calls: list[Any] = []
            loop = asyncio.get_running_loop()
            call_soon = loop.call_soon

            def listen(callback: Any, *arguments: Any, **more: Any) -> asyncio.Handle:
                calls.append(callback)
                return call_soon(callback, *arguments, **more)

            cast(Any, loop).call_soon = listen
            wire.say(*range(1, 21), value=b"v")
            assert [type(call) for call in calls] == [Turns]
            await asyncio.wait(tasks)
            assert len([call for call in calls if isinstance(call, Turns)]) == 1
            assert all(task.result().value == b"v" for task in tasks)

        asyncio.run(main())

    def test_each_in_its_context(self, run: Run) -> None:
        """That of its task, and none of it stays."""

        async def work(number: int) -> None:
            VARIABLE.set(f"{number}")
            await answers[number]
            assert VARIABLE.get() == f"{number}"
            VARIABLE.set("behind")

        answers: list[Answer] = []

        async def main() -> None:
            wire = Wire()
            answers[:] = [wire.get() for _ in range(5)]
            tasks = [asyncio.ensure_future(work(number)) for number in range(5)]
            await asyncio.sleep(0)
            wire.say(*range(1, 6), value=b"v")
            await asyncio.gather(*tasks)
            assert VARIABLE.get() == "nobody's"

        run(main)


class TestPlace:
    @pytest.mark.parametrize("loop", LOOPS)
    def test_where_the_loop_runs(self, loop: str) -> None:
        loops = one, two = LOOPS[loop](), LOOPS[loop]()
        places = [Place(one), Place(two)]

        async def seen() -> list[bool]:
            return [place.is_here() for place in places for _ in range(2)]

        async def in_a_thread() -> list[bool]:
            return await asyncio.to_thread(lambda: [place.is_here() for place in places])

        for _ in range(3):
            assert one.run_until_complete(seen()) == [True, True, False, False]
            assert [place.is_here() for place in places] == [False, False]
            assert two.run_until_complete(seen()) == [False, False, True, True]
            assert one.run_until_complete(in_a_thread()) == [False, False]
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.extend(two.run_until_complete(seen())))
        thread.start()
        thread.join(20)
        assert found == [False, False, True, True]
        for each in loops:
            each.run_until_complete(each.shutdown_default_executor())
            each.close()


class TestWay:
    def test_what_goes_the_short_way(self) -> None:
        async def main() -> None:
            wire = Wire()
            assert isinstance(wire.get(), Answer)
            assert isinstance(wire.ask(Op.REMOVE, {"key": b"k"}), Answer)
            assert isinstance(wire.ask(Op.PUT, {"key": b"k", "value": b""}, None), Answer)
            assert wire.slow == []
            await asyncio.sleep(0)
            (out,) = wire.written
            found = [decode_request(data) for data in out]
            assert [each and each.op for each in found] == [Op.GET, Op.REMOVE, Op.PUT]

        asyncio.run(main())

    def test_to_who_has_the_key(self) -> None:
        async def main() -> None:
            other = ServerAddress("other", 2)
            wire = Wire()
            owners = ((other, SERVER), (SERVER, other)) * 8
            wire.state.routing = Routing(8, [other, SERVER], owners)
            for i in range(30):
                key = f"{i}".encode()
                mine = wire.state.routing.owners_of(key)[0] == SERVER
                asked = wire.get(key)
                assert isinstance(asked, Answer) is mine
                assert await self.was_slow(wire, asked) is not mine
            assert await self.was_slow(wire, wire.ask(Op.GET, {"key": b"k"}, None))

        asyncio.run(main())

    async def was_slow(self, wire: Wire, asked: Awaitable[Any]) -> bool:
        if isinstance(asked, Answer):
            return False
        before = len(wire.slow)
        await asked
        return len(wire.slow) == before + 1

    def test_what_does_not(self) -> None:
        other = asyncio.new_event_loop()
        other.close()

        async def main() -> None:
            changes: list[Callable[[Wire], object]] = [
                lambda wire: setattr(wire.current, "place", None),
                lambda wire: setattr(wire.current, "place", Place(other)),
                lambda wire: wire.current.place.exchanges.clear(),
                lambda wire: setattr(wire.session, "is_open", False),
                lambda wire: wire.cluster.failed.update({SERVER: 1.0}),
                lambda wire: [wire.get() for _ in range(3)],
                lambda wire: setattr(wire.state, "routing", Routing(7, [("other", 1)])),  # type: ignore[list-item]
            ]
            for change in changes:
                wire = Wire(most=3)
                change(wire)
                pending = wire.session.pending
                fields = {"key": b"k"}
                assert await self.was_slow(wire, wire.ask(Op.GET, fields))
                assert wire.slow == [(Op.GET, wire.state, HEADER, fields, b"k")]
                assert wire.session.pending == pending

        asyncio.run(main())

    def test_room_that_is_there_again(self) -> None:
        async def main() -> None:
            wire = Wire(most=2)
            one, _ = wire.get(), wire.get()
            one.cancel()
            assert await self.was_slow(wire, wire.get())  # its answer has not come
            wire.say(1, value=b"v")
            assert isinstance(wire.get(), Answer)
            assert await self.was_slow(wire, wire.get())

        asyncio.run(main())


class TestExchange:
    def test_what_is_asked_for_in_one_turn_is_written_together(self) -> None:
        async def main() -> None:
            wire = Wire()
            for _ in range(5):
                wire.get()
            assert wire.written == []
            await asyncio.sleep(0)
            assert [len(out) for out in wire.written] == [5]
            for _ in range(70):
                wire.get()
            assert [len(out) for out in wire.written] == [5, 32, 32]
            await asyncio.sleep(0)
            assert [len(out) for out in wire.written if out] == [5, 32, 32, 6]

        asyncio.run(main())

    def test_what_cannot_be_said_is_no_request(self) -> None:
        async def main() -> None:
            wire = Wire()
            wrong: list[tuple[Op, dict[str, Any], type[Exception]]] = [
                (Op.GET, {"key": "text"}, TypeError),
                (Op.GET, {}, KeyError),
                (Op.PUT, {"key": b"k", "value": b"v", "lifespan": -5}, EncodeError),
                (Op.PUT, {"key": b"k", "value": b"v", "colour": 1}, EncodeError),
                (Op.REMOVE, {"keys": b"k"}, EncodeError),
            ]
            for op, fields, error in wrong:
                with pytest.raises((error, TypeError, ValueError)):
                    wire.ask(op, fields)
            session = wire.session
            assert (session.last_id, session.pending, session.out) == (0, 0, [])
            assert session._waiting == {}
            answer = wire.get()
            wire.say(1, value=b"v")
            assert (await answer).value == b"v"

        asyncio.run(main())

    def test_since_when_a_server_is_quiet(self) -> None:
        """Since something was sent, not since it had nothing to say."""

        async def main() -> None:
            wire = Wire()
            wire.get()
            first = wire.session.quiet_since
            assert first > 0
            wire.get()
            assert wire.session.quiet_since == first
            wire.say(1, 2, value=b"v")
            await asyncio.sleep(0.002)
            wire.get()
            assert wire.session.quiet_since > first

        asyncio.run(main())

    def test_headers(self) -> None:
        """Of each request, whatever others were before."""

        async def main() -> None:
            wire = Wire()
            expected = []
            for topology_id in (7, 7, 8, 7):
                for header in (HEADER, Header("other"), HEADER):
                    wire.state.routing = Routing(topology_id, [SERVER])
                    wire.way.ask(Op.GET, wire.state, header, {"key": b"k"}, b"k")
                    expected.append((header.cache, topology_id))
            requests = [decode_request(data) for data in wire.session.out]
            found = [(each.cache, each.topology_id) for each in requests if each is not None]
            assert found == expected

        asyncio.run(main())


# ---- with sockets


def way_of(cache: Any) -> Shortcut:
    """Of a cache's requests."""
    return cast(Shortcut, cache._request.__self__)


def session_of(client: AsyncClient, server: EmbeddedServer, node: int = 0) -> Session:
    place = client._dispatcher.driver._current.place
    return cast(Session, place.exchanges[server.address_of(node)])


async def until(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not what():
            await asyncio.sleep(0.001)


async def warm(client: AsyncClient, count: int = 60) -> Any:
    """A cache with entries and connections to all nodes."""
    cache = client.cache()
    for i in range(count):
        await cache.put(f"{i}", f"v{i}")
    return cache


class TestGoingOn:
    """Those who have their answers go on where these are read."""

    def test_no_turn_of_the_loop_but_for_what_comes(
        self, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turns = 0

        def counted(call_soon: Any, *args: Any, **more: Any) -> Any:
            nonlocal turns
            turns += 1
            return call_soon(*args, **more)

        async def main() -> None:
            nonlocal turns
            loop = asyncio.get_running_loop()
            monkeypatch.setattr(loop, "call_soon", partial(counted, loop.call_soon))
            async with AsyncClient(server.uri) as client:
                cache = await warm(client, 10)

                async def ask(number: int) -> None:
                    for _ in range(20):
                        assert await cache.get(f"{number}") == f"v{number}"

                await ask(0)
                turns = 0
                await ask(1)
                assert turns < 3
                await asyncio.gather(*map(ask, range(10)))
                assert turns < 50  # the tasks begin and end

        asyncio.run(main())

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    @pytest.mark.parametrize("loop", list(LOOPS))
    def test_an_interrupt_is_not_the_connections(
        self, server: EmbeddedServer, loop: str, kind: type[BaseException]
    ) -> None:
        lost: list[dict[str, Any]] = []
        tasks: list[asyncio.Future[Any]] = []

        async def wait(number: int, cache: Any) -> Any:
            found = await cache.get(f"{number}")
            if number == 2:
                raise kind
            return found, await cache.get(f"{number + 1}")

        async def begin(cache: Any) -> None:
            tasks.extend(asyncio.ensure_future(wait(i, cache)) for i in range(9))
            await asyncio.sleep(5)

        async def end(client: AsyncClient, session: Session) -> None:
            done = await asyncio.gather(*tasks, return_exceptions=True)
            for i, found in enumerate(done):
                if i == 2:
                    assert type(found) is kind
                else:
                    assert found == (f"v{i}", f"v{i + 1}")
            assert session_of(client, server) is session
            assert session.is_open
            assert not session.pending
            await client.close()

        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: lost.append(context))
            client = AsyncClient(server.uri)
            cache = runner.run(warm(client, 10))
            session = session_of(client, server)
            with pytest.raises(kind):
                runner.get_loop().run_until_complete(begin(cache))
            runner.run(end(client, session))
        assert lost == []

    def test_a_client_that_is_closed_there(self, server: EmbeddedServer, run: Run) -> None:
        async def main() -> None:
            async with AsyncClient(server.uri, max_retries=0) as client:
                cache = await warm(client, 3)

                async def close() -> None:
                    await cache.get("0")
                    await client.close()

                server.faults.delay(5, op=Op.PUT)
                late = asyncio.ensure_future(cache.put("1", "new"))
                await asyncio.gather(close(), *(cache.get("1") for _ in range(5)))
                with pytest.raises(TransportError):
                    await late
            server.faults.clear()

        run(main)

    def test_contexts_are_the_tasks_own(self, server: EmbeddedServer, run: Run) -> None:
        async def main() -> None:
            async with AsyncClient(server.uri) as client:
                cache = await warm(client, 5)

                async def ask(number: int) -> None:
                    VARIABLE.set(f"{number}")
                    for _ in range(5):
                        assert await cache.get("1") == "v1"
                        assert VARIABLE.get() == f"{number}"

                await asyncio.gather(*map(ask, range(20)))
                assert VARIABLE.get() == "nobody's"

        run(main)


class TestAnotherAttempt:
    def test_elsewhere(self, cluster: EmbeddedServer, run: Run) -> None:
        """A node dies with requests that went to it by the short way."""

        async def main() -> None:
            async with AsyncClient(cluster.uri, request_timeout=20) as client:
                cache = await warm(client)
                cluster.faults.drop(op=Op.GET, node=1, times=None)
                reads = [asyncio.ensure_future(cache.get(f"{i}")) for i in range(60)]
                session = session_of(client, cluster, 1)
                await until(lambda: 60 - sum(read.done() for read in reads) == session.pending)
                assert session.pending > 5
                await asyncio.to_thread(cluster.kill_node, 1)
                assert await asyncio.gather(*reads) == [f"v{i}" for i in range(60)]
                assert not way_of(cache)._again
                assert session.is_open is False
                driver = client._dispatcher.driver
                assert session not in driver._here().exchanges.values()
                cluster.faults.clear()

        run(main)
        cluster.start_node(1)

    def test_a_write_is_not_done_twice(self, server: EmbeddedServer) -> None:
        async def main() -> None:
            async with AsyncClient(server.uri) as client:
                cache = await warm(client, 1)
                server.faults.cut(at=0, op=Op.PUT)
                before = server.requests[Op.PUT]
                with pytest.raises(TransportError):
                    await cache.put("0", "new")
                assert server.requests[Op.PUT] == before + 1

        asyncio.run(main())

    def test_as_often_as_allowed(self, server: EmbeddedServer) -> None:
        async def main() -> None:
            async with AsyncClient(server.uri, max_retries=2) as client:
                cache = await warm(client, 1)
                server.faults.cut(at=0, op=Op.GET, times=2)
                assert await cache.get("0") == "v0"
                server.faults.cut(at=0, op=Op.GET, times=3)
                with pytest.raises(TransportError) as caught:
                    await cache.get("0")
                (note,) = caught.value.__notes__
                assert note.count("127.0.0.1:") == 3
                assert await cache.get("0") == "v0"

        asyncio.run(main())

    def test_cancelled_meanwhile(self, server: EmbeddedServer, run: Run) -> None:
        """Whoever waits ends no sooner than what was done for them."""

        async def main() -> None:
            async with AsyncClient(server.uri) as client:
                cache = await warm(client, 1)
                others = asyncio.all_tasks()
                server.faults.cut(at=0, op=Op.GET)
                server.faults.drop(op=Op.GET)
                for _ in range(2):
                    reading = asyncio.ensure_future(cache.get("0"))
                    await until(lambda: way_of(cache)._again)
                    (again,) = way_of(cache)._again
                    await asyncio.sleep(0)
                    reading.cancel("enough")
                    with pytest.raises(asyncio.CancelledError):
                        await reading
                    assert again.cancelled()
                    assert asyncio.all_tasks() <= others
                    assert not way_of(cache)._again
                    server.faults.clear()
                    assert await cache.get("0") == "v0"
                    server.faults.cut(at=0, op=Op.GET)
                    server.faults.cut(at=0, op=Op.GET)

        run(main)

    def test_at_the_end_of_a_loop(self, server: EmbeddedServer) -> None:
        """asyncio.run cancels all tasks, in any order."""
        ends: list[str] = []

        async def read(cache: Any) -> None:
            try:
                await cache.get("0")
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

        async def main() -> None:
            client = AsyncClient(server.uri)
            cache = await warm(client, 1)
            server.faults.cut(at=0, op=Op.GET)
            server.faults.drop(op=Op.GET, times=None)
            tasks.append(asyncio.ensure_future(read(cache)))
            await until(lambda: way_of(cache)._again)
            tasks.append(asyncio.ensure_future(read(cache)))
            await asyncio.sleep(0.05)
            asyncio.get_running_loop().call_soon(asyncio.ensure_future(client.close()).cancel)

        tasks: list[asyncio.Task[None]] = []
        asyncio.run(main())
        assert ends == ["cancelled"] * 2

    def test_in_the_context_of_who_waits(self, server: EmbeddedServer, run: Run) -> None:
        async def read(cache: Any, number: int) -> None:
            VARIABLE.set(f"{number}")
            assert await cache.get(f"{number}") == f"v{number}"

        contexts: list[str] = []

        def context() -> dict[str, str]:
            contexts.append(VARIABLE.get())
            return {"traceparent": VARIABLE.get()}

        with Relay(server.address) as relay:

            async def main() -> None:
                async with AsyncClient(addresses=relay.address, trace_context=context) as client:
                    cache = await warm(client, 3)
                    await asyncio.sleep(0)
                    contexts.clear()
                    for i in range(3):
                        await asyncio.get_running_loop().create_task(read(cache, i))
                        assert relay.params[Op.GET] == {"traceparent": f"{i}".encode()}
                    assert contexts == ["0", "1", "2"]
                    contexts.clear()
                    server.faults.cut(at=0, op=Op.GET)
                    await asyncio.get_running_loop().create_task(read(cache, 2))
                    assert contexts == ["2", "2"]
                    assert relay.params[Op.GET] == {"traceparent": b"2"}

            run(main)

    def test_counted(self, server: EmbeddedServer) -> None:
        async def main() -> None:
            async with AsyncClient(server.uri, statistics=True) as client:
                cache = await warm(client, 2)
                server.faults.cut(at=0, op=Op.GET)
                assert [await cache.get(key) for key in ("0", "1", "none")] == ["v0", "v1", None]
                assert await cache.remove("0")
                found = cache.statistics
                assert (found.hits, found.misses, found.retries) == (2, 1, 1)
                assert (found.stores, found.removes) == (2, 1)

        asyncio.run(main())


class TestOutcomes:
    @pytest.mark.parametrize(
        ("status", "error", "attempts"),
        [
            (Status.SERVER_ERROR, ServerFailureError, 1),
            (Status.NODE_SUSPECTED, NodeSuspectedError, 4),
            (Status.ILLEGAL_LIFECYCLE_STATE, IllegalLifecycleStateError, 4),
        ],
    )
    def test_errors(
        self, server: EmbeddedServer, status: Status, error: type[ServerError], attempts: int
    ) -> None:
        async def main() -> None:
            async with AsyncClient(server.uri, max_retries=3) as client:
                cache = await warm(client, 1)
                before = server.requests.get(Op.GET, 0)
                server.faults.status(status, "thus", op=Op.GET, times=None)
                with pytest.raises(error, match="thus") as caught:
                    await cache.get("0")
                assert caught.value.status == status
                assert server.requests[Op.GET] == before + attempts
                server.faults.clear()
                assert await cache.get("0") == "v0"

        asyncio.run(main())

    def test_a_topology(self, cluster: EmbeddedServer) -> None:
        async def main() -> None:
            async with AsyncClient(cluster.uri) as client:
                cache = await warm(client)
                state = client._dispatcher.cluster.cache("")
                known = state.routing
                assert known.segments
                state.routing = known.outdated()
                (key,) = [f"{i}" for i in range(60) if known.owners_of(f"{i}".encode())][:1]
                assert await cache.get(key) == f"v{key}"
                assert state.routing.topology_id == known.topology_id
                state.routing = known.outdated()
                client._dispatcher.cluster.generation += 1  # to another cluster, and back
                reading = asyncio.ensure_future(cache.get(key))
                await asyncio.sleep(0)
                client._dispatcher.cluster.generation += 1
                assert await reading == f"v{key}"
                assert state.routing.topology_id == -1

        asyncio.run(main())

    def test_a_topology_that_cannot_be_taken_in(self, server: EmbeddedServer, run: Run) -> None:
        """What users have given may fail. Others that wait have their answers all the same."""
        known: list[tuple[str, int]] = []

        def translate(host: str, port: int) -> tuple[str, int]:
            if known:
                raise LookupError("no such place")
            return host, port

        async def main() -> None:
            known.clear()
            async with AsyncClient(
                server.uri, address_map=translate, request_timeout=20, max_retries=0
            ) as client:
                cache = await warm(client, 2)
                server.faults.delay(0.05, op=Op.GET)
                behind = asyncio.ensure_future(cache.get("0"))
                await asyncio.sleep(0)
                state = client._dispatcher.cluster.cache("")
                state.routing = state.routing.outdated()
                known.append(server.address)
                async with asyncio.timeout(10):
                    with pytest.raises(LookupError, match="no such place"):
                        await cache.get("1")
                    assert await behind == "v0"
                known.clear()
                assert await cache.get("1") == "v1"

        with EmbeddedServer(nodes=2) as server:
            run(main)

    def test_no_answer_in_time(self, server: EmbeddedServer) -> None:
        async def main() -> None:
            for settings in (
                {"request_timeout": 0.2, "max_retries": 0},
                {"request_timeout": 30, "operation_timeout": 0.2},
                {"request_timeout": 0.15, "operation_timeout": 0.2},
            ):
                async with AsyncClient(server.uri, **cast(Any, settings)) as client:
                    cache = await warm(client, 2)
                    server.faults.drop(op=Op.GET, times=1 + (settings.get("max_retries") is None))
                    before = asyncio.get_running_loop().time()
                    async with asyncio.timeout(20):
                        with pytest.raises((RequestTimeoutError, NotSentError)):
                            await cache.get("0")
                    assert asyncio.get_running_loop().time() - before >= 0.19
                    server.faults.clear()
                    assert await cache.get("1") == "v1"

        asyncio.run(main())

    def test_closed_meanwhile(self, server: EmbeddedServer, run: Run) -> None:
        async def main() -> None:
            async with AsyncClient(server.uri, request_timeout=20) as client:
                cache = await warm(client, 1)
                server.faults.drop(op=Op.GET, times=50)
                reads = [asyncio.ensure_future(cache.get("0")) for _ in range(50)]
                await asyncio.sleep(0.02)
                await client.close()
                async with asyncio.timeout(10):
                    found = await asyncio.gather(*reads, return_exceptions=True)
                assert {type(each) for each in found} <= {TransportError, NotSentError}
                with pytest.raises(NotSentError, match="closed"):
                    await cache.get("0")
            server.faults.clear()

        run(main)

    def test_a_peer_that_does_not_read(self, server: EmbeddedServer) -> None:
        async def main() -> None:
            async with AsyncClient(server.uri, request_timeout=20) as client:
                cache = await warm(client, 1)
                connection = client._dispatcher.driver.ready(server.address, 0)
                assert connection is not None
                connection.pause_writing()
                reading = asyncio.ensure_future(cache.get("0"))
                await asyncio.sleep(0.05)
                assert server.requests.get(Op.GET, 0) == 0
                connection.resume_writing()
                assert await reading == "v0"

        asyncio.run(main())


class TestCancelled:
    def test_thousands(self, server: EmbeddedServer, run: Run) -> None:
        """At whatever moment: the answers of others are right, and nothing is left over."""

        async def main() -> None:
            async with AsyncClient(server.uri, max_in_flight=20_000) as client:
                cache = await warm(client)
                session = session_of(client, server)
                for turns in range(4):
                    doomed = [asyncio.ensure_future(cache.get(f"{i % 60}")) for i in range(800)]
                    kept = [asyncio.ensure_future(cache.get(f"{i}")) for i in range(60)]
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    for task in doomed:
                        task.cancel()
                    assert await asyncio.gather(*kept) == [f"v{i}" for i in range(60)]
                    found = await asyncio.gather(*doomed, return_exceptions=True)
                    if turns < 2:  # later the answers may be there
                        assert {type(each) for each in found} == {asyncio.CancelledError}
                    await until(lambda: session.pending == session.abandoned == 0)
                    assert session._waiting == {}
                assert session_of(client, server) is session

        run(main)

    def test_somebody_else_s_turn(self, server: EmbeddedServer, run: Run) -> None:
        """Whoever was let in and is cancelled before they have gone on lets in another."""

        async def main() -> None:
            async with AsyncClient(server.uri, max_in_flight=1, request_timeout=20) as client:
                cache = await warm(client, 1)

                async def first() -> None:
                    await cache.get("0")
                    second.cancel()

                server.faults.delay(0.05, op=Op.GET)
                leading = asyncio.ensure_future(first())
                await asyncio.sleep(0)
                second = asyncio.ensure_future(cache.get("0"))
                await asyncio.sleep(0)
                third = asyncio.ensure_future(cache.get("0"))
                await leading
                async with asyncio.timeout(5):
                    with pytest.raises(asyncio.CancelledError):
                        await second
                    assert await third == "v0"

        run(main)


class TestLoops:
    def test_one_after_the_other(self, server: EmbeddedServer) -> None:
        """And again: a client has connections in each, and none is used in another."""
        client = AsyncClient(server.uri)
        cache = client.cache()
        loops = [factory() for factory in LOOPS.values()] + [asyncio.new_event_loop()]

        async def work(number: int) -> None:
            await cache.put(f"{number}", f"v{number}")
            keys = [f"{number}"] * 20
            found = await asyncio.gather(*(cache.get(key) for key in keys))
            assert found == [f"v{number}"] * 20

        for turn in range(3):
            for number, loop in enumerate(loops):
                loop.run_until_complete(work(number))
                assert server.connections == (len(loops) if turn else number + 1)
        for loop in loops:
            loop.run_until_complete(client.disconnect())
            loop.close()

    def test_at_the_same_time(self, server: EmbeddedServer) -> None:
        client = AsyncClient(server.uri, request_timeout=20)
        cache = client.cache()
        problems: list[BaseException] = []
        barrier = threading.Barrier(4)

        async def work(number: int) -> None:
            await cache.put(f"{number}", f"v{number}")
            barrier.wait(20)
            for _ in range(30):
                found = await asyncio.gather(*(cache.get(f"{number}") for _ in range(10)))
                assert found == [f"v{number}"] * 10
            await client.disconnect()

        def run(number: int) -> None:
            try:
                asyncio.run(work(number))
            except BaseException as problem:
                problems.append(problem)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(50)
        finally:
            sys.setswitchinterval(interval)
        assert problems == []
