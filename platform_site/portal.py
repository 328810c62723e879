"""The shared half of the portal's door: who is calling, may they, and what an error looks like."""

import re
from collections.abc import Callable
from functools import wraps
from urllib.parse import urlsplit

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, QueryDict
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.http import HttpResponseClientRedirect

from platform_site.errors import NotFound, PlatformError
from tenants import lifecycle

SAFE = ("GET", "HEAD", "OPTIONS")
CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


def staff_page(*, permission: str) -> Callable:
    """A page for signed-in staff whose role has ``permission`` (a right of tenants/accounts/roles.py).

    A PlatformError of the verb becomes a message on the page it came from; NotFound becomes the 404 page. While the
    tenant is paused, staff may look at everything and change nothing.
    """

    def decorate(view):
        @wraps(view)
        def answer(request, *args, **kwargs):
            if not request.user.is_authenticated:
                return _moved(request, redirect_to_login(_here(request)).url)
            if not request.user.may(permission):
                return render(request, "errors/403.html", {"permission": permission}, status=403)
            try:
                if request.method not in SAFE:
                    lifecycle.refuse_if_paused(request.tenant)
                return view(request, *args, **kwargs)
            except NotFound:
                raise Http404 from None
            except PlatformError as error:
                return _shown(request, error)

        answer.permission = permission
        return answer

    return decorate


def typed(given: QueryDict, name: str, *, most: int) -> str:
    """A short text that somebody typed: no control characters (a database takes no NUL), at most so long."""
    return CONTROLS.sub(" ", given.get(name, "")).strip()[:most]


def _shown(request, error: PlatformError):
    """After a POST: back to the page with the message. On a GET there is nowhere to go back to."""
    if request.method == "POST":
        messages.error(request, str(error))
        return _moved(request, _here(request))
    return render(request, "errors/problem.html", {"text": str(error)}, status=error.status)


def _here(request) -> str:
    """The page the reader sees: of a GET its own address, of a POST or a fragment the one it was sent from."""
    if request.method in ("GET", "HEAD") and not request.htmx:
        return request.get_full_path()
    sent_from = request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
    place = urlsplit(sent_from)._replace(scheme="", netloc="", fragment="").geturl()
    of_this_host = url_has_allowed_host_and_scheme(sent_from, {request.get_host()})
    return place if of_this_host and url_has_allowed_host_and_scheme(place, None) else request.path


def _moved(request, url: str):
    """To another page; a fragment's answer must say so to the whole page."""
    return HttpResponseClientRedirect(url) if request.htmx else redirect(url)
