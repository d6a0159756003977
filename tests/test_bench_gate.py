"""The rules of bench/judge.py on made-up measurements, and the parts of the gate around them."""

from __future__ import annotations

import importlib
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # bench/ belongs to the repository, not to the package

from bench import report, rows  # noqa: E402
from bench.judge import NOISE, Goal, Word, against_base, against_goals, read_goals  # noqa: E402

import hotrod_codec  # noqa: E402
from hotrod_codec import _paired  # noqa: E402


@pytest.mark.parametrize(
    ("wall", "instructions", "word"),
    [
        (1.00, 1.000, Word.OK),
        (0.50, 0.500, Word.OK),
        (1.05, 1.010, Word.OK),
        (1.06, 1.000, Word.WARN),
        (1.00, 1.020, Word.WARN),
        (1.09, 1.040, Word.WARN),  # both witnesses saw something, neither enough
        (1.30, 1.000, Word.WARN),  # the machine, or where code came to lie
        (1.11, 1.011, Word.FAIL),
        (1.00, 1.051, Word.FAIL),
        (2.00, 2.000, Word.FAIL),
        (1.10, None, Word.WARN),
        (1.11, None, Word.FAIL),
        (1.00, None, Word.OK),
    ],
)
def test_two_witnesses(wall: float, instructions: float | None, word: Word) -> None:
    assert against_base("row", wall, instructions, "call").word is word


def test_a_noisy_row_may_differ_more() -> None:
    assert against_base("row", 1.2, None, "call").word is Word.FAIL
    assert against_base("row", 1.2, None, "memory").word is Word.WARN
    assert against_base("row", 1.2, 1.06, "memory").word is Word.FAIL, "instructions are exact"


def test_a_verdict_says_which_row_and_by_how_much() -> None:
    found = str(against_base("encode_put", 1.234, 1.1, "call"))
    assert found == ("FAIL encode_put: head / base: time x 1.234 (limit 1.1), instructions x 1.100")


def test_goals() -> None:
    goal = Goal.of({"bare": 1.4, "msgpack": 0.5, "accepted": {"msgpack": 0.8}, "noise": "bulk"})

    def words(bare: float, msgpack: float) -> list[Word]:
        ratios = {"bare": bare, "msgpack": msgpack, "other": 99.0}
        return [verdict.word for verdict in against_goals("row", ratios, goal)]

    assert words(1.4, 0.5) == [Word.OK, Word.OK]
    assert words(1.5, 0.8) == [Word.WARN, Word.OK]
    assert words(1.55, 0.87) == [Word.FAIL, Word.WARN]
    assert words(0.1, 0.89) == [Word.OK, Word.FAIL]
    (_, verdict) = against_goals("row", {"bare": 1.0, "msgpack": 1.0}, goal)
    assert str(verdict) == ("FAIL row: x 1.000 of msgpack (accepted 0.8, goal 0.5, limit 0.880)")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a]\nbare = 1.0\nnoise = 'loud'", r"goals.toml: \[a\]: noise 'loud': wants one of call"),
        ("[a]\nbare = 1.0\naccepted = {bare = 0.9}", "accepted bare: wants a goal that is less"),
        ("[a]\nbare = 1.0\naccepted = {other = 2.0}", "accepted other: wants a goal that is less"),
    ],
)
def test_goals_that_are_none(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "goals.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=problem):
        read_goals(path)


def test_the_goals_of_this_tree() -> None:
    goals = read_goals(ROOT / "bench/goals.toml")
    assert goals
    assert all(goal.ratios and goal.noise in NOISE for goal in goals.values())


def test_the_same_code_under_noise_passes_and_slower_code_fails() -> None:
    """Rounds with bursts of other work: both sides of a round suffer, seldom alike."""
    random_ = random.Random(7)

    def measured(factor: float) -> float:
        base, head = [], []
        for _ in range(201):
            burst = random_.choice([1.0, 1.0, 1.0, 8.0])
            base.append(burst * random_.uniform(0.9, 1.3))
            head.append(burst * random_.uniform(0.9, 1.3) * factor)
        return _paired.ratio_of(head, base).median

    for _ in range(20):
        assert against_base("row", measured(1.0), 1.0, "call").word is not Word.FAIL
        assert against_base("row", measured(1.0), None, "call").word is not Word.FAIL
        assert against_base("row", measured(1.3), 1.2, "call").word is Word.FAIL
        assert against_base("row", measured(1.3), None, "call").word is Word.FAIL


# --- two builds in one process --------------------------------------------------------


@pytest.fixture
def other_build(tmp_path: Path) -> Path:
    """A folder with a copy of what is installed."""
    package = tmp_path / "hotrod_codec"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(hotrod_codec.__file__).parent, package, ignore=ignored)
    for name, module in list(sys.modules.items()):
        if name.startswith("hotrod_codec._ext.") and module.__file__ is not None:
            shutil.copy(module.__file__, package / "_ext")
    return tmp_path


