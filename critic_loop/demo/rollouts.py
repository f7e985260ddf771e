"""The two arms of the demonstration, without the rest of Critic Loop.

Knows how to ask the model for one puzzle again and again until an answer
verifies, showing it its rejected attempts or not. Used to make training data
and to measure; a user's loop is `critic_loop.Loop`. Does not know training or
statistics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from critic_loop.demo.chars import char_prompt
from critic_loop.demo.countdown import Check, Puzzle, check, prompt_of
from critic_loop.demo.runtime import Runtime
from critic_loop.demo.seeds import seed_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How each puzzle is tried."""

    calls: int
    temperature: float
    show_rejected: bool
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What came of one puzzle."""

    puzzle: Puzzle
    rejected: tuple[str, ...]
    checks: tuple[Check, ...]
    """Why each rejected attempt was rejected."""
    solved: bool


async def roll(runtime: Runtime, puzzle: Puzzle, plan: Plan) -> Rollout:
    """Tries a puzzle up to `plan.calls` times; both arms begin with the same draft."""
    rejected, checks = list[str](), list[Check]()
    for call in range(plan.calls):
        shown = rejected if plan.show_rejected else ()
        sample = await runtime.sample(
            char_prompt(puzzle, shown),
            temperature=plan.temperature,
            seed=seed_of(plan.seed, prompt_of(puzzle), call),
        )
        found = check(puzzle, sample.text)
        if found.passed:
            return Rollout(puzzle=puzzle, rejected=tuple(rejected), checks=tuple(checks), solved=True)
        rejected.append(sample.text)
        checks.append(found)
    return Rollout(puzzle=puzzle, rejected=tuple(rejected), checks=tuple(checks), solved=False)


async def roll_all(
    runtime: Runtime, puzzles: Sequence[Puzzle], plan: Plan, *, in_flight: int = 256
) -> list[Rollout]:
    """Tries many puzzles at once; results are in the order of the puzzles."""
    room = asyncio.Semaphore(in_flight)

    async def one(puzzle: Puzzle) -> Rollout:
        async with room:
            return await roll(runtime, puzzle, plan)

    return await asyncio.gather(*(one(puzzle) for puzzle in puzzles))
