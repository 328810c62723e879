"""One list of claims for both ways to read an answer: our own (openai/) and litellm's iterator (hosted_vllm/)."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from decimal import Decimal

import pytest
from aiohttp.client_proto import ResponseHandler

from agents import answer_reading, llm
from agents.answer import ANSWER_CHARACTERS, Answer, EventSplitter
from agents.errors import ModelRefused, ModelUnavailable
from agents.llm import Delta, Finish, Request, ToolCall, Usage
from tests.conftest import FULL
from tests.doubles import Reply, openai_bodies, openai_server

KEY = "sk-secret-4711"
TOOL = {"type": "function", "function": {"name": "look_up", "description": "", "parameters": {"type": "object"}}}
CALL = ("look_up", '{"for": "Ünïcode 🙂"}')


@pytest.fixture(scope="module")
def server():
    with openai_server() as running:
        yield running


@pytest.fixture(params=["openai/m", "hosted_vllm/m"])
def model(request):
    return request.param


@pytest.fixture(autouse=True)
async def _close():
    yield
    await llm.close()


def ask(server, model="openai/m", text="Hello?", **changes):
    values = {"tools": [TOOL], "max_tokens": 50, "temperature": 0.2, "api_key": KEY, "user": "u1"}
    messages = [{"role": "user", "content": text}]
    return Request(**(values | {"model": model, "messages": messages, "api_base": server.url} | changes))


async def events(request):
    return [event async for event in llm.stream(request)]


def text_of(given):
    return "".join(event.text for event in given if isinstance(event, Delta))


def only(kind, given):
    (event,) = [event for event in given if isinstance(event, kind)]
    return event


async def test_text_comes_as_it_arrives_then_usage_then_the_end(server, model):
    server.script(Reply(tokens=3, gap=0.1))
    *deltas, usage, finish = await events(ask(server, model))
    assert len(deltas) > 1
    assert text_of(deltas) == "token0 token1 token2 "
    assert usage == Usage(usage.input_tokens, 3, 0, "exact")
    assert finish == Finish("stop")


async def test_what_arrives_together_is_one_delta(server):
    server.script(Reply(tokens=64))
    given = await events(ask(server))
    assert [type(event) for event in given] == [Delta, Usage, Finish]


async def test_what_comes_between_two_glances_is_taken_in_at_once(server, monkeypatch):
    taken, receive = [], ResponseHandler.data_received

    def received(line, data):
        taken.append(data)
        receive(line, data)

    monkeypatch.setattr(ResponseHandler, "data_received", received)
    server.script(Reply(tokens=60, gap=0.005))
    given = await events(ask(server))
    assert text_of(given) == "".join(f"token{n} " for n in range(60))
    assert len([data for data in taken if data]) < len(given) + 5  # not one for each token


async def test_text_that_is_split_inside_a_character_is_whole_again(server, model):
    said = "Grüße, 漢字 und 🙂!"
    for size in (1, 2, 3):
        server.script(Reply(text=said, split=size))
        given = await events(ask(server, model))
        assert text_of(given) == said
        assert given[-1] == Finish("stop")


async def test_a_tool_call_is_given_out_whole_after_the_text(server, model):
    server.script(Reply(text="One moment.", tools=[CALL, ("look_up", "")], split=7))
    given = await events(ask(server, model))
    assert text_of(given) == "One moment."
    assert [event for event in given if isinstance(event, ToolCall)] == [
        ToolCall("call_0", "look_up", {"for": "Ünïcode 🙂"}),
        ToolCall("call_1", "look_up", {}),
    ]
    assert given[-1] == Finish("tool_calls")


@pytest.mark.parametrize("arguments", ['{"for": ', "[1]", '"x"', "{} {}", '{"for": "\\ud83d"}'])
async def test_arguments_that_are_not_an_object_make_no_tool_call(server, model, arguments):
    server.script(Reply(tools=[CALL, ("look_up", arguments)]))
    given = await events(ask(server, model))
    assert [type(event) for event in given] == [Usage, Finish]
    assert given[-1] == Finish("incomplete")


async def test_an_answer_cut_by_max_tokens_says_so_and_calls_nothing(server, model):
    server.script(Reply(text="So far", tools=[CALL], finish="length"))
    given = await events(ask(server, model))
    assert given[-1] == Finish("length")
    assert not [event for event in given if isinstance(event, ToolCall)]


@pytest.mark.parametrize("finish", [None, "content_filter", "something_new"])
async def test_an_end_we_do_not_know_is_incomplete(server, finish):
    server.script(Reply(text="Hm", finish=finish))
    assert (await events(ask(server)))[-1] == Finish("incomplete")


async def test_missing_usage_is_estimated_and_marked(server, model):
    server.script(Reply(text="Twelve chars", usage=False))
    usage = only(Usage, await events(ask(server, model)))
    assert usage.certainty == "estimated"
    assert usage.output_tokens == 3
    assert usage.input_tokens > 5


@pytest.mark.parametrize(
    "reported",
    [
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": 10, "completion_tokens": -4, "total_tokens": 6},
        {"prompt_tokens": 10**12, "completion_tokens": 10**12, "total_tokens": 10**12},
        {"prompt_tokens": "many"},
    ],
)
async def test_usage_that_nobody_can_believe_is_estimated(server, reported):
    server.script(Reply(text="Twelve chars", usage=reported))
    usage = only(Usage, await events(ask(server)))
    assert usage.certainty == "estimated"
    assert 0 < usage.input_tokens < 200
    assert usage.output_tokens == 3


async def test_cached_tokens_are_reported(server):
    details = {"prompt_tokens_details": {"cached_tokens": 64}}
    server.script(Reply(usage={"prompt_tokens": 100, "completion_tokens": 8, "total_tokens": 108} | details))
    assert only(Usage, await events(ask(server))) == Usage(100, 8, 64, "exact")


SHORT = Reply(text="It is 14:05.", tools=[CALL])


def short_stream(model):
    body = {"model": model.partition("/")[2], "messages": [], "stream_options": {"include_usage": True}}
    return openai_bodies.events(body, SHORT)


def test_r7_every_cut_of_the_bytes_is_incomplete_for_our_reader():
    body = b"".join(short_stream("openai/m"))
    for cut in range(len(body)):
        answer, splitter = Answer(), EventSplitter()
        for start in range(0, cut, 50):
            answer.take_events(splitter.feed(body[start : min(cut, start + 50)]))
        assert answer.result() == ([], Finish("incomplete")), cut


@pytest.mark.mass
@pytest.mark.timeout(900)
@pytest.mark.parametrize("abort", [False, True], ids=["politely", "reset"])
async def test_r7_cut_streams_are_incomplete_and_run_no_tool(server, model, abort):
    stream = short_stream(model)
    # litellm's iterator hides what follows the finish marker; with it, the answer itself is whole
    size = len(b"".join(stream if model.startswith("openai/") else stream[:-3]))
    for cut in range(0, size, 1 if FULL else 29 if abort else 13):
        server.script(Reply(text=SHORT.text, tools=SHORT.tools, cut=cut, abort=abort))
        given, failed = [], False
        try:
            async for event in llm.stream(ask(server, model)):
                given.append(event)
        except ModelUnavailable:
            failed = True
        assert not [event for event in given if isinstance(event, ToolCall)], cut
        assert only(Usage, given).certainty == "estimated" or given[-1] == Finish("incomplete"), cut
        if failed:  # only while nothing was shown
            assert text_of(given) == "", cut
        else:
            assert given[-1] == Finish("incomplete"), cut


async def test_a_litellm_whose_insides_have_changed_is_read_by_its_iterator(server, monkeypatch):
    monkeypatch.setattr(answer_reading, "OPENAI_SHAPED", set())
    server.script(SHORT)
    given = await events(ask(server))
    assert text_of(given) == SHORT.text
    assert only(ToolCall, given).arguments == {"for": "Ünïcode 🙂"}
    server.script(Reply(text=SHORT.text, tools=SHORT.tools, cut=1500))
    given = await events(ask(server))
    assert text_of(given) == SHORT.text
    assert given[-1] == Finish("incomplete")


async def test_a_stream_without_its_last_word_is_incomplete(server):
    server.script(Reply(done=False))
    assert (await events(ask(server)))[-1] == Finish("incomplete")


async def test_r8_garbage_in_the_middle_is_incomplete_and_runs_no_tool(server):
    server.script(Reply(text="a b c d", tools=[CALL], garbage=True))
    given = await events(ask(server))
    assert given[-1] == Finish("incomplete")
    assert not [event for event in given if isinstance(event, ToolCall)]


async def test_r8_garbage_that_litellm_leaves_out_harms_nothing_else(server):
    server.script(Reply(text="a b c d", tools=[CALL], garbage=True))
    given = await events(ask(server, "hosted_vllm/m"))
    assert text_of(given) == "a b c d"
    assert given[-1].reason in ("tool_calls", "incomplete")


async def test_r8_half_a_character_breaks_the_answer_but_not_us(server, model):
    server.script(Reply(text="a b \ud83d d", tools=[CALL]))
    given = await events(ask(server, model))
    assert text_of(given).startswith("a b") and text_of(given).isprintable()
    assert given[-1] == Finish("incomplete")


@pytest.mark.parametrize(
    "payload",
    [
        b"[]",
        b'"x"',
        b"7",
        b'{"choices": 3}',
        b'{"choices": ["x"]}',
        b'{"choices": [{"delta": {"content": 5}}]}',
        b'{"choices": [{"delta": {"content": ["x"]}}]}',
        b'{"choices": [{"delta": {"refusal": {"x": 1}}}]}',
    ],  # fmt: skip
)
def test_r8_events_of_another_shape_break_the_answer_but_not_us(payload):
    answer = Answer()
    answer.take_events([payload])
    answer.take_events([b'{"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}'])
    answer.take_events([b"[DONE]"])
    assert answer.result() == ([], Finish("incomplete"))


def test_r8_an_answer_or_an_event_without_end_is_given_up():
    with pytest.raises(OverflowError):
        Answer().take_events([b'{"choices": [{"delta": {"content": "%b"}}]}' % (b"x" * (ANSWER_CHARACTERS + 1))])
    splitter = EventSplitter()
    with pytest.raises(ValueError, match="no end"):
        for _ in range(100):
            splitter.feed(b"data: " + b"x" * 100_000)


def test_events_may_end_in_either_way_and_hold_comments():
    splitter = EventSplitter()
    assert splitter.feed(b": ping\r\n\r\ndata: one\r\n\r") == []  # the event's last byte is still to come
    assert splitter.feed(b"\nevent: x\ndata:two\ndata: lines\n\n") == [b"one", b"two\nlines"]


async def test_an_error_inside_the_stream_is_unavailable_before_the_first_word():
    answer = Answer()
    answer.take_events([b'{"error": {"message": "overloaded"}}'])
    assert answer.broken
    assert not answer.begun


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (400, ModelRefused, "request"),
        (401, ModelRefused, "key"),
        (403, ModelRefused, "key"),
        (404, ModelRefused, "unknown_model"),
        (429, ModelUnavailable, None),
        (500, ModelUnavailable, None),
        (503, ModelUnavailable, None),
    ],
)
async def test_errors_are_ours_and_hold_no_key(server, model, status, kind, reason, caplog):
    caplog.set_level(logging.DEBUG)
    server.script(Reply(status=status, retry_after="7"))
    before = len(server.requests)
    with pytest.raises(kind) as caught:
        await events(ask(server, model))
    assert len(server.requests) == before + 1  # nobody tried again behind our back
    assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert caught.value.details.get("reason") == reason
    if kind is ModelUnavailable:
        assert caught.value.details["retry_after"] == 7
    error, seen = caught.value, []
    while error:
        seen.append(f"{error!r} {error} {vars(error)}")
        error = error.__cause__ or error.__context__
    assert KEY not in " ".join(seen)
    assert len(seen) == 1  # the provider's own exception does not travel along
    assert KEY not in caplog.text
    assert KEY not in repr(ask(server))


async def test_nobody_there_is_unavailable(server):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(ModelUnavailable):
            await events(ask(server, api_base=url))


async def test_no_first_word_in_time_is_unavailable_and_its_input_is_counted(server, model, settings):
    settings.MODEL_FIRST_TOKEN_SECONDS = 0.3
    for stall in (0, 1):  # without and with an answer's head
        server.script(Reply(stall=stall, gap=0.001))
        given, began = [], time.monotonic()
        with pytest.raises(ModelUnavailable):
            async for event in llm.stream(ask(server, model)):
                given.append(event)
        assert time.monotonic() - began < 10
        assert [event.certainty for event in given] == ["estimated"] * stall


async def test_a_stall_after_some_words_is_incomplete(server, model, settings):
    settings.MODEL_BETWEEN_TOKENS_SECONDS = 0.3
    server.script(Reply(stall=3, gap=0.001))
    given = await events(ask(server, model))
    assert text_of(given) == "token0 token1 "
    assert given[-2:] == [Usage(given[-2].input_tokens, 4, 0, "estimated"), Finish("incomplete")]


async def test_a_slow_answer_ends_when_the_total_is_used_up(server, settings):
    await events(ask(server))
    settings.MODEL_TOTAL_SECONDS = 1
    server.script(Reply(tokens=100, gap=0.1))
    given = await events(ask(server))
    assert 2 < len(given) < 14
    assert given[-1] == Finish("incomplete")


async def test_closing_the_iterator_hangs_up(server):
    server.script(Reply(tokens=1000, gap=0.01))
    stream = llm.stream(ask(server))
    assert (await anext(stream)).text.startswith("token0 ")
    await stream.aclose()
    server.script(Reply(tokens=1))
    assert (await events(ask(server)))[-1] == Finish("stop")


async def test_a_stopped_answer_can_be_estimated(server):
    server.script(Reply(text="Twelve chars", usage=False))
    assert llm.estimate(ask(server), "Twelve chars") == only(Usage, await events(ask(server)))


async def test_answers_share_a_connection_and_nothing_else(server):
    await events(ask(server))
    before = server.connections
    for n in range(5):
        await events(ask(server, api_key=f"sk-{n}"))
    assert server.connections == before
    assert "cookie" not in server.requests[-1].headers  # one key's session is not the next one's


async def test_the_request_holds_what_we_say_and_nothing_else(server):
    await events(ask(server, "openai/gpt-4o-mini"))
    assert server.requests[-1].body == {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "Hello?"}],
        "tools": [TOOL],
        "max_tokens": 50,
        "temperature": 0.2,
        "user": "u1",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize("key", [None, ""])
async def test_c7_our_key_never_goes_to_a_host_that_was_given(server, model, key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-operator")
    monkeypatch.setenv("HOSTED_VLLM_API_KEY", "sk-of-the-operator")
    await events(ask(server, model, api_key=key))
    assert "operator" not in str(server.requests[-1])


async def test_c8_concurrent_requests_keep_their_own_keys(server):
    texts = [f"[[say=answer {n}]]" for n in range(40)]
    requests = [ask(server, text=text, api_key=f"sk-{n % 4}") for n, text in enumerate(texts)]
    before = len(server.requests)
    given = await asyncio.gather(*map(events, requests))
    assert [text_of(each) for each in given] == [f"answer {n}" for n in range(40)]
    for request in server.requests[before:]:
        number = int(request.body["messages"][0]["content"].split()[1].rstrip("]"))
        assert request.headers["authorization"] == f"Bearer sk-{number % 4}"


def test_cost_comes_from_the_price_map_and_the_demo_model_is_free():
    usage = Usage(1_000_000, 1_000_000, 0, "exact")
    assert llm.cost("openai/gpt-4o-mini", usage) == Decimal("0.75")
    assert llm.cost("openai/gpt-4o-mini", Usage(1_000_000, 0, 1_000_000, "exact")) == Decimal("0.075")
    assert llm.cost("offline/demo", usage) == 0
    assert llm.cost("openai/never-heard-of", usage) == 0


WITHOUT_NETWORK = """
import socket, sys

def refuse(*args, **kwargs):
    raise SystemExit("somebody wanted the network")

socket.getaddrinfo = socket.create_connection = socket.socket.connect = socket.socket.connect_ex = refuse
from django.conf import settings
settings.configure(OPENAI_API_KEY="")
import agents.llm, agents.tools, agents.offline
assert "litellm" not in sys.modules, "litellm was imported before it was needed"
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(3) as threads:
    list(threads.map(lambda _: agents.llm.warm(), range(3)))
import litellm
assert not (litellm.callbacks or litellm.success_callback or litellm.failure_callback or litellm.telemetry)
print("warm")
"""


def test_litellm_is_imported_late_and_without_the_network():
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LITELLM", "COV"))}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NETWORK], env=environment, capture_output=True, text=True, timeout=100
    )
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("warm", "", 0)
