"""Team, keys and invitations in the portal."""

from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth import login
from django.http import Http404
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from platform_site.errors import BadInput, NotFound, PlatformError
from platform_site.portal import staff_page, typed
from tenants import lifecycle
from tenants.accounts import invitations, keys, roles
from tenants.accounts import team as team_rules
from tenants.accounts.models import ApiKey, Invitation, User


class InviteForm(forms.Form):
    """Whom to invite, and as what."""

    email = forms.EmailField(
        max_length=254, label="E-mail address", widget=forms.EmailInput({"class": "input", "autocomplete": "off"})
    )
    role = forms.ChoiceField(choices=list(roles.NAMES.items()), widget=forms.Select({"class": "input"}))


@require_http_methods(["GET", "POST"])
def invitation(request, secret):
    """The page an invitation's link opens: choose a name and a password, and be signed in."""
    try:
        found = invitations.find(secret)
    except NotFound:
        raise Http404 from None
    page = {"invitation": found, "name": typed(request.POST, "name", most=100)}
    if request.method == "POST":
        try:
            lifecycle.refuse_if_paused(request.tenant)
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
        return _change_team(request)
    return _team_page(request, InviteForm(initial={"role": "responder"}))


@staff_page(permission="team.edit")
def _change_team(request):
    """One form of the page was sent; the button's ``action`` says which."""
    match request.POST.get("action"):
        case "withdraw":
            team_rules.withdraw(_id(request), by=request.user)
            messages.success(request, "The invitation is withdrawn. Its link does not work any more.")
        case "role":
            person = team_rules.change_role(_id(request), request.POST.get("role", ""), by=request.user)
            messages.success(request, f"{person} is now {person.get_role_display()}.")
        case "off" | "on" as state:
            person = team_rules.switch(_id(request), on=state == "on", by=request.user)
            messages.success(request, _switched(person, on=state == "on"))
        case _:
            return _invite(request)
    return redirect("portal:team")


def _switched(person: User, *, on: bool) -> str:
    """What became of the person, and of the API keys that they answer for."""
    said = f"{person} can sign in again." if on else f"{person} cannot sign in any more."
    match keys.made_by(person):
        case 0:
            return said
        case 1:
            return f"{said} The API key that they made {'works again' if on else 'has stopped; see Developers'}."
        case count:
            return (
                f"{said} The {count} API keys that they made {'work again' if on else 'have stopped; see Developers'}."
            )


def _invite(request):
    form = InviteForm(request.POST)
    if form.is_valid():
        try:
            team_rules.invite(**form.cleaned_data, by=request.user)
        except PlatformError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"The invitation to {form.cleaned_data['email']} is on its way.")
            return redirect("portal:team")
    return _team_page(request, form, status=400)


def _team_page(request, form: InviteForm, status: int = 200):
    people = list(User.objects.exclude(role="").order_by("-is_active", "name", "email")[:200])
    open_ones = Invitation.objects.filter(accepted_at=None, expires_at__gt=timezone.now()).order_by("-created_at")
    page = {
        "form": form,
        "people": people,
        "invitations": open_ones[:50],
        "roles": [
            {"code": code, "name": name, "sentences": [roles.SENTENCES[right] for right in sorted(roles.RIGHTS[code])]}
            for code, name in roles.NAMES.items()
        ],
        "may_edit": request.user.may("team.edit"),
    }
    return render(request, "portal/accounts/team.html", page, status=status)


@staff_page(permission="keys.edit")
@require_http_methods(["GET", "POST"])
def keys_page(request):
    """API keys: made here, shown once."""
    status, page = 200, {"scopes": keys.SCOPES}
    if request.method == "POST":
        name, scopes = typed(request.POST, "name", most=80), request.POST.getlist("scopes")
        page |= {"name": name, "chosen": scopes}
        try:
            row, secret = keys.create(
                name=name or "Unnamed key", scopes=scopes, by=request.user.email, maker=request.user
            )
            page |= {"made": row, "secret": secret}
        except BadInput:
            page["error"], status = "Choose at least one thing that the key may do.", 400
    page["keys"] = ApiKey.objects.with_makers().order_by("revoked_at", "-stopped", "-created_at")[:100]
    page["stopped"] = sum(key.stopped and not key.revoked_at for key in page["keys"])
    return render(request, "portal/accounts/keys.html", page, status=status)


@staff_page(permission="keys.edit")
@require_POST
def revoke_key(request, key):
    """From now on the key is refused."""
    keys.revoke(key, by=request.user.email)
    messages.success(request, "The key is revoked.")
    return redirect("portal:keys")


@staff_page(permission="keys.edit")
@require_POST
def keep_key(request, key):
    """Whoever presses the button answers for the key from now on; it works again."""
    row = keys.keep(key, by=request.user)
    messages.success(request, f"“{row.name}” works again. You answer for it from now on.")
    return redirect("portal:keys")


def _id(request) -> UUID:
    try:
        return UUID(request.POST.get("id", ""))
    except ValueError:
        raise NotFound from None
