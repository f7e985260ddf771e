"""The last part of training: the network plays the loop itself and learns from the verdicts.

Knows policy gradients: samples of one prompt are compared with each other, those better than their
group's mean become likelier and the others less likely. Does not know optimisers, checkpoints or
stages (`train`).

Each puzzle is played as a user's loop plays it, draft, critique, revision, but with several samples at
every turn; one wrong sample is then judged by the network's own critic and shown from the next turn on.
So the reviser meets its own mistakes and its own critic's, and is paid for what helps after them.

A wrong answer is worth the share of its lines after which the target could still be reached, halved, and
the blame falls on the first bad line alone: what comes before it was right, what comes after it hopeless.

Source: REINFORCE with a group baseline, as in GRPO (DeepSeekMath, 2024, eq. 3), on-policy, so without
ratio, clipping or a reference network; the credit by lines is ours and needs the exact solver.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

import torch
from torch import Tensor
from torch.nn import functional

from critic_loop.demo.chars import (
    PAD_ID,
    Rejected,
    critique_prompt,
    draft_prompt,
    encode,
    rejected_line,
    revise_prompt,
)
from critic_loop.demo.corpus import Chain
from critic_loop.demo.countdown import Puzzle, check, prompt_of
from critic_loop.demo.reach import judge
from critic_loop.demo.runtime import Runtime, Sample
from critic_loop.demo.seeds import seed_of

GROUP = 4
"""Samples of one prompt."""

TURNS = 4
"""Most turns a puzzle, so at most `TURNS - 1` rejected answers are shown."""

WRONG_AT_MOST = 0.5
"""Reward of a wrong answer whose lines but the last were all good; right is 1."""

_SPREAD_FLOOR = 0.1
_TEMPERATURE = 1.0


@dataclass(frozen=True, slots=True)
class Graded:
    """A sample and how much each of its tokens is to become likelier."""

    prompt_ids: list[int]
    answer_ids: tuple[int, ...]
    advantages: list[float]

    @property
    def length(self) -> int:
        """Positions that it takes in a batch."""
        return len(self.prompt_ids) + len(self.answer_ids) - 1


@dataclass(frozen=True, slots=True)
class GradedBatch:
    """Token ids and labels `[B, T]`, and advantages `[B, T]` that are 0 off the answers."""

    token_ids: Tensor
    labels: Tensor
    advantages: Tensor


@dataclass(frozen=True, slots=True)
class _Marked:
    """A sample, its reward and its first bad line, counted from 0; None if it is right."""

    sample: Sample
    reward: float
    bad_line: int | None


def marked(puzzle: Puzzle, sample: Sample) -> _Marked:
    """Judges a sample by the solver."""
    if check(puzzle, sample.text).passed:
        return _Marked(sample, 1.0, None)
    found = judge(puzzle, sample.text)
    bad = next((index for index, fine in enumerate(found) if not fine), len(found))
    return _Marked(sample, WRONG_AT_MOST * bad / (len(puzzle.numbers) - 1), bad)


def graded(prompt: str, samples: Sequence[_Marked]) -> Iterator[Graded]:
    """Yields a group's samples, or none if they are equally good."""
    rewards = [one.reward for one in samples]
    mean, spread = fmean(rewards), pstdev(rewards)
    if spread == 0:
        return
    for one in samples:
        advantage = (one.reward - mean) / (spread + _SPREAD_FLOOR)
        yield Graded(encode(prompt), one.sample.token_ids, _by_token(one, advantage))


def _by_token(one: _Marked, advantage: float) -> list[float]:
    """Spreads an advantage over the tokens: praise on good lines, blame on the first bad one."""
    newline, line, shares = encode("\n")[0], 0, list[float]()
    for token in one.sample.token_ids:
        if one.bad_line is None or line < one.bad_line:
            shares.append(max(advantage, 0.0))
        else:
            shares.append(min(advantage, 0.0) if line == one.bad_line else 0.0)
        line += token == newline
    return shares


@dataclass(frozen=True, slots=True)
class Lesson:
    """What there is to learn from playing one puzzle."""

    graded: list[Graded]
    answers: Chain
    """Wrong answers with the line that the network's own critic objected to, and right ones without."""


async def play(runtime: Runtime, puzzle: Puzzle, seed: int) -> Lesson:
    """Plays one puzzle."""
    rng, shown, learnt, answers = random.Random(seed), list[Rejected](), list[Graded](), list[Rejected]()  # noqa: S311
    for turn in range(TURNS):
        prompt = revise_prompt(puzzle, shown) if shown else draft_prompt(puzzle)
        seeds = (seed_of(seed, prompt_of(puzzle), turn, index) for index in range(GROUP))
        samples = await asyncio.gather(
            *(runtime.sample(prompt, temperature=_TEMPERATURE, seed=one) for one in seeds)
        )
        group = [marked(puzzle, sample) for sample in samples]
        learnt.extend(graded(prompt, group))
        right = [one.sample.text for one in group if one.bad_line is None]
        wrong = [one.sample.text for one in group if one.bad_line is not None]
        answers.extend(Rejected(text) for text in right[:1])
        if not wrong:
            break
        answer = rng.choice(wrong)
        critique = await runtime.sample(critique_prompt(puzzle, answer))
        shown.append(Rejected(answer, rejected_line(critique.text)))
        answers.append(shown[-1])
    return Lesson(learnt, Chain(puzzle=puzzle, answers=tuple(answers)))


async def play_all(runtime: Runtime, puzzles: Sequence[Puzzle], seed: int) -> list[Lesson]:
    """Plays many puzzles at once."""
    return await asyncio.gather(
        *(play(runtime, puzzle, seed_of(seed, index)) for index, puzzle in enumerate(puzzles))
    )


def batch_of(samples: Sequence[Graded], rows: int, length: int) -> GradedBatch:
    """Pads samples on the right, and to `rows` rows with empty ones that teach nothing."""
    ids = torch.full((rows, length), PAD_ID)
    labels, advantages = torch.zeros_like(ids), torch.zeros(rows, length)
    for row, sample in enumerate(samples):
        whole = torch.tensor([*sample.prompt_ids, *sample.answer_ids])
        start, end = len(sample.prompt_ids) - 1, len(whole) - 1
        ids[row, :end] = whole[:-1]
        labels[row, start:end] = whole[start + 1 :]
        advantages[row, start:end] = torch.tensor(sample.advantages)
    return GradedBatch(ids, labels, advantages)


def batches(samples: Sequence[Graded], lengths: Sequence[int], batch_tokens: int) -> Iterator[GradedBatch]:
    """Groups samples by length into batches of few fixed shapes; the too long are left out."""
    waiting: dict[int, list[Graded]] = {length: [] for length in lengths}
    for sample in samples:
        length = next((n for n in lengths if sample.length <= n), None)
        if length is not None:
            waiting[length].append(sample)
    for length, group in waiting.items():
        rows = batch_tokens // length
        for first in range(0, len(group), rows):
            yield batch_of(group[first : first + rows], rows, length)


def policy_loss(logits: Tensor, batch: GradedBatch) -> Tensor:
    """Returns the summed surrogate loss, whose gradient is the policy gradient."""
    flat = functional.cross_entropy(logits.float().flatten(0, 1), batch.labels.flatten(), reduction="none")
    return (flat * batch.advantages.flatten()).sum()
