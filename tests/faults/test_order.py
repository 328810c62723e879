"""A conversation at two web processes at once: it has one order, whoever writes in it and wherever."""

import asyncio
import os
import random
from contextlib import ExitStack
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tenants.context import run_for
from tests.agents.chatting import Browser, Chat
from tests.conftest import FULL, repeats, web_process
from tests.doubles import openai_server
from tests.faults import history
from tests.faults.programs import Program

STORE = urlsplit(os.environ["REDIS_URL"])._replace(path="/7").geturl()  # nobody else's process takes these turns over
VISITORS = 5


@pytest.fixture(scope="module")
def provider():
    """The model's stand-in."""
    with openai_server() as server:
        yield server


@pytest.fixture(scope="module")
def two(provider):
    """Ports of two web processes that share everything."""
    model = {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "sk-stand-in", "DEFAULT_MODEL": "openai/stand-in"}
    with ExitStack() as stack:
        yield [stack.enter_context(web_process(REDIS_URL=STORE, **model)) for _ in range(2)]


class Tabs:
    """One visitor with a tab at each process, in a new conversation."""

    def __init__(self, tenant, ports: list[int]):
        self.tenant, self.conversation = tenant, str(uuid4())
        self.browsers = [Browser(tenant, port) for port in ports]
        self.chats: list[Chat] = []

    async def run(self, write, *, first: str = "") -> None:
        """Open both, ``await write(tabs)``, and check what each of them was told.

        first  asked before the second tab opens: of a conversation that has not begun, tabs hear only what they say
        """
        await self.browsers[0].ticket()
        for other in self.browsers:
            other.cookies = self.browsers[0].cookies
        hello = {"conversation": self.conversation, "seq": 0}
        async with self.browsers[0].socket(hello=hello) as one:
            if first:
                await one.ask(first)
                await one.until("accepted")
            async with self.browsers[1].socket(hello=hello) as other:
                self.chats = [one, other]
                await write(self)
        doors = [history.door(f"tab {number}", chat) for number, chat in enumerate(self.chats, 1)]
        await history.check(self.tenant, self.conversation, *doors, await history.page(self.browsers[0]))

    async def until_told(self, count: int) -> None:
        """Until both tabs have seen so many answers."""
        for chat in self.chats:
            while len(ends(chat)) < count:
                await chat.next()


def ends(chat: Chat) -> list[dict]:
    return [event for event in chat.events if event["type"] == "turn.finished"]


@pytest.mark.mass
async def test_of_two_questions_in_the_same_moment_one_is_answered_after_the_other(acme, two, provider):
    pairs = 5 if FULL else 1  # more than that, and the model is no longer told of the first

    async def write(tabs: Tabs) -> None:
        for number in range(pairs):
            await asyncio.gather(*(chat.ask(f"{uuid4()} [[tokens=3]]") for chat in tabs.chats))
            await tabs.until_told(2 * number + 2)

    visitors = [Tabs(acme, two) for _ in range(repeats(50) // pairs)]
    await asyncio.gather(*(tabs.run(write) for tabs in visitors))
    for tabs in visitors:
        stored = await run_for(acme, history.load, tabs.conversation)
        assert {state for state, _ in stored.turns.values()} == {"done"} and len(stored.turns) == 2 * pairs
        for question in questions(stored):
            body = provider.last_request(question["text"]).body
            assert was_told(body["messages"]) == said_before(stored, question)


def questions(stored) -> list[dict]:
    return [message for message in stored.messages.values() if message["role"] == "user"]


def said_before(stored, question: dict) -> list[str]:
    """The answers to all questions before this one: the model knows them only if they had ended."""
    earlier = {message["turn"] for message in questions(stored) if message["seq"] < question["seq"]}
    return [message["text"].strip() for message in stored.messages.values()
            if message["role"] == "agent" and message["turn"] in earlier]  # fmt: skip


def was_told(messages: list[dict]) -> list[str]:
    return [message["content"].strip() for message in messages if message["role"] == "assistant"]


@pytest.mark.mass
async def test_r11_tabs_that_write_at_random_moments_are_all_told_the_same(acme, two):
    each = max(4, repeats(200) // VISITORS)

    async def write(tabs: Tabs) -> None:
        for number in range(each):
            await asyncio.sleep(random.random() / 10)
            await random.choice(tabs.chats).ask(f"[[tokens={random.randint(1, 8)}]][[gap=0.01]]")
            await tabs.until_told(number - 2)  # up to five of them wait
        await tabs.until_told(each + 1)

    await asyncio.gather(*(Tabs(acme, two).run(write, first="[[tokens=5]][[gap=0.01]]") for _ in range(VISITORS)))


@pytest.mark.mass
async def test_r11_programs_whose_streams_break_off_are_told_all_of_it(acme, two):
    each = max(2, repeats(200) // VISITORS)

    async def run(program: Program) -> None:
        await program.begin()
        for _ in range(each):
            ended = await program.ask(f"[[tokens={random.randint(1, 30)}]][[gap=0.01]]")
            assert ended["outcome"] == "done"
        await history.check(acme, program.conversation, await program.door())

    await asyncio.gather(*(run(Program(acme, two)) for _ in range(VISITORS)))
