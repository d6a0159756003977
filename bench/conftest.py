"""The `compare` fixture, the one table that a run prints, and the references' modules.

A row is a test. It names our expression and the references' expressions; `compare` shows that
they give the same, times them interleaved (paired.py), and files the ratios with pytest-benchmark,
which also writes them to JSON. Nothing here fails for being slow.
"""

from __future__ import annotations

import gc
import importlib
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from operator import eq
from pathlib import Path
from typing import Any

import pytest

from bench.paired import Measured, Side, measure

HERE = Path(__file__).resolve().parent
BARE = HERE.parent / "build" / "bare"  # where `make bench` builds the extension
GOALS: dict[str, dict[str, float]] = tomllib.loads((HERE / "goals.toml").read_text())


@dataclass(frozen=True, slots=True)
class Reference:
    """Another way to the same result.

    Args:
        code: The expression that is timed.
        same: Tells whether our result and this one are the same; equality by default.
        setup: As for our own expression.
    """

    code: str
    same: Callable[[Any, Any], bool] = eq
    setup: str = ""


class Rows:
    """The rows measured in this run."""

    def __init__(self) -> None:
        self.measured: dict[str, Measured] = {}

    def table(self) -> list[str]:
        """Lines to print: one for each row and reference."""
        lines = [
            f"{'row':30} {'ours ns':>11} {'reference':>10} {'ns':>11} {'ratio':>7}"
            f" {'95 %':>15} {'p10..p90':>15} {'goal':>6}"
        ]
        for row, measured in self.measured.items():
            goals = GOALS.get(row, {})
            first = f"{row:30} {measured.ns:11,.1f}"
            for name, ratio in measured.ratios.items():
                goal = goals.get(name)
                verdict = "" if goal is None else f"{goal:6} {met_or_not(ratio.median, goal)}"
                lines.append(
                    f"{first} {name:>10} {ratio.reference_ns:11,.1f} {ratio.median:7.3f}"
                    f" {f'{ratio.low:.3f}..{ratio.high:.3f}':>15}"
                    f" {f'{ratio.p10:.2f}..{ratio.p90:.2f}':>15} {verdict}".rstrip()
                )
                first = " " * len(first)
        return lines


def met_or_not(ratio: float, goal: float) -> str:
    return "met" if ratio <= goal else f"not met, {ratio / goal:.2f} x the goal"


WARM_BYTES = 32 * 1024 * 1024

ROWS = pytest.StashKey[Rows]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("paired", "interleaved ratios")
    group.addoption("--rounds", type=int, default=201, help="rounds for each row (201)")
    group.addoption(
        "--round-seconds",
        type=float,
        default=0.0004,
        help="least time of a side in a round (0.4 ms)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = Rows()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A goal without a row would never be missed: see that there is none."""
    files = {item.path for item in items}
    if files >= set(HERE.glob("test_*.py")):
        unknown = GOALS.keys() - {row_of(item) for item in items}
        if unknown:
            raise pytest.UsageError(f"goals.toml: no test measures {', '.join(sorted(unknown))}")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    if rows.measured:
        terminalreporter.section("time relative to the references")
        for line in rows.table():
            terminalreporter.write_line(line)


def row_of(item: Any) -> str:
    return str(item.name).removeprefix("test_")


@pytest.fixture(scope="session", autouse=True)
def warm_memory() -> Iterator[None]:
    """Enough free memory in the small-object allocator that no result needs more.

    The allocator gives an arena (1 MiB) back to the system when its last object goes, and new ones
    are faulted in page by page. Whether a row pays that depended on what happened to lie around:
    10,000 values of 100 bytes cost 250 page faults, or none. One object kept in each part of
    an arena keeps the arena.
    """
    ballast = [bytes(100) for _ in range(WARM_BYTES // 144)]
    kept = ballast[:: (256 * 1024) // 144]
    del ballast
    yield
    del kept


@pytest.fixture(scope="session")
def bare() -> Any:
    """The reference extension: the same objects, and nothing parsed."""
    sys.path.insert(0, str(BARE))
    try:
        return importlib.import_module("bare")
    except ImportError as e:
        raise RuntimeError(f"no reference extension in {BARE}: run `make bench`") from e
    finally:
        sys.path.remove(str(BARE))


@pytest.fixture(scope="session")
def msgpack() -> Any:
    return importlib.import_module("msgpack")


@pytest.fixture(scope="session")
def hiredis() -> Any:
    return importlib.import_module("hiredis")


@pytest.fixture(scope="session")
def mmh3() -> Any:
    return importlib.import_module("mmh3")


Compare = Callable[..., Measured]


@pytest.fixture
def compare(request: pytest.FixtureRequest, benchmark: Any) -> Compare:
    """Measure one row: `compare(ours, {name: Reference(...)}, names, setup="", held=False)`."""
    config = request.config
    row = row_of(request.node)
    goals = GOALS.get(row, {})

    def run(
        ours: str,
        references: Mapping[str, Reference],
        names: Mapping[str, Any],
        *,
        setup: str = "",
        held: bool = False,
    ) -> Measured:
        if not goals.keys() <= references.keys():
            pytest.fail(f"goals.toml: {row} is not compared with all of {', '.join(goals)}")
        our_side = Side(ours, names, setup=setup, held=held)
        sides = {
            name: Side(r.code, names, setup=r.setup, held=held) for name, r in references.items()
        }
        for name, reference in references.items():
            if not reference.same(our_side.value(), sides[name].value()):
                pytest.fail(f"not the same result: {ours} and {reference.code} ({name})")
        gc.collect()
        measured = measure(
            our_side,
            sides,
            rounds=config.option.rounds,
            seconds=config.option.round_seconds,
        )
        config.stash[ROWS].measured[row] = measured
        benchmark.group = Path(request.node.path).stem.removeprefix("test_")
        benchmark.extra_info.update(
            row=row,
            expression=ours,
            ns=measured.ns,
            rounds=measured.rounds,
            references={
                name: {
                    **asdict(ratio),
                    "expression": references[name].code,
                    "goal": goals.get(name),
                }
                for name, ratio in measured.ratios.items()
            },
        )
        # For its history and reports: our side alone, called through a function.
        if setup:
            benchmark.pedantic(our_side.once, setup=our_side.prepare, rounds=20)
        else:
            benchmark(our_side.once)
        return measured

    return run
