"""What the isolation matrix knows: every route of a tenant's host, and how its ids are named.

The routes come from the URL resolver. A parameter without an entry in ``ids_of`` fails the build.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from uuid import UUID, uuid4

from django.conf import settings
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.urls import get_resolver
from django.utils import timezone

from agents import publishing
from agents.conversations import opening, recording, visitors
from agents.models import AgentConfig
from branding.models import Branding
from knowledge.bases import ensure_default
from knowledge.models import Document, Passage
from tenants import own_domains
from tenants.accounts import invitations, keys
from tenants.accounts.models import ApiKey, Invitation, User
from tenants.context import TenantRef, acting_for, acting_for_platform
from tenants.ids import uuid7
from tenants.models import DomainClaim

PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
REGEX_GROUP = re.compile(r"\^?\(\?P<(\w+)>[^)]*\)(/?)\$")  # such as Django's admin has two


@dataclass(frozen=True)
class Route:
    """One route of a host."""

    pattern: str
    parameters: tuple[str, ...]

    def path(self, ids: dict[str, str]) -> str:
        """The address with these ids. Raises KeyError for a parameter the matrix does not know."""
        return "/" + PARAMETER.sub(lambda found: str(ids[found[1]]), self.pattern)


def routes(urlconf: str = settings.TENANT_URLCONF) -> list[Route]:
    """Every route of a tenant's host, or of another kind of host."""
    found = (REGEX_GROUP.sub(r"<\1>\2", pattern) for pattern in _patterns(get_resolver(urlconf)))
    return [Route(pattern, tuple(PARAMETER.findall(pattern))) for pattern in found]


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


@dataclass(frozen=True)
class Twins:
    """Keys that rows of several tenants have at once, where each has a table of its own for them."""

    key: UUID = field(default_factory=uuid7)
    document: UUID = field(default_factory=uuid7)
    conversation: UUID = field(default_factory=uuid7)
    staff: UUID = field(default_factory=uuid7)
    secret: str = field(default_factory=lambda: uuid4().hex)


