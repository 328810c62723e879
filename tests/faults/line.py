"""A TCP line to a service that a test can cut, slow down or make swallow everything: its users meet a bad network."""

import contextlib
import socket
import threading
import time
from urllib.parse import urlsplit, urlunsplit

BLOCK_BYTES = 65_536


class Line:
    """Forwards connections to ``(host, port)``; `port` is where it listens, also after it was mended.

    delay       seconds that each block waits, in both directions
    swallowing  what arrives goes nowhere, and no side is told: a black hole, or a peer that is half open
    swallowed   bytes that it has taken in so
    cut_after   bytes of the service's answers, counted from when it is set, after which all connections are reset
    """

    def __init__(self, host: str, port: int):
        self._target = host, port
        self._ends: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.port = self.swallowed = 0
        self.delay, self.swallowing, self.cut_after = 0.0, False, None
        self.mend()

    def lead_to(self, host: str, port: int) -> None:
        """New connections go there; those that are open stay."""
        self._target = host, port

    def mend(self) -> None:
        """Accept connections, and forward what they send."""
        self.delay, self.swallowing, self.cut_after = 0.0, False, None
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self.port = self._listener.getsockname()[1]
            threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def cut(self) -> None:
        """Break all connections off and refuse new ones."""
        ends, self._listener = [self._listener, *self._ends], None
        for end in ends:
            if end:
                _close(end)
        self._ends.clear()

    def reset(self) -> None:
        """Break all connections off; new ones are accepted."""
        ends = self._ends.copy()
        self._ends.clear()
        for end in ends:
            _close(end)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # cut
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._target)
                self._ends += near, far
                if self._listener is not listener:  # cut meanwhile
                    _close(near)
                    _close(far)
                    return
                for source, sink, answers in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._forward, args=[source, sink, answers], daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):  # cut, or one end has gone
            while data := source.recv(BLOCK_BYTES):
                time.sleep(self.delay)  # the fault itself: a slow line, on a thread of its own
                if self.swallowing:
                    self.swallowed += len(data)
                    continue
                if answers and self.cut_after is not None:
                    data, self.cut_after = data[: self.cut_after], self.cut_after - len(data)
                sink.sendall(data)
                if answers and self.cut_after is not None and self.cut_after <= 0:
                    self.cut_after = None
                    self.reset()
            sink.shutdown(socket.SHUT_WR)


def through(url: str, port: int) -> str:
    """The address, but with the port of a line to it."""
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{login}{at}127.0.0.1:{port}"))


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # an end that has closed by itself
        end.shutdown(socket.SHUT_RDWR)
    end.close()
