"""Keeps this process's leases alive, and takes over turns whose owner has died."""

import asyncio
import logging
import math
import time
from collections import defaultdict
from datetime import timedelta

import redis
from django.conf import settings
from django.db import DatabaseError, OperationalError
from django.utils import timezone

from agents import answer, assembly, publishing
from agents.conversations import recording
from agents.conversations.models import Turn
from agents.conversations.records import Opened, Use
from agents.turns import lease, mirror, running
from metering import limits
from platform_site import ending
from tenants import directory, store
from tenants.context import acting_for, run_for, run_for_nobody
from tenants.keys import system_key

logger = logging.getLogger(__name__)

SIDE_BY_SIDE = 4  # turns of one database taken over at once: where it is away, each holds a thread that others wait for
# While this key lives, every running turn is taken for being in the lease set; a store that was emptied has lost it
WHOLE_KEY = system_key("turns", "whole")
WHOLE_SECONDS = 300  # for which a turn may stay unwatched whose owner died before its claim was written
DOUBTFUL_SECONDS = 15  # and where claims are known to be missing; the youngest turns are not looked at

_sweeps: set[asyncio.Task] = set()
_places: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(SIDE_BY_SIDE))  # by database


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
            if time.monotonic() - healthy_since >= lease.LEASE_MS / 1000 and not ending.has_begun():
                begin()
        except redis.RedisError as error:
            healthy_since = time.monotonic()
            lease.doubt()  # others may have died with a claim that was not written
            logger.warning("leases not renewed", extra={"error": type(error).__name__})
        except Exception:  # the outermost frame of a task that must outlive any fault
            logger.exception("leases not renewed")


def begin() -> None:
    """Sweep in a task that nobody awaits: what is stuck in one sweep holds up neither renewals nor the next."""
    _sweeps.add(task := asyncio.create_task(_sweep_now(), name="sweep"))
    task.add_done_callback(_sweeps.discard)


def is_under_way() -> bool:
    """Whether turns are being taken over at the moment."""
    return bool(_sweeps)


async def _sweep_now() -> None:
    try:
        await sweep()
    except OperationalError as error:  # from the list of tenants
        lease.doubt()
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
    """Take over what nobody owns any more. Raises redis.RedisError."""
    if lease.take_doubt():
        await _refill(DOUBTFUL_SECONDS)
    elif not await store.aclient().exists(WHOLE_KEY):
        await _refill(WHOLE_SECONDS)
    lapsed = await lease.sweep()
    mine = {turn.member for turn in running.here()}.union(lease.held())
    lapsed = [one for one in lapsed if _name(*one) not in mine]
    await asyncio.gather(*(_find_owner(*one) for one in lapsed))  # whoever reads these answers waits


def _name(tenant_id: int, turn, attempt: int) -> str:
    return f"{tenant_id}:{turn}:{attempt}"


async def _find_owner(tenant_id: int, turn, attempt: int) -> None:
    facts, name = {"turn": str(turn), "tenant_id": tenant_id}, _name(tenant_id, turn, attempt)
    lease.hold(name, math.inf)  # it may wait for a place longer than its lease lasts
    try:
        tenant = await run_for_nobody(directory.by_id, tenant_id)
        if tenant:
            async with _places[tenant.alias]:
                if ending.has_begun():
                    return  # it lapses once more, for another process
                await _take_over(tenant, turn, attempt)
        await lease.release([name])
    except (redis.RedisError, OperationalError) as error:  # it lapses once more
        logger.warning("turn not taken over", extra=facts | {"error": type(error.__cause__ or error).__name__})
    except Exception:  # the outermost frame of one turn: its tenant's trouble must not keep the others waiting
        logger.exception("turn not taken over", extra=facts)
    finally:
        lease.let_go(name)


async def _take_over(tenant, turn, attempt: int) -> None:
    """Run it again, or keep what was said where it must not run again. What the dead attempt used is estimated."""
    said = await mirror.said(tenant, turn, attempt)
    [stopped] = await lease.asked_to_stop([(tenant, turn)])
    opened = await run_for(tenant, _claim, turn, attempt, said, stopped)
    if opened is None:
        return
    logger.info("turn taken over", extra={"turn": str(turn), "attempt": opened.attempt, "tenant_id": tenant.id})
    await run_for(tenant, lease.claim, turn, attempt=opened.attempt)
    running.launch(tenant, opened)


def _claim(turn, attempt: int, said: str, stopped: bool) -> Opened | None:
    return recording.take_over(turn, attempt=attempt, said=said, stopped=stopped, use=_lost_use(turn, said))


def _lost_use(turn, said: str) -> Use | None:
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


async def _refill(seconds: int) -> None:
    """Put every running turn back into the lease set: its owner renews it, or it lapses and is taken over.

    seconds  after which to do so again
    """
    members = await run_for_nobody(_members_of_all)
    if members:
        await store.aclient().zadd(lease.KEY, {name: (time.time() + 5) * 1000 for name in members}, nx=True)
    await store.aclient().set(WHOLE_KEY, "1", ex=seconds)


def _members_of_all() -> list[str]:
    members = []
    for tenant in directory.all_active():
        try:
            with acting_for(tenant):
                members += _members()
        except OperationalError:
            logger.warning("running turns not looked for", extra={"tenant_id": tenant.id})
        except DatabaseError:
            logger.exception("running turns not looked for", extra={"tenant_id": tenant.id})
    return members


def _members() -> list[str]:
    old = timezone.now() - timedelta(milliseconds=2 * lease.LEASE_MS)
    turns = Turn.objects.filter(state=Turn.State.RUNNING, started_at__lt=old)
    return [lease.member(turn, attempt) for turn, attempt in turns.values_list("pk", "attempt")]
