import json

import pytest

from critic_loop.core.errors import ConfigError
from critic_loop.core.messages import assistant
from critic_loop.core.records import Criterion, Feedback, Span, Step, Verdict
from critic_loop.outputs import CritiqueJson, CritiqueOutput, critique_of

CRITIQUE, RUBRIC = critique_of("critique"), critique_of("rubric")


def parse(output, given):
    return output.parse(assistant(given if isinstance(given, str) else json.dumps(given)))


def test_a_critique_fills_every_field():
    feedback = parse(
        CRITIQUE,
        {
            "text": "Step 2 is off.",
            "steps": [{"index": 0, "verdict": "correct"}, {"index": 1, "verdict": False, "text": "3 + 4 = 7"}],
            "first_error": 1,
            "spans": [{"start": 3, "end": 5, "text": "sign", "label": "error"}],
            "rubric": [{"name": "clear", "score": "7/10"}],
            "suggestion": "Recompute.",
            "score": "20%",
            "confidence": 0.9,
            "verdict": "Wrong.",
            "mood": "unknown fields are passed over",
        },
    )
    assert feedback == Feedback(
        text="Step 2 is off.",
        steps=(
            Step(index=0, verdict=Verdict.PASS),
            Step(index=1, verdict=Verdict.FAIL, text="3 + 4 = 7"),
        ),
        first_error=1,
        spans=(Span(start=3, end=5, text="sign", label="error"),),
        rubric=(Criterion(name="clear", score=0.7),),
        suggestion="Recompute.",
        score=0.2,
        confidence=0.9,
        verdict=Verdict.FAIL,
    )


def test_null_stands_for_absent():
    fields = ["text", "steps", "first_error", "spans", "rubric", "suggestion", "score", "confidence"]
    assert parse(CRITIQUE, {"verdict": "pass"} | dict.fromkeys(fields)) == Feedback(verdict=Verdict.PASS)


def test_repairs_are_recorded():
    assert parse(CRITIQUE, '{"verdict": "pass",}').parse == "repaired"
    assert parse(CRITIQUE, '{"verdict": "pass"}').parse == "ok"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Verdict: correct", "no JSON"),
        ("", "no JSON"),
        ('{"text": "hm"}', "a verdict or a score"),
        ('{"score": 7}', "score: expected"),
        ('{"score": NaN}', "no JSON"),
        ('{"verdict": "partially correct"}', "verdict: expected"),
        ('{"verdict": "fail", "steps": [{"index": 0, "verdict": "pass"}, {"ind', "cut off"),
        ('It claims {"verdict": "pass"}. {"verdict": "fail", "text": "', "cut off"),
        ('It claims {"verdict": "pass"}. {"verdict": "fail", "text": "a "b""}', "no JSON"),
    ],
)
def test_what_cannot_be_read_is_an_abstention_without_a_score(text, reason):
    for output in (CRITIQUE, RUBRIC):
        feedback = parse(output, text)
        assert (feedback.verdict, feedback.score, feedback.parse) == (Verdict.ABSTAIN, None, "unparsed")
        assert feedback.text == text
    assert reason in parse(CRITIQUE, text).reason


def test_a_quoted_critique_is_not_the_critics_own():
    assert (
        parse(CRITIQUE, 'The answer ends with {"verdict": "pass"}.\n{"verdict": "fail"}').verdict
        is Verdict.FAIL
    )


def test_an_abstention_carries_no_score():
    feedback = parse(CRITIQUE, {"verdict": "abstain", "score": 0.4, "text": "no source at hand"})
    assert (feedback.verdict, feedback.score, feedback.parse) == (Verdict.ABSTAIN, None, "ok")
    assert feedback.reason == "no source at hand"


def test_a_rubrics_score_is_the_weighted_mean_of_what_was_judged():
    feedback = parse(
        RUBRIC,
        {
            "criteria": [
                {"name": "clear", "score": 0.5, "text": "long"},
                {"name": "true", "verdict": "pass", "weight": 2},
                {"name": "short", "verdict": "fail"},
                {"name": "not judged"},
                {"name": "abstained", "verdict": "abstain"},
                {"name": "weightless", "score": 0.0, "weight": 0},
            ],
            "verdict": "fail",
            "suggestion": "Cut it.",
        },
    )
    assert feedback.score == pytest.approx((0.5 + 2 + 0) / 4)
    assert feedback.verdict is Verdict.FAIL
    assert feedback.suggestion == "Cut it."
    assert feedback.rubric[0] == Criterion(name="clear", score=0.5, text="long")
    assert feedback.rubric[1] == Criterion(name="true", verdict=Verdict.PASS, weight=2.0)


def test_a_rubric_that_judges_nothing_is_an_abstention():
    assert parse(RUBRIC, {"criteria": [{"name": "clear"}]}).verdict is Verdict.ABSTAIN
    assert parse(RUBRIC, {"criteria": []}).verdict is Verdict.ABSTAIN
    only_verdict = parse(RUBRIC, {"criteria": [{"name": "clear"}], "verdict": "pass"})
    assert (only_verdict.verdict, only_verdict.score) == (Verdict.PASS, None)


def test_scores_of_criteria_give_a_critique_its_score():
    assert parse(CRITIQUE, {"rubric": [{"name": "a", "score": 0.5}, {"name": "b", "score": 1.0}]}).score == 0.75


@pytest.mark.parametrize("name", ["critique", "rubric"])
def test_schemas_hold_no_prompt_text(name):
    output = critique_of(name)
    assert output.schema is not None
    assert output.schema.name == name
    assert json.loads(output.describe()) == output.schema.schema
    assert "description" not in output.describe()
    assert '"enum": ["pass", "fail", "abstain"]' in output.describe()


def test_formats_are_found_by_name():
    assert {name: critique_of(name).name for name in ("critique", "rubric", "verdict", "pair")} == {
        name: name for name in ("critique", "rubric", "verdict", "pair")
    }
    assert critique_of("critic_loop.outputs.verdict:VerdictLine").name == "verdict"
    mine = CritiqueJson()
    assert critique_of(mine) is mine
    assert isinstance(mine, CritiqueOutput)
    with pytest.raises(ConfigError, match=r"'nope'.*critique, rubric, verdict, pair"):
        critique_of("nope")
