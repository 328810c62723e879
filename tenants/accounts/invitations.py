"""Invites people to a tenant's staff and lets them in once."""

import hashlib
import logging
import secrets
from datetime import timedelta

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email
from django.db import IntegrityError
from django.utils import timezone

from platform_site.errors import BadInput, Conflict, NotFound, TemporaryFailure
from tenants import addresses
from tenants.accounts import roles
from tenants.accounts.models import Invitation, User
from tenants.context import current
from tenants.transactions import atomic

logger = logging.getLogger(__name__)
VALID_DAYS = 7


class NotMailed(TemporaryFailure):
    """The invitation stands, but the mail server did not take its letter. ``link``: what the letter would have held."""

    code = "not_mailed"
    text = "The invitation could not be sent by mail. Please invite them again in a few minutes."

    def __init__(self, link: str):
        super().__init__()
        self.link = link


def invite(*, email: str, role: str, by: str) -> str:
    """Send an invitation to the current tenant's staff; return its link, which works once within 7 days.

    Raises  BadInput   the role or the address does not exist, or the person is on the team already
            NotMailed  the link works all the same
    """
    if role not in roles.RIGHTS:
        raise BadInput(f"There is no role “{role}”.")
    check_address(email)
    if User.objects.filter(email__iexact=email).exists():
        raise BadInput(f"{email} is on the team already.")
    secret = secrets.token_urlsafe(32)
    link = f"{addresses.canonical()}/invitation/{secret}/"
    with atomic():
        Invitation.objects.filter(email__iexact=email, accepted_at=None).delete()
        Invitation.objects.create(
            email=email.lower(),
            role=role,
            secret_hash=_hashed(secret),
            invited_by=by,
            expires_at=timezone.now() + timedelta(days=VALID_DAYS),
        )
    try:
        _send(email=email, link=link, tenant_name=current().name)
    except OSError as error:
        logger.warning("invitation not mailed", extra={"error": type(error).__name__})
        raise NotMailed(link) from None
    return link


def check_address(email: str) -> None:
    """Raises BadInput for what is no e-mail address."""
    try:
        validate_email(email)
    except ValidationError:
        raise BadInput(f"“{email}” is not an e-mail address.") from None


def find(secret: str) -> Invitation:
    """The open invitation of a link. Raises NotFound when it was used, is too old, or never was."""
    found = Invitation.objects.filter(
        secret_hash=_hashed(secret), accepted_at=None, expires_at__gt=timezone.now()
    ).first()
    if found is None:
        raise NotFound("This invitation has been used or is too old. Ask for a new one.")
    return found


def accept(secret: str, *, name: str, password: str) -> User:
    """Make the invited person's account. Raises NotFound, Conflict, or BadInput when the password is too weak."""
    try:
        with atomic():
            return _accept(secret, name, password)
    except IntegrityError:  # invited twice at the same moment, and in by the other link
        raise Conflict("There is an account with this address already. Sign in with it.") from None


def _accept(secret: str, name: str, password: str) -> User:
    invitation = find(secret)
    user = User(email=invitation.email, name=name.strip(), role=invitation.role)
    _check_password(password, user)
    claimed = Invitation.objects.filter(pk=invitation.pk, accepted_at=None).update(accepted_at=timezone.now())
    if not claimed:
        raise NotFound("This invitation has been used already.")
    user.set_password(password)
    user.save()
    return user


def _check_password(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise BadInput(" ".join(error.messages)) from None


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _send(*, email: str, link: str, tenant_name: str) -> None:
    send_mail(
        f"You are invited to {tenant_name}",
        f"Hello,\n\nyou are invited to work with {tenant_name}'s assistant. Open this link within {VALID_DAYS} days "
        f"and choose a password:\n\n{link}\n\nIf you did not expect this message, you can ignore it.\n",
        from_email=None,
        recipient_list=[email],
    )
