"""The same agent on a real provider's protocol, and what an end user meets when that provider misbehaves.

A local server speaks OpenAI's API; the last user message orders what it does (tests/doubles/openai_server.py).
"""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest
from django.db import connections

from agents import publishing, retries
from agents.conversations import opening, reading, recording, visitors
from agents.conversations.models import Message, ToolCall, Turn
from metering.models import UsageRecord
from metering.outbox.models import UsageEvent
from tenants.context import acting_for, run_for
from tenants.ids import uuid7
from tests.agents.chatting import Browser
from tests.conftest import web_process
from tests.doubles import openai_server
from tests.doubles.openai_server import Reply


@pytest.fixture(scope="module")
def provider():
    """The stand-in provider."""
    with openai_server() as server:
        yield server


@pytest.fixture(scope="module")
def model_process(provider):
    """A web process whose agents run on the stand-in."""
    with web_process(
        OPENAI_BASE_URL=provider.url, OPENAI_API_KEY="sk-stand-in", DEFAULT_MODEL="openai/stand-in"
    ) as port:
        yield port


@pytest.fixture
def browser(acme, model_process) -> Browser:
    """A visitor of acme, whose agent runs on the stand-in."""
    return Browser(acme, model_process)


async def answer_to(browser: Browser, text: str) -> tuple[dict, list[dict]]:
    """The finished turn and all events."""
    async with browser.socket() as chat:
        await chat.ask(text)
        while (event := await chat.next())["type"] != "turn.finished":
            pass
    return event, chat.events


async def test_the_agent_answers_on_a_real_provider_with_its_key_prompt_and_usage(browser, acme, provider):
    finished, events = await answer_to(browser, "[[say=The clinic opens at eight.]]")
    assert finished["message"]["text"] == "The clinic opens at eight."
    assert finished["outcome"] == "done"
    assert events[0]["agent"]["demo"] is False
    request = provider.last_request("[[say=The clinic opens at eight.]]")
    assert request.headers["authorization"] == "Bearer sk-stand-in"
    roles = [message["role"] for message in request.body["messages"]]
    assert roles == ["system", "system", "user"]
    payload = await run_for(acme, lambda: _usage_of(finished["turn"]))
    assert payload["certainty"] == "exact" and payload["output_tokens"] > 0


def _usage_of(turn: str) -> dict:
    event = UsageEvent.objects.filter(payload__turn_id=turn).first()
    if event:
        return event.payload
    return UsageRecord.objects.filter(turn_id=turn).values().get()


async def test_history_comes_from_our_store_and_the_question_is_last(browser, provider):
    async with browser.socket() as chat:
        for text in ("[[say=First answer.]]", "[[say=Second answer.]]"):
            await chat.ask(text)
            await chat.until("turn.finished")
    messages = provider.last_request("[[say=Second answer.]]").body["messages"]
    said = [(message["role"], message["content"]) for message in messages]
    assert ("assistant", "First answer.") in said
    assert said[-1] == ("user", "[[say=Second answer.]]")


async def test_a_tool_is_called_shown_and_its_result_goes_back_to_the_model(browser, acme, provider):
    question = "What time is it?"
    provider.script(Reply(text="", tools=[("current_time", "{}")]), Reply(text="It is noon."), to=question)
    finished, events = await answer_to(browser, question)
    kinds = [event["type"] for event in events]
    assert kinds.index("tool.started") < kinds.index("tool.finished") < kinds.index("delta")
    assert finished["message"]["text"] == "It is noon."
    assert provider.last_request(question).body["messages"][-1]["role"] == "tool"

    def stored():
        call = ToolCall.objects.get()
        return call.name, call.ok, call.arguments

    assert await run_for(acme, stored) == ("current_time", True, {})


async def test_a_model_that_calls_tools_for_ever_is_ended(browser, provider):
    finished, events = await answer_to(browser, "[[say=]][[tool=current_time]]")  # its reply to any result, too
    assert finished["outcome"] == "incomplete"
    assert sum(event["type"] == "tool.started" for event in events) == 4


async def test_r7_a_stream_without_its_end_mark_is_incomplete_and_says_so(browser, acme):
    finished, _ = await answer_to(browser, "[[tokens=20]][[no finish]][[no usage]][[no done]]")
    assert finished["outcome"] == "incomplete"
    assert finished["message"]["text"]
    payload = await run_for(acme, lambda: _usage_of(finished["turn"]))
    assert payload["certainty"] == "estimated"


def tries(provider, question: str) -> int:
    """How often the provider was asked it."""
    return sum(request.body["messages"][-1]["content"] == question for request in list(provider.requests))


