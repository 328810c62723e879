"""Documents in every stage, for the tests of knowledge."""

from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db.models.functions import Now

from knowledge import bases, documents, ingest, retrieval, tokens
from knowledge.models import Document, WorkToken
from tenants.context import TenantRef, acting_for
from tests.conftest import until


def add(tenant: TenantRef, data: bytes | str, name: str = "notes.txt") -> UUID:
    """Upload a file, as the doors do."""
    data = data.encode() if isinstance(data, str) else data
    with acting_for(tenant):
        return documents.add(file=ContentFile(data), name=name, by="ann@example.com").pk


def unheard_of(tenant: TenantRef, data: bytes | str, name: str = "notes.txt", **fields) -> UUID:
    """A waiting document that no message speaks of, as after the queue was lost."""
    data = data.encode() if isinstance(data, str) else data
    with acting_for(tenant):
        document = Document(
            base=bases.ensure_default(), title=name, file_name=name, kind=name.rsplit(".", 1)[1], bytes=len(data),
            added_by="ann@example.com", **fields,
        )  # fmt: skip
        document.path = f"documents/{document.pk}"
        default_storage.save(document.path, ContentFile(data))
        document.save(force_insert=True)
        return document.pk


def read_here(tenant: TenantRef, document_id: UUID) -> Document:
    """Let this process be the worker, for one document that is alone in its tenant.

    A worker that an earlier test has started may have been told of it by the sweeper: then it is waited for.
    """
    with acting_for(tenant):
        token = WorkToken.objects.create(lease_until=Now() + tokens.LEASE)
        ingest.next_document(token.pk, token.seq)
        until(lambda: not _is_worked_on(document_id))
        return documents.get(document_id)


def _is_worked_on(document_id: UUID) -> bool:
    """A claim that is not committed yet locks the row, which still looks as if it waited."""
    return Document.objects.waiting().filter(pk=document_id).exists() or bool(documents.get(document_id).lease_owner)


def pretend_state(tenant: TenantRef, document_id: UUID, wanted: str) -> None:
    """Give a document this state, as if a worker held it: the sweeper lets it be."""
    with acting_for(tenant):
        Document.objects.filter(pk=document_id).update(state=wanted, lease_until=Now() + tokens.LEASE)


def state(tenant: TenantRef, document_id: UUID) -> Document:
    """The document's row as it is now."""
    with acting_for(tenant):
        return documents.get(document_id)


def ended(tenant: TenantRef, *ids: UUID, seconds: float = 60) -> list[Document]:
    """The documents once the worker is through with them."""
    until(lambda: not any(state(tenant, one).is_unfinished for one in ids), seconds=seconds)
    return [state(tenant, one) for one in ids]


def found(tenant: TenantRef, question: str, **options) -> list[retrieval.Found]:
    """What a question finds in the tenant's default base."""
    with acting_for(tenant):
        return retrieval.find(question, bases=[bases.ensure_default().pk], **options).passages
