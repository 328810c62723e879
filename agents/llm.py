"""The one way to a language model. Only this module calls litellm, with three others of agents: openai_client,
request_kinds and offline.

litellm makes every request; how its answers are read says agents.answer_reading.
"""

import asyncio
import importlib
import json
import logging
import math
import os
import threading
from collections import namedtuple
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from uuid import uuid4

from django.conf import settings

from agents import answer_reading, offline, retry_after
from agents.answer import Answer, Finish, ToolCall, Usage, tokens_in
from agents.errors import ModelRefused, ModelUnavailable
from platform_site.errors import PlatformError

__all__ = [
    "Delta", "Finish", "Request", "ToolCall", "Usage", "aembed", "close", "cost", "embed", "estimate", "stream", "warm",
]  # fmt: skip

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5  # where a provider does not say when
_REFUSALS = {400: "request", 401: "key", 402: "key", 403: "key", 404: "unknown_model", 413: "too_long", 422: "request"}
_REFUSALS_BY_NAME = {"ContextWindowExceededError": "too_long", "ContentPolicyViolationError": "content"}

_importing = threading.Lock()
_Loaded = namedtuple("_Loaded", "litellm silent clients kinds")
_loaded: _Loaded | None = None


@dataclass(frozen=True)
class Request:
    """One question to a model.

    model     litellm's name, with provider: "openai/gpt-4o-mini", "offline/demo"
    messages  and tools in OpenAI's format
    api_key   none: the operator's, from the environment; but never when ``api_base`` is given, because our key
              must not travel to a host that a tenant chose
    user      an opaque id of the end user, for the provider's abuse checks
    """

    model: str
    messages: list[dict]
    tools: list[dict]
    max_tokens: int
    temperature: float | None
    api_key: str | None
    api_base: str | None
    user: str

    def __repr__(self) -> str:  # it may end in a log: no text, no key
        return f"Request(model={self.model!r}, messages={len(self.messages)}, tools={len(self.tools)})"


@dataclass(frozen=True)
class Delta:
    """The text that arrived with one read."""

    text: str


def warm() -> None:
    """Import litellm, once per process; any thread may call it. Takes 4 s, so it belongs before the first traffic."""
    global _loaded
    with _importing:
        _loaded = _loaded or _load()


def _load():
    # Without this, the import itself fetches a price list over the network.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm
    from litellm.litellm_core_utils.litellm_logging import Logging

    from agents import openai_client, request_kinds

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.disable_hf_tokenizer_download = True
    litellm.custom_provider_map = [{"provider": offline.PROVIDER, "custom_handler": offline.handler()}]
    litellm.utils.custom_llm_setup()
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):  # they repeat a provider's words: perhaps a key
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    for name in ("httpx", "httpcore", "openai"):  # at lower levels they write addresses, perhaps with a key
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("litellm._service_logger", "litellm.proxy._types"):
        importlib.import_module(name)  # these and the encoding: 1.5 s that the first turn would pay
    litellm.encoding.encode("")
    clients = openai_client.Clients(own=settings.OPENAI_API_KEY)
    return _Loaded(litellm, _silent(Logging), clients, request_kinds.Kinds(litellm))


def _silent(logging_class):
    """litellm's note-keeper, keeping no notes: saves 1 ms a call, and what is not noted cannot leak."""

    class Silent(logging_class):
        def pre_call(self, *args, **kwargs):
            pass

        async def async_success_handler(self, *args, **kwargs):
            pass

        post_call = success_handler = failure_handler = response_cost_calculator = pre_call
        async_failure_handler = dispatch_success_handlers = dispatch_failure_handlers = async_success_handler

    return Silent


async def close() -> None:
    """Close the connections to providers that this process keeps open."""
    if _loaded:
        await _loaded.litellm.close_litellm_async_clients()
        await _loaded.clients.close()


