"""Batches and loss of supervised training.

Knows tensors, padding and what an example asks for. Does not know where examples come from
(`corpus`) or how the network is changed (`train`).

A revision that takes a rejected step again is wasted, and solutions alone hardly teach that: they never go
there. So rejected steps are shown as what should be unlikely, down to a probability that no longer matters.

Three things are special about critiques. Their verdicts weigh more than their wording, of which
nothing is to be learnt. The truth about a line is asked for twice: in the critique, and where the
line ends in the prompt, which is where the network can work it out. And confidences are not given:
the network is to name the probability that it gave to the verdict before, in the classes of
`PERCENTS`; as that probability is trained on the truth, so is the word.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
CHOICE_WEIGHT = 2.0
AVOID_WEIGHT = 4.0
AVOIDED_PROBABILITY = 0.005
"""A rejected step with a lower probability than this adds no loss."""
LENGTHS: tuple[int, ...] = (40, 52, 64, 80, 96, 128, 176)
"""Batches are padded to one of these, so few shapes are compiled."""

_CRITIQUE_ID, _NEWLINE_ID, _EQUALS_ID = *encode("<critique>"), *encode("\n"), *encode("=")
_VERDICT_IDS = (*LINE_VERDICT_IDS, *ANSWER_VERDICT_IDS)
_SHARES = torch.tensor(PERCENTS) / 100


@dataclass(frozen=True, slots=True)
class Labelled:
    """One example as numbers."""

    token_ids: NDArray[np.int16]
    labels: NDArray[np.int16]
    weights: NDArray[np.float32]
    """The weights of the labels; all three are `[T]`."""
    places: NDArray[np.int16]
    """`[C]` the position of each alternative: a token that is as good there as the label."""
    tokens: NDArray[np.int16]
    shares: NDArray[np.float32]
    """`[C]` the target probability of that token; the shares of a position add up to 1."""
    avoided: NDArray[np.int16]
    """`[A]` the positions of a step whose probability as a whole should be small."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids, next-token labels and the labels' weights, all `[B, T]`."""

    token_ids: Tensor
    labels: Tensor
    weights: Tensor
    rows: Tensor
    """`[C]` the row of each alternative; then its position, token and share."""
    places: Tensor
    tokens: Tensor
    shares: Tensor
    avoided_rows: Tensor
    """`[A]` the row of each token of a step that should be unlikely; then its position."""
    avoided_places: Tensor


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
    elif example.results_only:
        weights = [0.0] * (len(prompt) - 1) + _results(answer)
    open_ = list(_alternatives(example, len(prompt) - 1))
    for place, _, share in open_:
        weights[place] = CHOICE_WEIGHT if share < 1 else weights[place]
    return Labelled(
        np.array(whole[:-1], np.int16),
        np.array(labels, np.int16),
        np.array(weights, np.float32),
        np.array([place for place, _, _ in open_], np.int16),
        np.array([token for _, token, _ in open_], np.int16),
        np.array([share for _, _, share in open_], np.float32),
        np.array([len(prompt) - 1 + offset for offset in _step_of(answer, example.avoided_line)], np.int16),
    )


def _alternatives(example: Example, start: int) -> Iterator[tuple[int, int, float]]:
    """Yields position, token and share of all alternatives, where a line can begin in several ways."""
    for line, beginnings in zip(example.answer.split("\n"), example.choices, strict=False):
        written = encode(line)
        left = [(encode(text), share) for text, share in beginnings]
        for offset, token in enumerate(written):
            nexts: dict[int, float] = {}
            for ids, share in left:
                if len(ids) > offset:
                    nexts[ids[offset]] = nexts.get(ids[offset], 0.0) + share
            if not nexts:
                break
            total = sum(nexts.values())
            yield from ((start + offset, other, share / total) for other, share in nexts.items())
            left = [(ids, share) for ids, share in left if len(ids) > offset and ids[offset] == token]
        start += len(written) + 1


def _results(answer: Sequence[int]) -> list[float]:
    """Sets the weights of tokens after an equals sign up to the line's end, and 0 for all others."""
    weights, inside = list[float](), False
    for token in answer:
        weights.append(1.0 if inside else 0.0)
        inside = token == _EQUALS_ID or (inside and token != _NEWLINE_ID)
    return weights


