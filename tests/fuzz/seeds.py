"""The recorded vectors as inputs of fuzz_codec.c: control bytes, then a frame.

    python tests/fuzz/seeds.py FOLDER     make fuzz-corpus

Here: what the control bytes say of a vector. What they mean stands in fuzz_codec.c.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import samples
import vector_data
from hotrod_codec import Op, Version, trace_request

MOST = 2048  # bytes of a frame; what is longer is only more of the same
ROWS, VERSIONS = list(Op), list(Version)


def seed(
    op: Op, version: Version, frame: bytes, *, answers: bool, flags: int = 0, intelligence: int = 3
) -> bytes:
    pieces = len(frame) % 13
    control = [answers, ROWS.index(op), VERSIONS.index(version), flags & 255, intelligence, 0]
    return bytes([*control, pieces]) + frame


def seeds() -> Iterator[bytes]:
    for sample in samples.SAMPLES:
        answers = sample.context is not None
        yield seed(sample.op, sample.version, sample.frame, answers=answers, flags=1)
    for vector in vector_data.load_all():
        request = None if vector.request is None else trace_request(vector.request)[1]
        if vector.request is not None and len(vector.request) < MOST:
            yield seed(Op.GET, Version.V2_0, vector.request, answers=False)
        if vector.response is None or len(vector.response) >= MOST:
            continue
        if request is None:
            yield seed(Op.PING, Version.V2_0, vector.response, answers=True)
            continue
        yield seed(
            request.op,
            request.version,
            vector.response,
            answers=True,
            flags=int(request.flags),
            intelligence=int(request.intelligence) & 255,
        )


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for each in seeds():
        (folder / hashlib.sha1(each).hexdigest()).write_bytes(each)
