"""Which targets can still be reached from the numbers at hand.

Knows arithmetic and one cache: a choice of numbers always reaches the same
targets, whatever the puzzle, and few small numbers are asked about again and
again. Six numbers take some 10 ms, five a millisecond, fewer microseconds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from critic_loop.demo.countdown import MAX_VALUE, Puzzle, Step, check_line, moves


@lru_cache(maxsize=2**20)
def reachable(numbers: tuple[int, ...]) -> int:
    """Returns the set of results that use all numbers, as bits: bit `n` says that `n` can be made.

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
    """Returns whether a target can be made from all of the numbers."""
    return bool(reachable(tuple(sorted(numbers))) >> target & 1)


def open_steps(numbers: Sequence[int], target: int) -> list[tuple[Step, tuple[int, ...]]]:
    """Returns the steps after which the target can still be reached, each with the numbers it leaves."""
    return [(step, rest) for step, rest in moves(numbers) if can_reach(rest, target)]


@dataclass(frozen=True, slots=True)
class Choice:
    """The steps that may come next, each with how often it should be taken."""

    steps: list[Step]
    shares: list[float]
    """They add up to 1."""


def walk(rng: random.Random, numbers: Sequence[int], target: int) -> tuple[list[Step], list[Choice]]:
    """Draws a solution, at every line one of the steps that keep the target reachable.

    A step is drawn the more often, the more ways lead on from it: who follows such a guide keeps to where
    there is room for the next mistake.

    Returns:
        The steps drawn, and for each line what could have been drawn.

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
        For each line True if the target can still be reached after it, False if it is right but
        leads nowhere, None if it is wrong; nothing follows a wrong line.
    """
    left, found = list(puzzle.numbers), list[bool | None]()
    for number, text in enumerate(answer.strip().splitlines(), start=1):
        after = check_line(left, text.strip(), number) if len(left) > 1 else None
        if not isinstance(after, list):
            return [*found, None]
        left = after
        found.append(can_reach(left, puzzle.target))
    return found
