"""Compares what is built for a release with what is written down.

    dist_check.py plan              build identifiers of cibuildwheel: with docs/wheels.md
    dist_check.py release FOLDER    all files of a release: with that table and the version
    dist_check.py wheel FILE...     wheels: with tools/wheel-files.txt; their tags and symbols
    dist_check.py sdist FILE        source archive: with the files under version control
    dist_check.py list [--write]    tools/wheel-files.txt: with the sources

Builds nothing. Ends with status 1 and says what to do when something differs.
"""

from __future__ import annotations

import argparse
import fnmatch
import io
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs/wheels.md"
WHEEL_FILES = ROOT / "tools/wheel-files.txt"
PLATFORMS = ("linux", "macos", "windows")  # cibuildwheel's; architectures stand in pyproject.toml

# Files of the wheel itself; auditwheel and delocate may not add any more (libraries, for example).
DIST_INFO = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")


class Difference(Exception):
    """What was built is not what was written down."""


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def compare(what: str, found: Iterable[str], written: Iterable[str], advice: str) -> None:
    """Raise Difference, with every name that only one side has, unless both are the same."""
    found, written = set(found), set(written)
    lines = [f"  not expected: {name}" for name in sorted(found - written)]
    lines += [f"  missing:      {name}" for name in sorted(written - found)]
    if lines:
        raise Difference("\n".join([f"{what}:", *lines, advice]))


# ---- the set of wheels --------------------------------------------------------------------------


def table(text: str) -> set[tuple[str, str]]:
    """(Python tag, platform tag) of each wheel: ("cp314t", "win_arm64")."""
    wheels = set()
    for line in text.splitlines():
        platform, *pythons = [cell.strip() for cell in line.strip("| ").split("|")]
        if re.fullmatch(r"(manylinux|musllinux|macosx|win)_\w+", platform):
            wheels |= {(python, platform) for python in pythons if python}
    return wheels


def expected_wheels() -> set[tuple[str, str]]:
    return table(TABLE.read_text(encoding="utf-8"))


def identifier(python: str, platform: str) -> str:
    """cibuildwheel's name, which knows no system's version: "cp311-manylinux_x86_64"."""
    return f"{python}-" + re.sub(r"^([a-z]+)_\d+_\d+_", r"\1_", platform)


