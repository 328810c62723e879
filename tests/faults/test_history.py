"""The checker of histories itself: it passes a true one, and recognises each kind of fault in a doctored one."""

import copy
from uuid import UUID, uuid4

import pytest

from tenants.context import run_for
from tests.agents.chatting import Browser
from tests.faults import history
from tests.faults.history import Door

QUESTION = "Who are you, and what can you do for me?"


@pytest.fixture
async def told(acme, server):
    """(What is stored, the doors) of a conversation that a visitor had in two tabs, and the page shows as well."""
    browser = Browser(acme, server)
    async with browser.socket() as chat:
        await chat.ask(QUESTION)
        await chat.until("turn.finished")
        conversation = chat.ready["conversation"]
        async with browser.socket(hello={"conversation": conversation, "seq": 0}) as tab:
            await chat.ask(QUESTION)
            for one in (chat, tab):
                while (await one.until("turn.finished"))["seq"] < 4:
                    pass
            await tab.send({"type": "history", "before": 5})
            await tab.until("history")
    doors = [history.door("visitor", chat, is_whole=True), history.door("second tab", tab, is_whole=True)]
    return await run_for(acme, history.load, UUID(conversation)), doors


def doctored(doors: list[Door], index: int, change) -> list[Door]:
    """Copies of the doors; ``change(events, index)`` has been done to the first one's events."""
    copies = copy.deepcopy(doors)
    change(copies[0].connections[0].events, index)
    return copies


def drop(events, index):
    del events[index]


def double(events, index):
    events.insert(index, copy.deepcopy(events[index]))


def swap(events, index):
    events[index], events[index + 1] = events[index + 1], events[index]


def invent(events, index):
    strange = copy.deepcopy(events[index])
    for name in {"turn", "message"} & set(strange):
        strange[name] = str(uuid4()) if isinstance(strange[name], str) else strange[name] | {"id": str(uuid4())}
    events.insert(index, strange)


def may_not_change_places(*neighbours) -> bool:
    """`accepted` answers one's own message, whose place one knows: its seq tells, not when it comes."""
    kinds = [event["type"] for event in neighbours]
    return len(kinds) == 2 and "accepted" not in kinds and set(kinds) <= set(JUDGED)


JUDGED = ("accepted", "turn.started", "delta", "turn.finished")


async def test_a_true_history_has_no_fault(told):
    assert history.faults(*told) == []


@pytest.mark.parametrize(("change", "kind"), [(drop, "lost"), (double, "doubled"), (swap, ""), (invent, "phantom")])
async def test_each_event_dropped_doubled_swapped_or_invented_is_recognised(told, change, kind):
    stored, doors = told
    events = doors[0].connections[0].events
    places = [index for index, event in enumerate(events) if event["type"] in JUDGED]
    assert len(places) > 10
    missed = {}
    for index in places:
        if change is swap and not may_not_change_places(*events[index : index + 2]):
            continue
        found = history.faults(stored, doctored(doors, index, change))
        if not any(kind in fault for fault in found):
            missed[index] = (events[index], found)
    assert missed == {}
