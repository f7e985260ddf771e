"""A refinement job in a process of its own, to be killed: python -m tests.resume.job URL STORE TASKS LANES."""

from __future__ import annotations

import asyncio
import sys

import critic_loop as cl

ROUNDS = 3


def loop(url: str, store: str, lanes: int) -> cl.Loop[str]:
    """Three rounds of draft and critique by models whose replies follow from what they are asked."""
    spec = f"chat:test@{url}"
    recipe = "refine" if lanes == 1 else "parallel-refine"
    stop = cl.MaxRounds(ROUNDS) if lanes == 1 else cl.Verified()
    return cl.Loop(recipe, actor=spec, critic=spec, verifiers=[], stop=stop, lanes=lanes, store=store)


async def main(url: str, store: str, tasks: int, lanes: int) -> None:
    """Run the job to its end and say so."""
    async with loop(url, store, lanes) as running:
        async for _ in running.map((f"task {n}" for n in range(tasks)), in_flight=16):
            pass
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
