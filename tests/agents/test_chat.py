"""The chat door against a real web process: what an end user's browser meets."""

import asyncio
import os
import random
from pathlib import Path
from uuid import uuid4

import pytest
import websockets

from agents.conversations.models import Conversation, Feedback, Message, Turn
from metering.models import UsageRecord
from metering.outbox import pending
from metering.outbox.models import UsageEvent
from tenants import store
from tenants.context import run_for
from tests.agents.chatting import Browser
from tests.conftest import repeats

GREETING = "Hello, who are you?"


@pytest.fixture
def browser(acme, server) -> Browser:
    """A visitor of acme."""
    return Browser(acme, server)


async def test_an_answer_streams_in_and_is_stored_as_it_was_shown(browser, acme):
    async with browser.socket() as chat:
        client_id = await chat.ask(GREETING)
        accepted = await chat.until("accepted")
        assert accepted["id"] == client_id
        finished = await chat.until("turn.finished")
    assert finished["outcome"] == "done"
    assert chat.text_of(accepted["turn"]) == finished["message"]["text"] != ""
    numbers = [event["n"] for event in chat.events if event["type"] == "delta"]
    assert numbers == sorted(set(numbers))

    def stored():
        return [(message.role, message.text) for message in Message.objects.order_by("seq")]

    assert await run_for(acme, stored) == [("user", GREETING), ("agent", finished["message"]["text"])]


async def test_a_reload_shows_the_conversation_in_the_page_itself(browser):
    async with browser.socket() as chat:
        await chat.ask(GREETING)
        finished = await chat.until("turn.finished")
    await browser.ticket()
    assert GREETING in browser.page
    assert finished["message"]["text"].split()[0] in browser.page


async def test_a_dropped_socket_does_not_stop_the_answer(browser, acme):
    async with browser.socket() as chat:
        await chat.ask(GREETING)
        accepted = await chat.until("accepted")
    hello = {"conversation": chat.ready["conversation"], "seq": accepted["seq"],
             "turn": {"turn": accepted["turn"], "attempt": 1, "n": 0}}  # fmt: skip
    async with browser.socket(hello=hello) as again:
        finished = await again.until("turn.finished")
    assert finished["outcome"] == "done"


async def test_a_visitor_who_leaves_while_being_answered_is_no_fault(browser, server):
    log = Path(os.environ["DATA_DIR"]) / f"test-web-{server}.log"
    before = log.read_text().count("frame failed")
    for milliseconds in range(4, 20):
        async with browser.socket() as chat:
            await chat.ask(GREETING)
            await asyncio.sleep(milliseconds / 1000)
            chat.raw.transport.abort()
    async with browser.socket() as chat:
        await chat.ask(GREETING)
        await chat.until("turn.finished")
    assert log.read_text().count("frame failed") == before


@pytest.mark.mass
async def test_sockets_that_drop_and_return_at_random_lose_and_double_nothing(browser, acme):
    wrong, hello, seq = [], {}, 0
    for number in range(repeats(200)):
        texts, cursor, client_id = [], None, str(uuid4())
        finished, turn = None, None
        hello.pop("turn", None)
        while finished is None:
            async with browser.socket(hello=hello) as chat:
                if turn is None:
                    await chat.ask(f"Question {number}: {GREETING}", client_id=client_id)
                events = random.randint(1, 12)
                for _ in range(events):
                    event = await chat.next()
                    seq = max(seq, event.get("seq", 0))
                    if event["type"] == "accepted":
                        turn = event["turn"]
                    elif event["type"] == "message" and event["message"]["client_id"] == client_id:
                        turn = event["message"]["turn"]  # it was stored, but the drop was faster than the news
                    elif event["type"] == "delta" and event["turn"] == turn:
                        assert cursor is None or event["n"] > cursor["n"]
                        texts.append(event["text"])
                        cursor = {"turn": turn, "attempt": event["attempt"], "n": event["n"]}
                    elif event["type"] == "turn.finished" and event["turn"] == turn:
                        finished = event
                        break
            hello = {"conversation": chat.ready["conversation"], "seq": seq}
            hello |= {"turn": cursor} if cursor else {}
        if not finished["message"]["text"].startswith("".join(texts)):
            wrong.append((finished["message"]["text"], texts))
    assert wrong == []
    counts = await run_for(acme, lambda: (Turn.objects.count(), Message.objects.count()))
    assert counts == (repeats(200), 2 * repeats(200))


