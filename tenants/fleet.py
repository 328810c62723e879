"""All tenants at once: how they are, and bringing their schemas up to this release. Platform work.

Which tenant has which level stands in its row, so those that are current cost one query for all of them. A run that
was killed, or that could not do all, is simply run again.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import chain, zip_longest

from django.core.management import call_command
from django.db import Error, OperationalError, connections

from platform_site.errors import Conflict, NotFound
from tenants import databases, schema_template
from tenants.context import acting_for_platform
from tenants.models import Database, Tenant

logger = logging.getLogger(__name__)

WORKERS = 4
LOCK_TIMEOUT_MS = 2_000  # what waits for a lock makes others wait behind it
ATTEMPTS = 4
PAUSE_SECONDS = 0.5  # doubled after each attempt
LOCK_NOT_AVAILABLE = "55P03"
SCHEMA_LOCK = "hashtextextended('tenants.fleet', %s)"  # with the tenant's id: its schema is migrated, or moved
SIZES = """
    select n.nspname, sum(pg_total_relation_size(c.oid))::bigint from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname ~ '^t_[0-9]+$' and c.relkind in ('r', 'm') group by 1
"""


@dataclass(frozen=True)
class Failure:
    """A tenant that could not be migrated, and the first line of why."""

    slug: str
    error: str


@dataclass
class Run:
    """What came of one run. ``stopped``: a canary failed, so the others were not begun."""

    level: str
    current: int
    total: int
    migrated: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    stopped: bool = False

    def trouble(self) -> str:
        """For people: who failed, why, and what to do."""
        rest = "A canary failed, so the others were not begun." if self.stopped else "All others are done."
        head = (
            f"{len(self.failed)} tenants were not migrated. {rest} Repair them, then run manage.py migrate_fleet again."
        )
        return "\n".join([head, *(f"{one.slug}: {one.error}" for one in self.failed)])


def sizes(database: Database) -> dict[str, int]:
    """Bytes of each tenant's schema there, by its name; one round trip. Raises OperationalError, NoAddress."""
    with connections[databases.ensure_provision_alias(database)].cursor() as cursor:
        cursor.execute(SIZES)
        return dict(cursor.fetchall())


def behind() -> list[Tenant]:
    """Tenants at another level than this release's: the databases take turns. One query."""
    level = schema_template.fingerprint()
    rows = Tenant.objects.exclude(schema_level=level).exclude(state__in=Tenant.NOT_READY).order_by("pk")
    by_database = defaultdict(list)
    for tenant in rows.select_related("database"):
        by_database[tenant.database_id].append(tenant)
    return [tenant for tenant in chain(*zip_longest(*by_database.values())) if tenant]


def migrate(
    *, canaries: Iterable[str] = (), workers: int = WORKERS, told: Callable[[Run], None] = lambda run: None
) -> Run:
    """Migrate all tenants that are behind, the canaries first and one by one; a failing one does not stop the others.

    canaries  slugs
    workers   how many tenants at once
    told      called after each tenant
    Raises    NotFound  there is no such canary; nothing was begun
    """
    canaries = list(canaries)
    _check(canaries)
    waiting = behind()
    run = Run(schema_template.fingerprint(), _ready() - len(waiting), len(waiting))
    first = [tenant for slug in canaries for tenant in waiting if tenant.slug == slug]
    for tenant in first:
        _note(run, tenant, _migrated(tenant, run.level), told)
        if run.failed:
            run.stopped = True
            return run
    rest = [tenant for tenant in waiting if tenant not in first]
    with ThreadPoolExecutor(workers, thread_name_prefix="fleet") as pool:
        tasks = {pool.submit(_migrated, tenant, run.level): tenant for tenant in rest}
        for task in as_completed(tasks):
            _note(run, tasks[task], task.result(), told)
    return run


def _check(canaries: list[str]) -> None:
    known = set(Tenant.objects.filter(slug__in=canaries).values_list("slug", flat=True))
    if missing := [slug for slug in canaries if slug not in known]:
        raise NotFound(f"There is no tenant {', '.join(missing)}. See manage.py tenants.")


def _ready() -> int:
    return Tenant.objects.exclude(state__in=Tenant.NOT_READY).count()


def _note(run: Run, tenant: Tenant, error: str, told: Callable[[Run], None]) -> None:
    if error:
        run.failed.append(Failure(tenant.slug, error))
    else:
        run.migrated.append(tenant.slug)
    told(run)


def _migrated(tenant: Tenant, level: str) -> str:
    """On a thread of its own: migrate one tenant. Returns what went wrong, "" if nothing."""
    with acting_for_platform("migrate the fleet"):
        try:
            _patiently(tenant, level)
        except Exception as error:  # the outermost frame of one tenant's work: the others go on
            logger.warning("tenant not migrated", extra={"tenant": tenant.slug}, exc_info=error)
            return (str(error).strip() or type(error).__name__).splitlines()[0]
        finally:
            for connection in connections.all(initialized_only=True):
                connection.close()
    return ""


def _patiently(tenant: Tenant, level: str) -> None:
    """Try again while others hold what a migration must lock; each migration that went through stays."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _migrate(tenant, level)
            return
        except Error as error:
            if not _is_lock(error) or attempt == ATTEMPTS:
                raise
        time.sleep(PAUSE_SECONDS * 2**attempt)


def _is_lock(error: Error) -> bool:
    return isinstance(error, OperationalError) and getattr(error.__cause__, "sqlstate", "") == LOCK_NOT_AVAILABLE


def _still_there(tenant: Tenant, level: str) -> bool:
    """Whether it still waits; another run may have been faster. Raises Conflict: it lives elsewhere by now."""
    now = Tenant.objects.only("schema_level", "database_id").get(pk=tenant.pk)
    if now.database_id != tenant.database_id:
        raise Conflict("It was moved to another database meanwhile.")
    return now.schema_level != level


def _migrate(tenant: Tenant, level: str) -> None:
    alias = databases.ensure_provision_alias(tenant.database)
    connection = connections[alias]
    connection.close()  # with the lock and the timeout of an attempt that failed
    with connection.pinned(tenant.schema_name, tenant.role):
        with connection.cursor() as cursor:
            cursor.execute("select set_config('lock_timeout', %s, false)", [str(LOCK_TIMEOUT_MS)])
            cursor.execute(f"select pg_advisory_lock({SCHEMA_LOCK})", [tenant.pk])
        if not _still_there(tenant, level):
            return
        call_command("migrate", database=alias, interactive=False, verbosity=0)
    Tenant.objects.filter(pk=tenant.pk).update(schema_level=level)
    logger.info("tenant migrated", extra={"tenant": tenant.slug})