def test_two_builds_side_by_side(other_build: Path) -> None:
    with rows.build_at(other_build):
        other: Any = importlib.import_module("hotrod_codec")
        assert other is not hotrod_codec
        assert other.protostream.encode("x") == b"\x4a\x01x"
    assert sys.modules["hotrod_codec"] is hotrod_codec
    assert importlib.import_module("hotrod_codec") is hotrod_codec

    frame = hotrod_codec.encode_response("get", version="4.1", message_id=1, value=b"v")
    results = [
        build.decode_response(frame, build.RequestContext("get", "4.1"))
        for build in (hotrod_codec, other)
    ]
    assert [result.value for result in results] == [b"v", b"v"]
    assert type(results[0]) is hotrod_codec.Response
    assert type(results[1]) is other.Response
    assert other.Response is not hotrod_codec.Response
    with pytest.raises(other.EncodeError):
        other.encode_varint(-1)


def test_a_name_that_a_build_does_not_have_fails_when_it_is_used(other_build: Path) -> None:
    with rows.build_at(other_build):
        missing: Any = importlib.import_module("hotrod_codec").no_such_name
    for use in (missing, lambda: missing.attribute):
        with pytest.raises(LookupError, match=r"^no no_such_name$"):
            use()


def test_a_folder_without_a_build(tmp_path: Path) -> None:
    with pytest.raises((ImportError, RuntimeError)), rows.build_at(tmp_path):
        pass
    assert sys.modules["hotrod_codec"] is hotrod_codec


# --- the table and the plots ----------------------------------------------------------


def line(
    row: str = "a_row", reference: str = "bare", ratio: float = 1.5, goal: float | None = 1.4
) -> report.Line:
    return report.Line(row, 1500.0, reference, 1000.0, ratio, goal)


def test_the_table_says_what_is_missed() -> None:
    machine = {"python_version": "3.13.1", "system": "Linux", "cpu": {"brand_raw": "A CPU"}}
    lines = [line(), line(reference="msgpack", ratio=0.4, goal=None), line(row="b", ratio=1.0)]
    assert report.markdown(lines, machine).splitlines()[2:] == [
        "| row | ours | reference | its time | ratio | goal | |",
        "|---|--:|---|--:|--:|--:|---|",
        "| a_row | 1.5 us | bare | 1 us | 1.50 | 1.4 | missed: 1.07 x the goal |",
        "|  |  | msgpack | 1 us | 0.40 |  |  |",
        "| b | 1.5 us | bare | 1 us | 1.00 | 1.4 | met |",
    ]


def test_plots_are_svg_for_light_and_dark() -> None:
    from xml.etree import ElementTree

    plots = [
        report.ratios_plot([line(), line(row="<&>", ratio=0.001, goal=None)]),
        report.curves_plot(
            "t", "x", "y", [report.Curve("a", [(1, 2), (10, 30)]), report.Curve("b", [(1, 0)])]
        ),
    ]
    for plot in plots:
        root = ElementTree.fromstring(plot)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "prefers-color-scheme: dark" in plot
        assert "nan" not in plot


def test_a_block_is_rewritten_between_its_marks(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("before\n<!-- goals: begin -->\nold\n<!-- goals: end -->\nafter\n")
    report.rewrite_block(path, "goals", "new")
    report.rewrite_block(path, "goals", "newer")
    assert path.read_text() == (
        "before\n<!-- goals: begin -->\n\nnewer\n\n<!-- goals: end -->\nafter\n"
    )
    with pytest.raises(ValueError, match="wants one block"):
        report.rewrite_block(path, "scaling", "text")
