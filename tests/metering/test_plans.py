"""Plans: what a new tenant may be ordered with, and what the current one is allowed."""

import pytest
from django.db import ProgrammingError, connections
from django.test.utils import CaptureQueriesContext

from metering import plans
from metering.errors import NoPlan
from metering.models import Subscription
from platform_site.errors import BadInput
from tenants import provisioning
from tenants.context import acting_for, acting_for_platform
from tenants.models import Tenant


def test_a_new_tenant_is_on_the_plan_it_was_ordered_with(make_tenant):
    with acting_for(make_tenant(plan="free")):
        allowed = plans.allowances()
    assert (allowed.plan, allowed.tokens_per_hour, allowed.tokens_per_month, allowed.sessions) == (
        "Free", 50_000, 500_000, 5,
    )  # fmt: skip


def test_an_unknown_plan_is_refused_with_the_plans_there_are_and_nothing_is_made():
    with pytest.raises(BadInput, match="“gold”.*free, pro, enterprise"):
        provisioning.create(name="Gold Diggers", vertical="healthcare", plan="gold", by="a test")
    assert not Tenant.objects.filter(name="Gold Diggers").exists()


def test_allowances_are_remembered_for_some_seconds(acme):
    with acting_for(acme):
        first = plans.allowances()
        with CaptureQueriesContext(connections["default"]) as queries:
            assert plans.allowances() == first
    assert len(queries) == 0


def test_without_a_subscription_nothing_is_allowed(acme):
    with acting_for_platform("test"):
        Subscription.objects.filter(tenant_id=acme.id).delete()
    plans.forget()
    with acting_for(acme), pytest.raises(NoPlan):
        plans.allowances()


def test_a_tenant_cannot_put_itself_on_another_plan(acme):
    with acting_for(acme), pytest.raises(ProgrammingError, match="permission denied"):
        Subscription.objects.update(plan_id=1)
