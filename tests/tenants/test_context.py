"""tenants.context, the backend and the router: whose data a query touches."""

import pytest

from agents.conversations.models import EndUser
from tenants.context import acting_for
from tenants.errors import NoTenantContext


def test_a_query_outside_any_tenant_is_refused():
    with pytest.raises(NoTenantContext):
        EndUser.objects.count()


def test_each_tenant_sees_its_own_rows(acme, globex):
    with acting_for(acme):
        EndUser.objects.create(secret_hash="a")
    with acting_for(globex):
        assert EndUser.objects.count() == 0
