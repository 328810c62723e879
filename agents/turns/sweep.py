"""Keeps this process's leases alive, and takes over turns whose owner has died."""

import asyncio
import logging
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import redis
from django.conf import settings
from django.db import OperationalError

from agents import answer, assembly, publishing
from agents.conversations import recording
from agents.conversations.models import Turn
from agents.conversations.records import Opened, Use
from agents.turns import lease, mirror, refill, running
from metering import limits
from platform_site import ending
from platform_site.jitter import about
from tenants import crypto, directory
from tenants.context import TenantRef, acting_for, run_for, run_for_nobody

logger = logging.getLogger(__name__)

TAKEOVERS_AT_ONCE = 4  # of one database: where it is away, each holds a thread that others wait for

_sweeps: set[asyncio.Task] = set()
_taking_over = 0  # sweeps that have taken something, or are about to
_takeovers: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(TAKEOVERS_AT_ONCE))  # by alias


async def keep() -> None:
    """Renew and sweep until cancelled; a process that ends takes nothing over any more.

    After a fault of the store, sweep only once leases could be renewed again.
    """
    healthy_since = time.monotonic()
    while True:
        await asyncio.sleep(lease.RENEW_SECONDS)
        try:
            await lease.release(running.take_ended())
            turns = running.here()
            if members := [turn.member for turn in turns] + lease.held():
                await lease.renew(members)
            if turns:
                await _obey_stops(turns)
            if time.monotonic() - healthy_since >= lease.LEASE_MS / 1000:
                begin()
        except redis.RedisError as error:
            healthy_since = time.monotonic()
            lease.doubt()  # others may have died with a claim that was not written
            logger.warning("leases not renewed", extra={"error": type(error).__name__})
        except Exception:  # the outermost frame of a task that must outlive any fault
            logger.exception("leases not renewed")


def begin() -> None:
    """Sweep in a task that nobody awaits: what is stuck in one sweep holds up neither renewals nor the next.

    A process that ends does not.
    """
    if ending.has_begun():
        return
    _sweeps.add(task := asyncio.create_task(_sweep_now(), name="sweep"))
    task.add_done_callback(_sweeps.discard)


def is_under_way() -> bool:
    """Whether turns are being taken over at the moment."""
    return _taking_over > 0


async def _sweep_now() -> None:
    try:
        await sweep()
    except OperationalError as error:  # from the list of tenants
        logger.warning("turns not looked for", extra={"error": type(error.__cause__ or error).__name__})
    except redis.RedisError as error:
        lease.doubt()
        logger.warning("turns not taken over", extra={"error": type(error).__name__})
    except Exception:  # the outermost frame of that task
        logger.exception("sweep failed")


async def _obey_stops(turns: list[running.Running]) -> None:
    """What was said on the radio while it was silent."""
    wanted = await lease.asked_to_stop([(turn.tenant, turn.opened.turn) for turn in turns])
    for turn, stop in zip(turns, wanted, strict=True):
        if stop:
            running.stop_here(turn.tenant.id, turn.opened.turn)


async def sweep() -> None:
    """Take over what nobody owns any more. Raises redis.RedisError, OperationalError."""
    try:
        await refill.where_needed()
    finally:  # whoever cannot be looked for keeps nobody waiting who has lapsed
        await _take_lapsed()


async def _take_lapsed() -> None:
    with _counted():
        lapsed = await lease.sweep()
        mine = _members_here().union(lease.held())
        lapsed = [one for one in lapsed if lease.member_of(*one) not in mine]
        await asyncio.gather(*(_find_owner(*one) for one in _earliest(lapsed)))  # whoever reads these answers waits


def _members_here() -> set[str]:
    return {turn.member for turn in running.here()}


def _earliest(lapsed: list[tuple[int, UUID, int]]) -> list[tuple[int, UUID, int]]:
    """One attempt of each turn: a later one may be what taking over the earlier begins, and would be ended at once."""
    attempts: dict[tuple[int, UUID], int] = {}
    for tenant_id, turn, attempt in sorted(lapsed):
        attempts.setdefault((tenant_id, turn), attempt)
    return [(*turn, attempt) for turn, attempt in attempts.items()]


