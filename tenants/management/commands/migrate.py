"""Django's own `migrate`: django-tenants ships another under this name, which migrates one alias only."""

from django.core.management.commands.migrate import Command

__all__ = ["Command"]
