"""A TCP line to a service that a test can cut and mend: to its users the service is gone, and then back."""

import contextlib
import socket
import threading

BLOCK_BYTES = 65_536


class Line:
    """Forwards connections to ``(host, port)``; `port` is where it listens, also after it was mended."""

    def __init__(self, host: str, port: int):
        self._target = host, port
        self._ends: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.mend()

    def mend(self) -> None:
        """Accept connections."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def cut(self) -> None:
        """Break all connections off and refuse new ones."""
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):  # an end that has closed by itself
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # cut
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._target)
                self._ends += near, far
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_forward, args=[source, sink], daemon=True).start()


def _forward(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # cut, or one end has gone
        while data := source.recv(BLOCK_BYTES):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
