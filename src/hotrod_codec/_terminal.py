"""What the command line prints on: plain aligned text, or rich where that is at hand; JSON.

Knows how things look and nothing of where they come from. rich is imported only when it is used.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from hotrod_codec.explain import Frame, Note

__all__ = ["JsonLines", "Output", "open_output"]

_FRAME_COLUMNS: Final = ("offset", "bytes", "field", "meaning")

Advance = Callable[[str, int], None]
Show = Callable[[Sequence[Sequence[str]]], None]


class Output(Protocol):
    """Where results go."""

    def heading(self, text: str) -> None:
        """A title over what follows."""

    def line(self, text: str = "") -> None:
        """A line of text."""

    def frame(self, frame: Frame) -> None:
        """A frame, field by field."""

    def note(self, note: Note) -> None:
        """Something about several frames."""

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table; its first column is text, the others are numbers."""

    def progress(self, total: int) -> contextlib.AbstractContextManager[Advance]:
        """Progress towards `total`; call the result with what is being done and how far it got."""
        ...

    def live(self, headers: Sequence[str]) -> contextlib.AbstractContextManager[Show]:
        """A table that changes; call the result with its rows."""
        ...


def open_output(*, plain: bool) -> Output:
    """The output for this terminal, pipe or file."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a peer calls a cache need not fit the terminal's encoding.
        sys.stdout.reconfigure(errors="backslashreplace")
    if plain or os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return Plain()
    try:
        import rich  # noqa: F401
    except ImportError:
        return Plain()
    return Rich()


class Plain:
    """Aligned text."""

    def heading(self, text: str) -> None:
        print(f"== {text}")

    def line(self, text: str = "") -> None:
        print(text)

    def frame(self, frame: Frame) -> None:
        print(_title(frame))
        rows = [(str(row.start), row.hex, row.name, row.meaning) for row in frame.rows]
        self._columns([_FRAME_COLUMNS, *rows], (True, False, False, False))
        if frame.problem:
            print(f"  !! {frame.problem}")
        print()

    def note(self, note: Note) -> None:
        print(f"{'!!' if note.is_problem else '--'} {note.text}")
        print()

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        right = (False, *(True for _ in headers[1:]))
        self._columns([headers, *rows], right)

    @staticmethod
    def _columns(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
        widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = [
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(row, widths, right, strict=True)
            ]
            print(("  " + "  ".join(cells)).rstrip())

    @contextlib.contextmanager
    def progress(self, total: int) -> Iterator[Advance]:
        last = ""

        def advance(what: str, count: int) -> None:
            nonlocal last
            if what != last:
                print(f"  {what} ...", flush=True)
                last = what

        yield advance

    @contextlib.contextmanager
    def live(self, headers: Sequence[str]) -> Iterator[Show]:
        last: Sequence[Sequence[str]] = ()

        def show(rows: Sequence[Sequence[str]]) -> None:
            nonlocal last
            if rows and rows != last:
                self.table(headers, rows)
                sys.stdout.flush()
            last = rows

        yield show


class Rich:
    """Tables and colours. Text goes in as it is: nothing in it is taken for markup."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False, soft_wrap=False)

    @staticmethod
    def _text(text: str, style: str = "") -> Text:
        from rich.text import Text

        return Text(text, style=style)

    def heading(self, text: str) -> None:
        self._console.print(self._text(text, "bold magenta"))

    def line(self, text: str = "") -> None:
        self._console.print(self._text(text))

    def frame(self, frame: Frame) -> None:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
        table.add_column("offset", justify="right", no_wrap=True)
        table.add_column("bytes", overflow="fold")
        table.add_column("field", overflow="fold")
        table.add_column("meaning", overflow="fold")
        for row in frame.rows:
            dim = "dim " if row.is_note else ""
            table.add_row(
                self._text(str(row.start), "dim"),
                self._text(row.hex, f"{dim}cyan"),
                self._text(row.name, f"{dim}bold" if not dim else "dim"),
                self._text(row.meaning, dim.strip()),
            )
        self._console.print(self._text(_title(frame), "bold"))
        self._console.print(table)
        if frame.problem:
            self._console.print(self._text(frame.problem, "bold red"))
            self._console.print()

    def note(self, note: Note) -> None:
        self._console.print(self._text(note.text, "bold red" if note.is_problem else "magenta"))
        self._console.print()

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._console.print(self._table(headers, rows))

    def _table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
        for i, header in enumerate(headers):
            table.add_column(header, justify="right" if i else "left", no_wrap=i > 0)
        for cells in rows:
            table.add_row(*(self._text(cell) for cell in cells))
        return table

    @contextlib.contextmanager
    def live(self, headers: Sequence[str]) -> Iterator[Show]:
        from rich.live import Live

        with Live(self._table(headers, ()), console=self._console, auto_refresh=False) as live:
            yield lambda rows: live.update(self._table(headers, rows), refresh=True)

    @contextlib.contextmanager
    def progress(self, total: int) -> Iterator[Advance]:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task("", total=total)

            def advance(what: str, count: int) -> None:
                bar.update(task, description=what, advance=count)

            yield advance


