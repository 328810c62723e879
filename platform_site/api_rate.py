"""How many requests a tenant's programs may send in a minute, over all its keys and all web processes."""

import logging
from collections import defaultdict

from django.conf import settings
from redis.exceptions import RedisError
from rest_framework.throttling import BaseThrottle

from platform_site.errors import PlatformError
from platform_site.pace import Pace
from tenants import store
from tenants.context import current
from tenants.keys import redis_key

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 60
# A sliding minute from two fixed ones: what the last one held counts by the part of it that is still within the window
COUNT = """
local most, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = (time[1] + time[2] / 1000000) / window
local number, left = math.floor(now), 1 - now % 1
local held = redis.call('HMGET', KEYS[1], number, number - 1)
local this, last = tonumber(held[1] or 0), tonumber(held[2] or 0)
local used = this + last * left
if used + 1 > most then
    local until_less = left
    if this < most and last > 0 then until_less = left - (most - 1 - this) / last end
    return {0, 0, math.max(1, math.ceil(window * until_less))}
end
if this == 0 then
    for _, old in ipairs(redis.call('HKEYS', KEYS[1])) do
        if tonumber(old) < number - 1 then redis.call('HDEL', KEYS[1], old) end
    end
end
redis.call('HINCRBY', KEYS[1], number, 1)
redis.call('EXPIRE', KEYS[1], 2 * window)
return {1, math.floor(most - used - 1), math.ceil(window * left)}
"""
_here: dict[int, Pace] = defaultdict(lambda: Pace(settings.API_REQUESTS_PER_MINUTE, WINDOW_SECONDS))


class TooManyRequests(PlatformError):
    """The minute's requests are used up. details: retry_after (seconds)"""

    code, status, text = "too_many_requests", 429, "Too many requests in a minute. Please send them more slowly."


class TenantRate(BaseThrottle):
    """The REST framework's way to ask; leaves on the request what the answer's headers say."""

    def allow_request(self, request, view):
        granted, left, seconds = _take()
        request._request.rate = (left, seconds)
        if not granted:
            raise TooManyRequests(retry_after=seconds)
        return True


def headers(left: int, seconds: int) -> dict[str, str]:
    """What an answer says of the limit, in the words of the IETF's draft on rate limit headers."""
    return {
        "RateLimit-Policy": f'"requests";q={settings.API_REQUESTS_PER_MINUTE};w={WINDOW_SECONDS}',
        "RateLimit": f'"requests";r={left};t={seconds}',
    }


def _take() -> tuple[bool, int, int]:
    """``(granted, left, seconds)``: until the window has moved on, or until it helps to ask again."""
    most = settings.API_REQUESTS_PER_MINUTE
    try:
        granted, left, seconds = store.client().eval(COUNT, 1, redis_key("api", "rate"), most, WINDOW_SECONDS)
        return bool(granted), left, seconds
    except RedisError as error:
        logger.warning("requests are counted by process only", extra={"error": type(error).__name__})
        wait = _here[current().id].take()
        return not wait, 0, max(1, round(wait)) if wait else WINDOW_SECONDS
