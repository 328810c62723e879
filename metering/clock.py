"""Months by Postgres' clock: the ledger's own, the same for every process."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache

from django.db import connections

MEASURED_EVERY_SECONDS = 60


@dataclass(frozen=True)
class Month:
    """A calendar month in UTC; plans count by it."""

    start: datetime
    end: datetime

    @cached_property  # it is asked for with each admission
    def name(self) -> str:
        """``2026-11``"""
        return f"{self.start:%Y-%m}"


_measured: tuple[float, datetime] | None = None  # our monotonic clock, and Postgres' at that moment


def now() -> datetime:
    """The time by Postgres, asked once a minute and counted on from there."""
    global _measured
    kept = _measured
    if kept is None or time.monotonic() - kept[0] > MEASURED_EVERY_SECONDS:
        with connections["default"].cursor() as cursor:
            cursor.execute("select clock_timestamp()")
            kept = _measured = (time.monotonic(), cursor.fetchone()[0].astimezone(UTC))
    return kept[1] + timedelta(seconds=time.monotonic() - kept[0])


def month() -> Month:
    """The present month."""
    moment = now()
    return _month(moment.year, moment.month)


@lru_cache(maxsize=2)  # two, for the hour in which the month turns
def _month(year: int, number: int) -> Month:
    start = datetime(year, number, 1, tzinfo=UTC)
    return Month(start, (start + timedelta(days=32)).replace(day=1))
