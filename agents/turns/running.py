"""The turns that this process runs: a task each, owned by nobody's socket.

A dropped socket does not stop an answer. Within a conversation one turn runs at a time; the next waits its turn.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from uuid import UUID

import redis
from django.db import OperationalError

from agents import publishing, wire
from agents.conversations import reading, recording
from agents.conversations.errors import TooManyWaiting
from agents.conversations.records import Opened
from agents.conversations.visitors import Visitor
from agents.turns import engine, lease
from agents.turns.log import Log
from platform_site.errors import PlatformError
from tenants.context import TenantRef, acting_for, current, run_for
from tenants.ids import uuid7

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.5
MOST_WAITING = 5  # questions of one conversation, behind the one that is being answered
RETRY_SECONDS = 5
draining = False  # set once, when the process is about to end: it takes nothing over any more


@dataclass
class Running:
    """One turn in this process."""

    tenant: TenantRef
    opened: Opened
    log: Log
    member: str  # how the lease set names it
    found: asyncio.Task | None = None  # the search for its passages, if that has begun
    task: asyncio.Task | None = None
    stopped: bool = False


_running: dict[tuple[int, UUID], Running] = {}  # by tenant id and turn
_lines: dict[tuple[int, UUID], asyncio.Lock] = {}  # by tenant id and conversation


def here() -> list[Running]:
    """All turns of this process."""
    return list(_running.values())


def open_turn(*, conversation: UUID, visitor: Visitor, client_id: UUID, text: str, channel: str = "page") -> Opened:
    """Store the question and own its turn (a synchronous verb). The same ``client_id`` again gives the same turn.

    Raises  MessageTooLong, EmptyMessage, NoConversation, ConversationClosed, TooManyWaiting  nothing is stored
    """
    text = recording.checked_text(text)
    _refuse_long_line(conversation, client_id)
    version = publishing.live_version()
    turn = uuid7()
    # before the commit: a claim without a turn is harmless, a turn that nobody watches is not
    lease.claim(turn, attempt=1)
    try:
        opened = recording.open_turn(
            turn=turn, conversation=conversation, visitor=visitor, client_id=client_id, text=text, version=version,
            channel=channel,
        )  # fmt: skip
    except PlatformError:
        lease.drop(turn, attempt=1)
        raise
    if not opened.new:
        lease.drop(turn, attempt=1)
    return opened


def _refuse_long_line(conversation: UUID, client_id: UUID) -> None:
    """What waits is held in memory, history and all: one visitor must not fill it."""
    tenant = current()
    line = {one.opened.client_id for one in here() if one.tenant == tenant and one.opened.conversation == conversation}
    if len(line) > MOST_WAITING and client_id not in line:
        raise TooManyWaiting(retry_after=RETRY_SECONDS)


async def start(tenant: TenantRef, **question) -> Opened:
    """``open_turn`` and the task that answers, as one step that a dropped socket cannot cut in two."""
    recording.checked_text(question["text"])
    return await asyncio.shield(_start(tenant, question))


async def _start(tenant: TenantRef, question: dict) -> Opened:
    """Passages are looked for while the question is being stored, unless it has to wait for an earlier one."""
    opening, found = asyncio.create_task(run_for(tenant, open_turn, **question)), None
    if (tenant.id, question["conversation"]) not in _lines:
        found = asyncio.create_task(run_for(tenant, engine.look_up, question["text"]))
    try:
        opened = await opening
        if opened.new and opened.state == "agent":
            launch(tenant, opened, found)
            found = None
    finally:
        if found:
            found.cancel()
    return opened


def launch(tenant: TenantRef, opened: Opened, found: asyncio.Task | None = None) -> Running:
    """Run a stored turn in this process, once; the caller owns its lease. found: as take_turn wants it."""
    key = (tenant.id, opened.turn)
    if key in _running:
        return _running[key]
    with acting_for(tenant):
        member = lease.member(opened.turn, opened.attempt)
    running = Running(tenant, opened, Log(opened.turn, opened.attempt), member, found)
    _running[key] = running
    running.task = asyncio.create_task(_run(running), name=f"turn {opened.turn}")
    return running


async def _run(running: Running) -> None:
    line = _lines.setdefault((running.tenant.id, running.opened.conversation), asyncio.Lock())
    answer = engine.Answer()
    finished = None
    try:
        finished = await _in_line(running, line, answer)
    except Exception:  # the outermost frame of a turn: nobody awaits it
        logger.exception("turn failed", extra={"turn": str(running.opened.turn)})
    finally:
        _running.pop((running.tenant.id, running.opened.turn), None)
        if not line._waiters and not line.locked():
            _lines.pop((running.tenant.id, running.opened.conversation), None)
        running.log.end(finished)
        if finished:
            await _release(running)


async def _in_line(running: Running, line: asyncio.Lock, answer: engine.Answer) -> wire.TurnFinished | None:
    """Wait for the conversation's earlier turns, answer, store. Stopped while it waits, it ends unanswered."""
    waited = line.locked()
    try:
        async with line:
            if waited:
                running.opened = await run_for(running.tenant, _with_history, running.opened)
            await _answer(running, answer)
            return await engine.store(running.tenant, running.opened, running.log, answer)
    except asyncio.CancelledError:
        if not running.stopped:
            raise
    answer.outcome = "stopped"
    return await engine.store(running.tenant, running.opened, running.log, answer)


