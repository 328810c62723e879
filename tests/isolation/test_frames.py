"""Every websocket frame, sent by a visitor of A with the ids of B: as if those did not exist."""

import json
from typing import get_args
from uuid import uuid4

import pytest

from agents import wire
from agents.conversations.models import Feedback, Message
from tenants.context import run_for
from tests.agents.chatting import Browser

FRAMES = {frame.model_fields["type"].annotation for frame in get_args(get_args(wire.Frame)[0])}
NAMES = {get_args(annotation)[0] for annotation in FRAMES}


@pytest.fixture
def apart(world):
    """A stranger with a database of its own, at which people chat here."""
    yield world.strangers[1].tenant
    world.remember()


def frames(ids: dict[str, str]) -> dict[str, dict]:
    """One frame of each type that names somebody's ids wherever it can."""
    return {
        "message": {"type": "message", "id": str(uuid4()), "text": "hi", "conversation": ids["conversation"]},
        "stop": {"type": "stop", "turn": ids["turn"]},
        "typing": {"type": "typing", "on": True, "conversation": ids["conversation"]},
        "read": {"type": "read", "seq": 1, "conversation": ids["conversation"]},
        "feedback": {"type": "feedback", "message": ids["message"], "value": -1},
        "request_human": {"type": "request_human", "conversation": ids["conversation"]},
        "history": {"type": "history", "before": 100, "limit": 50, "conversation": ids["conversation"]},
        "hello": {"type": "hello", "conversation": ids["conversation"], "seq": 1,
                  "turn": {"turn": ids["turn"], "attempt": 1, "n": 0}},
    }  # fmt: skip


def test_every_frame_of_the_wire_is_in_the_matrix():
    ids = dict.fromkeys(("conversation", "turn", "message"), "")
    assert set(frames(ids)) == NAMES, "tell tests/isolation/test_frames.py what this frame can name"


async def conversation_of(browser: Browser, text: str) -> dict[str, str]:
    """Ids of a finished conversation."""
    async with browser.socket() as chat:
        await chat.ask(text)
        finished = await chat.until("turn.finished")
    return {"conversation": chat.ready["conversation"], "turn": finished["turn"], "message": finished["message"]["id"]}


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("victim", ["another tenant", "one with a database of its own", "another visitor"])
async def test_a6_a_frame_with_foreign_ids_is_answered_like_one_with_made_up_ids(
    acme, globex, apart, server, name, victim
):
    canary = f"canary{uuid4().hex}"
    home = {"another tenant": globex, "one with a database of its own": apart, "another visitor": acme}[victim]
    foreign = await conversation_of(Browser(home, server), canary)
    made_up = {key: str(uuid4()) for key in foreign}
    answers = []
    for ids in (foreign, made_up):
        browser = Browser(acme, server)
        frame = frames(ids)[name]
        if name == "hello":
            frame["ticket"] = await browser.ticket()
        async with browser.socket(say_hello=name != "hello") as chat:
            await chat.send(frame)
            await chat.send("not a frame")  # answered after it: what came before is the frame's answer
            events = []
            while (event := await chat.next()).get("code") != "bad_frame":
                if event.get("id") == frame.get("message"):
                    event["id"] = "what was asked about"  # it comes back as it came
                events.append(event)
            if len(events) == 0:
                events.append({key: event[key] for key in ("type", "code")})
        assert canary not in json.dumps(chat.events)
        answers.append(events)
    assert answers[0] == answers[1]
    asked = await run_for(home, lambda: Message.objects.filter(conversation_id=foreign["conversation"]).first().text)
    assert asked == canary
    assert await run_for(home, Feedback.objects.count) == 0


async def test_a6_conversations_of_one_id_at_three_tenants_never_meet(acme, globex, apart, server):
    conversation = str(uuid4())
    tenants = (acme, globex, apart)
    said = {tenant.id: f"canary{uuid4().hex}" for tenant in tenants}
    browsers = {tenant.id: Browser(tenant, server) for tenant in tenants}
    for tenant in tenants:
        async with browsers[tenant.id].socket(hello={"conversation": conversation}) as chat:
            await chat.ask(said[tenant.id])
            await chat.until("turn.finished")
    for tenant in tenants:
        async with browsers[tenant.id].socket(hello={"conversation": conversation}) as chat:
            for name in ("history", "typing", "read"):
                await chat.send(frames({"conversation": conversation, "turn": "", "message": ""})[name])
            await chat.send("not a frame")
            while (await chat.next()).get("code") != "bad_frame":
                continue
        shown = browsers[tenant.id].page + json.dumps(chat.events)
        assert [text for number, text in said.items() if text in shown] == [said[tenant.id]]


async def test_a6_who_names_a_conversation_before_it_begins_gets_nothing_of_it(acme, server):
    canary, conversation = f"canary{uuid4().hex}", str(uuid4())
    async with Browser(acme, server).socket(hello={"conversation": conversation}) as spy:
        async with Browser(acme, server).socket(hello={"conversation": conversation}) as chat:
            await chat.ask(canary)
            finished = await chat.until("turn.finished")
        ids = {"conversation": conversation, "turn": finished["turn"], "message": finished["message"]["id"]}
        for name in ("history", "feedback", "stop", "request_human"):
            await spy.send({key: value for key, value in frames(ids)[name].items() if key != "conversation"})
            assert (await spy.next())["code"] == "no_conversation"  # and nothing that came by itself before it
    assert canary not in json.dumps(spy.events)
    assert await run_for(acme, Feedback.objects.count) == 0
    assert await run_for(acme, Message.objects.count) == 2
