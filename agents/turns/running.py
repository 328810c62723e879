"""The turns that this process runs: a task each, owned by nobody's socket.

A dropped socket does not stop an answer. Within a conversation one turn runs at a time; the next waits its turn.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import redis
from django.db import OperationalError

from agents import wire
from agents.conversations import reading
from agents.conversations.records import Opened
from agents.turns import admission, engine, lease, mirror, patience, radio, renewal, stream
from agents.turns.log import Log
from platform_site.errors import TemporaryFailure
from tenants.context import TenantRef, acting_for, run_for

logger = logging.getLogger(__name__)
AGAIN_SECONDS = 0.1
WHY_SECONDS = 5


@dataclass
class Running:
    """One turn in this process."""

    tenant: TenantRef
    opened: Opened
    log: Log
    member: str  # how the lease set names it
    ahead: engine.Ahead = None  # as engine.take_turn wants it: what was done while its question was stored
    task: asyncio.Task | None = None
    stopped: bool = False
    abandoned: bool = False

    def abandon(self) -> None:
        """End its task without storing anything: another owner goes on with it."""
        self.abandoned = True
        if self.task and not self.stopped:
            self.cancel()

    def cancel(self) -> None:
        """Interrupt its task, after its first step: cancelled before, it would never run, and clean up nothing."""
        asyncio.get_running_loop().call_soon(lambda: self.task.cancel())


_running: dict[tuple[int, UUID], Running] = {}  # by tenant id and turn
_answered: Counter[tuple[int, UUID]] = Counter()  # how many of them are of a conversation, by tenant id and that
# Why turns failed that have just ended: one may be over before its asker's socket follows it, who must still be told
_why: dict[tuple[int, UUID], list[wire.Error | wire.Limited]] = {}
_ended: list[str] = []  # members of turns that have ended: their leases go with the next renewal


def take_ended() -> list[str]:
    """Members of the turns that have ended since the last call."""
    members = _ended.copy()
    _ended.clear()
    return members


def here() -> list[Running]:
    """All turns of this process."""
    return list(_running.values())


def is_answered(tenant: TenantRef, conversation: UUID) -> bool:
    """Whether a turn of the conversation runs here."""
    return _answered[tenant.id, conversation] > 0


def launch(tenant: TenantRef, opened: Opened, ahead: engine.Ahead = None) -> Running:
    """Run a stored turn in this process, once; the caller owns its lease. ahead: as take_turn wants it."""
    key = (tenant.id, opened.turn)
    if key in _running:
        return _running[key]
    member = lease.member_of(tenant.id, opened.turn, opened.attempt)
    running = Running(tenant, opened, Log(opened.turn, opened.attempt), member, ahead)
    _running[key] = running
    _answered[tenant.id, opened.conversation] += 1
    lease.let_go(member)
    stream.publish(tenant, running.log, running.abandon)
    running.task = asyncio.create_task(_run(running), name=f"turn {opened.turn}")
    return running


async def _run(running: Running) -> None:
    answer = engine.Answer()
    finished = None
    try:
        finished = await _in_line(running, answer)
    except OperationalError:  # its lease lapses, and it is taken over once its database is back
        logger.warning("turn left", extra={"turn": str(running.opened.turn)})
    except Exception:  # the outermost frame of a turn: nobody awaits it
        logger.exception("turn failed", extra={"turn": str(running.opened.turn)})
    finally:
        _forget(running)
        running.log.end(finished)
        if finished:
            _keep_why((running.tenant.id, running.opened.turn), running.log)
            if answer.announced:
                _ended.append(running.member)  # else it lapses, and whoever sweeps announces it
            renewal.begin(running.tenant)


def _forget(running: Running) -> None:
    _running.pop((running.tenant.id, running.opened.turn), None)
    conversation = (running.tenant.id, running.opened.conversation)
    _answered[conversation] -= 1
    if not _answered[conversation]:
        del _answered[conversation]


def _keep_why(key: tuple[int, UUID], log: Log) -> None:
    if why := [event for event in log.events if isinstance(event, wire.Error | wire.Limited)]:
        _why[key] = why
        asyncio.get_running_loop().call_later(WHY_SECONDS, _why.pop, key, None)


async def _in_line(running: Running, answer: engine.Answer) -> wire.TurnFinished | None:
    """Wait for the conversation's earlier turns, answer, store. Stopped while it waits, it ends unanswered."""
    try:
        if running.opened.behind:
            await _wait_for_earlier(running)
        async with admission.place(running.tenant.id, partial(_say_waiting, running)):
            await _answer(running, answer)
            return await _store(running, answer)
    except asyncio.CancelledError:
        if not running.stopped:
            raise
    answer.outcome = "stopped"
    return await _store(running, answer)


async def _store(running: Running, answer: engine.Answer) -> wire.TurnFinished | None:
    return await engine.store(running.tenant, running.opened, running.log, answer, wanted=lambda: not running.abandoned)


