"""Critiques made of log-probabilities: nothing is written, given texts are weighed.

Knows formulas. Does not know which texts are weighed (`prompts/`) nor how log-probabilities are had (`models`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import JsonValue

from critic_loop.core.records import Feedback, Verdict

Weights: TypeAlias = Sequence[Sequence[float]]
"""For each text, the log-probability of each of its tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood:
    """How the log-probabilities of texts become feedback."""

    name: str
    blocks: tuple[str, ...]
    """The prompt's blocks whose lines are the texts that speak for and against; none = the task is weighed."""
    judge: Callable[[Weights, Weights], Feedback]
    """From the texts that speak for the answer and those against it."""


def p_yes(likely: Weights, unlikely: Weights) -> Feedback:
    """Return P(yes) / (P(yes) + P(no)): a score with a verdict, its confidence the larger share.

    Source: UniEval (2022), section 3. There the first token decides; here a word of several tokens counts
    whole, and several spellings add up.
    """
    totals = [sum(text) for text in (*likely, *unlikely)]
    highest = max(totals)
    if highest == -math.inf:
        return Feedback.abstain("none of the texts has any probability")
    shares = [math.exp(total - highest) for total in totals]
    p = sum(shares[: len(likely)]) / sum(shares)
    verdict = Verdict.PASS if p >= 0.5 else Verdict.FAIL
    return Feedback(score=p, verdict=verdict, confidence=max(p, 1 - p), data=_data(likely, unlikely))


def follow_up(likely: Weights, unlikely: Weights) -> Feedback:
    """Return how much likelier good follow-ups are than bad ones, as a score: 0.5 = equally likely.

    Source: follow-up likelihood as reward (FLR, 2024): the log-probabilities of good follow-ups less those of
    bad ones. There they are summed up, which saturates any score in [0, 1]; here each text counts by its mean
    per token, and the sets by their means. The sums are in `data`.
    """
    good, bad = _mean([_mean(text) for text in likely]), _mean([_mean(text) for text in unlikely])
    if math.inf in (abs(good), abs(bad)):
        return Feedback.abstain("a follow-up has no probability at all")
    return Feedback(score=_sigmoid(good - bad), data=_data(likely, unlikely))


def reverse(likely: Weights, unlikely: Weights) -> Feedback:
    """Return how likely the task is, given the answer: the mean probability per token (geometric), no verdict.

    Source: time-reversed language models (TRLM, 2024): answers are ranked by log P(query | answer), which is
    in `data`; within one task both rank alike.
    """
    return Feedback(score=math.exp(_mean([x for text in likely for x in text])), data=_data(likely, unlikely))


LIKELIHOODS = {
    output.name: output
    for output in (
        Likelihood(name="p-yes", blocks=("likely", "unlikely"), judge=p_yes),
        Likelihood(name="follow-up-likelihood", blocks=("likely", "unlikely"), judge=follow_up),
        Likelihood(name="reverse-likelihood", blocks=(), judge=reverse),
    )
}
"""By their names in specs."""


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _data(likely: Weights, unlikely: Weights) -> dict[str, JsonValue]:
    """Return the log-probability of each text; one that is infinite is no JSON, and null."""
    sets = {"likely": likely, "unlikely": unlikely}
    return {name: [_finite(sum(text)) for text in texts] for name, texts in sets.items() if texts}


def _finite(x: float) -> JsonValue:
    return x if math.isfinite(x) else None
