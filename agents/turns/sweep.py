"""Keeps this process's leases alive, and takes over turns whose owner has died."""

import asyncio
import logging
import time
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

SIDE_BY_SIDE = 4  # turns taken over at once: where the database is away, each holds a thread that others wait for
# While this key lives, every running turn is in the lease set; a store that was emptied has lost it
WHOLE_KEY = system_key("turns", "whole")


async def keep() -> None:
    """Renew and sweep until cancelled; a process that ends takes nothing over any more.

    After a fault of the store, sweep only once leases could be renewed again.
    """
    healthy_since, sweeping = time.monotonic(), None
    while True:
        await asyncio.sleep(lease.RENEW_SECONDS)
        try:
            await lease.release(running.take_ended())
            if turns := running.here():
                await lease.renew([turn.member for turn in turns])
                await _obey_stops(turns)
            is_healthy = time.monotonic() - healthy_since >= lease.LEASE_MS / 1000
            if is_healthy and not ending.has_begun() and (sweeping is None or sweeping.done()):
                sweeping = asyncio.create_task(sweep_now(), name="sweep")  # not awaited: leases must be renewed
        except redis.RedisError as error:
            healthy_since = time.monotonic()
            logger.warning("leases not renewed", extra={"error": type(error).__name__})
        except Exception:  # the outermost frame of a task that must outlive any fault
            logger.exception("leases not renewed")


async def sweep_now() -> None:
    """``sweep``, as a task that nobody awaits."""
    try:
        await sweep()
    except OperationalError as error:  # from the list of tenants
        logger.warning("turns not looked for", extra={"error": type(error.__cause__ or error).__name__})
    except redis.RedisError as error:
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
    if not await store.aclient().exists(WHOLE_KEY):
        await _refill()
    mine = {turn.member for turn in running.here()}
    lapsed = [one for one in await lease.sweep() if _name(*one) not in mine]
    places = asyncio.Semaphore(SIDE_BY_SIDE)
    await asyncio.gather(*(_find_owner(places, *one) for one in lapsed))  # whoever reads these answers waits


def _name(tenant_id: int, turn, attempt: int) -> str:
    return f"{tenant_id}:{turn}:{attempt}"


async def _find_owner(places: asyncio.Semaphore, tenant_id: int, turn, attempt: int) -> None:
    facts = {"turn": str(turn), "tenant_id": tenant_id}
    try:
        async with places:
            tenant = await run_for_nobody(directory.by_id, tenant_id)
            if tenant:
                await _take_over(tenant, turn, attempt)
        await lease.release([_name(tenant_id, turn, attempt)])
    except (redis.RedisError, OperationalError) as error:  # it lapses once more
        logger.warning("turn not taken over", extra=facts | {"error": type(error.__cause__ or error).__name__})
    except Exception:  # the outermost frame of one turn: its tenant's trouble must not keep the others waiting
        logger.exception("turn not taken over", extra=facts)


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
    use = _lost_use(turn, said)
    opened = recording.take_over(turn, attempt=attempt, said=said, stopped=stopped, use=use)
    if use:
        limits.settle(turn_id=turn, tokens=use.input_tokens + use.output_tokens, attempt=attempt)
    return opened


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


async def _refill() -> None:
    """Put every running turn back into the lease set: its owner renews it, or it lapses and is taken over."""
    members = await run_for_nobody(_members_of_all)
    if members:
        await store.aclient().zadd(lease.KEY, {name: (time.time() + 5) * 1000 for name in members}, nx=True)
    await store.aclient().set(WHOLE_KEY, "1")


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
