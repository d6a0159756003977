"""The rows of the test files without pytest, on any build of the package.

Two builds live side by side in one process: their modules are imported under their real names, one
after the other, and those of the first taken out of sys.modules meanwhile. Each extension file is
another file, so each has its own state.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from hotrod_codec._paired import Side

HERE = Path(__file__).resolve().parent
BARE = HERE.parent / "build" / "bare"  # where `make bench` builds the extension
PACKAGE = "hotrod_codec"


class Missing:
    """Stands for a name that a build does not have. Rows that use it are left out."""

    def __init__(self, name: str) -> None:
        self.__name = name

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise LookupError(f"no {self.__name}")

    def __getattr__(self, _: str) -> Any:
        raise LookupError(f"no {self.__name}")


def _is_ours(module: str) -> bool:
    """Whether it is the package or was made with it."""
    return module.split(".")[0] == PACKAGE or module == "bench.inputs"


def _is_editable(finder: Any) -> bool:
    return type(finder).__name__ == "ScikitBuildRedirectingFinder"


@contextmanager
def build_at(root: Path) -> Iterator[None]:
    """Within, `import hotrod_codec` gives the build in the folder `root`."""
    others = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_ours(name)}
    finders, path = sys.meta_path[:], sys.path[:]
    sys.meta_path[:] = [finder for finder in finders if not _is_editable(finder)]
    sys.path.insert(0, str(root))
    try:
        package = importlib.import_module(PACKAGE)
        if package.__file__ is None or not Path(package.__file__).is_relative_to(root):
            raise RuntimeError(f"{root}: no build there; found {package.__file__}")
        package.__dict__["__getattr__"] = lambda name: _submodule_or_missing(package, name)
        yield
    finally:
        for name in list(sys.modules):
            if _is_ours(name):
                del sys.modules[name]
        sys.modules.update(others)
        sys.meta_path[:] = finders
        sys.path[:] = path


def _submodule_or_missing(package: ModuleType, name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        return importlib.import_module(f"{package.__name__}.{name}")
    except ModuleNotFoundError:
        return Missing(name)


def import_bare() -> Any:
    """The reference extension: the same objects, and nothing parsed."""
    sys.path.insert(0, str(BARE))
    try:
        return importlib.import_module("bare")
    except ImportError as e:
        raise RuntimeError(f"no reference extension in {BARE}: run `make bench`") from e
    finally:
        sys.path.remove(str(BARE))


def import_plain() -> Any:
    """The tests' slow codec: the same protocol in Python alone."""
    path = BARE.parent.parent / "tests/reference.py"
    spec = importlib.util.spec_from_file_location("bench_plain", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FIXTURES: dict[str, Callable[[], Any]] = {
    "bare": import_bare,
    "msgpack": lambda: importlib.import_module("msgpack"),
    "hiredis": lambda: importlib.import_module("hiredis"),
    "mmh3": lambda: importlib.import_module("mmh3"),
    "protobuf": lambda: importlib.import_module("google.protobuf.wrappers_pb2"),
    "plain": import_plain,
}


def _tests_of(path: Path) -> dict[str, Callable[..., None]]:
    spec = importlib.util.spec_from_file_location(f"rows_of_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {
        name.removeprefix("test_"): function
        for name, function in vars(module).items()
        if name.startswith("test_")
    }


def collect(wanted: Collection[str] | None = None) -> tuple[dict[str, Side], dict[str, str]]:
    """Our side of the rows, and of those that this build cannot run, why."""
    sides: dict[str, Side] = {}
    problems: dict[str, str] = {}
    for path in sorted(HERE.glob("test_*.py")):
        try:
            tests = _tests_of(path)
        except Exception as problem:
            problems[path.stem] = f"{type(problem).__name__}: {problem}"
            continue
        for row, test in tests.items():
            if wanted is None or row in wanted:
                try:
                    sides[row] = _side_of(test)
                except Exception as problem:  # a name, an argument or a form that it does not have
                    problems[row] = f"{type(problem).__name__}: {problem}"
    return sides, problems


def _side_of(test: Callable[..., None]) -> Side:
    found: list[Side] = []

    def compare(
        ours: str,
        references: Mapping[str, Any],
        names: Mapping[str, Any],
        *,
        setup: str = "",
        held: bool = False,
    ) -> None:
        side = Side(ours, names, setup=setup, held=held)
        side.value()
        found.append(side)

    fixtures = FIXTURES | {"compare": lambda: compare}
    test(**{name: fixtures[name]() for name in inspect.signature(test).parameters})
    (side,) = found
    return side
