"""Which tenants have usage waiting in their schema: a set of ids, so that the relay need not visit every schema.

A false mark costs one look. A missing one would cost usage, so the set is rebuilt from all tenants whenever the
marker that says it is whole is gone (lost with the store, or old). Source: architecture, section 4, but that a turn is
marked only after its commit: if its owner dies in between, whoever sweeps its lease marks it.
"""

import logging

from redis import RedisError

from tenants import directory, store
from tenants.context import current
from tenants.keys import system_key

logger = logging.getLogger(__name__)

WHOLE_SECONDS = 600  # how long a mark that Valkey did not take may stay unnoticed
MARKED = system_key("pending", "outbox")
WHOLE = system_key("pending", "outbox", "whole")


def mark() -> None:
    """Say that the current tenant has usage waiting. Never fails: the rebuilt set finds what was not marked."""
    try:
        store.client().execute_command(*mark_command())
    except RedisError as error:
        logger.warning("usage not marked", extra={"error": type(error).__name__})


def mark_command() -> tuple[str, str, int]:
    """What ``mark`` sends, for whoever sends something else anyway."""
    return "SADD", MARKED, current().id


def take_off() -> bool:
    """Take the current tenant's mark off, before looking. False: another process has."""
    return bool(store.client().srem(MARKED, current().id))


def forget(tenant_id: int) -> None:
    """Take a mark off that names no tenant any more. Platform work."""
    store.client().srem(MARKED, tenant_id)


def tenant_ids() -> list[int]:
    """The marked tenants; all there are when the set is not known to be whole. Platform work."""
    client = store.client()
    if not client.exists(WHOLE):
        ids = [ref.id for ref in directory.all_active()]
        with client.pipeline(transaction=True) as together:
            if ids:
                together.sadd(MARKED, *ids)
            together.set(WHOLE, 1, ex=WHOLE_SECONDS)
            together.execute()
    return sorted(int(member) for member in client.smembers(MARKED))
