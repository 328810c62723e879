"""One of several processes that spend one allowance: ``python -m tests.metering.spending TENANT TIMES``.

Asks for one token TIMES times and prints how often it was granted. Each is a process of its own, not a fork of the
tests': a fork inherits locks that threads were holding.
"""

import os
import sys
from uuid import uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "platform_site.settings")
django.setup()

from metering import limits  # noqa: E402
from metering.errors import LimitReached  # noqa: E402
from tenants.context import acting_for  # noqa: E402
from tenants.models import Tenant  # noqa: E402


def main() -> None:
    """Spend."""
    tenant, times = Tenant.objects.get(pk=int(sys.argv[1])).ref(), int(sys.argv[2])
    conversation = uuid4()
    with acting_for(tenant):
        sys.stdout.write(str(sum(_granted(conversation) for _ in range(times))))


def _granted(conversation) -> bool:
    try:
        limits.reserve(turn_id=uuid4(), conversation_id=conversation, tokens=1)
    except LimitReached:
        return False
    return True


if __name__ == "__main__":
    main()
