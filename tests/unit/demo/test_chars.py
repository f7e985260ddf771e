"""The tokens of the small model and its prompts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic_loop.demo.chars import (
    ANSWER_VERDICT_IDS,
    CONFIDENCE_IDS,
    CONTEXT_TOKENS,
    LINE_VERDICT_IDS,
    MAX_REJECTED,
    MOST_LINES,
    TOKENS,
    VOCAB_SIZE,
    Rejected,
    accepts,
    confidence,
    critique_prompt,
    decode,
    draft_prompt,
    encode,
    line_verdicts,
    lines_of,
    rejected_line,
    revise_prompt,
)
from critic_loop.demo.countdown import HARD, Puzzle, generate, solve, trace_text

PUZZLE = Puzzle(24, (3, 5, 7, 8))
WRONG = "8*3=24>5,7,24\n7-5=2>24,2\n24-2=22"
CRITIQUE = "Line 1: right, reachable (95%)\nLine 2: right, dead end (80%)\nVerdict: wrong (99%)\n"
LARGEST = Puzzle(999, (999,) * 6)

texts = st.lists(st.sampled_from([token for token in TOKENS if token])).map("".join)


def test_tokens_are_distinct_and_fit():
    assert len(set(TOKENS)) == len(TOKENS) - 1  # padding and end have no text
    assert len(TOKENS) <= VOCAB_SIZE


@given(texts)
def test_text_is_read_back(text):
    assert decode(encode(text)) == text


@given(st.lists(st.integers(0, VOCAB_SIZE - 1)))
def test_any_tokens_are_text_that_can_be_read_again(ids):
    assert decode(encode(decode(ids))) == decode(ids)


@pytest.mark.parametrize("text", ["hello", "24: 3", "²", "٣", "\r"])
def test_a_foreign_character_is_refused(text):
    with pytest.raises(KeyError):
        encode(text)


def test_the_words_of_a_critique_are_single_tokens():
    assert [TOKENS[i] for i in LINE_VERDICT_IDS] == ["right, reachable", "right, dead end", "wrong"]
    assert [TOKENS[i] for i in ANSWER_VERDICT_IDS] == ["Verdict: correct", "Verdict: wrong"]
    assert all(TOKENS[i].endswith("%)\n") for i in CONFIDENCE_IDS)
    assert len(encode(CRITIQUE)) == 3 + 3 + 2


def test_the_three_prompts():
    assert draft_prompt(PUZZLE) == "<draft>24:3,5,7,8\n"
    assert critique_prompt(PUZZLE, WRONG) == (
        "<critique>24:3,5,7,8\nLine 1: 8*3=24>5,7,24\nLine 2: 7-5=2>24,2\nLine 3: 24-2=22\n?"
    )
    assert revise_prompt(PUZZLE, []) == "<revise>24:3,5,7,8\n"
    assert revise_prompt(PUZZLE, [Rejected(WRONG, 2)]) == "<revise>24:3,5,7,8!8*3?7-5\n"
    assert revise_prompt(PUZZLE, [Rejected(WRONG)]) == "<revise>24:3,5,7,8!8*3,7-5,24-2\n"


@pytest.mark.parametrize("line", [None, 0, -1, 4, 99])
def test_a_line_that_is_not_there_marks_nothing(line):
    assert revise_prompt(PUZZLE, [Rejected(WRONG, line)]) == "<revise>24:3,5,7,8!8*3,7-5,24-2\n"


@pytest.mark.parametrize("most", [1, 3, 8])
def test_only_the_latest_rejected_answers_are_shown(most):
    answers = [Rejected(f"{n}+1={n + 1}", 1) for n in range(1, 12)]
    shown = revise_prompt(PUZZLE, answers, most).removeprefix("<revise>24:3,5,7,8").strip().split("!")[1:]
    assert shown == [f"?{n}+1" for n in range(12 - most, 12)]
    assert revise_prompt(PUZZLE, answers) == revise_prompt(PUZZLE, answers[-MAX_REJECTED:])


@given(
    st.lists(st.builds(Rejected, st.text() | texts, st.none() | st.integers(-1, 9)), max_size=12),
    st.text() | texts,
)
def test_a_prompt_fits_whatever_stands_in_an_answer(rejected, answer):
    long = "\n".join([f"999*999=998001>{answer}"] * 9)
    for prompt in (
        critique_prompt(LARGEST, answer),
        critique_prompt(LARGEST, long),
        revise_prompt(LARGEST, rejected),
        revise_prompt(LARGEST, [*rejected, Rejected(long, 9)]),
    ):
        assert len(encode(prompt)) <= CONTEXT_TOKENS - 64


@given(st.text() | texts)
def test_lines_are_few_short_and_in_the_models_characters(answer):
    lines = lines_of(answer)
    assert len(lines) <= MOST_LINES
    assert all(set(line) <= set("*+,-/0123456789:=>") for line in lines)
    assert not lines or max(map(len, lines)) <= 20


def test_an_answer_of_the_hard_level_is_shown_whole():
    puzzle = next(generate(1, HARD))
    answer = trace_text(puzzle.numbers, solve(puzzle) or ())
    assert lines_of(answer) == answer.splitlines()


@pytest.mark.parametrize(
    ("critique", "line"),
    [
        (CRITIQUE, 2),
        ("line 3: the result is 22, not 24", 3),
        ("LINE 1: Right, Reachable\nLINE 2: WRONG", 2),
        ("Line 1: right, reachable (95%)\nVerdict: correct (95%)", None),
        ("The line 4:wrong", 4),
        ("Line 12: wrong. Line: 3", None),
        ("Line ٣: wrong", None),
        ("line", None),
        ("", None),
    ],
)
def test_the_first_line_objected_to_is_found(critique, line):
    assert rejected_line(critique) == line


def test_what_a_critique_says_is_read():
    assert line_verdicts(CRITIQUE) == [("right, reachable", 95), ("right, dead end", 80)]
    assert not accepts(CRITIQUE)
    assert confidence(CRITIQUE) == pytest.approx(0.01)
    assert accepts("Verdict: correct (70%)\n")
    assert confidence("Verdict: correct (70%)\n") == pytest.approx(0.7)
    assert confidence("hm") == 0.5
