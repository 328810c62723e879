"""Attempts through the queue: what a task sees whose message names another tenant, or none."""

import logging
from datetime import timedelta
from uuid import uuid4

from celery import Task, current_app
from celery.exceptions import Reject
from django.contrib.sessions.models import Session
from django.utils import timezone

from tenants.context import TenantRef, acting_for, current
from tenants.errors import NoTenantContext
from tenants.isolation.attempts import Try, Untried, for_nobody
from tenants.tasks import HEADER, TenantTask


class _Kept(Task):
    """Stands between TenantTask and the queue: what would be sent comes back."""

    abstract = True

    def apply_async(self, args=None, kwargs=None, **options):
        return options.get("headers")


class _Look(TenantTask, _Kept):
    """A task like every tenant's, never sent: finds the row with this key, as whoever it runs for."""

    name = "tenants.isolation.look"
    refusal_level = logging.DEBUG  # being refused is what it is for

    def run(self, *, key: str) -> tuple[int, bool]:
        return current().id, Session.objects.filter(session_key=key).exists()


def tries(own: TenantRef, other: TenantRef) -> list[Try]:
    """What messages of ``own`` may not reach of ``other``."""
    return [
        Try("queue.forged_header", "A message sent in the tenant's work claims to be the other tenant's.",
            lambda: _forged(own, other)),
        Try("queue.foreign_id", "A message of the tenant names a row of the other tenant.",
            lambda: _foreign_id(own, other)),
        Try("queue.no_tenant", "Messages without a tenant, with an unknown one, or with text for one.",
            lambda: _no_tenant(other)),
        Try("queue.sent_by_nobody", "A tenant's message is sent while nothing says for whom.", _sent_by_nobody),
    ]  # fmt: skip


def _task() -> _Look:
    if not _Look.request_stack:
        _Look.bind(current_app._get_current_object())
    return _Look()


def _delivered(headers: dict, key: str) -> tuple[int, bool] | None:
    """What the task finds when a worker gets such a message; None when it is refused."""
    task = _task()
    task.push_request(**headers)
    try:
        return for_nobody(lambda: task(key=key))
    except Reject:
        return None
    finally:
        task.pop_request()


def _forged(own: TenantRef, other: TenantRef) -> list[str]:
    with acting_for(own):
        sent = _task().apply_async(kwargs={"key": "x"}, headers={HEADER: other.id})
    return [] if sent == {HEADER: own.id} else [f"it was sent for tenant {sent.get(HEADER)}"]


def _foreign_id(own: TenantRef, other: TenantRef) -> list[str]:
    key = _canary(other)
    try:
        if _delivered({HEADER: other.id}, key) != (other.id, True):
            raise Untried("the other tenant's own message did not find its row")
        found = _delivered({HEADER: own.id}, key)
    finally:
        _remove(other, key)
    return [] if found == (own.id, False) else [f"the task found {found}"]


def _no_tenant(other: TenantRef) -> list[str]:
    messages = {"no header": {}, "an unknown one": {HEADER: 10**12}, "text": {HEADER: str(other.id)}}
    return [f"a message with {words} was worked on" for words, headers in messages.items() if _delivered(headers, "x")]


def _sent_by_nobody() -> list[str]:
    try:
        for_nobody(lambda: _task().apply_async(kwargs={"key": "x"}))
    except NoTenantContext:
        return []
    return ["it was sent"]


def _canary(tenant: TenantRef) -> str:
    key, until = uuid4().hex, timezone.now() + timedelta(minutes=10)
    with acting_for(tenant):
        Session.objects.create(session_key=key, session_data="canary", expire_date=until)
    return key


def _remove(tenant: TenantRef, key: str) -> None:
    with acting_for(tenant):
        Session.objects.filter(session_key=key).delete()
