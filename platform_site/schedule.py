"""What the clock sends, and how often. A task that waits longer than it would take to send the next one is dropped."""

from datetime import timedelta


def every(task: str, *, seconds: int, expires_after: int) -> dict:
    """One entry of Celery's schedule."""
    return {"task": task, "schedule": timedelta(seconds=seconds), "options": {"expires": expires_after}}


SCHEDULE = {
    "relay usage to the ledger": every("metering.tasks.relay", seconds=2, expires_after=10),
    "find documents left behind": every("knowledge.tasks.sweep", seconds=15, expires_after=30),
    "remove expired sessions": every("platform_site.tasks.clear_sessions", seconds=24 * 3600, expires_after=3600),
    "try to get from each tenant to another": every(
        "platform_site.tasks.check_isolation", seconds=24 * 3600, expires_after=3600
    ),
    "keep room for new tenants": every("platform_site.tasks.keep_room", seconds=300, expires_after=120),
    "look for the proofs of domains": every("platform_site.tasks.check_domains", seconds=300, expires_after=240),
    "go on with moves whose process died": every("tenants.tasks.resume_moves", seconds=3, expires_after=10),
    "look after moves": every("tenants.tasks.look_after_moves", seconds=60, expires_after=120),
    "prove that a worker is alive": every("platform_site.tasks.heartbeat", seconds=5, expires_after=30),
}
