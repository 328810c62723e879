"""Operators' pages on plans, prices and the ledger."""

from django.conf import settings
from django.contrib import admin

from metering import plans, prices
from metering.models import LedgerLine, Plan, PriceRule, Subscription
from metering.templatetags.metering import dollars
from platform_site.admin_pages import OperatorAdmin, ReadOnlyAdmin


@admin.register(Plan)
class PlanAdmin(OperatorAdmin):
    """Tiers and their allowances."""

    may_add = may_change = True
    list_display = ["name", "code", "per_hour", "per_month", "sessions", "requests", "ingest_concurrency"]
    ordering = ["tokens_per_month"]

    def get_readonly_fields(self, request, obj=None):
        return ["code"] if obj else []

    def save_model(self, request, obj, form, change):
        super().save_model(request, obj, form, change)
        plans.forget()

    @admin.display(description="Tokens an hour", ordering="tokens_per_hour")
    def per_hour(self, plan):
        """With thousands apart."""
        return f"{plan.tokens_per_hour:,}"

    @admin.display(description="Tokens a month", ordering="tokens_per_month")
    def per_month(self, plan):
        """With thousands apart."""
        return f"{plan.tokens_per_month:,}"

    @admin.display(description="API requests a minute", ordering="api_requests_per_minute")
    def requests(self, plan):
        """Of the tenant, and with one key where that is less."""
        if plan.api_requests_per_minute is None:
            return f"{settings.API_REQUESTS_PER_MINUTE:,}, as set for the installation"
        of_key = plan.api_requests_per_minute_of_key
        return f"{plan.api_requests_per_minute:,}" + (f", {of_key:,} with one key" if of_key else "")


@admin.register(Subscription)
class SubscriptionAdmin(OperatorAdmin):
    """Which tenant is on which plan. Provisioning makes the row; a change holds within some seconds."""

    may_change = True
    list_display = ["tenant", "plan", "since"]
    list_select_related = ["tenant", "plan"]
    list_filter = ["plan"]
    search_fields = ["tenant__name", "tenant__slug"]
    ordering = ["tenant__name"]
    fields = ["tenant", "plan", "since"]
    readonly_fields = ["tenant", "since"]

    def save_model(self, request, obj, form, change):
        obj.save(update_fields=["plan"])
        self.audit(request, obj, "changed", plan=obj.plan.code)
        plans.forget()


@admin.register(PriceRule)
class PriceRuleAdmin(OperatorAdmin):
    """What models cost from a day on. Lines that are in the ledger keep the cost they came with."""

    may_add = may_change = may_delete = True
    list_display = ["model", "valid_from", "input_per_million", "output_per_million"]
    search_fields = ["model"]
    ordering = ["model", "-valid_from"]

    def save_model(self, request, obj, form, change):
        super().save_model(request, obj, form, change)
        prices.forget()

    def delete_model(self, request, obj):
        super().delete_model(request, obj)
        prices.forget()


@admin.register(LedgerLine)
class LedgerAdmin(ReadOnlyAdmin):
    """Every use of a model, newest first."""

    show_full_result_count = False  # one count of the whole ledger is enough
    list_display = ["occurred_at", "tenant", "kind", "model", "tokens_in", "tokens_out", "price", "exactness"]
    list_select_related = ["tenant"]
    list_filter = ["occurred_at", "kind", "certainty"]
    search_fields = ["tenant__name", "tenant__slug", "model"]
    ordering = ["-occurred_at"]
    fields = [
        "occurred_at", "tenant", "kind", "provider", "model", "region", "input_tokens", "output_tokens",
        "cached_tokens", "certainty", "cost", "agent_id", "turn_id", "attempt", "event_id", "recorded_at",
    ]  # fmt: skip

    @admin.display(description="In", ordering="input_tokens")
    def tokens_in(self, line):
        """Tokens of the prompt."""
        return f"{line.input_tokens:,}"

    @admin.display(description="Out", ordering="output_tokens")
    def tokens_out(self, line):
        """Tokens of the answer."""
        return f"{line.output_tokens:,}"

    @admin.display(description="Count", ordering="certainty")
    def exactness(self, line):
        """Whether the provider counted, in one word."""
        return line.certainty.capitalize()

    @admin.display(description="Cost", ordering="cost")
    def price(self, line):
        """In US dollars."""
        return dollars(line.cost)
