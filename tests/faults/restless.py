"""A visitor whose socket drops at random moments and comes back at any of several web processes."""

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from uuid import uuid4

import httpx
import websockets

from tests.agents.chatting import Browser, Chat

EXCUSES = ("not_stored", "temporary_failure", "moving")  # what a visitor may be told while a service is away
AGAIN_SECONDS, QUICK_SECONDS = 0.2, 0.05  # the page's own waits are in line.js


@dataclass
class Seen:
    """What the page of one question shows, as chat.js keeps it."""

    client_id: str
    turn: str = ""
    attempt: int = 1
    n: int = 0
    text: str = ""
    finished: dict | None = None
    faults: list[str] = field(default_factory=list)

    @property
    def cursor(self) -> dict:
        """Where to go on."""
        return {"turn": self.turn, "attempt": self.attempt, "n": self.n}

    def take(self, event: dict) -> None:
        """One event of the server."""
        if event["type"] == "accepted" and event["id"] == self.client_id:
            self.turn = event["turn"]
        elif event["type"] == "message" and event["message"]["client_id"] == self.client_id:
            self.turn = event["message"]["turn"]  # it was stored, but the drop was faster than the news
        elif event["type"] == "delta" and event["turn"] == self.turn:
            self._take_text(event)
        elif event["type"] == "turn.finished" and event["turn"] == self.turn:
            self._take_end(event)
        elif event["type"] == "error" and event["code"] not in EXCUSES:
            self.faults.append(f"was told {event['code']}: {event['text']}")

    def _take_end(self, event: dict) -> None:
        """The stored message replaces what was streamed, of which it is the whole or, after a drop, the rest too."""
        if self.finished:
            self.faults.append("ended twice")
        self.finished, shown = event, self.text
        self.text = event["message"]["text"] if event["message"] else ""
        if not self.text.startswith(shown):
            self.faults.append(f"{shown!r} was shown and {self.text!r} stored")

    def _take_text(self, event: dict) -> None:
        if event["attempt"] > self.attempt:
            self.attempt, self.n, self.text = event["attempt"], 0, ""
        if event["attempt"] < self.attempt or event["n"] <= self.n:
            self.faults.append(f"came again: {event['attempt']}-{event['n']} after {self.attempt}-{self.n}")
        self.n, self.text = event["n"], self.text + event["text"]


class Restless:
    """One visitor. ``ports``: of the web processes, changed by the test when it starts others."""

    def __init__(self, tenant, ports: list[int]):
        self.browser, self.ports = Browser(tenant, ports[0]), ports
        self.conversation, self.seq = str(uuid4()), 0
        self.chats: list[Chat] = []  # all it has had
        self.begun = False  # it has seen the first words of an answer

    async def ask(self, text: str, *, most_events: int = 12) -> Seen:
        """Ask and see the answer through, over as many sockets as it takes."""
        seen = Seen(str(uuid4()))
        while seen.finished is None:
            self.browser.port = random.choice(self.ports)
            try:
                ticket = await (self.browser.another_ticket() if self.browser.page else self.browser.ticket())
                async with AsyncExitStack() as sockets:
                    chat = await self._open(sockets)
                    while chat:
                        await chat.send({"type": "hello", "ticket": ticket, **self._place(seen)})
                        chat, ticket = await self._look(sockets, chat, seen, text, random.randint(1, most_events))
            except httpx.HTTPStatusError as error:  # a page that asks for patience
                if error.response.status_code != 503:
                    seen.faults.append(str(error))
                await asyncio.sleep(AGAIN_SECONDS)
            except (OSError, websockets.WebSocketException, httpx.TransportError, TimeoutError):
                await asyncio.sleep(QUICK_SECONDS)  # the process has gone: another one
        return seen

    async def _open(self, sockets: AsyncExitStack) -> Chat:
        """One more socket, which is not greeted yet."""
        self.browser.port = random.choice(self.ports)
        chat = await sockets.enter_async_context(self.browser.socket(say_hello=False))
        self.chats.append(chat)
        return chat

    def _place(self, seen: Seen) -> dict:
        """Where the page stands, for its hello."""
        place = {"conversation": self.conversation, "seq": self.seq}
        return place | {"turn": seen.cursor} if seen.turn else place

    async def _look(
        self, sockets: AsyncExitStack, chat: Chat, seen: Seen, text: str, events: int
    ) -> tuple[Chat | None, str]:
        """Hear so many events. The socket to go on with, where the process leaves, and the ticket for it."""
        coming, ticket = None, ""
        for _ in range(events + 1):  # one is "ready"
            event = await _next(chat, coming)
            if event is None:
                return coming.result(), ticket
            if event["type"] != "ready":  # that only announces what will come
                self.seq = max(self.seq, event.get("seq", 0))
            seen.take(event)
            self.begun = self.begun or seen.n > 0
            self.took(seen)
            if seen.finished:
                break
            if event["type"] == "error":
                await asyncio.sleep(AGAIN_SECONDS)
                break
            if event["type"] == "leaving":
                coming, ticket = asyncio.create_task(self._open(sockets)), event["ticket"]
            if event["type"] == "ready":
                self._closing = [asyncio.create_task(old.raw.close()) for old in self.chats[-2:-1]]
            if event["type"] == "ready" and not seen.turn:
                await chat.ask(text, client_id=seen.client_id)
        return None, ""

    def took(self, seen: Seen) -> None:
        """Called after each event."""


async def _next(chat: Chat, coming: asyncio.Task | None) -> dict | None:
    """The next event; None as soon as there is a socket elsewhere, over which all that is not heard yet comes again."""
    if coming is None:
        return await chat.next()
    hearing = asyncio.create_task(chat.next())
    await asyncio.wait({hearing, coming}, return_when=asyncio.FIRST_COMPLETED)
    if hearing.done() and hearing.exception():
        await asyncio.wait({coming})
    if not coming.done() or coming.exception():
        return await hearing
    hearing.cancel()
    await asyncio.wait({hearing})
    return None