@pytest.mark.parametrize(("order", "asked"), [("[[status=500]]", 3), ("[[status=429]]", 3), ("[[status=401]]", 1)])
async def test_r6_a_provider_that_fails_is_told_plainly_and_the_question_is_kept(browser, acme, provider, order, asked):
    before = tries(provider, order)
    finished, events = await answer_to(browser, order)
    assert finished["outcome"] == "failed" and tries(provider, order) - before == asked
    [error] = [event for event in events if event["type"] == "error"]
    assert error["code"] in ("model_unavailable", "model_refused")
    assert "sk-" not in str(events)
    texts = await run_for(acme, lambda: [message.text for message in Message.objects.order_by("seq")])
    assert texts == [order]


@pytest.mark.parametrize("failure", [Reply(status=503), Reply(status=429, retry_after="1"), Reply(abort=True, cut=0)])
async def test_r6_a_provider_that_fails_before_its_first_word_is_asked_again(browser, acme, provider, failure):
    question = f"Are you open? {uuid4()}"
    provider.script(failure, Reply(text="Yes."), to=question)
    finished, events = await answer_to(browser, question)
    assert (finished["outcome"], finished["message"]["text"], tries(provider, question)) == ("done", "Yes.", 2)
    assert not any(event["type"] == "error" for event in events)
    accepted = failure.status == 200  # then the provider counts the first try, too
    assert await run_for(acme, lambda: _certainties(finished["turn"])) == ["estimated"] * accepted + ["exact"]


def _certainties(turn: str) -> list[str]:
    """Of all uses of a turn, whether or not the ledger has them yet."""
    waiting = {event.id: event.payload["certainty"] for event in UsageEvent.objects.filter(payload__turn_id=turn)}
    known = {record.event_id: record.certainty for record in UsageRecord.objects.filter(turn_id=turn)}
    return sorted((waiting | known).values())


async def test_r6_a_provider_that_wants_to_be_left_alone_for_long_is_not_asked_again(browser, provider):
    question = f"Are you open? {uuid4()}"
    provider.script(Reply(status=429, retry_after="30"), to=question)
    finished, events = await answer_to(browser, question)
    [error] = [event for event in events if event["type"] == "error"]
    assert (finished["outcome"], error["retry_after"], tries(provider, question)) == ("failed", 30, 1)


async def test_r6_a_model_that_answers_nobody_is_left_alone_by_its_tenant_and_by_no_other(
    browser, globex, provider, model_process
):
    others = [replace(browser, cookies={}) for _ in range(5)]
    await asyncio.gather(*(answer_to(other, "[[status=500]]") for other in others))
    question = f"[[say=Yes.]] {uuid4()}"
    finished, events = await answer_to(browser, question)
    [error] = [event for event in events if event["type"] == "error"]
    assert (finished["outcome"], error["code"], tries(provider, question)) == ("failed", "model_unavailable", 0)
    assert 0 < error["retry_after"] <= retries.OPEN_SECONDS
    finished, _ = await answer_to(Browser(globex, model_process), question)
    assert finished["outcome"] == "done"


async def test_r6_a_moment_of_trouble_that_meets_many_refuses_nobody(browser, provider):
    questions = [f"Are you open? {uuid4()}" for _ in range(6)]
    for question in questions:
        provider.script(Reply(status=429, retry_after="1"), Reply(text="Yes."), to=question)
    visitors = [replace(browser, cookies={}) for _ in questions]
    ends = await asyncio.gather(*map(answer_to, visitors, questions))
    assert [finished["outcome"] for finished, _ in ends] == ["done"] * 6


async def test_a_question_that_is_stopped_between_two_tries_counts_nothing(browser, acme, provider):
    question = f"Are you open? {uuid4()}"
    provider.script(Reply(status=429, retry_after="5"), Reply(text="Yes."), to=question)
    async with browser.socket() as chat:
        await chat.ask(question)
        accepted = await chat.until("accepted")
        async with asyncio.timeout(20):
            while not tries(provider, question):
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)  # its refusal has arrived
        await chat.send({"type": "stop", "turn": accepted["turn"]})
        finished = await chat.until("turn.finished")
    assert (finished["outcome"], finished["message"], tries(provider, question)) == ("stopped", None, 1)
    assert await run_for(acme, lambda: _certainties(finished["turn"])) == []


async def test_r7_an_answer_cut_before_its_first_word_stores_no_message(browser, acme):
    finished, _ = await answer_to(browser, "[[cut=0]]")
    assert (finished["outcome"], finished["message"]) == ("incomplete", None)
    assert await run_for(acme, Message.objects.count) == 1


async def test_a_stopped_answer_keeps_its_text_and_its_usage_is_estimated(browser, acme):
    async with browser.socket() as chat:
        await chat.ask("[[tokens=200]][[gap=0.02]]")
        delta = await chat.until("delta")
        await chat.send({"type": "stop", "turn": delta["turn"]})
        finished = await chat.until("turn.finished")
    assert finished["outcome"] == "stopped"
    assert finished["message"]["text"].startswith(chat.text_of(delta["turn"]))
    payload = await run_for(acme, lambda: _usage_of(finished["turn"]))
    assert payload["certainty"] == "estimated"