class JsonLines:
    """A JSON object for each frame and note, one a line. These keys are always there and keep
    their meaning; null is what is not known or does not apply.

    Of a frame:
        type: "frame".
        kind: "request", "response" or "event"; null for bytes that are no frame.
        connection: Its number in a packet capture.
        direction: "to_server" or "to_client"; null where the input does not tell.
        time_ns: When its last byte came, in nanoseconds: since 1970 in a capture, since the first
            record in a recording.
        offset, size: Where it lies in the input; in a recording or capture, in the stream of this
            direction and connection.
        op: Such as "GET", "CACHE_ENTRY_CREATED".
        version: Such as "2.8"; of a response, that of its request.
        message_id: A number.
        status: Of a response, such as "SUCCESS".
        request_offset: Of a response that was matched, where its request begins in the other
            direction; in plain frames, in the input.
        after_ns: How long after its request it came.
        fields: A list of its fields in order, each with:
            name: Such as "key" or "entries[0].key".
            start, end: Offsets like that of the frame.
            kind: How it is written, as `hotrod_codec.layout` calls it, or a number's size; or
                "omitted" (items of a long list, without --all) or "unread" (the rest of a frame
                that cannot be read).
            item: The index of the list's item that it belongs to.
            hex: The bytes; of keys, values and other byte arrays only the length in front, and
                long ones shortened, as in the text form.
            meaning: In words, as in the text form.
        error: Why it could not be read to its end, incomplete frames included.
        incomplete: For a frame that goes on where the input ends, an object: `field`, what was
            being read; `offset`, where that begins; `bytes`, how many more the frame has at the
            least.

    Of a note, something about a capture or one of its connections:
        type: "note".
        connection, time_ns: As above.
        problem: true when frames could not be read for it.
        text: What there is to say.
    """

    @staticmethod
    def _print(value: dict[str, Any]) -> None:
        print(json.dumps(value))

    def frame(self, frame: Frame) -> None:
        fields = [
            {
                "name": row.name,
                "start": row.start,
                "end": row.end,
                "kind": row.kind,
                "item": None if row.item < 0 else row.item,
                "hex": row.hex,
                "meaning": row.meaning,
            }
            for row in frame.rows
        ]
        incomplete = None
        if frame.missing is not None:
            field, offset, count = frame.missing
            incomplete = {"field": field, "offset": offset, "bytes": count}
        self._print(
            {
                "type": "frame",
                "kind": frame.kind or None,
                "connection": frame.connection,
                "direction": None if frame.direction is None else frame.direction.name.lower(),
                "time_ns": frame.time,
                "offset": frame.start,
                "size": frame.end - frame.start,
                "op": frame.op or None,
                "version": frame.version or None,
                "message_id": frame.message_id,
                "status": frame.status or None,
                "request_offset": frame.asked,
                "after_ns": frame.after,
                "fields": fields,
                "error": frame.problem or None,
                "incomplete": incomplete,
            }
        )

    def note(self, note: Note) -> None:
        self._print(
            {
                "type": "note",
                "connection": note.connection,
                "time_ns": note.time,
                "problem": note.is_problem,
                "text": note.text,
            }
        )


def _title(frame: Frame) -> str:
    origin = f" ({frame.origin})" if frame.origin else ""
    size = frame.end - frame.start
    return f"{frame.title}: {size:,} byte{'s' * (size != 1)} at {frame.start}{origin}"
