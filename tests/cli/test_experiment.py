"""The demo's comparison: what the strategies share, and the statistics."""

from __future__ import annotations

from typing import Any

import pytest

from critic_loop.cli.demo import ending
from critic_loop.core.records import Verdict
from critic_loop.demo.arms import ALL_ARMS, arm_loop
from critic_loop.demo.countdown import Puzzle, check, puzzle_of, sample_puzzles, solve, trace_text, traces
from critic_loop.demo.experiment import experiment
from critic_loop.demo.verifier import task_of
from critic_loop.store import open_store
from critic_loop.testing import ScriptedModel


def solution(puzzle: Puzzle) -> str:
    steps = solve(puzzle)
    assert steps is not None
    return trace_text(puzzle.numbers, steps)


def mistake(puzzle: Puzzle) -> str:
    wrong = next(t for t in traces(puzzle.numbers) if t[-1].result != puzzle.target)
    return trace_text(puzzle.numbers, wrong)


def player() -> ScriptedModel:
    """Judges truly; revises rightly where the last critique speaks of this puzzle's own first line."""

    def play(request: Any) -> str:
        puzzle = next(p for m in request.messages if m.role == "user" and (p := puzzle_of(m.text)))
        system = request.messages[0].text
        if "Role: critic" in system:
            right = solution(puzzle) in request.messages[-1].text
            return (
                f"Line 1: wrong ({puzzle.target % 40 + 50}%)\nVerdict: wrong (99%)"
                if not right
                else "Verdict: correct (99%)"
            )
        told = f"Line 1: wrong ({puzzle.target % 40 + 50}%)" in request.messages[-1].text
        lucky = request.sampling.seed % 40 == 0
        return solution(puzzle) if told or lucky else mistake(puzzle)

    return ScriptedModel(play)


@pytest.mark.anyio
async def test_all_arms_but_one_begin_with_the_same_draft() -> None:
    store, task = open_store(), task_of(sample_puzzles(1, 1)[0])
    first = {
        name: next(iter((await arm_loop(name, player(), store, tokens=200).run(task, seed=3)).tree)).answer
        for name in ALL_ARMS
        if name != "reviser-drafts"
    }
    assert len(set(first.values())) == 1


@pytest.mark.anyio
async def test_an_arm_ends_with_the_round_that_reaches_its_tokens() -> None:
    model = ScriptedModel(
        lambda request: "Verdict: wrong (99%)" if "Role: critic" in request.messages[0].text else "?"
    )
    loop = arm_loop("resample", model, open_store(), tokens=5)
    result = await loop.run(task_of(sample_puzzles(1, 1)[0]), seed=3)
    assert result.stop == "spent"
    spent, rounds = result.spend.usage.output_tokens, len(result.tree)
    assert spent >= 5
    assert spent - spent / rounds < 5


@pytest.mark.anyio
async def test_the_comparison() -> None:
    store, told = open_store(), list[tuple[str, int, int]]()
    report = await experiment(
        player(), store, puzzles=6, arms=ALL_ARMS, tokens=60,
        progress=lambda name, done, total: told.append((name, done, total)),
    )  # fmt: skip
    for found in report.levels:
        arms = {arm.name: arm for arm in found.arms}
        assert arms["refine"].rate == 1.0
        assert arms["draft"].solved < 6
        assert arms["draft"].calls == 6
        assert arms["no-critique"].solved < 6
        assert arms["wrong-critique"].solved < 6
        against = {pair.theirs: pair for pair in found.paired}
        assert set(against) == set(ALL_ARMS) - {"refine", "draft"}
        assert against["resample"].only_ours == 6 - arms["resample"].solved
        assert against["resample"].only_theirs == 0
    assert told[-1] == ("hard reviser-drafts", 6, 6)
    assert report.revised is not None
    shown, exported = ending(report).plain.splitlines()[-2:]
    assert shown.startswith("next   ")
    assert shown.endswith(f" show {report.store} {report.revised.id}")
    assert exported.startswith("       ")
    assert " export --to preference " in exported
    assert len([tree async for tree in store.trees()]) == 2 * 6 * len(ALL_ARMS)


@pytest.mark.anyio
async def test_evidence_is_added_after_the_fact_and_once() -> None:
    store = open_store()
    for _ in range(2):
        await experiment(player(), store, puzzles=3, tokens=100)
    for listed in [tree async for tree in store.trees()]:
        tree = await store.load(listed.id)
        for attempt in tree:
            said = [f for f in tree.judgements(attempt.id) if f.source == "verifier"]
            assert len(said) == 1
            puzzle = puzzle_of(tree.task.text)
            assert puzzle is not None
            assert (said[0].verdict is Verdict.PASS) == check(puzzle, str(attempt.answer)).passed
            assert tree.outcome is not None


@pytest.mark.anyio
async def test_a_second_look_at_stored_trees_finds_what_the_first_found() -> None:
    """Trees at their limit may choose anew, with the verifier's help; what they chose first is what counts."""

    def play(request: Any) -> str:
        puzzle = next(p for m in request.messages if m.role == "user" and (p := puzzle_of(m.text)))
        if "Role: critic" in request.messages[0].text:
            return f"Verdict: wrong ({'99' if solution(puzzle) in request.messages[-1].text else '60'}%)"
        return solution(puzzle) if request.sampling.seed % 3 == 0 else mistake(puzzle)

    store = open_store()
    first, second = [
        await experiment(ScriptedModel(play), store, puzzles=12, arms=("refine", "best-of-n"), tokens=60)
        for _ in range(2)
    ]
    solved = [[arm.solved_B for level in report.levels for arm in level.arms] for report in (first, second)]
    assert solved[0] == solved[1]
