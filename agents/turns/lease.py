"""Who owns a running turn: one sorted set for all tenants, member ``<tenant>:<turn>:<attempt>``, score when it lapses.

The server's clock counts. A lapsed lease is claimed by whoever sweeps first; Postgres' attempt number fences the rest.
The set is only a finder: losing it loses no turn (see sweep.py). Source: notes on realtime, section 4.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import redis

from tenants import store
from tenants.context import TenantRef, acting_for
from tenants.keys import redis_key, system_key

logger = logging.getLogger(__name__)

LEASE_MS = 5_000
RENEW_SECONDS = LEASE_MS / 1000 / 3.3
HOLD_SECONDS = 30  # for which a claim is kept up until its turn runs; longer, whoever made it has gone
STOP_SECONDS = 600  # how long a wish to stop is kept for an owner, or whoever takes over
KEY = system_key("turns")

# KEYS the set  ARGV lease_ms member...: (re)start the lease of each member
RENEW = """
local t = redis.call('TIME'); local until_ms = t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[1]
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], until_ms, ARGV[i]) end
"""
# KEYS the set  ARGV lease_ms member...: the same for those that have none
WATCH = RENEW.replace("until_ms, ARGV[i]", "'NX', until_ms, ARGV[i]")
# KEYS the set  ARGV lease_ms: take up to 20 lapsed leases over; they are the caller's now
SWEEP = """
local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 20)
for _, member in ipairs(lapsed) do redis.call('ZADD', KEYS[1], now + ARGV[1], member) end
return lapsed
"""

_held: dict[str, float] = {}  # by member that is this process's, though its turn does not run yet: until when
_is_doubtful = False  # a claim may be missing in the store


def hold(member: str, seconds: float = HOLD_SECONDS) -> None:
    """Keep a claim up until ``let_go``: its turn is being stored, prepared or taken over. Any thread may."""
    _held[member] = time.monotonic() + seconds


def let_go(member: str) -> None:
    """Its turn runs now, or none came of it."""
    _held.pop(member, None)


def held() -> list[str]:
    """The members that are held."""
    now = time.monotonic()
    for member in [member for member, until in _held.copy().items() if until < now]:
        let_go(member)
    return list(_held)


def doubt() -> None:
    """Something was not written: what the set holds has to be compared with the running turns."""
    global _is_doubtful
    _is_doubtful = True


def take_doubt() -> bool:
    """Whether anybody here has doubted it since the last call."""
    global _is_doubtful
    was, _is_doubtful = _is_doubtful, False
    return was


def member_of(tenant_id: int, turn: UUID, attempt: int) -> str:
    """How the set names an attempt of a turn."""
    return f"{tenant_id}:{turn}:{attempt}"


def parsed(member: bytes) -> tuple[int, UUID, int]:
    """``(tenant id, turn, attempt)`` of a member."""
    tenant, turn, attempt = member.decode().split(":")
    return int(tenant), UUID(turn), int(attempt)


@contextmanager
def claiming(member: str) -> Iterator[None]:
    """Own the turn from now on; what is inside stores it while the claim is on its way to the store and back.

    Sent first, it arrives though this process dies: a claim without a turn is harmless, a turn that nobody watches is
    not. One that is lost on its way is made once more. A store that is down stops nobody: the turn runs, only its
    recovery comes later.
    """
    sent = _send(member)
    if sent is None:
        _claim(member)
    try:
        yield
    finally:
        if sent and not _confirm(sent):
            _claim(member)


def _send(member: str) -> store.Sent | None:
    try:
        return store.Sent("EVAL", RENEW, 1, KEY, LEASE_MS, member)
    except redis.RedisError:
        return None  # why, says whoever tries once more


def _confirm(sent: store.Sent) -> bool:
    """Whether the claim is known to be written."""
    try:
        sent.answer()
    except redis.RedisError:
        return False
    return True


def _claim(member: str) -> None:
    try:
        store.client().eval(RENEW, 1, KEY, LEASE_MS, member)
    except redis.RedisError as error:
        doubt()
        logger.warning("lease not written", extra={"member": member, "error": type(error).__name__})


def drop(member: str) -> None:
    """Take back a claim that no turn came of, so that nobody looks for it."""
    let_go(member)
    try:
        store.client().zrem(KEY, member)
    except redis.RedisError as error:
        logger.warning("lease not dropped", extra={"member": member, "error": type(error).__name__})


async def renew(members: list[str], *, ms: int = LEASE_MS) -> None:
    """Keep owning these, for so long. Raises redis.RedisError."""
    await store.aclient().eval(RENEW, 1, KEY, ms, *members)


async def watch(members: list[str]) -> None:
    """Whoever owns these renews them from now on, or they lapse. Raises redis.RedisError."""
    await store.aclient().eval(WATCH, 1, KEY, LEASE_MS, *members)


async def release(members: list[str]) -> None:
    """Own them no longer. Raises redis.RedisError; then they lapse, and the sweep finds their turns finished."""
    if members:
        await store.aclient().zrem(KEY, *members)


async def let_lapse(members: list[str]) -> None:
    """Give them up to whoever sweeps next. Raises redis.RedisError."""
    if members:
        await store.aclient().zadd(KEY, dict.fromkeys(members, 0), xx=True)


async def ask_to_stop(tenant: TenantRef, turn: UUID) -> None:
    """Leave a note for the turn's owner. Raises redis.RedisError."""
    await store.aclient().set(_stop_key(tenant, turn), 1, ex=STOP_SECONDS)


async def asked_to_stop(turns: list[tuple[TenantRef, UUID]]) -> list[bool]:
    """For which of these turns such a note was left; one round trip. Raises redis.RedisError."""
    async with store.aclient().pipeline(transaction=False) as pipeline:
        for tenant, turn in turns:
            pipeline.exists(_stop_key(tenant, turn))
        return [bool(found) for found in await pipeline.execute()]


def _stop_key(tenant: TenantRef, turn: UUID) -> str:
    with acting_for(tenant):
        return redis_key("turn", turn, "stop")


async def sweep() -> list[tuple[int, UUID, int]]:
    """Attempts whose owner is gone; the caller owns them now. Raises redis.RedisError."""
    return [parsed(member) for member in await store.aclient().eval(SWEEP, 1, KEY, LEASE_MS)]
