"""End users as their browser shows them: by a secret in a cookie, of which only the hash is kept."""

import hashlib
import secrets
from dataclasses import dataclass

import redis
from django.core import signing

from platform_site.errors import PlatformError
from tenants import store
from tenants.context import current
from tenants.keys import redis_key

TICKET_SECONDS = 120


class BadTicket(PlatformError):
    """The page's ticket is too old, used, or not of this visitor: the page gets a new one by itself."""

    code, status, text = "bad_ticket", 401, "This page has been open for too long. Please reload it."


@dataclass(frozen=True)
class Visitor:
    """Who speaks: ``secret_hash`` finds the EndUser row, which is made with the first message."""

    secret_hash: str


def new_secret() -> str:
    """256 random bits for the visitor's cookie."""
    return secrets.token_urlsafe(32)


def known_by(secret: str, channel: str = "page") -> Visitor:
    """The visitor that a cookie's secret (or, for programs, their own id of a person) stands for.

    The channel is part of the hash: nobody can put a program's id into a cookie and be that person.
    """
    return Visitor(hashlib.sha256(f"{channel}:{secret}".encode()).hexdigest())


def ticket_for(visitor: Visitor) -> str:
    """A ticket for one socket of this visitor, valid for two minutes."""
    return _signer().sign(f"{secrets.token_urlsafe(12)}.{visitor.secret_hash}")


def redeem(ticket: str, visitor: Visitor) -> None:
    """Use a ticket up. Raises BadTicket unless it is fresh, unused, and of this visitor (whose cookie came along)."""
    try:
        nonce, _, secret_hash = _signer().unsign(ticket, max_age=TICKET_SECONDS).partition(".")
    except signing.BadSignature:
        raise BadTicket from None
    if secret_hash != visitor.secret_hash or not _first_use(nonce):
        raise BadTicket


def _first_use(nonce: str) -> bool:
    try:
        return bool(store.client().set(redis_key("ticket", nonce), "1", nx=True, ex=TICKET_SECONDS + 10))
    except redis.RedisError:
        # The cookie has proved the visitor; without the store tickets may be used twice rather than not at all
        return True


def _signer() -> signing.TimestampSigner:
    return signing.TimestampSigner(salt=f"chat-ticket:{current().id}")
