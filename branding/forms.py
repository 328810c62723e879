"""The brand's form in the portal."""

from django import forms

from branding.models import Branding
from branding.publishing import EDITABLE


class BrandForm(forms.ModelForm):
    """What a tenant may choose of its look."""

    based_on = forms.IntegerField(widget=forms.HiddenInput)

    class Meta:
        model = Branding
        fields = EDITABLE
        labels = {"name": "Name shown to customers"}
        widgets = {
            "name": forms.TextInput({"class": "input", "autocomplete": "organization"}),
            "colour": forms.TextInput({"class": "input", "autocomplete": "off", "spellcheck": "false"}),
            "wallpaper": forms.TextInput({"class": "input", "autocomplete": "off", "spellcheck": "false"}),
            "radius": forms.NumberInput({"class": "input", "min": 0, "max": 24}),
            "font": forms.Select({"class": "input"}),
            "powered_by_visible": forms.CheckboxInput({"class": "switch", "role": "switch"}),
        }

    def look(self) -> dict:
        """The arguments of theming.derive, from the values so far; what is not valid yet counts as saved."""
        self.full_clean()
        good = {**self.initial, **getattr(self, "cleaned_data", {})}
        return {name: good[name] for name in ("colour", "wallpaper", "radius", "font")}
