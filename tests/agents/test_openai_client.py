"""agents.openai_client: what providers say instead of an answer."""

import asyncio

import pytest

from agents import answer_reading, llm
from agents.errors import ModelRefused, ModelUnavailable
from agents.llm import Request
from tests.doubles import Reply, openai_server


@pytest.fixture
async def provider():
    with openai_server() as running:
        yield running
        await llm.close()


def question(provider, **changes) -> Request:
    values = {"model": "openai/m", "messages": [{"role": "user", "content": "Hello?"}], "tools": [], "max_tokens": 50,
              "temperature": None, "api_key": "sk-1", "api_base": provider.url, "user": "u1"}  # fmt: skip
    return Request(**(values | changes))


async def asked(provider, **changes) -> list:
    """What comes of a question to it."""
    return [event async for event in llm.stream(question(provider, **changes))]


def in_use() -> int:
    """Connections to providers that no other question can have."""
    return len(llm._loaded.clients._pools[asyncio.get_running_loop()].connector._acquired)


async def test_a_compressed_refusal_is_told_apart_like_any_other(provider):
    provider.script(Reply(status=401, gzipped=True), Reply(status=429, gzipped=True, retry_after="7"))
    with pytest.raises(ModelRefused) as refused:
        await asked(provider)
    assert refused.value.details["reason"] == "key"
    with pytest.raises(ModelUnavailable) as unavailable:
        await asked(provider)
    assert unavailable.value.details["retry_after"] == 7


async def test_a_refusal_without_end_is_left_and_holds_no_connection(provider):
    provider.script(Reply(status=500, endless=True))
    async with asyncio.timeout(5):
        with pytest.raises(ModelUnavailable):
            await asked(provider)
    assert not in_use()


@pytest.mark.parametrize("hidden", [False, True], ids=["our reader", "litellm's iterator"])
async def test_a_stopped_answer_holds_no_connection(provider, monkeypatch, hidden):
    if hidden:
        monkeypatch.setattr(answer_reading, "OPENAI_SHAPED", set())
    for _ in range(3):
        provider.script(Reply(tokens=100, gap=0.05))
        answer = llm.stream(question(provider))
        await anext(answer)
        assert in_use()
        await answer.aclose()
        assert not in_use()


async def test_a_connection_that_we_close_ourselves_is_no_cancellation(provider):
    provider.script(Reply(stall=0))
    asking = asyncio.create_task(asked(provider, api_base=provider.url.replace("127.0.0.1", "localhost")))
    await asyncio.sleep(0)
    while not llm._loaded.clients._pools:
        await asyncio.sleep(0)
    await llm.close()
    with pytest.raises(ModelUnavailable):
        await asking


async def test_a_refused_question_leaves_its_connection_to_the_next(provider):
    provider.script(Reply(status=429), Reply(text="Yes."))
    with pytest.raises(ModelUnavailable):
        await asked(provider)
    assert await asked(provider)
    session = llm._loaded.clients._pools[asyncio.get_running_loop()]
    assert [len(kept) for kept in session.connector._conns.values()] == [1]
