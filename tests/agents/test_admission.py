"""Places for running turns: free ones go round between tenants, one tenant gets a quarter, who waits is told."""

import asyncio

import pytest

from agents.turns import admission
from tests.agents.chatting import Browser
from tests.conftest import web_process
from tests.doubles import openai_server

LONG = "[[tokens=400]][[gap=0.02]]"


@pytest.fixture
def flow(settings):
    """Turns that ask for a place, in a process with eight places: two of one tenant."""
    settings.TURN_CAP = 8
    return Flow()


class Flow:
    """``begun`` holds the tenants of turns that got a place, in that order."""

    def __init__(self):
        self.begun: list[int] = []
        self.told: dict[asyncio.Task, list[int]] = {}
        self._ends: dict[asyncio.Task, asyncio.Event] = {}

    async def ask(self, *tenants: int) -> list[asyncio.Task]:
        """A turn of each of these tenants, one after the other."""
        tasks = []
        for tenant in tenants:
            told, end = [], asyncio.Event()
            tasks.append(task := asyncio.create_task(self._hold(tenant, told, end)))
            self.told[task], self._ends[task] = told, end
            await asyncio.sleep(0)
        return tasks

    async def _hold(self, tenant: int, told: list[int], end: asyncio.Event) -> None:
        async with admission.place(tenant, told.append):
            self.begun.append(tenant)
            await end.wait()

    async def end(self, *tasks: asyncio.Task) -> None:
        """These turns end, and whoever is next begins."""
        for task in tasks:
            self._ends[task].set()
            await task
            await asyncio.sleep(0.01)

    async def over(self) -> None:
        """All end."""
        for task in self.told:
            task.cancel()
        await asyncio.gather(*self.told, return_exceptions=True)


async def test_one_tenant_gets_a_quarter_of_the_places_whoever_else_wants_one(flow):
    await flow.ask(1, 1, 1, 1, 2)
    assert flow.begun == [1, 1, 2]
    assert (admission.has_room(1), admission.has_room(2)) == (False, True)
    await flow.over()


async def test_free_places_go_round_between_the_tenants_that_wait(flow):
    running = await flow.ask(1, 1, 2, 2, 3, 3, 4, 4)
    await flow.ask(1, 1, 1, 2, 3)
    flow.begun.clear()
    await flow.end(*running[:6])
    assert flow.begun == [1, 1, 2, 3]  # no tenant gets more than two
    await flow.over()


async def test_full_house_a_newcomer_is_next_after_one_of_each_tenant(flow):
    running = await flow.ask(1, 1, 2, 2, 3, 3, 4, 4)
    await flow.ask(1, 1, 1, 5, 5)
    flow.begun.clear()
    await flow.end(running[0], running[2], running[1])
    assert flow.begun == [1, 5, 1]
    await flow.over()


async def test_a_tenant_may_have_as_many_waiting_as_running(flow):
    await flow.ask(1, 1, 1)
    assert not admission.is_full(1)
    await flow.ask(1)
    assert (admission.is_full(1), admission.is_full(2)) == (True, False)
    await flow.over()
    assert admission.has_room(1) and not admission.is_full(1)


async def test_whoever_waits_for_more_than_a_second_is_told_the_place_and_that_it_has_come(flow, monkeypatch):
    monkeypatch.setattr(admission, "TELL_SECONDS", 0.05)
    running = await flow.ask(1, 1)
    first, second = await flow.ask(1, 1)
    await asyncio.sleep(0.08)
    await flow.end(running[0])
    await asyncio.sleep(0.08)
    await flow.end(running[1])
    await asyncio.sleep(0.01)
    assert (flow.told[first], flow.told[second]) == ([1, 0], [2, 1, 0])
    await flow.over()


async def test_who_is_stopped_while_waiting_leaves_the_line_and_takes_no_place(flow):
    running = await flow.ask(1, 1)
    gone, other = await flow.ask(1, 1)
    gone.cancel()
    flow.begun.clear()
    await flow.end(running[0])
    assert flow.begun == [1] and not other.done()
    await flow.over()


async def test_a_flooding_tenant_waits_in_line_is_refused_and_leaves_room_for_others(acme, globex):
    with openai_server() as provider:
        model = {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "sk-x", "DEFAULT_MODEL": "openai/stand-in"}
        with web_process(TURN_CAP="4", **model) as port:
            await _flood(Browser(acme, port), Browser(globex, port))


async def _flood(browser: Browser, stranger: Browser) -> None:
    async with browser.socket() as first, Browser(browser.tenant, browser.port).socket() as second:
        known = await first.ask("[[say=Before.]]")
        await first.until("turn.finished")
        await first.ask(LONG)
        running = await first.until("delta")
        await second.ask("[[say=Now I.]]")
        waiting = await second.until("waiting")
        assert waiting["place"] == 1
        async with Browser(browser.tenant, browser.port).socket() as third:
            refused = await third.ask("Me, too?")
            error = await third.next()
            assert (error["code"], error["id"], error["retry_after"]) == ("crowded", refused, 5)
        await first.ask("[[say=Before.]]", client_id=known)
        assert (await first.until("accepted"))["id"] == known  # sent again, it needs no place
        async with stranger.socket() as chat:
            await chat.ask("[[say=At once.]]")
            assert (await chat.until("turn.finished"))["message"]["text"] == "At once."
            assert not [event for event in chat.events if event["type"] == "waiting"]
        await second.send({"type": "stop", "turn": waiting["turn"]})
        assert (await second.until("turn.finished"))["outcome"] == "stopped"
        await second.ask("[[say=Now I.]]")
        await second.until("waiting")
        await first.send({"type": "stop", "turn": running["turn"]})
        assert (await second.until("waiting"))["place"] == 0
        assert (await second.until("turn.finished"))["message"]["text"] == "Now I."
