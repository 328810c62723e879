"""Drafts and published versions: builders change a draft, customers meet the newest version."""

from datetime import datetime
from functools import partial
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import router, transaction

from agents import model_choice
from agents.conversations.models import Conversation
from agents.models import AgentConfig, AgentVersion
from platform_site.errors import BadInput, Conflict, NotFound
from tenants.cache import TenantCache
from tenants.context import is_platform
from tenants.models import AuditEvent
from tenants.transactions import atomic_control


class NotPublished(NotFound):
    """The agent is not there, not yours, or was never published: one answer for all."""

    code, text = "not_published", "There is no published agent here yet."


def save_draft(agent: AgentConfig, *, by: str, expected_updated_at: datetime | None = None, **fields) -> AgentConfig:
    """Store changed settings of the draft; customers see nothing of it until ``publish``.

    expected_updated_at  the ``updated_at`` that the editor saw
    fields               some of AgentConfig.SETTINGS; what is the same as before changes nothing
    Raises  BadInput  a value cannot be used; details: fields
            Conflict  somebody has saved since then; details: by, at
    """
    with atomic_control(AgentConfig):
        row = _locked(agent)
        if expected_updated_at is not None and expected_updated_at != row.updated_at:
            raise Conflict("Somebody has saved this agent since you opened it.", **_last_edit(row))
        changed = [name for name, value in fields.items() if getattr(row, name) != value]
        if changed:
            _store(row, {name: fields[name] for name in changed})
            _record(row, by, "agent.edited", fields=changed)
    return row


def publish(agent: AgentConfig, *, by: str, note: str = "") -> AgentVersion:
    """Make the draft, as it is stored, the version that customers meet; the next turn runs on it.

    In platform work too. Raises NotFound, or BadInput when the draft cannot stand.
    """
    with atomic_control(AgentConfig):
        row = _locked(agent)  # the lock lets two publishers take their numbers one after the other
        _check(row)
        newest = newest_version(row)
        version = AgentVersion.objects.create(
            tenant_id=row.tenant_id,
            agent=row,
            number=newest.number + 1 if newest else 1,
            published_by=by,
            note=note.strip()[:200],
            **{name: getattr(row, name) for name in AgentConfig.SETTINGS},
        )
        _record(row, by, "agent.published", number=version.number, note=version.note)
        transaction.on_commit(partial(forget, row.tenant_id), using=router.db_for_write(AgentConfig))
    return version


def live_version(agent_id: UUID | None = None) -> AgentVersion:
    """The version that customers of the current tenant meet; of its default agent when none is named.

    A newer one shows at once in this process, and within some seconds in every other. Raises NotPublished.
    """
    return _live.get(agent_id)


def _live_version(agent_id: UUID | None) -> AgentVersion:
    which = {"agent_id": agent_id} if agent_id else {"agent__is_default": True}
    version = AgentVersion.objects.filter(**which).order_by("-number").first()
    if version is None:
        raise NotPublished
    return version


_live = TenantCache(_live_version)  # threads may share them: published rows never change


def forget(tenant_id: int) -> None:
    """Drop what this process remembers of a tenant's versions."""
    _live.forget(tenant_id)


def expires_soon(tenant_id: int) -> bool:
    """Whether the tenant's next question may have to wait for its version."""
    return _live.expires_soon(tenant_id)


def refresh() -> None:
    """Read the current tenant's versions again that expire soon. Raises NotPublished."""
    _live.refresh()


def answering(agent_id: UUID | None, channel: str) -> AgentVersion:
    """The version that answers in a channel: the draft where its builders try it, else what customers meet.

    Raises  NotPublished
    """
    return draft_version(agent_id) if channel == Conversation.TRIALS["draft"] else live_version(agent_id)


def draft_version(agent_id: UUID) -> AgentVersion:
    """The draft of an agent as it is stored now, in the shape of a version that is not. Raises NotPublished."""
    draft = AgentConfig.objects.filter(pk=agent_id).first()
    if draft is None:
        raise NotPublished
    settings = {name: getattr(draft, name) for name in AgentConfig.SETTINGS}
    return AgentVersion(id=draft.pk, tenant_id=draft.tenant_id, agent=draft, number=0, **settings)


def newest_version(agent: AgentConfig) -> AgentVersion | None:
    """The live version of an agent as it is stored now, uncached."""
    return AgentVersion.objects.filter(agent_id=agent.pk).order_by("-number").first()


def changes(agent: AgentConfig, live: AgentVersion | None) -> list[str]:
    """The settings in which the draft differs from its live version."""
    return [name for name in AgentConfig.SETTINGS if live is None or getattr(agent, name) != getattr(live, name)]


def _locked(agent: AgentConfig) -> AgentConfig:
    row = AgentConfig.objects.select_for_update().filter(pk=agent.pk).first()
    if row is None:
        raise NotFound
    return row


def _store(row: AgentConfig, new: dict) -> None:
    if not is_platform():
        model_choice.check(new.get("model", ""))
    for name, value in new.items():
        setattr(row, name, value)
    _check(row)
    row.save(update_fields=[*new, "updated_at"])


def _check(row: AgentConfig) -> None:
    try:
        row.full_clean(exclude=["tenant", "id"], validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        raise BadInput("Not saved: " + " ".join(error.messages), fields=error.message_dict) from None
    for name in ("greeting", "instructions"):  # Django checks the length of a TextField in forms only
        most = AgentConfig._meta.get_field(name).max_length
        if len(getattr(row, name)) > most:
            text = f"Not saved: this may have up to {most:,} characters."
            raise BadInput(text, fields={name: [text]})
    twin = AgentConfig.objects.filter(tenant_id=row.tenant_id, name=row.name).exclude(pk=row.pk)
    if twin.exists():
        text = f"Not saved: the name “{row.name}” is already used."
        raise BadInput(text, fields={"name": [text]})


def _record(row: AgentConfig, by: str, action: str, **details) -> None:
    AuditEvent.objects.create(
        tenant_id=row.tenant_id, actor=by, action=action, details={"agent": str(row.pk), **details}
    )


def _last_edit(row: AgentConfig) -> dict:
    events = AuditEvent.objects.filter(tenant_id=row.tenant_id, action="agent.edited", details__agent=str(row.pk))
    event = events.order_by("-at").first()
    return {"by": event.actor, "at": event.at.isoformat()} if event else {}
