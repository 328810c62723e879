"""litellm as its manual shows it, in a process of its own, to compare with: ``python -m tests.load.plain_sdk``.

Each line of input is the JSON of acompletion's arguments; each line of output is ``{"first_ms", "cpu_ms"}``.
With ``--many`` the input is ``{"parallel", "turns", "arguments"}``: so many answers at once, each after the other.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # noqa: E402  reads the variable

from tests.load import arrivals  # noqa: E402


async def first_token(arguments: dict) -> dict:
    """Milliseconds to the first text, and of processor time for the whole answer."""
    started, cpu, first = time.perf_counter(), time.process_time(), None
    async for chunk in await litellm.acompletion(**arguments, stream=True, stream_options={"include_usage": True}):
        if first is None and chunk.choices and chunk.choices[0].delta.content:
            first = time.perf_counter() - started
    return {"first_ms": first * 1000, "cpu_ms": (time.process_time() - cpu) * 1000}


async def main() -> None:
    """Answer line by line, all on one loop, so that connections are kept."""
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await first_token(json.loads(line))), flush=True)


async def many(parallel: int, turns: int, arguments: dict) -> dict:
    """Milliseconds to the first text of each answer, and what all cost together."""
    await first_token(arguments)
    cpu, started = time.process_time(), time.perf_counter()

    async def one_after_the_other() -> list[float]:
        firsts = []
        for n in range(turns):
            await arrivals.moment(n)
            firsts.append((await first_token(arguments))["first_ms"])
        return firsts

    firsts = [
        first for some in await asyncio.gather(*(one_after_the_other() for _ in range(parallel))) for first in some
    ]
    seconds, lines = time.perf_counter() - started, Path("/proc/self/status").read_text().splitlines()
    memory_kb = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    cpu_ms = (time.process_time() - cpu) * 1000
    return {"firsts_ms": firsts, "cpu_ms": cpu_ms, "seconds": seconds, "memory_mb": memory_kb / 1024}


if __name__ == "__main__":
    if sys.argv[1:] == ["--many"]:
        print(json.dumps(asyncio.run(many(**json.load(sys.stdin)))))
    else:
        asyncio.run(main())
