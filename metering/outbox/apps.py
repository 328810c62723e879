from django.apps import AppConfig


class OutboxConfig(AppConfig):
    name = "metering.outbox"
    label = "outbox"
