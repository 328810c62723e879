"""The Celery application: what the worker and the clock run."""

import os

from celery import Celery
from celery.signals import setup_logging, worker_before_create_process
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")

app = Celery("platform_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def _log_as_the_web_does(**kwargs):
    """Celery would set up its own format otherwise."""
    from logging.config import dictConfig

    dictConfig(settings.LOGGING)


@worker_before_create_process.connect
def _close_pools(**kwargs):
    """A forked child must not share its parent's sockets: the parent has none when it forks."""
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        connection.close()
        connection.close_pool()
