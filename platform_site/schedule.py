"""What the clock (Celery beat) sends, and how often. Every task is safe to run twice."""

SCHEDULE = {
    "heartbeat": {"task": "platform_site.tasks.heartbeat", "schedule": 5.0, "options": {"expires": 30}},
    "relay usage": {"task": "metering.tasks.relay", "schedule": 2.0, "options": {"expires": 30}},
    "sweep documents": {"task": "knowledge.tasks.sweep", "schedule": 15.0, "options": {"expires": 60}},
}
