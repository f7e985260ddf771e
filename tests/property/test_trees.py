"""Whatever legal records come in whatever order: the tree's indexes agree with its log."""

from __future__ import annotations

import gc
import itertools
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critic_loop.core.errors import StoreError
from critic_loop.core.messages import user
from critic_loop.core.records import Ask, Attempt, Feedback, Head, Subject, Task, Verdict
from critic_loop.core.tree import Tree
from critic_loop.core.value import Value
from critic_loop.evidence import best, value_of

HEAD = Head(tree="t", task=Task(prompt=(user("x"),)), recipe="r", recipe_digest="", key="k", created_at=0.0)
scores = st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0])
verdicts = st.none() | st.sampled_from(list(Verdict))


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """A legal sequence of appends: moves, settled late or never, judged by many."""
    tree = Tree(HEAD)
    for _ in range(draw(st.integers(0, 25))):
        match draw(st.sampled_from(["ask", "settle", "judge", "doubt", "compare"])):
            case "ask":
                parents = (
                    draw(st.lists(st.sampled_from([*tree.asks]), unique=True, max_size=2)) if tree.asks else []
                )
                tree.append(Ask(attempt=tree.next_attempt_id(), parents=tuple(parents)))
            case "settle" if tree.open:
                ask = tree.open[draw(st.sampled_from([*tree.open]))]
                status = draw(st.sampled_from(["complete", "failed", "partial", "parked"]))
                tree.append(Attempt(id=ask.attempt, parents=ask.parents, status=status))
            case "judge" if tree.asks:
                tree.append(
                    Feedback(
                        id=tree.next_feedback_id(),
                        subject=Subject.of(draw(st.sampled_from([*tree.asks]))),
                        source=draw(st.sampled_from(["verifier", "critic", "tool", "user"])),
                        verdict=draw(verdicts),
                        score=draw(scores),
                        advisory=draw(st.booleans()),
                        supersedes=draw(st.none() | st.sampled_from([*tree.feedback]))
                        if tree.feedback
                        else None,
                    )
                )
            case "doubt" if tree.feedback:
                about = draw(st.sampled_from([*tree.feedback]))
                tree.append(Feedback(id=tree.next_feedback_id(), subject=Subject(feedback=about)))
            case "compare" if len(tree.asks) > 1:
                pair = draw(st.permutations([*tree.asks]))[:2]
                tree.append(
                    Feedback(id=tree.next_feedback_id(), subject=Subject.of(*pair), preference=(1.0, 0.0))
                )
            case _:
                pass
    return tree


def indexes(tree: Tree) -> tuple[object, ...]:
    return (
        tree.log,
        tree.asks,
        tree.attempts,
        tree.feedback,
        tree.open,
        tree.roots,
        [(tree.children(i), tree.depth(i), tree.path(i), tree.about(i), tree.judgements(i)) for i in tree.asks],
        [tree.about(i) for i in tree.feedback],
    )


@given(trees())
@settings(max_examples=80, deadline=None)
def test_a_tree_is_its_log(tree: Tree) -> None:
    assert indexes(Tree.of(tree.log)) == indexes(tree)


@given(trees())
@settings(max_examples=80, deadline=None)
def test_relations_agree(tree: Tree) -> None:
    for attempt, ask in tree.asks.items():
        assert all(attempt in tree.children(parent) for parent in ask.parents)
        assert all(attempt in tree.asks[child].parents for child in tree.children(attempt))
        assert (attempt in tree.roots) == (not ask.parents)
        assert tree.depth(attempt) == max((tree.depth(p) + 1 for p in ask.parents), default=0)
        path = tree.path(attempt)
        assert path[-1] == attempt
        assert path[0] in tree.roots
        assert len(path) <= tree.depth(attempt) + 1
        assert all(tree.asks[below].parents[0] == above for above, below in itertools.pairwise(path))
        settled = attempt in tree.attempts and tree[attempt].settled
        assert (attempt in tree.open) != settled
    assert set(tree.attempts) <= set(tree.asks)
    assert [a.id for a in tree] == [*tree.attempts]


@given(trees())
@settings(max_examples=60, deadline=None)
def test_feedback_is_found_where_it_belongs(tree: Tree) -> None:
    dead = {f.supersedes for f in tree.feedback.values()}
    for attempt in tree.asks:
        named = [f for f in tree.feedback.values() if f.subject and attempt in f.subject.attempts]
        assert tree.about(attempt) == tuple(f for f in named if f.id not in dead)
        assert {f.id for f in tree.judgements(attempt)} == {
            f.id
            for f in named
            if f.id not in dead and not f.advisory and f.subject and len(f.subject.attempts) == 1
        }


@given(trees(), st.sampled_from(["t.99", "t.f99", "", "x.1"]))
@settings(max_examples=50, deadline=None)
def test_unknown_ids_raise_and_change_nothing(tree: Tree, unknown: str) -> None:
    before = list(tree.log)
    subject = Subject.of(unknown)
    for record in (
        Ask(attempt="t.100", parents=(unknown,)),
        Attempt(id=unknown),
        Feedback(id="t.f100", subject=subject),
        Feedback(id="t.f100", subject=Subject(feedback=unknown)),
    ):
        with pytest.raises(StoreError):
            tree.append(record)
    with pytest.raises(StoreError):
        tree[unknown]
    assert unknown not in tree
    assert tree.log == before
    assert indexes(Tree.of(before)) == indexes(tree)


values = st.builds(
    Value,
    verified=st.none() | st.booleans(),
    evidence=scores,
    accepted=st.none() | st.booleans(),
    opinion=scores,
)


@given(values, values, values)
def test_the_order_of_values_is_total(a: Value, b: Value, c: Value) -> None:
    assert (a < b) + (b < a) + (a.key == b.key) == 1
    if a <= b and b <= c:
        assert a <= c


@given(values, values)
def test_verified_beats_unverified_whatever_opinion_says(a: Value, b: Value) -> None:
    if a.verified is True and b.verified is not True:
        assert a > b
    if a.verified is not False and b.verified is False:
        assert a > b


@given(trees())
@settings(max_examples=60, deadline=None)
def test_the_best_is_beaten_by_none(tree: Tree) -> None:
    complete = [a.id for a in tree if a.status == "complete"]
    winner = best(tree)
    assert (winner is None) == (not complete)
    if winner is not None:
        assert all(value_of(tree, winner) >= value_of(tree, i) for i in complete)


def test_a_hundred_thousand_attempts() -> None:
    """The last tenth costs no more than the first: nothing grows with the size of a tree."""
    count, rng, tree = 100_000, random.Random(0), Tree(HEAD)
    ids = [f"t.{number}" for number in range(count)]
    above = [(ids[rng.randint(max(0, n - 500), n - 1)],) if n else () for n in range(count)]
    took: list[float] = []
    gc.disable()
    try:
        for begin in range(0, count, count // 10):
            begun = time.process_time()
            for attempt, parents in zip(ids[begin : begin + count // 10], above[begin:], strict=False):
                _ = tree.next_attempt_id(), tree.next_feedback_id()
                tree.append(Ask.model_construct(attempt=attempt, parents=parents))
                tree.append(Attempt.model_construct(id=attempt, parents=parents))
                _ = tree.children(attempt), tree.depth(attempt), tree[attempt], tree.about(attempt)
                _ = tree.judgements(attempt)
            took.append(time.process_time() - begun)
    finally:
        gc.enable()
    assert took[-1] < 5 * min(took)
    assert len(tree) == count
    assert len(tree.path(ids[-1])) == tree.depth(ids[-1]) + 1
