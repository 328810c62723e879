"""Operators: who may sign in to the admin, and what they changed in it. Tenants' staff are not here."""

from django import forms
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import BaseUserCreationForm

from platform_site.admin_pages import OperatorAdmin, ReadOnlyAdmin, pill
from tenants.accounts.models import User


class OperatorCreationForm(BaseUserCreationForm):
    """A new operator and a first password."""

    class Meta:
        model = User
        fields = ["email", "name"]

    def clean_email(self) -> str:
        """In lower case, and not there yet."""
        email = self.cleaned_data["email"].lower()
        if User.objects.filter(email__iexact=email).exists():
            raise forms.ValidationError("There is an operator with this address already.")
        return email

    def save(self, commit=True):
        """Every account made here is an operator's."""
        self.instance.is_staff = self.instance.is_superuser = True
        return super().save(commit)


@admin.register(User)
class OperatorsAdmin(OperatorAdmin, UserAdmin):
    """Whoever leaves is deactivated, not removed: what they did stays signed."""

    may_add = may_change = True
    add_form = OperatorCreationForm
    fieldsets = [(None, {"fields": ["email", "name", "password", "is_active", "last_login", "created_at"]})]
    add_fieldsets = [(None, {"fields": ["email", "name", "password1", "password2"]})]
    readonly_fields = ["last_login", "created_at"]
    list_display = ["email", "name", "status", "last_login"]
    list_filter = ["is_active"]
    filter_horizontal = []
    search_fields = ["email", "name"]
    ordering = ["email"]

    def get_queryset(self, request):
        return super().get_queryset(request).filter(role="")

    @admin.display(description="Status", ordering="is_active")
    def status(self, user):
        """Whether they can sign in."""
        return pill("Active", "ok") if user.is_active else pill("Deactivated")


@admin.register(LogEntry)
class LogAdmin(ReadOnlyAdmin):
    """Every change made in this admin, by whom."""

    show_full_result_count = False
    list_display = ["action_time", "user", "content_type", "object_repr", "what"]
    list_select_related = ["user", "content_type"]
    list_filter = ["action_time"]
    search_fields = ["object_repr"]
    ordering = ["-action_time"]
    fields = ["action_time", "user", "content_type", "object_repr", "what"]

    @admin.display(description="Change")
    def what(self, entry):
        """The change in words."""
        return entry.get_change_message() or entry.get_action_flag_display()
