"""Makes a working tenant: row, database role, schema, domain, then what each app registered.

Each step may be repeated: a run that was killed leaves a tenant in state `provisioning` that nobody can reach, and the
next run with the same name finishes it.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from django.db import IntegrityError, connections, transaction
from django.db.models import Q
from django.utils import timezone

from platform_site.errors import Conflict
from tenants import crypto, directory, names, openings, placements, registry, room, schemas
from tenants.context import acting_for, acting_for_platform
from tenants.errors import NameTaken
from tenants.models import AuditEvent, Database, Domain, Tenant

logger = logging.getLogger(__name__)
CREATED = "tenant.created"


def create(
    *,
    name: str,
    slug: str = "",
    vertical: str,
    plan: str,
    time_zone: str = "UTC",
    database: str = "",
    dedicated: bool = False,
    by: str,
    synthetic: bool = False,
) -> Tenant:
    """Make a tenant that can be used at once; return its row.

    slug       its part of the host name; made from the name when empty
    database   name of the database it shall live in; a shared one with room when empty
    dedicated  open a database of its own for it
    by         who ordered it, for the audit trail
    synthetic  it is nobody's customer and may have a reserved slug
    Raises  BadName, NameTaken   nothing was made
            NotFound, Conflict   no such database, it is full, or another run is making the tenant
    """
    options = registry.Options(vertical=vertical, plan=plan)
    name, time_zone = names.checked_name(name, synthetic=synthetic), names.checked_time_zone(time_zone)
    if not synthetic:
        slug = names.checked_slug(slug) if slug else names.slug_for(name)
    with acting_for_platform(f"create tenant {name!r}"), _alone(name):
        registry.check_options(options)
        tenant = _claim(name, slug, vertical, partial(_place, name, database, dedicated, by))
        level = schemas.make(tenant.database, tenant.schema_name, tenant.role)
        Tenant.objects.filter(pk=tenant.pk).update(schema_level=level)
        _add_host(tenant)
        Tenant.objects.filter(pk=tenant.pk).update(timezone=time_zone)
        tenant.refresh_from_db()
        with acting_for(tenant) as ref:
            for provision in registry.provisioners().values():
                provision(ref, options)
        _open(tenant, by, {"plan": plan, "vertical": vertical})
    directory.forget()
    return tenant


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """One run at a time for one name: what a second one finds unfinished may be at work. Ends with the connection."""
    connection = connections["provision"]
    with connection.cursor() as cursor:
        cursor.execute("select pg_try_advisory_lock(hashtextextended(lower(%s), 0))", [name])
        if not cursor.fetchone()[0]:
            raise Conflict(f"Another run is making “{name}” right now.")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("select pg_advisory_unlock(hashtextextended(lower(%s), 0))", [name])


def _place(name: str, database: str, dedicated: bool, by: str) -> Database:
    if dedicated:
        return openings.open_dedicated(reserved_for=name, by=by)
    return placements.for_new_tenant(database) if database else room.with_room()


def _claim(name: str, slug: str, vertical: str, place: Callable[[], Database] = room.with_room) -> Tenant:
    """The tenant's row, new or left over from a run that was killed."""
    unfinished = Tenant.objects.filter(name__iexact=name, state=Tenant.State.PROVISIONING).first()
    if unfinished:
        return unfinished
    if Domain.objects.filter(domain=names.host_for(slug)).exclude(tenant__slug=slug).exists():
        raise NameTaken(f"The address “{names.host_for(slug)}” leads to another tenant. Choose another with --slug.")
    if Tenant.objects.filter(Q(name__iexact=name) | Q(slug=slug)).exists():
        raise _taken(name, slug)
    database = place()
    with connections["platform"].cursor() as cursor:
        cursor.execute("select nextval(pg_get_serial_sequence('tenants_tenant', 'id'))")
        number = cursor.fetchone()[0]
    tenant = Tenant(
        id=number,
        name=name,
        slug=slug,
        schema_name=f"t_{number}",
        vertical=vertical,
        database=database,
        wrapped_key=crypto.new_wrapped_key(),
    )
    try:
        with transaction.atomic(using="platform"):
            tenant.save(force_insert=True, using="platform")
    except IntegrityError:
        raise _taken(name, slug) from None
    return tenant


def _open(tenant: Tenant, by: str, details: dict) -> None:
    """From here on its host leads to it."""
    tenant.state = Tenant.State.ACTIVE
    with transaction.atomic(using="platform"):
        AuditEvent.objects.create(tenant=tenant, actor=by, action=CREATED, details=details)
        tenant.save(update_fields=["state"])


def _taken(name: str, slug: str) -> NameTaken:
    return NameTaken(f"A tenant with the name “{name}” or the address “{slug}” exists already.")


def _add_host(tenant: Tenant) -> None:
    Domain.objects.get_or_create(
        domain=names.host_for(tenant.slug),
        defaults={"tenant": tenant, "is_primary": True, "verified_at": timezone.now()},
    )
