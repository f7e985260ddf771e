"""Grades steer nothing: wherever they are added to whatever tree, all that a loop asks of it stays the same."""

from __future__ import annotations

import copy
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critic_loop.core.progress import Progress
from critic_loop.core.protocols import Move
from critic_loop.core.records import Ask, Attempt, Feedback, Record, Spend, Subject, Verdict
from critic_loop.core.rules import Rule
from critic_loop.core.stop import RULES as STOP_RULES
from critic_loop.core.tree import Tree
from critic_loop.evidence import best, better_of, comparison_of, standing, value_of
from critic_loop.nodes.views import argued, evidence_on, shown_to_actor
from critic_loop.search.build import SEARCHES, build
from critic_loop.select import RULES as SELECTIONS
from critic_loop.select import selection
from tests.property import test_export, test_trees, test_why
from tests.worlds import Played, draw

SETTINGS = {
    "map-elites": {"axes": [{"name": "size", "edges": [0.3, 0.6]}]},
    "beam": {"width": 2, "samples": 2, "depth": 3},
    "pool": {"n": 9},
}
"""What a search needs to work; all others work as they are."""
SHOWS = ("answer", "verdict", "score", "text", "verifier", "reasoning")
HEARD = st.sampled_from([Verdict.PASS, Verdict.FAIL, Verdict.ABSTAIN, None])


def graded(tree: Tree, draw: st.DrawFn, *, most: int = 6) -> Tree:
    """Return the tree with grades, and feedback that uses them, put in anywhere behind what they are about."""
    log = list(tree.log)
    for number in range(draw(st.integers(1, most))):
        place = draw(st.integers(1, len(log)))
        grade = a_grade(Tree.of(log[:place]), f"t.u{number}", draw)
        log[place:place] = [] if grade is None else [grade]
    return Tree.of(log)


def a_grade(tree: Tree, id_: str, draw: st.DrawFn) -> Feedback | None:
    """Return a grader's word on anything in the tree, or a word of anybody's that uses a grade."""
    known = [*tree.feedback, *tree.grades]
    if tree.grades and draw(st.booleans()):
        used = draw(st.sampled_from(list(tree.grades)))
        about = Subject.of(draw(st.sampled_from(list(tree.asks))))
        source = draw(st.sampled_from(["verifier", "critic", "judge", "human", "user", "tool"]))
        uses = draw(
            st.sampled_from(
                [
                    {"subject": Subject(feedback=used)},
                    {"subject": about, "supersedes": used},
                    {"subject": about, "rests_on": (used,)},
                ]
            )
        )
        return Feedback(id=id_, source=source, verdict=draw(HEARD), score=draw(test_trees.scores), **uses)
    if not tree.asks:
        return None
    attempts = draw(st.lists(st.sampled_from(list(tree.asks)), min_size=1, max_size=2, unique=True))
    preference = (1.0, 0.0) if len(attempts) == 2 and draw(st.booleans()) else None
    supersedes = draw(st.sampled_from([None, *known]))
    return Feedback(
        id=id_, subject=Subject.of(*attempts), source="grader", author=draw(st.sampled_from(["x", "tests"])),
        verdict=draw(HEARD), score=draw(test_trees.scores), preference=preference, supersedes=supersedes,
        data={"tests": {"adds": draw(st.booleans())}, "size": 0.9}, suggestion="Use 42.", confidence=1.0,
    )  # fmt: skip


@st.composite
def with_grades(draw: st.DrawFn) -> tuple[Tree, Tree]:
    """Return any tree, and the same with grades."""
    plain = draw(st.one_of(test_trees.trees(), test_why.trees(), test_export.trees()))
    return plain, graded(plain, draw)


@given(with_grades())
@settings(max_examples=150, deadline=None)
def test_no_index_but_its_own_holds_a_grade(pair: tuple[Tree, Tree]) -> None:
    plain, tree = pair
    assert tree.without_grades().log == plain.log
    assert tree.feedback == plain.feedback
    for subject in (*tree.asks, *tree.feedback):
        assert tree.about(subject) == plain.about(subject)
        assert {f.id for f in tree.grades_on(subject)} <= set(tree.grades)
    assert all(tree.judgements(i) == plain.judgements(i) for i in tree.asks)
    assert not tree.grades.keys() & tree.feedback.keys()
    assert {r.id for r in tree.log if isinstance(r, Feedback)} == {*tree.grades, *tree.feedback}
    assert tree.next_feedback_id() == plain.next_feedback_id()


