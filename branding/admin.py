"""Operators' page on how a tenant looks."""

from django import forms
from django.contrib import admin

from branding import publishing
from branding.forms import BrandForm
from branding.models import Branding
from platform_site.admin_pages import OperatorAdmin, swatch


class OperatorsBrandForm(BrandForm):
    """The portal's form, with a picker for the colour."""

    class Meta(BrandForm.Meta):
        widgets = {"colour": forms.TextInput({"type": "color"})}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.initial["based_on"] = self.instance.revision

    def clean(self):
        """What somebody else saved meanwhile is not overwritten."""
        values = super().clean()
        if values.get("based_on") != self.instance.revision:
            raise forms.ValidationError("Somebody has saved this brand meanwhile. Open it again in a new tab.")
        return values


@admin.register(Branding)
class BrandingAdmin(OperatorAdmin):
    """One row per tenant; the next page that anybody opens wears it."""

    may_change = True
    form = OperatorsBrandForm
    fields = [
        "based_on", "name", "colour", "wallpaper", "radius", "font", "powered_by_visible", "revision", "updated_at",
    ]  # fmt: skip
    readonly_fields = ["revision", "updated_at"]
    list_display = ["name", "tenant", "shown_colour", "font", "revision", "updated_at"]
    list_select_related = ["tenant"]
    search_fields = ["name", "tenant__name", "tenant__slug"]
    ordering = ["tenant__name"]

    def save_model(self, request, obj, form, change):
        values = dict(form.cleaned_data)
        publishing.save(obj, by=request.user.email, based_on=values.pop("based_on"), **values)

    @admin.display(description="Colour", ordering="colour")
    def shown_colour(self, brand):
        """As a square and in words."""
        return swatch(brand.colour)
