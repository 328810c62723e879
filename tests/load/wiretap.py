"""Listens in between a process and its services, and notes what is asked of them: the services' own view.

A tap is a port that passes everything on. It knows enough of Postgres' and Redis' protocols to tell requests apart.
"""

import asyncio
import contextlib
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

SIZE_BYTES = 65_536
SSL_REQUEST, GSS_REQUEST = 80877103, 80877104


@dataclass(frozen=True)
class Asked:
    """One request on the wire."""

    at: float  # time.perf_counter()
    service: str
    text: str  # SQL, or a command's name and first argument; empty where the protocol is not read
    new_trip: bool  # the client had its last answer; False: it sent several at once


@dataclass
class Tap:
    """One service seen through a port of ours.

    requests  (pieces of a client's bytes) -> texts; a fresh one for each connection
    """

    service: str
    host: str
    port: int
    requests: Callable[[], "Reader"]
    notes: list[Asked]
    tasks: set[asyncio.Task] = field(default_factory=set)

    async def listen(self) -> int:
        """Start; the port to connect to instead."""
        self.server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def _connection(self, reader, writer):
        there = await asyncio.open_connection(self.host, self.port)
        turn = _Turn()
        one = asyncio.create_task(self._to_service(reader, there[1], turn))
        other = asyncio.create_task(self._to_client(there[0], writer, turn))
        self.tasks |= {one, other}
        await asyncio.gather(one, other, return_exceptions=True)
        writer.close()
        there[1].close()

    async def _to_service(self, reader, writer, turn: "_Turn"):
        parsed = self.requests()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(SIZE_BYTES):
                for text in parsed.feed(data):
                    self.notes.append(Asked(time.perf_counter(), self.service, text, turn.is_clients))
                    turn.is_clients = False
                writer.write(data)
            writer.write_eof()

    async def _to_client(self, reader, writer, turn: "_Turn"):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(SIZE_BYTES):
                turn.is_clients = True
                writer.write(data)
            writer.write_eof()

    async def close(self) -> None:
        """Stop listening and passing on."""
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await self.server.wait_closed()


@dataclass
class _Turn:
    is_clients: bool = True


class Reader:
    """Cuts a client's bytes into requests; what is unfinished waits for more."""

    def __init__(self):
        self.data = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """The requests that ``data`` completes."""
        self.data += data
        while (found := self.take()) is not None:
            text, size = found
            self.data = self.data[size:]
            if text is not None:
                yield text

    def take(self) -> tuple[str | None, int] | None:
        """(Text of the next request, or None for what is none; its size); None: it is not whole yet."""
        raise NotImplementedError


class AnyReader(Reader):
    """Every piece is a request."""

    def take(self):
        return ("", len(self.data)) if self.data else None


class PostgresReader(Reader):
    """One text for each simple query and each executed statement. Encryption must be off."""

    def __init__(self):
        super().__init__()
        self.begun = False
        self.parsed = ""

    def take(self):
        head = 1 if self.begun else 0
        if len(self.data) < head + 4:
            return None
        size = head + struct.unpack_from("!I", self.data, head)[0]
        if len(self.data) < size:
            return None
        return self._text(self.data[:size]), size

    def _text(self, message: bytes) -> str | None:
        if not self.begun:
            self.begun = struct.unpack_from("!I", message, 4)[0] not in (SSL_REQUEST, GSS_REQUEST)
            return None
        kind, body = message[:1], message[5:]
        if kind == b"P":  # name, statement, types
            self.parsed = body.split(b"\0")[1].decode()
        if kind == b"Q":
            return body.rstrip(b"\0").decode()
        return self.parsed if kind == b"E" else None


class RedisReader(Reader):
    """``EVALSHA 1a2b…``: each command's name and first argument."""

    def take(self):
        parts, at = [], 0
        count, at = self._number(at)
        for _ in range(count or 0):
            length, at = self._number(at)
            if length is None or len(self.data) < at + length + 2:
                return None
            parts.append(self.data[at : at + length])
            at += length + 2
        return (b" ".join(parts[:2]).decode("ascii", "replace"), at) if count else None

    def _number(self, at: int | None) -> tuple[int | None, int]:
        """The number in the line at ``at``, and where the next line begins."""
        end = self.data.find(b"\r\n", at)
        return (None, at) if end < 0 else (int(self.data[at + 1 : end]), end + 2)