async def _wait_for_earlier(running: Running) -> None:
    """Wait until no earlier turn of the conversation runs, here or in another process, and learn what was said."""
    _say_waiting(running, None)
    while behind := running.opened.behind:  # one that was stopped in line leaves those before it
        async for _ in follow(running.tenant, running.opened.conversation, wire.Cursor(turn=behind, attempt=1, n=0)):
            pass
        running.opened = await patience.run(running.tenant, reading.as_it_stands, running.opened)
    _say_waiting(running, 0)


def _say_waiting(running: Running, place: int | None) -> None:
    running.log.append(wire.Waiting, place=place)


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
    except OperationalError as error:
        logger.warning("turn without its database", extra={"error": type(error.__cause__ or error).__name__})
        answer.outcome = "failed"
        running.log.add(wire.Error(code=TemporaryFailure.code, text=TemporaryFailure.text))
    except Exception:  # a fault of ours: the end user is told, the question stays
        logger.exception("turn failed", extra={"turn": str(running.opened.turn)})
        answer.outcome = "failed"
        running.log.add(wire.Error(code="internal_error", text="Something went wrong on our side. Please try again."))


async def _iterate(running: Running, answer: engine.Answer) -> None:
    with acting_for(running.tenant):
        async for _ in engine.take_turn(running.tenant, running.opened, running.log, answer, running.ahead):
            pass


async def stop(tenant: TenantRef, conversation: UUID, turn: UUID) -> bool:
    """Stop a turn of this conversation, wherever it runs; what was said so far is stored. False: no such turn runs."""
    running = _running.get((tenant.id, turn))
    if running:
        return running.opened.conversation == conversation and _stop(running)
    if not await run_for(tenant, reading.is_running, turn, conversation):
        return False
    try:
        await lease.ask_to_stop(tenant, turn)
        await radio.tell_all(f"stop {tenant.id}:{turn}")
    except redis.RedisError as error:
        logger.warning("turn not stopped", extra={"turn": str(turn), "error": type(error).__name__})
        return False
    return True


def stop_here(tenant_id: int, turn: UUID) -> None:
    """Another process asks for it; whose conversation it is has been checked there."""
    if running := _running.get((tenant_id, turn)):
        _stop(running)


def _stop(running: Running) -> bool:
    if running.task and not running.stopped:  # once: a second cancellation would hit the storing
        running.stopped = True
        running.cancel()
    return True


async def follow(
    tenant: TenantRef, conversation: UUID, cursor: wire.Cursor, *, is_running: bool = False
) -> AsyncIterator[list]:
    """Lists of events of one turn after ``cursor``, until it has ended, wherever it runs and whoever takes it over.

    A cursor of an earlier attempt begins anew. is_running: it was a moment ago, so the database is not asked first.
    """

    async def ending() -> wire.TurnFinished | None:
        return await _ending(tenant, conversation, cursor.turn)

    finished = None if is_running else await _ended_already(tenant, cursor.turn, ending)
    while finished is None:
        running = _running.get((tenant.id, cursor.turn))
        if running and running.opened.conversation != conversation:
            return
        source = _followed_here(running, cursor) if running else mirror.follow(tenant, cursor, ending)
        last = None
        async for events in source:
            yield events
            if isinstance(events[-1], wire.TurnFinished):
                return
            last = next((event for event in reversed(events) if isinstance(event, wire.NUMBERED)), last)
        if last:
            cursor = wire.Cursor(turn=cursor.turn, attempt=last.attempt, n=last.n)
        await asyncio.sleep(AGAIN_SECONDS)  # its owner left it: somebody takes it over
        finished = await _ended_already(tenant, cursor.turn, ending)
    yield [*_why.get((tenant.id, cursor.turn), ()), finished]


async def _ended_already(tenant: TenantRef, turn: UUID, ending) -> wire.TurnFinished | None:
    """Asked for only where this process does not run it."""
    return None if (tenant.id, turn) in _running else await ending()


async def _followed_here(running: Running, cursor: wire.Cursor) -> AsyncIterator[list]:
    async for events in running.log.follow(cursor.n if cursor.attempt == running.log.attempt else 0):
        if events:
            yield events


async def _ending(tenant: TenantRef, conversation: UUID, turn: UUID) -> wire.TurnFinished | None:
    """How a turn ended; None while it runs, or nobody can say: who follows it waits until its database is back."""
    try:
        return await run_for(tenant, reading.finished, turn, conversation)
    except OperationalError:
        logger.warning("turn not looked up", extra={"turn": str(turn)})
        return None


async def hand_over() -> int:
    """Leave all turns of this process to others, who take them over at once; how many."""
    left = []
    while turns := here():
        for running in turns:  # also one that was taken over meanwhile
            if not running.abandoned:
                running.abandon()
                left.append(running)
        await asyncio.sleep(0.01)
    try:
        await lease.release(take_ended())
        await lease.let_lapse([running.member for running in left])
        await radio.tell_all("sweep")
    except redis.RedisError as error:  # they lapse by themselves
        logger.warning("turns not handed over", extra={"error": type(error).__name__})
    return len(left)
