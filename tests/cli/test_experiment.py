"""The demo's comparison: what the strategies share, and the statistics."""

from __future__ import annotations

from typing import Any

import pytest

from critic_loop.core.value import value_of
from critic_loop.demo.countdown import puzzle_of, sample_puzzles, solve, trace_text, traces
from critic_loop.demo.experiment import experiment, strategy_loop
from critic_loop.demo.shares import mcnemar, wilson
from critic_loop.demo.verifier import task_of
from critic_loop.store import open_store
from critic_loop.testing import ScriptedModel


def test_intervals_and_p_values() -> None:
    assert wilson(45, 100) == pytest.approx((0.3561, 0.5476), abs=1e-4)
    assert wilson(0, 20)[0] == 0.0
    assert wilson(20, 20)[1] == 1.0
    assert mcnemar(8, 10) == pytest.approx(0.8145, abs=1e-4)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(10, 0) == pytest.approx(2 / 2**10)


def player() -> ScriptedModel:
    """Right when it is shown a rejected attempt, or when its seed says so."""

    def play(request: Any) -> str:
        puzzle = next(p for m in request.messages if m.role == "user" and (p := puzzle_of(m.text)))
        steps = solve(puzzle)
        assert steps is not None
        right = any(m.role == "assistant" for m in request.messages) or request.sampling.seed % 3 == 0
        return trace_text(puzzle.numbers, steps if right else next(traces(puzzle.numbers)))

    return ScriptedModel(play)


@pytest.mark.anyio
async def test_all_strategies_begin_with_the_same_draft() -> None:
    store, first = open_store(), {}
    task = task_of(sample_puzzles(1, 1)[0])
    for name in ("draft", "retry", "try-again"):
        result = await strategy_loop(name, player(), store, calls=4).run(task, seed=3)
        first[name] = next(iter(result.tree)).answer
        assert len(result.tree) <= (1 if name == "draft" else 4)
    assert len(set(first.values())) == 1


@pytest.mark.anyio
async def test_the_comparison() -> None:
    store = open_store()
    told: list[tuple[str, int, int]] = []
    report = await experiment(player(), store, puzzles=30, calls=3, progress=lambda *step: told.append(step))
    draft, retry, again = report.strategies
    assert (again.solved, again.rate) == (30, 1.0)
    assert draft.solved < retry.solved < again.solved
    assert report.paired.only_ours == again.solved - retry.solved
    assert report.paired.only_theirs == 0
    assert draft.calls == 30
    assert told[-1] == ("try-again", 30, 30)
    assert report.mended is not None
    verdicts = [value_of(report.mended, attempt.id).verified for attempt in report.mended]
    assert verdicts == [False, True]
    assert len([tree async for tree in store.trees()]) == 90
