"""Continuously batched sampling from the exported graph: rows join and leave the batch between steps.

Knows ONNX Runtime, the cache buffers and how a token is drawn. Does not know characters, threads or event loops
(`runtime`): it is a plain object for one thread at a time.

Rows `0..n-1` of the buffers are the live ones, so a decode step runs on one contiguous slice. Keys and values
are written in place.

A row's text depends only on its own prompt, seed and temperature. Each request has its own generator of
uniform numbers. Logits do not depend on other rows either: prompts are prefilled in groups of one padded
length, each product has at least `MIN_ROWS` rows (ONNX Runtime uses another code path for a single row), and
logits are rounded to `LOGIT_STEP`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

MIN_ROWS = 2
LOGIT_STEP = 2.0**-10
PREFILL_MULTIPLE = 16

Floats: TypeAlias = NDArray[np.float32]
Integers: TypeAlias = NDArray[np.int64]


@dataclass(slots=True, kw_only=True, eq=False)
class Row:
    """One sequence being written; the engine appends to the two lists."""

    prompt_ids: Sequence[int]
    temperature: float
    seed: int
    max_tokens: int
    end_id: int
    given: Sequence[int] = ()
    """Tokens to append instead of drawn ones, with the same log-probabilities as if they had been drawn."""
    token_ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    """The log-probability of each token at temperature 1, whatever the sampling temperature."""

    @property
    def ended(self) -> bool:
        """Whether the model wrote its end token."""
        return bool(self.token_ids) and self.token_ids[-1] == self.end_id

    @property
    def done(self) -> bool:
        """Whether no more token is to be drawn."""
        return self.ended or len(self.token_ids) >= self.max_tokens


class Engine:
    """One ONNX session with room for `slots` rows of `context` tokens."""

    def __init__(self, weights: bytes, *, slots: int = 128, threads: int = 1) -> None:
        """Loads the graph and allocates its cache: about 1.3 MB per slot of 256 tokens.

        Args:
            weights: the content of a file written by `onnx_graph`.
            slots: the largest number of rows, at least `MIN_ROWS`.
            threads: intra-op threads of ONNX Runtime.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        config = json.loads(self._session.get_modelmeta().custom_metadata_map["config"])
        self.context: int = config["max_position_embeddings"]
        self._vocab: int = config["vocab_size"]
        self.slots = max(slots, MIN_ROWS)
        heads = config["num_attention_heads"]
        room = (self.slots, heads, self.context, config["hidden_size"] // heads)
        names = [f"{n}.{part}" for n in range(config["num_hidden_layers"]) for part in ("key", "value")]
        self._caches: dict[str, Floats] = {name: np.zeros(room, np.float32) for name in names}
        self.rows: list[Row] = []
        self._cached = np.ones(self.slots, np.int32)
        self._next_ids = np.zeros(self.slots, np.int64)
        self._temperatures = np.zeros(self.slots, np.float32)
        self._uniforms = np.zeros((self.slots, self.context), np.float32)

    @property
    def free(self) -> int:
        """The number of free slots."""
        return self.slots - len(self.rows)

    def join(self, rows: Sequence[Row]) -> None:
        """Prefills new rows and draws their first token; at most `free` of them."""
        groups: dict[int, list[Row]] = {}
        for row in rows:
            length = -(-len(row.prompt_ids) // PREFILL_MULTIPLE) * PREFILL_MULTIPLE
            groups.setdefault(length, []).append(row)
        for length, group in sorted(groups.items()):
            self._prefill(group, min(length, self.context))

    def step(self) -> None:
        """Draws one more token for every row."""
        count = len(self.rows)
        if not count:
            return
        self._cached[:count] += 1
        rows = slice(0, max(count, MIN_ROWS))
        logits = self._forward(
            rows, self._next_ids[rows, None], np.zeros(rows.stop, np.int64), self._cached[rows]
        )
        self._draw(slice(0, count), logits[:count])

    def leave(self, gone: Sequence[Row]) -> None:
        """Removes rows, and moves the last rows into their slots."""
        for row in gone:
            index, last = self.rows.index(row), len(self.rows) - 1
            if index != last:
                self._move(last, index)
            self.rows.pop()

    def _move(self, source: int, target: int) -> None:
        used = int(self._cached[source])
        for cache in self._caches.values():
            cache[target, :, :used] = cache[source, :, :used]
        for state in (self._cached, self._next_ids, self._temperatures, self._uniforms):
            state[target] = state[source]
        self.rows[target] = self.rows[source]

    def _prefill(self, group: Sequence[Row], length: int) -> None:
        """Runs prompts padded to one length, in the slots after the live rows."""
        first, lengths = len(self.rows), np.array([len(row.prompt_ids) for row in group])
        token_ids = np.zeros((len(group), length), np.int64)
        for index, row in enumerate(group):
            token_ids[index, : lengths[index]] = row.prompt_ids
            self._temperatures[first + index] = row.temperature
            self._uniforms[first + index] = np.random.default_rng(row.seed).random(self.context, np.float32)
        rows = slice(first, first + len(group))
        self._cached[rows] = lengths
        total = np.full(len(group), length, np.int32)
        logits = self._forward(rows, token_ids, lengths - 1, total)
        self.rows.extend(group)
        self._draw(rows, logits)

    def _forward(self, rows: slice, token_ids: Integers, last: Integers, cached: NDArray[np.int32]) -> Floats:
        """Runs the graph on rows of the buffers and returns their logits `[B, V]`.

        Args:
            rows: the slots.
            token_ids: the new tokens `[B, T]`, padded on the right.
            last: the index of each row's last new token `[B]`.
            cached: the number of tokens of each row, including the new ones `[B]`.
        """
        binding = self._session.io_binding()
        total = np.array(cached.max(), np.int32)
        inputs = {
            "token_ids": np.ascontiguousarray(token_ids),
            "last": last,
            "cached_less_one": cached - np.int32(1),
            "total": total,
        }
        for name, value in inputs.items():
            binding.bind_cpu_input(name, value)
        logits = np.empty((len(last), self._vocab), np.float32)
        _bind_output(binding, "logits", logits)
        for name, cache in self._caches.items():
            part = cache[rows]
            binding.bind_input(f"past.{name}", "cpu", 0, np.float32, part.shape, part.ctypes.data)
            _bind_output(binding, f"present.{name}", part)
        self._session.run_with_iobinding(binding)
        return np.round(logits / LOGIT_STEP) * np.float32(LOGIT_STEP)

    def _draw(self, rows: slice, logits: Floats) -> None:
        """Draws one token for each row and records it."""
        live = self.rows[rows]
        written = np.array([len(row.token_ids) for row in live])
        uniforms = self._uniforms[np.arange(rows.start, rows.stop), written]
        chosen = choose(logits, self._temperatures[rows], uniforms)
        for index, row in enumerate(live):
            if row.given:
                chosen[index] = row.given[written[index]]
        logprobs = log_softmax(logits)[np.arange(len(live)), chosen]
        self._next_ids[rows] = chosen
        for row, token_id, logprob in zip(live, chosen.tolist(), logprobs.tolist(), strict=True):
            row.token_ids.append(token_id)
            row.logprobs.append(logprob)


def log_softmax(logits: Floats) -> Floats:
    """Returns log-probabilities over the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def choose(logits: Floats, temperatures: Floats, uniforms: Floats) -> Integers:
    """Draws a token for each row by inverting its cumulative distribution.

    Args:
        logits: `[B, V]`.
        temperatures: `[B]`; at 0, the most probable token is chosen, of equals the first.
        uniforms: `[B]`, in [0, 1).

    Returns:
        Token ids `[B]`.
    """
    greedy = logits.argmax(-1)
    scaled = logits / np.where(temperatures > 0, temperatures, 1.0)[:, None].astype(np.float32)
    weights = np.exp(scaled - scaled.max(-1, keepdims=True)).cumsum(-1)
    drawn = (weights <= (uniforms * weights[:, -1])[:, None]).sum(-1)
    return np.where(temperatures > 0, np.minimum(drawn, logits.shape[-1] - 1), greedy)


def _bind_output(binding: ort.IOBinding, name: str, array: Floats) -> None:
    binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
