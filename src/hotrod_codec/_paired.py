"""Interleaved timing: how long one expression takes relative to others, in one process.

Knows nothing of Hot Rod, pytest or goals. What ran a moment ago on the machine moves every timing
more than most changes of code do; so all sides run in each round, in an order that is shuffled
each round, and only ratios within a round are kept. Their median is the result.

The collector stays on, and the release of a result counts on its side.
"""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

# A function around the expression would cost as much as the calls that are measured here: the
# expression is compiled into the timing loop, as timeit does it.
LOOP = """\
def _timed(_calls):
    _start = _clock()
    for _ in _repeat(None, _calls):
        {statement}
    return _clock() - _start

def _once():
    return {code}
"""
# A collection while the result is held: what a result leaves for the collector is part of its cost.
HELD = "_held = {code}; _collect(0); del _held"

# A row of long rounds stops early, but not before it has so many.
ROW_SECONDS = 2.5
MIN_ROUNDS = 21


class Side:
    """An expression to be timed.

    Args:
        code: The expression. Its value is released within the time that counts.
        names: What the expression can refer to; names with an underscore in front are taken.
        setup: Statements that run before each call and are not timed. With them a round has one
            call, so that one has to be long enough.
        held: Count a collection of the youngest generation in, with the result alive.
    """

    def __init__(
        self, code: str, names: Mapping[str, Any], *, setup: str = "", held: bool = False
    ) -> None:
        self._scope = {
            **names,
            "_clock": time.perf_counter,
            "_repeat": repeat,
            "_collect": gc.collect,
        }
        self._setup = compile(setup, f"<before {code}>", "exec") if setup else None
        statement = HELD.format(code=code) if held else code
        exec(compile(LOOP.format(statement=statement, code=code), code, "exec"), self._scope)
        self._timed: Callable[[int], float] = self._scope["_timed"]
        self.once: Callable[[], Any] = self._scope["_once"]
        self.calls = 1

    @property
    def has_setup(self) -> bool:
        return self._setup is not None

    def prepare(self) -> None:
        """Run the setup, if there is one."""
        if self._setup is not None:
            exec(self._setup, self._scope)

    def value(self) -> Any:
        """What the expression gives."""
        self.prepare()
        return self.once()

    def calibrate(self, seconds: float) -> None:
        """Set `calls` so that a round takes at least about so long."""
        for _ in range(3):
            self.time()
        while not self.has_setup and min(self.time() for _ in range(3)) < seconds:
            self.calls *= 2

    def run(self, calls: int) -> float:
        """Seconds of so many calls, without the setup."""
        return self._timed(calls)

    def time(self) -> float:
        """Seconds of one round of `calls` calls."""
        self.prepare()
        return self.run(self.calls)


@dataclass(frozen=True, slots=True)
class Ratio:
    """Our time relative to one reference's.

    `low` and `high` enclose the true median with 95 % confidence, as far as the noise of the
    rounds is independent; 80 % of the rounds lay between `p10` and `p90`.
    """

    median: float
    low: float
    high: float
    p10: float
    p90: float
    reference_ns: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Nanoseconds per call are medians for orientation; the ratios are what counts."""

    ns: float
    rounds: int
    ratios: dict[str, Ratio]

    def or_better(self, other: Measured) -> Measured:
        """Of each ratio the smaller one."""
        ratios = {
            name: min(ratio, other.ratios[name], key=lambda r: r.median)
            for name, ratio in self.ratios.items()
        }
        return Measured(min(self.ns, other.ns), self.rounds + other.rounds, ratios)


def measure(ours: Side, references: Mapping[str, Side], *, rounds: int, seconds: float) -> Measured:
    """Time all sides in each of `rounds` rounds (fewer where they are long), each side for at
    least `seconds`.

    All sides take about as long as the slowest does for one call: where other processes want the
    machine, a side of many time slices loses some in each round and a short one in few.
    """
    if not gc.isenabled():
        raise RuntimeError("the garbage collector is off: it is part of what is measured")
    sides = [ours, *references.values()]
    for side in sides:
        side.calibrate(seconds)
    longest = max(min(side.time() for _ in range(3)) for side in sides)
    for side in sides:
        side.calibrate(longest / 2)
    # Long rounds need fewer: they average over what else the machine does.
    rounds = min(rounds, max(MIN_ROUNDS, int(ROW_SECONDS / (longest * len(sides)))))
    order = list(range(len(sides)))
    shuffle = random.Random(len(sides)).shuffle
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        shuffle(order)
        for i in order:
            times[i].append(sides[i].time() / sides[i].calls)
    ratios = {name: ratio_of(times[0], times[i]) for i, name in enumerate(references, start=1)}
    return Measured(1e9 * statistics.median(times[0]), rounds, ratios)


def ratio_of(ours: Sequence[float], reference: Sequence[float]) -> Ratio:
    """The median of the paired ratios and how far to trust it."""
    paired = sorted(a / b for a, b in zip(ours, reference, strict=True))
    last = len(paired) - 1
    half = 0.98 * math.sqrt(len(paired))  # ranks on each side of the middle: 1.96 / 2 * sqrt(n)
    return Ratio(
        median=statistics.median(paired),
        low=paired[max(0, math.floor(last / 2 - half))],
        high=paired[min(last, math.ceil(last / 2 + half))],
        p10=paired[round(0.1 * last)],
        p90=paired[round(0.9 * last)],
        reference_ns=1e9 * statistics.median(reference),
    )
