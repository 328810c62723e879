"""What the isolation matrix knows: every route of a tenant's host, and how its ids are named.

The routes come from the URL resolver. A parameter without an entry in ``ids_of`` fails the build.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.urls import get_resolver
from django.utils import timezone

from agents import publishing
from agents.conversations import recording, visitors
from agents.models import AgentConfig
from branding.models import Branding
from knowledge.bases import ensure_default
from knowledge.models import Document, Passage
from tenants.accounts import invitations, keys
from tenants.accounts.models import ApiKey, Invitation, User
from tenants.context import TenantRef, acting_for
from tenants.ids import uuid7

PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass(frozen=True)
class Route:
    """One route of a tenant's host."""

    pattern: str
    parameters: tuple[str, ...]

    def path(self, ids: dict[str, str]) -> str:
        """The address with these ids. Raises KeyError for a parameter the matrix does not know."""
        return "/" + PARAMETER.sub(lambda found: str(ids[found[1]]), self.pattern)


def routes() -> list[Route]:
    """Every route of a tenant's host."""
    return [
        Route(pattern, tuple(PARAMETER.findall(pattern)))
        for pattern in _patterns(get_resolver(settings.TENANT_URLCONF))
    ]


def _patterns(resolver, prefix: str = "") -> Iterator[str]:
    for entry in resolver.url_patterns:
        whole = prefix + str(entry.pattern)
        if hasattr(entry, "url_patterns"):
            yield from _patterns(entry, whole)
        else:
            yield whole


@dataclass(frozen=True)
class Victim:
    """A tenant full of canaries, and the ids of what it has."""

    tenant: TenantRef
    canary: str
    ids: dict[str, str]
    key: str


def fill(tenant: TenantRef) -> Victim:
    """Put a unique token into every kind of row the doors could show, and name the rows' ids."""
    canary = f"canary{uuid4().hex}"
    with acting_for(tenant):
        Branding.objects.update(name=f"Brand {canary}")
        agent = AgentConfig.objects.get(is_default=True)
        publishing.save_draft(agent, by="a test", name=f"A {canary}"[:60], greeting=canary, instructions=canary)
        version = publishing.publish(agent, by="a test", note=canary)
        staff = User.objects.create_user(f"{canary}@b.example", "correct horse battery", role="owner", name=canary)
        link = invitations.invite(email=f"guest-{canary}@b.example", role="analyst", by=canary)
        row, key = keys.create(name=canary, scopes=list(keys.SCOPES), by=canary)
        document = _document(canary)
        conversation = _conversation(canary, version)
    ids = {
        "agent": agent.pk, "key": row.pk, "document_id": document.pk, "conversation": conversation,
        "secret": link.rstrip("/").rsplit("/", 1)[1], "uidb36": staff.pk.hex,
    }  # fmt: skip
    return Victim(tenant, canary, {name: str(value) for name, value in ids.items()}, key)


def _document(canary: str) -> Document:
    path = default_storage.save(f"documents/{uuid4()}", ContentFile(canary.encode()))
    document = Document.objects.create(
        base=ensure_default(), title=canary, file_name=f"{canary}.txt", kind="txt", bytes=40, path=path,
        digest="0" * 64, state="ready", ready_at=timezone.now(), added_by=canary,
    )  # fmt: skip
    Passage.objects.create(document=document, revision=1, n=1, text=canary, char_start=0, char_end=40)
    return document


def _conversation(canary: str, version) -> str:
    visitor = visitors.known_by(canary, channel="api")
    opened = recording.open_turn(
        turn=uuid7(), conversation=uuid7(), visitor=visitor, client_id=uuid4(), text=canary, version=version,
        channel="api",
    )  # fmt: skip
    recording.close_turn(
        opened=opened, attempt=1, outcome="done", author="A", text=f"answer {canary}", citations=[], tool_calls=[],
        uses=[],
    )  # fmt: skip
    return str(opened.conversation)


def random_ids(victim: Victim) -> dict[str, str]:
    """Ids of the same shape that exist nowhere."""
    return {
        name: uuid4().hex if "-" not in value else str(uuid4()) for name, value in victim.ids.items()
    } | {"secret": "x" * len(victim.ids["secret"])}  # fmt: skip


def snapshot(tenant: TenantRef) -> dict[str, list]:
    """Everything the victim's tables hold that a foreign caller must not change."""
    models = (ApiKey, Invitation, User, Document, Passage, AgentConfig, Branding)
    with acting_for(tenant):
        return {model.__name__: list(model.objects.order_by("pk").values()) for model in models} | {
            "conversations": recording.Conversation.objects.count(),
            "messages": recording.Message.objects.count(),
        }