def _with_history(opened: Opened) -> Opened:
    """With the answers that did not exist yet when the question was stored."""
    history = reading.history(opened.conversation, turn=opened.turn, before=opened.seq)
    return replace(opened, history=history)


async def _answer(running: Running, answer: engine.Answer) -> None:
    """Run the engine to its end, its failure or a stop; whatever was said by then is in ``answer``."""
    asked = asyncio.create_task(_iterate(running, answer))
    running.task = asked
    try:
        await asked
    except asyncio.CancelledError:
        if not running.stopped:
            raise
        answer.outcome = "stopped"
    except Exception:  # a fault of ours: the end user is told, the question stays
        logger.exception("turn failed", extra={"turn": str(running.opened.turn)})
        answer.outcome = "failed"
        running.log.add(wire.Error(code="internal_error", text="Something went wrong on our side. Please try again."))


async def _iterate(running: Running, answer: engine.Answer) -> None:
    with acting_for(running.tenant):
        async for _ in engine.take_turn(running.tenant, running.opened, running.log, answer, running.found):
            pass


async def _release(running: Running) -> None:
    try:
        await lease.release(running.member)
    except redis.RedisError as error:
        # it lapses; the sweep finds the turn finished
        logger.warning("lease not released", extra={"turn": str(running.opened.turn), "error": type(error).__name__})


def stop(tenant: TenantRef, conversation: UUID, turn: UUID) -> bool:
    """Stop a turn of this conversation; what was said so far is stored. False when it does not run here."""
    running = _running.get((tenant.id, turn))
    if running is None or running.opened.conversation != conversation:
        return False
    if running.task and not running.stopped:  # once: a second cancellation would hit the storing
        running.stopped = True
        running.task.cancel()
    return True


async def follow(tenant: TenantRef, conversation: UUID, cursor: wire.Cursor) -> AsyncIterator[list]:
    """Lists of events of one turn after ``cursor``, until it has ended.

    A cursor of an earlier attempt begins anew. A turn that runs elsewhere is looked up until it is finished.
    """
    running = _running.get((tenant.id, cursor.turn))
    if running is not None and running.opened.conversation == conversation:
        after = cursor.n if cursor.attempt == running.log.attempt else 0
        async for events in running.log.follow(after):
            if events:
                yield events
        if running.log.ended:
            return
    while (event := await _ending(tenant, conversation, cursor.turn)) is None:
        await asyncio.sleep(POLL_SECONDS)
        if (tenant.id, cursor.turn) in _running:  # taken over by this process meanwhile
            async for events in follow(tenant, conversation, cursor.model_copy(update={"attempt": 1, "n": 0})):
                yield events
            return
    yield [event]


async def _ending(tenant: TenantRef, conversation: UUID, turn: UUID) -> wire.TurnFinished | None:
    """How a turn ended; None while it runs, or nobody can say: who follows it waits until its database is back."""
    try:
        return await run_for(tenant, reading.finished, turn, conversation)
    except OperationalError:
        logger.warning("turn not looked up", extra={"turn": str(turn)})
        return None