async def test_h5_five_questions_wait_for_an_answer_and_no_more(browser, acme):
    async with browser.socket() as chat:
        first = await chat.ask("[[tokens=200]][[gap=0.02]]")
        await chat.until("delta")
        for _ in range(5):
            await chat.ask("And?")
            await chat.until("accepted")
        refused = await chat.ask("And?")
        error = await next_error(chat)
        assert (error["code"], error["id"], error["retry_after"]) == ("too_many_waiting", refused, 5)
        await chat.ask("[[tokens=200]][[gap=0.02]]", client_id=first)  # sent again, it is not one more
        assert (await chat.until("accepted"))["id"] == first
    assert await run_for(acme, lambda: Message.objects.filter(role="user").count()) == 6


async def test_a_question_that_waited_is_answered_with_the_answer_before_it_in_mind(browser, provider):
    async with browser.socket() as chat:
        await chat.ask("First. [[tokens=30]][[gap=0.02]]")
        await chat.until("delta")
        await chat.ask("Second. [[tokens=2]]")
        first, _ = await chat.until("turn.finished"), await chat.until("turn.finished")
    messages = provider.last_request("Second. [[tokens=2]]").body["messages"]
    said = [(one["role"], one["content"]) for one in messages if one["role"] != "system"]
    assert [role for role, _ in said] == ["user", "assistant", "user"]
    assert (said[0][1][:6], said[1][1], said[2][1][:7]) == ("First.", first["message"]["text"], "Second.")


async def test_a_message_that_cannot_be_read_leaves_the_rest_of_its_conversation_usable(browser, acme, provider):
    def spoil():
        with connections[acme.alias].cursor() as cursor:
            cursor.execute("update conversations_message set text = %s where seq in (1, 4)", [b"\x01no text"])
            cursor.execute("update conversations_message set citations = %s where seq = 2", [b"\x01no list"])

    async with browser.socket() as chat:
        for text in ("[[say=One.]]", "[[say=Two.]]"):
            await chat.ask(text)
            await chat.until("turn.finished")
    await run_for(acme, spoil)
    async with browser.socket() as chat:
        told = [await chat.until(kind) for kind in ("message", "turn.finished", "message", "turn.finished")]
        await chat.ask("[[say=One.]]", client_id=told[0]["message"]["client_id"])  # not answered again
        assert (await chat.until("accepted"))["seq"] == 1
        await chat.ask("[[say=Three.]]")
        finished = await chat.until("turn.finished")
        while finished["message"]["text"] != "Three.":
            finished = await chat.until("turn.finished")
    texts = [reading.UNREADABLE, "One.", "[[say=Two.]]", reading.UNREADABLE]
    assert [event["message"]["text"] for event in told] == texts
    assert all(text in browser.page for text in texts)
    sent = provider.last_request("[[say=Three.]]").body["messages"]
    assert [one["content"] for one in sent if one["role"] != "system"] == ["One.", "[[say=Two.]]", "[[say=Three.]]"]


async def next_error(chat) -> dict:
    """The next error; an answer may be streaming meanwhile."""
    while (event := await chat.next())["type"] != "error":
        pass
    return event


async def test_another_visitor_cannot_stop_the_answer(browser, acme, model_process):
    async with browser.socket() as chat, Browser(acme, model_process).socket() as stranger:
        await chat.ask("[[tokens=40]][[gap=0.02]]")
        delta = await chat.until("delta")
        await stranger.send({"type": "stop", "turn": delta["turn"]})
        assert (await chat.until("turn.finished"))["outcome"] == "done"


def test_a_turn_that_killed_two_processes_is_not_run_again(acme):
    with acting_for(acme):
        opened = opening.open_turn(
            turn=uuid7(), conversation=uuid7(), visitor=visitors.known_by("v"), client_id=uuid4(), text="Hello?",
            version=publishing.live_version(),
        )  # fmt: skip
        again = recording.take_over(opened.turn, attempt=1)
        assert (again.turn, again.attempt, again.question) == (opened.turn, 2, "Hello?")
        assert recording.take_over(opened.turn, attempt=1) is None  # somebody else was faster
        assert recording.take_over(opened.turn, attempt=2) is None
        assert Turn.objects.get().state == "interrupted"
        closed = recording.close_turn(
            opened=opened, attempt=1, outcome="done", author="A", text="late", citations=[], tool_calls=[], uses=[],
        )  # fmt: skip
        assert closed is None
        assert Message.objects.filter(role="agent").count() == 0
