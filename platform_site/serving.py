"""How the web server talks to clients that are slow, gone or hostile: `uvicorn --http …:Http --ws …:Sockets`.

uvicorn waits for ever for headers, for a peer that reads nothing, and answers pings faster than they are taken. A front
shields us from most of it (docs/production.md); these are our own limits behind or without one. Security notes, H1-H3.
"""

import asyncio
import socket

from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

UNTAKEN_MS = 30_000  # what a peer has not taken by then, it will not take
LAST_SECONDS = 2  # for a peer that is being closed to take what is on its way
QUEUED_FRAMES = 128  # read, not dealt with yet; one read from the network may bring thousands
FRAGMENTS = 256  # of one message; empty ones add nothing to its size


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

    def _wait(self):
        if self._waiting is None:
            self._waiting = self.loop.call_later(settings.HEADER_SECONDS, self._give_up)

    def _stop_waiting(self):
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self):
        self.transport.close()


class Sockets(WebSocketsSansIOProtocol):
    """A websocket whose memory is bounded, whatever its peer sends or does not read."""

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
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # a peer that does not read its pongs gets no more of them

    def keepalive_timeout(self):
        super().keepalive_timeout()
        self._end()

    def _fail(self, code: int, reason: str):
        self.frames = []
        while not self.queue.empty():
            self.queue.get_nowait()
        self.conn.fail(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()
        self._end()

    def _end(self):
        """A transport that is closed still waits until its peer has taken everything, which may be never."""
        self.loop.call_later(LAST_SECONDS, self.transport.abort)


def _limit_untaken(transport: asyncio.Transport) -> None:
    """The kernel ends a connection whose peer acknowledges or takes nothing for so long."""
    connection = transport.get_extra_info("socket")
    if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT") and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNTAKEN_MS)
