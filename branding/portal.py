"""The portal's first page, and the brand in it."""

from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods, require_safe

from branding import overview as facts
from branding import publishing, theming
from branding.forms import BrandForm
from branding.models import Branding
from platform_site.errors import Conflict, NotFound
from platform_site.portal import staff_page
from tenants import addresses


@staff_page(permission="portal.view")
@require_safe
def overview(request):
    """Where the tenant stands: numbers, what is left to set up, the chat's address, the last changes."""
    numbers = facts.numbers()
    steps = facts.steps(numbers["ready"])
    page = {
        "numbers": numbers,
        "steps": [{"step": step, "may": request.user.may(step.right)} for step in steps],
        "set_up": all(step.done for step in steps),
        "done": sum(step.done for step in steps),
        "chat_url": f"{addresses.canonical()}/chat/",
        "changes": facts.last_changes(),
    }
    return render(request, "portal/overview/overview.html", page)


@staff_page(permission="branding.view")
@require_http_methods(["GET", "POST"])
def brand_page(request):
    """The brand's form, and how it looks."""
    row = _row()
    if request.method == "POST":
        return _save(request, row)
    form = BrandForm(instance=row, initial={"based_on": row.revision})
    return render(request, "portal/branding/brand.html", _page(request, form))


@staff_page(permission="branding.edit")
def _save(request, row):
    form = BrandForm(request.POST, instance=row)
    if not form.is_valid():
        return render(request, "portal/branding/brand.html", _page(request, form), status=400)
    values = form.cleaned_data
    based_on = values.pop("based_on")
    try:
        publishing.save(row, by=request.user.email, based_on=based_on, **values)
    except Conflict as error:
        return _conflict(request, error)
    messages.success(request, "Saved. Customers see the new look within some seconds.")
    return redirect("portal:branding")


def _conflict(request, error: Conflict):
    """Both versions side by side; saving again keeps mine, opening the page anew takes theirs."""
    theirs = _row()
    form = BrandForm({**request.POST.dict(), "based_on": theirs.revision}, instance=theirs)
    differing = [
        {"label": form[name].label, "theirs": form[name].initial, "mine": form[name].value()}
        for name in form.fields
        if name in form.changed_data and name != "based_on"
    ]
    conflict = {"by": error.details.get("by"), "at": parse_datetime(error.details.get("at", "")), "fields": differing}
    return render(request, "portal/branding/brand.html", _page(request, form) | {"conflict": conflict}, status=409)


@staff_page(permission="branding.view")
@require_safe
def preview(request):
    """How the values typed so far would look."""
    form = BrandForm(request.GET, instance=_row())
    return render(request, "portal/branding/preview.html", _preview(form.look(), request.GET.get("name", "")))


@staff_page(permission="branding.view")
@require_safe
def preview_theme(request):
    """The stylesheet of that preview; it reaches no further than the preview."""
    look = BrandForm(request.GET, instance=_row()).look()
    return HttpResponse(theming.derive(**look).stylesheet(".preview"), content_type="text/css; charset=utf-8")


def _page(request, form: BrandForm) -> dict:
    may_edit = request.user.may("branding.edit")
    return {"form": form, "may_edit": may_edit, **_preview(form.look(), form["name"].value())}


def _preview(look: dict, name: str) -> dict:
    measured = theming.derive(**look).measured()
    return {
        "shown_name": name,
        "preview_url": f"{reverse('portal:branding_preview_theme')}?{urlencode(look)}",
        "measured": [{"what": what, "ratio": ratio, "words": _in_words(ratio)} for what, ratio in measured],
    }


def _in_words(ratio: float) -> str:
    return "very easy to read" if ratio >= 7 else "easy to read" if ratio >= theming.READABLE else "hard to read"


def _row() -> Branding:
    row = Branding.objects.first()
    if row is None:
        raise NotFound
    return row
