"""How many requests a tenant's programs may send in a minute, by its plan: over all its keys, and with each of them.

Counted in Valkey, over all web processes. Who shows neither key nor session can read only the schema; that is counted
apart, so that a passer-by cannot use up what belongs to the tenant's programs.
"""

import logging
from collections import defaultdict
from dataclasses import dataclass, replace

from django.conf import settings
from redis.exceptions import RedisError
from rest_framework.throttling import BaseThrottle

from metering import plans
from metering.errors import NoPlan
from platform_site.errors import PlatformError
from platform_site.pace import Pace
from tenants import store
from tenants.accounts.keys import Caller
from tenants.keys import redis_key

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 60
# A sliding minute from two fixed ones: what the last one held counts by the part of it that is still within the window.
# One key for each count; a request is counted in all of them, or refused and counted in none.
COUNT = """
local window = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = (time[1] + time[2] / 1000000) / window
local number, left = math.floor(now), 1 - now % 1
local granted, answer = 1, {}
for i, key in ipairs(KEYS) do
    local most = tonumber(ARGV[i + 1])
    local held = redis.call('HMGET', key, number, number - 1)
    local this, last = tonumber(held[1] or 0), tonumber(held[2] or 0)
    local free = most - this - last * left
    if free >= 1 then
        answer[i] = {math.floor(free), math.ceil(window * left)}
    else
        local until_less = left
        if this < most and last > 0 then until_less = left - (most - 1 - this) / last end
        granted, answer[i] = 0, {0, math.max(1, math.ceil(window * until_less))}
    end
end
for i, key in ipairs(KEYS) do
    if granted == 1 then
        answer[i][1] = answer[i][1] - 1
        for _, old in ipairs(redis.call('HKEYS', key)) do
            if tonumber(old) < number - 1 then redis.call('HDEL', key, old) end
        end
        redis.call('HINCRBY', key, number, 1)
        redis.call('EXPIRE', key, 2 * window)
    end
end
return {granted, answer}
"""
_here: dict[str, Pace] = defaultdict(lambda: Pace(0, WINDOW_SECONDS))  # by the name of a count in Valkey


class TooManyRequests(PlatformError):
    """The minute's requests are used up. details: limit (whose, by the names of the headers), retry_after (seconds)"""

    code, status = "too_many_requests", 429


@dataclass(frozen=True)
class Count:
    """One limit that a request counts against.

    name     in the headers: "requests" of the tenant, "key", or "anonymous"
    key      where it is counted
    most     requests within WINDOW_SECONDS
    left     how many more there may be now
    seconds  until the window has moved on, or until it helps to ask again
    """

    name: str
    key: str
    most: int
    left: int = 0
    seconds: int = WINDOW_SECONDS


TEXTS = {
    "requests": "Your plan includes {most:,} requests a minute, and they are used up. Please send them more slowly.",
    "key": "One key may send {most:,} requests a minute, and they are used up. Please send them more slowly.",
    "anonymous": "Too many requests in a minute. Please send them more slowly.",
}


class TenantRate(BaseThrottle):
    """The REST framework's way to ask; leaves on the request what the answer's headers say."""

    def allow_request(self, request, view):
        granted, counts = _take(_counts_of(request.user))
        request._request.rate = counts
        if not granted:
            spent = max((count for count in counts if not count.left), key=lambda count: count.seconds)
            text = TEXTS[spent.name].format(most=spent.most)
            raise TooManyRequests(text, limit=spent.name, retry_after=spent.seconds)
        return True


def headers(counts: list[Count]) -> dict[str, str]:
    """What an answer says of the limits, in the words of the IETF's draft on rate limit headers."""
    return {
        "RateLimit-Policy": ", ".join(f'"{count.name}";q={count.most};w={WINDOW_SECONDS}' for count in counts),
        "RateLimit": ", ".join(f'"{count.name}";r={count.left};t={count.seconds}' for count in counts),
    }


def _counts_of(caller) -> list[Count]:
    """What a request of this caller counts against: a key, a member of staff, or None."""
    of_tenant, of_key = _allowed()
    if caller is None:
        return [Count("anonymous", redis_key("api", "anonymous"), of_tenant)]
    counts = [Count("requests", redis_key("api", "rate"), of_tenant)]
    if isinstance(caller, Caller) and of_key:
        counts.append(Count("key", redis_key("api", "rate", caller.key_id), of_key))
    return counts


def _allowed() -> tuple[int, int | None]:
    """Requests a minute of the tenant, and with one key if that has a limit of its own."""
    try:
        allowed = plans.allowances()
    except NoPlan:
        return settings.API_REQUESTS_PER_MINUTE, None
    return allowed.api_requests_per_minute, allowed.api_requests_per_minute_of_key


def _take(counts: list[Count]) -> tuple[bool, list[Count]]:
    """Whether the request may be answered, and how its limits stand now."""
    keys, most = [count.key for count in counts], [count.most for count in counts]
    try:
        granted, found = store.client().eval(COUNT, len(keys), *keys, WINDOW_SECONDS, *most)
    except RedisError as error:
        logger.warning("requests are counted by process only", extra={"error": type(error).__name__})
        return _take_here(counts)
    standing = [replace(count, left=left, seconds=wait) for count, (left, wait) in zip(counts, found, strict=True)]
    return bool(granted), standing


def _take_here(counts: list[Count]) -> tuple[bool, list[Count]]:
    """The same by this process alone."""
    paces = [_here[count.key] for count in counts]
    for pace, count in zip(paces, counts, strict=True):
        pace.most = count.most  # by today's plan
    waits = [pace.wait() for pace in paces]
    granted = not any(waits)
    if granted:  # counted in all of them, or in none
        for pace in paces:
            pace.take()
    return granted, [_stood(*one) for one in zip(counts, paces, waits, strict=True)]


def _stood(count: Count, pace: Pace, wait: float) -> Count:
    return replace(count, left=0, seconds=max(1, round(wait))) if wait else replace(count, left=pace.left)
