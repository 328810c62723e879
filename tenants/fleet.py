"""Brings the schemas of existing tenants up to this release."""

import logging

from django.core.management import call_command
from django.db import connections

from tenants import databases, schema_template
from tenants.models import Tenant

logger = logging.getLogger(__name__)


def migrate_all() -> int:
    """Migrate each tenant whose schema is at another level; return how many were. Platform work."""
    level = schema_template.fingerprint()
    behind = Tenant.objects.exclude(schema_level=level).exclude(state=Tenant.State.PROVISIONING).order_by("pk")
    for tenant in behind.select_related("database"):
        alias = databases.ensure_provision_alias(tenant.database)
        with connections[alias].pinned(tenant.schema_name, tenant.role):
            call_command("migrate", database=alias, interactive=False, verbosity=0)
        Tenant.objects.filter(pk=tenant.pk).update(schema_level=level)
        logger.info("tenant migrated", extra={"tenant_id": tenant.pk})
    return len(behind)
