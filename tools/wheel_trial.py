"""Tries a wheel as a user has it: fresh environment, no compiler, tests away from the sources.

    wheel_trial.py [--python PYTHON] [--tree FOLDER] WHEEL [pytest's options]

All of the tree (by default this one) but the package's own code is copied to a temporary folder and
tested there; tests with the marker `source` are about that code and are left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOT_COPIED = ("src", "csrc", "CMakeLists.txt", "build", "dist", ".*", "__pycache__")
COMPILERS = ("cc", "gcc", "clang", "c++", "cl")


def trial(wheel: Path, python: str, source: Path, options: list[str], folder: Path) -> int:
    tree, venv = folder / "tree", folder / "venv"
    shutil.copytree(source, tree, ignore=shutil.ignore_patterns(*NOT_COPIED))
    subprocess.run([python, "-m", "venv", venv], check=True)
    binaries = venv / ("Scripts" if os.name == "nt" else "bin")
    # Nothing of the outer environment but what programs cannot do without.
    kept = ("HOME", "LANG", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "USERPROFILE")
    prefixes = ("PIP_", "SSL_", "HTTP", "NO_PROXY", "http", "no_proxy")
    environment = {k: v for k, v in os.environ.items() if k in kept or k.startswith(prefixes)}
    environment["PATH"] = str(binaries)
    for name in COMPILERS:
        assert shutil.which(name, path=str(binaries)) is None, name

    def run(*arguments: str | Path, check: bool = True) -> int:
        command = [binaries / "python", "-m", *arguments]
        return subprocess.run(command, cwd=tree, env=environment, check=check).returncode

    run("pip", "-q", "install", "--upgrade", "pip>=25.1")  # that knows --group
    run("pip", "-q", "install", "--only-binary", ":all:", "--group", "test", wheel.resolve())
    return run("pytest", "-q", "-m", "not source", *options, check=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--tree", type=Path, default=ROOT)
    parser.add_argument("wheel", type=Path)
    arguments, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="hotrod-wheel-") as folder:
        return trial(arguments.wheel, arguments.python, arguments.tree, options, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
