"""agents.others: what sockets of a conversation tell each other, and whoever is alone tells nobody."""

import asyncio
from uuid import uuid4

import pytest
from channels.layers import channel_layers

from agents.others import Others


class Member:
    """A socket's part of it, on the channel layer that sockets use."""

    def __init__(self, tenant, layer, name: str, *, alone: bool):
        self.layer, self.name = layer, name
        self.others = Others(tenant, layer, name)
        self.others.may_be_there = not alone

    async def hear(self) -> bool:
        """Whether the next hint has news."""
        async with asyncio.timeout(5):
            return await self.others.heard(await self.layer.receive(self.name))

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
    made = Member(tenant, layer, await layer.new_channel(), alone=alone)
    assert await made.others.enter(conversation)
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


async def test_they_answer_each_other_once(acme, layer):
    conversation = uuid4()
    members = [await member(acme, layer, conversation) for _ in range(3)]
    await members[0].others.say()
    assert [await one.hear() for one in members] == [False, True, True]
    await asyncio.sleep(0.1)
    assert not any(one.waiting for one in members)
