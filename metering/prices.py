"""What a use costs, in US dollars: operators' dated price rules first, then the price list of the model library."""

import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from metering.models import PriceRule

CACHE_SECONDS = 5
FREE_PROVIDERS = frozenset({"offline"})  # the demo model
PLACES = Decimal("0.00000001")

Pricer = Callable[[str, int, int, int], Decimal]
_pricer: Pricer | None = None
_rules: tuple[float, list[PriceRule]] = (0.0, [])  # the operators' rules, the same for every tenant


def register_pricer(pricer: Pricer) -> None:
    """``pricer(model, input tokens, output tokens, cached tokens)`` prices models that no rule names; 0 if unknown."""
    global _pricer
    _pricer = pricer


def cost(*, model: str, at: datetime, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> Decimal:
    """The cost of one use at a time; cached tokens are part of the input tokens."""
    if model.partition("/")[0] in FREE_PROVIDERS:
        return Decimal(0)
    for rule in _newest_first():
        if rule.model == model and rule.valid_from <= at.date():
            millionths = input_tokens * rule.input_per_million + output_tokens * rule.output_per_million
            return (millionths / 1_000_000).quantize(PLACES)
    if _pricer is None:
        return Decimal(0)
    return _pricer(model, input_tokens, output_tokens, cached_tokens).quantize(PLACES)


def forget() -> None:
    """Drop what this process remembers, after a rule has changed here."""
    global _rules
    _rules = (0.0, [])


def _newest_first() -> list[PriceRule]:
    global _rules
    until, rules = _rules
    if until < time.monotonic():
        rules = list(PriceRule.objects.order_by("-valid_from"))
        _rules = (time.monotonic() + CACHE_SECONDS, rules)
    return rules
