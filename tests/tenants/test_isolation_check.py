"""The isolation check: green where every wall stands, red as soon as one does not."""

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from celery import Task
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.models import Manager
from django.test import Client
from qdrant_client import models

from agents.conversations.models import Conversation
from knowledge import vectors
from knowledge.models import Document
from knowledge.vectors.connection import connection
from platform_site.errors import BadInput
from tenants import crypto, databases, keys, names, provisioning, rowsecurity, storage, store
from tenants.accounts.models import User
from tenants.backend.base import DatabaseWrapper
from tenants.context import acting_for, acting_for_platform, current
from tenants.isolation import checking, runs, stand_in
from tenants.models import AuditEvent, Database, IsolationCheck, Tenant, TenantManager
from tenants.tasks import TenantTask


@pytest.fixture(scope="module")
def acme():
    """One tenant for all of these: each test leaves it as sound as it was, which the last one proves."""
    stand_in.get()  # made while all walls stand
    slug = f"acme-{uuid4().hex[:8]}"
    return provisioning.create(name=slug, slug=slug, vertical="healthcare", plan="pro", by="a test").ref()


def red(tenant) -> set[str]:
    """The codes of what leaked when the tenant is checked."""
    result = checking.check(tenant)
    assert result.ok is (not result.leaked)
    return {attempt["code"] for attempt in result.attempts if attempt["outcome"] == "LEAKED"}


def test_a_sound_tenant_is_green_and_every_attempt_was_made(acme):
    result = checking.check(acme)
    assert [attempt for attempt in result.attempts if attempt["outcome"] != "refused"] == []
    assert result.ok and result.verdict == "Sound" and result.tenant_id == acme.id
    ways = {(attempt["by"], attempt["against"]) for attempt in result.attempts}
    assert ways == {(acme.slug, names.STAND_IN), (names.STAND_IN, acme.slug)}
    with acting_for_platform("a test"):
        assert IsolationCheck.objects.get(pk=result.pk, tenant_id=acme.id).attempts == result.attempts


def test_the_synthetic_tenant_is_nobodys_customer_and_has_no_chat(acme):
    there = stand_in.get()
    assert there not in checking.customers() and acme in checking.customers()
    for path in ("/chat/", "/accounts/login/"):
        assert Client(headers={"host": names.host_for(there.slug)}).get(path).status_code == 404
    with pytest.raises(BadInput):
        checking.check(there)


def test_a_tenants_own_work_cannot_read_results(acme):
    checking.check(acme)
    with acting_for(acme), pytest.raises(Exception, match="permission denied"):
        IsolationCheck.objects.count()


def test_the_command_gives_json_and_refuses_unknown_tenants(acme):
    out = StringIO()
    call_command("check_isolation", acme.slug, json=True, stdout=out)
    (found,) = json.loads(out.getvalue())
    assert found["tenant"] == acme.slug and found["ok"] and len(found["attempts"]) > 50
    out = StringIO()
    call_command("check_isolation", acme.slug, stdout=out)
    assert "Sound" in out.getvalue()
    with pytest.raises(CommandError, match="no tenant"):
        call_command("check_isolation", "nobody-of-that-name")


# --- each wall broken once


@contextmanager
def broken(by: str, mended_by: str) -> Iterator[None]:
    """SQL of the control plane's owner that takes a wall down, and puts it up again."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(by)
        try:
            yield
        finally:
            cursor.execute(mended_by)


@contextmanager
def granted_by(tenant, statement: str, taken_back: str) -> Iterator[None]:
    """The same in a tenant's schema, as its own role."""
    with acting_for_platform("a test"):
        database = Tenant.objects.select_related("database").get(pk=tenant.id).database
        alias = databases.ensure_provision_alias(database)
        with connections[alias].pinned(tenant.schema, tenant.role), connections[alias].cursor() as cursor:
            cursor.execute(statement)
    try:
        yield
    finally:
        with (
            acting_for_platform("a test"),
            connections[alias].pinned(tenant.schema, tenant.role),
            connections[alias].cursor() as cursor,
        ):
            cursor.execute(taken_back)