@given(with_grades())
@settings(max_examples=100, deadline=None)
def test_worth_and_order_are_unchanged(pair: tuple[Tree, Tree]) -> None:
    plain, tree = pair
    assert [value_of(tree, i) for i in tree.asks] == [value_of(plain, i) for i in plain.asks]
    assert best(tree) == best(plain)
    assert standing(tree, tuple(tree.asks)) == standing(plain, tuple(plain.asks))
    for one in list(tree.asks)[:4]:
        for other in list(tree.asks)[:4]:
            for strict in (True, False):
                found = better_of(tree, one, other, both_judged=strict, compared=strict)
                assert found == better_of(plain, one, other, both_judged=strict, compared=strict)
            assert comparison_of(tree, one, other) == comparison_of(plain, one, other)


@pytest.mark.parametrize("name", sorted(SELECTIONS))
@given(pair=with_grades())
@settings(max_examples=25, deadline=None)
def test_every_selection_chooses_as_before(name: str, pair: tuple[Tree, Tree]) -> None:
    rule = selection(name)
    plain, tree = pair
    assert rule(tree) == rule(plain)


@given(pair=with_grades())
@settings(max_examples=100, deadline=None)
def test_every_stop_rule_and_every_view_is_as_before(pair: tuple[Tree, Tree]) -> None:
    plain, tree = pair
    assert reasons(tree) == reasons(plain)
    assert views(tree) == views(plain)


def reasons(tree: Tree) -> list[object]:
    progress, said = Progress(tree), list[object]()
    arguments = {"max_rounds": (2,), "max_attempts": (3,), "elapsed": (5.0,)}
    rules: list[Rule] = [kind(*arguments.get(name, ())) for name, kind in STOP_RULES.items() if name != "spent"]
    for number, attempt in enumerate(tree.attempts, 1):
        progress.observe(attempt, Spend(calls=number, elapsed_s=number), value_of(tree, attempt))
        said += [rule(progress) for rule in rules]
    return said


def views(tree: Tree) -> list[object]:
    ids = list(tree.attempts)
    moves = [Move(parents=(i,), shows=tuple(ids[:2])) for i in ids]
    shown: list[object] = [
        shown_to_actor(tree, move, memory, SHOWS) for move in moves for memory in ("path", "last")
    ]
    shown += [evidence_on(tree, i, SHOWS) for i in ids]
    return [*shown, *(argued(tree, one, other) for one in ids[:3] for other in ids[:3])]


def in_a_world(tree: Tree, ask: Ask) -> dict[str, object]:
    """Failures, few different answers, verdicts and scores, unjudged ones."""
    chance = draw(tree, ask)
    if chance.random() < 0.15:
        return {"status": "failed", "answer": None}
    score = round(chance.random(), 2) if chance.random() < 0.8 else None
    return {"answer": str(chance.randrange(4)), "score": score, "data": {"size": chance.random()}}


@pytest.mark.parametrize("name", sorted(SEARCHES))
@given(seed=st.integers(0, 10**6), lanes=st.integers(1, 4), data=st.data())
@settings(max_examples=12, deadline=None)
def test_every_search_moves_as_before(name: str, seed: int, lanes: int, data: st.DataObject) -> None:
    levels = [(name, SETTINGS.get(name, {}))]
    if name in ("anti-repeat", "pool", "temperature"):
        levels.append(("refine", {}))
    played = Played(build(levels), in_a_world, lanes=lanes, seed=seed)
    played.run(data.draw(st.integers(1, 25)), random.Random(seed))
    tree = graded(played.tree, data.draw)
    state, twin = (folded(played, each) for each in (played.tree, tree))
    assert played.search.ask(twin, tree) == played.search.ask(state, played.tree)
    assert twin == state


def folded(played: Played, tree: Tree) -> object:
    """Return the search's state after each beginning of the log, with the grades that stood there."""
    state, so_far = copy.deepcopy(played.search.start(tree.task)), Tree(tree.head)
    pending: Record | None = None
    for record in tree.log[1:]:
        if pending is not None and not isinstance(record, Feedback):
            state, pending = played.search.fold(state, so_far, pending), None  # type: ignore[arg-type]
        so_far.append(record)
        if isinstance(record, Ask):
            state = played.search.fold(state, so_far, record)
        elif isinstance(record, Attempt):
            pending = record
    return state if pending is None else played.search.fold(state, so_far, pending)  # type: ignore[arg-type]
