"""Values in chunks: for those that are too long to be held in memory at once. Since version 4.1.

A stream is a generator that speaks to one server: whatever becomes of it, what stands behind its
`finally` tells the server that it is over.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from hotrod_codec import Response
from hotrod_codec.client._async.dispatch import Dispatcher
from hotrod_codec.client._async.driver import Connection
from hotrod_codec.client.cluster import Call
from hotrod_codec.errors import HotRodError
from hotrod_codec.ops import Op, Status
from hotrod_codec.values import Metadata

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["CHUNK_SIZE", "AsyncValueReader", "AsyncValueWriter", "reading", "writing"]

CHUNK_SIZE: Final = 2**18

# A chunk, and whether it is the last one.
_Chunk: TypeAlias = tuple[bytes, bool]


class _File:
    """What those ask for who wrap files, such as io.TextIOWrapper."""

    _closed = False
    _waits = False  # somebody does, for an answer

    @property
    def closed(self) -> bool:
        """Whether it was closed or abandoned, or has failed."""
        return self._closed

    def readable(self) -> bool:
        """Whether it can be read."""
        return False

    def writable(self) -> bool:
        """Whether it can be written."""
        return False

    def seekable(self) -> bool:
        """It cannot go anywhere but forward."""
        return False

    def flush(self) -> None:
        """Nothing: what was written is sent when it is a chunk, or the end."""


class AsyncValueReader(_File):
    """A value that is read in chunks. Made by `AsyncCache.get_stream`.

        async with stream:
            async for chunk in stream:
                file.write(chunk)

    Its bytes are those of the cache's value marshaller, which is not asked. If the connection is
    lost, the rest is lost with it: TransportError.

    Attributes:
        metadata: Version and expiration of the entry.
    """

    metadata: Metadata

    def __init__(self, first: Response, answers: AsyncGenerator[Response, None]) -> None:
        self.metadata = first.metadata
        self._chunk: bytes = first.chunk
        self._answers = answers

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next chunk, or what `read` left of one."""
        chunk = await self._next()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def read(self, size: int | None = -1, /) -> bytes:
        """The next `size` bytes, fewer only at the end of the value; by default all that are left.

        Raises:
            ValueError: It was closed.
        """
        left = float("inf") if size is None or size < 0 else size
        parts: list[bytes] = []
        while left > 0 and (chunk := await self._next()):
            if len(chunk) > left:
                self._chunk = chunk[int(left) :]
                chunk = chunk[: int(left)]
            parts.append(chunk)
            left -= len(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def readinto(self, buffer: Buffer, /) -> int:
        """Read into a buffer; how many bytes."""
        with memoryview(buffer).cast("B") as view:
            data = await self.read(len(view))
            view[: len(data)] = data
        return len(data)

    async def close(self) -> None:
        """Read no more. May be called again. Who reads meanwhile gets ValueError."""
        self._closed = True
        self._chunk = b""
        if not self._waits:
            await self._answers.aclose()

    def readable(self) -> bool:
        return True

    async def _next(self) -> bytes:
        """A chunk; empty at the end."""
        if self._closed:
            raise ValueError("the stream is closed")
        chunk, self._chunk = self._chunk, b""
        if chunk:
            return chunk
        self._waits = True
        try:
            answer = await anext(self._answers, None)
        except BaseException:
            self._closed = True  # what comes next must not look like the end
            raise
        finally:
            self._waits = False
        if self._closed:
            await self._answers.aclose()
            raise ValueError("the stream was closed")
        return b"" if answer is None else answer.chunk


class AsyncValueWriter(_File):
    """A value that is written in chunks. Made by `AsyncCache.put_stream`.

        async with await cache.put_stream("film") as stream:
            while data := file.read(2**20):
                await stream.write(data)

    It is stored when the block ends, or by `close`: as a whole, not before. If an exception leaves
    the block nothing is stored. Its bytes have to be those of the cache's value marshaller, which
    is not asked.

    Attributes:
        stored: Whether it was stored, which conditions may have prevented; None: not yet.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        answers: AsyncGenerator[Response, _Chunk],
        chunk_size: int,
        put_nothing: Call,
        changed: Callable[[Iterable[bytes]], None],
    ) -> None:
        self.stored: bool | None = None
        self._dispatcher = dispatcher
        self._answers = answers
        self._size = chunk_size
        self._put_nothing = put_nothing
        self._changed = changed
        self._held = bytearray()  # what waits for more, as the last chunk must not be empty

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            await self.close()
        else:
            await self.abandon()

    async def write(self, data: Buffer, /) -> int:
        """Write bytes; how many they were. They are sent when there are enough for a chunk.

        Raises:
            ValueError: It is closed.
        """
        if self._closed:
            raise ValueError("the stream is closed")
        with memoryview(data).cast("B") as view:
            at = 0
            while len(self._held) + len(view) - at > self._size:
                end = at + self._size - len(self._held)
                self._held += view[at:end]
                at = end
                await self._send(last=False)
            self._held += view[at:]
            return len(view)

    async def close(self) -> None:
        """Store what was written. May be called again.

        Raises:
            TransportError, RequestTimeoutError: It may have been stored or not.
        """
        if self._closed:
            return
        try:
            answer = await self._send(last=True) if self._held else None
            await self.abandon()
            if answer is None:
                answer = await self._dispatcher.execute(self._put_nothing)
            self.stored = answer.status == Status.SUCCESS
        finally:
            self._changed((self._put_nothing.fields["key"],))

    async def abandon(self) -> None:
        """Store nothing. May be called again. Who writes meanwhile gets ValueError."""
        self._closed = True
        self._held.clear()
        if not self._waits:
            await self._answers.aclose()

    def writable(self) -> bool:
        return True

    async def _send(self, *, last: bool) -> Response:
        chunk = bytes(self._held)
        self._held.clear()
        self._waits = True
        try:
            answer = await self._answers.asend((chunk, last))
        except BaseException:
            self._closed = True
            raise
        finally:
            self._waits = False
        if self._closed and not last:
            await self._answers.aclose()
            raise ValueError("the stream was closed")
        return answer


async def reading(dispatcher: Dispatcher, call: Call) -> AsyncGenerator[Response, None]:
    """The answers with the chunks of a value; none: there is no value.

    Args:
        call: START_GET_STREAM.
    """
    connection, answer = await dispatcher.hold(call)
    stream: dict[str, Any] | None = None
    try:
        if answer.status == Status.KEY_DOES_NOT_EXIST:
            return
        stream = {"stream_id": answer.stream_id}
        yield answer
        while not answer.complete:
            following = Call(Op.NEXT_GET_STREAM, call.state, call.header, stream)
            answer = await dispatcher.ask_at(connection, following)
            yield answer
    finally:
        await _let_go(dispatcher, connection, call, Op.END_GET_STREAM, stream)


async def writing(dispatcher: Dispatcher, call: Call) -> AsyncGenerator[Response, _Chunk]:
    """Wants chunks and gives the answers to them; first to the start.

    Args:
        call: START_PUT_STREAM.
    """
    connection, answer = await dispatcher.hold(call)
    stream_id = answer.stream_id
    stream: dict[str, Any] | None = {"stream_id": stream_id}
    try:
        while True:
            chunk, last = yield answer
            fields = {"stream_id": stream_id, "last": last, "chunk": chunk}
            following = Call(Op.NEXT_PUT_STREAM, call.state, call.header, fields)
            answer = await dispatcher.ask_at(connection, following)
            if last:
                stream = None
    finally:
        await _let_go(dispatcher, connection, call, Op.END_PUT_STREAM, stream)


async def _let_go(
    dispatcher: Dispatcher,
    connection: Connection,
    call: Call,
    end: Op,
    stream: dict[str, Any] | None,
) -> None:
    """The server may forget the stream. If it does not hear that, it will in a few minutes."""
    try:
        if stream is not None and connection.usable:
            with suppress(HotRodError):
                await dispatcher.ask_at(connection, Call(end, call.state, call.header, stream))
    finally:
        dispatcher.driver.let_go(connection)
