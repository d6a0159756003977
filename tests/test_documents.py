"""README and docs: samples run as they stand, links lead somewhere, the reference is complete."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# Pages that need no samples: tables, and pages that only point to a document elsewhere.
WITHOUT_SAMPLES = {
    "architecture.md",
    "benchmarks.md",
    "changelog.md",
    "comparison.md",
    "configuration.md",
    "contributing.md",
    "coverage.md",
    "decisions.md",
    "examples.md",
    "index.md",
    "interoperability.md",
    "operations.md",
    "performance.md",
    "security.md",
    "wheels.md",
    "bad-inputs.md",
}
FENCES = {"python", "{toctree}", "java", "javascript", "text", "sh", "xml"}

# Where public names come from, beside hotrod_codec itself.
PUBLIC = ["", ".admin", ".client", ".errors", ".marshallers", ".pcap", ".protostream"]
PUBLIC += [".recording", ".sasl", ".server"]


SAMPLE = re.compile(r"^(<!-- on a real server -->\n)?```python\n(.*?)^```", re.M | re.S)


def samples(*, on_real_server: bool = False) -> list[tuple[str, str]]:
    """Places and code. Those that want a real server, tests/integration/test_documents.py runs."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        for match in SAMPLE.finditer(text):
            if bool(match[1]) == on_real_server:
                line = text[: match.start(2)].count("\n")
                found.append((f"{path.name}:{line}", match[2]))
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


def test_every_guide_has_samples() -> None:
    with_samples = {place.partition(":")[0] for place, _ in samples()}
    assert {path.name for path in DOCUMENTS} == with_samples | WITHOUT_SAMPLES
    assert not with_samples & WITHOUT_SAMPLES


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_no_sample_hides(path: Path) -> None:
    """A fence in another form would not be found above."""
    openings = re.findall(r"^[ >]*(?:```|~~~)([^`\n]*)$", path.read_text("utf-8"), re.M)
    assert set(openings[::2]) <= FENCES
    assert set(openings[1::2]) <= {""}


@pytest.mark.source  # README links to what lies beside it
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name}: {target}"


# ---- the reference -------------------------------------------------------------------------------


def thing_called(name: str) -> Any:
    module, _, rest = name.rpartition(".")
    return getattr(import_module(module), rest)


def documented() -> dict[str, Any]:
    pages = (ROOT / "docs/reference").glob("*.rst")
    text = "\n".join(path.read_text("utf-8") for path in pages)
    names = re.findall(r"^\.\. (?:auto|py:)\w+:: (hotrod_codec[\w.]+)", text, re.M)
    assert len(names) == len(set(names)), "documented twice"
    return {name: thing_called(name) for name in names}


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    home = import_module(f"hotrod_codec{module}")
    there = {id(thing) for thing in documented().values()}
    assert [name for name in home.__all__ if id(getattr(home, name)) not in there] == []


def test_what_the_reference_shows_has_docstrings() -> None:
    missing = []
    for name, thing in documented().items():
        if not inspect.isclass(thing):
            continue
        members = [
            member
            for member, value in vars(thing).items()
            if not member.startswith("_")
            and (inspect.isroutine(value) or isinstance(value, property))
            and not inspect.getdoc(getattr(thing, member))
        ]
        missing += [f"{name}.{member}" for member in members]
        first = rf"{thing.__name__}\([^\n]*\n*"  # what Cython writes
        if not re.sub(first, "", thing.__doc__ or ""):
            missing.append(name)
    assert missing == []
