"""What operators do to chosen tenants: pause them, let them go on (each asks first), check their isolation."""

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.template.response import TemplateResponse

from platform_site.errors import PlatformError
from tenants import lifecycle
from tenants.isolation import checking


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


@admin.action(permissions=["view"], description="Check isolation now")
def check_isolation(page, request, chosen):
    """Takes a second or two for each; the results stay on the page of isolation checks."""
    for tenant in chosen:
        try:
            result = checking.check(tenant.ref())
        except PlatformError as error:
            page.message_user(request, str(error), messages.ERROR)
            continue
        page.audit(request, tenant, "isolation_checked", verdict=result.verdict, check=str(result.pk))
        text = f"{tenant.name}: {result.verdict.lower()}, {len(result.attempts)} attempts, {result.leaked} leaked."
        page.message_user(request, text, messages.SUCCESS if result.ok else messages.ERROR)


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
