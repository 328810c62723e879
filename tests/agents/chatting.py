"""A visitor's browser without its screen: opens the hosted page, keeps its cookie, speaks the websocket."""

import asyncio
import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import httpx
import websockets

from tenants.context import TenantRef
from tests.conftest import host_of
from tests.processes import NO_TLS

SECONDS = 20


@dataclass
class Browser:
    """One visitor of one tenant at one web process."""

    tenant: TenantRef
    port: int
    cookies: dict[str, str] = field(default_factory=dict)
    page: str = ""
    address: str = ""  # where it comes from, in the words of a proxy before the web process; none: there is no proxy

    @property
    def host(self) -> str:
        """The Host header it sends."""
        return f"{host_of(self.tenant)}:{self.port}"

    async def request(self, method: str, path: str, **kwargs) -> httpx.Response:
        """An HTTP request to the tenant's host; keeps the cookies of the answer."""
        headers = {"host": self.host, "cookie": self._cookie(), **kwargs.pop("headers", {})}
        address = f"http://127.0.0.1:{self.port}"
        async with httpx.AsyncClient(base_url=address, timeout=SECONDS, verify=NO_TLS) as client:
            response = await client.request(method, path, headers=headers, **kwargs)
        self.cookies |= dict(response.cookies)
        return response

    async def ticket(self) -> str:
        """A fresh ticket, from the page as a person would get it. Raises httpx.HTTPStatusError."""
        response = (await self.request("GET", "/chat/")).raise_for_status()
        self.page = response.text
        return re.search(r'data-ticket="([^"]+)"', self.page)[1]

    async def another_ticket(self) -> str:
        """One for coming back, as the open page fetches it. Raises httpx.HTTPStatusError."""
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.page)[1]
        response = await self.request("POST", "/chat/ticket/", headers={"x-csrftoken": token})
        return response.raise_for_status().json()["ticket"]

    @asynccontextmanager
    async def socket(self, *, hello: dict | None = None, origin: str | None = "", say_hello: bool = True):
        """An open socket, greeted unless told otherwise. origin: "" the host's own, None sends none."""
        greeting = {"type": "hello", "ticket": await self.ticket(), **(hello or {})} if say_hello else None
        async with websockets.connect(
            f"ws://{self.host}/ws/chat/",
            host="127.0.0.1",
            port=self.port,
            origin=f"http://{self.host}" if origin == "" else origin,
            additional_headers={"Cookie": self._cookie()} | self._forwarded(),
            open_timeout=SECONDS,
            max_queue=None,  # where events that no test reads fill it, closing takes ten seconds
        ) as raw:
            chat = Chat(raw)
            if greeting:
                await chat.send(greeting)
                chat.ready = await chat.until("ready")
            yield chat

    def _forwarded(self) -> dict[str, str]:
        return {"X-Forwarded-For": self.address} if self.address else {}

    def _cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())


class Chat:
    """An open socket: what its hello said was known, the ids of its messages, and all events it has brought."""

    def __init__(self, raw):
        self.raw = raw
        self.hello: dict = {}
        self.asked: list[str] = []
        self.events: list[dict] = []
        self.ready: dict = {}
        self._read = 0

    async def send(self, frame: dict | str) -> None:
        """One frame; a string goes as it is."""
        await self.raw.send(frame if isinstance(frame, str) else json.dumps(frame))
        match frame:
            case {"type": "hello"}:
                self.hello = frame
            case {"type": "message", "id": client_id}:
                self.asked.append(client_id)

    async def ask(self, text: str, *, client_id: str | None = None) -> str:
        """Send a message; return its client id."""
        client_id = client_id or str(uuid4())
        await self.send({"type": "message", "id": client_id, "text": text})
        return client_id

    async def next(self) -> dict:
        """The next event."""
        while self._read >= len(self.events):
            frame = await _within(self.raw.recv())
            self.events += json.loads(frame)["events"]
        self._read += 1
        return self.events[self._read - 1]

    async def until(self, kind: str) -> dict:
        """The next event of a kind; those before it are passed over, but an error is not."""
        while (event := await self.next())["type"] != kind:
            assert event["type"] != "error", event
        return event

    def text_of(self, turn: str) -> str:
        """What the deltas of a turn's newest attempt add up to."""
        deltas = [event for event in self.events if event["type"] == "delta" and event["turn"] == turn]
        newest = max((event["attempt"] for event in deltas), default=1)
        return "".join(event["text"] for event in deltas if event["attempt"] == newest)


async def _within(awaitable):
    return await asyncio.wait_for(awaitable, SECONDS)