def test_red_when_the_role_may_use_the_other_schema(acme):
    there = stand_in.get()
    usage = f"usage on schema {there.schema}"
    with granted_by(there, f"grant {usage} to {acme.role}", f"revoke {usage} from {acme.role}"):
        assert "catalogue.tenant_grants" in red(acme)
    both = f"grant {usage} to {acme.role}; grant select on {there.schema}.django_session to {acme.role}"
    none = f"revoke {usage} from {acme.role}; revoke select on {there.schema}.django_session from {acme.role}"
    with granted_by(there, both, none):
        assert {"sql.other_schema", "catalogue.tenant_grants"} <= red(acme)


def test_red_when_the_synthetic_tenants_role_may_use_the_tenants_schema(acme):
    role = stand_in.get().role
    both = f"grant usage on schema {acme.schema} to {role}; grant select on {acme.schema}.accounts_user to {role}"
    none = f"revoke usage on schema {acme.schema} from {role}; revoke select on {acme.schema}.accounts_user from {role}"
    with granted_by(acme, both, none):
        assert "sql.other_schema" in red(acme)


def test_red_without_row_security_on_one_table(acme):
    table = "branding_branding"
    with broken(f"alter table {table} disable row level security", f"alter table {table} enable row level security"):
        assert red(acme) >= {"shared.orm", "shared.sql_read", "shared.sql_write", "shared.sql_change",
                             "shared.without_context", "catalogue.row_security"}  # fmt: skip


def test_red_when_row_security_is_not_forced(acme):
    table = "agents_agentversion"
    with broken(f"alter table {table} no force row level security", f"alter table {table} force row level security"):
        assert red(acme) == {"catalogue.row_security"}


@pytest.mark.parametrize("table", ["branding_branding", "tenants_auditevent", "metering_usagerecord"])
def test_red_without_the_write_check(acme, table):
    rule = rowsecurity.POLICIES["tenant_rows"]
    with broken(
        f"alter policy tenant_rows on {table} with check (true)",
        f"alter policy tenant_rows on {table} with check ({rule})",
    ):
        assert red(acme) == {"shared.sql_write", "catalogue.row_security"}


def test_red_when_a_second_policy_lets_more_through(acme):
    with broken(
        "create policy more on tenants_auditevent for select using (true)", "drop policy more on tenants_auditevent"
    ):
        assert {"shared.sql_read", "catalogue.row_security"} <= red(acme)


def test_red_when_a_new_shared_table_has_no_policy(acme):
    with broken(
        f"create table leaky (tenant_id bigint); grant select on leaky to {settings.INSTALL}_app", "drop table leaky"
    ):
        assert red(acme) == {"catalogue.row_security"}


def test_red_when_operators_rows_are_not_hidden(acme):
    with acting_for_platform("a test"):
        User.objects.create_user(f"operator-{acme.id}@platform.example", "correct horse battery", is_staff=True)
    with broken(
        "alter table accounts_user disable row level security", "alter table accounts_user enable row level security"
    ):
        assert red(acme) == {"shared.operators"}


def test_red_when_the_directory_may_be_written(acme):
    right = "update on tenants_domain"
    with broken(f"grant {right} to {settings.INSTALL}_app", f"revoke {right} from {settings.INSTALL}_app"):
        assert red(acme) == {"shared.directory", "catalogue.row_security"}


def test_red_when_the_managers_filter_nothing(acme, monkeypatch):
    monkeypatch.setattr(TenantManager, "get_queryset", Manager.get_queryset)
    assert red(acme) == {"shared.manager"}  # row security and the router still stand


