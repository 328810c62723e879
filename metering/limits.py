"""Lets the current tenant's turns through, or not: claims before the work, corrects after it.

Each verb is one script in Valkey over the tenant's own keys, so it is exact under any concurrency and between
processes. The scripts' headers say what the keys hold. Source: architecture, section 8.
"""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from uuid import UUID, uuid4

from django.conf import settings
from django.db import OperationalError
from redis import RedisError
from redis.exceptions import NoScriptError

from metering import clock, counting, plans
from metering.errors import LimitReached
from metering.outbox import pending
from metering.plans import Allowances
from tenants import store
from tenants.context import current
from tenants.keys import redis_key
from tenants.transactions import give_connections_back

logger = logging.getLogger(__name__)

SETTLED_SECONDS = 900  # a settle repeated within this time changes nothing
IDLE_SECONDS = 24 * 3600  # counters of an idle tenant go; they are filled again from the ledger
FILL_SECONDS, WAIT_SECONDS = 5, 0.005  # for a fill by this process, between looks at another's
SESSION_RETRY_SECONDS = 5
LEDGER_RETRY_SECONDS = 60

REFUSED, GRANTED, NOT_READY = 0, 1, 2
# Tenants for which a settle did not reach Valkey: their counters there miss something. By tenant id
_doubtful: set[int] = set()


@dataclass(frozen=True)
class Reservation:
    """A claim on the tenant's allowances.

    again  the turn had claimed before; ``tokens`` is the first claim
    held   False while Valkey is away: admitted by the ledger, nothing is held
    """

    turn_id: UUID
    tokens: int
    again: bool = False
    held: bool = True


def reserve(*, turn_id: UUID, conversation_id: UUID, tokens: int) -> Reservation:
    """Claim tokens and a session for one turn of the current tenant, before the model is called.

    turn_id  asked twice for one turn, the first claim is given again and lives on
    tokens   upper bound of prompt plus answer, in model tokens; at least 1
    Returns  the reservation; it lapses after settings.RESERVATION_SECONDS unless settled
    Raises   LimitReached  details: what, until (ISO time), retry_after (seconds); nothing is claimed
    Source   architecture, section 8
    """
    if tokens < 1:
        raise ValueError("a turn takes at least one token")
    allowed = plans.allowances()
    try:
        state, what, number = _claim(turn_id, conversation_id, tokens, allowed)
    except RedisError as error:
        logger.warning("limits cannot be reached: the ledger decides", extra={"error": type(error).__name__})
        return _admitted_by_ledger(turn_id, tokens, allowed)
    if state == REFUSED:
        raise _limit_reached(what, timedelta(milliseconds=number))
    return Reservation(turn_id, number, again=what == "again")


def settle(*, turn_id: UUID, tokens: int, attempt: int = 1, announce: bool = False) -> bool:
    """Correct a turn's claim to what it used, after its usage was recorded. Repeated, it changes nothing.

    A claim that has lapsed meanwhile was given back, so the use is charged in full.
    attempt   of the turn: each one used tokens of its own
    announce  in the same round trip, say that usage waits for the ledger
    Returns   False: it could not be said; ``settle_by_record`` makes it good
    """
    return _charge(turn_id, tokens, _settled(turn_id, attempt), announce=announce)


def settle_by_record(*, turn_id: UUID, attempt: int) -> None:
    """Announce and settle what is recorded of a turn that has ended, for an owner that died before it, or failed.

    Raises  redis.RedisError
    """
    store.client().execute_command(*pending.mark_command())
    if reserved(turn_id=turn_id):  # else it was settled, or its claim was lost with the store
        settle(turn_id=turn_id, tokens=counting.used_by(turn_id, attempt), attempt=attempt)


def add(*, use_id: UUID, tokens: int) -> None:
    """Charge tokens that nothing was claimed for. Repeated with one ``use_id``, it changes nothing."""
    _charge(use_id, tokens, redis_key("lim", "settled", use_id))


def reserved(*, turn_id: UUID) -> int | None:
    """The tokens that are claimed for a turn now; None if nothing is, or Valkey is away."""
    try:
        claim = store.client().hget(redis_key("lim"), f"r:{turn_id.hex}")
    except RedisError:
        return None
    return int(claim.partition(b":")[0]) if claim else None


def sessions_now() -> int | None:
    """Conversations of the current tenant with a running turn, for display; None while Valkey is away."""
    try:
        with store.client().pipeline(transaction=False) as both:
            both.hget(redis_key("lim"), "sessions")  # lapsed claims are in it until the next reservation
            both.zcount(redis_key("res"), time.time() * 1000, "+inf")
            counted, alive = both.execute()
    except RedisError:
        return None
    return min(int(counted or 0), alive)


