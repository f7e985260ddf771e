"""The last part of training: the network plays the loop itself and learns from the verdicts.

Knows policy gradients: samples of one prompt are compared with each other, those
better than their group's mean become likelier and the others less likely. Does
not know optimisers, checkpoints or stages (`train`).

Each puzzle is played like the "try-again" arm, with several samples at every
turn; one wrong sample is then rejected and shown from the next turn on. So the
network meets its own rejected attempts and is paid for what helps after them.

Source: REINFORCE with a group baseline, as in GRPO (DeepSeekMath, 2024, eq. 3),
on-policy, so without ratio, clipping or a reference network.
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

from critic_loop.demo.chars import PAD_ID, char_prompt, compact, encode
from critic_loop.demo.countdown import Puzzle, check, prompt_of
from critic_loop.demo.runtime import Runtime, Sample
from critic_loop.demo.seeds import seed_of

GROUP = 4
"""Samples of one prompt."""

TURNS = 5
"""Most turns a puzzle, so at most `TURNS - 1` rejected attempts are shown."""

REPEATED = -0.5
"""Reward of a wrong answer that was rejected before; wrong otherwise is 0, right is 1."""

_SPREAD_FLOOR = 0.1
_TEMPERATURE = 1.0


@dataclass(frozen=True, slots=True)
class Graded:
    """A sample and how much better than its group it was."""

    prompt_ids: list[int]
    answer_ids: tuple[int, ...]
    advantage: float

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


def reward_of(puzzle: Puzzle, answer: str, rejected: Sequence[str]) -> float:
    """Returns 1 for a right answer, less for a repeated wrong one than for a new one."""
    if check(puzzle, answer).passed:
        return 1.0
    return REPEATED if compact(answer) in map(compact, rejected) else 0.0


def graded(prompt: str, samples: Sequence[Sample], rewards: Sequence[float]) -> Iterator[Graded]:
    """Yields a group's samples, or none if they are equally good."""
    mean, spread = fmean(rewards), pstdev(rewards)
    if spread == 0:
        return
    for sample, reward in zip(samples, rewards, strict=True):
        advantage = (reward - mean) / (spread + _SPREAD_FLOOR)
        yield Graded(encode(prompt), sample.token_ids, advantage)


async def play(runtime: Runtime, puzzle: Puzzle, seed: int) -> list[Graded]:
    """Plays one puzzle and returns what there is to learn from it."""
    rng, rejected, learnt = random.Random(seed), list[str](), list[Graded]()  # noqa: S311
    for turn in range(TURNS):
        prompt = char_prompt(puzzle, rejected)
        seeds = (seed_of(seed, prompt_of(puzzle), turn, index) for index in range(GROUP))
        samples = await asyncio.gather(
            *(runtime.sample(prompt, temperature=_TEMPERATURE, seed=one) for one in seeds)
        )
        rewards = [reward_of(puzzle, sample.text, rejected) for sample in samples]
        learnt.extend(graded(prompt, samples, rewards))
        wrong = [s.text for s, reward in zip(samples, rewards, strict=True) if reward < 1]
        if not wrong:
            break
        rejected.append(rng.choice(wrong))
    return learnt


async def play_all(runtime: Runtime, puzzles: Sequence[Puzzle], seed: int) -> list[Graded]:
    """Plays many puzzles at once."""
    played = await asyncio.gather(
        *(play(runtime, puzzle, seed_of(seed, index)) for index, puzzle in enumerate(puzzles))
    )
    return [sample for group in played for sample in group]


def batch_of(samples: Sequence[Graded], rows: int, length: int) -> GradedBatch:
    """Pads samples on the right, and to `rows` rows with empty ones that teach nothing."""
    ids = torch.full((rows, length), PAD_ID)
    labels, advantages = torch.zeros_like(ids), torch.zeros(rows, length)
    for row, sample in enumerate(samples):
        whole = torch.tensor([*sample.prompt_ids, *sample.answer_ids])
        start, end = len(sample.prompt_ids) - 1, len(whole) - 1
        ids[row, :end] = whole[:-1]
        labels[row, start:end] = whole[start + 1 :]
        advantages[row, start:end] = sample.advantage
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
