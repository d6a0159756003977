"""The `compare` fixture, the one table that a run prints, and the references' modules.

A row is a test. It names our expression and the references' expressions; `compare` shows that
they give the same, times them interleaved (hotrod_codec/_paired.py), and files the ratios with
pytest-benchmark, which also writes them to JSON. Nothing fails for being slow, unless `--base`
gives another build: then its side of each row is timed along, and judge.py says what is too slow.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from operator import eq
from pathlib import Path
from typing import Any

import pytest

from bench import instructions
from bench.judge import WARN_WALL, Goal, Verdict, Word, against_base, against_goals, read_goals
from bench.rows import FIXTURES, build_at, collect
from hotrod_codec._paired import Measured, Side, measure

HERE = Path(__file__).resolve().parent
GOALS = read_goals(HERE / "goals.toml")
BASE = "base"  # the reference that is another build


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
    """The rows measured in this run, and those of the base build where there is one."""

    def __init__(self, base: Path | None) -> None:
        self.measured: dict[str, Measured] = {}
        self.base: dict[str, Side] = {}
        self.not_in_base: dict[str, str] = {}
        self.verdicts: list[Verdict] = []
        if base is not None:
            with build_at(base):
                self.base, self.not_in_base = collect()

    def judge(self, counted: Mapping[str, float]) -> None:
        """`counted`: instructions relative to the base build, as far as there are any."""
        for row, measured in self.measured.items():
            goal = GOALS.get(row, Goal())
            ratios = {name: ratio.median for name, ratio in measured.ratios.items()}
            if BASE in ratios:
                verdict = against_base(row, ratios[BASE], counted.get(row), goal.noise)
                self.verdicts.append(verdict)
            self.verdicts += against_goals(row, ratios, goal)

    @property
    def failed(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.word is Word.FAIL]

    def table(self) -> list[str]:
        """Lines to print: one for each row and reference."""
        lines = [
            f"{'row':35} {'ours ns':>12} {'reference':>12} {'ns':>12} {'ratio':>7}"
            f" {'95 %':>15} {'p10..p90':>15} {'goal':>6}"
        ]
        for row, measured in self.measured.items():
            goals = GOALS.get(row, Goal()).ratios
            first = f"{row:35} {measured.ns:12,.1f}"
            for name, ratio in measured.ratios.items():
                goal = goals.get(name)
                verdict = "" if goal is None else f"{goal:6} {met_or_not(ratio.median, goal)}"
                lines.append(
                    f"{first} {name:>12} {ratio.reference_ns:12,.1f} {ratio.median:7.3f}"
                    f" {f'{ratio.low:.3f}..{ratio.high:.3f}':>15}"
                    f" {f'{ratio.p10:.2f}..{ratio.p90:.2f}':>15} {verdict}".rstrip()
                )
                first = " " * len(first)
        return lines


def met_or_not(ratio: float, goal: float) -> str:
    return "met" if ratio <= goal else f"not met, {ratio / goal:.2f} x the goal"


REPEATS = 2  # more measurements before a row counts as slower than the base
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
    group.addoption("--base", type=Path, help="a folder with another build: fail if this is slower")
    group.addoption("--no-valgrind", action="store_true", help="judge by time alone")


def pytest_configure(config: pytest.Config) -> None:
    base = config.option.base
    config.stash[ROWS] = Rows(base.resolve() if base is not None else None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A goal without a row would never be missed: see that there is none."""
    files = {item.path for item in items}
    if files >= set(HERE.glob("test_*.py")):
        unknown = GOALS.keys() - {row_of(item) for item in items}
        if unknown:
            raise pytest.UsageError(f"goals.toml: no test measures {', '.join(sorted(unknown))}")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    rows = config.stash[ROWS]
    if config.option.base is None:
        return
    wanted = instructions.available() and not config.option.no_valgrind
    rows.judge(count(rows, config.option.base.resolve()) if wanted else {})
    if rows.failed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def count(rows: Rows, base: Path) -> dict[str, float]:
    """Instructions of the rows, relative to the base build."""
    calls = {
        row: calls
        for row, measured in rows.measured.items()
        if row in rows.base and (calls := instructions.calls_for(measured.ns))
    }
    out = base.parent
    head = instructions.Count(None, calls, out / "callgrind.head")
    theirs = instructions.Count(base, calls, out / "callgrind.base").result()
    ours = head.result()
    return {row: ours[row] / theirs[row] for row in calls if row in ours and row in theirs}


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    if rows.measured:
        terminalreporter.section("time relative to the references")
        for line in rows.table():
            terminalreporter.write_line(line)
    if config.option.base is not None:
        terminalreporter.section("gate")
        for row, why in rows.not_in_base.items():
            terminalreporter.write_line(f"new  {row}: not in the base build: {why}")
        for verdict in rows.verdicts:
            terminalreporter.write_line(str(verdict))
        names = " or ".join(sorted({verdict.row for verdict in rows.failed}))
        terminalreporter.write_line(
            f"FAILED. Again, these alone: make bench-gate ARGS='-k \"{names}\"'"
            if names
            else f"passed: {len(rows.measured)} rows"
        )


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
    return FIXTURES["bare"]()


@pytest.fixture(scope="session")
def msgpack() -> Any:
    return FIXTURES["msgpack"]()


@pytest.fixture(scope="session")
def hiredis() -> Any:
    return FIXTURES["hiredis"]()


@pytest.fixture(scope="session")
def mmh3() -> Any:
    return FIXTURES["mmh3"]()


@pytest.fixture(scope="session")
def protobuf() -> Any:
    return FIXTURES["protobuf"]()


@pytest.fixture(scope="session")
def plain() -> Any:
    return FIXTURES["plain"]()


Compare = Callable[..., Measured]


@pytest.fixture
def compare(request: pytest.FixtureRequest, benchmark: Any) -> Compare:
    """Measure one row: `compare(ours, {name: Reference(...)}, names, setup="", held=False)`."""
    config = request.config
    row = row_of(request.node)
    rows = config.stash[ROWS]
    goals = GOALS.get(row, Goal()).ratios

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
        if row in rows.base:
            sides[BASE] = rows.base[row]
        elif rows.base:
            rows.not_in_base.setdefault(row, "no such row")
        gc.collect()
        options = {"rounds": config.option.rounds, "seconds": config.option.round_seconds}
        measured = measure(our_side, sides, **options)
        for _ in range(REPEATS):
            if BASE not in sides or measured.ratios[BASE].median <= WARN_WALL:
                break
            # Slower counts only if it is so each time.
            measured = measured.or_better(measure(our_side, sides, **options))
        rows.measured[row] = measured
        benchmark.group = Path(request.node.path).stem.removeprefix("test_")
        benchmark.extra_info.update(
            row=row,
            expression=ours,
            ns=measured.ns,
            rounds=measured.rounds,
            references={
                name: {
                    **asdict(ratio),
                    "expression": references[name].code if name != BASE else ours,
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
