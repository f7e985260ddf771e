"""Training examples for the three roles of the small model.

Knows which puzzles may be used for training, and writes examples: an answer to a puzzle, a critique of an
answer with the true verdict on every line, and a better answer after rejected ones. Does not know tensors,
the network, or how the network's own answers were sampled.

A revision keeps the lines of the last rejected answer before the rejected line, as long as the target can
still be reached from them, and continues with a solution from there.

Solutions always end with the target. A model trained on solutions only would write the target whatever it had
computed, and its critic could not detect that. So answers that do not reach the target are used, too: the model
learns the results of their steps, but not the steps.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from critic_loop.demo.chars import (
    CORRECT_ANSWER,
    DEAD_END,
    MAX_REJECTED,
    PERCENTS,
    REACHABLE,
    WRONG,
    WRONG_ANSWER,
    Rejected,
    critique_prompt,
    draft_prompt,
    revise_prompt,
)
from critic_loop.demo.countdown import (
    EASY,
    OPERATORS,
    Level,
    Puzzle,
    Step,
    apply,
    check,
    check_line,
    draw,
    moves,
    read_step,
    trace_text,
)
from critic_loop.demo.reach import Choice, can_reach, judge, walk

T = TypeVar("T")

OTHERS = (Level(size=3), Level(size=5, targets=(10, 99)), Level(size=5, targets=(100, 199)))
"""Levels between the easy and the hard one, for training only."""

NEAR, FAR = Level(size=5, targets=(100, 300)), Level(size=5, targets=(200, 500))
"""Five numbers, with smaller targets than most of `HARD`; no target above 500 is used for training."""

_LINE_WORDS = {True: REACHABLE, False: DEAD_END, None: WRONG}


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt, and the text that the model should write after it."""

    prompt: str
    answer: str
    choices: tuple[tuple[tuple[str, float], ...], ...] = ()
    """For each line of the answer, its possible beginnings with their shares; empty for a line that is kept."""
    results_only: bool = False
    """Learn only the part of each line after the equals sign."""
    avoided_line: int | None = None
    """The number of the line, from 1, whose step was rejected before: its probability is to be reduced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A puzzle with the network's own answers, each with the line that its own critique rejected."""

    puzzle: Puzzle
    answers: tuple[Rejected, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """The composition of the training examples; shares are in [0, 1]."""

    draft: float = 0.36
    critique: float = 0.3
    """The remaining examples are revisions."""
    hard: float = 0.5
    hard_level: Level = NEAR
    other: float = 0.12
    honest: float = 0.25
    """The share of answers that do not reach the target, among drafts and revisions."""
    shown: int = MAX_REJECTED
    """The largest number of rejected answers in the prompt of a revision."""
    avoid: bool = False
    """Train the model to avoid rejected steps."""
    unmarked: float = 0.15
    """The share of revisions whose prompt does not show which line was rejected."""


def drawn(rng: random.Random, mix: Mix) -> Puzzle:
    """Draws a solvable puzzle of the training side."""
    share = rng.random()
    level = mix.hard_level if share < mix.hard else rng.choice(OTHERS) if share < mix.hard + mix.other else EASY
    while True:
        puzzle = draw(rng, level)
        if puzzle.split == "train" and can_reach(puzzle.numbers, puzzle.target):
            return puzzle


def examples(seed: str, mix: Mix, count: int) -> list[Example]:
    """Returns examples without answers by the network; the same seed gives the same examples."""
    rng = random.Random(seed)  # noqa: S311  # examples, no secrets
    return [_synthetic(rng, mix) for _ in range(count)]


def _synthetic(rng: random.Random, mix: Mix) -> Example:
    puzzle, share, honest = drawn(rng, mix), rng.random(), rng.random() < mix.honest
    if share < mix.draft:
        if honest:
            return honest_example(draft_prompt(puzzle), puzzle, _flawed(rng, puzzle))
        return draft_example(rng, puzzle)
    if share < mix.draft + mix.critique:
        text = trace_text(puzzle.numbers, walk(rng, puzzle.numbers, puzzle.target)[0])
        return critique_example(rng, puzzle, text if rng.random() < 0.25 else _flawed(rng, puzzle))
    answers = [_marked(rng, puzzle, _flawed(rng, puzzle)) for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4, 6)))]
    if honest:
        avoided = _avoided(rng, puzzle, answers, mix)
        return (
            avoided[0]
            if avoided
            else honest_example(revise_prompt(puzzle, answers, mix.shown), puzzle, _flawed(rng, puzzle))
        )
    return revise_example(rng, puzzle, answers, mix)


