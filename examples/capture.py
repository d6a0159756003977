"""What happened on a connection: a recording or a packet capture, request by request.

    python examples/capture.py [FILE]       a .hrs recording, or pcap and pcapng as of tcpdump

`hotrod explain FILE` shows every field of every frame; this is how a program gets at the same. The
file that is taken without an argument was recorded between a Java client and a server: bulk reads
in version 2.9. It needs no server.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from hotrod_codec.explain import Explainer, Frame, Note
from hotrod_codec.pcap import is_capture, read_packets
from hotrod_codec.recording import iter_recording

RECORDED = Path(__file__).parent / "bulkget-2.9.hrs"


def frames(path: Path) -> Iterator[Frame | Note]:
    """Frames as they were complete, and notes about what cannot be read."""
    explainer = Explainer()  # show_data=True would show keys and values, not their lengths only
    with path.open("rb") as source:
        head = source.read(16)
        if is_capture(head):
            yield from explainer.capture(read_packets(source, head))
        else:
            yield from explainer.recording(iter_recording(head + source.read()))


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RECORDED
    sizes: dict[tuple[str, str], list[int]] = defaultdict(list)
    times: dict[str, list[int]] = defaultdict(list)
    longest: Frame | None = None
    problems = 0
    for frame in frames(path):
        if isinstance(frame, Note):
            print(f"note: {frame.text}")
            problems += frame.is_problem
            continue
        if frame.problem:
            print(f"{frame.title} at byte {frame.start}: {frame.problem}")
            problems += 1
            continue
        sizes[frame.op, frame.kind].append(frame.end - frame.start)
        if frame.after is not None:  # nanoseconds since its request
            times[frame.op].append(frame.after)
        if longest is None or frame.end - frame.start > longest.end - longest.start:
            longest = frame
    for (op, kind), found in sorted(sizes.items()):
        print(f"{op:24} {kind:9} {len(found):5} frames {sum(found):9,} bytes")
    for op, waits in sorted(times.items()):
        waits.sort()
        print(
            f"{op:24} median {waits[len(waits) // 2] / 1e6:8.3f} ms, worst {waits[-1] / 1e6:.3f} ms"
        )
    assert longest is not None
    print(f"\nthe longest frame, {longest.title}:")
    for row in longest.rows[:8]:
        print(f"  byte {row.start:5}  {row.name:24} {row.meaning}")
    assert not problems


if __name__ == "__main__":
    main()
