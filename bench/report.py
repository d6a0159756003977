"""Tables and plots of a run: from bench-result.json to Markdown and SVG.

python -m bench.report bench-result.json            bench-result.svg beside it
python -m bench.report bench-result.json --docs     the block and the plot in docs/
python -m bench.report bench-result.json --summary  Markdown to the terminal
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"


# ---- results ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A row and one of its references."""

    row: str
    ns: float
    reference: str
    reference_ns: float
    ratio: float
    goal: float | None

    @property
    def met(self) -> bool:
        return self.goal is None or self.ratio <= self.goal

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        return "met" if self.met else f"missed: {self.ratio / self.goal:.2f} x the goal"


def read(path: Path) -> tuple[list[Line], dict[str, Any]]:
    """The lines of a run, and what it ran on."""
    data = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        Line(info["row"], info["ns"], name, it["reference_ns"], it["median"], it["goal"])
        for info in (benchmark["extra_info"] for benchmark in data["benchmarks"])
        for name, it in info["references"].items()
        if name != "base"
    ]
    return lines, data["machine_info"]


def nanoseconds(ns: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns"


def markdown(lines: Sequence[Line], machine: dict[str, Any]) -> str:
    """The table of goals."""
    cpu = machine.get("cpu", {}).get("brand_raw", platform.machine())
    out = [
        f"CPython {machine['python_version']}, {machine['system']}, {cpu}.",
        "",
        "| row | ours | reference | its time | ratio | goal | |",
        "|---|--:|---|--:|--:|--:|---|",
    ]
    last = ""
    for line in lines:
        row, ours = (line.row, nanoseconds(line.ns)) if line.row != last else ("", "")
        last = line.row
        goal = "" if line.goal is None else f"{line.goal:g}"
        out.append(
            f"| {row} | {ours} | {line.reference} | {nanoseconds(line.reference_ns)} "
            f"| {line.ratio:.2f} | {goal} | {line.verdict} |"
        )
    return "\n".join(out)


def rewrite_block(path: Path, name: str, text: str) -> None:
    """Put `text` between the marks of the block `name` of a Markdown file."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = path.read_text(encoding="utf-8")
    if old.count(begin) != 1 or old.count(end) != 1 or old.index(begin) > old.index(end):
        raise ValueError(f"{path.name}: wants one block from '{begin}' to '{end}'")
    before, after = old[: old.index(begin)], old[old.index(end) :]
    path.write_text(f"{before}{begin}\n\n{text}\n\n{after}", encoding="utf-8")


# ---- plots -----------------------------------------------------------------------------------

# Colours that can be told apart on white and on black; text follows the reader's scheme.
STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #24292f }
.small { font-size: 11px; fill: #57606a }
.title { font-size: 14px; font-weight: 600 }
.end { text-anchor: end } .middle { text-anchor: middle }
.line { stroke: #d0d7de } .goal { stroke: #24292f; stroke-dasharray: 4 3 }
.met { fill: #1a7f5a } .missed { fill: #c2410c } .none { fill: #8c959f }
.s0 { stroke: #0969da } .s1 { stroke: #c2410c } .s2 { stroke: #1a7f5a }
.s3 { stroke: #8250df } .s4 { stroke: #9a6700 } .s5 { stroke: #cf222e }
.curve { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9da7b3 }
  .line { stroke: #3d444d } .goal { stroke: #e6edf3 }
  .met { fill: #3fb984 } .missed { fill: #f0883e }
  .s0 { stroke: #58a6ff } .s1 { stroke: #f0883e } .s2 { stroke: #3fb984 }
  .s3 { stroke: #bc8cff } .s4 { stroke: #d29922 } .s5 { stroke: #ff7b72 }
}
"""


def text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(words)}</text>'


