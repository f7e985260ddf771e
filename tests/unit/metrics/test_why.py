"""What `why` says beside the cause, and the borders between causes."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import pytest

from critic_loop.core.progress import GOES_ON, LIMITS
from critic_loop.core.records import Event, Outcome, Task, Verdict
from critic_loop.core.tree import Tree
from critic_loop.metrics import Cause, why
from critic_loop.testing.trees import ALL
from tests.conftest import Grown
from tests.planted.by_hand import PASS, accepts, cannot_judge, end, garbled, rejects, unreadable, user_says


def cause(g: Grown) -> str:
    return str(why(g.tree).cause)


def test_a_known_loss_of_a_right_answer_is_told_from_the_records() -> None:
    g = Grown()
    good = g.attempt(answer="42")
    said = rejects(g, good, "Count\nagain.")
    bad = g.attempt(good, answer="41")
    end(g, bad, "critic", "max_rounds")
    assert cause(g) == "unknown"
    knew, knows = user_says(g, good, 1.0), user_says(g, bad, 0.0, "No!")
    found = why(g.tree)
    assert found.text == (
        "Attempt 1 was right, but the critic rejected it, and its revision attempt 2 is wrong, according to "
        "the user."
    )
    assert [e.id for e in found.evidence] == [good, said, bad, knows]
    assert knew not in {e.id for e in found.evidence}
    assert str(found) == (
        f"broken_by_critique: {found.text}\n"
        "  t.1: 42\n"
        "  t.f1 by critic: fail, score 0.1: Count again.\n"
        "  t.2: 41\n"
        "  t.f3 by user: score 0: No!\n"
        f"Next: {found.hint}"
    )


def test_the_json_form_is_stable() -> None:
    g = Grown()
    only = g.attempt(answer={"n": 41})
    g.verified(only, "fail")
    end(g, only, "verifier", "exhausted")
    assert json.loads(why(g.tree).model_dump_json()) == {
        "tree": "t",
        "cause": "never_found",
        "text": "No right answer was found: 1 attempt, which is wrong, according to the verifier 'answer'.",
        "evidence": [
            {"id": "t.1", "by": "", "quote": '{"n":41}'},
            {"id": "t.f1", "by": "answer", "quote": "fail"},
        ],
        "hint": "Try a stronger actor, more attempts (samples find what revisions do not), or critiques "
        "with more detail.",
    }


def test_what_a_model_wrote_cannot_reach_the_terminal() -> None:
    g = Grown()
    only = g.attempt(answer="\x1b[2J\u202e41")
    g.verified(only, "fail", author="\x1b]0;x\x07", text="\x9b31m")
    end(g, only, "verifier", "exhausted")
    assert not set(str(why(g.tree))) & {"\x1b", "\x9b", "\x07", "\u202e"}


# -- borders ---------------------------------------------------------------------------------------


def test_revised_without_a_rejection_is_a_matter_of_selection() -> None:
    g = Grown()
    good = g.attempt(answer="42")
    accepts(g, good)
    bad = g.attempt(good, answer="41")
    end(g, bad, "critic", "max_rounds")
    g.verified(good, "pass")
    g.verified(bad, "fail")
    assert cause(g) == "found_not_selected"


def test_a_rejection_that_came_after_the_revision_broke_nothing() -> None:
    g = Grown()
    good = g.attempt(answer="42")
    bad = g.attempt(good, answer="41")
    rejects(g, good)
    g.verified(good, "pass")
    g.verified(bad, "fail")
    end(g, bad, "critic", "max_rounds")
    assert cause(g) == "found_not_selected"


def test_a_shadow_critic_breaks_nothing_and_accepts_nothing() -> None:
    g = Grown()
    good = g.attempt(answer="42")
    rejects(g, good, advisory=True)
    bad = g.attempt(good, answer="41")
    accepts(g, bad, advisory=True)
    end(g, bad, "nobody", "max_rounds")
    user_says(g, bad, 0.0)
    assert cause(g) == "unknown", "nobody has judged the draft"
    user_says(g, good, 1.0)
    assert cause(g) == "found_not_selected"


def test_of_several_right_ones_the_first_is_named() -> None:
    g = Grown()
    for verdict in ("pass", "fail", "pass"):
        g.verified(g.attempt(answer=verdict), verdict)
    end(g, "t.2", "vote", "exhausted")
    assert why(g.tree).text.startswith(
        "Attempt 1 (and 1 more) are right, according to the verifier 'answer', but "
    )


def test_a_wrong_revision_that_was_not_chosen_is_no_matter() -> None:
    g = Grown()
    good = g.attempt(answer="42")
    rejects(g, good)
    bad = g.attempt(good, answer="41")
    g.verified(bad, "fail")
    g.verified(good, "pass")
    end(g, good, "verifier", "max_rounds")
    assert cause(g) == "solved"


def test_acceptance_that_evidence_overruled_at_the_time_did_no_harm() -> None:
    g = Grown()
    last: tuple[str, ...] = ()
    for answer in ("39", "40"):
        attempt = g.attempt(*last, answer=answer)
        g.verified(attempt, "fail")
        accepts(g, attempt)
        last = (attempt,)
    end(g, last[0], "verifier", "max_rounds")
    assert cause(g) == "never_found"
    end(g, last[0], "critic", "max_rounds")
    assert cause(g) == "false_accept", "here the critic's word decided all the same"


def test_what_failed_since_it_could_not_be_read_is_unparsed() -> None:
    g = Grown()
    only = g.attempt(text="hm", status="failed", error="no JSON", error_code="output")
    for stop in ("failing", "exhausted"):
        end(g, None, "nobody", stop)
        assert cause(g) == "unparsed"
    assert [e.id for e in why(g.tree).evidence] == [only]


def test_an_equal_answer_is_equally_right() -> None:
    g = Grown()
    one, two = g.attempt(answer="42"), g.attempt(answer="42")
    end(g, one, "vote", "exhausted")
    user_says(g, two, 1.0)
    assert cause(g) == "solved"


def test_limits_do_not_matter_where_a_critic_was_content() -> None:
    g = Grown()
    only = g.attempt(answer="42")
    accepts(g, only)
    end(g, only, "critic", "budget")
    assert cause(g) == "unknown"


def test_some_that_could_not_be_read_are_a_remark() -> None:
    g = Grown()
    draft = unreadable(g)
    final = g.attempt(draft, answer="41")
    g.verified(final, "fail")
    end(g, final, "verifier", "max_rounds")
    assert cause(g) == "never_found"
    assert "1 more could not be read" in why(g.tree).text


def test_half_of_the_critiques_are_enough_to_be_guided() -> None:
    g = Grown()
    first = g.attempt(answer="40")
    garbled(g, first)
    second = g.attempt(first, answer="41")
    rejects(g, second)
    g.verified(first, "fail")
    g.verified(second, "fail")
    end(g, second, "verifier", "max_rounds")
    assert cause(g) == "never_found"


def test_what_could_not_be_read_does_not_matter_where_a_critic_was_content() -> None:
    g = Grown()
    unreadable(g)
    unreadable(g)
    final = g.attempt(answer="42")
    accepts(g, final)
    end(g, final, "critic", "accepted")
    assert cause(g) == "unknown"


def test_a_few_abstentions_are_no_cause_unless_the_answer_is_among_them() -> None:
    g = Grown()
    for answer in ("39", "40", "41"):
        g.verified(g.attempt(answer=answer), "fail")
    spared = g.attempt(answer="42")
    cannot_judge(g, spared, "timeout")
    end(g, "t.3", "verifier", "exhausted")
    assert cause(g) == "never_found"
    end(g, spared, "nobody", "exhausted")
    assert cause(g) == "verifier_abstained"


def test_a_verifier_that_crashed_is_named_beside_another_cause() -> None:
    g = Grown()
    for answer in ("39", "40"):
        attempt = g.attempt(answer=answer)
        g.verified(attempt, "fail")
        g.verified(attempt, "abstain", author="slow", parse="error", reason=f"slow: no file {answer}.json")
    end(g, "t.2", "verifier", "exhausted")
    found = why(g.tree)
    assert found.cause is Cause.NEVER_FOUND
    assert found.text.endswith(". A verifier crashed 2 times: slow: no file 40.json")
    assert found.evidence[-1].quote == "abstain: slow: no file 40.json"
    g.verified(g.attempt(answer="42"), "abstain", author="careful", reason="no reference")
    assert "no reference" not in why(g.tree).text, "who cannot tell has not crashed"


def test_a_rejection_that_was_taken_back_in_time_broke_nothing() -> None:
    g = Grown()
    good = g.attempt(answer="42")
    before = rejects(g, good)
    accepts(g, good, supersedes=before)
    bad = g.attempt(good, answer="41")
    g.verified(good, "pass")
    g.verified(bad, "fail")
    end(g, bad, "critic", "max_rounds")
    assert cause(g) == "found_not_selected"


def test_a_rule_of_two_names_is_read_as_both() -> None:
    g = Grown()
    only = g.attempt(answer="41")
    g.verified(only, "fail")
    end(g, only, "verifier", "max_rounds+elapsed")
    assert cause(g) == "budget"


@pytest.mark.parametrize(
    ("stop", "names"),
    [
        ("budget", ["max_calls"]),
        ("spent", ["Spent"]),
        ("elapsed", ["Elapsed"]),
        ("steps", ["recursion_limit"]),
        ("spent+elapsed", ["Elapsed", "Spent"]),
    ],
)
def test_the_limit_to_lift_is_the_one_that_was_reached(stop: str, names: list[str]) -> None:
    g = Grown()
    only = g.attempt(answer="41")
    g.verified(only, "fail")
    end(g, only, "verifier", stop)
    hint = why(g.tree).hint
    assert [name for name in ("max_calls", "Elapsed", "Spent", "recursion_limit") if name in hint] == names


def test_a_verifier_with_nothing_to_judge_by_has_not_failed() -> None:
    g = Grown()
    draft = g.attempt(answer="41")
    lacks = {"lacks": "reference answer"}
    word = cannot_judge(g, draft, "the task has no reference answer", author="answer", data=lacks)
    rejects(g, draft)
    end(g, draft, "critic", "max_rounds")
    found = why(g.tree)
    assert (found.cause, found.failed) == ("unknown", False)
    assert found.text == (
        "The critic rejected attempt 1; whether it is right is unknown. "
        "The verifier 'answer' could not judge: the task has no reference answer."
    )
    assert word in {e.id for e in found.evidence}
    assert found.hint.startswith("Add a reference answer to the task")
    cannot_judge(g, draft, "timeout", author="unit_tests")
    assert cause(g) == "verifier_abstained", "another could have judged, and did not"
    assert "unit_tests" in why(g.tree).text


def test_a_grade_is_neither_right_nor_wrong() -> None:
    found = why(ALL["prompt-agent"]())
    assert found.cause == "unknown"
    assert found.text == "The verifier 'dev_set' gave attempt 2 a score of 0.9: neither right nor wrong."


def test_nothing_on_record_is_said_to_be_nothing() -> None:
    g = Grown()
    only = g.attempt(answer="41")
    end(g, only, "nobody", "exhausted")
    assert why(g.tree).text.startswith("Nobody has judged attempt 1")
    h = Grown()
    for stop_text in ("nothing to try", "nothing to try."):
        end(h, None, "nobody", "exhausted", stop_text=stop_text)
        assert why(h.tree).text == "The loop ended without an answer: nothing to try."
    end(h, None, "nobody", "elapsed", stop_text="Time is up.")
    assert why(h.tree).text.endswith(" s: Time is up.")


def test_the_reference_is_named_as_a_source() -> None:
    g = Grown(Task.of("x", reference="42"))
    only = g.attempt(answer="41")
    accepts(g, only)
    end(g, only, "critic", "accepted")
    assert why(g.tree).text == (
        "The critic accepted attempt 1 and the loop stopped, but it is wrong, according to the task's "
        "reference."
    )


def test_steps_are_not_answers() -> None:
    g = Grown()
    step = g.attempt(answer="first, multiply", kind="step")
    g.verified(step, "pass")
    wrong = g.attempt(step, answer="41")
    g.verified(wrong, "fail")
    end(g, wrong, "verifier", "exhausted")
    assert cause(g) == "never_found"


def test_repeated_answers_are_counted() -> None:
    g = Grown()
    for answer in ("40", "41", "40", "40"):
        g.verified(g.attempt(answer=answer), "fail")
    end(g, "t.1", "vote", "exhausted")
    assert "according to the verifier 'answer'; only 2 different answers among them." in why(g.tree).text


def test_much_evidence_is_cut() -> None:
    g = Grown()
    for _ in range(50):
        g.verified(g.attempt(answer="41"), "fail")
    end(g, "t.1", "vote", "exhausted")
    assert len(why(g.tree).evidence) == 5


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("refine", "solved"),
        ("best-of-n", "solved"),
        ("nested", "never_found"),
        ("parked", "parked"),
        ("image", "unknown"),
        ("gate", "unknown"),
        ("code-t", "unknown"),
    ],
)
def test_published_shapes(name: str, expected: str) -> None:
    assert why(ALL[name]()).cause == expected


def test_a_later_outcome_counts() -> None:
    g = Grown()
    first = g.attempt(answer="41")
    g.verified(first, "fail")
    end(g, first, "verifier", "budget")
    assert cause(g) == "budget"
    second = g.attempt(first, answer="42")
    g.verified(second, "pass")
    g.tree.append(Outcome(chosen=second, stop="verified"))
    assert cause(g) == "solved"


def test_an_outcome_is_over_once_the_loop_goes_on() -> None:
    g = Grown()
    first = g.attempt(answer="41")
    g.verified(first, "fail")
    g.ask(first)
    end(g, first, "verifier", "budget")
    user_says(g, first, 0.0)
    assert cause(g) == "budget", "late feedback ends nothing"
    g.settle("t.2", "42")
    assert cause(g) == "unfinished"
    end(g, first, "verifier", "budget")
    g.ask("t.2")
    assert cause(g) == "unfinished"


def test_every_moment_of_a_tree_that_was_parked_and_answered() -> None:
    g = Grown()
    g.attempt(answer="41", status="parked")
    g.attempt(answer="42", status="parked")
    end(g, None, "nobody", "parked")
    for number, attempt in enumerate(("t.1", "t.2")):
        g.say(attempt, source="human", author="ana", verdict="fail")
        assert cause(g) == "parked"
        assert f"on {2 - number} attempt" in why(g.tree).text
        g.settle(attempt, f"4{number + 1}")
    g.tree.append(Event(kind="resume", at=1.0, data={"by": "caller"}))
    assert cause(g) == "unfinished"
    assert "has the feedback from a person that it waited for: run it again" in why(g.tree).text
    g.ask("t.2")
    assert cause(g) == "unfinished"
    assert "1 in flight" in why(g.tree).text
    g.settle("t.3", "43")
    end(g, "t.3", "critic", "accepted")
    causes = [str(why(Tree.of(g.tree.log[: last + 1])).cause) for last in range(len(g.tree.log))]
    parked = [isinstance(r, Outcome) for r in g.tree.log].index(True)
    assert set(causes[:parked]) == {"unfinished"}
    assert [k for k, _ in groupby(causes[parked:])] == ["parked", "unfinished", "unknown"]


@pytest.mark.parametrize("stop", ["interrupted", "stopped"])
def test_a_run_that_somebody_ended_is_no_failure_and_goes_on(stop: str) -> None:
    g = Grown(Task.of("x", reference="42"))
    first = g.attempt(answer="41")
    end(g, first, "nobody", stop)
    found = why(g.tree)
    assert found.cause == "unfinished"
    assert not found.failed
    assert found.text == f"The run was {stop} after 1 attempt."
    assert {"parked", "failing", "interrupted", "stopped"} == GOES_ON - LIMITS


def test_a_confirmation_that_came_later_does_not_excuse_the_selection() -> None:
    g = Grown()
    right, wrong = g.attempt(answer="42"), g.attempt(answer="41")
    g.verified(right, "pass")
    end(g, wrong, "critic", "exhausted")
    user_says(g, wrong, 0.0)
    assert "could not know" not in why(g.tree).text
    user_says(g, right, 1.0)
    assert "could not know" not in why(g.tree).text
    assert "verified-first" in why(g.tree).hint


def test_a_selection_that_knew_otherwise_could_not_know() -> None:
    g = Grown()
    right, wrong = g.attempt(answer="42"), g.attempt(answer="41")
    g.verified(right, "fail")
    end(g, wrong, "critic", "exhausted")
    user_says(g, right, 1.0)
    assert "could not know" in why(g.tree).text


def test_an_abstention_does_not_matter_once_the_answer_is_known() -> None:
    g = Grown()
    for answer in ("40", "41"):
        wrong = g.attempt(answer=answer)
        cannot_judge(g, wrong, "timeout")
        user_says(g, wrong, 0.0)
    end(g, "t.2", "nobody", "exhausted")
    assert cause(g) == "never_found"


def test_critiques_that_came_later_guided_nothing() -> None:
    g = Grown()
    only = g.attempt(answer="41")
    g.verified(only, "fail")
    end(g, only, "verifier", "exhausted")
    garbled(g, only)
    assert cause(g) == "never_found"


def test_the_last_unreadable_answers_are_shown_first() -> None:
    g = Grown()
    for number in range(8):
        unreadable(g, text=f"weather {number}")
    end(g, None, "nobody", "exhausted")
    found = why(g.tree)
    assert found.cause == "unparsed"
    assert [e.id for e in found.evidence] == ["t.8", "t.7", "t.6", "t.5", "t.4"]


def test_the_last_unreadable_critiques_are_shown_first() -> None:
    g = Grown()
    for number in range(8):
        last = garbled(g, g.attempt(answer=str(number)))
    end(g, "t.1", "nobody", "exhausted")
    found = why(g.tree)
    assert found.cause == "unparsed"
    assert found.evidence[0].id == last
    assert len(found.evidence) == 5


def test_every_cause_is_a_word_and_failures_are_the_first() -> None:
    assert [c for c in Cause if c.value != c.name.lower()] == []
    g: Tree = ALL["refine"]()
    assert not why(g).failed
    assert Verdict.PASS is PASS


def test_a_grade_names_the_cause_and_the_selection_could_not_know() -> None:
    g = Grown()
    right, wrong = g.attempt(answer="42"), g.attempt(answer="41")
    for attempt, verdict in ((right, "pass"), (wrong, "fail")):
        g.say(attempt, source="grader", author="hidden-tests", verdict=verdict)
    end(g, wrong, "nobody", "exhausted")
    found = why(g.tree)
    assert found.cause is Cause.FOUND_NOT_SELECTED
    assert "according to the grader 'hidden-tests'" in found.text
    assert "could not know" in found.text


@pytest.mark.parametrize(
    ("fields", "cause", "says"),
    [
        ({"verdict": "abstain", "reason": "no tests ran"}, Cause.VERIFIER_ABSTAINED, "The grader"),
        (
            {"verdict": "abstain", "data": {"lacks": "reference answer"}},
            Cause.UNKNOWN,
            "could not judge: the task",
        ),
        ({"score": 0.4}, Cause.UNKNOWN, "a score of 0.4"),
        ({"verdict": "abstain", "parse": "error", "reason": "it broke"}, Cause.VERIFIER_ABSTAINED, "it broke"),
    ],
)
def test_a_grader_that_could_not_judge_is_named(fields: dict[str, Any], cause: Cause, says: str) -> None:
    g = Grown()
    g.say(g.attempt(answer="42"), source="grader", author="hidden-tests", **fields)
    end(g, "t.1", "nobody", "exhausted")
    found = why(g.tree)
    assert found.cause is cause
    assert says in str(found)
