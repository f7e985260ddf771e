"""The three roles played on one puzzle, without the rest of Critic Loop.

Knows how drafts, critiques and revisions follow each other. Used to make training data and to
measure the model; a user's loop is `critic_loop.Loop`. Does not know training or statistics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from critic_loop.demo.chars import (
    MAX_REJECTED,
    Rejected,
    accepts,
    critique_prompt,
    draft_prompt,
    rejected_line,
    revise_prompt,
)
from critic_loop.demo.countdown import Puzzle, check, prompt_of
from critic_loop.demo.runtime import Runtime
from critic_loop.demo.seeds import seed_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One answer with the model's own critique of it."""

    answer: str
    critique: str
    right: bool
    """The verifier's result."""
    tokens: int
    """The number of generated tokens, answer and critique together."""

    @property
    def accepted(self) -> bool:
        """Whether the critique accepts the answer."""
        return accepts(self.critique)

    @property
    def rejected(self) -> Rejected:
        """The answer with the line that its critique rejects, for a revision's prompt."""
        return Rejected(self.answer, rejected_line(self.critique))


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """The settings of rollouts."""

    rounds: int
    """The largest number of answers per puzzle."""
    temperature: float = 1.0
    seed: int = 0
    shown: int = MAX_REJECTED
    """The number of rejected answers in a revision's prompt."""
    to_the_end: bool = False
    """Continue to revise after an answer was accepted."""


async def play(runtime: Runtime, puzzle: Puzzle, how: Play) -> list[Turn]:
    """Drafts, criticises and revises until the critic accepts or the rounds are used up."""
    turns = list[Turn]()
    for index in range(how.rounds):
        shown = [turn.rejected for turn in turns]
        prompt = revise_prompt(puzzle, shown, how.shown) if shown else draft_prompt(puzzle)
        turns.append(await take_turn(runtime, puzzle, prompt, how, index))
        if turns[-1].accepted and not how.to_the_end:
            break
    return turns


async def take_turn(runtime: Runtime, puzzle: Puzzle, prompt: str, how: Play, index: int) -> Turn:
    """Samples one answer and lets the critic judge it."""
    seed = seed_of(how.seed, prompt_of(puzzle), index)
    answer = await runtime.sample(prompt, temperature=how.temperature, seed=seed)
    critique = await runtime.sample(critique_prompt(puzzle, answer.text))
    return Turn(
        answer=answer.text,
        critique=critique.text,
        right=check(puzzle, answer.text).passed,
        tokens=len(answer.token_ids) + len(critique.token_ids),
    )


async def for_all(
    puzzles: Iterable[Puzzle], one: Callable[[Puzzle], Awaitable[T]], *, in_flight: int = 160
) -> list[T]:
    """Does the same for many puzzles at once; results are in the order of the puzzles."""
    room = asyncio.Semaphore(in_flight)

    async def held(puzzle: Puzzle) -> T:
        async with room:
            return await one(puzzle)

    return await asyncio.gather(*(held(puzzle) for puzzle in puzzles))


def play_all(runtime: Runtime, puzzles: Sequence[Puzzle], how: Play) -> list[list[Turn]]:
    """Plays many puzzles; turns are in the order of the puzzles."""
    return asyncio.run(for_all(puzzles, lambda puzzle: play(runtime, puzzle, how)))
