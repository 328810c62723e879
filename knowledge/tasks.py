"""What the worker does for documents."""

from uuid import UUID

from celery import shared_task

from knowledge import ingest, tokens
from tenants.tasks import PlatformTask, TenantTask


@shared_task(base=TenantTask)
def work(*, token_id: str, seq: int) -> None:
    """Bring one waiting document of the tenant to an end, then queue up again. Twice changes nothing."""
    ingest.next_document(UUID(token_id), seq)


@shared_task(base=PlatformTask)
def sweep() -> None:
    """Go on with what killed workers and lost messages left behind."""
    tokens.sweep()
