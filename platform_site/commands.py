"""What the commands of all apps share: for whom they work, and how a refusal is told."""

from django.core.management.base import BaseCommand, CommandError

from platform_site.errors import PlatformError
from tenants.context import acting_for_platform


class PlatformCommand(BaseCommand):
    """A command that works for the platform: subclasses say what it does in ``work``.

    A PlatformError becomes one line and status 1.
    """

    @property
    def by(self) -> str:
        """How the audit trail names it."""
        return f"manage.py {self.__module__.rpartition('.')[2]}"

    def handle(self, *args, **options):
        try:
            with acting_for_platform(self.by):
                self.work(**options)
        except PlatformError as error:
            raise CommandError(str(error)) from None

    def work(self, **options) -> None:
        """Do it, with the options by name."""
        raise NotImplementedError
