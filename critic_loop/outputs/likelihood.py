"""Critiques computed from the log-probabilities of given texts; the model writes nothing.

Knows the formulas. Does not know which texts are scored (`prompts/`) or how a model scores them (`models`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import JsonValue

from critic_loop.core.records import Feedback, Verdict

Weights: TypeAlias = Sequence[Sequence[float]]
"""The log-probability of each token (natural logarithm), for each text: `[texts][tokens]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood:
    """A critique format that converts log-probabilities of texts to feedback."""

    name: str
    blocks: tuple[str, ...]
    """The prompt's blocks with the texts for and against the answer, one a line; empty = the task is scored."""
    judge: Callable[[Weights, Weights], Feedback]
    """Returns the feedback for the log-probabilities of the texts for the answer and those against it."""


def p_yes(likely: Weights, unlikely: Weights) -> Feedback:
    """Return P(yes) / (P(yes) + P(no)) as a score in [0, 1]; PASS from 0.5 on, confidence max(p, 1 - p).

    Source: UniEval (2022), section 3. There the first token decides. Here all tokens of a word count, and the
    probabilities of several spellings are added.
    """
    totals = [sum(text) for text in (*likely, *unlikely)]
    highest = max(totals)
    if highest == -math.inf:
        return Feedback.abstain("all texts have probability 0")
    shares = [math.exp(total - highest) for total in totals]
    p = sum(shares[: len(likely)]) / sum(shares)
    verdict = Verdict.PASS if p >= 0.5 else Verdict.FAIL
    return Feedback(score=p, verdict=verdict, confidence=max(p, 1 - p), data=_data(likely, unlikely))


def follow_up(likely: Weights, unlikely: Weights) -> Feedback:
    """Return how much more likely good follow-ups are than bad ones, as a score in [0, 1]; 0.5 = equally.

    The score is the sigmoid of the difference of the means. No verdict.

    Source: follow-up likelihood as reward (FLR, 2024): the log-probabilities of good follow-ups minus those of
    bad ones. There they are summed, which saturates a score in [0, 1]. Here a text counts by its mean per
    token, and a set by the mean of its texts. The sums are in `data`.
    """
    good, bad = _mean([_mean(text) for text in likely]), _mean([_mean(text) for text in unlikely])
    if math.inf in (abs(good), abs(bad)):
        return Feedback.abstain("a follow-up has probability 0")
    return Feedback(score=_sigmoid(good - bad), data=_data(likely, unlikely))


def reverse(likely: Weights, unlikely: Weights) -> Feedback:
    """Return the likelihood of the task given the answer: the geometric mean probability per token. No verdict.

    Source: time-reversed language models (TRLM, 2024): answers are ranked by log P(query | answer), which is
    in `data`. Within one task both give the same ranking.
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
"""The built-in formats by their names in specs."""


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _data(likely: Weights, unlikely: Weights) -> dict[str, JsonValue]:
    """Return the log-probability of each text; null where it is infinite, which JSON does not allow."""
    sets = {"likely": likely, "unlikely": unlikely}
    return {name: [_finite(sum(text)) for text in texts] for name, texts in sets.items() if texts}


def _finite(x: float) -> JsonValue:
    return x if math.isfinite(x) else None
