"""Computes which targets can be reached from given numbers.

Results are cached: they depend on the numbers only, and the same few small numbers are needed again and again.
Without the cache, six numbers take about 10 ms, five 1 ms, and fewer some microseconds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from critic_loop.demo.countdown import MAX_VALUE, Puzzle, Step, check_line, moves


@lru_cache(maxsize=2**20)
def reachable(numbers: tuple[int, ...]) -> int:
    """Returns the set of results that use all numbers, as bits: bit `n` is set if `n` can be reached.

    Args:
        numbers: in ascending order.
    """
    if len(numbers) == 1:
        return 1 << numbers[0]
    found, seen = 0, set[tuple[int, int]]()
    for i, low in enumerate(numbers):
        for j in range(i + 1, len(numbers)):
            high = numbers[j]
            if (low, high) in seen:
                continue
            seen.add((low, high))
            rest = numbers[:i] + numbers[i + 1 : j] + numbers[j + 1 :]
            for result in _results(low, high):
                found |= reachable(tuple(sorted((*rest, result)))) if rest else 1 << result
    return found


def _results(low: int, high: int) -> set[int]:
    made = {low + high, low * high, high - low}
    if high % low == 0:
        made.add(high // low)
    return {result for result in made if 1 <= result <= MAX_VALUE}


def can_reach(numbers: Sequence[int], target: int) -> bool:
    """Returns whether a target can be reached with all of the numbers."""
    return bool(reachable(tuple(sorted(numbers))) >> target & 1)


def open_steps(numbers: Sequence[int], target: int) -> list[tuple[Step, tuple[int, ...]]]:
    """Returns the steps after which the target can still be reached, each with the numbers it leaves."""
    return [(step, rest) for step, rest in moves(numbers) if can_reach(rest, target)]


@dataclass(frozen=True, slots=True)
class Choice:
    """The possible next steps, each with the share of solutions that should take it."""

    steps: list[Step]
    shares: list[float]
    """They add up to 1."""


def walk(rng: random.Random, numbers: Sequence[int], target: int) -> tuple[list[Step], list[Choice]]:
    """Draws a solution: at every line one of the steps that keep the target reachable.

    The probability of a step is proportional to the number of good next steps after it. A model trained on such
    solutions prefers states from which fewer next steps are mistakes.

    Returns:
        The steps drawn, and the possible steps at each line.

    Raises:
        ValueError: there is no solution.
    """
    steps, choices, left = list[Step](), list[Choice](), tuple(numbers)
    while len(left) > 1:
        alive = open_steps(left, target)
        if not alive:
            raise ValueError(f"{target} cannot be reached from {left}")
        room = [len(open_steps(rest, target)) if len(rest) > 1 else 1 for _, rest in alive]
        choices.append(Choice([step for step, _ in alive], [ways / sum(room) for ways in room]))
        step, left = rng.choices(alive, room)[0]
        steps.append(step)
    return steps, choices


def judge(puzzle: Puzzle, answer: str) -> list[bool | None]:
    """Judges an answer line by line, up to the first wrong one.

    Returns:
        For each line True if the target can still be reached after it, False if it is right but the target
        cannot be reached, None if it is wrong. A wrong line is the last one judged.
    """
    left, found = list(puzzle.numbers), list[bool | None]()
    for number, text in enumerate(answer.strip().splitlines(), start=1):
        after = check_line(left, text.strip(), number) if len(left) > 1 else None
        if not isinstance(after, list):
            return [*found, None]
        left = after
        found.append(can_reach(left, puzzle.target))
    return found
