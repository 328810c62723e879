"""What metering refuses."""

from platform_site.errors import PlatformError, Refused


class LimitReached(PlatformError):
    """An allowance of the tenant's plan is used up; nothing was claimed.

    details  what (tokens_per_hour, tokens_per_month, sessions), until (ISO time), retry_after (seconds)
    """

    code, status, text = "limit_reached", 429, "The plan's allowance is used up for now."


class NoPlan(Refused):
    """The tenant has no subscription."""

    code, text = "no_plan", "This organisation has no plan yet."
