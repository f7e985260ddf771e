import pytest

from critic_loop.core.messages import assistant
from critic_loop.core.records import Verdict
from critic_loop.outputs import PairVerdict, VerdictLine
from critic_loop.outputs.verdict import share_in, verdict_in

PASS, FAIL, ABSTAIN = Verdict.PASS, Verdict.FAIL, Verdict.ABSTAIN


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (PASS, ["correct", "Correct.", "**CORRECT**", "PASS", "accept", "accepted!", "right", "true", "yes"]),
        (
            PASS,
            ["The answer is correct", "the final answer is correct.", r"\boxed{correct}", "`correct`", "✅"],
        ),
        (
            PASS,
            ["correct, no errors found", "correct (checked twice)", "正确", "正确。", "答案是正确的", "通过"],
        ),
        (
            FAIL,
            ["wrong", "Incorrect", "FAIL", "reject", "not correct", "it isn’t correct", "no", "needs revision"],
        ),
        (FAIL, ["wrong, the correct answer is 5", "incorrect because 3 + 4 = 7", "wrong at step 2", "❌"]),
        (FAIL, ["错误", "不正确", "未通过", "错误。", "答案是错误的"]),
        (ABSTAIN, ["unsure", "cannot judge", "无法判断"]),
        (None, ["partially correct", "mostly correct", "correct / wrong", "correct or wrong", "pass|fail"]),
        (
            None,
            ["correct, but step 3 is off", "correct, except for the sign", "correct? no, wrong", "not wrong"],
        ),
        (
            None,
            ["correctness matters", "passing", "no errors", "wrongly rounded", "5", "", "对不起", "not unsure"],
        ),
    ],
)
def test_words_decide_only_when_they_are_plain(verdict, words):
    assert {word: verdict_in(word) for word in words} == dict.fromkeys(words, verdict)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Fine.\nVerdict: correct", PASS),
        ("**Verdict:** wrong", FAIL),
        ("**Verdict**: wrong\n", FAIL),
        ("- Verdict: PASS", PASS),
        ("Final verdict — wrong", FAIL),
        ("The verdict is: fail", FAIL),
        ("Verdict：正确", PASS),
        ("判定：错误", FAIL),
        ("最终判断：正确", PASS),
        ("## Verdict\n\nCorrect", PASS),
        ("3. Verdict: wrong", FAIL),
        ("That cannot be. Verdict: wrong", FAIL),
        ("Correctness of the final answer: Correct", PASS),
        ("Conclusion: 42\nResult: 7", None),
        ("Decision: reject", FAIL),
        ("Step 1 holds.\n\nPASS", PASS),
        ("Step 1: correct\nStep 2: correct", None),
        ("PASS\nis what I would say if it were right", None),
    ],
)
def test_the_verdict_line_is_found(text, verdict):
    feedback = VerdictLine().parse(assistant(text))
    assert feedback.verdict is (ABSTAIN if verdict is None else verdict)
    assert feedback.parse == ("unparsed" if verdict is None else "ok")
    assert feedback.text == text


def test_of_conflicting_lines_the_last_counts():
    assert VerdictLine().parse(assistant("Verdict: correct\nWait.\nVerdict: wrong")).verdict is FAIL
    assert VerdictLine().parse(assistant("Verdict: wrong\nWait.\nVerdict: correct")).verdict is PASS


@pytest.mark.parametrize(
    "text",
    [
        "No idea.",
        "",
        "Verdict: correct\nVerdict: partially correct",
        "Verdict: partially correct\nScore: 0.9",
        "Verdict: correct / wrong",
        "> Verdict: correct",
        "<think>\nVerdict: correct",
        "Verdict:",
    ],
)
def test_what_cannot_be_read_is_an_abstention_without_a_score(text):
    feedback = VerdictLine().parse(assistant(text))
    assert (feedback.verdict, feedback.score, feedback.parse) == (ABSTAIN, None, "unparsed")
    assert feedback.reason
    assert feedback.text == text


def test_a_critic_may_abstain_in_so_many_words():
    feedback = VerdictLine().parse(assistant("Verdict: cannot judge\nScore: 0.5"))
    assert (feedback.verdict, feedback.score, feedback.parse) == (ABSTAIN, None, "ok")
    assert "cannot judge" in feedback.reason


def test_inline_thinking_is_not_judged_by():
    text = "<think>\nVerdict: correct\n</think>\nVerdict: wrong"
    assert VerdictLine().parse(assistant(text)).verdict is FAIL
    assert VerdictLine().parse(assistant(text)).text == text


@pytest.mark.parametrize(
    ("words", "share"),
    [
        ("7/10", 0.7),
        ("7 out of 10", 0.7),
        ("70%", 0.7),
        ("0.7", 0.7),
        (".5", 0.5),
        ("1.0", 1.0),
        ("0/5", 0.0),
        ("10/10 points", 1.0),
        ("1", None),  # the best of one or the worst of ten?
        ("7", None),
        ("7.5", None),
        ("11/10", None),
        ("1/0", None),
        ("150%", None),
        ("-0.5", None),
        ("1.2.3", None),
        ("1/2/2026", None),
        ("high", None),
    ],
)
def test_scores_are_read_on_their_scale_and_never_clamped(words, share):
    assert share_in(words) == share


def test_score_and_confidence_stand_beside_the_verdict():
    feedback = VerdictLine().parse(assistant("Score: 2/10\n**Score: 3/10**\nConfidence: 80%\nVerdict: wrong"))
    assert (feedback.verdict, feedback.score, feedback.confidence) == (FAIL, 0.3, 0.8)
    assert VerdictLine().parse(assistant("评分：７/10\n判定：正确")).score == 0.7


def test_a_score_alone_judges_but_accepts_nothing():
    feedback = VerdictLine().parse(assistant("Score: 0.9"))
    assert (feedback.verdict, feedback.score, feedback.parse) == (None, 0.9, "ok")


@pytest.mark.parametrize(
    ("text", "preference"),
    [
        ("Better: A", (1.0, 0.0)),
        ("**Better:** B", (0.0, 1.0)),
        ("Better: tie", (0.5, 0.5)),
        ("Winner: answer B, as it is shorter", (0.0, 1.0)),
        ("The better answer is A.", (1.0, 0.0)),
        ("更好的答案：B", (0.0, 1.0)),
        ("My verdict is [[B]]", (0.0, 1.0)),
        ("It is [[C]]", (0.5, 0.5)),
        ("Better: A\nNo.\nBetter: B", (0.0, 1.0)),
        ("Better: first", (1.0, 0.0)),
    ],
)
def test_a_preference_is_in_the_order_shown(text, preference):
    feedback = PairVerdict().parse(assistant(text))
    assert (feedback.preference, feedback.verdict, feedback.parse) == (preference, None, "ok")
    assert feedback.text == text


@pytest.mark.parametrize("text", ["", "Both have merits.", "Better: A or B", "Better: A\nBetter: hard to say"])
def test_no_plain_preference_is_an_abstention_not_a_tie(text):
    feedback = PairVerdict().parse(assistant(text))
    assert (feedback.preference, feedback.verdict, feedback.parse) == (None, ABSTAIN, "unparsed")
    assert feedback.reason


def test_lines_bind_no_endpoint():
    for output in (VerdictLine(), PairVerdict()):
        assert output.schema is None
        assert output.describe() == ""
