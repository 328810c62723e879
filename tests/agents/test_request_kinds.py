"""Requests whose parameters litellm has worked out before: the same bodies, and nothing of the request before them."""

import asyncio
import pkgutil

import pytest

from agents import llm
from agents.errors import ModelRefused, ModelUnavailable
from agents.llm import Request
from agents.request_kinds import HANDLER, MOST, Kinds
from metering import attention
from tenants import store
from tenants.context import acting_for_platform
from tests.doubles import Reply, openai_server
from tests.threads import in_thread

TOOL = {"type": "function", "function": {"name": "look_up", "description": "", "parameters": {"type": "object"}}}
CALL = {"id": "call_0", "type": "function", "function": {"name": "look_up", "arguments": '{"for": "it"}'}}
CONVERSATION = [
    {"role": "system", "content": "You are Ada."},
    {"role": "user", "content": "Grüße, 🙂?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_0", "content": "nothing"},
    {"role": "assistant", "content": ""},
    {"role": "user", "content": "And now?"},
]
MODELS = ["m", "gpt-4o-mini", "gpt-4.1", "gpt-5", "gpt-5-mini", "gpt-5-search-api", "o3-mini", "o1", "ft:gpt-4o:us::1"]

NO_ROOM = (
    "Could not finish the message because max_tokens or model output limit was reached. "
    "Please try again with higher max_tokens."
)


class Counting:
    """litellm, how often it worked a request out, and what it is to do with the coroutine."""

    def __init__(self, litellm):
        self.utils, self._litellm, self.count, self.change = litellm.utils, litellm, 0, lambda coroutine: coroutine

    def completion(self, **arguments):
        self.count += 1
        return self.change(self._litellm.completion(**arguments))


@pytest.fixture(scope="module")
def server():
    with openai_server() as running:
        yield running


@pytest.fixture
async def counting(monkeypatch):
    """litellm, with nothing known yet."""
    llm.warm()
    counting = Counting(llm._loaded.litellm)
    monkeypatch.setattr(llm, "_loaded", llm._loaded._replace(kinds=Kinds(counting)))
    yield counting
    await llm.close()


def question(server, model="m", **changes) -> Request:
    values = {"messages": CONVERSATION, "tools": [TOOL], "max_tokens": 50, "temperature": 0.2, "api_key": "sk-second",
              "user": "second", "api_base": server.url}  # fmt: skip
    return Request(**(values | {"model": f"openai/{model}"} | changes))


def another(server, model="m", **changes) -> Request:
    mine = {"messages": [{"role": "user", "content": "first question"}], "api_key": "sk-first", "user": "first"}
    return question(server, model, **(mine | changes))


async def sent(server, request: Request) -> tuple[dict, dict]:
    """The body and headers that reached the provider."""
    assert [event async for event in llm.stream(request)]
    return server.requests[-1].body, server.requests[-1].headers


async def sent_by_litellm(server, request: Request) -> tuple[dict, dict]:
    """The same where nothing is known."""
    arguments = llm._arguments(request)
    response = await llm._loaded.litellm.completion(acompletion=True, **arguments)
    await response.completion_stream.response.aclose()
    return server.requests[-1].body, server.requests[-1].headers


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "changes", [{}, {"tools": []}, {"temperature": None}, {"temperature": 1.0, "max_tokens": 9}],
    ids=["all", "no tools", "no temperature", "short"],
)  # fmt: skip
async def test_a_known_kind_is_asked_as_litellm_would(server, counting, model, changes):
    await sent(server, another(server, model, **changes))
    known = await sent(server, question(server, model, **changes))
    assert counting.count == 1
    assert known == await sent_by_litellm(server, question(server, model, **changes))
    assert "first" not in str(known)


@pytest.mark.parametrize(
    "changes",
    [{"model": "openai/gpt-4o"}, {"tools": []}, {"temperature": 0.3}, {"temperature": None}, {"max_tokens": 51}],
)
async def test_what_changes_the_parameters_is_another_kind(server, counting, changes):
    await sent(server, question(server))
    await sent(server, question(server, **changes))
    assert counting.count == 2


async def test_of_a_known_kind_litellm_notes_no_times(server, counting, monkeypatch):
    noted = []

    async def note(_, **facts):
        noted.append(facts)

    monkeypatch.setattr("litellm._service_logger.ServiceLogging.async_service_success_hook", note)
    for request in (another(server), question(server)):
        await sent(server, request)
        await asyncio.sleep(0)  # it notes in tasks
        assert len(noted) == 1


