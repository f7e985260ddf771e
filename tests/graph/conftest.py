"""What graph tests share: a verifier that knows one answer, and actors with a known habit."""

from __future__ import annotations

from typing import Any

import pytest

import critic_loop as cl
from critic_loop.testing import ScriptedModel

WRONG = "No.\nVerdict: wrong"
RIGHT = "Yes.\nVerdict: correct"


@cl.verifier
def is_42(view: cl.View[str]) -> bool:
    return view.answer == "42"


@cl.verifier
def never(view: cl.View[str]) -> float:
    return 0.0


def counting() -> ScriptedModel:
    """An actor whose n-th call answers `answer n`."""
    calls = iter(range(1, 100_000))
    return ScriptedModel(lambda request: f"answer {next(calls)}")


def by_seed() -> ScriptedModel:
    """An actor whose answer follows from the seed that it is given: the same place, the same answer."""
    return ScriptedModel(lambda request: f"answer {request.sampling.seed}")


def disagree() -> ScriptedModel:
    return ScriptedModel(lambda request: WRONG)


def outline(tree: cl.Tree) -> list[tuple[Any, ...]]:
    """What two runs of one tree must agree in: attempts, answers, feedback, outcome."""
    attempts = [(a.id, a.parents, a.status, a.answer) for a in tree]
    feedback = sorted(
        (f.subject.attempts, f.source, f.author, f.verdict, f.score, f.text)
        for f in tree.feedback.values()
        if f.subject is not None
    )
    outcome = tree.outcome
    ending = None if outcome is None else (outcome.chosen, outcome.decided_by, outcome.stop)
    return [*sorted(attempts), *feedback, ending]  # type: ignore[list-item]


@pytest.fixture
def store(tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path}/trees.db"
