"""Which database a query goes to. Source: architecture, sections 2 and 4.

plane           inside acting_for(tenant)   inside acting_for_platform   without either
control apps    default                     platform                     default for the directory, else refused
data apps       the tenant's placement      refused                      refused
both            the tenant's placement      default                      refused
"""

from django.conf import settings
from django.db import connections

from tenants.context import current, current_or_none, is_platform
from tenants.errors import NoTenantContext

CONTROL = frozenset(settings.CONTROL_APPS)
DATA = frozenset(settings.DATA_APPS)
BOTH = frozenset(settings.BOTH_APPS)


class PlaneRouter:
    """Obeys tenants.context; a query outside any context raises NoTenantContext."""

    def db_for_read(self, model, **hints) -> str:
        """The alias the context points to for this model's plane."""
        label = model._meta.app_label
        if label in DATA:
            return current().alias
        if is_platform():
            return "platform" if label in CONTROL else "default"
        if label in CONTROL:
            return self._control(model)
        return current().alias

    db_for_write = db_for_read

    def _control(self, model) -> str:
        if current_or_none() is None and not getattr(model, "readable_by_all", False):
            raise NoTenantContext(f"{model._meta.label} was asked for outside any tenant")
        return "default"

    def allow_relation(self, one, other, **hints) -> bool:
        """A foreign key never crosses planes; ``default`` and ``platform`` are two logins of one database."""
        return _place(one._state.db) == _place(other._state.db)

    def allow_migrate(self, db, app_label, model_name=None, **hints) -> bool:
        """The owner migrates ``public``; a data plane is migrated only while its connection is pinned."""
        if db == "owner":
            return app_label in CONTROL or app_label in BOTH
        if connections[db]._pinned is None:
            return False
        return app_label in DATA or app_label in BOTH


def _place(alias: str | None) -> str | None:
    return "control" if alias in ("default", "platform", "owner") else alias