def honest_example(prompt: str, puzzle: Puzzle, answer: str) -> Example:
    """Returns an example of the results of an answer's steps, whether or not they reach the target."""
    left, steps = list(puzzle.numbers), list[Step]()
    for text in answer.splitlines():
        try:
            step = read_step(text)
            result = apply(step.left, step.op, step.right)
            if result is None:
                break
            step = Step(step.left, step.op, step.right, result)
            left = _after(left, step)
        except ValueError:  # not like a step, or with numbers that are not there
            break
        steps.append(step)
    text = trace_text(puzzle.numbers, steps)
    return Example(prompt, text if len(left) == 1 else f"{text}\n", results_only=True)


def _avoided(rng: random.Random, puzzle: Puzzle, shown: Sequence[Rejected], mix: Mix) -> list[Example]:
    """Returns an example against repeating a rejected step, if that step was wrong."""
    if not mix.avoid:
        return []
    one = rng.choice(shown[-mix.shown :])
    if one.line is None or judge(puzzle, one.answer)[one.line - 1 : one.line] != [False]:
        return []
    again = "\n".join(one.answer.splitlines()[: one.line])
    asked = honest_example(revise_prompt(puzzle, shown, mix.shown), puzzle, again)
    return [replace(asked, avoided_line=one.line)]


def draft_example(rng: random.Random, puzzle: Puzzle) -> Example:
    """Returns an example of one of the solutions."""
    return _solved(draft_prompt(puzzle), puzzle, *walk(rng, puzzle.numbers, puzzle.target))


def _solved(prompt: str, puzzle: Puzzle, steps: Sequence[Step], choices: Sequence[Choice | None]) -> Example:
    written = tuple(_beginnings(choice) if choice else () for choice in choices)
    return Example(prompt, trace_text(puzzle.numbers, steps), written)


def _beginnings(choice: Choice) -> tuple[tuple[str, float], ...]:
    texts = (f"{step.left}{step.op}{step.right}=" for step in choice.steps)
    return tuple(zip(texts, choice.shares, strict=True))


def critique_example(rng: random.Random, puzzle: Puzzle, answer: str) -> Example:
    """Returns an example of the true verdicts on all lines; training replaces their random confidences."""
    said = [_LINE_WORDS[found] for found in judge(puzzle, answer)]
    lines = [f"Line {n}: {word} ({rng.choice(PERCENTS)}%)\n" for n, word in enumerate(said, start=1)]
    verdict = CORRECT_ANSWER if check(puzzle, answer).passed else WRONG_ANSWER
    return Example(critique_prompt(puzzle, answer), "".join([*lines, f"{verdict} ({rng.choice(PERCENTS)}%)\n"]))


def revise_example(rng: random.Random, puzzle: Puzzle, answers: Sequence[Rejected], mix: Mix) -> Example:
    """Returns an example of a solution that keeps the usable lines of the last answer."""
    if rng.random() < mix.unmarked:
        shown = [Rejected(one.answer) for one in answers]
        drawn_steps = walk(rng, puzzle.numbers, puzzle.target)
    else:
        shown, drawn_steps = list(answers), _mended(rng, puzzle, answers[-1])
    return _solved(revise_prompt(puzzle, shown, mix.shown), puzzle, *drawn_steps)


