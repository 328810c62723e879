"""Secrets in links that are mailed."""

from allauth.account.forms import EmailAwarePasswordResetTokenGenerator

from tenants.context import current, is_platform


class ResetToken(EmailAwarePasswordResetTokenGenerator):
    """Works once, for an hour, for one person, and at one tenant: equal rows elsewhere do not make it valid there."""

    def _make_hash_value(self, user, timestamp):
        place = "platform" if is_platform() else str(current().id)
        return f"{place}:{super()._make_hash_value(user, timestamp)}"
