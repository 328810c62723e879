"""What the current tenant may use: the allowances of its plan."""

from dataclasses import dataclass

from django.conf import settings

from metering.errors import NoPlan
from metering.models import Plan, Subscription
from platform_site.errors import BadInput
from tenants.cache import TenantCache
from tenants.context import TenantRef
from tenants.registry import Options


@dataclass(frozen=True)
class Allowances:
    """One plan's limits. Tokens are input plus output of model calls."""

    plan: str
    tokens_per_hour: int
    tokens_per_month: int
    sessions: int
    ingest_concurrency: int
    storage_bytes: int
    api_requests_per_minute: int
    api_requests_per_minute_of_key: int | None  # no limit but the tenant's
    models: tuple[str, ...]  # empty: the installation's


def allowances() -> Allowances:
    """The current tenant's limits; an operator's change holds within some seconds in every process.

    Raises  NoPlan
    """
    return _cache.get()


def forget() -> None:
    """Drop what this process remembers, after a plan or subscription has changed here."""
    _cache.forget()


def expires_soon(tenant_id: int) -> bool:
    """Whether the tenant's next question may have to wait for its allowances."""
    return _cache.expires_soon(tenant_id)


def refresh() -> None:
    """Read the current tenant's allowances again if they expire soon. Raises NoPlan."""
    _cache.refresh()


def _allowances() -> Allowances:
    subscription = Subscription.objects.select_related("plan").first()
    if subscription is None:
        raise NoPlan
    return _of(subscription.plan)


_cache = TenantCache(_allowances)


def _of(plan: Plan) -> Allowances:
    return Allowances(
        plan=plan.name,
        tokens_per_hour=plan.tokens_per_hour,
        tokens_per_month=plan.tokens_per_month,
        sessions=plan.sessions,
        ingest_concurrency=plan.ingest_concurrency,
        storage_bytes=plan.storage_bytes,
        api_requests_per_minute=plan.api_requests_per_minute or settings.API_REQUESTS_PER_MINUTE,
        api_requests_per_minute_of_key=plan.api_requests_per_minute_of_key,
        models=tuple(dict.fromkeys(plan.model_names.split())),
    )


def check_order(options: Options) -> None:
    """Refuse a new tenant on a plan that does not exist. Raises BadInput."""
    codes = list(Plan.objects.order_by("tokens_per_month").values_list("code", flat=True))
    if options.plan not in codes:
        raise BadInput(f"There is no plan “{options.plan}”. Choose one of: {', '.join(codes)}.")


def provision(tenant: TenantRef, options: Options) -> None:
    """Put a new tenant on the plan it was ordered with."""
    Subscription.objects.get_or_create(defaults={"plan": Plan.objects.get(code=options.plan)}, tenant_id=tenant.id)
