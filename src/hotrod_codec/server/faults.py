"""What shall go wrong, on demand: tests of clients arrange it here.

    server.faults.delay(0.5, op=Op.GET)      # the next GET is answered late
    server.faults.cut(at=7)                  # the next answer breaks off, the connection ends
    server.faults.silence(node=1)            # node 1 says nothing any more ...
    server.faults.clear()                    # ... until now

Each fault concerns the next `times` answers that match, None: all of them. The first one arranged
comes first. May be called from any thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from hotrod_codec.ops import Op, Status

__all__ = ["Fault", "Faults"]


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: "delay", "drop", "cut", "split", "status" or "replace".
        op, node: Whom it concerns; None: everybody.
        times: How often it still happens; None: always.
        seconds: Of a "delay".
        at: How many bytes of the answer are sent before a "cut".
        status, text: Of the error that a "status" is.
        data: What a "replace" sends.
    """

    kind: str
    op: Op | None = None
    node: int | None = None
    times: int | None = 1
    seconds: float = 0.0
    at: int = 0
    status: Status = Status.SERVER_ERROR
    text: str = ""
    data: bytes = b""


class Faults:
    """The faults that are arranged. `active` is False as long as there are none."""

    def __init__(self) -> None:
        self.active = False
        self.retried_events = False
        """Whether listeners are told that events may come a second time."""
        self._lock = threading.Lock()
        self._arranged: list[Fault] = []

    def _arrange(self, fault: Fault) -> None:
        if fault.times is not None and fault.times < 1:
            raise ValueError(f"times: {fault.times} is not positive; None is always")
        with self._lock:
            self._arranged.append(fault)
            self.active = True

    def delay(
        self,
        seconds: float,
        *,
        op: Op | None = None,
        node: int | None = None,
        times: int | None = 1,
    ) -> None:
        """Do it at once, answer `seconds` later; other answers overtake it."""
        if not 0 <= seconds < 1e6:
            raise ValueError(f"seconds: {seconds} is not within 0 and 1e6")
        self._arrange(Fault("delay", op, node, times, seconds=seconds))

    def drop(self, *, op: Op | None = None, node: int | None = None, times: int | None = 1) -> None:
        """Do it, but never answer."""
        self._arrange(Fault("drop", op, node, times))

    def silence(self, *, node: int | None = None) -> None:
        """Answer nothing any more, as a peer that hangs; connections stay open."""
        self._arrange(Fault("drop", None, node, None))

    def cut(
        self,
        at: int,
        *,
        op: Op | None = None,
        node: int | None = None,
        times: int | None = 1,
    ) -> None:
        """Do it, send `at` bytes of the answer and close the connection."""
        if at < 0:
            raise ValueError(f"at: {at} is negative")
        self._arrange(Fault("cut", op, node, times, at=at))

    def split(
        self, *, op: Op | None = None, node: int | None = None, times: int | None = 1
    ) -> None:
        """Send the answer byte by byte."""
        self._arrange(Fault("split", op, node, times))

    def status(
        self,
        status: Status = Status.SERVER_ERROR,
        text: str = "arranged by a test",
        *,
        op: Op | None = None,
        node: int | None = None,
        times: int | None = 1,
    ) -> None:
        """Do nothing and answer with an error."""
        if not status >= Status.INVALID_MAGIC_OR_MESSAGE_ID:
            raise ValueError(f"status: {status!r} is no error")
        self._arrange(Fault("status", op, node, times, status=Status(status), text=text))

    def replace(
        self,
        data: bytes,
        *,
        op: Op | None = None,
        node: int | None = None,
        times: int | None = 1,
    ) -> None:
        """Do it and send these bytes in the answer's place."""
        self._arrange(Fault("replace", op, node, times, data=bytes(data)))

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._arranged.clear()
            self.active = self.retried_events = False

    def take(self, node: int, op: Op) -> Fault | None:
        """What shall go wrong with the next answer of a node; that has then happened."""
        with self._lock:
            for fault in self._arranged:
                if fault.op in (None, op) and fault.node in (None, node):
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times == 0:
                            self._arranged.remove(fault)
                            self.active = bool(self._arranged)
                    return fault
        return None
