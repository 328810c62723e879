"""Secrets in links that are mailed."""

from django.contrib.auth.tokens import PasswordResetTokenGenerator

from tenants.context import current, is_platform


class ResetToken(PasswordResetTokenGenerator):
    """Works once, for an hour, for one person, at one tenant: an equal row elsewhere does not make it valid there."""

    def _make_hash_value(self, user, timestamp):
        place = "platform" if is_platform() else str(current().id)
        return f"{place}:{super()._make_hash_value(user, timestamp)}"
