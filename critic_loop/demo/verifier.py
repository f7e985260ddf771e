"""The exact Countdown verifier, in the form that recipes name: `countdown`.

Knows how a puzzle becomes a task and a check of it feedback. Does not know models.
"""

from __future__ import annotations

from typing import Any

from critic_loop.core.functions import verifier
from critic_loop.core.records import Feedback, Step, Task, Verdict
from critic_loop.core.view import View
from critic_loop.demo.countdown import ErrorKind, Puzzle, check, prompt_of, puzzle_of


def task_of(puzzle: Puzzle, *, source: str = "") -> Task:
    """Returns a puzzle as a task; the same puzzle is always the same task."""
    return Task.of(prompt_of(puzzle), source=source, license="Apache-2.0", tags=("countdown", puzzle.split))


@verifier(steps=True)
def countdown(view: View[Any]) -> Feedback:
    """Passes a trace that reaches the target, or names its first wrong line and why.

    Abstains where the task holds no puzzle, and of lines that do not end an answer where none of them is wrong;
    half a line, as in `8*3=`, is not judged.
    """
    puzzle = puzzle_of(view.task.text)
    if puzzle is None:
        reason = "the task holds no puzzle like 'Countdown 24: 3 5 7 8'"
        return Feedback.abstain(reason, data={"lacks": "puzzle"})
    begun = view.attempt if view.attempt is not None and view.attempt.unfinished else None
    found = check(puzzle, str(view.answer) if begun is None else _whole_lines(begun.messages[-1].text))
    if begun is not None and found.error_kind is ErrorKind.WRONG_LENGTH:
        return Feedback.abstain("no line is wrong so far")
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


def _whole_lines(text: str) -> str:
    lines, _, last = text.rpartition("\n")
    return lines if last.endswith("=") else text