def test_red_when_one_model_goes_without_the_manager(acme, monkeypatch):
    monkeypatch.setattr(AuditEvent._meta, "local_managers", [])
    monkeypatch.setitem(AuditEvent._meta.__dict__, "managers", [])
    monkeypatch.setitem(AuditEvent._meta.__dict__, "default_manager", AuditEvent._base_manager)
    assert "shared.manager" in red(acme)


def test_red_when_names_in_shared_stores_forget_the_tenant(acme, monkeypatch):
    monkeypatch.setattr(keys, "current", lambda: SimpleNamespace(id=0))
    shared = {"cache.same_key", "valkey.same_name", "files.same_name", "channels.group", "vectors.search"}
    unasked = {"cache.without_context", "valkey.without_context", "files.without_context"}
    assert shared | unasked <= red(acme)


def test_red_when_stored_paths_may_lead_out_of_the_folder(acme, monkeypatch):
    monkeypatch.setattr(storage, "storage_path", lambda name: f"t/{current().id}/{name}")
    assert red(acme) == {"files.foreign_path"}


def test_red_when_the_tenants_alias_leads_to_the_others_collection(acme):
    there = stand_in.get()
    with acting_for(there):
        vectors.ensure_collection(dense_size=None)
        theirs = f"{keys.collection_alias()}_1"
    with acting_for(acme):
        alias = keys.collection_alias()
    make = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=theirs, alias_name=alias))
    connection().client.update_collection_aliases([make])
    try:
        assert red(acme) == {"vectors.search", "vectors.delete"}
    finally:
        drop = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
        connection().client.update_collection_aliases([drop])
        connection().facts.clear()


def test_red_when_a_message_may_name_another_tenant(acme, monkeypatch):
    def apply_async(self, args=None, kwargs=None, **options):
        return super(TenantTask, self).apply_async(args, kwargs, **options)

    monkeypatch.setattr(TenantTask, "apply_async", apply_async)
    assert "queue.forged_header" in red(acme)


def test_red_when_a_message_without_a_tenant_is_worked_on(acme, monkeypatch):
    def guess(self, *args, **kwargs):
        with acting_for(acme):
            return Task.__call__(self, *args, **kwargs)

    monkeypatch.setattr(TenantTask, "__call__", guess)
    assert "queue.no_tenant" in red(acme)


def test_red_when_a_connection_no_longer_becomes_what_the_context_says(acme, monkeypatch):
    monkeypatch.setattr(
        DatabaseWrapper, "obey", lambda self: self._bound or self._bind(self.connection, self._wanted())
    )
    assert "sql.kept_cursor" in red(acme)


def test_red_when_keys_open_what_is_not_theirs(acme, monkeypatch):
    there = stand_in.get()
    monkeypatch.setattr(crypto, "current", lambda: there)
    assert red(acme) == {"conversations.sealed"}


def test_what_cannot_be_tried_is_not_called_sound(acme, monkeypatch):
    monkeypatch.setattr(settings, "QDRANT_URL", "http://127.0.0.1:9")
    result = checking.check(acme)
    assert (result.verdict, result.ok, result.leaked) == ("Incomplete", False, 0)
    assert {a["code"] for a in result.attempts if a["outcome"] == "could not be tried"} == {
        "vectors.search", "vectors.delete"
    }  # fmt: skip
    with pytest.raises(SystemExit, match="2"):
        call_command("check_isolation", acme.slug, stdout=StringIO())


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_where_its_database_does_not_answer_that_alone_is_found_and_soon(acme, silent):
    with acting_for_platform("a test"):
        tenant = Tenant.objects.select_related("database").get(pk=acme.id)
        away = Database(name="away", state="full", host="127.0.0.1", port=silent, database_name="x", login_role="x")
        away.save()
        away.sealed_password = databases.sealed(away, "x")
        away.save()
        Tenant.objects.filter(pk=acme.id).update(database=away)
    try:
        result = checking.check(acme)
        assert (result.verdict, [found["code"] for found in result.attempts]) == ("Incomplete", ["database.answers"])
        assert "“away” does not answer" in result.attempts[0]["detail"]
        assert result.seconds < 5
    finally:
        with acting_for_platform("a test"):
            Tenant.objects.filter(pk=acme.id).update(database=tenant.database)
            away.delete()


