"""Rows of one tenant in the control plane's tables."""

from django.db import models

from tenants.context import current, current_or_none, is_platform
from tenants.ids import uuid7


class UUIDModel(models.Model):
    """A row whose id is a version 7 UUID."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)

    class Meta:
        abstract = True


def _tenant_of_context() -> int | None:
    ref = current_or_none()
    return ref.id if ref else None


class TenantManager(models.Manager):
    """Only the current tenant's rows; all rows in platform work; NoTenantContext otherwise."""

    def get_queryset(self):
        queryset = super().get_queryset()
        return queryset if is_platform() else queryset.filter(tenant_id=current().id)


class TenantOwned(UUIDModel):
    """A control-plane row of one tenant. Row security in Postgres holds what this manager promises.

    grants  what the run-time role may do to its rows; `manage.py deploy` applies it
    """

    tenant_owned = True
    grants = "select, insert, update, delete"

    tenant = models.ForeignKey("tenants.Tenant", models.CASCADE, related_name="+", default=_tenant_of_context)

    objects = TenantManager()

    class Meta:
        abstract = True
