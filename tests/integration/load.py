"""Threads and tasks that write and read without end, and the books of what they have to find.

Every key has one writer, and its values are numbers that grow. So each answer can be judged: no
less than what was acknowledged before the question, no more than what was tried before the answer.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Generator
from typing import Any, Self, TypeAlias

from hotrod_codec import AsyncClient, Client
from hotrod_codec.errors import HotRodError
from hotrod_codec.marshallers import BYTES

SECONDS = 60.0
"""How long anything here may take: all of it is a matter of a few."""

_Step: TypeAlias = tuple[Any, ...]
"""The name of a cache's method, and its arguments."""


class Entry:
    """A key, the greatest number that was acknowledged, and the greatest that was tried."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.acknowledged = 0
        self.tried = 0

    def value(self) -> bytes:
        """The next value to write."""
        self.tried += 1
        return b"%s=%d" % (self.key, self.tried)

    def number_in(self, value: bytes | None) -> int:
        """The number of a value; nothing there is 0, somebody else's value is -1."""
        if value is None:
            return 0
        key, _, number = value.rpartition(b"=")
        return int(number) if key == self.key else -1


class Load:
    """Clients at work on one cache, until the block ends.

    Args:
        workers: How many threads, or tasks, each with some keys of its own.

    Attributes:
        errors: What writes failed with: such a write may have been done or not, so nothing more
            is written under its key.
        lost_reads: What reads failed with.
        wrong: Answers that cannot be right, in words.
        pace: Seconds that a worker rests after each request.
    """

    def __init__(self, name: bytes, workers: int, keys: int = 10) -> None:
        self.errors: list[HotRodError] = []
        self.lost_reads: list[HotRodError] = []
        self.wrong: list[str] = []
        self.steps = [0] * workers
        self.pace = 0.0
        self._name = name
        self._entries: list[Entry] = []
        self._slots = [[self._new_entry() for _ in range(keys)] for _ in range(workers)]
        self._ended = False
        self._problems: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended = True

    def _new_entry(self) -> Entry:
        entry = Entry(b"%s %d" % (self._name, len(self._entries)))
        self._entries.append(entry)
        return entry

    def _work(self, worker: int) -> Callable[[Any], _Step | None]:
        """Takes the result of a step, or its error, and gives the next one; None: it is over."""
        steps = self._steps(worker)

        def go_on(result: Any) -> _Step | None:
            return None if self._ended else steps.send(result)

        return go_on

    def _steps(self, worker: int) -> Generator[_Step, Any, None]:
        chance = random.Random(worker)
        slots = self._slots[worker]
        while True:
            slot = chance.randrange(len(slots))
            entry = slots[slot]
            answer = yield "put", entry.key, entry.value()
            if isinstance(answer, HotRodError):
                self.errors.append(answer)
                slots[slot] = self._new_entry()
            else:
                entry.acknowledged = entry.tried
                self.steps[worker] += 1
            entry = chance.choice(self._entries)
            least = entry.acknowledged
            answer = yield "get", entry.key
            if isinstance(answer, HotRodError):
                self.lost_reads.append(answer)
            else:
                self._judge(entry, least, answer)
                self.steps[worker] += 1

    def _judge(self, entry: Entry, least: int, found: bytes | None) -> None:
        if not least <= entry.number_in(found) <= entry.tried:
            self.wrong.append(f"{entry.key!r}: {found!r}, wanted {least} to {entry.tried}")

    # ---- running

    def in_threads(self, client: Client, cache: str) -> Self:
        """Begin, one thread for each worker."""
        view = client.cache(cache, keys=BYTES, values=BYTES)

        def run(worker: int) -> None:
            steps = self._work(worker)
            step = steps(None)
            while step is not None:
                try:
                    result = getattr(view, step[0])(*step[1:])
                except HotRodError as error:
                    result = error
                if self.pace:
                    time.sleep(self.pace)
                step = steps(result)

        for worker in range(len(self.steps)):
            self._begin(run, worker)
        return self

    def in_tasks(self, client: AsyncClient, cache: str) -> Self:
        """Begin, one task for each worker, in a loop of a thread of their own."""
        view = client.cache(cache, keys=BYTES, values=BYTES)

        async def run(worker: int) -> None:
            steps = self._work(worker)
            step = steps(None)
            while step is not None:
                try:
                    result = await getattr(view, step[0])(*step[1:])
                except HotRodError as error:
                    result = error
                if self.pace:
                    await asyncio.sleep(self.pace)
                step = steps(result)

        async def run_all() -> None:
            async with client:
                await asyncio.gather(*(run(worker) for worker in range(len(self.steps))))

        self._begin(asyncio.run, run_all())
        return self

    def _begin(self, work: Callable[..., Any], *arguments: Any) -> None:
        def guarded() -> None:
            try:
                work(*arguments)
            except BaseException as problem:
                self._problems.append(problem)

        thread = threading.Thread(target=guarded, name="load", daemon=True)
        self._threads.append(thread)
        thread.start()

    def go_on(self, steps: int) -> None:
        """Wait until every worker has so many more successes."""
        before = list(self.steps)
        wait_until(
            lambda: (
                all(n >= b + steps for n, b in zip(self.steps, before, strict=True))
                or bool(self._problems)
            )
        )

    def end(self) -> None:
        """Let all workers come to their end."""
        self._ended = True
        deadline = time.monotonic() + SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), "a worker hangs"
        if self._problems:
            raise self._problems[0]

    def check(self, client: Client, cache: str) -> None:
        """What is there now is what was acknowledged last; where a write failed, that or this."""
        keys = [entry.key for entry in self._entries]
        found = client.cache(cache, keys=BYTES, values=BYTES).get_all(keys)
        for entry in self._entries:
            self._judge(entry, entry.acknowledged, found.get(entry.key))
        assert self.wrong == []


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again, until it is so."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)
