"""Asks a model again that did not answer, and for a moment not at all one that answers nobody.

Never after its first word, for that has been shown. Source: notes on security, row R6.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from django.conf import settings

from agents import llm
from agents.errors import ModelUnavailable
from platform_site.circuit_breaker import CircuitBreaker
from platform_site.jitter import about
from tenants.context import current

PAUSES = (0.5, 1.5)  # seconds before the second and the third try, each by up to a half shorter or longer
TRY_SECONDS_LEAST = 5  # a try that is cut shorter would be paid for, and say nothing of the provider
WAIT_SECONDS_MOST = 10  # for a provider that says when to come; who asks for more is not asked again
FAILURES, OPEN_SECONDS = 5, 15  # questions one after the other in this process; for so long it asks no more

# By tenant and model: what one tenant's questions do to a provider is no other's trouble
_breakers: defaultdict[tuple[int, str], CircuitBreaker] = defaultdict(
    lambda: CircuitBreaker(OPEN_SECONDS, failures=FAILURES)
)


@dataclass(frozen=True)
class Asked:
    """A try begins: from here on the provider may count the question."""


@dataclass(frozen=True)
class Unanswered:
    """It counts nothing but what Usage has said; it is asked again in a moment."""


async def stream(request: llm.Request) -> AsyncIterator:
    """``llm.stream`` for the current tenant, begun up to three times within settings.MODEL_PATIENCE_SECONDS.

    Yields  Asked before each try, what ``llm.stream`` yields, and Unanswered after a try that another follows
    Raises  ModelUnavailable, ModelRefused
    """
    breaker = _breakers[current().id, request.model]

    def refusal() -> ModelUnavailable:
        return ModelUnavailable(retry_after=max(1, math.ceil(breaker.seconds_left)))

    async with aclosing(_tries(request)) as parts:
        # A question counts once, by its last try: a moment of trouble that all get over must refuse nobody
        with breaker.asking(refusal, is_failure=lambda error: isinstance(error, ModelUnavailable)):
            async for part in parts:
                yield part
                if not isinstance(part, Asked | Unanswered | llm.Usage):  # these come before a failure, too
                    break
        async for part in parts:
            yield part


async def _tries(request: llm.Request) -> AsyncIterator:
    loop = asyncio.get_running_loop()
    until = loop.time() + settings.MODEL_PATIENCE_SECONDS
    for pause in (*PAUSES, None):
        yield Asked()
        try:
            async with aclosing(llm.stream(request, first_by=until)) as parts:
                async for part in parts:
                    yield part
            return
        except ModelUnavailable as error:
            wait = _seconds_until_next(error, pause)
            if wait is None or loop.time() + wait + TRY_SECONDS_LEAST > until:
                raise
        yield Unanswered()
        await asyncio.sleep(wait)


def _seconds_until_next(error: ModelUnavailable, pause: float | None) -> float | None:
    """None: there is no other try."""
    if pause is None or error.details["retry_after"] > WAIT_SECONDS_MOST:
        return None
    return about(error.told_seconds * 1.15, by=0.15) if error.told_seconds else about(pause)
