"""Operators' pages on agents: change what an agent is told, and see what was published."""

from django import forms
from django.contrib import admin, messages

from agents import publishing
from agents.forms import AgentForm
from agents.models import AgentConfig, AgentVersion
from platform_site.admin_pages import OperatorAdmin, ReadOnlyAdmin, lines, link, list_link
from platform_site.amounts import minute

VERSIONS_SHOWN = 5


class OperatorsAgentForm(AgentForm):
    """The portal's form, and a note for the version that saving publishes."""

    note = forms.CharField(max_length=200, required=False, help_text="For the list of versions: what changed and why")

    class Meta(AgentForm.Meta):
        fields = [*AgentForm.Meta.fields, "temperature"]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.initial["based_on"] = self.instance.updated_at.isoformat()

    def clean(self):
        """What somebody else saved meanwhile is not overwritten."""
        values = super().clean()
        if values.get("based_on") != self.instance.updated_at:
            raise forms.ValidationError("Somebody has saved this agent meanwhile. Open it again in a new tab.")
        return values


@admin.register(AgentConfig)
class AgentConfigAdmin(OperatorAdmin):
    """Drafts of all tenants' agents. Saving publishes."""

    may_change = True
    form = OperatorsAgentForm
    list_display = ["name", "tenant", "model_name", "is_default", "updated_at"]
    list_select_related = ["tenant"]
    list_filter = ["is_default"]
    search_fields = ["name", "tenant__name", "tenant__slug"]
    ordering = ["tenant__name", "name"]
    fieldsets = [
        (None, {"fields": ["based_on", "name", "greeting", "notice", "instructions", "suggestions"]}),
        ("Model and tools", {"fields": ["model", "temperature", "tools"]}),
        (
            "Publish",
            {
                "fields": ["note", "not_live", "versions"],
                "description": "Saving publishes the draft as it then stands: the next message is answered by it.",
            },
        ),
    ]
    readonly_fields = ["not_live", "versions"]

    def save_model(self, request, obj, form, change):
        values = dict(form.cleaned_data)
        note, based_on = values.pop("note"), values.pop("based_on")
        draft = publishing.save_draft(obj, by=request.user.email, expected_updated_at=based_on, **values)
        if publishing.changes(draft, publishing.newest_version(draft)):
            version = publishing.publish(draft, by=request.user.email, note=note)
            self.message_user(request, f"Version {version.number} is live.", messages.SUCCESS)

    @admin.display(description="Model", ordering="model")
    def model_name(self, agent):
        """What answers, in the list."""
        return agent.model or "the installation's default"

    @admin.display(description="Not live yet")
    def not_live(self, agent):
        """Changes of the tenant's own staff, which saving here would publish as well."""
        return ", ".join(publishing.changes(agent, publishing.newest_version(agent))) or "Nothing"

    @admin.display(description="Newest versions")
    def versions(self, agent):
        """What was published last, and the way to all of it."""
        newest = AgentVersion.objects.filter(agent=agent).order_by("-number")[:VERSIONS_SHOWN]
        shown = [link(one, f"{one.number}, {minute(one.published_at)} by {one.published_by}") for one in newest]
        return lines([*shown, list_link(AgentVersion, "All versions", agent__id__exact=agent.pk)])


@admin.register(AgentVersion)
class AgentVersionAdmin(ReadOnlyAdmin):
    """What was published, when, by whom."""

    list_display = ["name", "number", "tenant", "published_at", "published_by", "note"]
    list_select_related = ["tenant"]
    list_filter = ["published_at"]
    search_fields = ["name", "tenant__name", "tenant__slug", "published_by"]
    ordering = ["-published_at"]
    fields = ["tenant", "number", "published_at", "published_by", "note", *AgentConfig.SETTINGS]
