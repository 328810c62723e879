"""Tells operators by mail what cannot wait until somebody looks at their first page."""

import logging
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import send_mail

from tenants import room, store
from tenants.accounts.models import User
from tenants.keys import system_key

logger = logging.getLogger(__name__)
AGAIN_SECONDS = 24 * 3600
NO_ROOM = """Hello,

there will soon be no room for new tenants at {host}, and no further database could be opened for them by itself.
Tenants who are there already are not affected.

{text}

What you can do:
- mark a shared database on a server that has room as one beside which others may be opened (Databases in the operators'
  pages, "may create"), or
- make a database that you have created yourself known: manage.py database add --name NAME --url-variable VARIABLE, or
- move tenants to a database of their own: manage.py move_tenant SLUG --to-dedicated

manage.py database list shows how full each one is. This letter comes once a day while nothing has changed.
"""


def tell_of_room() -> bool:
    """Write to the operators when room runs out and none can be made, once a day; return whether it was written."""
    text = room.lacking()
    if not text or not store.client().set(_key(), "1", nx=True, ex=AGAIN_SECONDS):
        return False
    try:
        _send("No room for new tenants soon", NO_ROOM.format(host=settings.PLATFORM_HOST, text=text))
    except (OSError, SMTPException) as error:
        store.client().delete(_key())
        logger.warning("operators not told", extra={"about": "room", "error": type(error).__name__})
        return False
    return True


def _send(subject: str, text: str) -> None:
    for address in _operators():
        send_mail(subject, text, from_email=None, recipient_list=[address])


def _operators() -> list[str]:
    if settings.OPERATOR_EMAILS:
        return list(settings.OPERATOR_EMAILS)
    people = User.objects.filter(is_staff=True, is_active=True).order_by("email")
    return list(people.values_list("email", flat=True))


def _key() -> str:
    return system_key("letter", "room")