def _claim(turn_id: UUID, conversation_id: UUID, tokens: int, allowed: Allowances) -> tuple[int, str, int]:
    """``(state, what, number)`` of reserve.lua, after filling the counters where needed."""
    tenant_id = current().id
    deadline = time.monotonic() + FILL_SECONDS
    while True:
        answer = _run(
            "reserve",
            [redis_key("lim"), redis_key("res")],
            [
                turn_id.hex, tokens, allowed.tokens_per_hour, allowed.tokens_per_month, allowed.sessions,
                settings.RESERVATION_SECONDS * 1000, clock.month().name, conversation_id.hex, IDLE_SECONDS * 1000,
                int(tenant_id in _doubtful),
            ],
        )  # fmt: skip
        if answer[0] != NOT_READY:
            return answer[0], answer[1].decode(), answer[2]
        _doubtful.discard(tenant_id)
        _fill()
        if time.monotonic() > deadline:
            raise RedisError("the counters were not filled in time")


def _charge(use_id: UUID, tokens: int, settled: str, *, announce: bool = False) -> bool:
    try:
        _run(
            "settle",
            [redis_key("lim"), redis_key("res"), redis_key("lim", "late"), settled],
            [use_id.hex, tokens, clock.month().name, SETTLED_SECONDS * 1000, IDLE_SECONDS * 1000],
            along=[pending.mark_command()] if announce else [],
        )
    except (RedisError, OperationalError) as error:  # the latter from the month, which PostgreSQL says once a minute
        _doubtful.add(current().id)  # the next reservation fills the counters again from the ledger
        logger.warning("use not settled", extra={"error": type(error).__name__})
        return False
    return True


def _settled(turn_id: UUID, attempt: int) -> str:
    """What remembers that a turn's use was charged."""
    return redis_key("lim", "settled", turn_id, attempt)


def _fill() -> None:
    """Set the counters from the ledger; one process does, the others wait a moment, without a connection."""
    lim, late, attempt = redis_key("lim"), redis_key("lim", "late"), uuid4().hex
    if not _run("begin_fill", [lim, late], [attempt, FILL_SECONDS * 1000, IDLE_SECONDS * 1000]):
        give_connections_back()  # whoever fills needs one, and more threads may wait here than the pool has
        time.sleep(WAIT_SECONDS)  # on a thread that works for this tenant; its caller looks again
        return
    relayed = counting.relayed_lately()  # before the sums: what gets there meanwhile counts twice, the safe side
    counted = counting.counted()
    pairs = [number for pair in counted.buckets.items() for number in pair]
    _run(
        "fill",
        [lim, redis_key("res"), late, *(_settled(*use) for use in [*counted.newest, *relayed])],
        [counted.month_name, counted.month, IDLE_SECONDS * 1000, SETTLED_SECONDS * 1000, attempt, *pairs],
    )


def _admitted_by_ledger(turn_id: UUID, tokens: int, allowed: Allowances) -> Reservation:
    """Valkey is away: let through what fits into half of what the ledger leaves, for others ask at the same time."""
    counted = counting.counted()
    if tokens > (allowed.tokens_per_month - counted.month) // 2:
        raise _limit_reached("tokens_per_month", timedelta(0))
    if tokens > (allowed.tokens_per_hour - sum(counted.buckets.values())) // 2:
        raise _limit_reached("tokens_per_hour", timedelta(seconds=LEDGER_RETRY_SECONDS))
    return Reservation(turn_id, tokens, held=False)


def _limit_reached(what: str, wait: timedelta) -> LimitReached:
    now = clock.now()
    match what:
        case "tokens_per_month":
            until = clock.month().end
            text = f"No more answers can be given this month. They continue on {until:%-d %B}."
        case "tokens_per_hour":
            until = now + wait
            minutes = max(1, round(wait.total_seconds() / 60))
            text = f"No more answers can be given right now. Please try again in about {minutes} min."
        case _:
            until = now + timedelta(seconds=SESSION_RETRY_SECONDS)
            text = "Too many conversations are running at the moment. Please try again in a few seconds."
    seconds = max(1, round((until - now).total_seconds()))
    return LimitReached(text, what=what, until=until.isoformat(timespec="seconds"), retry_after=seconds)


def _run(name: str, keys: list[str], arguments: list[str | int], *, along: Sequence[tuple] = ()):
    """One script, one round trip; two when the server does not know the script yet. along: commands sent with it."""
    source, digest = _script(name)
    try:
        return _together([("EVALSHA", digest, len(keys), *keys, *arguments), *along])
    except NoScriptError:  # the others were run
        return _together([("EVAL", source, len(keys), *keys, *arguments)])


def _together(commands: Sequence[tuple]):
    """What the first command answers."""
    if len(commands) == 1:
        return store.client().execute_command(*commands[0])
    with store.client().pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        return pipeline.execute()[0]


@cache
def _script(name: str) -> tuple[str, str]:
    source = (Path(__file__).parent / "lua" / f"{name}.lua").read_text()
    return source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
