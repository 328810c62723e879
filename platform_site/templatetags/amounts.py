"""`platform_site.amounts` in templates. What is not known is left out, as Django's own filters do."""

from collections.abc import Callable

from django import template

from platform_site import amounts

register = template.Library()


def _of_known(read: Callable) -> Callable:
    return lambda value: "" if value is None else read(value)


for read in (amounts.megabytes, amounts.minute, amounts.duration):
    register.filter(read.__name__, _of_known(read))
