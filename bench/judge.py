"""What fails a change: the rules of the gate, on numbers alone. Measures nothing.

Wall time moves by some percent for no reason but where code came to lie, and by more on a machine
with other work. So it takes two witnesses: time and, where valgrind is there, instructions.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

WARN_WALL, WARN_INSTRUCTIONS = 1.05, 1.01
FAIL_INSTRUCTIONS = 1.05


@dataclass(frozen=True, slots=True)
class Noise:
    """How far two measurements of the same may lie apart: relative to the base, which does the same
    work, and to a reference, which does other work."""

    base: float
    reference: float


NOISE = {
    "call": Noise(base=1.10, reference=1.15),
    "bulk": Noise(base=1.10, reference=1.10),
    "memory": Noise(base=1.25, reference=1.30),  # more than the caches hold, pages faulted in
    "threads": Noise(base=1.50, reference=2.0),  # as fast as other work on the machine lets them
}


@dataclass(frozen=True, slots=True)
class Goal:
    """A row of goals.toml.

    Attributes:
        ratios: The most that the row may take, by reference.
        accepted: What a missed goal takes as yet: the gate keeps it from getting worse.
        noise: Its class.
    """

    ratios: Mapping[str, float] = field(default_factory=dict)
    accepted: Mapping[str, float] = field(default_factory=dict)
    noise: str = "call"

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Goal:
        ratios = dict(table)
        accepted = ratios.pop("accepted", {})
        noise = ratios.pop("noise", "call")
        if noise not in NOISE:
            raise ValueError(f"noise {noise!r}: wants one of {', '.join(NOISE)}")
        for name, ratio in accepted.items():
            if name not in ratios or ratio <= ratios[name]:
                raise ValueError(f"accepted {name}: wants a goal that is less than {ratio}")
        return cls(ratios, accepted, noise)


def read_goals(path: Path) -> dict[str, Goal]:
    goals = {}
    for row, table in tomllib.loads(path.read_text(encoding="utf-8")).items():
        try:
            goals[row] = Goal.of(table)
        except ValueError as problem:
            raise ValueError(f"{path.name}: [{row}]: {problem}") from None
    return goals


class Word(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Verdict:
    row: str
    word: Word
    why: str

    def __str__(self) -> str:
        return f"{self.word:4} {self.row}: {self.why}"


def against_base(row: str, wall: float, instructions: float | None, noise: str) -> Verdict:
    """Judge head / base.

    Args:
        wall: Ratio of times, the least of some measurements.
        instructions: Ratio of counts; None where they were not counted.
    """
    limit = NOISE[noise].base
    slow = wall > limit
    if instructions is None:
        bad, witness = slow, "instructions not counted"
    else:
        bad = instructions > FAIL_INSTRUCTIONS or (slow and instructions > WARN_INSTRUCTIONS)
        witness = f"instructions x {instructions:.3f}"
    near = wall > WARN_WALL or (instructions or 1) > WARN_INSTRUCTIONS
    word = Word.FAIL if bad else Word.WARN if near else Word.OK
    return Verdict(row, word, f"head / base: time x {wall:.3f} (limit {limit}), {witness}")


def against_goals(row: str, ratios: Mapping[str, float], goal: Goal) -> Iterable[Verdict]:
    """Judge the ratios to the references: one verdict for each that has a goal."""
    for name, wanted in goal.ratios.items():
        ratio = ratios[name]
        most = goal.accepted.get(name, wanted)
        limit = most * NOISE[goal.noise].reference
        what = f"accepted {most}, goal {wanted}" if name in goal.accepted else f"goal {wanted}"
        word = Word.FAIL if ratio > limit else Word.WARN if ratio > most else Word.OK
        yield Verdict(row, word, f"x {ratio:.3f} of {name} ({what}, limit {limit:.3f})")
