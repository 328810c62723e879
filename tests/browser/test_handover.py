"""A web process is told to end under open chats while another serves: nobody notices."""

import os
import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import WebSocket, expect

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
