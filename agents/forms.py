"""The agent's form in the portal."""

from django import forms

from agents import model_choice, tools
from agents.models import INSTRUCTION_CHARACTERS, AgentConfig
from tenants.context import is_platform

SUGGESTIONS, SUGGESTION_CHARACTERS = 4, 100


class Lines(forms.CharField):
    """A list of short texts, written one a line."""

    widget = forms.Textarea

    def prepare_value(self, value):
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value) -> list[str]:
        return [" ".join(line.split()) for line in super().to_python(value).splitlines() if line.strip()]

    def has_changed(self, initial, data) -> bool:
        return (initial or []) != self.to_python(data or "")


class Text(forms.CharField):
    """A long text with plain line ends; browsers send others, which would count as a change."""

    def to_python(self, value) -> str:
        return super().to_python(value).replace("\r\n", "\n")


class TrialForm(forms.Form):
    """One question of a builder to an agent. ``id`` is chosen by the page: sent twice, it is one question."""

    conversation = forms.UUIDField()
    id = forms.UUIDField()
    text = forms.CharField(max_length=100_000, strip=False)


class StopForm(forms.Form):
    """Which answer to end."""

    conversation = forms.UUIDField()
    turn = forms.UUIDField()


class AgentForm(forms.ModelForm):
    """The draft of an agent. ``based_on`` is the ``updated_at`` it was read with."""

    based_on = forms.DateTimeField(widget=forms.HiddenInput)
    tools = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)
    suggestions = Lines(
        required=False,
        label="Suggested questions",
        help_text=f"One a line, up to {SUGGESTIONS}. Customers see them before they have written anything.",
        widget=forms.Textarea({"class": "input", "rows": 4}),
    )

    class Meta:
        model = AgentConfig
        fields = ["name", "greeting", "notice", "instructions", "model", "suggestions", "tools"]
        field_classes = {"greeting": Text, "instructions": Text}
        labels = {
            "name": "Name the customer sees",
            "greeting": "First message",
            "notice": "AI notice",
            "model": "Model",
        }
        help_texts = {
            "greeting": "The notice that this is an AI is always shown as well.",
            "model": "Leave empty for the recommended model.",
            "instructions": "You may use {{agent_name}}, {{company}} and {{today}}.",
        }
        widgets = {
            "name": forms.TextInput({"class": "input", "autocomplete": "off"}),
            "greeting": forms.Textarea({"class": "input", "rows": 2}),
            "notice": forms.TextInput({"class": "input"}),
            "instructions": forms.Textarea({"class": "input code", "rows": 18}),
            "model": forms.TextInput({"class": "input", "autocomplete": "off", "spellcheck": "false"}),
        }

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if not is_platform():  # an operator knows what the installation has keys for
            self.fields["model"] = self._model_field()
        self.fields["tools"].choices = [(name, name) for name in tools.registered()]
        self.fields["instructions"].widget.attrs["maxlength"] = INSTRUCTION_CHARACTERS

    def _model_field(self) -> forms.ChoiceField:
        """What the tenant may choose; and what it has, which stays until it is changed."""
        names, chosen = model_choice.allowed(), self.instance.model
        choices = [("", model_choice.recommended()), *((name, name) for name in names)]
        if chosen and chosen not in names:
            choices.append((chosen, f"{chosen} (chosen earlier, not in your plan)"))
        field = forms.ChoiceField(
            choices=choices, required=False, label="Model", widget=forms.Select({"class": "input"}),
            help_text="" if len(choices) > 1 else "Your plan includes the recommended model.",
        )  # fmt: skip
        field.error_messages["invalid_choice"] = "Your plan does not include the model “%(value)s”."
        return field

    def clean_suggestions(self) -> list[str]:
        """At most four, each short enough for a button."""
        lines = self.cleaned_data["suggestions"]
        if len(lines) > SUGGESTIONS or any(len(line) > SUGGESTION_CHARACTERS for line in lines):
            raise forms.ValidationError(
                f"Write at most {SUGGESTIONS} questions of up to {SUGGESTION_CHARACTERS} characters each."
            )
        return lines