@contextmanager
def _counted() -> Iterator[None]:
    global _taking_over
    _taking_over += 1
    try:
        yield
    finally:
        _taking_over -= 1


async def _find_owner(tenant_id: int, turn: UUID, attempt: int) -> None:
    facts, member = {"turn": str(turn), "tenant_id": tenant_id}, lease.member_of(tenant_id, turn, attempt)
    lease.hold(member, math.inf)  # it may wait for a place longer than its lease lasts
    try:
        tenant = await run_for_nobody(directory.by_id, tenant_id)
        if tenant and not _can_read(tenant):
            await lease.renew([member], ms=int(about(lease.LEASE_MS / 2)))  # until a moment when others may be first
            return
        if tenant:
            async with _takeovers[tenant.alias]:
                if ending.has_begun():
                    await lease.let_lapse([member])  # for another process
                    return
                if member in _members_here():  # it was begun while this waited: by taking over the attempt before it
                    return
                await _take_over(tenant, turn, attempt)
        await lease.release([member])
    except (redis.RedisError, OperationalError) as error:  # it lapses once more
        logger.warning("turn not taken over", extra=facts | {"error": type(error.__cause__ or error).__name__})
    except Exception:  # the outermost frame of one turn: its tenant's trouble must not keep the others waiting
        logger.exception("turn not taken over", extra=facts)
    finally:
        lease.let_go(member)


def _can_read(tenant: TenantRef) -> bool:
    """Without the tenant's key, what was said by a turn could not be kept, nor its question read."""
    try:
        with acting_for(tenant):
            crypto.require_key()
    except crypto.KeyMissing as error:  # its words name the key; where it was raised says no more
        logger.error("turn not taken over", extra={"tenant_id": tenant.id, "error": str(error)})  # noqa: TRY400
        return False
    return True


async def _take_over(tenant: TenantRef, turn: UUID, attempt: int) -> None:
    """Run it again, or keep what was said where it must not run again. What the dead attempt used is estimated.

    The new attempt has no lease before it is stored: where that failed, its lease would lapse beside the old one, and
    whoever takes both would end what they have just begun. The old one is kept up until the new one is there.
    """
    said = await mirror.said(tenant, turn, attempt)
    [stopped] = await lease.asked_to_stop([(tenant, turn)])
    opened = await run_for(tenant, _claim, turn, attempt, said, stopped)
    if opened:
        logger.info("turn taken over", extra={"turn": str(turn), "attempt": opened.attempt, "tenant_id": tenant.id})
        running.launch(tenant, opened)
        await lease.watch([lease.member_of(tenant.id, turn, opened.attempt)])
        return
    is_running, newest = await run_for(tenant, _standing, turn) or (False, attempt)
    if is_running:  # another's attempt, who may have died before it had a lease
        await lease.watch([lease.member_of(tenant.id, turn, newest)])
    else:
        await run_for(tenant, limits.settle_by_record, turn_id=turn, attempt=newest)


def _standing(turn: UUID) -> tuple[bool, int] | None:
    """Whether it runs, and its newest attempt; None if it was erased."""
    row = Turn.objects.filter(pk=turn).values_list("state", "attempt").first()
    return row and (row[0] == Turn.State.RUNNING, row[1])


def _claim(turn: UUID, attempt: int, said: str, stopped: bool) -> Opened | None:
    return recording.take_over(turn, attempt=attempt, said=said, stopped=stopped, use=_lost_use(turn, said))


def _lost_use(turn: UUID, said: str) -> Use | None:
    """What the provider will count for an attempt that nobody finished; None where it was not asked."""
    reserved = limits.reserved(turn_id=turn)
    if not (reserved or said):
        return None
    asked = Turn.objects.filter(pk=turn).values_list("conversation__agent_id", "conversation__channel").first()
    if asked is None:  # erased meanwhile: what was claimed for it lapses
        return None
    agent = assembly.agent_of(publishing.answering(*asked))
    prompt = max(0, (reserved or 0) - settings.MODEL_ANSWER_TOKENS)
    return Use(agent.model, prompt, answer.tokens_in(len(said.encode())), 0, "estimated")
