"""The Countdown puzzle: its text, its generator, its exact solver and verifier.

A puzzle asks to reach a target from given numbers with + - * /, each number
used exactly once, every intermediate result a positive integer of at most
`MAX_VALUE`. Knows arithmetic and text only: nothing of models, sampling,
trees or feedback, and it needs nothing beyond the standard library.

The answer is a trace, one step a line, with the numbers that are left:

    8*3=24>5,7,24
    7-5=2>24,2
    24-2=22

The last line leaves one number, so it lists none.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any, Literal, TypeAlias

MAX_VALUE = 999
"""Largest number that may appear in a puzzle or a trace."""

HELD_OUT_SHARE = 0.1
"""Share of all puzzles that training never sees."""

_MOST_REPEATS = 300
_PROMPT = re.compile(r"Countdown (\d{1,3}): (\d{1,3}+(?: \d{1,3}+)*+)(?!\w|[.,]\d)", re.ASCII)
_STEP = re.compile(r"(\d{1,6})([-+*/])(\d{1,6})=(\d{1,6})(?:>(\d{1,6}(?:,\d{1,6})*))?", re.ASCII)

Split: TypeAlias = Literal["train", "held_out"]
Operator: TypeAlias = Literal["+", "-", "*", "/"]
OPERATORS: tuple[Operator, ...] = ("+", "-", "*", "/")


@dataclass(frozen=True, slots=True)
class Puzzle:
    """A target and the numbers to reach it from, kept in ascending order."""

    target: int
    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        """Sorts and checks the numbers.

        Raises:
            ValueError: the target, a number, or how many numbers there are is out of range.
        """
        object.__setattr__(self, "numbers", tuple(sorted(self.numbers)))
        if not 3 <= len(self.numbers) <= 6:
            raise ValueError(f"a puzzle has 3 to 6 numbers, not {len(self.numbers)}")
        if not all(1 <= n <= MAX_VALUE for n in (self.target, *self.numbers)):
            raise ValueError(f"target and numbers lie in 1..{MAX_VALUE}")

    @property
    def split(self) -> Split:
        """The split of the puzzle, whatever the order of its numbers."""
        text = f"{self.target}:{','.join(map(str, self.numbers))}"
        digest = hashlib.sha256(text.encode()).digest()
        drawn = int.from_bytes(digest[:8], "big") / 2**64
        return "held_out" if drawn < HELD_OUT_SHARE else "train"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of arithmetic: `left op right = result`."""

    left: int
    op: Operator
    right: int
    result: int

    def __str__(self) -> str:
        """Writes the step as in a trace, without the numbers left."""
        return f"{self.left}{self.op}{self.right}={self.result}"


class ErrorKind(StrEnum):
    """What is wrong with a trace."""

    MALFORMED = "malformed"
    BAD_ARITHMETIC = "bad_arithmetic"
    NUMBER_NOT_AVAILABLE = "number_not_available"
    OUT_OF_RANGE = "out_of_range"
    REMAINING_WRONG = "remaining_wrong"
    WRONG_LENGTH = "wrong_length"
    TARGET_NOT_REACHED = "target_not_reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The verifier's result."""

    passed: bool
    reason: str
    """One sentence that explains the result."""
    error_kind: ErrorKind | None = None
    line: int | None = None
    """The first wrong line, counted from 1; None if the trace passed."""


def prompt_of(puzzle: Puzzle) -> str:
    """Returns the task text, e.g. `Countdown 24: 3 5 7 8`."""
    return f"Countdown {puzzle.target}: {' '.join(map(str, puzzle.numbers))}"


def puzzle_of(prompt_text: str) -> Puzzle | None:
    """Returns the first puzzle written anywhere in a text, or None."""
    for found in _PROMPT.finditer(prompt_text):
        try:
            return Puzzle(int(found[1]), tuple(map(int, found[2].split(" "))))
        except ValueError:
            continue
    return None


