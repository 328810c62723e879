"""The shared half of the portal's door: who is calling, may they, and what an error looks like."""

from collections.abc import Callable
from functools import wraps

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import Http404
from django.shortcuts import redirect, render

from platform_site.errors import NotFound, PlatformError


def staff_page(*, permission: str) -> Callable:
    """A page for signed-in staff whose role has ``permission`` (a right of tenants/accounts/roles.py).

    A PlatformError of the verb becomes a message on the page it came from; NotFound becomes the 404 page.
    """

    def decorate(view):
        @wraps(view)
        def answer(request, *args, **kwargs):
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            if not request.user.may(permission):
                return render(request, "errors/403.html", {"permission": permission}, status=403)
            try:
                return view(request, *args, **kwargs)
            except NotFound:
                raise Http404 from None
            except PlatformError as error:
                return _shown(request, error)

        answer.permission = permission
        return answer

    return decorate


def _shown(request, error: PlatformError):
    """After a POST: back to the page with the message. On a GET there is nowhere to go back to."""
    if request.method == "POST":
        messages.error(request, str(error))
        return redirect(request.path)
    return render(request, "errors/problem.html", {"text": str(error)}, status=error.status)
