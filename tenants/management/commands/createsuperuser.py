"""Django's `createsuperuser`, as platform work: operators live in ``public``."""

from django.contrib.auth.management.commands.createsuperuser import Command as DjangoCommand

from tenants.context import acting_for_platform


class Command(DjangoCommand):
    """Makes an operator."""

    def execute(self, *args, **options):
        with acting_for_platform("createsuperuser"):
            return super().execute(*args, **options)
