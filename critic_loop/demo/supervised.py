"""Batches and loss of supervised training.

Knows tensors, padding and what an example asks for. Does not know where examples come from
(`corpus`) or how the network is changed (`train`).

Three things are special about critiques. Their verdicts weigh more than their wording, of which
nothing is to be learnt. The truth about a line is asked for twice: in the critique, and where the
line ends in the prompt, which is where the network can work it out. And confidences are not given:
the network is to name the probability that it gave to the verdict before, in the classes of
`PERCENTS`; as that probability is trained on the truth, so is the word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from critic_loop.demo.chars import (
    ANSWER_VERDICT_IDS,
    CONFIDENCE_IDS,
    END_ID,
    LINE_VERDICT_IDS,
    PAD_ID,
    PERCENTS,
    decode,
    encode,
)
from critic_loop.demo.corpus import Example
from critic_loop.demo.countdown import is_right

IGNORED = -100
VERDICT_WEIGHT = 4.0
WORDING_WEIGHT = 0.3
ARITHMETIC_WEIGHT = 0.5
LENGTHS: tuple[int, ...] = (40, 52, 64, 80, 96, 128, 176)
"""Batches are padded to one of these, so few shapes are compiled."""

_CRITIQUE_ID, _NEWLINE_ID, _EQUALS_ID = *encode("<critique>"), *encode("\n"), *encode("=")
_VERDICT_IDS = (*LINE_VERDICT_IDS, *ANSWER_VERDICT_IDS)
_SHARES = torch.tensor(PERCENTS) / 100


Labelled: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]
"""Token ids, labels and weights of one example, all of one length."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids, next-token labels and the labels' weights, all `[B, T]`."""

    token_ids: Tensor
    labels: Tensor
    weights: Tensor


def labelled(example: Example) -> Labelled:
    """Returns token ids, labels and weights of one example, all of one length."""
    prompt, answer = encode(example.prompt), [*encode(example.answer), END_ID]
    whole = [*prompt, *answer]
    labels = [IGNORED] * (len(prompt) - 1) + answer
    weights = [0.0] * (len(prompt) - 1) + [1.0] * len(answer)
    if prompt[0] == _CRITIQUE_ID:
        for index in range(len(prompt) - 1, len(labels)):
            weights[index] = VERDICT_WEIGHT if labels[index] in _VERDICT_IDS else WORDING_WEIGHT
        for index in _worked_out(prompt):
            labels[index], weights[index] = prompt[index + 1], ARITHMETIC_WEIGHT
        ends = [i for i, token in enumerate(prompt) if token == _NEWLINE_ID][1:]
        said = [token for token in answer if token in LINE_VERDICT_IDS]
        for end, verdict in zip(ends, said, strict=False):
            labels[end], weights[end] = verdict, VERDICT_WEIGHT
    return np.array(whole[:-1], np.int64), np.array(labels, np.int64), np.array(weights, np.float32)


def _worked_out(prompt: Sequence[int]) -> Iterator[int]:
    """Yields the places in a critic's prompt whose next token follows from those before, if right.

    Those are results and what is left of lines whose arithmetic is right. They are asked for as in a
    draft: who judges a line must be able to work it out.
    """
    newlines = [i for i, token in enumerate(prompt) if token == _NEWLINE_ID]
    for start, end in pairwise(newlines):
        line = prompt[start + 1 : end]
        equals = next((i for i, token in enumerate(line) if token == _EQUALS_ID), None)
        if equals is not None and is_right(decode(line[1:])):
            yield from range(start + 1 + equals, end)


def batch_of(rows_given: Sequence[Labelled], rows: int, length: int) -> Batch:
    """Pads rows on the right; what is not to be predicted weighs nothing."""
    ids = torch.full((rows, length), PAD_ID)
    labels = torch.full((rows, length), IGNORED)
    weights = torch.zeros(rows, length)
    for row, one in enumerate(rows_given):
        for target, values in zip((ids, labels, weights), one, strict=True):
            target[row, : len(values)] = torch.from_numpy(values)
    return Batch(ids, labels, weights)


def batches(examples: Iterator[Labelled], batch_tokens: int) -> Iterator[Batch]:
    """Groups a stream by length; every batch holds about `batch_tokens` positions."""
    waiting: dict[int, list[Labelled]] = {length: [] for length in LENGTHS}
    for example in examples:
        length = next((n for n in LENGTHS if len(example[0]) <= n), None)
        if length is None:
            continue
        waiting[length].append(example)
        rows = batch_tokens // length
        if len(waiting[length]) == rows:
            yield batch_of(waiting[length], rows, length)
            waiting[length] = []


def loss_of(logits: Tensor, batch: Batch) -> Tensor:
    """Returns the weighted mean cross-entropy of the labels."""
    labels = with_confidences(logits.detach(), batch)
    flat = functional.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return (flat * batch.weights.flatten()).sum() / batch.weights.sum()


def with_confidences(logits: Tensor, batch: Batch) -> Tensor:
    """Returns the labels, each confidence put to the class of the verdict's own probability."""
    rows, places = torch.isin(batch.labels, torch.tensor(CONFIDENCE_IDS)).nonzero(as_tuple=True)
    verdicts = batch.token_ids[rows, places]
    shares = logits[rows, places - 1].float().softmax(-1).gather(1, verdicts[:, None])
    nearest = (shares - _SHARES).abs().argmin(1)
    labels = batch.labels.clone()
    labels[rows, places] = torch.tensor(CONFIDENCE_IDS)[nearest]
    return labels