async def stream(request: Request, *, first_by: float = math.inf) -> AsyncIterator[Delta | ToolCall | Usage | Finish]:
    """Ask a model; yield the text as it comes, then the tool calls, then one Usage and one Finish.

    A stream that breaks off after its first words, stalls or ends without its end marks is "incomplete": its tool
    calls are withheld, its usage is estimated. Close the iterator to stop the model.

    first_by  the loop's time by which the first word must have come
    Raises    ModelUnavailable, ModelRefused; if the provider had accepted the request, after an estimated Usage
    Limits    settings.MODEL_CONNECT_SECONDS, _FIRST_TOKEN_, _BETWEEN_TOKENS_, _TOTAL_SECONDS
    """
    answer, failure, deadlines = Answer(), None, _Deadlines(first_by)
    response = await _open(request, deadlines)
    raw = answer_reading.raw_body(response)
    texts = answer_reading.from_body(raw, answer) if raw else answer_reading.from_chunks(response, answer)
    try:
        while not answer.ended:
            size = answer.size
            text, failure = await _next(texts, deadlines, request)
            if text is None:
                break
            if answer.size > size:
                deadlines.renew()
            if text:
                yield Delta(text)
        answer.broken = answer.broken or failure is not None
        calls, finish = answer.result()
        for call in calls:
            yield call
        yield answer.usage(partial(_input_tokens, request))
        if answer.broken and not answer.begun:  # nothing was shown yet, so trying again is safe
            raise failure or ModelUnavailable(retry_after=RETRY_SECONDS)
        yield finish
        await answer_reading.drain(texts)
    finally:
        await texts.aclose()
        await (raw or response).aclose()


class _Deadlines:
    """Until when the next word must be there, on the loop's clock."""

    def __init__(self, first_by: float):
        now = asyncio.get_running_loop().time()
        self.total = now + settings.MODEL_TOTAL_SECONDS
        self.next = min(self.total, first_by, now + settings.MODEL_FIRST_TOKEN_SECONDS)

    def renew(self) -> None:
        now = asyncio.get_running_loop().time()
        self.next = min(self.total, now + settings.MODEL_BETWEEN_TOKENS_SECONDS)


async def _open(request: Request, deadlines: _Deadlines):
    """litellm's stream for the request, once the provider has begun to answer."""
    if _loaded is None:
        await asyncio.to_thread(warm)
    try:
        async with asyncio.timeout_at(deadlines.next):
            return await _asked(**_arguments(request))
    except Exception as error:  # noqa: BLE001  litellm raises whatever a provider's library raises
        failure = _failure(error, request)
    raise failure  # outside of the block, so that the provider's words do not travel along as its context


async def _asked(**arguments):
    """litellm's stream.

    ``acompletion`` moves ``completion``, which makes the request's coroutine, to a thread and names the errors;
    for OpenAI's client nothing blocks, so the thread is spared.
    """
    if "client" not in arguments:
        return await _loaded.litellm.acompletion(**arguments)
    try:
        return await _loaded.kinds.call(arguments)
    except Exception as error:  # noqa: BLE001  as in _open
        raise _loaded.litellm.exception_type(
            model=arguments["model"], custom_llm_provider="openai", original_exception=error
        ) from error


def _arguments(request: Request) -> dict:
    """A closed list: no tenant's setting can add a header, a callback or a fallback."""
    import httpx

    timeout = httpx.Timeout(settings.MODEL_TOTAL_SECONDS, connect=settings.MODEL_CONNECT_SECONDS)
    arguments = {
        "model": request.model,
        "messages": request.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": request.max_tokens,
        "user": request.user,
        "timeout": timeout,
        "max_retries": 0,
        "drop_params": True,  # a model that knows no temperature still answers
        "litellm_logging_obj": _loaded.silent(
            model=request.model,
            messages=request.messages,
            stream=True,
            call_type="acompletion",
            start_time=datetime.now(),  # noqa: DTZ005  litellm compares it with naive times
            litellm_call_id=str(uuid4()),
            function_id="",
        ),
    }
    if request.tools:
        # Without the mark, litellm looks for MCP servers among the tools, and imports a package that is not there.
        arguments |= {"tools": request.tools, "_skip_mcp_handler": True}
    if request.temperature is not None:
        arguments["temperature"] = request.temperature
    if request.api_base:
        arguments["api_base"] = request.api_base
    if request.api_base or request.api_key is not None:
        arguments["api_key"] = request.api_key or "none"  # anything empty would make litellm take ours
    key = arguments.get("api_key") or os.environ.get("OPENAI_API_KEY")
    if key and request.model.startswith("openai/"):
        arguments["client"] = _loaded.clients.get(key, request.api_base, timeout)
    return arguments


