"""Transactions of the tenant at work. ``transaction.atomic()`` without an alias would watch the wrong database."""

from collections.abc import Callable
from functools import partial

from celery import Task
from django.db import connections, router, transaction

from tenants.context import current, is_platform


def atomic():
    """One transaction in the current tenant's data plane."""
    return transaction.atomic(using=current().alias)


def atomic_control(model):
    """One transaction in the control plane, on the login that the context allows for ``model``."""
    return transaction.atomic(using=router.db_for_write(model))


def after_commit(work: Task | Callable, /, **kwargs) -> None:
    """Send the task or call the function once the data-plane transaction has committed; now if there is none."""
    alias = "default" if is_platform() else current().alias
    send = partial(work.apply_async, kwargs=kwargs) if isinstance(work, Task) else partial(work, **kwargs)
    transaction.on_commit(send, using=alias)


def give_connections_back() -> None:
    """Those of this thread go back to their pools, for who waits for a service needs none; not from a transaction."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
