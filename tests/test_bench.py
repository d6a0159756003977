"""`python -m hotrod_codec.bench`, and the timing under it. Nothing here has to be fast."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hotrod_codec import _paired, bench

FAST: dict[str, Any] = {"rounds": 2, "seconds": 1e-6}


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    run = bench.run
    monkeypatch.setattr(bench, "run", lambda rows, rounds: run(rows, **FAST))


@pytest.mark.parametrize("row", bench.ROWS)
def test_both_sides_of_a_row_make_something_of_the_same_size(row: str) -> None:
    names = bench._names()
    ours = _paired.Side(bench.ROWS[row].ours, names).value()
    reference = _paired.Side(bench.ROWS[row].reference, names).value()
    if isinstance(reference, list):
        assert len(ours) == len(reference) == 1000
    if row == "bulk_get_1000":
        assert ours == reference
    if row == "read_1000_gets":
        assert [response.value for response in ours] == reference
    if row == "decode_get":
        assert ours.value == reference
    if row == "protostream_decode":
        assert ours == reference


def test_a_run_has_all_rows() -> None:
    results = bench.run(**FAST)
    assert list(results) == list(bench.ROWS)
    for measured in results.values():
        ratio = measured.ratios["reference"]
        assert 0 < ratio.low <= ratio.median <= ratio.high
        assert measured.ns > 0


@pytest.mark.usefixtures("few_rounds")
def test_limits_are_written_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = tmp_path / "limits.json"
    assert bench.main(["--write-limits", str(limits), "--margin", "1000000"]) == 0
    assert json.loads(limits.read_text()).keys() == bench.ROWS.keys()
    assert bench.main(["--check", str(limits)]) == 0
    capsys.readouterr()

    limits.write_text('{"murmur3": 1e-9, "encode_put": 1e9}')
    assert bench.main(["--check", str(limits)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["row", "murmur3", "encode_put"]
    assert [line.endswith("exceeded") for line in lines] == [False, True, False]

    assert bench.main(["--check", str(limits), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["exceeded"] == ["murmur3"]
    assert found["limits"] == {"murmur3": 1e-9, "encode_put": 1e9}
    assert found["rows"]["murmur3"]["ratio"] > 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "Expecting property name"),
        ("{}", "wants an object of row: largest ratio"),
        ("[1]", "wants an object of row: largest ratio"),
        ('{"no_such": 1}', "no row 'no_such'; there are encode_put, "),
        ('{"murmur3": "fast"}', "murmur3: wants a positive number, got 'fast'"),
        ('{"murmur3": -1}', "murmur3: wants a positive number, got -1"),
        ('{"murmur3": true}', "murmur3: wants a positive number, got True"),
    ],
)
def test_limits_that_are_none(
    text: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = tmp_path / "limits.json"
    limits.write_text(text)
    with pytest.raises(SystemExit) as caught:
        bench.main(["--check", str(limits)])
    assert caught.value.code == 2
    assert problem in capsys.readouterr().err


def test_limits_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--check", str(tmp_path / "none.json")])
    assert "No such file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        bench.main(["--rounds", "0"])


def test_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hotrod_codec.bench", "--json", "--rounds", "1"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["rows"].keys() == bench.ROWS.keys()


# --- the timing -----------------------------------------------------------------------


def test_the_median_of_ratios_within_rounds() -> None:
    # The machine was ten times slower in the last two rounds: the ratios do not see it.
    ratio = _paired.ratio_of([2.0, 4.0, 30.0, 20.0], [1.0, 2.0, 10.0, 10.0])
    assert ratio.median == 2.0
    assert (ratio.p10, ratio.p90) == (2.0, 3.0)
    assert ratio.reference_ns == 6e9


def test_a_side_runs_its_setup_before_each_call() -> None:
    calls: list[str] = []
    side = _paired.Side("calls.append('ours')", {"calls": calls}, setup="calls.append('setup')")
    side.calibrate(1.0)
    assert side.calls == 1
    assert calls == ["setup", "ours"] * 3
    assert side.value() is None


def test_a_held_result_is_there_during_a_collection() -> None:
    seen: list[int] = []
    callback = lambda phase, info: seen.append(info["generation"])  # noqa: E731
    gc.callbacks.append(callback)
    try:
        _paired.Side("[]", {}, held=True).run(3)
    finally:
        gc.callbacks.remove(callback)
    assert seen.count(0) >= 6, "start and stop of each"


def test_better_takes_the_smaller_of_each_ratio() -> None:
    def measured(ns: float, first: float, second: float) -> _paired.Measured:
        ratios = {
            "first": _paired.ratio_of([first], [1.0]),
            "second": _paired.ratio_of([second], [1.0]),
        }
        return _paired.Measured(ns, 10, ratios)

    best = measured(5.0, 1.0, 4.0).or_better(measured(7.0, 2.0, 3.0))
    assert (best.ns, best.rounds) == (5.0, 20)
    assert {name: ratio.median for name, ratio in best.ratios.items()} == {
        "first": 1.0,
        "second": 3.0,
    }


def test_no_measuring_without_the_collector() -> None:
    side = _paired.Side("0", {})
    gc.disable()
    try:
        with pytest.raises(RuntimeError, match="garbage collector is off"):
            _paired.measure(side, {}, rounds=1, seconds=0)
    finally:
        gc.enable()
