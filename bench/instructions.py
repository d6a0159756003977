"""Instructions of a row's call, counted by valgrind: the same on every run.

    python -m bench.instructions ROOT ROW=CALLS ...     what runs under callgrind

Calls into the reference extension's `mark` cut the profile in parts. The rows run one after the
other in one process, as starting one takes seconds there. Absolute counts change with compiler and
interpreter: compare builds that were made and counted together.
"""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

from bench.rows import HERE, build_at, collect, import_bare

MARK = "hotrod_bench_mark"  # in bare/bare.c
MOST_CALLS = 1000
ROW_NS = 200_000  # of calls that are counted, at the speed without valgrind
SLOWEST_NS = 5_000_000  # a row beyond that would take minutes


def available() -> bool:
    return sys.platform == "linux" and shutil.which("valgrind") is not None


def calls_for(ns: float) -> int:
    """How many calls of a row to count, 0 for none."""
    return 0 if ns > SLOWEST_NS else max(1, min(MOST_CALLS, int(ROW_NS / ns)))


class Count:
    """A run under callgrind, which goes on beside others.

    Args:
        root: A folder with a build; None for what is installed.
        calls: Of each row.
    """

    def __init__(self, root: Path | None, calls: Mapping[str, int], out: Path) -> None:
        self._out = out
        out.unlink(missing_ok=True)
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        valgrind += ["--combine-dumps=yes", f"--dump-before={MARK}"]
        if shutil.which("setarch"):
            valgrind = ["setarch", "-R", *valgrind]  # addresses alike on each run
        rows = [f"{row}={count}" for row, count in calls.items()]
        self._process = subprocess.Popen(
            [*valgrind, sys.executable, "-m", "bench.instructions", str(root or ""), *rows],
            cwd=HERE.parent,
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def result(self) -> dict[str, float]:
        """Instructions of one call, by row."""
        out, err = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"callgrind: exit status {self._process.returncode}\n{err[-3000:]}")
        # The part before the first mark is the start of the interpreter.
        parts = [int(n) for n in re.findall(r"^totals: (\d+)", self._text(), re.M)][1:]
        counted = {}
        for line in out.splitlines():
            row, first, second, calls = line.split("=")
            before = parts[int(first)] if first != second else 0
            counted[row] = (parts[int(second)] - before) / int(calls)
        return counted

    def _text(self) -> str:
        return self._out.read_text(encoding="utf-8")


def main(root: str, *rows: str) -> None:
    """Run each row's calls between marks, and tell between which ones."""
    calls = {row: int(count) for row, count in (argument.split("=") for argument in rows)}
    mark = import_bare().mark
    part = 0
    with build_at(Path(root)) if root else nullcontext():
        sides, problems = collect(calls)
        for row, side in sides.items():
            # Twice as many calls less so many: what a loop costs beside its calls falls out.
            many = 1 if side.has_setup else calls[row]
            runs = [many] if side.has_setup else [many, 2 * many]
            side.prepare()
            side.run(many)
            first = part
            for count in runs:
                side.prepare()
                # When the next collection comes is chance; rows of many objects ask for theirs.
                gc.collect()
                gc.disable()
                mark()
                side.run(count)
                mark()
                gc.enable()
                part += 2
            print(row, first, part - 2, many, sep="=")
    for row, problem in problems.items():
        print(f"{row}: {problem}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
