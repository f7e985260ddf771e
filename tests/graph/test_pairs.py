"""Solutions by one actor, tests by another, and a verifier of the two together."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

import critic_loop as cl
from critic_loop.core.errors import ModelError
from critic_loop.evidence import best
from critic_loop.search import Nest, Refine, Sample, build
from critic_loop.search.sample import ExtraSamples
from critic_loop.select import matrix_of
from critic_loop.store import MemoryStore
from critic_loop.testing import ScriptedModel, run_virtual
from tests.graph.conftest import outline

pytestmark = pytest.mark.anyio

SOLUTIONS = ["4", "6", "9", "6"]
TESTS = ["even", "multiple of 3", "odd"]
HOLDS = {"even": lambda n: n % 2 == 0, "odd": lambda n: n % 2 == 1, "multiple of 3": lambda n: n % 3 == 0}


def pair(seen: list[tuple[str, str]] | None = None) -> Any:
    @cl.verifier(pairs=True, name="pair")
    def check(view: cl.View[str]) -> bool:
        """Whether a number is what its test says."""
        number, (test,) = view.answer or "", view.also_shown
        if seen is not None:
            seen.append((number, str(test.answer)))
        return HOLDS[str(test.answer)](int(number))

    return check


def loop(*verifiers: Any, store: Any = None, search: Any = None, **parts: Any) -> cl.Loop[str]:
    extra_samples = [{"n": 3, "moves": "tests", "agent": "tester"}]
    parts = {"actor": ScriptedModel(SOLUTIONS), "tester": ScriptedModel(TESTS), "lanes": 1, **parts}
    return cl.Loop(
        "code-t", slots={"tester": parts.pop("tester")}, verifiers=verifiers, store=store,
        search=search or build([("sample", {"n": 4, "extra_samples": extra_samples})]), **parts,
    )  # fmt: skip


async def test_each_answer_meets_each_test_and_what_agrees_is_chosen() -> None:
    seen: list[tuple[str, str]] = []
    result = await loop(pair(seen)).run("x")
    assert (result.answer, result.decided_by) == ("6", "vote")
    assert Counter(seen) == Counter((s, t) for s in SOLUTIONS for t in TESTS)
    made = [(a.kind, result.tree.asks[a.id].agent) for a in result.tree]
    assert made == [("answer", "actor/solver")] * 4 + [("tests", "tester")] * 3
    matrix = matrix_of(result.tree, tuple(result.tree.attempts)[:4])
    assert matrix.passes == (
        (True, False, False),
        (True, True, False),
        (False, True, True),
        (True, True, False),
    )


async def test_evidence_on_a_pair_judges_neither_alone() -> None:
    tree = (await loop(pair()).run("x")).tree
    assert all(cl.value_of(tree, a.id).score is None for a in tree)
    assert {f.author for f in tree.feedback.values()} == {"pair"}


async def test_who_verifies_answers_is_not_asked_about_tests_and_they_are_never_the_best() -> None:
    asked: list[str] = []

    @cl.verifier
    def alone(view: cl.View[str]) -> float:
        asked.append(view.answer or "")
        return 0.5

    result = await loop(pair(), alone).run("x")
    assert asked == SOLUTIONS
    tree = result.tree
    test = next(a.id for a in tree if a.kind == "tests")
    about = {"id": tree.next_feedback_id(), "subject": {"attempts": (test,)}}
    tree.append(cl.Feedback.passed(source="verifier", author="ann", score=1.0, **about))
    assert tree[best(tree) or ""].kind == "answer"


async def test_a_check_that_breaks_is_neither_passed_nor_failed() -> None:
    @cl.verifier(pairs=True, name="fragile")
    def fragile(view: cl.View[str]) -> bool:
        if view.also_shown[0].answer == "even" and view.answer == "9":
            raise RuntimeError("no memory")
        return HOLDS[str(view.also_shown[0].answer)](int(view.answer or ""))

    result = await loop(fragile).run("x")
    matrix = matrix_of(result.tree, tuple(result.tree.attempts)[:4])
    assert [result.tree[test].answer for test, _ in matrix.tests] == ["multiple of 3", "odd"]
    (broken,) = [f for f in result.tree.feedback.values() if f.verdict is cl.Verdict.ABSTAIN]
    assert "no memory" in broken.reason


async def test_single_tests_of_a_pair_are_tests_of_their_own() -> None:
    @cl.verifier(pairs=True)
    def each(view: cl.View[str]) -> cl.Feedback:
        words = str(view.also_shown[0].answer).split(" and ")
        return cl.Feedback(data={"tests": {w: HOLDS[w](int(view.answer or "")) for w in words}})

    tester = ScriptedModel(["even and odd", "multiple of 3", "odd"])
    result = await loop(each, tester=tester).run("x")
    matrix = matrix_of(result.tree, tuple(result.tree.attempts)[:4])
    assert [name for _, name in matrix.tests] == ["even", "odd", "multiple of 3", "odd"]
    assert sum(matrix.passes[1]) == 2


async def test_what_could_not_be_read_or_failed_is_not_checked() -> None:
    seen: list[tuple[str, str]] = []
    actor = ScriptedModel(["4", ModelError("dead"), "", "6"])
    await loop(pair(seen), actor=actor).run("x")
    assert {number for number, _ in seen} == {"4", "6"}


def test_killed_while_pairs_are_checked_it_checks_the_others_alone() -> None:
    async def main() -> None:
        store, seen = MemoryStore(), list[tuple[str, str]]()

        @cl.verifier(pairs=True, name="pair")
        async def slow(view: cl.View[str]) -> bool:
            await asyncio.sleep(1 + len(seen))
            seen.append((view.answer or "", str(view.also_shown[0].answer)))
            return HOLDS[seen[-1][1]](int(seen[-1][0]))

        actor, tester = ScriptedModel(SOLUTIONS), ScriptedModel(TESTS)
        running = asyncio.ensure_future(
            loop(slow, store=store, actor=actor, tester=tester).run("x", tree_id="t")
        )
        await asyncio.sleep(1.5)
        running.cancel()
        await asyncio.wait([running])
        done = len((await store.load("t")).feedback)
        assert done > 0
        again = list[tuple[str, str]]()
        resumed = await loop(pair(again), store=store, actor=actor, tester=tester).run("x", tree_id="t")
        assert len(again) == 12 - done
        assert (len(actor.requests), len(tester.requests)) == (4, 3)
        assert outline(resumed.tree) == outline((await loop(pair()).run("x", tree_id="t")).tree)

    run_virtual(main())


async def test_in_a_nest_answers_are_revised_and_tests_are_left() -> None:
    search = Nest(
        Sample(n=2, extra_samples=(ExtraSamples(n=2, moves="tests", agent="tester"),)), Refine(rounds=2)
    )
    result = await loop(pair(), search=search).run("x")
    assert Counter((a.kind, bool(a.parents)) for a in result.tree) == {
        ("answer", False): 2, ("answer", True): 2, ("tests", False): 2,
    }  # fmt: skip
