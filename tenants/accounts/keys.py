"""API keys: made, shown once, checked, revoked.

A key reads ``atr_<tenant id>_<prefix>_<secret>``: it carries its tenant, and must be used on that tenant's host.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from platform_site.errors import BadInput, NotFound, PlatformError
from tenants.accounts.models import ApiKey, User
from tenants.context import current
from tenants.models import AuditEvent

SCOPES = {
    "conversations:write": "start conversations and send messages",
    "documents:read": "list knowledge documents",
    "documents:write": "add and remove knowledge documents",
    "branding:read": "read the brand",
    "usage:read": "read usage",
}
KEY = re.compile(r"atr_(?P<tenant>[0-9]+)_(?P<prefix>[0-9a-f]+)_(?P<secret>[\w-]+)", re.ASCII)
LAST_USED_EVERY = timedelta(minutes=1)


class BadKey(PlatformError):
    """The key is unknown, expired, revoked, or for another host: one answer for all."""

    code, status, text = "bad_key", 401, "This API key is not valid here."


class KeyWithoutMaker(PlatformError):
    """The key is right, but who answered for it has left the team. Said only to who holds the whole key."""

    code, status = "key_without_maker", 401
    text = (
        "This API key has stopped working: the person who answers for it has left the team. "
        "An owner or admin can keep it under Developers in the portal, or make a new one."
    )


@dataclass(frozen=True)
class Caller:
    """A program that showed a valid key; stands where a user would."""

    key_id: str
    name: str
    scopes: frozenset[str]
    is_authenticated: bool = True


def create(
    *, name: str, scopes: list[str], by: str, maker: User | None = None, expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """``(row, the whole key)``; the key cannot be read again. Raises BadInput for an unknown scope.

    maker  the member of staff who answers for it: without them it stops
    """
    unknown = set(scopes) - set(SCOPES)
    if unknown or not scopes:
        raise BadInput("Choose at least one scope of: " + ", ".join(SCOPES) + ".")
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    row = ApiKey.objects.create(
        name=name, prefix=prefix, secret_hash=_hashed(secret), scopes=sorted(scopes), created_by=by,
        maker_id=maker and maker.pk, expires_at=expires_at,
    )  # fmt: skip
    AuditEvent.objects.create(
        actor=by, action="key.created", details={"key": prefix, "name": name, "scopes": row.scopes}
    )
    return row, f"atr_{current().id}_{prefix}_{secret}"


def check(key: str) -> Caller:
    """Whose key this is. Raises BadKey unless it is alive and of the current tenant, KeyWithoutMaker."""
    parts = KEY.fullmatch(key)
    if parts is None or parts["tenant"] != str(current().id):
        raise BadKey
    row = ApiKey.objects.with_makers().filter(prefix=parts["prefix"], revoked_at=None).first()
    now = timezone.now()
    if row is None or not hmac.compare_digest(row.secret_hash, _hashed(parts["secret"])):
        raise BadKey
    if row.expires_at and row.expires_at <= now:
        raise BadKey
    if row.stopped:
        raise KeyWithoutMaker
    if row.last_used_at is None or now - row.last_used_at > LAST_USED_EVERY:
        ApiKey.objects.filter(pk=row.pk).update(last_used_at=now)
    return Caller(key_id=str(row.pk), name=row.name, scopes=frozenset(row.scopes))


def revoke(key_id: str, *, by: str) -> None:
    """From now on the key is refused; a revoked key stays revoked. Raises NotFound."""
    row = ApiKey.objects.filter(pk=key_id).first()
    if row is None:
        raise NotFound
    if ApiKey.objects.filter(pk=key_id, revoked_at=None).update(revoked_at=timezone.now()):
        AuditEvent.objects.create(actor=by, action="key.revoked", details={"key": row.prefix, "name": row.name})


def keep(key_id: str, *, by: User) -> ApiKey:
    """Answer for a key from now on, so that it works again after its maker has left.

    Raises  NotFound  it is not there, or revoked
    """
    row = ApiKey.objects.filter(pk=key_id, revoked_at=None).first()
    if row is None:
        raise NotFound
    row.maker_id = by.pk
    row.save(update_fields=["maker_id"])
    AuditEvent.objects.create(actor=by.email, action="key.kept", details={"key": row.prefix, "name": row.name})
    return row


def made_by(person: User) -> int:
    """How many keys work, or would, because this person answers for them."""
    return ApiKey.objects.filter(maker_id=person.pk, revoked_at=None).count()


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