@dataclass
class World:
    """A, and its strangers B and D.

    twins      the strangers, by the ids that A has too
    strangers  the strangers, by ids that are theirs alone
    logged     (tenant id of the record, the line); messages: what went to the queue
    """

    home: Victim
    twins: list[Victim]
    strangers: list[Victim]
    logged: list[tuple[object, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.remember()
        with acting_for(self.home.tenant):
            self._own = [
                model.objects.get(pk=self.home.ids[name])
                for model, name in ((Document, "document_id"), (User, "uidb36"), (ApiKey, "key"))
            ]

    def remember(self) -> None:
        """What the strangers have now, after work of their own."""
        self.before = {victim.tenant.id: snapshot(victim.tenant) for victim in self.strangers}

    @property
    def canaries(self) -> list[str]:
        """What only the strangers know."""
        return [victim.canary for victim in (*self.twins, *self.strangers)]

    def leaked(self, text: str | bytes) -> bool:
        """Whether something of a stranger stands in it."""
        text = text if isinstance(text, bytes) else text.encode()
        return any(canary.encode() in text for canary in self.canaries)

    def replant(self) -> None:
        """A's own rows of equal keys, where an earlier test, as it may, removed them."""
        with acting_for(self.home.tenant):
            for row in self._own:
                type(row).objects.bulk_create([row], ignore_conflicts=True)

    def overheard(self) -> list[str]:
        """Log records of a tenant that tell something of another, and messages that do; nothing if all is well."""
        whose = {victim.tenant.id: victim.canary for victim in (self.home, *self.twins)}
        lines = [
            line
            for tenant_id, line in self.logged
            if any(canary in line for number, canary in whose.items() if number != tenant_id) and tenant_id in whose
        ]
        texts = [line for _, line in self.logged if any(f"said {canary}" in line for canary in whose.values())]
        return lines + texts + [message for message in self.messages if self.leaked(message)]

    def untouched(self) -> bool:
        """Whether the strangers have what they had."""
        return all(snapshot(victim.tenant) == self.before[victim.tenant.id] for victim in self.strangers)


def fill(tenant: TenantRef, twins: Twins | None = None) -> Victim:
    """Put a unique token into every kind of row the doors could show; name the rows' ids, those of twins if given."""
    canary, ids = f"canary{uuid4().hex}", twins or Twins()
    with acting_for(tenant):
        Branding.objects.update(name=f"Brand {canary}")
        agent = AgentConfig.objects.get(is_default=True)
        publishing.save_draft(agent, by="a test", name=f"A {canary}"[:60], greeting=canary, instructions=canary)
        version = publishing.publish(agent, by="a test", note=canary)
        User.objects.create_user(
            f"{canary}@b.example", "correct horse battery", role="owner", name=canary, id=ids.staff
        )
        invitations.invite(email=f"guest-{canary}@b.example", role="analyst", by=canary)
        Invitation.objects.filter(invited_by=canary).update(secret_hash=sha256(ids.secret.encode()).hexdigest())
        row, key = keys.create(name=canary, scopes=list(keys.SCOPES), by=canary)
        ApiKey.objects.filter(pk=row.pk).update(id=ids.key)
        _document(canary, ids.document)
        _conversation(canary, version, ids.conversation, visitors.known_by(canary, channel="api"), "api")
        builder = visitors.known_by(f"{ids.staff}:{agent.pk}", channel="test")
        _conversation(canary, version, uuid7(), builder, "test")  # as agents/trying.py has it
        claim = own_domains.claim(f"{canary}.example.com", by=canary)
        cache.set("canary", canary, 600)
    with acting_for_platform("a test"):
        DomainClaim.objects.filter(pk=claim.pk).update(check_at=None)  # the clock leaves it alone
    named = {
        "agent": agent.pk, "key": ids.key, "document_id": ids.document, "conversation": ids.conversation,
        "secret": ids.secret, "uidb36": ids.staff.hex, "claim": claim.pk,
    }  # fmt: skip
    return Victim(tenant, canary, {name: str(value) for name, value in named.items()}, key)


def _document(canary: str, pk: UUID) -> None:
    path = default_storage.save(f"documents/{uuid4()}", ContentFile(canary.encode()))
    document = Document.objects.create(
        id=pk, base=ensure_default(), title=canary, file_name=f"{canary}.txt", kind="txt", bytes=40, path=path,
        digest=sha256(canary.encode()).hexdigest(), state="ready", ready_at=timezone.now(), added_by=canary,
    )  # fmt: skip
    Passage.objects.create(document=document, revision=1, n=1, text=canary, char_start=0, char_end=40)


def _conversation(canary: str, version, pk: UUID, visitor: visitors.Visitor, channel: str) -> None:
    opened = opening.open_turn(
        turn=uuid7(), conversation=pk, visitor=visitor, client_id=uuid4(), text=f"said {canary}", version=version,
        channel=channel,
    )  # fmt: skip
    recording.close_turn(
        opened=opened, attempt=1, outcome="done", author="A", text=f"answer {canary}", citations=[], tool_calls=[],
        uses=[],
    )  # fmt: skip


def random_ids(victim: Victim) -> dict[str, str]:
    """Ids of the same shape that exist nowhere."""
    return {
        name: uuid4().hex if "-" not in value else str(uuid4()) for name, value in victim.ids.items()
    } | {"secret": "x" * len(victim.ids["secret"])}  # fmt: skip


def snapshot(tenant: TenantRef) -> dict[str, list]:
    """Everything the victim's tables hold that a foreign caller must not change; that its own people came is not."""
    models = (ApiKey, Invitation, User, Document, Passage, AgentConfig, Branding, DomainClaim)
    with acting_for(tenant):
        rows = {model.__name__: list(model.objects.order_by("pk").values()) for model in models}
        for user in rows["User"]:
            user.pop("last_login")
        return rows | {
            "conversations": recording.Conversation.objects.count(),
            "messages": recording.Message.objects.count(),
        }
