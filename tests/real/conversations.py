"""Prompts of the demo's model for every role and level, each with the conversation that it stands for."""

from __future__ import annotations

import asyncio
import itertools
import random
from pathlib import Path

from critic_loop.assets import Library
from critic_loop.core.messages import Message, assistant, system, user
from critic_loop.core.records import Feedback, Verdict
from critic_loop.demo.chars import Rejected, critique_prompt, draft_prompt, revise_prompt
from critic_loop.demo.countdown import EASY, HARD, Puzzle, moves, prompt_of, sample_puzzles, trace_text
from critic_loop.demo.runtime import Runtime, Sample
from critic_loop.roles.texts import feedback_values

PUZZLES_A_LEVEL = 84
NEW_TOKENS = 96


def trace(rng: random.Random, puzzle: Puzzle) -> str:
    """Return legal steps down to one number, which is hardly ever the target."""
    left, steps = puzzle.numbers, []
    while len(left) > 1:
        step, left = rng.choice(list(moves(left)))
        steps.append(step)
    return trace_text(puzzle.numbers, steps)


def cases() -> list[tuple[str, tuple[Message, ...]]]:
    """Return prompts, each with its conversation as the recipes write it."""
    critic, actor = Library().prompt("critic/countdown.md"), Library().prompt("actor/countdown.md")
    rng, made = random.Random(5), []
    puzzles = itertools.chain.from_iterable(sample_puzzles(7, PUZZLES_A_LEVEL, level) for level in (EASY, HARD))
    for puzzle in puzzles:
        answer, task = trace(rng, puzzle), prompt_of(puzzle)
        line = rng.randint(1, len(answer.splitlines()))
        told = f"Line 1: right, reachable (90%)\nLine {line}: wrong (99%)\nVerdict: wrong (99%)"
        values = {"task": task, "answer": answer, "feedback": [feedback_values(said(told))]}
        opening = (system(actor.render("system", values, "key")), user(task))
        judged = (
            system(critic.render("system", values, "key")),
            user(critic.render("user", values, "key")),
        )
        revised = (*opening, assistant(answer), user(actor.render("feedback", values, "key")))
        made += [
            (draft_prompt(puzzle), opening),
            (critique_prompt(puzzle, answer), judged),
            (revise_prompt(puzzle, [Rejected(answer, line)]), revised),
        ]
    return made


def said(text: str) -> Feedback:
    return Feedback(source="critic", author="critic/countdown", verdict=Verdict.FAIL, text=text)


def samples(prompts: list[str], weights: Path | None = None) -> list[Sample]:
    """Return the greedy answers of the embedded model."""

    async def all_of_them(runtime):
        return await asyncio.gather(*(runtime.sample(p, max_tokens=NEW_TOKENS) for p in prompts))

    with Runtime(weights) as runtime:
        return asyncio.run(all_of_them(runtime))
