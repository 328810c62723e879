"""Places in the ingest queue: at most so many per tenant, so that tenants take turns whatever one of them uploads.

A token's message makes a worker bring one document of its tenant a step further, then goes to the tail of the queue.
A message is worth something only with the token's present ``seq``: delivered twice, it works once.
Source: architecture, section 9.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from django.db import DatabaseError, connections
from django.db.models.functions import Now
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from knowledge import tasks
from knowledge.models import Document, WorkToken
from platform_site.errors import TemporaryFailure
from tenants import directory, lifecycle, store
from tenants.context import acting_for, current
from tenants.keys import system_key
from tenants.transactions import after_commit, atomic

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
RENEW_SECONDS = 20
PENDING = system_key("pending", "ingest")  # ids of the tenants that may have unfinished documents
WHOLE = system_key("pending", "ingest", "whole")  # says that no such tenant is missing in it
WHOLE_SECONDS = 3600  # then all tenants are looked through again, should a mark have been lost all the same


def _two() -> int:
    return 2


_concurrency: Callable[[], int] = _two


def register_concurrency(concurrency: Callable[[], int]) -> None:
    """Say how many documents of the current tenant may be worked on at once."""
    global _concurrency
    _concurrency = concurrency


def mark() -> None:
    """Note that the tenant has work, before the transaction that makes it so. A false mark is harmless.

    Raises  TemporaryFailure  the mark could not be set: do not commit, nobody would find the work
    """
    try:
        store.client().sadd(PENDING, current().id)
    except RedisError as error:
        text = "Documents cannot be taken in right now. Please try again in a minute."
        raise TemporaryFailure(text, retry_after=30) from error


def issue() -> int:
    """Give the tenant the tokens that it lacks: one per waiting document, at most its share. How many were new."""
    with atomic():
        _one_at_a_time()
        WorkToken.objects.filter(lease_until__lt=Now()).delete()
        room = max(0, _concurrency() - WorkToken.objects.count())
        waiting = Document.objects.waiting()[:room].count() if room else 0
        made = WorkToken.objects.bulk_create(WorkToken(lease_until=Now() + LEASE) for _ in range(waiting))
        for token in made:
            after_commit(_send, token_id=token.pk, seq=token.seq)
    return len(made)


def take(token_id: UUID, seq: int) -> bool:
    """Use the token's message, which carries ``seq``. False: it was used before, or the token is gone."""
    return _move(token_id, seq, seq + 1)


def renew(token_id: UUID, seq: int) -> bool:
    """Keep a token that is at work; ``seq`` is now one more than its message said."""
    return _move(token_id, seq, seq)


def queue_again(token_id: UUID, seq: int) -> None:
    """Put the token at the tail of the queue, for the tenant's next document."""
    if renew(token_id, seq):
        _send(token_id=token_id, seq=seq)


def give_back(token_id: UUID) -> None:
    """There was nothing to do. Looks once more afterwards, for what was added in between."""
    WorkToken.objects.filter(pk=token_id).delete()
    if Document.objects.waiting().exists():
        issue()


def sweep() -> None:
    """Give tokens to every tenant whose documents wait for one: those of killed workers, and of lost messages.

    One tenant that cannot be reached does not keep the others waiting. Platform work.
    """
    client = store.client()
    if not client.exists(WHOLE):
        _mark_all(client)
    for tenant_id in client.smembers(PENDING):
        try:
            _look_after(int(tenant_id), client)
        except (DatabaseError, TemporaryFailure):
            logger.warning("a tenant's documents were not looked after", extra={"tenant": int(tenant_id)})


def _mark_all(client) -> None:
    """Both at once, so that the set is never called whole after it was lost."""
    everyone = [ref.id for ref in directory.all_active()]
    with client.pipeline(transaction=True) as together:
        if everyone:
            together.sadd(PENDING, *everyone)
        together.set(WHOLE, 1, ex=WHOLE_SECONDS)
        together.execute()


def _look_after(tenant_id: int, client) -> None:
    ref = directory.by_id(tenant_id)
    if ref is None:
        client.srem(PENDING, tenant_id)
        return
    if lifecycle.is_paused(ref):
        return  # the mark stays: its documents wait until it goes on
    with acting_for(ref):
        if not Document.objects.unfinished().exists():
            client.srem(PENDING, tenant_id)  # then look again: an upload may have marked before and committed after
        if Document.objects.unfinished().exists():
            mark()
            issue()


def _move(token_id: UUID, seq: int, to: int) -> bool:
    token = WorkToken.objects.filter(pk=token_id, seq=seq)
    return token.update(seq=to, lease_until=Now() + LEASE) == 1


def _send(*, token_id: UUID, seq: int) -> None:
    """A message that cannot be sent now is made up for by the sweeper, once the token's lease is over."""
    try:
        tasks.work.delay(token_id=str(token_id), seq=seq)
    except OperationalError:
        logger.warning("a work token was not sent", extra={"token": str(token_id)})


def _one_at_a_time() -> None:
    """Until the end of the transaction: two that count at once would both fill the same room."""
    with connections[current().alias].cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtextextended('knowledge.tokens', %s))", [current().id])