async def test_the_same_message_sent_twice_is_one_turn(browser, acme):
    client_id = str(uuid4())
    async with browser.socket() as one:
        await asyncio.gather(one.ask(GREETING, client_id=client_id), one.ask(GREETING, client_id=client_id))
        first, second = await one.until("accepted"), await one.until("accepted")
        await one.until("turn.finished")
    assert first == second
    assert await run_for(acme, Turn.objects.count) == 1


async def test_a_second_tab_sees_what_the_first_one_asks(browser):
    async with browser.socket() as one:
        await one.ask(GREETING)
        finished = await one.until("turn.finished")
        hello = {"conversation": one.ready["conversation"], "seq": finished["seq"]}
        async with browser.socket(hello=hello) as two:
            await one.ask("And what can you do?")
            shown = await two.until("message")
            assert shown["message"]["text"] == "And what can you do?"
            assert (await two.until("turn.finished"))["outcome"] == "done"


async def test_messages_of_one_conversation_are_answered_in_their_order(browser):
    async with browser.socket() as chat:
        first, second = await chat.ask("One?"), await chat.ask("Two?")
        turns = {}
        for _ in range(2):
            accepted = await chat.until("accepted")
            turns[accepted["id"]] = accepted["turn"]
        ended = [(await chat.until("turn.finished"))["turn"] for _ in range(2)]
    assert ended == [turns[first], turns[second]]


async def test_a_stopped_answer_keeps_its_text(browser):
    async with browser.socket() as chat:
        await chat.ask(GREETING)
        started = await chat.until("turn.started")
        await chat.send({"type": "stop", "turn": started["turn"]})
        finished = await chat.until("turn.finished")
    assert finished["outcome"] in ("stopped", "done")
    if finished["message"]:
        assert finished["message"]["text"].startswith(chat.text_of(started["turn"]))


async def test_a_question_stopped_while_it_waits_in_line_is_never_answered(browser, acme):
    async with browser.socket() as chat:
        for _ in range(6):
            await chat.ask(GREETING)
        turns = [(await chat.until("accepted"))["turn"] for _ in range(6)]
        await chat.send({"type": "stop", "turn": turns[-1]})
        chat._read = 0
        while (finished := await chat.until("turn.finished"))["turn"] != turns[-1]:
            pass
    assert (finished["outcome"], finished["message"]) == ("stopped", None)
    assert (await run_for(acme, lambda: Turn.objects.get(pk=turns[-1]))).attempt == 1


async def test_usage_is_in_the_outbox_with_the_answer(browser, acme):
    async with browser.socket() as chat:
        await chat.ask(GREETING)
        finished = await chat.until("turn.finished")

    def recorded():
        return [*UsageEvent.objects.values_list("payload__turn_id", flat=True),
                *map(str, UsageRecord.objects.values_list("turn_id", flat=True))]  # fmt: skip

    assert finished["turn"] in await run_for(acme, recorded)


async def test_usage_is_announced_before_the_answer_is_said_to_have_ended(browser, acme):
    store.client().set(pending.WHOLE, 1, ex=pending.WHOLE_SECONDS)
    async with browser.socket() as chat:
        await chat.ask(GREETING)
        finished = await chat.until("turn.finished")

    def announced():  # a worker of another test may have been quick
        marked = store.client().sismember(pending.MARKED, acme.id)
        return marked or UsageRecord.objects.filter(turn_id=finished["turn"]).exists()

    assert await run_for(acme, announced)


async def test_a_message_that_is_too_long_is_refused_and_named(browser, acme):
    async with browser.socket() as chat:
        client_id = await chat.ask("x" * 8_001)
        error = await chat.until("error")
        assert (error["code"], error["id"]) == ("message_too_long", client_id)
        assert "8,000" in error["text"]
        await chat.ask("   ")
        assert (await chat.until("error"))["code"] == "empty_message"
    assert await run_for(acme, Conversation.objects.count) == 0


@pytest.mark.parametrize(
    "frame",
    ["{", "[]", "null", '{"type":"message"}', '{"type":"drop tables"}', '{"type":"stop","turn":"x"}', '"hello"',
     '{"type":"message","id":"00000000-0000-0000-0000-000000000000","text":"a","model":"gpt-4"}'],
)  # fmt: skip
async def test_a_frame_that_is_none_of_ours_is_one_error_and_the_third_closes(browser, frame):
    async with browser.socket() as chat:
        for _ in range(3):
            await chat.send(frame)
            assert (await chat.next())["code"] == "bad_frame"
        with pytest.raises(websockets.ConnectionClosed):
            await chat.next()
        assert chat.raw.close_code == 4400


