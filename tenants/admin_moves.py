"""Operators' pages on moves: all of them, one with its steps as they happen, and the page that orders one."""

from datetime import timedelta

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone

from branding.templatetags.portal import when
from platform_site.admin_pages import NOTHING, ReadOnlyAdmin, link, pill
from platform_site.errors import PlatformError
from tenants import placements, relocation
from tenants.models import Database, Move, Tenant
from tenants.moves import progress

TONES = {
    Move.State.RETAINED: "ok",
    Move.State.DONE: "ok",
    Move.State.FAILED: "bad",
    Move.State.ROLLED_BACK: "",
}
SHORT = {
    Move.State.PLANNED: "Planned",
    Move.State.PREPARING: "Preparing",
    Move.State.COPYING: "Copying",
    Move.State.FROZEN: "Copying, writes wait",
    Move.State.VERIFYING: "Comparing",
    Move.State.SWITCHED: "Switched",
    Move.State.RETAINED: "Moved, old copy kept",
    Move.State.DONE: "Done",
    Move.State.ROLLED_BACK: "Rolled back",
    Move.State.FAILED: "Failed",
}  # in a list
SAID_PERCENT = 25  # a screen reader is told of the copying in such steps
NOT_BEGUN = timedelta(seconds=30)
TITLES = {"go_back": "Return {tenant} to where it was?", "finish": "Remove the old copy of {tenant} now?"}
DEDICATED = "dedicated"


@admin.register(Move)
class MoveAdmin(ReadOnlyAdmin):
    """Every move, with what may still be done about it: cancel, go back, let the old copy go."""

    change_form_template = "admin/move.html"
    list_display = ["started", "tenant", "status", "way", "rows", "frozen", "ordered_by"]
    list_display_links = ["started"]
    list_select_related = ["tenant", "source", "target"]
    list_filter = ["state"]
    search_fields = ["tenant__name", "tenant__slug", "ordered_by"]
    ordering = ["-created_at"]
    fields = ["tenant", "state", "source", "target", "ordered_by", "created_at", "error"]

    def get_urls(self):
        pages = {"progress": self.progress, "cancel": self.cancel, "go-back": self.go_back, "finish": self.finish}
        own = [
            path(f"<uuid:pk>/{name}/", self.admin_site.admin_view(view), name=f"tenants_move_{name.replace('-', '_')}")
            for name, view in pages.items()
        ]
        return own + super().get_urls()

    def get_queryset(self, request):
        return super().get_queryset(request).select_related("tenant__database", "source", "target")

    def render_change_form(self, request, context, add=False, change=False, form_url="", obj=None):
        context |= {"shown": shown(obj), "may_act": may_act(request), "actions": actions(obj)}
        return super().render_change_form(request, context, add, change, form_url, obj)

    # --- columns

    @admin.display(description="Started", ordering="created_at")
    def started(self, move):
        """When it was ordered."""
        return when(move.created_at)

    @admin.display(description="State", ordering="state")
    def status(self, move):
        """As a pill."""
        return pill(SHORT[move.state], TONES.get(move.state, "info"))

    @admin.display(description="From, to")
    def way(self, move):
        """The place it left, if that is there still, and the new one."""
        new = "its own, new" if move.state in Move.UNDER_WAY else "dropped"
        return f"{move.source or 'dropped'} → {move.target or new}"

    @admin.display(description="Rows")
    def rows(self, move):
        """How many were copied."""
        return f"{move.progress['rows']:,}" if "rows" in move.progress else NOTHING

    @admin.display(description="Writes waited")
    def frozen(self, move):
        """For how many seconds."""
        seconds = move.progress.get("seconds", {}).get("frozen")
        return NOTHING if seconds is None else f"{seconds:.1f} s"

    # --- one move

    def progress(self, request, pk):
        """How far it is, for the page that shows it: HTML, a sentence for screen readers, what may be done."""
        move = self._found(request, pk)
        return JsonResponse(
            {
                "html": render_to_string("admin/inc/move_progress.html", {"shown": shown(move)}, request),
                "said": said(move),
                "live": is_live(move),
                "actions": actions(move),
            }
        )

    def cancel(self, request, pk):
        """Stop it: nothing of the tenant is lost, so it does not ask."""
        return self._act(request, pk, relocation.cancel, "The move is being stopped. Nothing has changed.")

    def go_back(self, request, pk):
        """Return the tenant; asks first, because writes wait once more."""
        if request.method != "POST":
            return self._asked(request, pk, "go_back")
        return self._act(request, pk, relocation.go_back, "The tenant is on its way back.")

    def finish(self, request, pk):
        """Let the old copy go; asks first, because the way back goes with it."""
        if request.method != "POST":
            return self._asked(request, pk, "finish")
        return self._act(request, pk, relocation.finish, "The old copy is being compared once more and removed.")

    def _found(self, request, pk) -> Move:
        move = self.get_object(request, str(pk))
        if move is None or not self.has_view_permission(request, move):
            raise Http404
        return move

    def _asked(self, request, pk, action: str) -> HttpResponse:
        move = self._found(request, pk)
        if action not in actions(move):
            self.message_user(request, "That is no longer possible for this move.", messages.ERROR)
            return redirect(page_of(move))
        context = {
            **self.admin_site.each_context(request), "title": TITLES[action].format(tenant=move.tenant),
            "opts": self.opts, "move": move, "action": action, "page": page_of(move),
        }  # fmt: skip
        return TemplateResponse(request, "admin/move_question.html", context)

    def _act(self, request, pk, verb, text: str) -> HttpResponse:
        move = self._found(request, pk)
        if not may_act(request):
            raise PermissionDenied
        if request.method != "POST":
            return redirect(page_of(move))
        try:
            other = verb(move, by=request.user.email)
        except PlatformError as error:
            self.message_user(request, str(error), messages.ERROR)
            return redirect(page_of(move))
        self.message_user(request, text, messages.SUCCESS)
        return redirect(page_of(other or move))


