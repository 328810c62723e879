"""Answers one question: an iterator of what happens. It knows no socket and no request.

Whoever iterates forwards the events: the chat's websocket, the REST stream, a test.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError

from agents import assembly, llm, publishing, retries, tools, wire
from agents.conversations import recording
from agents.conversations.records import Called, Opened, Use
from agents.errors import ModelRefused, ModelUnavailable
from agents.models import AgentVersion
from agents.turns import patience
from agents.turns.log import Log
from knowledge import retrieval
from knowledge.errors import VectorStoreDown
from metering import limits
from metering.errors import LimitReached
from tenants.context import TenantRef, begin_for, current, run_for
from tenants.errors import TenantMoved

logger = logging.getLogger(__name__)
REQUEST_HUMAN = "request_human"  # the tool that the engine acts on
# For which a stored question waits for its search before its sender is told; short, because others need the thread
SEARCH_SECONDS = 0.1
LOOKING_SECONDS = 10  # for which an answer waits for its search, in line with others'


@dataclass
class Answer:
    """What a turn has come to so far; kept outside the iterator, so that a stopped turn keeps its text."""

    author: str = ""
    text: str = ""
    outcome: str = "interrupted"
    passages: list = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    announced: bool = False  # it is stored, and Valkey knows what it used

    @property
    def tokens(self) -> int:
        """What the model was paid for."""
        return sum(use.input_tokens + use.output_tokens for use in self.uses)


@dataclass(frozen=True)
class Prepared:
    """What the model will be asked, paid for in advance, and by whom.

    passages  None: they cannot be searched now
    """

    request: llm.Request
    author: str
    passages: list | None


@dataclass(frozen=True)
class Search:
    """What the vector store has found, and which of it may be shown. None: the database was not asked, or is away.

    Whoever needs the passages asks that again, and not the vector store and the embedding model, which is paid for.
    """

    candidates: retrieval.Candidates
    passages: list[retrieval.Found] | None


Ahead = Prepared | Future | None  # prepared, or only the search of ``begin_search``, which may go on, or nothing


async def take_turn(
    tenant: TenantRef,
    opened: Opened,
    log: Log,
    answer: Answer,
    ahead: Ahead = None,
) -> AsyncIterator[None]:
    """Answer ``opened``; each event is in ``log`` when the iterator yields, the result so far in ``answer``.

    ahead  a Prepared: the model is asked at once; a Future of ``begin_search``: its passages are awaited; None: all is
           done here
    """
    try:
        prepared = ahead if isinstance(ahead, Prepared) else await _prepared(tenant, opened, ahead)
    except LimitReached as error:
        answer.outcome = "failed"
        log.add(_limited(error))
        yield
        return
    answer.author, answer.passages = prepared.author, prepared.passages or []
    if prepared.passages is None:
        answer.outcome, answer.text = "done", assembly.KNOWLEDGE_DOWN
        log.append(wire.Delta, text=answer.text)
        yield
        return
    try:
        async for _ in _converse(tenant, opened, prepared.request, log, answer):
            yield
    except (ModelUnavailable, ModelRefused) as error:
        answer.outcome = "failed"
        log.add(wire.Error(code=error.code, text=str(error), retry_after=error.details.get("retry_after")))
        yield
    if citations := assembly.cited(answer.text, answer.passages):
        log.append(wire.Citations, items=citations)
        yield


async def _prepared(tenant: TenantRef, opened: Opened, search: Future | None) -> Prepared:
    """What ``prepare`` gives. Its search is awaited here, where it holds no thread that others need."""
    return await patience.run(tenant, prepare, opened, None, await _searched(tenant, opened, search))


async def _searched(tenant: TenantRef, opened: Opened, search: Future | None) -> Future | None:
    """The search, ended. Begun again, for patience.ASKING_SECONDS, where the database failed before it found anything.

    None: the agent has no documents to look into. Raises DatabaseError, TenantMoved
    """
    deadline = time.monotonic() + patience.ASKING_SECONDS
    while True:
        search = search or await patience.run(tenant, _search_for, opened)
        if search is None:
            return None
        ended = asyncio.wrap_future(search)
        await asyncio.wait({ended}, timeout=LOOKING_SECONDS)
        if not ended.done():
            ended.cancel()  # and with it the search, if it has not begun: others wait behind it
            given_up = Future()
            given_up.set_exception(VectorStoreDown())
            return given_up
        if not isinstance(ended.exception(), DatabaseError | TenantMoved):
            return search
        if time.monotonic() > deadline:
            raise ended.exception()
        search = None
        await asyncio.sleep(patience.AGAIN_SECONDS)


def prepare(opened: Opened, version: AgentVersion | None = None, search: Future | None = None) -> Prepared:
    """Put the model's request together and pay for it in advance (a synchronous verb).

    version  that answers, if it is known
    search   of ``begin_search`` for this question
    Raises   LimitReached; retrieval.TablesBusy; TimeoutError: the search takes longer than may be waited for here
    """
    version = version or publishing.answering(opened.agent_id, opened.channel)
    passages = _passages(opened.question, version.knowledge_base_ids, search)
    request = assembly.assemble(assembly.agent_of(version), opened, passages or [])
    limits.reserve(turn_id=opened.turn, conversation_id=opened.conversation, tokens=assembly.tokens_at_most(request))
    return Prepared(request, version.name, passages)


def _search_for(opened: Opened) -> Future | None:
    return begin_search(opened.question, publishing.answering(opened.agent_id, opened.channel))


def begin_search(question: str, version: AgentVersion) -> Future | None:
    """Look for passages on another thread; None where the agent has no documents to look into.

    Returns  a Future of a Search
    """
    bases = version.knowledge_base_ids
    return begin_for(current(), _search, question, bases) if bases else None


def _search(question: str, bases: list[UUID]) -> Search:
    candidates = retrieval.find_candidates(question, bases=bases)
    try:
        return Search(candidates, retrieval.choose(candidates).passages)
    except (DatabaseError, TenantMoved) as error:
        logger.info("passages not looked up yet", extra={"error": type(error).__name__})
        return Search(candidates, None)


def _passages(question: str, bases: list[UUID], search: Future | None) -> list[retrieval.Found] | None:
    """The passages that fit a question. None: they cannot be searched now."""
    try:
        if search is None:
            return retrieval.find(question, bases=bases).passages
        found = search.result(SEARCH_SECONDS)
        return retrieval.choose(found.candidates).passages if found.passages is None else found.passages
    except VectorStoreDown as error:
        logger.warning("knowledge cannot be searched", extra={"error": error.code})
        return None


async def _converse(tenant: TenantRef, opened: Opened, request, log: Log, answer: Answer) -> AsyncIterator[None]:
    """Ask the model, run the tools it calls, ask again; at most settings.TURN_TOOL_ROUNDS times."""
    for _ in range(settings.TURN_TOOL_ROUNDS):
        calls: list[llm.ToolCall] = []
        before, uncounted = len(answer.text), False
        try:
            async with aclosing(retries.stream(request)) as parts:
                async for part in parts:
                    match part:
                        case retries.Asked() | retries.Unanswered():
                            uncounted = isinstance(part, retries.Asked)
                        case llm.Delta(text=text):
                            answer.text += text
                            log.append(wire.Delta, text=text)
                            yield
                        case llm.ToolCall():
                            calls.append(part)
                        case llm.Usage():
                            answer.uses.append(_use(request.model, part))
                            uncounted = False
                        case llm.Finish(reason=reason):
                            answer.outcome = "incomplete" if reason in ("incomplete", "length") else "done"
        except asyncio.CancelledError:
            if uncounted:  # stopped: the provider will not say what it counted
                answer.uses.append(_use(request.model, llm.estimate(request, answer.text[before:])))
            raise
        if not calls:
            return
        request.messages.append(_assistant(calls))
        for call in calls:
            async for _ in _run_tool(tenant, opened, call, request, log, answer):
                yield
    answer.outcome = "incomplete"  # it went on calling tools


async def _run_tool(tenant, opened: Opened, call: llm.ToolCall, request, log: Log, answer) -> AsyncIterator[None]:
    known = tools.registered().get(call.name)
    log.append(wire.ToolStarted, name=call.name, label=known.label if known else "Working on it")
    yield
    begun = time.perf_counter()
    result = await run_for(tenant, _call, opened, call, known)
    milliseconds = round((time.perf_counter() - begun) * 1000)
    answer.calls.append(Called(call.name, call.arguments, result.content, result.ok, milliseconds))
    request.messages.append({"role": "tool", "tool_call_id": call.id, "content": result.content})
    log.append(wire.ToolFinished, name=call.name, ok=result.ok)
    if result.ok and call.name == REQUEST_HUMAN:
        log.add(await run_for(tenant, recording.request_human, opened.conversation))
    yield


def _call(opened: Opened, call: llm.ToolCall, known: tools.Tool | None) -> tools.ToolResult:
    if known and known.changes_data:
        recording.mark_written(opened.turn)  # first: from here on the turn may not run again
    return tools.run(call.name, call.arguments)


def _assistant(calls: list[llm.ToolCall]) -> dict:
    """The model's own message that asked for the tools, as it wants to see it again."""
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in calls
        ],
    }


def _use(model: str, usage: llm.Usage) -> Use:
    return Use(model, usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.certainty)


def _limited(error: LimitReached) -> wire.Limited:
    until = error.details.get("until")
    return wire.Limited(
        what=error.details.get("what", ""), until=datetime.fromisoformat(until) if until else None, text=str(error)
    )


async def store(tenant: TenantRef, opened: Opened, log: Log, answer: Answer, *, wanted) -> wire.TurnFinished | None:
    """Write the turn's end; None when another owner has taken it over. wanted: whether to wait for a database."""
    return await patience.run(
        tenant, _store, opened, log.attempt, answer, seconds=patience.STORING_SECONDS, wanted=wanted
    )


def _store(opened: Opened, attempt: int, answer: Answer) -> wire.TurnFinished | None:
    finished = recording.close_turn(
        opened=opened, attempt=attempt, outcome=answer.outcome, author=answer.author, text=answer.text,
        citations=assembly.cited(answer.text, answer.passages), tool_calls=answer.calls, uses=answer.uses,
    )  # fmt: skip
    answer.announced = limits.settle(
        turn_id=opened.turn, tokens=answer.tokens, attempt=attempt, announce=bool(answer.uses)
    )
    return finished
