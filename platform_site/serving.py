"""How the web server talks to clients that are slow, gone or hostile: `uvicorn --http …:Http --ws …:Sockets`.

uvicorn waits for ever for headers, for a peer that reads nothing, and answers pings faster than they are taken. A front
shields us from most of it (docs/production.md); these are our own limits behind or without one. Security notes, H1-H3.
"""

import asyncio
import itertools
import socket

from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Opcode
from websockets.server import ServerProtocol

from platform_site import ending
from platform_site.pace import Pace
from platform_site.waiting import Gate, Mailbox

UNTAKEN_MS = 30_000  # what a peer has not taken by then, it will not take
READ_ON_SECONDS, LAST_SECONDS = 0.5, 2  # for a peer that is being closed to hear why
QUEUED_FRAMES = 128  # read, not dealt with yet; one read from the network may bring thousands
FRAGMENTS = 256  # of one message; empty ones add nothing to its size
PINGS, PINGS_SECONDS = 30, 10  # pongs nobody asked for included
LEAVING_SECONDS = 4  # a socket has to go elsewhere before --timeout-graceful-shutdown, 5, cuts it off
LEAVING_STEP_SECONDS, LEAVING_LAST_SECONDS = 0.04, 2  # one after the other: each is a handshake elsewhere
SLICE_BYTES = 4_096  # all frames of a slice are taken apart before anybody can say that it is enough


class Http(HttpToolsProtocol):
    """A connection whose headers must come within ``settings.HEADER_SECONDS``, a first byte included."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport):
        super().connection_made(transport)
        _limit_untaken(transport)
        self._wait()

    def data_received(self, data):
        if self.cycle is None or self.cycle.response_complete:
            self._wait()  # the next request on this connection
        super().data_received(data)

    def on_headers_complete(self):
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc):
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self):
        super().handle_websocket_upgrade()
        self.parser = self.scope = self.headers = None  # parser and we know each other: only the collector would come

    def _wait(self):
        if self._waiting is None:
            self._waiting = self.loop.call_later(settings.HEADER_SECONDS, self._give_up)

    def _stop_waiting(self):
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self):
        self.transport.close()


class Frames(ServerProtocol):
    """Lets a peer close in the middle of a message, as Autobahn's case 7.1.5 does; RFC 6455, 5.4, allows it."""

    def recv_frame(self, frame):
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)


class Sockets(WebSocketsSansIOProtocol):
    """A websocket whose memory is bounded, whatever its peer sends or does not read."""

    _told_to_leave = itertools.count()  # sockets of this process so far
    _pings: Pace | None = None  # of those who send any
    _ending = False  # what still comes is not looked at

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.conn.__class__ = Frames  # uvicorn makes it and lets nobody choose
        self.queue, self.writable = Mailbox(), Gate()

    def data_received(self, data):
        for start in range(0, len(data), SLICE_BYTES):
            if self._ending:
                return
            super().data_received(data[start : start + SLICE_BYTES])

    async def send(self, message):
        if self._ending:
            raise ClientDisconnected  # not a fault of the application, which has not been told yet
        await super().send(message)
        if message["type"] == "websocket.accept":
            self._forget_handshake()

    def _forget_handshake(self):
        """Nobody reads it any more, and it takes more than anything else that an idle socket keeps."""
        self.request.headers.clear()  # websockets' parser keeps the request
        self.request = self.response = None
        self.scope["headers"].clear()  # not replaced: each middleware's copy of the scope has this list

    def shutdown(self):
        """The process ends: the application is told as `websocket.leaving`, and may use the socket for a while."""
        ending.begin()
        if self.close_sent or not self.handshake_complete:
            super().shutdown()
            return
        step = min(LEAVING_STEP_SECONDS, LEAVING_LAST_SECONDS / len(self.connections))
        self.loop.call_later(step * next(self._told_to_leave), self.queue.put_nowait, {"type": "websocket.leaving"})
        self.loop.call_later(LEAVING_SECONDS, self._leave)

    def _leave(self):
        if not self.disconnected:
            super().shutdown()

    def handle_cont(self, event):
        if len(self.frames) >= FRAGMENTS:
            self._fail(1009, "too many fragments")
        elif not self.close_sent:
            super().handle_cont(event)

    def send_receive_event_to_app(self):
        if self.queue.qsize() >= QUEUED_FRAMES and not self.close_sent:
            self._fail(1008, "too many frames at once")
        super().send_receive_event_to_app()

    def handle_ping(self):
        if not self.writable.is_set():
            self.conn.data_to_send()  # a peer that does not read its pongs gets no more of them
        elif not self._is_ping_flood():
            super().handle_ping()

    def handle_pong(self, event):
        if not self._is_ping_flood():
            super().handle_pong(event)

    def _is_ping_flood(self) -> bool:
        self._pings = self._pings or Pace(PINGS, PINGS_SECONDS)
        if self._pings.take() and not self.close_sent:
            self._fail(1008, "too many pings")
        return self.close_sent

    def handle_parser_exception(self):
        self._end(self.conn.close_sent.code)

    def keepalive_timeout(self):
        super().keepalive_timeout()
        self.loop.call_later(LAST_SECONDS, self.transport.abort)

    def _fail(self, code: int, reason: str):
        while not self.queue.empty():
            self.queue.get_nowait()
        self.conn.fail(code, reason)
        self._end(code)

    def _end(self, code: int):
        """Send what says why, and close a little later: closed over unread bytes, the kernel would take it back.

        A closed transport waits until its peer has taken everything, which may be never; so it is given up as well.
        """
        self.frames, self._ending, self.close_sent = [], True, True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(READ_ON_SECONDS, self.transport.close)
        self.loop.call_later(LAST_SECONDS, self.transport.abort)


def _limit_untaken(transport: asyncio.Transport) -> None:
    """The kernel ends a connection whose peer acknowledges or takes nothing for so long."""
    connection = transport.get_extra_info("socket")
    if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT") and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNTAKEN_MS)
