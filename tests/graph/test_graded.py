"""A tree that was graded goes on as if it had not been: nothing that a run asks is handed a grade."""

from __future__ import annotations

from typing import Any

import pytest

import critic_loop as cl
from critic_loop.core.records import Feedback, Subject
from critic_loop.search import search
from critic_loop.select import best_value
from tests.graph.conftest import counting, disagree

pytestmark = pytest.mark.anyio


class Watched:
    """A loop whose search, selection, rule and verifier, all written by its user, note what trees they see."""

    def __init__(self, store: str, *, max_calls: int) -> None:
        self.seen: list[cl.Tree] = []

        @search
        def chain(tree: cl.Tree) -> cl.Move | cl.Stop:
            self.seen.append(tree)
            last = next(reversed(tree.attempts), None)
            return cl.Stop("done") if len(tree) == 4 else cl.Move(parents=(last,) if last else ())

        def newest(tree: cl.Tree) -> cl.Pick:
            self.seen.append(tree)
            return best_value(tree)

        critic = disagree()
        self.loop: cl.Loop[str] = cl.Loop(
            "refine", actor=counting(), critic=critic, search=chain, select=newest, stop=cl.MaxAttempts(9),
            store=store, max_calls=max_calls,
        )  # fmt: skip
        self.critic = critic


def grade(verdict: cl.Verdict, **fields: Any) -> Feedback:
    return Feedback(source="grader", author="hidden-tests", verdict=verdict, text="SECRET", **fields)


async def graded(store: str) -> cl.Result[str]:
    """Run out of budget after two attempts; grade them all, and let a critic rest its word on a grade."""
    async with Watched(store, max_calls=4).loop as loop:
        result = await loop.run("x", tree_id="t")
        assert (result.stop, len(result.tree)) == ("budget", 2)
        said = [await loop.store.add_feedback(i, grade(cl.Verdict.PASS)) for i in result.tree.attempts]
        await loop.store.add_feedback(
            "t.1", Feedback(author="ann", verdict=cl.Verdict.PASS, rests_on=(said[0].id,))
        )
        about = Feedback(source="user", author="ann", score=1.0, subject=Subject(feedback=said[0].id))
        await loop.store.add_feedback("t.1", about)
        stored = await loop.store.load("t")
    assert len(stored.grades) == 4
    return result


async def test_a_run_that_goes_on_sees_no_grade_and_its_result_has_them(store: str) -> None:
    await graded(store)
    watched = Watched(store, max_calls=40)
    async with watched.loop as loop:
        result = await loop.run("x", tree_id="t")
        stored = await loop.store.load("t")
    assert (result.stop, len(result.tree)) == ("done", 4)
    assert watched.seen
    for tree in watched.seen:
        assert not tree.grades
        assert not [r for r in tree.log if isinstance(r, Feedback) and (r.source == "grader" or r.rests_on)]
    assert all("SECRET" not in m.text for request in watched.critic.requests for m in request.messages)
    assert len(result.tree.grades) == 4
    assert result.tree.log == stored.log, "grades stand where they were given"
    assert [f.source for f in result.tree.grades_on("t.1")] == ["grader", "critic"]
    assert result.attempt_id == "t.1"
    assert (result.verdict, result.value.accepted) == (cl.Verdict.PASS, False)
    assert result.why().cause == "solved"


async def test_a_graded_tree_goes_on_as_one_that_was_not(store: str, tmp_path: Any) -> None:
    await graded(store)
    twin = f"sqlite:///{tmp_path}/twin.db"
    async with Watched(twin, max_calls=4).loop as loop:
        await loop.run("x", tree_id="t")
    logs = []
    for where in (store, twin):
        async with Watched(where, max_calls=40).loop as loop:
            tree = (await loop.run("x", tree_id="t")).tree.without_grades()
        logs.append([(type(r), getattr(r, "id", getattr(r, "attempt", ""))) for r in tree.log])
    assert logs[0] == logs[1]


async def test_a_finished_tree_is_returned_with_its_grades(store: str) -> None:
    async with Watched(store, max_calls=40).loop as loop:
        first = await loop.run("x", tree_id="t")
        assert first.verdict is cl.Verdict.FAIL
        await loop.store.add_feedback(first.attempt_id or "", grade(cl.Verdict.PASS))
        again = await loop.run("x", tree_id="t")
    assert (again.verdict, len(again.tree.grades)) == (cl.Verdict.PASS, 1)
    assert again.tree.log[:-1] == first.tree.log
