"""The Python samples in README and docs run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def samples() -> list[tuple[str, str]]:
    found = []
    for path in DOCUMENTS:
        for match in re.finditer(r"^```python\n(.*?)^```", path.read_text("utf-8"), re.M | re.S):
            line = path.read_text("utf-8")[: match.start()].count("\n") + 1
            found.append((f"{path.name}:{line}", match[1]))
    return found


@pytest.mark.parametrize(("place", "code"), samples(), ids=lambda text: text.partition("\n")[0])
def test_a_sample_runs(place: str, code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{place}: {done.stderr}"


def test_there_are_samples() -> None:
    assert {place.partition(":")[0] for place, _ in samples()} >= {
        "README.md",
        "embedded-server.md",
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name}: {target}"