def read_step(line: str) -> Step:
    """Returns the step that a line of an answer begins with, unchecked.

    Raises:
        ValueError: the line is not like `8*3=24>5,7,24`.
    """
    found = _STEP.fullmatch(line.strip())
    if found is None:
        raise ValueError(f"{line[:40]!r} is not a step such as '8*3=24>5,7,24'")
    op: Any = found[2]
    return Step(int(found[1]), op, int(found[3]), int(found[4]))


def is_right(line: str) -> bool:
    """Returns whether a line's result is right, whichever numbers are available."""
    try:
        step = read_step(line)
    except ValueError:
        return False
    return apply(step.left, step.op, step.right) == step.result


def apply(left: int, op: Operator, right: int) -> int | None:
    """Returns the result, or None where the rules forbid the step."""
    match op:
        case "+":
            result = left + right
        case "-":
            result = left - right
        case "*":
            result = left * right
        case "/":
            result = left // right if right and left % right == 0 else 0
    return result if 1 <= result <= MAX_VALUE else None


def moves(numbers: Sequence[int]) -> Iterator[tuple[Step, tuple[int, ...]]]:
    """Yields each distinct legal step and the numbers it leaves.

    The larger operand comes first, and the result is appended to the numbers left, so each step has one
    spelling.
    """
    seen: set[tuple[int, int]] = set()
    for i, j in combinations(range(len(numbers)), 2):
        low, high = sorted((numbers[i], numbers[j]))
        if (low, high) in seen:
            continue
        seen.add((low, high))
        rest = tuple(n for k, n in enumerate(numbers) if k not in (i, j))
        for op in OPERATORS:
            result = apply(high, op, low)
            if result is not None:
                yield Step(high, op, low, result), (*rest, result)


def traces(numbers: Sequence[int]) -> Iterator[tuple[Step, ...]]:
    """Yields every way to combine all numbers into one, in a fixed order."""
    if len(numbers) == 1:
        yield ()
        return
    for step, rest in moves(numbers):
        for tail in traces(rest):
            yield (step, *tail)


def solutions(puzzle: Puzzle) -> Iterator[tuple[Step, ...]]:
    """Yields all solutions; that takes milliseconds for four numbers and seconds for six."""
    return (t for t in traces(puzzle.numbers) if t[-1].result == puzzle.target)


def solve(puzzle: Puzzle) -> tuple[Step, ...] | None:
    """Returns one solution, or None if there is none.

    States without a solution are cached, so six numbers are fast enough.
    """
    dead: set[tuple[int, ...]] = set()

    def search(numbers: tuple[int, ...]) -> tuple[Step, ...] | None:
        if len(numbers) == 1:
            return () if numbers[0] == puzzle.target else None
        state = tuple(sorted(numbers))
        if state in dead:
            return None
        for step, rest in moves(numbers):
            tail = search(rest)
            if tail is not None:
                return (step, *tail)
        dead.add(state)
        return None

    return search(puzzle.numbers)


