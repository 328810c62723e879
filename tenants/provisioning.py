"""Makes a working tenant: row, database role, schema, domain, then what each app registered.

Each step may be repeated: a run that was killed leaves a tenant in state `provisioning` that nobody can reach, and the
next run with the same name finishes it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import IntegrityError, connections, transaction
from django.utils import timezone

from platform_site.errors import Conflict
from tenants import crypto, directory, names, registry, schema_template
from tenants.context import acting_for, acting_for_platform
from tenants.errors import NameTaken, TenantUnavailable
from tenants.models import AuditEvent, Database, Domain, Tenant

logger = logging.getLogger(__name__)


def create(*, name: str, slug: str = "", vertical: str, plan: str, time_zone: str = "UTC", by: str) -> Tenant:
    """Make a tenant that can be used at once; return its row.

    slug  its part of the host name; made from the name when empty
    by    who ordered it, for the audit trail
    Raises  BadName, NameTaken  nothing was made
            Conflict            another run is making it
    """
    options = registry.Options(vertical=vertical, plan=plan)
    name, time_zone = names.checked_name(name), names.checked_time_zone(time_zone)
    slug = names.checked_slug(slug) if slug else names.slug_for(name)
    with acting_for_platform(f"create tenant {name!r}"), _alone(name):
        registry.check_options(options)
        tenant = _claim(name, slug, vertical)
        _make_schema(tenant)
        _add_host(tenant)
        Tenant.objects.filter(pk=tenant.pk).update(timezone=time_zone)
        tenant.refresh_from_db()
        with acting_for(tenant) as ref:
            for provision in registry.provisioners().values():
                provision(ref, options)
            AuditEvent.objects.create(actor=by, action="tenant.created", details={"plan": plan, "vertical": vertical})
        tenant.state = Tenant.State.ACTIVE
        tenant.save(update_fields=["state"])
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


def _claim(name: str, slug: str, vertical: str) -> Tenant:
    """The tenant's row, new or left over from a run that was killed."""
    unfinished = Tenant.objects.filter(name__iexact=name, state=Tenant.State.PROVISIONING).first()
    if unfinished:
        return unfinished
    if Domain.objects.filter(domain=names.host_for(slug)).exclude(tenant__slug=slug).exists():
        raise NameTaken(f"The address “{names.host_for(slug)}” leads to another tenant. Choose another with --slug.")
    database = Database.objects.filter(kind=Database.Kind.SHARED, state=Database.State.OPEN).order_by("pk").first()
    if database is None:
        raise TenantUnavailable("No shared database takes new tenants. Open one first.")
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
        raise NameTaken(f"A tenant with the name “{name}” or the address “{slug}” exists already.") from None
    return tenant


def _make_schema(tenant: Tenant) -> None:
    """Role, schema and tables in one transaction: complete or absent."""
    level, sql = schema_template.sql_for(tenant.schema_name)
    schema, role, app = tenant.schema_name, tenant.role, f"{settings.INSTALL}_app"
    with transaction.atomic(using="provision"), connections["provision"].cursor() as cursor:
        cursor.execute("select 1 from pg_namespace where nspname = %s", [schema])
        if cursor.fetchone():
            return
        cursor.execute("select 1 from pg_roles where rolname = %s", [role])
        if not cursor.fetchone():
            cursor.execute(f"create role {role} nologin")
        cursor.execute(f"grant {role} to {app} with inherit false, set true")
        cursor.execute(f"grant {role} to {settings.INSTALL}_provision with inherit false, set true")
        cursor.execute(f"create schema {schema} authorization {role}")
        cursor.execute(f"set local role {role}")
        cursor.execute(sql)
        cursor.execute("reset role")
    Tenant.objects.filter(pk=tenant.pk).update(schema_level=level)


def _add_host(tenant: Tenant) -> None:
    Domain.objects.get_or_create(
        domain=names.host_for(tenant.slug),
        defaults={"tenant": tenant, "is_primary": True, "verified_at": timezone.now()},
    )
