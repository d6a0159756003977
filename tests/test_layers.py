"""Who may import whom, and what the core may use: read from the sources."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.source

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src/hotrod_codec"
CSRC = ROOT / "csrc"

# Lower layers first; a module imports only from lower ones (or, within a layer, as listed).
LAYERS = [
    ["ops", "_paired"],
    ["errors"],
    ["values"],
    ["_ext"],
    ["protostream", "sasl"],
    ["admin", "marshallers"],
    ["server", "client"],
    ["recording", "pcap", "bench", "_meaning"],
    ["explain"],
    ["_terminal"],
    ["_demo", "_serve"],
    ["cli", "integrations", "pytest_plugin"],
    ["__main__"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def top(module: str) -> str:
    """ "hotrod_codec._ext.codec" -> "_ext"; the package itself is on top of the codec."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "_ext"


def imports_of(path: Path) -> set[str]:
    """Modules of this package that a file imports, .pyx included."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".pyx":
        return set(re.findall(r"^\s*(?:from|cimport|import)\s+(hotrod_codec[\w.]*)", text, re.M))
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            if node.module == "hotrod_codec":
                submodules = {p.stem for p in PACKAGE.iterdir()}
                found |= {
                    f"{node.module}.{a.name}" if a.name in submodules else node.module
                    for a in node.names
                }
            else:
                found.add(node.module)
    return {name for name in found if name.split(".")[0] == "hotrod_codec"}


SOURCES = sorted(p for p in PACKAGE.rglob("*.py*") if p.suffix in (".py", ".pyx"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downwards(path: Path) -> None:
    name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if name == "__init__":
        return
    assert name in RANK, f"{name}: say in LAYERS where it belongs"
    for module in imports_of(path):
        other = top(module)
        assert other == name or RANK[other] < RANK[name], f"{name} imports {module}"


def test_client_and_server_never_import_each_other() -> None:
    for side, other in (("client", "server"), ("server", "client")):
        for path in PACKAGE.glob(f"{side}/**/*.py"):
            assert not any(top(module) == other for module in imports_of(path)), path


FORBIDDEN = re.compile(
    r"Python\.h|\b(malloc|calloc|realloc|free|alloca|printf|fopen|read|write|recv|send|time|clock|"
    r"rand|pow|exp|log|strtol|pthread_\w+)\s*\("
)


@pytest.mark.parametrize("path", sorted(CSRC.glob("*.[ch]")), ids=lambda p: p.name)
def test_the_core_uses_neither_python_nor_heap_nor_io(path: Path) -> None:
    code = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.S)
    found = FORBIDDEN.search(code)
    assert found is None, found
    # Nothing that could change: whatever lives longer than a call is const.
    for line in re.findall(r"^static (?!inline)[^(]*[=;]", code, re.M):
        assert "const" in line, f"{path.name}: {line}"


def test_nothing_in_the_extensions_changes_after_import() -> None:
    for path in PACKAGE.glob("_ext/*.pyx"):
        text = path.read_text(encoding="utf-8")
        assert "freethreading_compatible=True" in text.splitlines()[0], path
        assert not re.search(r"^\s+global ", text, re.M), path
