"""The ledger's months: one partition each, made ahead of time so that old months can be dropped as a whole."""

from datetime import date

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

LEDGER = "metering_usagerecord"
REST = "metering_usagerecord_rest"  # takes what falls into no month, so that no use is ever refused
MONTHS_AHEAD = 24


def ensure_partitions(connection: BaseDatabaseWrapper) -> None:
    """Make the partitions of this month and the next 24 that are missing. ``connection``: the ledger's owner's."""
    with connection.cursor() as cursor:
        cursor.execute("select inhrelid::regclass::text from pg_inherits where inhparent = %s::regclass", [LEDGER])
        present = {name for (name,) in cursor.fetchall()}
    today = timezone.now().date()
    for ahead in range(MONTHS_AHEAD + 1):
        first, after = _month(today, ahead), _month(today, ahead + 1)
        if f"{LEDGER}_{first:%Y_%m}" not in present:
            _make(connection, first, after)


def _month(day: date, ahead: int) -> date:
    """The first day of the month ``ahead`` months later."""
    years, month = divmod(day.month - 1 + ahead, 12)
    return date(day.year + years, month + 1, 1)


def _make(connection: BaseDatabaseWrapper, first: date, after: date) -> None:
    """One month's partition, with the rows that have meanwhile come into the rest."""
    name = f"{LEDGER}_{first:%Y_%m}"
    start, end = f"{first} 00:00+00", f"{after} 00:00+00"
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(f"lock table {LEDGER} in share row exclusive mode")
        cursor.execute(f"create table if not exists {name} (like {LEDGER} including all)")
        cursor.execute(
            f"with moved as (delete from {REST} where occurred_at >= %s and occurred_at < %s returning *) "  # noqa: S608
            f"insert into {name} select * from moved",
            [start, end],
        )
        # a partition's bounds take no parameters; these are dates that we made
        cursor.execute(f"alter table {LEDGER} attach partition {name} for values from ('{start}') to ('{end}')")
