"""Every Celery task: pushed straight to the broker with a wrong tenant, or with another tenant's ids."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from knowledge.models import WorkToken
from platform_site.celery import app
from platform_site.tasks import HEARTBEAT_KEY
from tenants import store
from tenants.context import acting_for
from tenants.errors import NoTenantContext
from tenants.ids import uuid7
from tenants.tasks import HEADER, PlatformTask, TenantTask
from tests.conftest import until
from tests.isolation.matrix import fill, snapshot

TENANT_TASKS = {"knowledge.tasks.work": lambda ids: {"token_id": ids["token"], "seq": 0}}
PLATFORM_TASKS = {
    "platform_site.tasks.heartbeat",
    "platform_site.tasks.clear_sessions",
    "platform_site.tasks.check_isolation",
    "platform_site.tasks.keep_room",
    "platform_site.tasks.check_isolation_of",
    "platform_site.tasks.finish_move",
    "platform_site.tasks.check_domains",
    "platform_site.tasks.check_domain",
    "platform_site.tasks.release_domain",
    "metering.tasks.relay",
    "knowledge.tasks.sweep",
    "tenants.tasks.look_after_moves",
    "tenants.tasks.resume_moves",
    "tenants.tasks.run_move",
}
OURS = ("agents", "branding", "knowledge", "metering", "platform_site", "tenants")


def ours() -> dict:
    """All tasks of our apps by name."""
    app.loader.import_default_modules()
    return {name: task for name, task in app.tasks.items() if name.startswith(OURS)}


def test_every_task_is_one_of_the_two_kinds_and_in_the_matrix():
    kinds = {name: isinstance(task, TenantTask) for name, task in ours().items()}
    assert {name for name, is_tenants in kinds.items() if is_tenants} == set(TENANT_TASKS)
    assert {name for name, is_tenants in kinds.items() if not is_tenants} == PLATFORM_TASKS
    assert all(isinstance(task, TenantTask | PlatformTask) for task in ours().values())


@pytest.mark.parametrize("name", sorted(TENANT_TASKS))
def test_a_tenants_task_cannot_be_sent_by_nobody(name):
    with pytest.raises(NoTenantContext):
        ours()[name].apply_async(kwargs=TENANT_TASKS[name]({"token": str(uuid4())}))


@pytest.mark.parametrize("name", sorted(TENANT_TASKS))
@pytest.mark.parametrize("header", ["another tenant", "one apart", "nobody", "unknown", "text"])
def test_a11_a_message_for_the_wrong_tenant_does_nothing(acme, globex, world, worker, name, header):
    """The row that the message names is there at both tenants, so that a mix-up would find one."""
    victim = world.strangers[1] if header == "one apart" else fill(globex)
    token = {"id": uuid7(), "lease_until": timezone.now() + timedelta(hours=1)}
    for tenant in (victim.tenant, acme):
        with acting_for(tenant):
            WorkToken.objects.create(**token)
    before = snapshot(victim.tenant)
    headers = {"nobody": {}, "unknown": {HEADER: 10**12}, "text": {HEADER: str(victim.tenant.id)}}
    kwargs = TENANT_TASKS[name]({**victim.ids, "token": str(token["id"])})
    app.send_task(name, kwargs=kwargs, headers=headers.get(header, {HEADER: acme.id}), queue="ingest")
    _drained()
    with acting_for(victim.tenant):
        assert WorkToken.objects.get(pk=token["id"]).seq == 0
        WorkToken.objects.all().delete()
    with acting_for(acme):
        assert WorkToken.objects.filter(pk=token["id"], seq=0).exists() is (header in headers)
    assert snapshot(victim.tenant) == before


def test_a11_only_json_is_read_from_the_queue():
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == app.conf.result_serializer == "json"


def _drained() -> None:
    """Until the worker has run what was sent: a heartbeat sent after it through the same queue has come."""
    for _ in range(2):  # two processes take from the queue: the second heartbeat comes after both were free
        store.client().delete(HEARTBEAT_KEY)
        app.send_task("platform_site.tasks.heartbeat", queue="ingest")
        until(lambda: store.client().exists(HEARTBEAT_KEY), seconds=30)
