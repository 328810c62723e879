"""A web process is told to end under open chats while another serves: nobody notices."""

import os
import re
import signal
from collections.abc import Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Page, WebSocket, WebSocketRoute, expect

from agents import wire
from tests.browser.conftest import Visits
from tests.browser.pages import ChatPage
from tests.browser.site import Site
from tests.conftest import web_process
from tests.faults.line import Line
from tests.processes import process_of

QUESTION = "When is the baby clinic?"
AWAY_SECONDS = 0.2  # so that the old socket brings words that the new one is about to bring, too
# All states of the answer that the page is writing, and whether it said that it had lost its connection
WATCH = """() => {
    const root = document.querySelector("[data-chat]");
    window.written = [];
    setInterval(() => {
        const [open] = root.conversation.open.values();
        if (open?.text) window.written.push(open.text);
        if (!root.querySelector("[data-lost]").hidden) window.written.push("lost");
    }, 5);
}"""
STORED = "[...document.querySelector('[data-chat]').conversation.thread.stored.values()].map(({ text }) => text)"


class Address:
    """Where web processes answer one after the other."""

    def __init__(self):
        self._line = Line("127.0.0.1", 0)
        self.port, self._serving = self._line.port, 0

    url = Site.url

    def serve(self, port: int) -> None:
        """From now on, this process does."""
        self._serving = port
        self._line.lead_to("127.0.0.1", port)

    def hand_over(self, port: int) -> None:
        """The next process serves, a while away, and the one that did is told to end."""
        process = process_of(self._serving)
        self.serve(port)
        self._line.delay = AWAY_SECONDS
        os.kill(process, signal.SIGTERM)

    def close(self) -> None:
        """Nobody answers here any more."""
        self._line.cut()


@pytest.fixture
def address(site) -> Iterator[Address]:
    """The demo tenants at an address where nobody answers yet."""
    made = Address()
    yield made
    made.close()


def heard(socket: WebSocket) -> list[str]:
    """What comes over a socket from now on."""
    frames: list[str] = []

    def keep(frame) -> None:  # not a list's own method: playwright marks what it calls
        frames.append(frame)

    socket.on("framereceived", keep)
    return frames


def test_an_answer_goes_on_over_another_socket_and_each_word_is_written_once(chromium, address):
    visit, slow = Visits(chromium, address), {"OFFLINE_TOKEN_SECONDS": "0.1", "PUBLIC_PORT": str(address.port)}
    with web_process(**slow) as ending, web_process(**slow) as next_one:
        address.serve(ending)
        streaming, idle = ChatPage(visit("sunrise", "/chat/")), ChatPage(visit("sunrise", "/chat/"))
        streaming.page.evaluate(WATCH)
        streaming.say(QUESTION)
        expect(streaming.page.locator(".msg[aria-busy=true] [data-body]")).not_to_be_empty()
        sockets: list[list[str]] = []
        streaming.page.on("websocket", lambda socket: sockets.append(heard(socket)))
        asked: list[str] = []
        streaming.page.on("request", lambda request: asked.append(request.url))
        address.hand_over(next_one)
        expect(streaming.answers).to_have_count(1)
        assert len(idle.ask(QUESTION).inner_text()) > 20
        written, [_, stored] = streaming.page.evaluate("window.written"), streaming.page.evaluate(STORED)
        for page in visit.pages:
            page.context.close()
    [frames] = sockets
    assert any('"delta"' in frame for frame in frames) and asked == []
    assert len(set(written)) > 5 and [text for text in written if not stored.startswith(text)] == []
    assert visit.unexpected() == []


class FedPage:
    """A chat's page whose sockets bring what a test sends, one frame at a time."""

    def __init__(self, page: Page):
        self._page, self._turn = page, uuid4()
        self._sockets: list[WebSocketRoute] = []
        page.route_web_socket(re.compile("/ws/chat/"), lambda socket: socket.on_message(lambda _: self._greet(socket)))
        page.reload()
        self._wait_for(1)

    def _greet(self, socket: WebSocketRoute) -> None:
        ready = wire.Ready(conversation=uuid4(), seq=0, state="agent", agent=wire.AgentFacts(name="Ada", demo=True))
        started = wire.TurnStarted(seq=0, turn=self._turn, attempt=1)
        socket.send(wire.server_frame([ready, started]))
        self._sockets.append(socket)

    def _wait_for(self, count: int) -> None:
        while len(self._sockets) < count:
            self._page.wait_for_timeout(10)

    def lead_to_another_socket(self) -> None:
        """The page opens one beside the first."""
        self._sockets[0].send(wire.server_frame([wire.Leaving(ticket="next")]))
        self._wait_for(2)

    def bring(self, socket: int, attempt: int, n: int, text: str) -> None:
        """A delta of the answer, over the first socket (0) or the second (1)."""
        self._sockets[socket].send(wire.server_frame([wire.Delta(turn=self._turn, attempt=attempt, n=n, text=text)]))


MOVED = None
# What comes, as for FedPage.bring, and all that is written then
OVER_ONE_SOCKET = [
    ((0, 1, 1, "We are "), "We are"), ((0, 1, 2, "open "), "We are open"),
    ((0, 2, 1, "Come on "), "Come on"), ((0, 2, 2, "Wednesday "), "Come on Wednesday"),
    ((0, 2, 3, "morning."), "Come on Wednesday morning."),
]  # fmt: skip
OLD_SOCKET_FIRST = [
    ((0, 1, 1, "We are "), "We are"), ((0, 1, 2, "open "), "We are open"), MOVED,
    ((0, 2, 1, "Come on "), "Come on"), ((1, 1, 3, "until "), "Come on"), ((1, 2, 1, "Come on "), "Come on"),
    ((0, 2, 2, "Wednesday "), "Come on Wednesday"), ((1, 2, 3, "Wednesday morning"), "Come on Wednesday morning"),
    ((1, 2, 4, "."), "Come on Wednesday morning."),
]  # fmt: skip
NEW_SOCKET_FIRST = [
    ((0, 1, 1, "We are "), "We are"), MOVED, ((0, 1, 2, "open "), "We are open"),
    ((1, 2, 1, "Come on "), "Come on"), ((1, 2, 2, "Wednesday "), "Come on Wednesday"),
    ((1, 2, 3, "morning."), "Come on Wednesday morning."),
]  # fmt: skip
AGAIN_AFTER_THE_MOVE = [
    ((0, 1, 1, "We are "), "We are"), MOVED, ((1, 1, 2, "open "), "We are open"),
    ((1, 2, 1, "Come on "), "Come on"), ((1, 2, 2, "Wednesday "), "Come on Wednesday"),
    ((1, 3, 1, "On "), "On"), ((1, 3, 2, "Friday."), "On Friday."),
]  # fmt: skip
WAYS = {
    "over one socket": OVER_ONE_SOCKET, "old socket first": OLD_SOCKET_FIRST, "new socket first": NEW_SOCKET_FIRST,
    "again after the move": AGAIN_AFTER_THE_MOVE,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_an_answer_that_another_process_begins_again_is_written_word_by_word(visit, way):
    page = visit("sunrise", "/chat/")
    fed = FedPage(page)
    for step in way:
        if step is MOVED:
            fed.lead_to_another_socket()
            continue
        delta, written = step
        fed.bring(*delta)
        expect(page.locator(".msg[aria-busy=true] [data-body]")).to_have_text(written)
