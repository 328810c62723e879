"""JSON log records that say for whom they are. Message texts never go into a log."""

import logging
import re
from contextvars import ContextVar

from pythonjsonlogger.json import JsonFormatter as BaseFormatter

from platform_site.outage import has_gone
from tenants.context import current_or_none, is_platform

# Django and our own context name the path of what went wrong; until it is used, such a path is a way in
SECRET_OF_A_LINK = re.compile(r"(/invitation/|/password/reset/key/)[^/\s'\"]+")
request_id: ContextVar[str] = ContextVar("request_id", default="")


class ContextFilter(logging.Filter):
    """Adds tenant_id and request_id to every record. Where the work is for no tenant, a caller may name one."""

    def filter(self, record):
        ref, named = current_or_none(), getattr(record, "tenant_id", None)
        record.tenant_id = ref.id if ref else "platform" if is_platform() else named
        record.request_id = request_id.get() or None
        return True


class OutageFilter(logging.Filter):
    """A service that has gone away is named, without a traceback: it is no fault of whoever logs."""

    def filter(self, record):
        error = record.exc_info and record.exc_info[1]
        if has_gone(error):
            record.error = type(error.__cause__ or error).__name__
            record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
        return True


class JsonFormatter(BaseFormatter):
    """One JSON object a line: time, level, logger, message, tenant_id, request_id, and what the caller added."""

    def __init__(self):
        super().__init__(
            "{asctime}{levelname}{name}{message}",
            style="{",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )

    def process_log_record(self, log_data):
        """Without what libraries hang onto each record for themselves, and without the secrets of mailed links."""
        for name in ("color_message", "litellm_redacted", "request"):
            log_data.pop(name, None)
        for name, value in log_data.items():
            if isinstance(value, str):
                log_data[name] = SECRET_OF_A_LINK.sub(r"\1…", value)
        return super().process_log_record(log_data)
