"""Who is believed about what is right."""

from __future__ import annotations

from typing import Any

import pytest

from critic_loop.core.records import Location, Subject, Task, Verdict
from critic_loop.core.tree import Tree
from critic_loop.evidence import TIERS, oracle_choice, told_right, truth_of, truths_of, verdict_of
from tests.conftest import Grown

PASS, FAIL, ABSTAIN = Verdict.PASS, Verdict.FAIL, Verdict.ABSTAIN


def said(*each: dict[str, Any], task: str | Task = "x", answer: Any = "41") -> bool | None:
    """Return what is known of an attempt of which this was said."""
    g = Grown(task)
    attempt = g.attempt(answer=answer)
    for fields in each:
        g.say(attempt, **fields)
    truth = truth_of(g.tree, attempt)
    assert all(f in g.tree.all_about(attempt) for f in truth.rests_on)
    assert (truth.right is None) == (truth.tier == "")
    assert truth.right is not None or not truth.rests_on
    return truth.right


def check(verdict: Verdict | None = None, **fields: Any) -> dict[str, Any]:
    return {"source": "verifier", "author": "tests", "verdict": verdict, **fields}


def user(score: float | None = None, **fields: Any) -> dict[str, Any]:
    return {"source": "user", "author": "user", "score": score, **fields}


def grade(verdict: Verdict, **fields: Any) -> dict[str, Any]:
    return {"source": "grader", "author": "hidden-tests", "verdict": verdict, **fields}


def critic(verdict: Verdict, **fields: Any) -> dict[str, Any]:
    return {"source": "critic", "verdict": verdict, **fields}


@pytest.mark.parametrize(
    ("each", "right"),
    [
        ([], None),
        ([critic(PASS)], None),
        ([critic(FAIL), {"source": "judge", "verdict": FAIL}], None),
        ([check(PASS)], True),
        ([check(FAIL)], False),
        ([check(PASS), check(FAIL, author="lint")], False),
        ([check(PASS), check(ABSTAIN, author="lint")], True),
        ([check(ABSTAIN)], None),
        ([check(score=1.0)], True),
        ([check(score=0.0)], False),
        ([check(score=0.99)], None),
        ([check(FAIL, advisory=True)], False),
        ([critic(PASS), check(FAIL)], False),
        ([{"source": "tool", "verdict": PASS}], None),
        ([{"source": "human", "verdict": PASS}], True),
        ([{"source": "human", "verdict": PASS}, check(FAIL)], False),
        ([{"source": "human", "text": "hm"}], None),
        ([user(0.0)], False),
        ([user(0.25)], False),
        ([user(0.5)], None),
        ([user(0.75)], True),
        ([user(text="wrong file")], None),
        ([check(PASS), user(0.0)], False),
        ([user(1.0), check(FAIL)], True),
        ([user(0.0), user(1.0)], True),
        ([user(0.0), user(text="still?")], False),
        ([user(0.0, author="ann"), user(1.0, author="bob")], False),
        ([critic(FAIL, saw_reference=True)], False),
        ([critic(FAIL, saw_reference=True), check(PASS)], True),
        ([critic(FAIL, saw_reference=True), critic(PASS)], False),
        ([grade(PASS)], True),
        ([grade(PASS), grade(FAIL, author="lint")], False),
        ([grade(PASS), grade(ABSTAIN, author="lint")], True),
        ([grade(PASS), check(FAIL), user(0.0)], True),
        ([check(PASS), user(1.0), grade(FAIL)], False),
        ([check(PASS), grade(ABSTAIN)], True),
        ([grade(FAIL, advisory=True)], False),
        ([grade(ABSTAIN)], None),
    ],
)
def test_evidence_decides_and_opinion_never(each: list[dict[str, Any]], right: bool | None) -> None:
    assert said(*each) is right


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("Well.\nAnswer: 42", "42", True),
        ("41", 42, False),
        (42, ["41", "42"], True),
        ("4", "four", None),
        ("5", "5km", None),
        ("日本的首都是东京", "东京", None),
        ("Sydney", "Canberra", None),
        ("A", "b", False),
        ("A", "(a)", None),
        ("Answer: B", "b", True),
        ("yes", "ja", None),
        ("yes", "No.", False),
        ("yes", True, None),
        (False, "true", False),
        (True, 1, None),
        ("five", ["4", "5"], None),
        ("6", ["4", "5"], False),
        ("6", ["4", "four"], None),
        ([2, 1], [[1, 2], [3]], None),
        ({"n": 42, "why": "6 * 7"}, {"n": 42}, None),
        ({"n": 41, "why": "6 * 7"}, {"n": 42}, None),
        ({"n": 41, "unit": "m"}, {"n": 42, "unit": "metre"}, False),
        ({"n": 42, "unit": "m"}, {"n": 42, "unit": "metre"}, None),
        ("It is 42, since 6 * 7 = 42.", "42", None),
        ("鸡23只,兔12只", "鸡23,兔12", None),
        ({"n": 42}, {"n": 42}, True),
        ({"n": 41}, {"n": 42}, False),
        ([41], [42], None),
        ({"n": 42}, "42", None),
        (None, "42", None),
        ("42", None, None),
    ],
)
def test_the_reference_decides_where_no_verifier_was_asked(answer: Any, reference: Any, right: Any) -> None:
    task = Task.of("x", reference=reference)
    assert said(task=task, answer=answer) is right
    assert said(critic(FAIL if right else PASS), task=task, answer=answer) is right
    assert said(check(ABSTAIN), task=task, answer=answer) is None, "a verifier knows what it cannot compare"