# --- ordering one


def order_page(page, request, tenant: Tenant) -> HttpResponse:
    """Choose where a tenant shall live, see what that would mean, and order it."""
    chosen = request.POST.get("to") or request.GET.get("to", "")
    try:
        target = placements.named(chosen) if chosen not in ("", DEDICATED) else None
        if request.method == "POST" and chosen:
            move = relocation.order(tenant, target, by=request.user.email)
            page.message_user(request, f"{tenant.name} is being moved.", messages.SUCCESS)
            return redirect(page_of(move))
        outlook, refusal = relocation.foresee(tenant, target) if chosen else None, ""
    except PlatformError as error:
        outlook, refusal = None, str(error)
    context = {
        **page.admin_site.each_context(request), "title": f"Move {tenant.name}", "opts": page.opts, "tenant": tenant,
        "chosen": chosen, "outlook": outlook, "refusal": refusal, "targets": relocation.targets(tenant),
        "may_have_its_own": tenant.database.kind != Database.Kind.DEDICATED, "of_tenant": tenant,
        "of_colour": page.colour_of(tenant),
    }  # fmt: skip
    return TemplateResponse(request, "admin/move_order.html", context)


def may_be_promoted(tenant: Tenant) -> bool:
    """Whether it shares its database, so that being regulated asks for another."""
    return tenant.regulated and tenant.database.kind == Database.Kind.SHARED


def promotion_page(page, request, tenant: Tenant) -> HttpResponse:
    """Before the flag is set: what a move to a database of its own would mean. The form is kept as it was sent."""
    kept = {name: value for name, value in request.POST.items() if name != "csrfmiddlewaretoken"}
    try:
        outlook, refusal = relocation.foresee(tenant, None), ""
    except PlatformError as error:
        outlook, refusal = None, str(error)
    context = {
        **page.admin_site.each_context(request), "title": f"Give {tenant.name} a database of its own?",
        "opts": page.opts, "tenant": tenant, "kept": kept, "outlook": outlook, "refusal": refusal,
        "of_tenant": tenant, "of_colour": page.colour_of(tenant),
    }  # fmt: skip
    return TemplateResponse(request, "admin/promotion.html", context)


# --- what the pages show


def page_of(move: Move) -> str:
    """The address of a move's page."""
    return reverse("admin:tenants_move_change", args=[move.pk])


def may_act(request) -> bool:
    """Whether this operator may order, stop and end moves: as with all else that changes tenants."""
    return request.user.has_perm("tenants.change_tenant")


def is_live(move: Move) -> bool:
    """Whether its page should look again by itself."""
    return move.state in Move.UNDER_WAY or (relocation.is_finishing(move) and not move.error)


def actions(move: Move) -> list[str]:
    """What may still be done about it."""
    if move.state in Move.CANCELLABLE:
        return [] if move.cancelled else ["cancel"]
    if move.state != Move.State.RETAINED or move.source is None or is_live(move):
        return []
    return ["go_back", "finish"] if move.tenant.database_id == move.target_id else ["finish"]


def said(move: Move) -> str:
    """Where it stands in a sentence, which changes rarely enough to be read out each time."""
    facts = progress.facts(move)
    percent = facts.percent // SAID_PERCENT * SAID_PERCENT
    failed = f" {move.get_state_display()}. {move.error}" if facts.at.state == "failed" else ""
    return f"{facts.at.name}: {percent} %." + failed


def shown(move: Move) -> dict:
    """What the page says of a move."""
    waits = move.state == Move.State.PLANNED and timezone.now() - move.created_at > NOT_BEGUN
    nowhere = "a new database of its own" if is_live(move) else "dropped since"
    return {
        "move": move,
        "facts": progress.facts(move),
        "tone": TONES.get(move.state, "info"),
        "live": is_live(move),
        "not_begun": waits,
        "finishing": relocation.is_finishing(move),
        "tenant": link(move.tenant),
        "source": link(move.source) if move.source else "dropped since",
        "target": link(move.target) if move.target else nowhere,
        "undoes": link(move.undoes, "this move") if move.undoes_id else "",
        "region": (move.source.region if move.source else "", move.target.region if move.target else ""),
    }