def plan() -> None:
    found: list[str] = []
    for platform in PLATFORMS:
        command = [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers"]
        found += output(*command, "--platform", platform).split()
    written = {identifier(*wheel) for wheel in expected_wheels()}
    advice = "Change [tool.cibuildwheel] in pyproject.toml, or the table in docs/wheels.md."
    compare("cibuildwheel would not build what the table says", found, written, advice)
    print(f"cibuildwheel: {len(found)} wheels, as in {TABLE.relative_to(ROOT)}")


def tags_of(wheel: str) -> tuple[str, list[str]]:
    """Python tag ("cp314t" for free-threaded ones) and platform tags of a wheel's file name."""
    _, _, python, abi, platforms = wheel.removesuffix(".whl").split("-")
    if abi.removesuffix("t") != python:
        raise Difference(f"{wheel}: is for one version of CPython, so ABI and Python must agree")
    return abi, platforms.split(".")


def place_of(wheel: str) -> tuple[str, str]:
    """The cell of the table that a wheel fills."""
    python, platforms = tags_of(wheel)
    for platform in platforms:
        if (python, platform) in expected_wheels():
            return python, platform
    return python, ".".join(platforms)


def release(folder: Path) -> None:
    name = project()["project"]["name"].replace("-", "_")
    version = project()["project"]["version"]
    written = {f"{name}-{version} {python} {platform}" for python, platform in expected_wheels()}
    found = []
    for path in folder.iterdir():
        if path.suffix == ".whl":
            python, platform = place_of(path.name)
            found.append(f"{'-'.join(path.name.split('-')[:2])} {python} {platform}")
        else:
            found.append(path.name)
    advice = "docs/wheels.md has the table, pyproject.toml the version and [tool.cibuildwheel]."
    compare(f"files in {folder}", found, {*written, f"{name}-{version}.tar.gz"}, advice)
    print(f"{folder}: {len(found)} files, as in {TABLE.relative_to(ROOT)}")


# ---- the files in a wheel -----------------------------------------------------------------------


def files_from_sources() -> list[str]:
    """What a wheel has to hold. A compiled module is listed without its tag: "codec.compiled"."""
    excluded = [*project()["tool"]["scikit-build"]["wheel"]["exclude"], "*/__pycache__/*"]
    names = {f"*.dist-info/{name}" for name in DIST_INFO}
    for path in (ROOT / "src/hotrod_codec").rglob("*"):
        name = path.relative_to(ROOT / "src").as_posix()
        if path.suffix == ".pyx":
            names.add(name.removesuffix(".pyx") + ".compiled")
        elif path.is_file() and not any(fnmatch.fnmatch(name, pattern) for pattern in excluded):
            names.add(name)
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    for source, folder in re.findall(r"install\(FILES (\S+) DESTINATION (\S+)\)", cmake):
        names.add(f"{folder}/{Path(source).name}")
    return sorted(names)


def written_files() -> list[str]:
    lines = WHEEL_FILES.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def check_list(write: bool) -> None:
    if write:
        head = "# The files in a wheel; `make wheel-list` writes this (docs/wheels.md).\n"
        text = head + "".join(f"{name}\n" for name in files_from_sources())
        WHEEL_FILES.write_text(text, encoding="utf-8")
    advice = "If the sources are right, `make wheel-list` and commit tools/wheel-files.txt."
    compare("the sources' files for a wheel", files_from_sources(), written_files(), advice)


COMPILED = re.compile(r"(.+)\.(?:cpython-|cp)(\d+t?)-[^/]+\.(?:so|pyd)")


def untagged(name: str, python: str) -> str:
    """A file's name as in the list. The tag of a compiled module must be that of the wheel."""
    compiled = COMPILED.fullmatch(name)
    if compiled is None:
        return re.sub(r"^[^/]+\.dist-info/", "*.dist-info/", name)
    stem, tag = compiled.groups()
    if f"cp{tag}" != python:
        raise Difference(f"{name}: not for {python}")
    return f"{stem}.compiled"


def exports(module: bytes) -> set[str]:
    """Names that an ELF file defines for others."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    symbols = ELFFile(io.BytesIO(module)).get_section_by_name(".dynsym")
    assert isinstance(symbols, SymbolTableSection)
    return {
        symbol.name
        for symbol in symbols.iter_symbols()
        if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] != "STB_LOCAL"
    }


def check_wheel(path: Path) -> None:
    python, platforms = tags_of(path.name)
    if not {platform for _, platform in expected_wheels()} & set(platforms):
        raise Difference(
            f"{path.name}: none of its platforms is in docs/wheels.md. On Linux `auditwheel show`\n"
            "says which symbols want a newer system; csrc and the modules must do without them."
        )
    with zipfile.ZipFile(path) as wheel:
        names = [name for name in wheel.namelist() if not name.endswith("/")]
        found = [untagged(name, python) for name in names]
        advice = (
            "If the wheel is right, `make wheel-list` and commit tools/wheel-files.txt. If it\n"
            "lacks a file: CMakeLists.txt installs compiled modules and data, [tool.scikit-build]\n"
            "in pyproject.toml says what else goes in."
        )
        compare(f"files in {path.name}", found, written_files(), advice)
        for name in (name for name in names if name.endswith(".so") and "linux" in platforms[0]):
            module = name.rpartition("/")[2].partition(".")[0]
            compare(
                f"symbols that {name} exports",
                exports(wheel.read(name)),
                {f"PyInit_{module}"},
                "Functions of csrc and of other modules must be hidden or static.",
            )
    print(f"{path.name}: {len(found)} files, {path.stat().st_size:,} bytes: as written down")


# ---- the source archive -------------------------------------------------------------------------


def check_sdist(path: Path) -> None:
    excluded = project()["tool"]["scikit-build"]["sdist"]["exclude"]
    tracked = output("git", "ls-files", "-z").split("\0")
    written = {
        name
        for name in tracked
        if name and not any(fnmatch.fnmatch(name.split("/")[0], pattern) for pattern in excluded)
    }
    with tarfile.open(path) as archive:
        found = {m.name.partition("/")[2] for m in archive.getmembers() if m.isfile()}
    advice = (
        "Commit what belongs there, let .gitignore name what does not, or change sdist.exclude in\n"
        "pyproject.toml."
    )
    compare(f"files in {path.name}", found, written | {"PKG-INFO"}, advice)
    print(
        f"{path.name}: {len(found)} files, {path.stat().st_size:,} bytes: as under version control"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("plan")
    commands.add_parser("release").add_argument("folder", type=Path)
    commands.add_parser("wheel").add_argument("files", type=Path, nargs="+")
    commands.add_parser("sdist").add_argument("file", type=Path)
    commands.add_parser("list").add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    try:
        match arguments.command:
            case "plan":
                plan()
            case "release":
                release(arguments.folder)
            case "wheel":
                for file in arguments.files:
                    check_wheel(file)
            case "sdist":
                check_sdist(arguments.file)
            case "list":
                check_list(arguments.write)
    except Difference as difference:
        print(difference, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
