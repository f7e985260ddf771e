import pytest

from critic_loop.core.messages import File, assistant, user
from critic_loop.core.records import Location, Subject, Verdict
from critic_loop.export import CritiqueSft, Row, Skip
from critic_loop.export.critique_sft import judged_rightly
from tests.unit.export.grow import FAIL, PASS, call, judge, tree_of

CRITIC = {"source": "critic", "author": "c", "asked": True}


def rows(exporter, tree):
    return [item.columns for item in exporter.rows([tree]) if isinstance(item, Row)]


def reasons(exporter, tree):
    return [item.reason for item in exporter.rows([tree]) if isinstance(item, Skip)]


def test_a_critique_is_learnt_as_it_was_asked_for_and_given():
    tree = tree_of("7")
    judge(tree, 1, PASS)
    judge(tree, 1, PASS, text="It adds up. Verdict: correct", **CRITIC)
    (row,) = rows(CritiqueSft(), tree)
    assert row["messages"] == [
        {"role": "system", "content": "You judge."},
        {"role": "user", "content": "Is it right?"},
        {"role": "assistant", "content": "It adds up. Verdict: correct"},
    ]
    assert row["provenance"]["attempts"] == ["t.1"]
    assert row["provenance"]["feedback"] == ["t.f2", "t.f1"]
    assert row["weight"] == 1.0
    (row,) = rows(CritiqueSft(columns="prompt_completion"), tree)
    assert [turn["role"] for turn in row["prompt"]] == ["system", "user"]
    assert [turn["role"] for turn in row["completion"]] == ["assistant"]


@pytest.mark.parametrize(
    ("evidence", "verdict", "kept"),
    [
        (PASS, PASS, {"where_known", "required", "ignored"}),
        (FAIL, FAIL, {"where_known", "required", "ignored"}),
        (PASS, FAIL, {"ignored"}),
        (FAIL, PASS, {"ignored"}),
        (None, PASS, {"where_known", "ignored"}),
    ],
)
def test_verdicts_are_held_against_the_evidence(evidence, verdict, kept):
    tree = tree_of("7")
    if evidence is not None:
        judge(tree, 1, evidence)
    judge(tree, 1, verdict, **CRITIC)
    settings = ("where_known", "required", "ignored")
    assert {agrees for agrees in settings if rows(CritiqueSft(agrees=agrees), tree)} == kept


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"verdict": Verdict.ABSTAIN, "reason": "unparsed"}, "abstained"),
        ({"verdict": PASS, "saw_reference": True}, "saw the reference"),
        ({}, "no verdict, score or preference"),
        ({"verdict": PASS, "asked": False}, "not written by a model"),
    ],
)
def test_what_no_critic_should_learn_is_left_out(fields, reason):
    tree = tree_of("7")
    judge(tree, 1, **(CRITIC | fields))
    assert rows(CritiqueSft(), tree) == []
    assert reasons(CritiqueSft(), tree) == [reason]


def test_a_score_alone_is_learnt_where_nothing_contradicts_it():
    tree = tree_of("7")
    judge(tree, 1, PASS)
    judge(tree, 1, score=0.2, **CRITIC)
    assert len(rows(CritiqueSft(), tree)) == 1
    assert rows(CritiqueSft(agrees="required"), tree) == []


def test_superseded_critiques_and_other_sources_are_passed_over():
    tree = tree_of("7")
    first = judge(tree, 1, FAIL, text="old", **CRITIC)
    judge(tree, 1, PASS, text="new", supersedes=first, **CRITIC)
    judge(tree, 1, PASS, source="human", asked=True)
    assert [row["messages"][-1]["content"] for row in rows(CritiqueSft(), tree)] == ["new"]
    assert [row["weight"] for row in rows(CritiqueSft(), tree)] == [1.0]


def test_a_request_that_cannot_be_expressed_is_left_out():
    tree = tree_of("7")
    shown = (user("See", File.of(b"x", "application/pdf")),)
    (asked,) = call(tree, ("t.1",), shown, assistant("Verdict: correct", sampled=True))
    judge(tree, 1, PASS, source="critic", author="c", made=(asked,))
    assert reasons(CritiqueSft(), tree) == ["a file cannot be expressed"]


@pytest.mark.parametrize(
    ("truths", "shares", "right"),
    [
        ((PASS, FAIL), (0.8, 0.2), True),
        ((PASS, FAIL), (0.2, 0.8), False),
        ((PASS, FAIL), (0.5, 0.5), False),
        ((PASS, PASS), (0.8, 0.2), None),
        ((PASS, None), (0.8, 0.2), None),
    ],
)
def test_preferences_are_held_against_the_evidence(truths, shares, right):
    tree = tree_of("7", "6")
    for number, truth in enumerate(truths, start=1):
        if truth is not None:
            judge(tree, number, truth)
    id_ = judge(tree, (1, 2), preference=shares, source="judge", asked=True)
    assert judged_rightly(tree, tree.feedback[id_]) is right


def test_evidence_about_the_whole_says_nothing_about_a_part():
    tree = tree_of("7")
    judge(tree, 1, PASS)
    part = Subject(attempts=("t.1",), location=Location(step=0))
    id_ = judge(tree, 1, FAIL, subject=part, **CRITIC)
    assert judged_rightly(tree, tree.feedback[id_]) is None
    meta = judge(tree, 1, FAIL, subject=Subject(feedback=id_), **CRITIC)
    assert judged_rightly(tree, tree.feedback[meta]) is None


def test_a_grade_is_what_a_critique_is_held_against():
    tree = tree_of("7")
    judge(tree, 1, PASS)
    grade = judge(tree, 1, FAIL, source="grader", author="hidden-tests")
    judge(tree, 1, FAIL, text="It does not. Verdict: wrong", **CRITIC)
    judge(tree, 1, PASS, text="It does. Verdict: correct", **CRITIC)
    (row,) = rows(CritiqueSft(agrees="required"), tree)
    assert row["messages"][-1]["content"].startswith("It does not.")
    assert row["provenance"]["feedback"][1:] == [grade]


def test_a_critic_who_saw_the_reference_does_not_confirm_itself():
    tree = tree_of("7")
    said = judge(tree, 1, PASS, saw_reference=True, **CRITIC)
    assert judged_rightly(tree, tree.feedback[said]) is None
    other = judge(tree, 1, FAIL, author="other", source="critic", asked=True)
    assert judged_rightly(tree, tree.feedback[other]) is False
