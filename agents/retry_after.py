"""Reads the Retry-After header of a provider (RFC 9110, 10.2.3)."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SECONDS_MOST = 60


def seconds(header: str | None) -> int | None:
    """How long to wait, 1 to SECONDS_MOST, given in seconds or as a date; None where it says nothing."""
    try:
        told = float(header or "nan")
    except ValueError:
        told = _until(header)
    return None if math.isnan(told) else round(max(1, min(told, SECONDS_MOST)))


def _until(date: str) -> float:
    try:
        return (parsedate_to_datetime(date).astimezone(UTC) - datetime.now(UTC)).total_seconds()
    except ValueError:
        return math.nan