def stroke(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def svg(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def ratios_plot(lines: Sequence[Line]) -> str:
    """A bar for each row and reference: our time relative to it, with the goal as a tick."""
    left, right, top, step = 400.0, 760.0, 56.0, 20.0
    values = [v for line in lines for v in (line.ratio, line.goal) if v]
    low = min(0.1, *values) / 1.2
    high = max(2.0, *values) * 1.2

    def x(ratio: float) -> float:
        return left + (right - left) * math.log(ratio / low) / math.log(high / low)

    height = top + step * len(lines) + 34
    bottom = height - 30
    parts = [
        text(12, 22, "Time relative to a reference in the same run (shorter is faster)", "title"),
        text(12, 40, "bar: our time / the reference's; dashed: the goal; log scale", "small"),
    ]
    for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50):
        if low <= tick <= high:
            parts += [
                stroke(x(tick), top - 6, x(tick), bottom, "line"),
                text(x(tick), bottom + 16, f"{tick:g}", "small middle"),
            ]
    last = ""
    for i, line in enumerate(lines):
        y = top + step * i
        if line.row != last:
            parts.append(text(12, y + 12, line.row.replace("_", " ")))
            last = line.row
        kind = "none" if line.goal is None else "met" if line.met else "missed"
        parts.append(text(left - 8, y + 12, line.reference, "small end"))
        parts.append(
            f'<rect x="{left:.1f}" y="{y + 2:.1f}" width="{x(line.ratio) - left:.1f}" height="12" '
            f'rx="2" class="{kind}"/>'
        )
        parts.append(text(x(line.ratio) + 5, y + 12, f"{line.ratio:.2f}", "small"))
        if line.goal is not None:
            parts.append(stroke(x(line.goal), y - 1, x(line.goal), y + 17, "goal"))
    return svg(right + 60, height, "Time relative to references", parts)


@dataclass(frozen=True, slots=True)
class Curve:
    name: str
    points: Sequence[tuple[float, float]]


def curves_plot(title: str, x_name: str, y_name: str, curves: Sequence[Curve]) -> str:
    """Curves in a log-log frame, with their names at their right ends."""
    left, right, top, bottom = 70.0, 620.0, 60.0, 380.0
    xs = [px for curve in curves for px, _ in curve.points]
    ys = [py for curve in curves for _, py in curve.points if py > 0]
    x0, x1 = math.floor(math.log10(min(xs))), math.ceil(math.log10(max(xs)))
    y0, y1 = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))

    def at(px: float, py: float) -> tuple[float, float]:
        across = (math.log10(px) - x0) / max(1, x1 - x0)
        up = (math.log10(max(py, 10**y0)) - y0) / max(1, y1 - y0)
        return left + (right - left) * across, bottom - (bottom - top) * up

    parts = [text(12, 22, title, "title"), text(12, 42, y_name, "small")]
    for power in range(x0, x1 + 1):
        x, _ = at(10.0**power, 10.0**y0)
        parts += [
            stroke(x, top, x, bottom, "line"),
            text(x, bottom + 18, f"{10**power:,}", "small middle"),
        ]
    for power in range(y0, y1 + 1):
        _, y = at(10.0**x0, 10.0**power)
        parts += [
            stroke(left, y, right, y, "line"),
            text(left - 8, y + 4, f"{10.0**power:g}", "small end"),
        ]
    parts.append(text((left + right) / 2, bottom + 38, x_name, "small middle"))
    ends: list[float] = []
    for i, curve in enumerate(sorted(curves, key=lambda c: -c.points[-1][1])):
        points = [at(px, py) for px, py in curve.points]
        parts.append(
            f'<polyline class="curve s{i % 6}" points="'
            + " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            + '"/>'
        )
        x, y = points[-1]
        label = max(y + 4, ends[-1] + 14 if ends else 0)
        ends.append(label)
        parts += [stroke(right + 8, label - 4, right + 24, label - 4, f"curve s{i % 6}"),
                  text(right + 30, label, curve.name)]  # fmt: skip
    return svg(right + 230, bottom + 50, title, parts)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Tables and plots of a run.")
    parser.add_argument("result", type=Path)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--docs", action="store_true", help="write docs/performance.md's block")
    where.add_argument("--summary", action="store_true", help="print Markdown")
    options = parser.parse_args(arguments)
    lines, machine = read(options.result)
    plot = ratios_plot(lines)
    if options.summary:
        print(markdown(lines, machine))
    elif options.docs:
        (DOCS / "performance.svg").write_text(plot, encoding="utf-8")
        rewrite_block(DOCS / "performance.md", "goals", markdown(lines, machine))
    else:
        options.result.with_suffix(".svg").write_text(plot, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
