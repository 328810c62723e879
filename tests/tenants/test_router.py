"""The router: which database each plane's queries go to, and what is refused."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db import connections, router

from agents.conversations.models import EndUser
from agents.models import AgentConfig
from tenants.context import acting_for, acting_for_platform
from tenants.errors import NoTenantContext
from tenants.models import AuditEvent, Domain, Tenant


def test_control_plane_models_go_to_default_or_to_the_platforms_login(acme):
    with acting_for(acme):
        assert router.db_for_read(AgentConfig) == router.db_for_write(AgentConfig) == "default"
    with acting_for_platform("a test"):
        assert router.db_for_write(AgentConfig) == router.db_for_write(LogEntry) == "platform"
    with pytest.raises(NoTenantContext):
        router.db_for_read(AgentConfig)


def test_the_directory_may_be_read_by_all():
    assert router.db_for_read(Tenant) == router.db_for_read(Domain) == "default"


def test_data_plane_models_go_to_the_tenants_placement_only(acme):
    with acting_for(acme):
        assert router.db_for_write(EndUser) == acme.alias
    with acting_for_platform("a test"), pytest.raises(NoTenantContext):
        router.db_for_read(EndUser)


def test_apps_in_both_planes_follow_the_context(acme):
    with acting_for(acme):
        assert router.db_for_write(Session) == acme.alias
    with acting_for_platform("a test"):
        assert router.db_for_write(Session) == "default"
    with pytest.raises(NoTenantContext):
        router.db_for_read(Session)


def test_a_relation_never_crosses_planes(acme):
    with acting_for(acme):
        event = AuditEvent.objects.create(actor="a", action="b")
        visitor = EndUser.objects.create(secret_hash="x")
    with acting_for_platform("a test"):
        operators_view = AuditEvent.objects.get(pk=event.pk)
    assert router.allow_relation(event, operators_view)
    assert not router.allow_relation(event, visitor)


def test_each_plane_is_migrated_by_its_own_login_only(acme):
    assert router.allow_migrate("owner", "agents") and router.allow_migrate("owner", "accounts")
    assert not router.allow_migrate("owner", "conversations")
    for alias in ("default", "platform", "provision", acme.alias):
        assert not router.allow_migrate(alias, "conversations")
    with acting_for_platform("a test"), connections["provision"].pinned(acme.schema):
        assert router.allow_migrate("provision", "conversations")
        assert router.allow_migrate("provision", "accounts")
        assert not router.allow_migrate("provision", "agents")
