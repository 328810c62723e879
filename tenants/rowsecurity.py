"""Row security and grants on the control plane, made from the models each time `manage.py deploy` runs.

tables of TenantOwned models   the run-time role sees and writes only rows of the tenant in ``app.tenant_id``
tables of both-plane apps      (operators' accounts and sessions) invisible while a tenant is set
the directory                  (tenants, domains, databases, plans) may only be read
everything else                not for the run-time role at all
"""

from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.db.models import Model

TENANT = "nullif(current_setting('app.tenant_id', true), '')::bigint"
POLICIES = {
    "tenant_rows": f"tenant_id = {TENANT}",
    "platform_rows": f"{TENANT} is null",
}


def apply(connection) -> None:
    """Bring policies and grants up to the models. ``connection``: the owner's; running it again changes nothing."""
    app, platform = f"{settings.INSTALL}_app", f"{settings.INSTALL}_platform"
    with connection.cursor() as cursor:
        for model in control_models():
            with transaction.atomic(using=connection.alias):  # whoever is at work sees the table as before or after
                _protect(cursor, model, app)
                cursor.execute(f'grant select, insert, update, delete on "{model._meta.db_table}" to {platform}')
        cursor.execute(f"grant usage on all sequences in schema public to {app}, {platform}")
        cursor.execute(f"grant select on django_migrations to {app}, {platform}")


def control_models() -> list[type[Model]]:
    """Every model with a table in ``public``, many-to-many tables included."""
    labels = {*settings.CONTROL_APPS, *settings.BOTH_APPS}
    models = apps.get_models(include_auto_created=True)
    return [model for model in models if model._meta.app_label in labels and model._meta.managed]


def policy_of(model: type[Model]) -> str | None:
    """The name of the policy a model's table must carry, if it needs one."""
    if getattr(model, "tenant_owned", False):
        return "tenant_rows"
    return "platform_rows" if model._meta.app_label in settings.BOTH_APPS else None


def grants_of(model: type[Model]) -> str:
    """What the run-time role may do with a model's table; "" for nothing."""
    if getattr(model, "tenant_owned", False):
        return model.grants
    if model._meta.app_label in settings.BOTH_APPS:
        return "select, insert, update, delete"
    return "select" if getattr(model, "readable_by_all", False) else ""


def _protect(cursor, model: type[Model], role: str) -> None:
    # Names come from our own models, never from input
    table = f'"{model._meta.db_table}"'
    policy = policy_of(model)
    if policy:  # before its rights: housekeeping that has the table waits for whoever changes those, and we for it
        cursor.execute(f"lock table {table} in access exclusive mode")
    cursor.execute(f"revoke all on {table} from {role}")
    if grants := grants_of(model):
        cursor.execute(f"grant {grants} on {table} to {role}")
    if policy:
        rule = POLICIES[policy]
        cursor.execute(f"alter table {table} enable row level security, force row level security")
        cursor.execute(f"drop policy if exists {policy} on {table}")
        cursor.execute(f"create policy {policy} on {table} using ({rule}) with check ({rule})")
