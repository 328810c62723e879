"""Puts turns that nobody watches back into the lease set: their owners renew them, or they lapse and are taken over.

Needed where the store was emptied or did not take a claim: all tenants' tables say which turns run.
"""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from agents.conversations.models import Turn
from agents.turns import lease
from tenants import directory, store
from tenants.context import TenantRef, current, run_for, run_for_nobody
from tenants.keys import system_key

logger = logging.getLogger(__name__)

# While this key lives, every running turn is taken for being in the lease set; a store that was emptied has lost it
WHOLE_KEY = system_key("turns", "whole")
WHOLE_SECONDS = 300  # for which a turn may stay unwatched whose owner died before its claim was written
DOUBTFUL_SECONDS = 15  # and where claims are known to be missing; the youngest turns are not looked at
# While this key lives, a process looks through all tenants, and the others need not; it may have died
LOOKING_KEY = system_key("turns", "looking")
LOOKING_SECONDS = 15
TENANT_SECONDS = 5  # for the turns of one tenant
# KEYS the key  ARGV token: delete it unless it has lapsed and is another's by now
GIVE_BACK = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"

_is_looking = False  # this process, perhaps for longer than its key lives


async def where_needed() -> None:
    """Look through all tenants if claims may be missing and nobody looks. Raises redis.RedisError, OperationalError."""
    in_doubt, done = lease.take_doubt(), False
    if not in_doubt and await store.aclient().exists(WHOLE_KEY):
        return
    try:
        async with _looking() as nobody_else:
            if nobody_else:
                await _refill(DOUBTFUL_SECONDS if in_doubt else WHOLE_SECONDS)
                done = True
    finally:
        if in_doubt and not done:
            lease.doubt()  # also where another looks, who may have seen that tenant already


@asynccontextmanager
async def _looking() -> AsyncIterator[bool]:
    """Whether nobody else looks: inside, this process does."""
    global _is_looking
    token = uuid4().hex
    if _is_looking or not await store.aclient().set(LOOKING_KEY, token, nx=True, ex=LOOKING_SECONDS):
        yield False
        return
    _is_looking = True
    try:
        yield True
    finally:
        _is_looking = False
        await store.aclient().eval(GIVE_BACK, 1, LOOKING_KEY, token)


async def _refill(seconds: int) -> None:
    """seconds: after which to do so again; earlier where a database was away."""
    tenants = defaultdict(list)
    for tenant in await run_for_nobody(directory.all_active):
        tenants[tenant.alias].append(tenant)
    looks = await asyncio.gather(*map(_look_through, tenants.values()))
    if members := [member for found, _ in looks for member in found]:
        await lease.watch(members)
    seen_all = all(saw_all for _, saw_all in looks)
    await store.aclient().set(WHOLE_KEY, "1", ex=seconds if seen_all else DOUBTFUL_SECONDS)


async def _look_through(tenants: list[TenantRef]) -> tuple[list[str], bool]:
    """(Members of all running turns of the tenants of one database, whether all could be seen).

    Where it does not answer for one, the others would be waited for in vain; the order changes, so that one tenant
    that is being moved does not hide the same others again.
    """
    members, saw_all = [], True
    for tenant in random.sample(tenants, len(tenants)):
        facts = {"tenant_id": tenant.id}
        try:
            async with asyncio.timeout(TENANT_SECONDS):
                members += await run_for(tenant, _members)
        except (OperationalError, InterfaceError, TimeoutError) as error:
            logger.warning("running turns not looked for", extra=facts | {"error": type(error).__name__})
            return members, False
        except Exception:  # the outermost frame of one tenant: its trouble must not keep the others unseen
            logger.exception("running turns not looked for", extra=facts)
            saw_all = False
    return members, saw_all


def _members() -> list[str]:
    old = timezone.now() - timedelta(milliseconds=2 * lease.LEASE_MS)
    turns = Turn.objects.filter(state=Turn.State.RUNNING, started_at__lt=old)
    return [lease.member_of(current().id, turn, attempt) for turn, attempt in turns.values_list("pk", "attempt")]
