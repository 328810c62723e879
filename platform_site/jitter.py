"""Spreads what many would do at the same moment."""

import random


def about(seconds: float, *, by: float = 0.5) -> float:
    """The seconds, shorter or longer by up to this share of them."""
    return random.uniform(1 - by, 1 + by) * seconds  # noqa: S311  guards nothing