def test_the_command_ends_with_1_and_names_what_leaked(acme, monkeypatch):
    monkeypatch.setattr(storage, "storage_path", lambda name: f"t/{current().id}/{name}")
    out = StringIO()
    with pytest.raises(SystemExit, match="1"):
        call_command("check_isolation", acme.slug, stdout=out)
    assert "LEAKED: files.foreign_path" in out.getvalue() and "it was opened as" in out.getvalue()


def test_canaries_are_gone_afterwards(acme):
    there = stand_in.get()
    checking.check(acme)
    with acting_for(acme):
        assert not Session.objects.exists() and not store.client().keys(keys.redis_key("isolation", "*"))
    with acting_for(there):
        assert not Session.objects.exists() and not Document.objects.exists() and not Conversation.objects.exists()
        assert not vectors.count() and not default_storage.listdir("isolation")[1]


def test_operators_check_a_tenant_and_download_the_result(acme):
    with acting_for_platform("a test"):
        operator = User.objects.create_superuser(f"{acme.slug}@atrium.example")
        browser = Client(headers={"host": settings.PLATFORM_HOST})
        browser.force_login(operator, backend="tenants.accounts.backends.RoleBackend")
    chosen = {"action": "check_isolation", "_selected_action": [acme.id]}
    run = browser.post("/admin/tenants/tenant/", chosen)["Location"]
    with acting_for_platform("a test"):
        runs.carry_out(UUID(run.split("/")[-2]), acme.id, by=operator.email)
    page = browser.get(run).content.decode()
    assert acme.name in page and "Sound" in page and names.STAND_IN not in page
    with acting_for_platform("a test"):
        result = IsolationCheck.objects.filter(tenant_id=acme.id).latest("at")
        assert AuditEvent.objects.filter(tenant_id=acme.id, action="tenant.isolation_checked").exists()
    page = browser.get(f"/admin/tenants/tenant/{acme.id}/change/").content.decode()
    with acting_for_platform("a test"):  # a worker of other tests may have carried the order out as well
        assert any(str(each.pk) in page for each in IsolationCheck.objects.filter(tenant_id=acme.id))
    shown = browser.get(f"/admin/tenants/isolationcheck/{result.pk}/change/").content.decode()
    assert "Refused:" in shown and "vectors.search" in shown
    file = browser.get(f"/admin/tenants/isolationcheck/{result.pk}/download/")
    assert file.json()["attempts"] == result.attempts and acme.slug in file["Content-Disposition"]
    assert browser.get(f"/admin/tenants/isolationcheck/{uuid4()}/download/").status_code == 404
    stranger = Client(headers={"host": settings.PLATFORM_HOST})
    assert stranger.get(f"/admin/tenants/isolationcheck/{result.pk}/download/").status_code == 302


def test_the_nightly_task_checks_tenants_one_after_the_other_and_logs_what_is_not_sound(
    acme, globex, monkeypatch, caplog
):
    with acting_for_platform("a test"):
        kept = IsolationCheck.objects.filter(tenant_id__in=[acme.id, globex.id])
        before = kept.count()
    monkeypatch.setattr(storage, "storage_path", lambda name: f"t/{current().id}/{name}")
    checking.check_all([acme, globex])
    with acting_for_platform("a test"):
        assert kept.count() == before + 2
    assert caplog.text.count("isolation is not sound") == 2


def test_each_wall_stands_again_and_a_sound_tenant_is_no_error_in_the_log(acme, caplog):
    checking.check_all([acme])
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    with acting_for_platform("a test"):
        assert IsolationCheck.objects.filter(tenant_id=acme.id).latest("at").verdict == "Sound"
