"""The recorded bytes in tests/vectors, as typed values.

Here: reading the files, and nothing else. What the fields mean stands in vectors/README.md;
what the bytes mean is the business of reference.py and of the tests.
"""

from __future__ import annotations

import functools
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent / "vectors"
STREAMS = VECTORS / "streams"
# One recording is an example for users as well and is kept only there.
EXAMPLES = Path(__file__).parent.parent / "examples"

TO_SERVER = 0
TO_CLIENT = 1


@dataclass(frozen=True, slots=True)
class Vector:
    """One recorded exchange, or one event (then `request` is None)."""

    id: str
    source: str
    version: str
    area: str
    op: str
    note: str
    request: bytes | None
    response: bytes | None
    expected: dict[str, Any] | None = None
    fields: dict[str, Any] | None = None
    cache: str | None = None
    remark: str | None = None
    step: str | None = None
    client_set_to: str | None = None
    request_chunks: tuple[bytes, ...] | None = None
    rest: bytes | None = None
    connection_closed_by_server: bool | None = None

    @property
    def version_byte(self) -> int:
        """The version as a number: 41 for "4.1"."""
        major, minor = self.version.split(".")
        return 10 * int(major) + int(minor)

    @property
    def server(self) -> str:
        """The server's release, such as "16.0.7"."""
        return self.source.rsplit("Infinispan ", 1)[1].split(" ", 1)[0]


@dataclass(frozen=True, slots=True)
class Record:
    """One read from a socket: where it ends, the network cut, not the protocol."""

    direction: int
    microseconds: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """One recorded connection. `manifest` holds its line of manifest.json, all keys."""

    path: Path
    source: str
    version: str
    op: str
    note: str
    requests: int
    responses: int
    entries: int | None
    entries_sha256: str | None
    records: tuple[Record, ...]
    manifest: dict[str, Any]

    def sent(self, direction: int) -> bytes:
        """All bytes that went in `direction` (TO_SERVER or TO_CLIENT)."""
        return b"".join(r.data for r in self.records if r.direction == direction)


def _unhex(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def _vector(line: str) -> Vector:
    raw: dict[str, Any] = json.loads(line)
    for name in ("request", "response", "rest"):
        raw[name] = _unhex(raw.get(name))
    if (chunks := raw.get("request_chunks")) is not None:
        raw["request_chunks"] = tuple(bytes.fromhex(chunk) for chunk in chunks)
    return Vector(**raw)


@functools.cache
def areas() -> tuple[str, ...]:
    """The names that `load` takes, sorted."""
    return tuple(sorted(path.name.split(".")[0] for path in VECTORS.glob("*.jsonl.gz")))


@functools.cache
def load(area: str) -> list[Vector]:
    """The vectors of one area in the order of the recording."""
    with gzip.open(VECTORS / f"{area}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [_vector(line) for line in lines]


@functools.cache
def load_all() -> list[Vector]:
    """The vectors of all areas."""
    return [vector for area in areas() for vector in load(area)]


def _document(name: str) -> dict[str, Any]:
    with gzip.open(VECTORS / f"{name}.json.gz", "rt", encoding="utf-8") as text:
        document: dict[str, Any] = json.load(text)
    return document


@functools.cache
def murmur3() -> dict[str, Any]:
    """Hash vectors: `vectors`, `int_vectors`, `segment_size`, `bloom`; described by `fields`."""
    return _document("murmur3")


@functools.cache
def protostream() -> dict[str, Any]:
    """WrappedMessage vectors: `encode_vectors`, `decode_vectors`, the `schema` that they use."""
    return _document("protostream")


@functools.cache
def sasl() -> dict[str, Any]:
    """Authentication exchanges: `exchanges` as recorded, `rfc_examples`."""
    return _document("sasl")


def parse_hrs(data: bytes) -> tuple[Record, ...]:
    """Split the content of an .hrs file into its records."""
    if data[:4] != b"HRS1":
        raise ValueError("not a recording: wants b'HRS1' at its start")
    records = []
    at = 4
    while at < len(data):
        size = int.from_bytes(data[at + 9 : at + 13])
        body = data[at + 13 : at + 13 + size]
        if len(data) < at + 13 or len(body) < size:
            raise ValueError(f"the recording ends inside the record at byte {at}")
        records.append(Record(data[at], int.from_bytes(data[at + 1 : at + 9]), body))
        at += 13 + size
    return tuple(records)


def _stream(entry: dict[str, Any]) -> Stream:
    path = STREAMS / entry["file"]
    if not path.exists():
        path = EXAMPLES / entry["file"]
    return Stream(
        path=path,
        source=entry["source"],
        version=entry["version"],
        op=entry["op"],
        note=entry["note"],
        requests=entry["requests"],
        responses=entry["responses"],
        entries=entry.get("entries"),
        entries_sha256=entry.get("entries_sha256"),
        records=parse_hrs(path.read_bytes()),
        manifest=entry,
    )


@functools.cache
def streams() -> list[Stream]:
    """The recorded connections."""
    manifest = json.loads((STREAMS / "manifest.json").read_text(encoding="utf-8"))
    return [_stream(entry) for entry in manifest["streams"]]
