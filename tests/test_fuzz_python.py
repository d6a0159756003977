"""The fuzz targets for Python's entry points, with some hundred inputs each: nothing is found, and
the inputs go deep. `make fuzz-python` gives them more."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parent / "fuzz/fuzz_python.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_python", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_python"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


fuzz = _load()


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_nothing_is_found(name: str) -> None:
    found = fuzz.run_random(name, 250)
    assert found["fine"] > 20
    if fuzz.TARGETS[name].expected:
        assert len(found) > 1


def test_a_finding_is_raised_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def check(data: bytes) -> None:
        assert b"\xff" not in data

    monkeypatch.chdir(tmp_path)
    target = fuzz.Target(check, lambda: iter([b"seed"]), ())
    monkeypatch.setitem(fuzz.TARGETS, "planted", target)
    with pytest.raises(AssertionError):
        fuzz.run_random("planted", 1000)
    (kept,) = (tmp_path / "build/fuzz-python").iterdir()
    assert b"\xff" in kept.read_bytes()
