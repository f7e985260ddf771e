"""Training examples for the small model.

Knows which puzzles may be trained on, all their solutions, and how to write
examples with and without rejected attempts. Does not know tensors, the
network, or how on-policy attempts were sampled: it is given them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TypeAlias

from critic_loop.demo.chars import MAX_REJECTED, char_prompt, compact
from critic_loop.demo.countdown import Puzzle, Step, moves, trace_text, traces

MAX_NUMBER = 10
TARGETS = range(10, 51)

Trace: TypeAlias = tuple[Step, ...]
Attempts: TypeAlias = Sequence[str]


@dataclass(frozen=True, slots=True)
class Example:
    """What the model reads, and what it should write after it."""

    prompt: str
    answer: str
    without: str = ""
    """If given, the answer is wrong and `prompt` shows it as rejected, while this prompt shows
    another one in its place: the answer is to be less likely after `prompt` than after this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Shares of the kinds of example; plain four-number puzzles are the rest."""

    three_numbers: float = 0.06
    five_numbers: float = 0.04
    synthetic: float = 0.0
    """Rejected attempts are random wrong traces."""
    on_policy: float = 0.0
    """Rejected attempts are the model's own."""
    contrast: float = 0.0
    """Pairs of prompts that do and do not show the answer as rejected."""


class Corpus:
    """An endless, seeded stream of examples from the training side of the split."""

    def __init__(self, mix: Mix, *, attempts: Mapping[Puzzle, Sequence[Attempts]] | None = None) -> None:
        """Enumerates every trace of three and four numbers: seconds, some 100 MB.

        `attempts` maps a training puzzle to groups of its rejected attempts,
        each in the order in which they were made.
        """
        self.mix = mix
        self.by_result = {size: _by_result(size) for size in (3, 4)}
        self.puzzles = {size: self._trainable(size) for size in (3, 4)}
        trainable = set(self.puzzles[4])
        self.attempts = {p: g for p, g in (attempts or {}).items() if p in trainable}
        self.attempted = list(self.attempts)
        self.contrasted = [p for p, groups in self.attempts.items() if len(set(map(compact, groups[0]))) > 1]

    def _trainable(self, size: int) -> list[Puzzle]:
        return [
            puzzle
            for numbers, results in self.by_result[size].items()
            for target in TARGETS
            if target in results and (puzzle := Puzzle(target, numbers)).split == "train"
        ]

    def examples(self, seed: int) -> Iterator[Example]:
        """Yields examples for ever; the same seed yields the same ones."""
        rng = random.Random(seed)  # noqa: S311 - a reproducible stream, no secrets
        while True:
            yield self.example(rng)

    def example(self, rng: random.Random) -> Example:
        """Draws one example."""
        mix, drawn = self.mix, rng.random()
        if (drawn := drawn - mix.on_policy) < 0 and self.attempted:
            puzzle = rng.choice(self.attempted)
            return self._solved(rng, puzzle, _some(rng, rng.choice(self.attempts[puzzle])))
        if (drawn := drawn - mix.contrast) < 0 and self.contrasted:
            return self._contrast(rng)
        if (drawn := drawn - mix.synthetic) < 0:
            puzzle = rng.choice(self.puzzles[4])
            return self._solved(rng, puzzle, self._wrong(rng, puzzle))
        if (drawn := drawn - mix.five_numbers) < 0:
            return _random_walk(rng, 5)
        size = 3 if drawn - mix.three_numbers < 0 else 4
        return self._solved(rng, rng.choice(self.puzzles[size]), ())

    def _solved(self, rng: random.Random, puzzle: Puzzle, rejected: Attempts) -> Example:
        solution = rng.choice(self.by_result[len(puzzle.numbers)][puzzle.numbers][puzzle.target])
        return Example(char_prompt(puzzle, rejected), trace_text(puzzle.numbers, solution))

    def _contrast(self, rng: random.Random) -> Example:
        """Shows one of two rejected attempts, the same others, and asks for the first of the two."""
        puzzle = rng.choice(self.contrasted)
        distinct = list({compact(text): text for text in self.attempts[puzzle][0]}.values())
        first, second, *others = rng.sample(distinct, min(len(distinct), rng.randint(2, MAX_REJECTED + 1)))
        place = rng.randint(0, len(others))
        shown = [[*others[:place], one, *others[place:]] for one in (first, second)]
        return Example(char_prompt(puzzle, shown[0]), first, char_prompt(puzzle, shown[1]))

    def _wrong(self, rng: random.Random, puzzle: Puzzle) -> Attempts:
        """Draws wrong traces, about half of them near misses."""
        results = self.by_result[len(puzzle.numbers)][puzzle.numbers]
        others = [result for result in results if result != puzzle.target]
        near = [result for result in others if abs(result - puzzle.target) <= 4] or others
        picked = (
            rng.choice(near if rng.random() < 0.5 else others) for _ in range(rng.randint(1, MAX_REJECTED))
        )
        return [trace_text(puzzle.numbers, rng.choice(results[result])) for result in picked]


def _by_result(size: int) -> dict[tuple[int, ...], dict[int, list[Trace]]]:
    """Groups every trace of every choice of numbers by its result."""
    grouped: dict[tuple[int, ...], dict[int, list[Trace]]] = {}
    for numbers in combinations_with_replacement(range(1, MAX_NUMBER + 1), size):
        results = grouped.setdefault(numbers, {})
        for trace in traces(numbers):
            results.setdefault(trace[-1].result, []).append(trace)
    return grouped


def _some(rng: random.Random, group: Attempts) -> Attempts:
    """Cuts a group to a random first part, so every number of attempts is practised."""
    return group[: rng.randint(1, min(len(group), MAX_REJECTED))]


def _random_walk(rng: random.Random, size: int) -> Example:
    """Draws a random trace that ends within the targets, on the training side."""
    while True:
        numbers = tuple(sorted(rng.randint(1, MAX_NUMBER) for _ in range(size)))
        left, steps = numbers, list[Step]()
        for _ in range(size - 1):
            step, left = rng.choice(list(moves(left)))
            steps.append(step)
        target = steps[-1].result
        if target in TARGETS and (puzzle := Puzzle(target, numbers)).split == "train":
            return Example(char_prompt(puzzle), trace_text(numbers, steps))
