"""agents.others: what sockets of a conversation tell each other, and whoever is alone tells nobody."""

import asyncio
from uuid import uuid4

import pytest
from channels.layers import channel_layers
from redis.asyncio.client import PubSub

from agents.others import Others
from tenants import store
from tests.agents.chatting import Browser


class Member:
    """A socket's part of it, on the channel layer that sockets use."""

    def __init__(self, tenant, layer, name: str):
        self.layer, self.name = layer, name
        self.others = Others(tenant, layer, name)

    async def hear(self) -> bool:
        """Whether the next hint has news."""
        async with asyncio.timeout(5):
            return await self.others.take(await self.layer.receive(self.name))

    @property
    def waiting(self) -> int:
        """Hints that it has not taken yet."""
        return self.layer._get_layer().channels[self.name].qsize()


@pytest.fixture
async def layer():
    """Its lines belong to the test's loop."""
    layer = channel_layers.make_backend("default")
    yield layer
    await layer.flush()


async def member(tenant, layer, conversation, *, alone: bool = False) -> Member:
    """Has entered."""
    made = Member(tenant, layer, await layer.new_channel())
    assert await made.others.enter(conversation, alone=alone)
    return made


async def test_whoever_was_alone_tells_who_enters_that_there_is_news(acme, layer):
    conversation = uuid4()
    first = await member(acme, layer, conversation, alone=True)
    other = await member(acme, layer, conversation)
    await first.others.say()  # of which the other has to hear all the same
    await other.others.say(news=False)
    assert not await first.hear()  # that it is there
    assert not await other.hear()  # its own
    assert await other.hear()
    assert not await first.hear()
    await first.others.say()
    assert await other.hear()
    assert not other.waiting


async def test_those_who_were_alone_answer_once(acme, layer):
    """Two may take themselves for alone: neither was in the group when the other said that it had entered."""
    conversation = uuid4()
    alone = [await member(acme, layer, conversation, alone=True) for _ in range(2)]
    for one in alone:
        await one.others.say()
    third = await member(acme, layer, conversation)
    await third.others.say(news=False)
    everybody = [*alone, third]
    assert [await one.hear() for one in everybody] == [False] * 3
    news = [[await one.hear(), await one.hear()].count(True) for one in everybody]
    assert news == [1, 1, 2]  # but for their own
    await asyncio.sleep(0.1)
    assert not any(one.waiting for one in everybody)


async def test_what_was_said_while_others_could_not_be_heard_is_told_afterwards(acme, layer):
    """Its line to Valkey was away when they entered, and is there again: see ChatConsumer.hints_missed."""
    conversation = uuid4()
    first = await member(acme, layer, conversation, alone=True)
    await first.others.say()
    other = await member(acme, layer, conversation)  # and what it says at that is lost
    await first.others.say()
    first.others.may_have_entered()
    await first.others.say(news=False)
    assert await other.hear()
    await first.others.say(news=False)
    assert not await other.hear()


@pytest.fixture
def browser(acme, server) -> Browser:
    return Browser(acme, server)


async def test_a_socket_alone_in_its_conversation_sends_no_hints_until_another_comes(browser, acme):
    with store.client().pubsub() as listening:
        listening.psubscribe(f"*t.{acme.id}.conversation.*")

        def hints() -> int:
            heard = iter(lambda: listening.get_message(timeout=0.1), None)
            return sum(message["type"] == "pmessage" for message in heard)

        async with browser.socket() as one:
            for text in ("Hello?", "And now?"):
                await one.ask(text)
                finished = await one.until("turn.finished")
            assert not await asyncio.to_thread(hints)
            async with browser.socket(hello={"conversation": one.ready["conversation"], "seq": finished["seq"]}):
                assert await asyncio.to_thread(hints)


async def test_a_line_that_two_make_anew_at_once_is_one_that_broke_and_no_fault(layer, caplog, monkeypatch):
    async def busy(*_, **__):
        raise RuntimeError("read() called while another coroutine is already waiting for incoming data")

    monkeypatch.setattr(PubSub, "get_message", busy)
    await layer.group_add("group", await layer.new_channel())
    async with asyncio.timeout(5):
        while not (said := [record for record in caplog.records if record.name == "channels_redis.pubsub"]):
            await asyncio.sleep(0.05)
    assert not [record for record in said if record.exc_info and record.exc_info[0] is RuntimeError]
