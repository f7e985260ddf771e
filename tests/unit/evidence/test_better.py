"""What an attempt is worth: evidence before opinion, known before unknown."""

from __future__ import annotations

import pytest

from critic_loop.core.messages import user
from critic_loop.core.records import Ask, Attempt, Feedback, Head, Location, Subject, Task, Verdict
from critic_loop.core.tree import Tree
from critic_loop.core.value import Value
from critic_loop.evidence import (
    Better,
    Open,
    Tie,
    beats,
    best,
    better_of,
    comparison_of,
    preference,
    value_of,
)

PASS, FAIL, ABSTAIN = Verdict.PASS, Verdict.FAIL, Verdict.ABSTAIN


def tree_of(*statuses: str) -> Tree:
    """A tree of root attempts t.1, t.2 ... with these statuses."""
    task = Task(prompt=(user("x"),))
    tree = Tree(Head(tree="t", task=task, recipe="r", recipe_digest="", key="k", created_at=0.0))
    for number, status in enumerate(statuses, 1):
        tree.append(Ask(attempt=f"t.{number}"))
        tree.append(Attempt(id=f"t.{number}", status=status))  # type: ignore[arg-type]
    return tree


def say(tree: Tree, about: Subject | str, **fields: object) -> None:
    subject = Subject.of(about) if isinstance(about, str) else about
    tree.append(Feedback(id=tree.next_feedback_id(), subject=subject, **fields))  # type: ignore[arg-type]


def judged(*said: dict[str, object]) -> Value:
    tree = tree_of("complete")
    for fields in said:
        say(tree, "t.1", **fields)
    return value_of(tree, "t.1")


def verifier(verdict: Verdict | None = None, score: float | None = None) -> dict[str, object]:
    return {"source": "verifier", "verdict": verdict, "score": score}


def critic(verdict: Verdict | None = None, score: float | None = None) -> dict[str, object]:
    return {"source": "critic", "verdict": verdict, "score": score}


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ([], Value()),
        ([verifier(PASS, 1.0)], Value(verified=True, evidence=1.0)),
        ([verifier(PASS), verifier(FAIL, 0.5)], Value(verified=False, evidence=0.5)),
        ([verifier(PASS), {"source": "tool", "verdict": FAIL, "score": 0.0}], Value(verified=True)),
        ([{"source": "tool", "verdict": PASS, "score": 1.0}], Value()),
        ([verifier(ABSTAIN, 0.9)], Value()),
        ([verifier(PASS), verifier(ABSTAIN)], Value(verified=True)),
        ([verifier(None, 0.25), verifier(None, 0.75)], Value(evidence=0.5)),
        ([critic(PASS, 0.8), critic(None, 0.4)], Value(accepted=True, opinion=pytest.approx(0.6))),
        ([{"source": "user", "score": 0.0}], Value(opinion=0.0)),
        ([{"source": "human", "verdict": FAIL}], Value(accepted=False)),
        (
            [verifier(FAIL, 0.0), critic(PASS, 1.0)],
            Value(verified=False, evidence=0.0, accepted=True, opinion=1.0),
        ),
        ([{**critic(PASS, 1.0), "advisory": True}], Value()),
    ],
)
def test_evidence_and_opinion_stay_apart(said: list[dict[str, object]], value: Value) -> None:
    assert judged(*said) == value


def test_only_the_attempt_as_a_whole_counts() -> None:
    tree = tree_of("complete", "complete")
    say(tree, Subject(attempts=("t.1",), location=Location(step=0)), verdict=FAIL, score=0.0)
    say(tree, Subject.of("t.1", "t.2"), preference=(0.0, 1.0), score=0.1)
    assert value_of(tree, "t.1") == Value()


def test_order() -> None:
    ordered = [
        Value(verified=False, evidence=0.0, accepted=True, opinion=1.0),
        Value(verified=False, evidence=0.5),
        Value(accepted=False, opinion=0.9),
        Value(),
        Value(opinion=0.0),
        Value(accepted=True, opinion=0.2),
        Value(evidence=0.1, accepted=False),
        Value(verified=True),
        Value(verified=True, evidence=0.5, accepted=False),
        Value(verified=True, evidence=0.5, accepted=True),
    ]
    shuffled = [*ordered[5:], *ordered[:5]]
    assert sorted(shuffled) == ordered
    assert Value() <= Value()
    assert Value(opinion=0.0) > Value()
    assert Value(verified=True) >= Value(verified=False)


