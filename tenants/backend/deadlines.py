"""Ends statements whose server is silent: frozen, or behind a line that swallows everything.

Such a server shows no error by itself, and each statement would hold a thread and a pooled connection for ever.
PostgreSQL's statement_timeout ends what is slow; this ends what is not answered at all, by shutting the socket down
under it, which the driver takes for a lost connection.
"""

import logging
import os
import socket
import threading
import time

import psycopg

logger = logging.getLogger(__name__)

SECONDS = 12.0  # more than statement_timeout (platform_site/postgres.py), whose error says more
GREETING_SECONDS = 3.0  # for the first statement on a pooled connection, which costs the server nothing
LOOK_SECONDS = 1.0

_awaited: dict[int, tuple[float, psycopg.Connection]] = {}  # by thread: until when, and what is asked
_watching: threading.Thread | None = None
_starting = threading.Lock()


class answered:  # noqa: N801  used as a function
    """``with answered(connection): ...``: what is asked inside is answered in time, or the connection is lost."""

    __slots__ = ("_connection", "_outer", "_seconds", "_thread", "_until")

    def __init__(self, connection, seconds: float | None = None):
        self._connection, self._seconds = connection, seconds or SECONDS

    @property
    def is_over(self) -> bool:
        """Whether the time was used up."""
        return time.monotonic() >= self._until

    def __enter__(self):
        self._thread = threading.get_ident()
        self._outer = _awaited.get(self._thread)
        self._until = time.monotonic() + self._seconds
        if not self._connection.closed:
            _awaited[self._thread] = self._until, self._connection
            _watch()
        return self

    def __exit__(self, *error):
        if self._outer:
            _awaited[self._thread] = self._outer
        else:
            _awaited.pop(self._thread, None)


def _watch() -> None:
    global _watching
    if _watching is None:
        with _starting:
            if _watching is None:
                _watching = threading.Thread(target=_look, name="silent databases", daemon=True)
                _watching.start()


def _look() -> None:
    while True:
        time.sleep(LOOK_SECONDS)
        now = time.monotonic()
        for thread, awaited in list(_awaited.items()):
            if awaited[0] < now and _awaited.get(thread) is awaited:
                logger.warning("a database does not answer: its connection is given up")
                _shut(awaited[1])


def _shut(connection: psycopg.Connection) -> None:
    """Its socket is asked for only now: the number of one that has closed may be another connection's by then."""
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
    except (OSError, psycopg.OperationalError) as error:
        logger.info("the connection had closed by itself", extra={"error": type(error).__name__})


def _forget() -> None:
    """Threads do not live on in a fork."""
    global _watching
    _watching = None
    _awaited.clear()


os.register_at_fork(after_in_child=_forget)