async def _next(texts: AsyncIterator[str], deadlines: _Deadlines, request: Request):
    """The next text, or None at the end; and what went wrong, if anything did."""
    try:
        async with asyncio.timeout_at(deadlines.next):
            return await anext(texts, None), None
    except Exception as error:  # noqa: BLE001  as in _open
        return None, _failure(error, request)


def _failure(error: Exception, request: Request) -> PlatformError:
    """Our error for a foreign one: its kind and status count, its text never leaves this function."""
    status, kind = getattr(error, "status_code", None), type(error).__name__
    logger.warning("model call failed", extra={"model": request.model, "kind": kind, "status": status})
    if reason := _REFUSALS_BY_NAME.get(kind) or _REFUSALS.get(status):
        return ModelRefused(reason=reason)
    headers = getattr(error, "litellm_response_headers", None) or {}
    told = retry_after.seconds(headers.get("retry-after"))
    unavailable = ModelUnavailable(retry_after=told or RETRY_SECONDS)
    unavailable.told_seconds = told
    return unavailable


def _input_tokens(request: Request) -> int:
    size = len(json.dumps(request.messages, ensure_ascii=False).encode("utf-8", "replace"))
    return tokens_in(size + len(json.dumps(request.tools)))


def estimate(request: Request, text: str = "") -> Usage:
    """Usage of a request that was stopped, or is yet to be made, after ``text`` was received."""
    return Usage(_input_tokens(request), tokens_in(len(text.encode("utf-8", "replace"))), 0, "estimated")


def cost(model: str, usage: Usage) -> Decimal:
    """List price in US dollars from litellm's own price map; 0 for a model that is not in it, and the demo model.

    Ignores surcharges for long prompts. Needs ``warm()``; without it, the first call takes 4 s.
    """
    if model == offline.OFFLINE_MODEL:
        return Decimal(0)
    warm()
    prices = _loaded.litellm.model_cost
    price = prices.get(model) or prices.get(model.partition("/")[2]) or {}
    per_input = Decimal(str(price.get("input_cost_per_token") or 0))
    per_cached = Decimal(str(price.get("cache_read_input_token_cost") or per_input))
    per_output = Decimal(str(price.get("output_cost_per_token") or 0))
    fresh = usage.input_tokens - usage.cached_tokens
    return fresh * per_input + usage.cached_tokens * per_cached + usage.output_tokens * per_output


def embed(model: str, texts: list[str], *, seconds: float) -> tuple[list[list[float]], int]:
    """(One vector for each text, input tokens). Synchronous: a thread waits, so long at most.

    Raises  ModelUnavailable, ModelRefused
    """
    warm()
    try:
        response = _loaded.litellm.embedding(**_embedding_arguments(model, texts, seconds))
    except Exception as error:  # noqa: BLE001  as in _open
        failure = _failure(error, _nameless(model))
    else:
        return _vectors(response)
    raise failure


async def aembed(model: str, texts: list[str], *, seconds: float) -> tuple[list[list[float]], int]:
    """The same on a loop; no provider can make it last longer than so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            response = await _loaded.litellm.aembedding(**_embedding_arguments(model, texts, seconds))
    except Exception as error:  # noqa: BLE001  as in _open
        failure = _failure(error, _nameless(model))
    else:
        return _vectors(response)
    raise failure


def _embedding_arguments(model: str, texts: list[str], seconds: float) -> dict:
    arguments = {"model": model, "input": texts, "timeout": seconds, "max_retries": 0}
    if model.startswith("openai/"):
        arguments |= {"api_key": settings.OPENAI_API_KEY or "none", "api_base": settings.OPENAI_BASE_URL or None}
    return arguments


def _nameless(model: str) -> Request:
    return Request(model, [], [], 1, None, None, None, "")


def _vectors(response) -> tuple[list[list[float]], int]:
    return [list(item["embedding"]) for item in response.data], response.usage.prompt_tokens
