"""Lane utilisation: the duration of a whole loop under virtual time, compared with ideal list scheduling.

    python benchmarks/lanes.py [--searches sample mcts] [--lanes 8] [--attempts 128] [--seeds 20] [--json]

A scripted model answers each call after a random, exponentially distributed time with a mean of one second.
The ideal schedule assigns the same times, in the same order, each to the lane that is free first. 1.0 = no
lane waited for another one. Virtual time takes no real time: the loop's own computation is not measured.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import random
from statistics import median

import critic_loop as cl
from critic_loop.assets import Library
from critic_loop.search import build
from critic_loop.testing import ScriptedModel, run_virtual

SETTINGS: dict[str, dict[str, object]] = {
    "sample": {},
    "mcts": {"width": 4},
    "ab-mcts": {},
    "evolve": {"epochs": 16, "size": 8, "inspiring": 4, "avoided": 0},
}
"""Searches without barriers, with their settings besides `n`."""


@cl.verifier
def by_digits(view: cl.View[str]) -> float:
    """Score an answer by a random number below 1 that is seeded with it."""
    return random.Random(view.answer).random() * 0.99


def ideal(times_s: list[float], lanes: int) -> float:
    """Return the end of list scheduling in seconds: each call is assigned to the lane that is free first."""
    free_at = [0.0] * lanes
    for time_s in times_s:
        heapq.heappush(free_at, heapq.heappop(free_at) + time_s)
    return max(free_at)


async def ended_at(search: str, times_s: list[float], lanes: int) -> float:
    """Run a loop until there is an attempt for each of the times; return its duration in virtual seconds."""
    calls = iter(range(len(times_s)))
    waits = iter(times_s)
    actor = ScriptedModel(lambda _: f"answer {next(calls)}", latency_s=lambda _: next(waits))
    many = {} if "epochs" in SETTINGS.get(search, {}) else {"n": len(times_s)}
    settings = {**many, **SETTINGS.get(search, {})}
    recipe = Library().recipe("best-of-n").model_copy(update={"actor": "actor/variation"})
    loop = cl.Loop(
        recipe,
        actor=actor,
        verifiers=[by_digits],
        search=build([(search, settings)]),
        lanes=lanes,
        max_calls=len(times_s),
    )
    began = asyncio.get_running_loop().time()
    async with loop:
        result = await loop.run("x")
    assert len(result.tree) == len(times_s), f"{len(result.tree)} of {len(times_s)} attempts: {result.stop}"
    return asyncio.get_running_loop().time() - began


def share(search: str, seed: int, lanes: int, attempts: int) -> float:
    """Return the loop's duration divided by the ideal one."""
    rng = random.Random(seed)
    times_s = [rng.expovariate(1.0) for _ in range(attempts)]
    return run_virtual(ended_at(search, times_s, lanes)) / ideal(times_s, lanes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--searches", nargs="+", default=list(SETTINGS))
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--attempts", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = {}
    for search in given.searches:
        shares = [share(search, seed, given.lanes, given.attempts) for seed in range(given.seeds)]
        rows[search] = {"median": median(shares), "worst": max(shares)}
        if not given.json:
            print(f"{search:<10} median {rows[search]['median']:.3f}  worst {rows[search]['worst']:.3f}")
    if given.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
