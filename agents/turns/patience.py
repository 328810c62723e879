"""Waits for a database that is away: whoever asked is being answered, and an answer that is made has been paid for."""

import asyncio
import logging
from collections.abc import Callable

from django.db import OperationalError

from tenants.context import TenantRef, run_for

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 0.5
OPENING_SECONDS = 3  # for a question, whose page keeps it until it is stored
ASKING_SECONDS = 60  # for what an answer needs
STORING_SECONDS = 600  # for what it has become


async def run(
    tenant: TenantRef, verb: Callable, /, *args, seconds: float = ASKING_SECONDS, wanted: Callable = lambda: True
):
    """``run_for``, begun again while the tenant's database is away: the verb must be safe to repeat.

    wanted  False: try no more
    Raises  OperationalError  it stayed away for that long
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        try:
            return await run_for(tenant, verb, *args)
        except OperationalError as error:
            if not wanted() or loop.time() > deadline:
                raise
            logger.warning("database away or busy", extra={"error": type(error.__cause__ or error).__name__})
        await asyncio.sleep(AGAIN_SECONDS)
