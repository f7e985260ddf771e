"""The exact Countdown verifier, in the form that recipes name: `countdown`.

Knows how a puzzle becomes a task and a check of it feedback. Does not know models.
"""

from __future__ import annotations

from typing import Any, Protocol

from critic_loop.core.records import Feedback, Step, Task, Verdict
from critic_loop.demo.countdown import Puzzle, check, prompt_of, puzzle_of


class _Seen(Protocol):
    """The part of a view that this verifier looks at."""

    @property
    def task(self) -> Task: ...
    @property
    def answer(self) -> Any: ...


def task_of(puzzle: Puzzle, *, source: str = "") -> Task:
    """Returns a puzzle as a task; the same puzzle is always the same task."""
    return Task.of(prompt_of(puzzle), source=source, licence="Apache-2.0", tags=("countdown", puzzle.split))


def countdown(view: _Seen) -> Feedback:
    """Passes a trace that reaches the target, or names its first wrong line and why.

    Abstains where the task holds no puzzle.
    """
    puzzle = puzzle_of(view.task.text)
    if puzzle is None:
        return Feedback.abstain("the task holds no puzzle like 'Countdown 24: 3 5 7 8'")
    found = check(puzzle, str(view.answer))
    if found.passed:
        return Feedback.passed(found.reason, score=1.0, first_error=-1)
    first = (found.line or 1) - 1
    return Feedback.failed(
        found.reason,
        score=0.0,
        first_error=first,
        steps=(Step(index=first, verdict=Verdict.FAIL, text=found.reason),),
        data={"error_kind": str(found.error_kind)},
    )