def trace_text(numbers: Sequence[int], steps: Sequence[Step]) -> str:
    """Writes steps as an answer, one per line; they are not checked, so wrong steps can be written, too."""
    left, lines = list(numbers), list[str]()
    for step in steps:
        for used in (step.left, step.right):
            if used in left:
                left.remove(used)
        left.append(step.result)
        lines.append(f"{step}>{','.join(map(str, left))}" if len(left) > 1 else str(step))
    return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The difficulty of puzzles: the number of numbers, their range, and the range of targets."""

    size: int
    max_number: int = 10
    targets: tuple[int, int] = (10, 50)
    """The smallest and the largest target."""


EASY = Level(size=4)
HARD = Level(size=5, targets=(450, 600))
LEVELS = {"easy": EASY, "hard": HARD}


def draw(rng: random.Random, level: Level) -> Puzzle:
    """Draws a puzzle, which may have no solution."""
    numbers = tuple(rng.randint(1, level.max_number) for _ in range(level.size))
    return Puzzle(rng.randint(*level.targets), numbers)


def generate(seed: int, level: Level = EASY, *, split: Split | None = None) -> Iterator[Puzzle]:
    """Yields solvable puzzles without end; the same seed yields the same ones.

    A puzzle may be repeated. With `split`, only puzzles of this split are yielded.
    """
    rng = random.Random(f"countdown:{seed}:{level.size}")  # noqa: S311 - puzzles, not secrets
    while True:
        puzzle = draw(rng, level)
        if split in (None, puzzle.split) and solve(puzzle) is not None:
            yield puzzle


def sample_puzzles(
    seed: int,
    count: int,
    level: Level = EASY,
    *,
    split: Split = "held_out",
    without: Collection[Puzzle] = (),
) -> list[Puzzle]:
    """Returns `count` distinct solvable puzzles of one split, none of them in `without`.

    Raises:
        ValueError: there are probably fewer; of three numbers, about 140 are held out.
    """
    chosen: dict[Puzzle, None] = {}
    left_out, stale = frozenset(without), 0
    for puzzle in generate(seed, level, split=split):
        if len(chosen) >= count:
            break
        known = puzzle in chosen or puzzle in left_out
        stale = stale + 1 if known else 0
        if stale > _MOST_REPEATS:
            raise ValueError(f"found only {len(chosen)} {split} puzzles of {level.size} numbers, not {count}")
        if not known:
            chosen[puzzle] = None
    return list(chosen)


def _fail(kind: ErrorKind, line: int, reason: str) -> Check:
    return Check(passed=False, reason=f"line {line}: {reason}", error_kind=kind, line=line)


def check_line(available: list[int], text: str, line: int) -> Check | list[int]:
    """Returns the numbers left after one line of an answer, or the failed check.

    Args:
        available: the numbers before the line.
        text: the line.
        line: the line's number, from 1, for the reason.
    """
    found = _STEP.fullmatch(text)
    if found is None:
        return _fail(ErrorKind.MALFORMED, line, f"{text[:40]!r} is not like '8*3=24>5,7,24'")
    left, op, right, result = int(found[1]), found[2], int(found[3]), int(found[4])
    missing = Counter((left, right)) - Counter(available)
    if missing:
        return _fail(
            ErrorKind.NUMBER_NOT_AVAILABLE,
            line,
            f"{next(iter(missing))} is not available; there are {_listed(available)}",
        )
    match op:
        case "+" | "-" | "*" | "/":
            true_result = apply(left, op, right)
        case _:
            true_result = None
    if true_result is None:
        return _fail(
            ErrorKind.OUT_OF_RANGE,
            line,
            f"{left}{op}{right} is not a whole number from 1 to {MAX_VALUE}",
        )
    if result != true_result:
        return _fail(ErrorKind.BAD_ARITHMETIC, line, f"{left}{op}{right} is {true_result}, not {result}")
    rest = Counter(available) - Counter((left, right)) + Counter((result,))
    stated = Counter(map(int, found[5].split(","))) if found[5] else Counter[int]()
    if stated != rest and not (found[5] is None and rest.total() == 1):
        return _fail(ErrorKind.REMAINING_WRONG, line, f"what is left is {_listed(rest.elements())}")
    return list(rest.elements())


def _listed(numbers: Iterator[int] | list[int]) -> str:
    return " ".join(map(str, sorted(numbers)))


def check(puzzle: Puzzle, answer_text: str) -> Check:
    """Verifies an answer exactly and names the first wrong line; never raises."""
    available = list(puzzle.numbers)
    lines = answer_text.strip().splitlines()
    for line, text in enumerate(lines, start=1):
        if len(available) == 1:
            return _fail(ErrorKind.WRONG_LENGTH, line, "nothing is left to combine")
        after = check_line(available, text.strip(), line)
        if isinstance(after, Check):
            return after
        available = after
    last = max(len(lines), 1)
    if len(available) > 1:
        return _fail(ErrorKind.WRONG_LENGTH, last, f"still to be used: {_listed(available)}")
    if available[0] != puzzle.target:
        return _fail(ErrorKind.TARGET_NOT_REACHED, last, f"the result is {available[0]}, not {puzzle.target}")
    return Check(passed=True, reason=f"reaches {puzzle.target}")