async def test_an_oversized_frame_closes_the_socket(browser):
    async with browser.socket() as chat:
        await chat.send("x" * 70_000)
        with pytest.raises(websockets.ConnectionClosed):
            await chat.next()
        assert chat.raw.close_code == 1009


async def test_bytes_are_no_frame(browser):
    async with browser.socket() as chat:
        await chat.raw.send(b"\x00\x01")
        assert (await chat.until("error"))["code"] == "bad_frame"


async def test_nothing_is_done_before_hello(browser):
    async with browser.socket(say_hello=False) as chat:
        await chat.ask(GREETING)
        assert (await chat.next())["code"] == "bad_frame"


async def test_b8_a_ticket_works_once(browser):
    ticket = await browser.ticket()
    async with browser.socket(hello={"ticket": ticket}):
        pass
    async with browser.socket(say_hello=False) as chat:
        await chat.send({"type": "hello", "ticket": ticket})
        assert (await chat.next())["code"] == "bad_ticket"


async def test_b8_a_ticket_of_another_visitor_is_refused(browser, acme, server):
    stolen = await Browser(acme, server).ticket()
    await browser.ticket()
    async with browser.socket(say_hello=False) as chat:
        await chat.send({"type": "hello", "ticket": stolen})
        assert (await chat.next())["code"] == "bad_ticket"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://sunrise.localhost", "https://acme.example"])
async def test_a_page_of_another_site_cannot_open_a_socket(browser, origin):
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with browser.socket(origin=origin):
            pass
    assert refused.value.response.status_code == 403


async def test_an_unknown_host_has_no_socket(browser):
    with pytest.raises(websockets.InvalidStatus):
        async with websockets.connect(f"ws://nobody.localhost:{browser.port}/ws/chat/", host="127.0.0.1"):
            pass


async def test_b8_a_socket_cannot_name_a_conversation_of_somebody_else(browser, acme, server):
    async with browser.socket() as chat:
        await chat.ask(GREETING)
        await chat.until("turn.finished")
    stranger = Browser(acme, server)
    answers = []
    for conversation in (chat.ready["conversation"], str(uuid4())):
        hello = {"type": "hello", "ticket": await stranger.ticket(), "conversation": conversation, "seq": 1}
        async with stranger.socket(say_hello=False) as other:
            await other.send(hello)
            answers.append(await other.next())
    assert answers[0] == answers[1]
    assert answers[0]["code"] == "no_conversation"


async def test_feedback_and_history(browser, acme):
    async with browser.socket() as chat:
        await chat.ask(GREETING)
        finished = await chat.until("turn.finished")
        await chat.send({"type": "feedback", "message": finished["message"]["id"], "value": 1})
        await chat.send({"type": "history", "before": finished["seq"], "limit": 10})
        history = await chat.until("history")
        assert [message["role"] for message in history["messages"]] == ["user"]
        unknown = str(uuid4())
        await chat.send({"type": "feedback", "message": unknown, "value": 1})
        error = await chat.until("error")
        assert (error["code"], error["id"]) == ("no_conversation", unknown)
    stored = await run_for(acme, lambda: list(Feedback.objects.values_list("value", flat=True)))
    assert stored == [1]


async def test_asking_for_a_person_is_noted_and_confirmed(browser):
    async with browser.socket() as chat:
        await chat.ask(GREETING)
        await chat.until("turn.finished")
        await chat.send({"type": "request_human"})
        assert (await chat.until("message"))["message"]["role"] == "system"


async def test_a_person_can_be_asked_for_before_anything_was_said(browser, acme):
    async with browser.socket() as chat:
        await chat.send({"type": "request_human"})
        assert (await chat.until("message"))["message"]["role"] == "system"
        await chat.ask(GREETING)
        await chat.until("turn.finished")
    assert await run_for(acme, Conversation.objects.count) == 1


async def test_a_new_conversation_begins_empty(browser):
    async with browser.socket() as chat:
        await chat.ask(GREETING)
        await chat.until("turn.finished")
    token = await browser.request("GET", "/chat/")
    csrf = token.text.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    response = await browser.request("POST", "/chat/new/", data={"csrfmiddlewaretoken": csrf})
    assert response.status_code == 302
    await browser.ticket()
    assert GREETING not in browser.page
