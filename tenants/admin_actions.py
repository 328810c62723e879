"""What operators do to chosen tenants: pause, resume, move (each asks first), check their isolation."""

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from platform_site.errors import PlatformError
from tenants import lifecycle
from tenants.isolation import runs


@admin.action(permissions=["change"], description="Pause: close chats, refuse all changes")
def suspend(page, request, chosen):
    """Asks for the reason, which the tenants' staff will read."""
    reason = request.POST.get("reason", "").strip()
    if not request.POST.get("confirmed") or not reason:
        return _asked(page, request, chosen, "suspend", missing=bool(request.POST.get("confirmed")))
    _each(page, request, chosen, "paused", lambda tenant, by: lifecycle.suspend(tenant, by=by, reason=reason))
    return None


@admin.action(permissions=["change"], description="Resume: let them go on")
def resume(page, request, chosen):
    """Asks whether."""
    if not request.POST.get("confirmed"):
        return _asked(page, request, chosen, "resume")
    _each(page, request, chosen, "resumed", lambda tenant, by: lifecycle.resume(tenant, by=by))
    return None


@admin.action(permissions=["change"], description="Move to another database…")
def move(page, request, chosen):
    """Leads to the page that asks where to."""
    tenants = list(chosen[:2])
    if len(tenants) != 1:
        page.message_user(request, "Choose one tenant: each move is looked at by itself.", messages.ERROR)
        return None
    return redirect("admin:tenants_tenant_move", tenants[0].pk)


@admin.action(permissions=["view"], description="Check isolation now")
def check_isolation(page, request, chosen):
    """Takes a second or two for each; workers do it, and a page shows how far they are."""
    try:
        run = runs.start(list(chosen), by=request.user.email)
    except PlatformError as error:
        page.message_user(request, str(error), messages.ERROR)
        return None
    return redirect("admin:tenants_isolationcheck_run", run)


def _asked(page, request, chosen, action: str, *, missing: bool = False):
    context = {
        **page.admin_site.each_context(request),
        "title": "Pause these tenants?" if action == "suspend" else "Let these tenants go on?",
        "opts": page.opts, "chosen": chosen, "action": action, "missing": missing, "checkbox": ACTION_CHECKBOX_NAME,
    }  # fmt: skip
    return TemplateResponse(request, "admin/tenant_lifecycle.html", context)


def _each(page, request, chosen, done: str, verb) -> None:
    """One that cannot be changed does not keep the others from it."""
    for tenant in chosen:
        try:
            changed = verb(tenant, request.user.email)
        except PlatformError as error:
            page.message_user(request, str(error), messages.ERROR)
            continue
        text = f"{tenant.name} is {done}." if changed else f"{tenant.name} was so already."
        page.message_user(request, text, messages.SUCCESS if changed else messages.WARNING)