def _step_of(answer: Sequence[int], line: int | None) -> list[int]:
    """Returns the offsets of a line's step, including its equals sign; none if there is no such line."""
    if line is None:
        return []
    number, offsets, open_ = 1, list[int](), True
    for offset, token in enumerate(answer):
        if number == line and open_:
            offsets.append(offset)
            open_ = token != _EQUALS_ID
        number += token == _NEWLINE_ID
    return offsets


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


def batch_of(given: Sequence[Labelled], rows: int, length: int) -> Batch:
    """Pads rows on the right; labels that are not to be predicted have weight 0."""
    ids = np.full((rows, length), PAD_ID, np.int64)
    labels = np.full((rows, length), IGNORED, np.int64)
    weights = np.zeros((rows, length), np.float32)
    for row, one in enumerate(given):
        end = len(one.token_ids)
        ids[row, :end], labels[row, :end], weights[row, :end] = one.token_ids, one.labels, one.weights
    counts = [len(one.places) for one in given]
    return Batch(
        *map(torch.from_numpy, (ids, labels, weights)),
        torch.from_numpy(np.repeat(np.arange(len(given)), counts)),
        torch.from_numpy(np.concatenate([one.places for one in given]).astype(np.int64)),
        torch.from_numpy(np.concatenate([one.tokens for one in given]).astype(np.int64)),
        torch.from_numpy(np.concatenate([one.shares for one in given])),
        torch.from_numpy(np.repeat(np.arange(len(given)), [len(one.avoided) for one in given])),
        torch.from_numpy(np.concatenate([one.avoided for one in given]).astype(np.int64)),
    )


def batches(examples: Iterator[Labelled], batch_tokens: int) -> Iterator[Batch]:
    """Groups a stream by length; every batch has about `batch_tokens` positions."""
    waiting: dict[int, list[Labelled]] = {length: [] for length in LENGTHS}
    for example in examples:
        length = next((n for n in LENGTHS if len(example.token_ids) <= n), None)
        if length is None:
            continue
        waiting[length].append(example)
        rows = batch_tokens // length
        if len(waiting[length]) == rows:
            yield batch_of(waiting[length], rows, length)
            waiting[length] = []


def loss_of(logits: Tensor, batch: Batch) -> Tensor:
    """Returns the weighted mean cross-entropy; alternatives are targets with their shares."""
    labels = with_confidences(logits.detach(), batch)
    logprobs = logits.float().log_softmax(-1)
    chosen = logprobs.gather(2, labels.clamp(min=0)[..., None])[..., 0]
    mixed = torch.zeros_like(chosen)
    shared = logprobs[batch.rows, batch.places, batch.tokens] * batch.shares
    mixed = mixed.index_put((batch.rows, batch.places), shared, accumulate=True)
    has_several = torch.zeros_like(labels, dtype=torch.bool)
    has_several[batch.rows, batch.places] = True
    likely = -(torch.where(has_several, mixed, chosen) * batch.weights).sum()
    return (likely + AVOID_WEIGHT * _too_likely(chosen, batch).sum()) / batch.weights.sum()


def _too_likely(chosen: Tensor, batch: Batch) -> Tensor:
    """Returns how much the log-probability of each step to avoid is too high."""
    rows, where = batch.avoided_rows.unique(return_inverse=True)
    steps = torch.zeros(len(rows)).index_add(0, where, chosen[batch.avoided_rows, batch.avoided_places])
    return (steps - math.log(AVOIDED_PROBABILITY)).clamp(min=0)


def with_confidences(logits: Tensor, batch: Batch) -> Tensor:
    """Returns the labels, with each confidence replaced by the class of the verdict's own probability."""
    rows, places = torch.isin(batch.labels, torch.tensor(CONFIDENCE_IDS)).nonzero(as_tuple=True)
    verdicts = batch.token_ids[rows, places]
    shares = logits[rows, places - 1].float().softmax(-1).gather(1, verdicts[:, None])
    nearest = (shares - _SHARES).abs().argmin(1)
    labels = batch.labels.clone()
    labels[rows, places] = torch.tensor(CONFIDENCE_IDS)[nearest]
    return labels
