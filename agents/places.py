"""Places for open sockets: so many for one address, so many for one tenant, over all web processes together.

Each key is a hash with one field per process. Only the processes themselves hold a lease (`sys:sockets`), so keeping
thousands of places costs one command in ten seconds, and what a killed process held stops counting when its lease ends.
While Valkey is away each process counts for itself. Source: security notes, H3 and H7.
"""

import asyncio
import logging
import math
import secrets
import time
from collections import Counter
from dataclasses import dataclass

from django.conf import settings
from django.utils.crypto import salted_hmac
from redis.exceptions import RedisError

from agents.errors import TooManySockets
from platform_site import callers, rounds
from tenants import store
from tenants.context import TenantRef, acting_for
from tenants.keys import redis_key, system_key

logger = logging.getLogger(__name__)

PROCESSES = system_key("sockets")
PROCESS = f"{int(time.time() * 1000)}-{secrets.token_hex(4)}"  # begins with when it began
LEASE_SECONDS, RENEW_SECONDS = 30, 10
KEPT_SECONDS = 24 * 3600  # after the last change, for what killed processes left in a key that nobody asks for again
VALKEY_SECONDS = 1  # a visitor does not wait longer for being counted
RETRY_SECONDS = 30

# A process that is not among the living has died, unless it or the list of them began just now: not all are known yet
COUNT = """
local held = redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
if held < 1 then redis.call('HDEL', KEYS[1], ARGV[1]) end
redis.call('EXPIRE', KEYS[1], ARGV[3])
local alive, sum, young = {}, 0, redis.call('TIME')[1] * 1000 - ARGV[4]
local since = young + 1
for i = 5, #ARGV do
    alive[ARGV[i]] = true
    since = math.min(since, tonumber(ARGV[i]:match('^since:(%d+)')) or since)
end
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
    local process, began = all[i]:match('^(([0-9]+)[^:]*)')
    if alive[process] or tonumber(began) > young or since > young then sum = sum + all[i + 1]
    else redis.call('HDEL', KEYS[1], all[i]) end
end
return sum
"""
RENEW = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
-- not on it any more, as perhaps others: each comes back only with its own renewal
local lost = not known and tonumber(ARGV[1]:match('^%d+')) < now - ARGV[2]
if lost or redis.call('ZCOUNT', KEYS[1], 'inf', 'inf') == 0 then
    redis.call('ZREMRANGEBYSCORE', KEYS[1], 'inf', 'inf')
    redis.call('ZADD', KEYS[1], 'inf', 'since:' .. now)
end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return {known and 1 or 0, redis.call('ZRANGE', KEYS[1], 0, -1)}
"""

_held: Counter["Count"] = Counter()  # places of this process
_doubtful: set["Count"] = set()  # those that Valkey may have wrong
_changing: Counter["Count"] = Counter()  # those that Valkey is being told of
# The processes that live, and since when there is a list of them. Empty until it has been heard
_alive: list[bytes] = []
_missed_at = -math.inf  # when this process was last found missing among them
_renewing: asyncio.Task | None = None


@dataclass(frozen=True)
class Count:
    """Something that places are counted for: a key in Valkey, and this process's field there."""

    key: str
    field: str
    is_address: bool

    @property
    def most(self) -> int:
        """How many places there are, in all processes."""
        return settings.SOCKETS_PER_ADDRESS if self.is_address else settings.SOCKETS_PER_TENANT


Place = tuple[Count, ...]


async def claim(tenant: TenantRef, client: str) -> Place:
    """A place for a socket of this tenant from this address; to be given back with ``leave``.

    client  the address as the server names it; one on this machine is not counted, but its tenant is
    Raises  TooManySockets  details: retry_after (seconds)
    """
    place = _counts(tenant, client)
    await _keep_lease()
    _refuse_beyond([(count, _held[count] + 1) for count in place])
    _held.update(place)  # before Valkey is waited for: those who ask meanwhile see it
    try:
        totals = await _change(place, 1)
    except BaseException:  # cancelled: the visitor has gone
        _drop(place)
        _doubtful.update(place)
        raise
    try:
        _refuse_beyond(zip(place, totals, strict=True))
    except TooManySockets:
        await leave(place)
        raise
    return place


async def leave(place: Place) -> None:
    """Give a place back."""
    _drop(place)
    await _change(place, -1)


def _counts(tenant: TenantRef, client: str) -> Place:
    with acting_for(tenant):
        of_tenant = Count(redis_key("sockets"), PROCESS, is_address=False)
    network = callers.network_of(client)
    if network is None:
        return (of_tenant,)
    # whose address it is stays out of the store
    digest = salted_hmac("agents.places", network, algorithm="sha256").hexdigest()[:32]
    return of_tenant, Count(system_key("sockets", digest), f"{PROCESS}:{tenant.id}", is_address=True)


def _refuse_beyond(totals) -> None:
    for count, total in totals:
        if total > count.most:
            text = "Too many chats are open from your network. Please close one you do not need, or come back later."
            if not count.is_address:
                text = "Very many people are writing at the moment. Please wait a little."
            raise TooManySockets(text, retry_after=RETRY_SECONDS)


def _drop(place: Place) -> None:
    _held.subtract(place)
    for count in place:
        if _held[count] < 1:
            del _held[count]


async def _change(place: Place, by: int) -> list[int]:
    """The totals afterwards, of all processes; of this one alone while Valkey is away."""
    _changing.update(place)
    try:
        async with asyncio.timeout(VALKEY_SECONDS):
            async with store.aclient().pipeline(transaction=False) as pipe:
                for count in place:
                    pipe.eval(COUNT, 1, count.key, count.field, by, KEPT_SECONDS, LEASE_SECONDS * 1000, *_alive)
                return await pipe.execute()
    except (RedisError, OSError, TimeoutError) as error:
        _doubtful.update(place)
        logger.warning("sockets are counted by process only", extra={"error": type(error).__name__})
        return [_held[count] for count in place]
    finally:
        _changing.subtract(place)


async def begin() -> None:
    """Be known to the others before the first socket: they take an old process that is new to them for a dead one."""
    await _keep_lease()


async def _keep_lease() -> None:
    """Renew from now on, as long as this process lives."""
    global _renewing
    if _renewing is None or _renewing.done() or _renewing.get_loop() is not asyncio.get_running_loop():
        renewals = rounds.every(RENEW_SECONDS, renew, fault="places not renewed")
        _renewing = asyncio.create_task(renewals, name="places of sockets")
        await renew()


async def renew() -> None:
    """Say that this process lives, hear who else does, and set right what Valkey may have wrong."""
    global _missed_at
    try:
        async with asyncio.timeout(VALKEY_SECONDS):
            known, alive = await store.aclient().eval(RENEW, 1, PROCESSES, PROCESS, LEASE_SECONDS * 1000)
            if _alive and not known:  # lost, or thought dead; others think so until they hear the list again
                _missed_at = time.monotonic()
            _alive[:] = alive
            if time.monotonic() - _missed_at < LEASE_SECONDS:
                _doubtful.update(_held)
            await _write_doubtful()
    except (RedisError, OSError, TimeoutError) as error:
        logger.warning("places not renewed", extra={"error": type(error).__name__})


async def _write_doubtful() -> None:
    for count in [count for count in _doubtful if not _changing[count]]:
        held = _held[count]
        if held > 0:
            await store.aclient().hset(count.key, count.field, held)
        else:
            await store.aclient().hdel(count.key, count.field)
        if held == _held[count]:  # else a change may have been overtaken: once more in the next round
            _doubtful.discard(count)