@pytest.mark.parametrize(
    ("value", "score"),
    [
        (Value(verified=True, evidence=0.3, opinion=0.1), 1.0),
        (Value(verified=False, evidence=0.3, opinion=1.0), 0.3),
        (Value(verified=False, opinion=1.0, accepted=True), 0.0),
        (Value(evidence=0.4, opinion=0.9), 0.4),
        (Value(opinion=0.9, accepted=False), 0.9),
        (Value(accepted=True), 1.0),
        (Value(accepted=False), 0.0),
        (Value(), None),
    ],
)
def test_one_number(value: Value, score: float | None) -> None:
    assert value.score == score


def test_best() -> None:
    tree = tree_of("complete", "failed", "complete", "partial", "complete")
    assert best(tree) == "t.1", "the earliest of equals"
    say(tree, "t.2", **verifier(PASS))
    say(tree, "t.3", **critic(PASS, 0.9))
    assert best(tree) == "t.3", "a failed attempt never wins"
    say(tree, "t.5", **verifier(PASS))
    assert best(tree) == "t.5"
    assert best(tree, among=("t.1", "t.3", "t.2")) == "t.3"
    assert best(tree, among=()) is None
    assert best(tree_of("failed")) is None


def compare(tree: Tree, first: str, second: str, share: float | None, **fields: object) -> None:
    shares = None if share is None else (share, 1 - share)
    say(tree, Subject.of(first, second), source="judge", preference=shares, **fields)


def test_a_preference_needs_both_orders() -> None:
    tree = tree_of("complete", "complete")
    assert preference(tree, "t.1", "t.2") is None
    compare(tree, "t.1", "t.2", 1.0)
    assert preference(tree, "t.1", "t.2") is None
    compare(tree, "t.2", "t.1", 0.25)
    assert preference(tree, "t.1", "t.2") == 0.875
    assert preference(tree, "t.2", "t.1") == 0.125


def test_a_judge_who_contradicts_himself_or_abstains_prefers_none() -> None:
    tree = tree_of("complete", "complete", "complete")
    compare(tree, "t.1", "t.2", 1.0)
    compare(tree, "t.2", "t.1", 1.0)
    assert preference(tree, "t.1", "t.2") == 0.5
    compare(tree, "t.1", "t.3", 1.0)
    compare(tree, "t.3", "t.1", None, verdict=ABSTAIN)
    assert preference(tree, "t.1", "t.3") == 0.5


@pytest.mark.parametrize(
    ("shown_first", "shown_second", "comes_to"),
    [(0.9, 0.8, 0.5), (0.6, 0.5, 0.55), (0.9, 0.2, 0.85), (0.2, 0.6, 0.3)],
)
def test_a_judge_who_is_less_sure_in_one_order_contradicts_himself_all_the_same(
    shown_first: float, shown_second: float, comes_to: float
) -> None:
    tree = tree_of("complete", "complete")
    compare(tree, "t.1", "t.2", shown_first)
    compare(tree, "t.2", "t.1", shown_second)
    assert preference(tree, "t.1", "t.2") == pytest.approx(comes_to)


def test_where_judges_only_abstained_the_value_decides() -> None:
    tree = tree_of("complete", "complete")
    compare(tree, "t.1", "t.2", None, verdict=ABSTAIN)
    assert not comparison_of(tree, "t.1", "t.2").complete
    compare(tree, "t.2", "t.1", None, verdict=ABSTAIN)
    for pair in (("t.1", "t.2"), ("t.2", "t.1")):
        assert comparison_of(tree, *pair).complete
        assert comparison_of(tree, *pair).share is None
    assert preference(tree, "t.1", "t.2") is None
    assert not beats(tree, "t.2", "t.1")
    say(tree, "t.2", **critic(PASS, 0.9))
    assert beats(tree, "t.2", "t.1")
    assert not beats(tree, "t.1", "t.2")


