"""A visitor whose socket drops at random moments and comes back at any of several web processes."""

import asyncio
import random
from collections.abc import Coroutine
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
    place: int | None = None  # of `text`, from where a second socket brings it, while the first one goes on
    finished: dict | None = None
    faults: list[str] = field(default_factory=list)

    @property
    def cursor(self) -> dict:
        """Where to go on."""
        return {"turn": self.turn, "attempt": self.attempt, "n": self.n}

    def take(self, event: dict, *, is_old: bool = False) -> None:
        """One event of the server. is_old: over the first of two sockets."""
        if event["type"] == "accepted" and event["id"] == self.client_id:
            self.turn = event["turn"]
        elif event["type"] == "message" and event["message"]["client_id"] == self.client_id:
            self.turn = event["message"]["turn"]  # it was stored, but the drop was faster than the news
        elif event["type"] == "delta" and event["turn"] == self.turn:
            self._take_text(event, is_old)
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

    def _take_text(self, event: dict, is_old: bool) -> None:
        text = event["text"]
        if event["attempt"] > self.attempt:
            self.attempt, self.n, self.text, self.place = event["attempt"], 0, "", self.place and 0
        if self.place is not None and not is_old:
            known, self.place = len(self.text) - self.place, self.place + len(text)
            if event["n"] <= self.n:
                return
            text, self.place = text[known:], None
        if event["attempt"] < self.attempt or event["n"] <= self.n:
            self.faults.append(f"came again: {event['attempt']}-{event['n']} after {self.attempt}-{self.n}")
        self.n, self.text = event["n"], self.text + text


class Ears:
    """Hear one socket, and while its process is leaving, the one that takes over as well."""

    def __init__(self, chat: Chat):
        self.chat, self.old = chat, None
        self._coming: asyncio.Task | None = None
        self._closing: asyncio.Task | None = None  # of the old one; kept, for the loop keeps no tasks
        self._hearing: dict[Chat, asyncio.Task] = {}

    def expect(self, coming: Coroutine) -> None:
        """A socket that takes over when it is greeted."""
        self._coming = self._coming or asyncio.create_task(coming)

    def go_over(self, chat: Chat) -> None:
        """This one takes over; what the other still tells is old."""
        self.chat, self.old = chat, self.chat

    async def next(self) -> tuple[dict, Chat]:
        """The next event, and over which socket it came. Raises what the socket does that is heard last."""
        while True:
            for chat in filter(None, (self.chat, self.old)):
                if chat not in self._hearing:
                    self._hearing[chat] = asyncio.create_task(chat.next())
            await asyncio.wait([*self._hearing.values(), *filter(None, [self._coming])], return_when="FIRST_COMPLETED")
            if self._coming and self._coming.done():
                self._coming = None
            elif told := await self._told():
                return told

    async def _told(self) -> tuple[dict, Chat] | None:
        """None where a socket has only ended."""
        chat = next(chat for chat, hearing in self._hearing.items() if hearing.done())
        if chat is self.old and self._hearing[chat].exception():
            self.forget_old()
        elif self._coming and self._hearing[chat].exception():
            await asyncio.wait({self._coming})
        else:
            return self._hearing.pop(chat).result(), chat
        return None

    def forget_old(self) -> None:
        """The new socket has told as much."""
        if self.old:
            if hearing := self._hearing.pop(self.old, None):
                hearing.cancel()
            self._closing = asyncio.create_task(self.old.raw.close())
            self.old = None

    def close(self) -> None:
        """Hear no more."""
        for task in filter(None, [*self._hearing.values(), self._coming]):
            task.cancel()


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
                    ears = Ears(await self._greeted(sockets, ticket, seen))
                    try:
                        await self._look(ears, sockets, seen, text, random.randint(1, most_events))
                    finally:
                        ears.close()
            except httpx.HTTPStatusError as error:  # a page that asks for patience
                if error.response.status_code != 503:
                    seen.faults.append(str(error))
                await asyncio.sleep(AGAIN_SECONDS)
            except (OSError, websockets.WebSocketException, httpx.TransportError, TimeoutError):
                await asyncio.sleep(QUICK_SECONDS)  # the process has gone: another one
        return seen

    async def _greeted(self, sockets: AsyncExitStack, ticket: str, seen: Seen, ears: Ears | None = None) -> Chat:
        """One more socket. ears: of those who hear one already."""
        self.browser.port = random.choice(self.ports)
        chat = await sockets.enter_async_context(self.browser.socket(say_hello=False))
        self.chats.append(chat)
        seen.place = len(seen.text) if ears and seen.turn else None
        if ears:
            ears.go_over(chat)
        await chat.send({"type": "hello", "ticket": ticket, **self._place(seen)})
        return chat

    def _place(self, seen: Seen) -> dict:
        """Where the page stands, for its hello."""
        place = {"conversation": self.conversation, "seq": self.seq}
        return place | {"turn": seen.cursor} if seen.turn else place

    async def _look(self, ears: Ears, sockets: AsyncExitStack, seen: Seen, text: str, events: int) -> None:
        for _ in range(events + 1):  # one is "ready"
            event, chat = await ears.next()
            is_old = chat is ears.old
            if event["type"] != "ready":  # that only announces what will come
                self.seq = max(self.seq, event.get("seq", 0))
            seen.take(event, is_old=is_old)
            self.begun = self.begun or seen.n > 0
            self.took(seen, chat)
            if seen.finished:
                return
            if event["type"] == "error":
                await asyncio.sleep(AGAIN_SECONDS)
                return
            if event["type"] == "leaving" and not is_old:
                ears.expect(self._greeted(sockets, event["ticket"], seen, ears))
            if event["type"] == "ready" and not seen.turn:
                await ears.chat.ask(text, client_id=seen.client_id)
            if not is_old and seen.place is None and event["type"] != "ready":
                ears.forget_old()

    def took(self, seen: Seen, chat: Chat) -> None:
        """Called after each event, with the socket that it came over."""
