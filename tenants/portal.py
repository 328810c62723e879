"""Domains in the portal: which lead here, which are claimed, what their DNS has to say, and what a look found."""

from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from platform_site.errors import PlatformError
from platform_site.portal import staff_page, typed
from tenants import domains, names, own_domains
from tenants.models import DomainClaim

State = DomainClaim.State
PILLS = {State.WAITING: ("Waits for its DNS record", "info"), State.VERIFIED: ("Works", "ok"),
         State.FAILING: ("Stops working soon", "bad")}  # fmt: skip
WATCH_SECONDS = 30  # how long a page asks for the end of what was ordered


class DomainForm(forms.Form):
    """The name to claim."""

    host = forms.CharField(
        max_length=300,
        label="Domain",
        help_text="A full host name that you own, without https://",
        widget=forms.TextInput(
            {
                "class": "input", "placeholder": "chat.example.com", "autocomplete": "off", "autocapitalize": "none",
                "spellcheck": "false", "inputmode": "url",
            }
        ),
    )  # fmt: skip


@staff_page(permission="domains.edit")
@require_http_methods(["GET", "POST"])
def domain_list(request: HttpRequest) -> HttpResponse:
    """The tenant's domains, what is to be done about each, and the form that adds one."""
    form = DomainForm(request.POST) if request.method == "POST" else DomainForm()
    if form.is_valid():
        try:
            made = own_domains.claim(form.cleaned_data["host"], by=request.user.email)
        except PlatformError as error:
            form.add_error("host", str(error))
        else:
            messages.success(request, f"{made.name} is noted. Set the two records below in its DNS.")
            return redirect("portal:domains")
    return render(request, "portal/tenants/domains.html", _page(request, form), status=400 if form.errors else 200)


@staff_page(permission="domains.edit")
@require_GET
def state(request: HttpRequest, claim: UUID) -> HttpResponse:
    """For a page that waits for what it ordered: nothing, until that is done; then the page loads again."""
    found = own_domains.find(claim)
    return HttpResponse(status=204, headers={} if _is_awaited(found, request.GET) else {"HX-Refresh": "true"})


@staff_page(permission="domains.edit")
@require_POST
def check(request: HttpRequest, claim: UUID) -> HttpResponse:
    """A worker looks, because a name server may take seconds to answer."""
    found = own_domains.find_live(claim)
    own_domains.order_check(found)
    return redirect(f"{reverse('portal:domains')}?looked={found.pk}&since={timezone.now().timestamp():.3f}")


@staff_page(permission="domains.edit")
@require_http_methods(["GET", "POST"])
def remove(request: HttpRequest, claim: UUID) -> HttpResponse:
    """Asks first, because whoever comes by that name finds nothing afterwards."""
    found = own_domains.find_live(claim)
    if request.method == "POST":
        own_domains.order_release(found, by=request.user.email)
        return redirect(f"{reverse('portal:domains')}?going={found.pk}&since={timezone.now().timestamp():.3f}")
    mains = [one.domain for one in own_domains.addresses() if one.is_primary]
    page = {
        "claim": found,
        "first_host": _first_host(request),
        "is_here": request.get_host().partition(":")[0] == found.name,
        "is_main": found.name in mains,
    }
    return render(request, "portal/tenants/remove_domain.html", page)


def _page(request: HttpRequest, form: DomainForm) -> dict:
    claims = own_domains.claims()  # first: what is released in between must not look as if nobody had claimed it
    addresses = own_domains.addresses()
    claimed = {claim.name for claim in claims}
    main = next((one.domain for one in addresses if one.is_primary), "")
    return {
        "form": form,
        "fixed": [one for one in addresses if one.domain not in claimed],
        "rows": [_row(claim, main, request.GET) for claim in claims],
        "first_host": _first_host(request),
        "grace_days": settings.DOMAIN_GRACE_DAYS,
        "wait_days": domains.WAIT_DAYS,
    }


def _row(claim: DomainClaim, main: str, asked: QueryDict) -> dict:
    words, tone = PILLS[claim.state]
    going, looked = (asked.get(name) == str(claim.pk) for name in ("going", "looked"))
    awaited = (going or looked) and _is_awaited(claim, asked)
    return {
        "claim": claim, "words": words, "tone": tone, "is_main": claim.name == main, "going": going and awaited,
        "looking": looked and awaited, "looked": looked and not awaited, "since": typed(asked, "since", most=20),
        "shows_records": claim.state != State.VERIFIED, "shows_alias": claim.state == State.WAITING,
    }  # fmt: skip


def _is_awaited(claim: DomainClaim, asked: QueryDict) -> bool:
    """Whether what was ordered at ``since`` is not done yet, and it is too early to give up waiting."""
    try:
        since = float(asked.get("since", ""))
    except ValueError:
        return False
    now = timezone.now().timestamp()
    is_done = claim.state not in DomainClaim.LIVE or ("going" not in asked and _looked_at(claim) >= since)
    return not is_done and since <= now < since + WATCH_SECONDS


def _looked_at(claim: DomainClaim) -> float:
    return claim.checked_at.timestamp() if claim.checked_at else 0


def _first_host(request: HttpRequest) -> str:
    return names.host_for(request.tenant.slug)