def test_what_was_taken_back_does_not_count() -> None:
    g = Grown()
    attempt = g.attempt(answer="42")
    first = g.verified(attempt, "fail")
    g.verified(attempt, "pass", supersedes=first)
    assert truth_of(g.tree, attempt).right is True


def test_a_part_or_a_pair_is_not_the_whole() -> None:
    g = Grown()
    one, two = g.attempt(answer="42"), g.attempt(answer="41")
    g.say(one, two, source="verifier", verdict=FAIL)
    g.say(one, source="verifier", verdict=FAIL, subject=Subject(attempts=(one,), location=Location(step=0)))
    assert truth_of(g.tree, one).right is None


def test_the_order_of_who_is_believed_is_one_table() -> None:
    assert list(TIERS) == ["grader", "user", "verifier", "shown", "reference"]
    g = Grown(Task.of("x", reference="42"))
    attempt = g.attempt(answer="42")
    assert truth_of(g.tree, attempt).tier == "reference"
    for tier, fields in (
        ("shown", critic(PASS, saw_reference=True)),
        ("verifier", check(PASS)),
        ("user", user(1.0)),
        ("grader", grade(PASS)),
    ):
        g.say(attempt, **fields)
        assert truth_of(g.tree, attempt).tier == tier


def test_a_corrected_grade_counts_as_corrected() -> None:
    g = Grown()
    attempt = g.attempt(answer="42")
    first = g.say(attempt, **grade(FAIL))
    g.say(attempt, **grade(PASS), supersedes=first)
    assert truth_of(g.tree, attempt).right is True
    wrong = g.say(attempt, **grade(FAIL, author="other"))
    g.say(attempt, **user(1.0), supersedes=wrong)
    assert truth_of(g.tree, attempt).right is True
    assert len(g.tree.grades) == 4


def test_the_latest_word_of_a_user_counts_also_where_one_of_them_corrects_a_grade() -> None:
    g = Grown()
    attempt = g.attempt(answer="42")
    g.say(attempt, **user(0.0))
    first = g.say(attempt, **grade(FAIL))
    g.say(attempt, **user(1.0), supersedes=first)
    assert truth_of(g.tree, attempt).right is True
    g.say(attempt, **user(0.0))
    assert truth_of(g.tree, attempt).right is False


def test_no_word_confirms_itself() -> None:
    g = Grown()
    attempt = g.attempt(answer="42")
    said = g.say(attempt, **critic(PASS, saw_reference=True))
    assert truth_of(g.tree, attempt).right is True
    assert truth_of(g.tree, attempt, without=said).right is None


def test_the_verdict_is_what_is_known_then_opinion() -> None:
    g = Grown()
    attempt = g.attempt(answer="42")
    assert verdict_of(g.tree, attempt) is ABSTAIN
    g.say(attempt, **critic(PASS))
    assert verdict_of(g.tree, attempt) is PASS
    g.say(attempt, **grade(FAIL))
    assert verdict_of(g.tree, attempt) is FAIL


def test_what_a_loop_was_told_is_never_a_grade() -> None:
    g = Grown()
    attempt = g.attempt(answer="42")
    g.say(attempt, **grade(PASS))
    assert not told_right(g.tree.all_about(attempt))
    g.verified(attempt, "pass")
    assert told_right(g.tree.about(attempt))
    g.say(attempt, **user(0.0))
    assert not told_right(g.tree.about(attempt))


def equal_answers() -> tuple[Tree, list[str]]:
    g = Grown()
    ids = [g.attempt(answer=text) for text in ("41", "42", "43", "42")]
    g.say(ids[1], **grade(PASS))
    g.say(ids[2], **check(PASS))
    g.say(ids[3], score=0.9)
    return g.tree, ids


def test_equal_answers_are_equally_right() -> None:
    tree, ids = equal_answers()
    known = truths_of(tree, tree)
    assert [known[i].right for i in ids] == [None, True, True, True]


def test_an_oracle_takes_the_best_of_the_right_answers() -> None:
    tree, ids = equal_answers()
    assert oracle_choice(tree) == ids[2], "evidence ranks it highest among the right ones"
    g = Grown()
    wrong, unread = g.attempt(answer="41"), g.attempt(answer="42", error_code="output")
    assert oracle_choice(g.tree) is None, "nothing is known"
    g.verified(wrong, "pass")
    g.say(wrong, **grade(FAIL))
    g.say(unread, **grade(PASS))
    assert oracle_choice(g.tree) is None, "what is best to the loop is wrong, and what is right is no answer"
    later = g.attempt(answer="42")
    g.say(later, **grade(PASS))
    assert oracle_choice(g.tree) == later
