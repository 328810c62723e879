"""`platform_site.amounts` in templates."""

from django import template

from platform_site import amounts

register = template.Library()
for read in (amounts.megabytes, amounts.minute, amounts.duration):
    register.filter(read)
