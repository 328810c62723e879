"""The tenant's agents: the list, and the page that edits, publishes and compares one."""

from uuid import UUID

from asgiref.sync import async_to_sync
from django.contrib import messages
from django.http import JsonResponse
from django.shortcuts import redirect, render
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agents import event_stream, publishing, tools, trying, turns, wire
from agents.forms import AgentForm, StopForm, TrialForm
from agents.models import INSTRUCTION_CHARACTERS, AgentConfig, AgentVersion
from platform_site.errors import BadInput, Conflict, NotFound, PlatformError, Refused
from platform_site.portal import staff_page, typed
from tenants.context import current

LABELS = {
    "name": "Name",
    "greeting": "First message",
    "notice": "AI notice",
    "instructions": "Instructions",
    "model": "Model",
    "temperature": "Temperature",
    "tools": "Tools",
    "knowledge_bases": "Knowledge",
    "suggestions": "Suggested questions",
}
VERSIONS_SHOWN = 20


@staff_page(permission="agents.view")
@require_safe
def agent_list(request):
    """Each agent with what is live of it."""
    cards = []
    for agent in AgentConfig.objects.order_by("-is_default", "name"):
        live = publishing.newest_version(agent)
        cards.append({"agent": agent, "live": live, "changes": len(publishing.changes(agent, live)) if live else 0})
    return render(request, "portal/agents/list.html", {"cards": cards})


@staff_page(permission="agents.view")
@require_http_methods(["GET", "POST"])
def agent_page(request, agent: UUID):
    """The draft of one agent, how it differs from what is live, and its versions."""
    row = _agent(agent)
    if request.method == "POST":
        return _save(request, row)
    form = AgentForm(instance=row, initial={"based_on": row.updated_at.isoformat()})
    return render(request, "portal/agents/agent.html", _page(request, row, form))


@staff_page(permission="agents.edit")
def _save(request, row: AgentConfig):
    """Save the draft; with the button "Publish", make it live as well."""
    publishing_too = request.POST.get("action") == "publish"
    if publishing_too and not request.user.may("agents.publish"):
        raise Refused("Your role may save drafts, but not publish them.")
    form = AgentForm(request.POST, instance=_agent(row.pk))
    if not form.is_valid():
        return render(request, "portal/agents/agent.html", _page(request, row, form), status=400)
    values = form.cleaned_data
    try:
        draft = publishing.save_draft(row, by=request.user.email, expected_updated_at=values.pop("based_on"), **values)
        if publishing_too:
            note = typed(request.POST, "note", most=200)
            version = publishing.publish(draft, by=request.user.email, note=note)
            messages.success(request, f"Version {version.number} is live. New messages are answered by it.")
        else:
            messages.success(request, "Draft saved. Customers see it when you publish.")
    except Conflict as error:
        return _conflict(request, row, error)
    except PlatformError as error:
        form.add_error(None, str(error))
        return render(request, "portal/agents/agent.html", _page(request, row, form), status=error.status)
    return redirect("portal:agent", agent=row.pk)


def _conflict(request, row: AgentConfig, error: Conflict):
    """Both drafts side by side; saving again keeps mine, opening the page anew takes theirs."""
    theirs = _agent(row.pk)
    typed = request.POST.copy()
    typed["based_on"] = theirs.updated_at.isoformat()
    form = AgentForm(typed, instance=_agent(row.pk))
    form.is_valid()
    differing = [
        {"label": LABELS[name], "theirs": _shown(getattr(theirs, name)), "mine": _shown(form.cleaned_data.get(name))}
        for name in form.changed_data
        if name in LABELS
    ]
    conflict = {"by": error.details.get("by"), "at": parse_datetime(error.details.get("at", "")), "fields": differing}
    page = _page(request, theirs, form) | {"conflict": conflict}
    return render(request, "portal/agents/agent.html", page, status=409)


@staff_page(permission="agents.edit")
@require_http_methods(["GET", "POST"])
def trial(request, agent: UUID):
    """A builder's own conversation with the agent: its panel, or the answer to one question as it comes."""
    row, version = _agent(agent), trying.version_named(request.GET.get("version"))
    if request.method == "GET":
        return _trial_panel(request, row, version)
    form = TrialForm(request.POST)
    try:
        asked = _valid(form)
        seen = event_stream.seen(request.headers.get("Last-Event-ID"), asked["id"])
        opened = trying.ask(
            row, by=request.user, version=version, conversation=asked["conversation"], client_id=asked["id"],
            text=asked["text"],
        )  # fmt: skip
    except PlatformError as error:
        refused = wire.Error(
            code=error.code, text=str(error), id=form.cleaned_data.get("id"),
            retry_after=error.details.get("retry_after"),
        )  # fmt: skip
        return JsonResponse(refused.model_dump(mode="json"), status=error.status)
    return event_stream.response(current(), opened, seen)


@staff_page(permission="agents.edit")
@require_POST
def stop_trial(request, agent: UUID):
    """End an answer; what was said so far is kept."""
    row, version = _agent(agent), trying.version_named(request.GET.get("version"))
    asked = _valid(StopForm(request.POST))
    conversation = trying.own(row, by=request.user, version=version, conversation=asked["conversation"])
    stopped = async_to_sync(turns.stop)(current(), conversation, asked["turn"])
    return JsonResponse({"stopped": stopped})


@staff_page(permission="agents.edit")
@require_POST
def new_trial(request, agent: UUID):
    """Begin anew: the panel without a word said."""
    row, version = _agent(agent), trying.version_named(request.GET.get("version"))
    trying.start_over(row, by=request.user, version=version)
    return _trial_panel(request, row, version)


def _trial_panel(request, row: AgentConfig, version: str):
    page = {"agent": row, "live": publishing.newest_version(row)}
    page |= trying.standing(row, by=request.user, version=version)
    return render(request, "portal/agents/trial.html", page)


def _valid(form) -> dict:
    if not form.is_valid():
        raise BadInput(" ".join(f"{name}: {errors[0]}" for name, errors in form.errors.items()))
    return form.cleaned_data


def _page(request, row: AgentConfig, form: AgentForm) -> dict:
    live = publishing.newest_version(row)
    changed = publishing.changes(row, live) if live else []
    return {
        "agent": row,
        "form": form,
        "live": live,
        "difference": [
            {"label": LABELS[name], "live": _shown(getattr(live, name)), "draft": _shown(getattr(row, name))}
            for name in changed
        ],
        "versions": AgentVersion.objects.filter(agent=row).order_by("-number")[:VERSIONS_SHOWN],
        "tools": tools.registered().values(),
        "chosen_tools": form["tools"].value() or [],
        "length": len(form["instructions"].value() or ""),
        "longest": INSTRUCTION_CHARACTERS,
        "may_edit": request.user.may("agents.edit"),
        "may_publish": request.user.may("agents.publish"),
        **(trying.standing(row, by=request.user, version="draft") if request.user.may("agents.edit") else {}),
    }


def _agent(pk: UUID) -> AgentConfig:
    row = AgentConfig.objects.filter(pk=pk).first()
    if row is None:
        raise NotFound
    return row


def _shown(value) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value or "")
