import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from critic_loop.core.errors import ConfigError
from critic_loop.core.records import Task, Verdict
from critic_loop.core.view import View
from critic_loop.outputs import agree
from critic_loop.verifiers import VERIFIERS, answer, verifier_named


class Point(BaseModel):
    x: int
    y: int


def judged(given, reference):
    return answer.function(View(task=Task.of("?", reference=reference), answer=given))


def test_pass_fail_and_no_reference():
    assert (judged("42", "42").verdict, judged("42", "42").score) == (Verdict.PASS, 1.0)
    assert (judged("41", "42").verdict, judged("41", "42").score) == (Verdict.FAIL, 0.0)
    silent = judged("42", None)
    assert (silent.verdict, silent.score, silent.reason) == (
        Verdict.ABSTAIN,
        None,
        "the task has no reference answer",
    )
    assert silent.lacks == "reference answer"
    assert judged(None, "42").verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("given", "reference"),
    [
        # numbers by value
        ("0.5", "1/2"), ("50%", "1/2"), ("50 %", "0.5"), ("1,234", "1234"), ("+3", "3"), ("-3.0", "-3"),
        ("\u22125", "-5"), (".5", "0.5"), ("1 / 2", "0.5"), ("42.", "42"), ("$42$", "42"), ("007", "7"),
        ("1,234,567.50", "1234567.5"), ("２４", "24"), ("3/4%", "0.0075"),
        # typed answers and references
        (42, "42"), ("42", 42), (0.5, "1/2"), (1, 1.0), ("0.1", 0.1), (True, "true"), ([1, 2], [1, 2]),
        ({"x": 1}, {"x": 1}),
        (Point(x=1, y=2), {"x": 1, "y": 2}), ((1, 2), [1, 2]),
        # text
        ("Paris", "paris"), ("  **Paris**. ", "Paris"), ("New   York", "new york"), ("“", "“"),
        ("答案。", "答案"),
        ("10²", "10²"), ("\\frac{1}{2}", "\\frac{1}{2}"),
        # any of several
        ("b", ["a", "B"]), ("0.5", ["1/3", "50%"]),
        # text that quotes more than the answer
        ("So it is.\n\\boxed{42}", "42"), ("\\boxed{41} no, \\boxed{42}", "42"), ("\\boxed{42}", "\\boxed{42}"),
        ("\\boxed{\\frac{\\sqrt{2}}{2}}", "\\frac{\\sqrt{2}}{2}"),
        ("It is 6*7.\nAnswer: 42", "42"), ("**Final answer:** 42.", "42"), ("**Answer**: 42", "42"),
        ("先算。\n答案：42", "42"), ("答案: 四十二。", "四十二"), ("Answer:\n42", "42"),
        ("Answer: 1\nAnswer: 2", "2"),
        ("  answer : yes", "Yes"),
    ],
)  # fmt: skip
def test_these_agree(given, reference):
    assert judged(given, reference).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("given", "reference"),
    [
        ("0.5", "1/3"), ("50", "50%"), ("1,2", "12"), ("1, 234", "1234"), ("1 2", "12"), ("12,34", "1234"),
        ("1/0", "0"), ("1.5/2.5", "0.6"), ("-5", "5"), ("3.14", "3.1415"),
        ("10²", "102"), ("½", "12"), ("x₂", "x2"),
        ("The answer is 42", "42"), ("42 because", "42"), ("", "42"), ("nan", "0"), ("1e3", "1000"),
        ("c", ["a", "b"]), ("a", []), ([1, 2], [2, 1]), ({"x": 1}, {"x": 2}), ("1", {"x": 1}),
        (True, 1), (1, True),
        ("\\boxed{41", "41"), ("No answer: none", "none"),
    ],
)  # fmt: skip
def test_these_do_not(given, reference):
    assert judged(given, reference).verdict is Verdict.FAIL


@given(st.fractions(max_denominator=1000))
def test_a_boxed_number_is_equal_to_itself(number):
    assert agree(f"\\boxed{{{number}}}", str(number))


@given(st.text(), st.text())
def test_any_text_can_be_judged(given, reference):
    assert isinstance(agree(given, reference), bool)
    assert agree(given, given)


def test_long_text_is_read_in_reasonable_time():
    # each of these took minutes or more with patterns that may match a blank in two ways
    for text in (
        "\n" * 100_000,
        " " * 100_000 + "x",
        "Answer" + " " * 100_000,
        "\\boxed{" * 20_000,
        "* " * 50_000,
        "7" * 100_000,
        "1/" + "7" * 100_000,
    ):
        assert not agree(text, "42")


def test_verifiers_are_found_by_name():
    assert verifier_named("answer") is VERIFIERS["answer"] is answer
    assert verifier_named("critic_loop.outputs.final:agree") is agree
    with pytest.raises(
        ConfigError, match=r"unknown verifier 'anser'\. Write one of answer.*'package.module:name'"
    ):
        verifier_named("anser")