def test_shadow_judges_and_wider_comparisons_do_not_count() -> None:
    tree = tree_of("complete", "complete", "complete")
    compare(tree, "t.1", "t.2", 1.0, advisory=True)
    compare(tree, "t.2", "t.1", 0.0, advisory=True)
    say(tree, Subject.of("t.1", "t.2", "t.3"), preference=(1.0, 0.0, 0.0))
    say(tree, "t.1", **critic(PASS))
    assert preference(tree, "t.1", "t.2") is None


def test_who_beats_whom() -> None:
    tree = tree_of("complete", "complete", "complete")
    assert not beats(tree, "t.2", "t.1"), "a tie keeps the holder"
    say(tree, "t.1", **critic(None, 0.2))
    say(tree, "t.2", **critic(None, 0.8))
    assert beats(tree, "t.2", "t.1"), "without judges, the higher value"
    compare(tree, "t.1", "t.2", 1.0)
    compare(tree, "t.2", "t.1", 0.0)
    assert not beats(tree, "t.2", "t.1"), "judges who saw both orders go before scores"
    assert beats(tree, "t.1", "t.2")
    say(tree, "t.2", **verifier(PASS))
    assert beats(tree, "t.2", "t.1"), "evidence goes before judges"
    assert not beats(tree, "t.1", "t.2")


# -- one rule, asked more or less strictly ---------------------------------------------------------


def test_evidence_scores_go_before_judges() -> None:
    tree = tree_of("complete", "complete")
    say(tree, "t.1", **verifier(None, 0.25))
    say(tree, "t.2", **verifier(None, 0.75))
    compare(tree, "t.1", "t.2", 1.0)
    compare(tree, "t.2", "t.1", 0.0)
    found = better_of(tree, "t.1", "t.2", both_judged=True)
    assert found == Better(better="t.2", worse="t.1", by="evidence", margin=0.5)
    assert beats(tree, "t.2", "t.1")


@pytest.mark.parametrize(
    "said", [verifier(PASS), verifier(FAIL), verifier(None, 0.5), critic(PASS), critic(FAIL)]
)
def test_where_one_of_two_was_judged_the_strict_say_nothing_and_others_rank_as_values_do(
    said: dict[str, object],
) -> None:
    tree = tree_of("complete", "complete")
    say(tree, "t.1", **said)
    assert better_of(tree, "t.1", "t.2", both_judged=True) == Open(lacks="judgement")
    found = better_of(tree, "t.1", "t.2")
    assert isinstance(found, Better)
    assert (found.better == "t.1") == (value_of(tree, "t.1") > value_of(tree, "t.2"))
    assert found.margin == 1.0


def test_a_comparison_is_asked_for_only_where_evidence_leaves_the_two_equal() -> None:
    tree = tree_of("complete", "complete", "complete")
    say(tree, "t.1", **critic(PASS))
    assert better_of(tree, "t.1", "t.2", compared=True) == Open(lacks="comparison")
    compare(tree, "t.1", "t.2", 1.0)
    assert better_of(tree, "t.1", "t.2", compared=True) == Open(lacks="comparison")
    compare(tree, "t.2", "t.1", 1.0)
    assert better_of(tree, "t.1", "t.2", compared=True) == Tie(by="judge")
    say(tree, "t.3", **verifier(PASS))
    found = better_of(tree, "t.3", "t.1", compared=True)
    assert isinstance(found, Better)
    assert found.by == "evidence"
    assert better_of(tree, "t.2", "t.2") == Tie()


def test_judges_and_people_are_heard_one_by_one() -> None:
    """Two judges in one order each are not one judge in both; a person needs one order."""
    tree = tree_of("complete", "complete")
    compare(tree, "t.1", "t.2", 1.0, author="ann")
    compare(tree, "t.2", "t.1", 0.0, author="bob")
    met = comparison_of(tree, "t.1", "t.2")
    assert (met.share, met.complete, met.feedback) == (None, True, ())
    assert comparison_of(tree, "t.1", "t.2", both_orders=False).share == 1.0
    say(tree, Subject.of("t.2", "t.1"), source="user", author="u", preference=(0.25, 0.75))
    assert comparison_of(tree, "t.1", "t.2").share == 0.75
    assert comparison_of(tree, "t.2", "t.1").share == 0.25
