"""Sizes and times as people read them: on pages, in letters and at a terminal."""

from datetime import UTC, datetime


def megabytes(size: float) -> str:
    """123456789 as 123.5 MB; small sizes in kB."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def minute(at: datetime) -> str:
    """A moment as 1 March 2026, 09:05 UTC."""
    return f"{at.astimezone(UTC):%-d %B %Y, %H:%M} UTC"


def duration(seconds: float) -> str:
    """65 as 1 min 5 s"""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "under a second"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
