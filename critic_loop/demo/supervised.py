"""Batches and loss of supervised training.

Knows tensors, padding and what an example asks for: to imitate an answer, or to
find it less likely where it is shown as rejected. Does not know where examples
come from (`corpus`) or how the network is changed (`train`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from critic_loop.demo.chars import END_ID, PAD_ID, encode
from critic_loop.demo.corpus import Example

IGNORED = -100
CONTRAST_MARGIN = 4.0
"""By how many nats a rejected attempt should be less likely once it is shown."""

LENGTHS: tuple[int, ...] = (48, 64, 96, 128, 176)
"""Batches are padded to one of these, so few shapes are compiled."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids and next-token labels, both `[B, T]`, and the rows `[P, 2]` that form pairs."""

    token_ids: Tensor
    labels: Tensor
    pairs: Tensor
    """Of each pair the row whose prompt shows the answer as rejected, then the row that does not."""


def rows_of(example: Example) -> list[tuple[str, str]]:
    """Returns prompt and answer of each row that an example takes."""
    prompts = [example.prompt, example.without] if example.without else [example.prompt]
    return [(prompt, example.answer) for prompt in prompts]


def batch_of(examples: Sequence[Example], rows: int, length: int) -> Batch:
    """Pads rows on the right; only the answer and its end are to be predicted."""
    ids = torch.full((rows, length), PAD_ID)
    labels = torch.full((rows, length), IGNORED)
    texts, pairs = list[tuple[str, str]](), list[tuple[int, int]]()
    for example in examples:
        if example.without:
            pairs.append((len(texts), len(texts) + 1))
        texts.extend(rows_of(example))
    for row, (prompt_text, answer_text) in enumerate(texts):
        prompt, answer = encode(prompt_text), [*encode(answer_text), END_ID]
        whole = torch.tensor(prompt + answer)
        ids[row, : len(whole) - 1] = whole[:-1]
        labels[row, len(prompt) - 1 : len(whole) - 1] = whole[len(prompt) :]
    return Batch(ids, labels, torch.tensor(pairs, dtype=torch.long).view(-1, 2))


def batches(examples: Iterator[Example], batch_tokens: int) -> Iterator[Batch]:
    """Groups a stream by length; every batch holds about `batch_tokens` positions."""
    waiting: dict[int, list[Example]] = {length: [] for length in LENGTHS}
    filled = dict.fromkeys(LENGTHS, 0)
    for example in examples:
        needed = max(len(prompt) + len(answer) for prompt, answer in rows_of(example))
        length = next((n for n in LENGTHS if needed <= n), None)
        if length is None:
            continue
        waiting[length].append(example)
        filled[length] += len(rows_of(example))
        rows = batch_tokens // length
        if filled[length] >= rows - 1:
            yield batch_of(waiting[length], rows, length)
            waiting[length], filled[length] = [], 0


def loss_of(logits: Tensor, batch: Batch) -> Tensor:
    """Returns the loss per position to be predicted.

    Single rows give the cross-entropy of their answers. A pair gives what its two
    log-probabilities lack of `CONTRAST_MARGIN`; what is the same after both prompts
    cancels out, so nothing but reading the rejected attempts can reduce it.
    """
    flat = functional.cross_entropy(
        logits.float().flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    surprise = flat.view(batch.labels.shape).sum(1)
    shown, without = surprise[batch.pairs].unbind(1)
    lacking = functional.softplus(CONTRAST_MARGIN - (shown - without))
    imitated = surprise.sum() - surprise[batch.pairs].sum()
    return (imitated + lacking.sum()) / (batch.labels != IGNORED).sum()
