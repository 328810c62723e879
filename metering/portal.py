"""The portal's page on usage and plan."""

from django.shortcuts import render
from django.views.decorators.http import require_safe

from metering import plans, usage
from platform_site.portal import staff_page

RECORDS_SHOWN = 50


@staff_page(permission="usage.view")
@require_safe
def usage_page(request):
    """How much of each limit is used, where it is heading, and what used it."""
    spans = [("Today", usage.period("today")), ("This month", usage.period("month"))]
    tables = [{"heading": heading, "span": span, "models": usage.by_model(span)} for heading, span in spans]
    page = {
        "plan": plans.allowances(),
        "meters": usage.meters(),
        "forecast": usage.forecast(),
        "tables": [table | {"total": usage.total(table["models"])} for table in tables],
        "records": usage.newest(RECORDS_SHOWN),
    }
    return render(request, "portal/metering/usage.html", page)
