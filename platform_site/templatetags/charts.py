"""Charts in templates."""

from django import template
from django.utils.safestring import SafeString

from platform_site import charts

register = template.Library()


@register.simple_tag
def day_chart(days) -> SafeString:
    """Bars for ``day`` and ``turns`` of each entry."""
    total = sum(one.turns for one in days)
    title = f"Messages answered on each of the last {len(days)} days, {total:,} in all"
    return charts.bars(title, [(f"{one.day:%-d %b}", one.turns) for one in days])
