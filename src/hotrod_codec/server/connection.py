"""One client's connection: bytes in, answers out. Lives in the server's event loop.

All whole requests of a read are done one after the other and their answers written at once. Who
does not read its answers is not read from either; who lets events pile up is cut off.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from hotrod_codec import Reader, Request, decode_varint, encode_response
from hotrod_codec.errors import DecodeError, LimitError
from hotrod_codec.ops import Op, Status
from hotrod_codec.server.session import Session

if TYPE_CHECKING:
    from hotrod_codec.server.faults import Fault
    from hotrod_codec.server.tcp import Node

__all__ = ["Connection"]

logger = logging.getLogger(__name__)

_MOST_AT_ONCE: Final = 2**20
"""Bytes of answers that are collected before they are written."""

_MOST_UNREAD: Final = 2**26
"""Bytes of events that may wait for a client."""

_MOST_STRAY: Final = 256
"""Bytes that are no request's that a connection may send before it is closed. Clients that are
wrong about the end of a request send a few: servers complain about each and go on."""

_HEAD: Final = 16

_LAST_WORDS: Final = 1.0
"""Seconds that a client has to read why its connection ends."""


class Connection(asyncio.BufferedProtocol):
    """A client that is connected to `node`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._handler = node.handler
        self._faults = node.faults
        self._counts = node.counts
        self._reader = Reader("server", limits=node.limits)
        self._view: memoryview | None = None
        self._out: list[bytes] = []
        self._working = False
        self._paused = False
        self._closing = False
        self._deaf = False
        self._strays = 0
        self._received = 0  # bytes of the stream
        self._last_read = 0  # how many of them came last
        self._frame = 0  # where in the stream the next request begins
        self._head = b""  # its first bytes, if they came with an earlier read
        self._drips: deque[int] = deque()
        self.session = Session(node.number, self._event)

    # ---- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._node.welcome(self):
            self._closing = True
            transport.abort()
            return
        plain = transport.get_extra_info("socket")
        if plain is not None:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.set_write_buffer_limits(high=_MOST_AT_ONCE)
        self.session.encrypted = transport.get_extra_info("sslcontext") is not None
        self.session.certificate_name = _common_name(transport.get_extra_info("peercert"))

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._deaf:
            return memoryview(bytearray(_HEAD << 10))
        self._view = self._reader.buffer()
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        if self._deaf:
            return
        self._reader.commit(nbytes)
        self._received += nbytes
        self._last_read = nbytes
        self._work()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._view = None
        self._node.farewell(self)
        self.session.close()

    def pause_writing(self) -> None:
        self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        if not self._working:
            self._work()
        if not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()

    # ---- requests

    def _work(self) -> None:
        """Answer all requests that are there."""
        self._working = True
        try:
            while self._answer_all():
                pass
        finally:
            self._working = False
        self._flush()
        if not self._paused:
            self._look_ahead()
            self._view = None

    def _answer_all(self) -> bool:
        """Answer requests until there are no more, or until something is none: whether to go on."""
        reader, handle, session, counts = (
            self._reader,
            self._handler.handle,
            self.session,
            self._counts,
        )
        out = self._out
        size = 0
        try:
            while not self._paused and not self._closing:
                q: Request | None = reader.next()
                if q is None:
                    return False
                self._frame += q.size
                self._head = b""
                counts[q.op] += 1
                if self._faults.active:
                    self._answer_badly(q)
                    continue
                answer = handle(session, q)
                out.append(answer)
                size += len(answer)
                if size > _MOST_AT_ONCE:
                    self._flush()
                    size = 0
        except DecodeError as error:
            self._flush()
            return self._reject(error)
        return False

    def _look_ahead(self) -> None:
        """What has arrived of a request that goes on: keep its head, bound its length."""
        waiting = self._received - self._frame
        if not waiting or self._closing:
            return
        self._head = self._first_bytes()
        if waiting > self._node.most_bytes:
            text = f"a request of more than {self._node.most_bytes} bytes"
            self._refuse(Status.REQUEST_PARSING_ERROR, _message_id(self._head), text)

    def _first_bytes(self) -> bytes:
        """The first bytes of the request that is being read."""
        at = self._frame - (self._received - self._last_read)
        if self._view is None:
            return self._head
        if at >= 0:
            return bytes(self._view[at : min(at + _HEAD, self._last_read)])
        return self._head + bytes(self._view[: min(_HEAD - len(self._head), self._last_read)])

    def _reject(self, error: DecodeError) -> bool:
        """These bytes are no request: say so. Whether it makes sense to read on behind them."""
        status = Status.REQUEST_PARSING_ERROR
        if error.field == "magic":
            self._strays += 1
            if self._strays < _MOST_STRAY and self._skip_one():
                self._complain(Status.INVALID_MAGIC_OR_MESSAGE_ID, 0, str(error))
                return True
            status = Status.INVALID_MAGIC_OR_MESSAGE_ID
        elif error.field == "opcode":
            status = Status.UNKNOWN_COMMAND
        elif error.field == "version":
            status = Status.UNKNOWN_VERSION
        elif error.field == "time units" and not isinstance(error, LimitError):
            status = Status.SERVER_ERROR
        self._refuse(status, _message_id(self._first_bytes()), str(error))
        return False

    def _skip_one(self) -> bool:
        """Leave out the byte at which a request should begin; False: it is not at hand."""
        at = self._frame - (self._received - self._last_read)
        if self._view is None or at < 0:
            return False
        self._reader = Reader("server", limits=self._node.limits)
        self._reader.feed(self._view[at + 1 : self._last_read])
        self._frame += 1
        return True

    def _complain(self, status: Status, message_id: int, text: str) -> None:
        logger.info("%s: %s", self._transport.get_extra_info("peername"), text)
        self._write(
            encode_response(
                Op.PING, version="2.0", message_id=message_id, status=status, error=text
            )
        )

    def _refuse(self, status: Status, message_id: int, text: str) -> None:
        """Behind these bytes no other request can be found."""
        self._complain(status, message_id, text)
        self._hang_up()

    # ---- answers

    def _flush(self) -> None:
        out = self._out
        if not out or self._closing:
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._write(data)

    def _write(self, data: bytes) -> None:
        if self._drips:
            self._drips.extend(data)  # behind what is sent byte by byte
        elif not self._closing and not self._transport.is_closing():
            self._transport.write(data)

    def _event(self, data: bytes) -> None:
        """Something that this client has not asked for now."""
        if self._working:
            self._out.append(data)
            return
        self._write(data)
        if self._transport.get_write_buffer_size() > _MOST_UNREAD:
            logger.warning("a client reads no events; its connection is closed")
            self.abort()

    def _answer_badly(self, q: Request) -> None:
        fault = self._faults.take(self.session.node, q.op)
        if fault is not None and fault.kind == "status":
            answer = self._handler.error(q, fault.status, fault.text)
            fault = None
        else:
            answer = self._handler.handle(self.session, q)
        if fault is None:
            self._out.append(answer)
            self._flush()
            return
        self._flush()
        self._spoil(fault, answer)

    def _spoil(self, fault: Fault, answer: bytes) -> None:
        loop = asyncio.get_running_loop()
        if fault.kind == "delay":
            loop.call_later(fault.seconds, self._write, answer)
        elif fault.kind == "cut":
            self._write(answer[: fault.at])
            self._hang_up()
        elif fault.kind == "replace":
            self._write(fault.data)
        elif fault.kind == "split":
            if not self._drips:
                loop.call_soon(self._drip)
            self._drips.extend(answer)

    def _drip(self) -> None:
        """Send one byte of those that go alone."""
        if self._closing or self._transport.is_closing() or not self._drips:
            return
        self._transport.write(bytes((self._drips.popleft(),)))
        if self._drips:
            asyncio.get_running_loop().call_soon(self._drip)

    # ---- the end

    def _hang_up(self) -> None:
        """Say no more, listen no more; close when the client does, or soon.

        To close at once, with requests unread, would reset the connection and lose what was
        written last.
        """
        if self._closing:
            return
        if not self._transport.can_write_eof():
            self.close()
            return
        self._closing = self._deaf = True
        self._view = None
        self._transport.write_eof()
        self._transport.resume_reading()
        asyncio.get_running_loop().call_later(_LAST_WORDS, self._transport.abort)

    def close(self) -> None:
        """Send what there is to send, then close."""
        self._closing = True
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._transport.abort()


def _message_id(head: bytes) -> int:
    """The id in the first bytes of a request; 0 when they are none."""
    if not head.startswith(b"\xa0"):
        return 0
    try:
        return decode_varint(head, 1)[0]
    except DecodeError:
        return 0


def _common_name(certificate: Any) -> str | None:
    """Whom a certificate names, as getpeercert() gives it."""
    if not certificate:
        return None
    for group in certificate.get("subject", ()):
        for name, value in group:
            if name == "commonName":
                return str(value)
    return None