def own_examples(seed: str, mix: Mix, chains: Sequence[Chain]) -> list[Example]:
    """Returns the examples of the network's own answers: a critique and a revision of each."""
    rng, made = random.Random(seed), list[Example]()  # noqa: S311  # examples, no secrets
    for chain in chains:
        for index, one in enumerate(chain.answers, start=1):
            made.append(critique_example(rng, chain.puzzle, one.answer))
            passed = check(chain.puzzle, one.answer).passed
            if one.line is not None or not passed:
                shown = chain.answers[:index]
                made.append(revise_example(rng, chain.puzzle, shown, mix))
                made += _avoided(rng, chain.puzzle, shown, mix)
            if not passed and rng.random() < mix.honest * 2:
                before = chain.answers[: index - 1]
                prompt = (
                    revise_prompt(chain.puzzle, before, mix.shown) if before else draft_prompt(chain.puzzle)
                )
                made.append(honest_example(prompt, chain.puzzle, one.answer))
        if rng.random() < mix.draft:
            made.append(draft_example(rng, chain.puzzle))
    return made


def _mended(rng: random.Random, puzzle: Puzzle, last: Rejected) -> tuple[list[Step], list[Choice | None]]:
    """Draws a solution from the last state before the rejected line from which the target can be reached."""
    kept, left = list[Step](), list(puzzle.numbers)
    for number, text in enumerate(last.answer.splitlines()[: (last.line or 1) - 1], start=1):
        after = check_line(left, text, number) if len(left) > 1 else None
        if not isinstance(after, list) or not can_reach(after, puzzle.target):
            break
        kept.append(read_step(text))
        left = _after(left, kept[-1])
    steps, choices = walk(rng, left, puzzle.target)
    return [*kept, *steps], [*(None for _ in kept), *choices]


def _after(left: Sequence[int], step: Step) -> list[int]:
    rest = list(left)
    rest.remove(step.left)
    rest.remove(step.right)
    return [*rest, step.result]


def _flawed(rng: random.Random, puzzle: Puzzle) -> str:
    """Writes an answer with some good lines and then bad ones."""
    size = len(puzzle.numbers)
    good = walk(rng, puzzle.numbers, puzzle.target)[0][: rng.randrange(size - 1)]
    steps, left = list(good), list(puzzle.numbers)
    for step in good:
        left = _after(left, step)
    while len(left) > 1:
        options = list(moves(left))
        if len(steps) == len(good):
            options = [o for o in options if not can_reach(o[1], puzzle.target)] or options
        if len(left) == 2 and rng.random() < 0.3:  # forced to the target, as a model likes to do
            a, b = max(left), min(left)
            steps.append(Step(a, rng.choice(OPERATORS), b, puzzle.target))
            break
        step, rest = rng.choice(options)
        steps.append(step)
        left = list(rest)
    text = trace_text(puzzle.numbers, steps)
    return _spoilt(rng, text) if rng.random() < 0.12 else text


def _spoilt(rng: random.Random, text: str) -> str:
    """Changes a digit, drops a line or adds a number."""
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    match rng.randrange(4):
        case 0 if len(lines) > 1:
            del lines[at]
        case 1:
            lines[at] += f",{rng.randint(1, 20)}"
        case _:
            digits = [i for i, char in enumerate(lines[at]) if char.isdigit()]
            i = rng.choice(digits)
            lines[at] = lines[at][:i] + str(rng.randrange(10)) + lines[at][i + 1 :]
    return "\n".join(lines)


def _marked(rng: random.Random, puzzle: Puzzle, answer: str) -> Rejected:
    """Marks the first bad line, or sometimes another one, as critics make mistakes."""
    found = judge(puzzle, answer)
    bad = next((n for n, fine in enumerate(found, start=1) if not fine), len(found))
    if rng.random() < 0.15:
        bad = rng.randint(1, len(found))
    return Rejected(answer, bad)


def stream(pool: Sequence[T], seed: int) -> Iterator[T]:
    """Yields a pool's examples without end, in a new random order at each pass."""
    rng = random.Random(seed)  # noqa: S311  # examples, no secrets
    while True:
        yield from rng.sample(pool, len(pool))
