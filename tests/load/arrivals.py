"""When visitors ask: each at a moment of their own, or all in step.

Who begins together and is answered at one pace asks the next question together, too; fifty people do not.
"""

import asyncio
import random

TURN_SECONDS = 0.75  # of the stand-in's answer, about
PAUSE_SECONDS = 0.1  # between an answer and the next question, at most


async def moment(n: int, *, in_step: bool = False) -> None:
    """Wait for the moment of one visitor's n-th question, counted from 0."""
    if not in_step:
        await asyncio.sleep(random.uniform(0, PAUSE_SECONDS if n else TURN_SECONDS))
