"""What the package needs: numpy for columns, scramp for SCRAM; each only where it is used."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hotrod_codec

PACKAGE = Path(hotrod_codec.__file__).parent
# Libraries of others, by the name that is imported.
DISTRIBUTIONS = {
    "numpy": "numpy",
    "opentelemetry": "opentelemetry-api",
    "rich": "rich",
    "scramp": "scramp",
    "google": "protobuf",
    "pytest": "pytest",
}
# Modules that are for users of an extra and may import it at once.
EAGER = {"hotrod_codec.pytest_plugin": "pytest"}


def in_a_new_process(code: str) -> list[str]:
    """Names that `code` prints, in an interpreter of its own."""
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, timeout=120
    ).stdout.split()


def requirements() -> dict[str, set[str]]:
    """Names that the package requires, by extra; "" for what it always requires."""
    found: dict[str, set[str]] = {}
    for line in importlib.metadata.requires("hotrod-codec") or []:
        extra = re.search(r"extra == [\"'](\w+)", line)
        name = re.split(r"[^\w-]", line)[0]
        found.setdefault(extra[1] if extra else "", set()).add(name)
    return found


def test_numpy_is_the_only_thing_that_is_always_required() -> None:
    assert requirements()[""] == {"numpy"}
    assert requirements()["client"] == {"scramp"}


SLOW = [
    "argparse",
    "asyncio",
    "concurrent",
    "ctypes",
    "email",
    "hashlib",
    "http",
    "importlib.metadata",
    "importlib.resources",
    "json",
    "logging",
    "multiprocessing",
    "numpy",
    "random",
    "selectors",
    "shutil",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "unittest",
    "urllib",
    "uuid",
    "zipfile",
]


def test_import_loads_nothing_slow() -> None:
    # What the process had before does not count: an editable install loads some of them itself.
    code = """
import sys
before = set(sys.modules)
import hotrod_codec
hotrod_codec.Reader(role="client")
hotrod_codec.encode_request("get", version="4.0", message_id=1, key=b"k")
print(*set(sys.modules) - before)
"""
    loaded = in_a_new_process(code)
    assert "hotrod_codec._ext.codec" in loaded
    assert [name for name in SLOW if name in loaded] == []


BLOCKED = """
import importlib, pkgutil, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)

blocked = set(%r)
sys.meta_path.insert(0, Block())
import hotrod_codec
names = [m.name for m in pkgutil.walk_packages(hotrod_codec.__path__, "hotrod_codec.")]
names = [name for name in names if not name.endswith("__main__") and name not in %r]
for name in names:
    importlib.import_module(name)
print(*names)
"""


def test_every_module_can_be_imported_without_the_libraries_of_others() -> None:
    names = in_a_new_process(BLOCKED % (sorted(DISTRIBUTIONS), sorted(EAGER)))
    assert {"hotrod_codec.cli", "hotrod_codec.sasl", "hotrod_codec._ext.hashing"} <= set(names)


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports somewhere, but for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unused: set[ast.AST] = set()
    found = set()
    for node in ast.walk(tree):  # outer nodes first
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if for_types or node in unused:
            unused |= set(ast.iter_child_nodes(node))
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.relative_to(PACKAGE).as_posix()
)
def test_whatever_is_imported_is_declared(path: Path) -> None:
    others = imported(path) - set(sys.stdlib_module_names) - {"hotrod_codec"}
    declared = set().union(*requirements().values())
    assert {DISTRIBUTIONS.get(name, name) for name in others} <= declared


# ---- SECURITY.md's table ------------------------------------------------------------------------


def installed(names: set[str]) -> dict[str, importlib.metadata.Distribution]:
    """These libraries and all that they require here, by normal name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        required = map(Requirement, found[name].requires or [])
        waiting += [
            r.name for r in required if r.marker is None or r.marker.evaluate({"extra": ""})
        ]
    return found


def written_licences() -> dict[str, str]:
    text = (Path(__file__).parent.parent / "SECURITY.md").read_text("utf-8")
    rows = re.findall(r"^\| ([^|]+) \| (?:all|extra) [^|]*\| ([^|]+) \|$", text, re.M)
    found: dict[str, str] = {}
    for libraries, licences in rows:
        names = [name.partition(" ")[0] for name in libraries.split(", ")]
        found |= zip(names, licences.split(", "), strict=False)  # a remark may follow
    return found


@pytest.mark.source
def test_licences_of_all_that_users_install_are_written_down() -> None:
    written = written_licences()
    found = installed(set().union(*requirements().values()))
    assert set(written) - {"colorama"} == set(found) - {"colorama"}
    for name, distribution in found.items():
        about = distribution.metadata
        fields = "License-Expression", "License", "Classifier"
        told = [text for field in fields for text in about.get_all(field, [])]
        family = written[name].partition("-")[0]
        assert any(family in text for text in told), (name, family)
