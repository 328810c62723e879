"""How much room a tenant's documents take, of what its plan gives them."""

from collections.abc import Callable
from dataclasses import dataclass

from django.db import connections
from django.db.models import Sum
from django.template.defaultfilters import filesizeformat

from knowledge.errors import StorageFull
from knowledge.models import Document
from tenants.context import current

NEARLY_PERCENT = 80


def _a_gibibyte() -> int:
    return 1024**3


_allowance: Callable[[], int] = _a_gibibyte


def register_allowance(allowance: Callable[[], int]) -> None:
    """Say how many bytes the files of the current tenant's documents may have together."""
    global _allowance
    _allowance = allowance


@dataclass(frozen=True)
class Storage:
    """Bytes of the files that are kept, and how many there may be."""

    used: int
    allowed: int

    @property
    def percent(self) -> int:
        """Of what is allowed, 0 to 100."""
        return min(100, 100 * self.used // max(1, self.allowed))

    @property
    def tone(self) -> str:
        """A status tone of the design system."""
        return "bad" if self.percent >= 100 else "warn" if self.percent >= NEARLY_PERCENT else "ok"


def standing() -> Storage:
    """The current tenant's. A file that was refused is not kept, and counts nothing."""
    used = Document.objects.exclude(path="").aggregate(total=Sum("bytes"))["total"] or 0
    return Storage(int(used), _allowance())


def check(more: int) -> None:
    """Whether so many bytes more find room. Raises StorageFull."""
    now = standing()
    if now.used + more <= now.allowed:
        return
    raise StorageFull(
        f"There is no room for this file of {_size(more)}: {_size(now.used)} of the {_size(now.allowed)} in your plan "
        "are used. Remove documents that are no longer needed, or ask your provider for a larger plan.",
        used=now.used,
        allowed=now.allowed,
        bytes=more,
    )


def one_at_a_time() -> None:
    """Until the end of the transaction: two that look at once would both take the same room."""
    with connections[current().alias].cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtextextended('knowledge.storage', %s))", [current().id])


def _size(count: int) -> str:
    return filesizeformat(count).replace("\xa0", " ")