async def test_the_body_of_a_known_kind_is_read_without_litellms_wrapper(server, counting, monkeypatch):
    await sent(server, another(server))
    monkeypatch.delattr("litellm.llms.openai.openai.CustomStreamWrapper")
    await sent(server, question(server))
    assert counting.count == 1


def hiding(wrapper):
    """litellm's stream as of a litellm that keeps the body to itself, behind an iterator of its own."""

    def stream(completion_stream, **named):
        return wrapper(completion_stream=(chunk async for chunk in completion_stream), **named)

    return stream


@pytest.fixture
def untold():
    """Nothing was told, whatever other tests did."""
    store.client().delete(attention.SLOW_READING_KEY)
    yield
    store.client().delete(attention.SLOW_READING_KEY)


async def test_operators_are_told_of_a_litellm_that_hides_the_body(server, counting, untold, monkeypatch, caplog):
    counting.change = wrapped
    name = "litellm.llms.openai.openai.CustomStreamWrapper"
    monkeypatch.setattr(name, hiding(pkgutil.resolve_name(name.replace(".Custom", ":Custom"))))
    for n in range(3):
        request = question(server, messages=[{"role": "user", "content": f"[[say=answer {n}]]"}])
        given = [event async for event in llm.stream(request)]
        assert "".join(event.text for event in given if isinstance(event, llm.Delta)) == f"answer {n}"
        assert given[-1].reason == "stop"
    assert await asyncio.to_thread(in_thread, told) == ["Slow"]
    assert caplog.text.count("read by litellm's iterator") == 1


async def test_operators_are_told_nothing_of_an_answer_that_litellm_makes_up(server, counting, untold):
    for _ in range(2):
        server.script(Reply(status=400, why=NO_ROOM))
        given = [event async for event in llm.stream(question(server, "gpt-5"))]
        assert given[-1].reason == "length"
    assert await asyncio.to_thread(in_thread, told) == []


def told() -> list[str]:
    with acting_for_platform("a test"):
        return [notice.label for notice in attention.notices() if notice.subject == "Models"]


async def test_another_address_is_another_kind(server, counting):
    await sent(server, question(server))
    with openai_server() as elsewhere:
        await sent(elsewhere, question(elsewhere))
    assert counting.count == 2


async def test_requests_of_one_kind_at_once_keep_what_is_their_own(server, counting):
    requests = [
        question(server, api_key=f"sk-{n}", user=f"user {n}", model="gpt-4o-mini",
                 messages=[{"role": "user", "content": f"[[say=answer {n}]]"}])
        for n in range(40)
    ]  # fmt: skip
    before = len(server.requests)

    async def answer(request):
        return "".join([event.text async for event in llm.stream(request) if isinstance(event, llm.Delta)])

    assert await asyncio.gather(*map(answer, requests)) == [f"answer {n}" for n in range(40)]
    for request in list(server.requests)[before:]:
        number = request.body["user"].removeprefix("user ")
        assert request.headers["authorization"] == f"Bearer sk-{number}"
        assert request.body["messages"] == [{"role": "user", "content": f"[[say=answer {number}]]"}]
    assert counting.count == 1


async def test_a_kind_keeps_nothing_of_a_request_and_is_not_changed_by_one(server, counting):
    await sent(server, another(server))
    (kind,) = llm._loaded.kinds._known.values()  # whatever it holds
    learned = repr(kind)
    for word in ("sk-first", "first question", "'first'"):
        assert word not in learned
    for reply, error in ((Reply(status=422), ModelRefused), (Reply(status=429), ModelUnavailable)):
        server.script(reply)
        with pytest.raises(error):
            await sent(server, question(server))
    await sent(server, question(server))
    assert repr(kind) == learned
    assert counting.count == 1


async def wrapped(coroutine):
    return await coroutine


async def renamed(request):
    """As a litellm whose handler is called otherwise."""
    return await request


renamed.__qualname__ = HANDLER


@pytest.mark.parametrize("change", [wrapped, renamed])
async def test_a_litellm_that_goes_another_way_is_asked_each_time(server, counting, change):
    counting.change = change
    await sent(server, another(server))
    await sent(server, question(server))
    assert counting.count == 2


async def test_no_more_kinds_are_kept_than_memory_is_meant_for(server, counting):
    kinds = Kinds(counting)
    for tokens in [*range(1, MOST + 2), 1]:
        kinds.call(llm._arguments(question(server, max_tokens=tokens))).close()
    assert counting.count == MOST + 2  # the first was forgotten
    kinds.call(llm._arguments(question(server, max_tokens=MOST + 1))).close()
    assert counting.count == MOST + 2  # the last was not
