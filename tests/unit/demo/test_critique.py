"""The critique format `countdown`: what is written is read, and nothing is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic_loop.assets import Library
from critic_loop.core.messages import assistant
from critic_loop.core.records import Feedback, Verdict
from critic_loop.demo.chars import (
    CORRECT_ANSWER,
    LINE_VERDICTS,
    PERCENTS,
    REACHABLE,
    WRONG_ANSWER,
    accepts,
    confidence,
    rejected_line,
)
from critic_loop.demo.critique import CountdownCritique
from critic_loop.outputs import CritiqueOutput, critique_of

CRITIQUE = "Line 1: right, reachable (95%)\nLine 2: right, dead end (80%)\nVerdict: wrong (99%)\n"

critiques = st.builds(
    lambda said, verdict, percent: "".join(
        [
            *(f"Line {n}: {word} ({p}%)\n" for n, (word, p) in enumerate(said, start=1)),
            f"{verdict} ({percent}%)\n",
        ]
    ),
    st.lists(st.tuples(st.sampled_from(LINE_VERDICTS), st.sampled_from(PERCENTS)), max_size=5),
    st.sampled_from([CORRECT_ANSWER, WRONG_ANSWER]),
    st.sampled_from(PERCENTS),
)


def parse(text: str) -> Feedback:
    return CountdownCritique().parse(assistant(text))


def test_verdict_score_and_steps_are_read():
    found = parse(CRITIQUE)
    assert (found.verdict, found.score, found.confidence) == (Verdict.FAIL, 0.01, 0.99)
    assert [(s.index, s.verdict, s.score, s.text) for s in found.steps] == [
        (0, Verdict.PASS, 0.95, "right, reachable"),
        (1, Verdict.FAIL, 0.2, "right, dead end"),
    ]
    assert found.first_error == 1
    assert found.text == CRITIQUE
    assert found.parse == "ok"


@given(critiques)
def test_whatever_the_small_model_can_write_is_read_as_its_training_reads_it(text):
    found = parse(text)
    assert found.parse == "ok"
    assert (found.verdict is Verdict.PASS) == accepts(text)
    assert found.score == pytest.approx(confidence(text))
    line = rejected_line(text)
    assert [s.index for s in found.steps if s.verdict is Verdict.FAIL][:1] == ([line - 1] if line else [])
    assert all((s.verdict is Verdict.PASS) == (s.text == REACHABLE) for s in found.steps)


@pytest.mark.parametrize(
    ("text", "first_error"),
    [
        ("Line 1: right, reachable (95%)\nVerdict: correct (90%)", -1),
        ("Line 1: right, reachable (95%)\nVerdict: wrong (90%)", None),
        ("Line 1: right, reachable (95%)\nLine 2: wrong (95%)\nVerdict: correct (50%)", 1),
        ("Verdict: correct (90%)", None),
    ],
)
def test_the_first_error_is_known_only_if_it_was_looked_for(text, first_error):
    assert parse(text).first_error == first_error


@pytest.mark.parametrize(
    "text",
    [
        "So:\n- **Line 1:** right, reachable (95 %)\n* line 2: Wrong (99%): 7-5=2\n\n**Verdict: wrong (90%)**.",
        "<think>Verdict: correct (99%)</think>Line 1: right, reachable\nLine 2: wrong\nVerdict: wrong (90%)",
    ],
)
def test_larger_models_may_add_words(text):
    found = parse(text)
    assert (found.verdict, found.score, found.first_error) == (Verdict.FAIL, 0.1, 1)


def test_without_a_confidence_there_is_a_verdict_alone():
    found = parse("Line 1: right, reachable\nVerdict: correct")
    assert (found.verdict, found.score, found.confidence) == (Verdict.PASS, None, None)
    assert found.steps[0].score is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no text"),
        ("Looks fine to me.", "no line like"),
        ("Line 1: right, reachable (95%)", "no line like"),
        ("Verdict: maybe (50%)", "verdict not understood"),
        ("Verdict: correct / wrong", "verdict not understood"),
        ("Verdict: correct (95%) or not", "verdict not understood"),
        ("Verdict: correct (95%)\nVerdict: wrong (95%)", "verdict not understood"),
        ("Verdict: correct (101%)", "is not a confidence"),
        ("Line 1: wrong (900%)\nVerdict: wrong (90%)", "is not a confidence"),
        ("Line 1: fine (95%)\nVerdict: correct (95%)", "line not understood"),
        ("Line 1: right (95%)\nVerdict: correct (95%)", "line not understood"),
        ("Line 1: right, reachable (95%)\nLine 1: wrong (95%)\nVerdict: wrong (95%)", "judged twice"),
        ("<think>Verdict: correct (95%)", "no text"),
    ],
)
def test_what_is_not_plain_is_an_abstention(text, words):
    found = parse(text)
    assert (found.verdict, found.score, found.parse) == (Verdict.ABSTAIN, None, "unparsed")
    assert words in found.reason
    assert found.text == text


@given(
    st.text()
    | st.lists(st.sampled_from(["Line 1: ", *LINE_VERDICTS, " (95%)", "\n", "Verdict: ", "correct"])).map(
        "".join
    )
)
def test_no_text_raises(text):
    assert parse(text).text == text


def test_the_bundled_critic_names_this_format():
    spec = Library().agent("critic/countdown")
    output = critique_of(spec.output)
    assert isinstance(output, CritiqueOutput)
    assert isinstance(output, CountdownCritique)
    assert (output.name, output.schema, output.describe()) == ("countdown", None, "")


def test_the_form_that_the_prompt_shows_is_the_one_that_is_read():
    template = Library().prompt("critic/countdown.md")
    shown = parse(template.render("system", {"task": "", "answer": ""}, "k"))
    assert (shown.verdict, len(shown.steps), shown.first_error) == (Verdict.FAIL, 3, 1)
