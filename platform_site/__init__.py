"""Settings, entry points, and the half of every door that all apps share."""

from platform_site.celery import app as celery_app

__all__ = ["celery_app"]
