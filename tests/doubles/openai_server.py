"""An OpenAI-compatible server that does what a test tells it, also what no server should do.

    with openai_server() as server:
        server.script(Reply(text="Yes."), Reply(status=429))    # one per chat request, in this order
        server.script(Reply(text="Yes."), to="Is it noon?")     # where others ask too: only for this question
        ...  # call the model at server.url
        server.requests[0].body["messages"]

Without a script the last user message may hold orders, one per pair of brackets: ``[[tokens=64]]``,
``[[first=0.5]]``, ``[[gap=0.01]]``, ``[[say=Some text.]]``, ``[[tool=current_time {}]]``, ``[[status=500]]``,
``[[cut=120]]``, ``[[abort]]``, ``[[stall=2]]``, ``[[split=3]]``, ``[[garbage]]``, ``[[no done]]``,
``[[no usage]]``, ``[[no finish]]``. For benchmarks: ``python -m tests.doubles.openai_server --port 9100``.
"""

import argparse
import asyncio
import contextlib
import gzip
import json
import re
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field, replace

from tests.doubles import openai_bodies


@dataclass
class Reply:
    """The answer to one chat request. Times in seconds, sizes in bytes of the event stream."""

    text: str | None = None  # none: ``tokens`` numbered words
    tokens: int = 8
    first: float = 0  # delay before the first token
    gap: float = 0  # delay between tokens
    tools: list[tuple[str, str]] = field(default_factory=list)  # name, arguments as sent
    finish: str | None = "auto"  # none: no finish marker
    done: bool = True
    usage: dict | bool = True  # a dict is sent as it is
    status: int = 200
    why: str = ""  # what a refusal says
    retry_after: str = ""
    gzipped: bool = False  # a refusal
    endless: bool = False  # a refusal that says more and more
    cut: int | None = None  # the stream ends after so many bytes
    abort: bool = False  # ... and not politely: the connection is reset
    stall: int | None = None  # after so many events nothing more comes; 0: not even a status line
    split: int = 0  # written in pieces of so many bytes
    garbage: bool = False  # one event in the middle is not JSON


@dataclass
class Recorded:
    path: str
    headers: dict[str, str]
    body: dict


def ordered(text: str) -> Reply:
    """The reply that the orders in a user's message ask for."""
    reply = Reply()
    for order in re.findall(r"\[\[(.*?)\]\]", text, re.DOTALL):
        name, _, value = order.partition("=")
        if name == "say":
            reply.text = value
        elif name == "tool":
            tool, _, arguments = value.partition(" ")
            reply.tools.append((tool, arguments or "{}"))
        elif name.startswith("no "):
            setattr(reply, name[3:], None if name == "no finish" else False)
        elif name in ("abort", "garbage"):
            setattr(reply, name, True)
        else:
            setattr(reply, name, float(value) if name in ("first", "gap") else int(value))
    return reply


