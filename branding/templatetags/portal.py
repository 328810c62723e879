"""What portal pages say in the same way everywhere."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timesince import timesince

from tenants.accounts.models import User
from tenants.context import current_or_none

register = template.Library()


@register.simple_tag
def when(at: datetime) -> str:
    """A moment: relative under one day, absolute after, exact on hover; in the tenant's time zone."""
    tenant = current_or_none()
    local = at.astimezone(ZoneInfo(tenant.timezone if tenant else "UTC"))
    age = timezone.now() - at
    if age < timedelta(minutes=1):
        text = "just now"
    elif age < timedelta(days=1):
        text = f"{timesince(at, depth=1)} ago"
    else:
        text = date_format(local, "j F Y")
    exact = f"{date_format(local, 'j F Y, H:i:s')} {local.tzname()}"
    return format_html('<time datetime="{}" title="{}">{}</time>', local.isoformat(), exact, text)


@register.simple_tag(takes_context=True)
def who(context, actor: str) -> str:
    """Who did something: a colleague by name. Operators are no colleagues, and their addresses are not for here."""
    request = context["request"]
    if not hasattr(request, "colleagues"):
        request.colleagues = dict(User.objects.exclude(role="").values_list("email", "name")[:1000])
    if actor in request.colleagues:
        return request.colleagues[actor] or actor
    return actor if actor.startswith("API key ") else "Service team"
