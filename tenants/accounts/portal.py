"""Team, keys and invitations in the portal."""

from django.contrib import messages
from django.contrib.auth import login
from django.http import Http404
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from platform_site.errors import NotFound, PlatformError
from platform_site.portal import staff_page
from tenants.accounts import invitations, keys, roles
from tenants.accounts.models import ApiKey, Invitation, User


@require_http_methods(["GET", "POST"])
def invitation(request, secret):
    """The page an invitation's link opens: choose a name and a password, and be signed in."""
    try:
        found = invitations.find(secret)
    except NotFound:
        raise Http404 from None
    page = {"invitation": found, "name": request.POST.get("name", "")}
    if request.method == "POST":
        try:
            user = invitations.accept(secret, name=page["name"], password=request.POST.get("password", ""))
        except PlatformError as error:
            page["error"] = str(error)
            return render(request, "portal/accounts/invitation.html", page, status=error.status)
        login(request, user, backend="tenants.accounts.backends.RoleBackend")
        return redirect("portal:overview")
    return render(request, "portal/accounts/invitation.html", page)


@staff_page(permission="team.view")
@require_http_methods(["GET", "POST"])
def team(request):
    """Who works here, what each role may do, and who is invited."""
    if request.method == "POST":
        return _invite(request)
    page = {
        "people": User.objects.order_by("name", "email")[:200],
        "invitations": Invitation.objects.filter(accepted_at=None).order_by("-created_at")[:50],
        "roles": [
            {"code": code, "name": name, "sentences": [roles.SENTENCES[right] for right in sorted(roles.RIGHTS[code])]}
            for code, name in roles.NAMES.items()
        ],
        "may_edit": request.user.may("team.edit"),
    }
    return render(request, "portal/accounts/team.html", page)


@staff_page(permission="team.edit")
def _invite(request):
    email, role = request.POST.get("email", ""), request.POST.get("role", "")
    invitations.invite(email=email, role=role, by=request.user.email)
    messages.success(request, f"The invitation to {email} is on its way.")
    return redirect("portal:team")


@staff_page(permission="keys.edit")
@require_http_methods(["GET", "POST"])
def keys_page(request):
    """API keys: made here, shown once."""
    page = {"scopes": keys.SCOPES, "keys": ApiKey.objects.order_by("-created_at")[:100]}
    if request.method == "POST":
        row, secret = keys.create(
            name=request.POST.get("name", "").strip() or "Unnamed key",
            scopes=request.POST.getlist("scopes"),
            by=request.user.email,
        )
        page |= {"made": row, "secret": secret}
    return render(request, "portal/accounts/keys.html", page)


@staff_page(permission="keys.edit")
@require_POST
def revoke_key(request, key):
    """From now on the key is refused."""
    keys.revoke(key)
    messages.success(request, "The key is revoked.")
    return redirect("portal:keys")
