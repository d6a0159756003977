"""How fast this installation is: a few rows, relative to plain CPython in the same process.

    python -m hotrod_codec.bench                                a table
    python -m hotrod_codec.bench --json                         for a program
    python -m hotrod_codec.bench --write-limits limits.json     what is measured now, and a margin
    python -m hotrod_codec.bench --check limits.json            exit status 1 where it is exceeded

Ratios depend on Python, compiler and processor, much less on what else the machine does: write the
limits on the kind of machine that checks them. Needs nothing that the package does not need.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hotrod_codec
from hotrod_codec import protostream
from hotrod_codec._paired import Measured, Side, measure

__all__ = ["ROWS", "Row", "main", "run"]

_COUNT = 1000
_VERSION = "4.1"
_REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class Row:
    """Our expression and one of plain CPython that makes as much of the same kind."""

    ours: str
    reference: str
    held: bool = False


ROWS: dict[str, Row] = {
    "encode_put": Row(
        "encode_request('put', message_id=300, key=key, value=value)", "join((head, key, value))"
    ),
    "decode_get": Row("decode_response(got, get)", "got[-100:]"),
    "read_1000_gets": Row(
        "read(stream)", "[stream[at:at + 100] for at in starts_of_values]", held=True
    ),
    "bulk_get_1000": Row(
        "decode_response(bulk, bulk_get).entries",
        "[(bulk[at:at + 20], bulk[at + 21:at + 121]) for at in starts_of_entries]",
        held=True,
    ),
    "murmur3": Row("murmur3(key)", "key[1:]"),
    "segments_of_1000_keys": Row("segments_of(keys, 256)", "[key[1:] for key in keys]"),
    "protostream_encode": Row("encode(text)", "text.encode()"),
    "protostream_decode": Row("decode(wrapped)", "wrapped[2:].decode()"),
}
"""Keys of 20 bytes, values of 100. `held`: one collection of the garbage collector counts in."""


def _names() -> dict[str, Any]:
    """What the expressions refer to."""
    keys = [b"key:%016d" % i for i in range(_COUNT)]
    value = bytes(range(100))

    def get_response(message_id: int) -> bytes:
        return hotrod_codec.encode_response(
            "get", version=_VERSION, message_id=message_id, value=value
        )

    frames = [get_response(300 + i) for i in range(_COUNT)]
    bulk = hotrod_codec.encode_response(
        "bulk_get", version=_VERSION, message_id=300, entries=[(key, value) for key in keys]
    )
    get = hotrod_codec.RequestContext("get", _VERSION)

    def read(stream: bytes) -> list[Any]:
        reader = hotrod_codec.Reader()
        for i in range(_COUNT):
            reader.expect(get, 300 + i)
        reader.feed(stream)
        return list(reader)

    entry = 1 + 1 + 20 + 1 + 100
    first = len(bulk) - 1 - _COUNT * entry
    text = "user:0123456789abcdef"[:20]
    return {
        "encode_request": hotrod_codec.encode_request,
        "decode_response": hotrod_codec.decode_response,
        "murmur3": hotrod_codec.murmur3,
        "segments_of": hotrod_codec.segments_of,
        "encode": protostream.encode,
        "decode": protostream.decode,
        "join": b"".join,
        "head": bytes(12),
        "key": keys[0],
        "keys": keys,
        "value": value,
        "got": frames[0],
        "get": get,
        "stream": b"".join(frames),
        "read": read,
        "starts_of_values": [(i + 1) * len(frames[0]) - 100 for i in range(_COUNT)],
        "bulk": bulk,
        "bulk_get": hotrod_codec.RequestContext("bulk_get", _VERSION),
        "starts_of_entries": range(first + 2, first + 2 + _COUNT * entry, entry),
        "text": text,
        "wrapped": protostream.encode(text),
    }


def run(
    rows: Sequence[str] = tuple(ROWS), *, rounds: int = 101, seconds: float = 0.0004
) -> dict[str, Measured]:
    """Measure `rows`.

    Args:
        rows: Names in ROWS.
        rounds: How often each row and its reference are timed; the median counts.
        seconds: How long each at least.
    """
    names = _names()
    results = {}
    for name in rows:
        row = ROWS[name]
        ours = Side(row.ours, names, held=row.held)
        reference = Side(row.reference, names, held=row.held)
        results[name] = measure(ours, {_REFERENCE: reference}, rounds=rounds, seconds=seconds)
    return results


def _as_json(results: Mapping[str, Measured]) -> dict[str, Any]:
    return {
        "package": hotrod_codec.__version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "machine": platform.machine(),
        "system": platform.system(),
        "rows": {
            name: {
                "ratio": round(measured.ratios[_REFERENCE].median, 4),
                "low": round(measured.ratios[_REFERENCE].low, 4),
                "high": round(measured.ratios[_REFERENCE].high, 4),
                "ns": round(measured.ns, 1),
                "reference_ns": round(measured.ratios[_REFERENCE].reference_ns, 1),
                "expression": ROWS[name].ours,
                "reference": ROWS[name].reference,
            }
            for name, measured in results.items()
        },
    }


def _read_limits(path: Path) -> dict[str, float]:
    """Raises ValueError when it is no JSON object of row: ratio."""
    limits = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(limits, dict) or not limits:
        raise ValueError("wants an object of row: largest ratio")
    for row, limit in limits.items():
        if row not in ROWS:
            raise ValueError(f"no row {row!r}; there are {', '.join(ROWS)}")
        if isinstance(limit, bool) or not isinstance(limit, int | float) or limit <= 0:
            raise ValueError(f"{row}: wants a positive number, got {limit!r}")
    return limits


def _exceeded(results: Mapping[str, Measured], limits: Mapping[str, float]) -> list[str]:
    return [row for row in limits if results[row].ratios[_REFERENCE].median > limits[row]]


def _table(results: Mapping[str, Measured], limits: Mapping[str, float]) -> list[str]:
    lines = [f"{'row':24} {'ours ns':>10} {'reference ns':>13} {'ratio':>7} {'limit':>7}"]
    exceeded = _exceeded(results, limits)
    for row, measured in results.items():
        ratio = measured.ratios[_REFERENCE]
        limit = f"{limits[row]:7.2f}" if row in limits else ""
        verdict = " exceeded" if row in exceeded else ""
        lines.append(
            f"{row:24} {measured.ns:10,.1f} {ratio.reference_ns:13,.1f} {ratio.median:7.2f} "
            f"{limit}{verdict}".rstrip()
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status: 0, or 1 when a limit is exceeded."""
    parser = argparse.ArgumentParser(
        prog="python -m hotrod_codec.bench",
        description="Time relative to plain CPython, measured in one process.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    parser.add_argument("--rounds", type=int, default=101, help="rounds of each row (101)")
    parser.add_argument("--check", type=Path, metavar="FILE", help="fail above these limits")
    parser.add_argument(
        "--write-limits", type=Path, metavar="FILE", help="write the ratios and --margin as limits"
    )
    parser.add_argument("--margin", type=float, default=1.3, help="of --write-limits (1.3)")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds: wants at least 1")
    limits: dict[str, float] = {}
    if options.check is not None:
        try:
            limits = _read_limits(options.check)
        except (OSError, ValueError) as problem:
            parser.error(f"--check {options.check}: {problem}")
    results = run(tuple(limits or ROWS), rounds=options.rounds)
    if exceeded := _exceeded(results, limits):
        again = run(exceeded, rounds=options.rounds)  # too slow counts only if it is so twice
        results |= {row: results[row].or_better(again[row]) for row in exceeded}
        exceeded = _exceeded(results, limits)
    if options.write_limits is not None:
        ratios = {row: measured.ratios[_REFERENCE].median for row, measured in results.items()}
        written = {row: float(f"{ratio * options.margin:.3g}") for row, ratio in ratios.items()}
        options.write_limits.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    if options.json:
        print(json.dumps(_as_json(results) | {"limits": limits, "exceeded": exceeded}, indent=2))
    else:
        print("\n".join(_table(results, limits)))
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
