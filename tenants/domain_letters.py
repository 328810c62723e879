"""Tells a tenant's owners by mail when a domain of theirs is about to be lost, is lost, or works."""

import logging
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import send_mail
from django.db import DatabaseError

from platform_site.errors import PlatformError
from tenants.accounts.models import User
from tenants.context import acting_for
from tenants.models import DomainClaim

logger = logging.getLogger(__name__)
State = DomainClaim.State
LETTERS = {
    State.VERIFIED: ("{name} works", "{name} now leads to {tenant}'s assistant."),
    State.FAILING: (
        "{name} will stop working",
        "the DNS record that proves that {name} is yours is gone.\n\nIf you want to keep {name}, set this TXT record "
        "again within {days} days:\n\n  {record}\n  {value}\n\nUntil then {name} keeps working, but its certificate is "
        "not renewed.",
    ),
    State.RELEASED: (
        "{name} does not work any more",
        "{name} no longer leads to {tenant}'s assistant, because its DNS record has been missing for {days} days.\n\n"
        "Your other addresses are not affected.",
    ),
}
GIVEN_UP = (
    "{name} does not work any more",
    "{name} no longer leads to {tenant}'s assistant: it was released by {by}.\n\nYour other addresses are not "
    "affected. If {name} is to lead to the assistant again, claim it again and prove it with a new DNS record.",
)


def tell(claim: DomainClaim) -> None:
    """Write to the owners of a claim's tenant about its new state. A letter that cannot be sent is only logged."""
    level = logging.INFO if claim.state == State.VERIFIED else logging.WARNING
    logger.log(level, "domain changed", extra={"domain": claim.name, "state": str(claim.state)})
    if claim.state in LETTERS:
        _write(claim, LETTERS[claim.state])


def tell_of_release(claim: DomainClaim, *, by: str) -> None:
    """Write to the owners that somebody has let go of a name that led to the tenant. ``by``: who, as they read it."""
    logger.info("domain released", extra={"domain": claim.name})
    _write(claim, GIVEN_UP, by=by)


def _write(claim: DomainClaim, letter: tuple[str, str], **more: str) -> None:
    try:
        with acting_for(claim.tenant):
            owners = list(User.objects.filter(role="owner", is_active=True).values_list("email", flat=True))
        _send(claim, letter, owners, **more)
    except (OSError, SMTPException, DatabaseError, PlatformError) as error:
        logger.warning("domain letter not sent", extra={"domain": claim.name, "error": type(error).__name__})


def _send(claim: DomainClaim, letter: tuple[str, str], owners: list[str], **more: str) -> None:
    facts = {
        "name": claim.name, "tenant": claim.tenant.name, "days": settings.DOMAIN_GRACE_DAYS,
        "record": claim.record_name, "value": claim.record_value, **more,
    }  # fmt: skip
    subject, text = (part.format(**facts) for part in letter)
    for owner in owners:
        send_mail(subject, f"Hello,\n\n{text}\n", from_email=None, recipient_list=[owner])