class Server:
    """Listens on its own event loop; ``url`` is the API base. Attributes may be read from any thread."""

    def __init__(self):
        self.requests: list[Recorded] = []
        self.connections = 0
        self.url = ""
        self._scripts: defaultdict[str, deque[Reply]] = defaultdict(deque)

    def script(self, *replies: Reply, to: str = "") -> None:
        """Queue answers for the next chat requests, or for those whose last user message is ``to``."""
        self._scripts[to].extend(replies)

    def last_request(self, text: str) -> Recorded:
        """The last chat request whose last user message is ``text``."""
        return next(request for request in reversed(self.requests) if _last_user_text(request.body) == text)

    def _reply(self, text: str) -> Reply:
        script = self._scripts[text] or self._scripts[""]
        return script.popleft() if script else ordered(text)

    async def listen(self, port: int = 0) -> asyncio.Server:
        listening = await asyncio.start_server(self._connection, "127.0.0.1", port, limit=2**24)
        self.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        return listening

    async def _connection(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._exchange(reader, writer):
                pass
        writer.close()

    async def _exchange(self, reader, writer) -> bool:
        """One request and its answer; whether the connection can take another."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in head[1:])
        headers = {name.lower(): value.strip() for name, _, value in fields}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        request = Recorded(head[0].split()[1], headers, body)
        self.requests.append(request)
        if request.path.endswith("/embeddings"):
            return _json(writer, 200, openai_bodies.embeddings(body))
        if not request.path.endswith("/chat/completions"):
            return _json(writer, 404, openai_bodies.error(404, ""))
        reply = self._reply(_last_user_text(body))
        if reply.status != 200:
            error = openai_bodies.error(reply.status, headers.get("authorization", ""))
            error["error"]["message"] = reply.why or error["error"]["message"]
            if reply.endless:
                return await _endless(writer, reply.status)
            return _json(writer, reply.status, error, reply.retry_after, gzipped=reply.gzipped)
        if not body.get("stream"):
            await asyncio.sleep(reply.first)
            return _json(writer, 200, openai_bodies.completion(body, reply))
        return await _stream(reader, writer, body, reply)


def _last_user_text(body: dict) -> str:
    texts = [message["content"] for message in body.get("messages", ()) if message["role"] == "user"]
    return texts[-1] if texts and isinstance(texts[-1], str) else ""


async def _endless(writer, status: int) -> bool:
    writer.write(f"HTTP/1.1 {status} .\r\nConnection: close\r\n\r\n".encode())
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
    return False


def _json(writer, status: int, body: dict, retry_after: str = "", *, gzipped: bool = False) -> bool:
    payload = json.dumps(body).encode()
    extra = f"Retry-After: {retry_after}\r\n" if retry_after else ""
    if gzipped:
        payload, extra = gzip.compress(payload), extra + "Content-Encoding: gzip\r\n"
    writer.write(
        f"HTTP/1.1 {status} .\r\nContent-Type: application/json\r\n{extra}"
        f"Content-Length: {len(payload)}\r\n\r\n".encode()
        + payload
    )
    return True


def _chunked(data: bytes, size: int = 0) -> list[bytes]:
    """HTTP chunks of at most ``size`` bytes."""
    size = size or len(data) or 1
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]


async def _stream(reader, writer, body: dict, reply: Reply) -> bool:
    if reply.stall == 0:
        return not await reader.read()  # waits until the client gives up
    events = openai_bodies.events(body, replace(reply))
    if reply.cut is not None:
        events = [b"".join(events)[: reply.cut]]
    elif not (reply.gap or reply.split or reply.stall):
        events = [events[0], b"".join(events[1:])] if reply.first else [b"".join(events)]
    elif reply.gap and not reply.stall:  # the end marks come with the last token
        last = openai_bodies.token_count(reply)
        events = [*events[:last], b"".join(events[last:])]
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nSet-Cookie: seen=before; Path=/\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    for index, event in enumerate(events):
        if index:
            await asyncio.sleep(reply.first if index == 1 else reply.gap)
        if index == reply.stall:
            await reader.read()
            return False
        if writer.is_closing():  # the caller has gone
            return False
        for piece in _chunked(event, reply.split):
            writer.write(piece)
            if reply.split:
                await writer.drain()
                await asyncio.sleep(0)
    if reply.abort:
        await writer.drain()
        await asyncio.sleep(0.01)  # what was written gets there; then the connection is gone
        writer.transport.abort()
        return False
    writer.write(b"0\r\n\r\n")
    return True


@contextlib.contextmanager
def openai_server(port: int = 0):
    """A running Server in a thread of its own, stopped at the end of the block."""
    server, loop = Server(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    listening = asyncio.run_coroutine_threadsafe(server.listen(port), loop).result(5)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(_shut(listening), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


async def _shut(listening: asyncio.Server) -> None:
    listening.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _serve(port: int) -> None:
    server = Server()
    server.requests = deque(maxlen=1)  # a benchmark would fill the memory
    listening = await server.listen(port)
    print(server.url, flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(_serve(parser.parse_args().port))
