from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import Compare, Pick
from critic_loop.core.tree import Tree
from critic_loop.select import (
    B4,
    RULES,
    best_value,
    candidates,
    filtered_majority,
    keep_if_better,
    majority,
    mean_trajectory,
    selection,
    verified_first,
)
from tests.conftest import Grown

VOTES = {"majority", "filtered-majority"}
"""Rules that count answers, and hear no verifier."""


def compared(grown, first, second, preference, **fields):
    """Let the judge prefer, in this order of showing."""
    said = {"verdict": "abstain", "reason": "?"} if preference is None else {"preference": preference}
    grown.say(first, second, source="judge", author="judge", **said, **fields)


def both_orders(grown, holder, challenger, better):
    """A judge who always prefers `better`."""
    for pair in ((holder, challenger), (challenger, holder)):
        compared(grown, *pair, (1.0, 0.0) if pair[0] == better else (0.0, 1.0))


# -- candidates --------------------------------------------------------------------------------


def test_only_complete_answers_may_win(grown):
    grown.ask()
    grown.attempt(status="failed")
    grown.attempt(status="partial")
    grown.attempt(status="parked", answer="1")
    grown.attempt(answer="assert f() == 1", kind="tests")
    good = grown.attempt(answer="2")
    assert candidates(grown.tree) == (good,)


def test_what_another_replaced_may_not_win_unless_that_came_to_nothing(grown):
    wrong, other = grown.attempt(answer="1"), grown.attempt(answer="2")
    grown.attempt(status="failed", replaces=other)
    right = grown.attempt(answer="3", replaces=wrong)
    assert candidates(grown.tree) == (other, right)


def test_unreadable_answers_win_only_where_there_is_nothing_else(grown):
    garbled = grown.attempt(text="?", error="no JSON found", error_code="output")
    assert candidates(grown.tree) == (garbled,)
    readable = grown.attempt(answer="2")
    assert candidates(grown.tree) == (readable,)


@pytest.mark.parametrize("name", RULES)
def test_from_nothing_nothing_is_picked(grown, name):
    grown.attempt(status="failed")
    assert selection(name)(grown.tree) == Pick(attempt=None, decided_by="nobody")


@pytest.mark.parametrize("name", RULES)
def test_a_single_attempt_is_picked(grown, name):
    only = grown.attempt(answer="1")
    assert selection(name)(grown.tree).attempt == only


@pytest.mark.parametrize("name", RULES)
def test_a_step_never_wins_and_the_answer_at_its_end_does(grown, name):
    step = grown.attempt(kind="step", answer="First, 6 * 7.")
    grown.say(step, score=1.0)
    assert selection(name)(grown.tree).attempt is None
    end = grown.attempt(step, answer="42")
    assert selection(name)(grown.tree).attempt == end


# -- by value ----------------------------------------------------------------------------------


def test_the_oldest_verified_attempt_wins(grown):
    praised, first, second = (grown.attempt(answer=str(n)) for n in range(3))
    grown.say(praised, verdict="pass", score=1.0)
    grown.verified(praised, "fail")
    grown.verified(first, "pass", score=0.1)
    grown.verified(second, "pass", score=0.9)
    assert verified_first(grown.tree) == Pick(attempt=first, decided_by="verifier")
    assert best_value(grown.tree) == Pick(attempt=second, decided_by="verifier")


def test_without_judgement_the_last_revision_wins(grown):
    draft = grown.attempt(answer="1")
    last = grown.attempt(draft, answer="2")
    assert verified_first(grown.tree) == Pick(attempt=last, decided_by="nobody")
    assert best_value(grown.tree) == Pick(attempt=draft, decided_by="nobody")


def test_scores_decide_where_verdicts_do_not(grown):
    ids = [grown.attempt(answer="x") for _ in range(3)]
    for attempt, score in zip(ids, (0.2, 0.8, 0.5), strict=True):
        grown.say(attempt, score=score)
    assert verified_first(grown.tree) == best_value(grown.tree) == Pick(attempt=ids[1], decided_by="critic")


def test_ties_are_broken_by_age_the_latest_in_refinement_the_oldest_in_sampling(grown):
    ids = [grown.attempt(answer="x") for _ in range(3)]
    for attempt in ids:
        grown.say(attempt, score=0.5)
    assert verified_first(grown.tree).attempt == ids[2]
    assert best_value(grown.tree).attempt == ids[0]


def test_an_abstention_ranks_between_a_fail_and_a_pass(grown):
    failed, silent = grown.attempt(answer="1"), grown.attempt(answer="2")
    grown.verified(failed, "fail", score=0.9)
    grown.verified(silent, "abstain")
    assert verified_first(grown.tree) == Pick(attempt=silent, decided_by="nobody")
    passed = grown.attempt(answer="3")
    grown.verified(passed, "pass", score=0.0)
    assert best_value(grown.tree).attempt == passed


opinions = st.lists(st.tuples(st.sampled_from(["pass", "fail", None]), st.floats(0, 1) | st.none()), max_size=3)


@given(opinions, opinions, st.booleans())
def test_no_opinion_lifts_a_failing_attempt_over_a_passing_one(on_failing, on_passing, failing_first):
    grown = Grown()
    ids = [grown.attempt(answer="a"), grown.attempt(answer="b")]
    failing, passing = ids if failing_first else ids[::-1]
    grown.verified(failing, "fail")
    grown.verified(passing, "pass")
    for attempt, said in ((failing, on_failing), (passing, on_passing)):
        for verdict, score in said:
            grown.say(attempt, verdict=verdict, score=score)
    both_orders(grown, *ids, failing)
    for name in RULES.keys() - VOTES:
        assert selection(name)(grown.tree).attempt == passing, name


# -- the mean over the path -------------------------------------------------------------------------


def test_the_path_with_the_highest_mean_wins_not_the_best_leaf(grown):
    roots = [grown.attempt(answer="1"), grown.attempt(answer="2")]
    leaves = [grown.attempt(roots[0], answer="3"), grown.attempt(roots[1], answer="4")]
    for attempt, score in zip((*roots, *leaves), (0.3, 0.8, 0.9, 0.75), strict=True):
        grown.say(attempt, score=score)
    assert best_value(grown.tree).attempt == leaves[0]
    found = mean_trajectory(grown.tree)
    assert found == Pick(attempt=roots[1], decided_by="critic", text="mean 0.80 over its path")


def test_what_nobody_judged_is_not_zero_on_a_path(grown):
    silent = grown.attempt(answer="1")
    good = grown.attempt(silent, answer="2")
    other = grown.attempt(answer="3")
    grown.say(good, score=0.6)
    grown.say(other, score=0.5)
    assert mean_trajectory(grown.tree).attempt == good, "0.6, not the mean of 0 and 0.6"


# -- votes -------------------------------------------------------------------------------------


def test_the_oldest_of_the_most_frequent_answer_wins(grown):
    ids = [grown.attempt(answer=a) for a in ("41", " 42", "42\n", "41", "42")]
    assert majority(grown.tree) == Pick(attempt=ids[1], decided_by="vote", text="3 of 5 votes")


def test_a_tie_goes_to_the_answer_that_came_first(grown):
    ids = [grown.attempt(answer=a) for a in ("b", "a", "a", "b")]
    assert majority(grown.tree).attempt == ids[0]


def test_typed_answers_vote_by_value_whatever_the_order_of_their_keys(grown):
    ids = [grown.attempt(answer=a) for a in ([1], {"x": 1, "y": [2]}, {"y": [2], "x": 1}, {"x": 1})]
    assert majority(grown.tree).attempt == ids[1]


def test_texts_vote_by_their_final_part(grown):
    solutions = (
        "6 * 7 = 41.\nAnswer: 41",
        "Six sevens.\nAnswer: 42",
        "So it is \\boxed{42}",
        "42.",
        "**New York**",
    )
    ids = [grown.attempt(answer=a) for a in solutions]
    assert majority(grown.tree) == Pick(attempt=ids[1], decided_by="vote", text="3 of 5 votes")


def test_a_text_and_a_number_are_different_answers(grown):
    ids = [grown.attempt(answer=a) for a in ("42", 42, 42)]
    assert majority(grown.tree) == Pick(attempt=ids[1], decided_by="vote", text="2 of 3 votes")


def test_unreadable_answers_have_no_vote(grown):
    for _ in range(3):
        grown.attempt(text="?", error="no JSON found", error_code="output")
    good = grown.attempt(answer="42")
    assert majority(grown.tree) == Pick(attempt=good, decided_by="vote", text="1 of 1 votes")


def test_rejected_answers_have_no_vote_where_critics_filter(grown):
    ids = [grown.attempt(answer=a) for a in ("41", "41", "41", "42", "42")]
    for attempt in ids[:2]:
        grown.say(attempt, verdict="fail")
    grown.say(ids[2], verdict="abstain")
    assert majority(grown.tree).attempt == ids[0]
    assert filtered_majority(grown.tree) == Pick(attempt=ids[3], decided_by="vote", text="2 of 3 votes")


def test_where_all_are_rejected_all_vote(grown):
    ids = [grown.attempt(answer=a) for a in ("41", "42", "42")]
    for attempt in ids:
        grown.say(attempt, verdict="fail")
    assert filtered_majority(grown.tree).attempt == ids[1]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["pass", "abstain", None])), max_size=9))
def test_with_no_rejection_the_filter_changes_nothing(samples):
    grown = Grown()
    for answer, verdict in samples:
        attempt = grown.attempt(answer=answer)
        if verdict is not None:
            grown.say(attempt, verdict=verdict)
    assert filtered_majority(grown.tree) == majority(grown.tree)


# -- keep if better ----------------------------------------------------------------------------


def test_it_asks_for_a_comparison_before_it_goes_on(grown):
    draft = grown.attempt(answer="1")
    revision = grown.attempt(draft, answer="2")
    assert keep_if_better(grown.tree) == Compare(draft, revision)
    compared(grown, draft, revision, (0.0, 1.0))
    assert keep_if_better(grown.tree) == Compare(draft, revision)
    compared(grown, revision, draft, (1.0, 0.0))
    assert keep_if_better(grown.tree) == Pick(attempt=revision, decided_by="judge")


def test_a_judge_who_contradicts_itself_keeps_the_holder(grown):
    draft, revision = grown.attempt(answer="1"), grown.attempt(answer="2")
    compared(grown, draft, revision, (0.0, 1.0))
    compared(grown, revision, draft, (0.0, 1.0))
    assert keep_if_better(grown.tree) == Pick(attempt=draft, decided_by="judge")


@pytest.mark.parametrize("other", [None, (1.0, 0.0), (0.5, 0.5)])
def test_a_judge_who_abstains_keeps_the_holder(grown, other):
    draft, revision = grown.attempt(answer="1"), grown.attempt(answer="2")
    compared(grown, draft, revision, None)
    compared(grown, revision, draft, other)
    assert keep_if_better(grown.tree).attempt == draft


@pytest.mark.parametrize(("better", "chosen"), [(0, 0), (1, 1)])
def test_where_the_judge_only_abstained_it_decided_nothing(grown, better, chosen):
    ids = [grown.attempt(answer="1"), grown.attempt(answer="2")]
    grown.say(ids[better], verdict="pass", score=0.9)
    grown.say(ids[1 - better], verdict="fail", score=0.1)
    compared(grown, *ids, None)
    assert keep_if_better(grown.tree) == Compare(*ids), "both orders are asked"
    compared(grown, *reversed(ids), None)
    assert keep_if_better(grown.tree) == Pick(attempt=ids[chosen], decided_by="critic")


def test_a_judge_who_only_abstained_and_nobody_else_decided(grown):
    ids = [grown.attempt(answer="1"), grown.attempt(answer="2")]
    for pair in (ids, ids[::-1]):
        compared(grown, *pair, None)
    assert keep_if_better(grown.tree) == Pick(attempt=ids[0], decided_by="nobody")


def test_one_abstention_among_real_shares_is_the_judges_decision(grown):
    ids = [grown.attempt(answer=str(n)) for n in range(3)]
    both_orders(grown, ids[0], ids[1], ids[1])
    for pair in (ids[1:], ids[:0:-1]):
        compared(grown, *pair, None)
    assert keep_if_better(grown.tree) == Pick(attempt=ids[1], decided_by="judge")


def test_evidence_that_came_after_the_judge_decides(grown):
    ids = [grown.attempt(answer="1"), grown.attempt(answer="2")]
    both_orders(grown, *ids, ids[0])
    grown.verified(ids[0], "fail")
    grown.verified(ids[1], "pass")
    assert keep_if_better(grown.tree) == Pick(attempt=ids[1], decided_by="verifier")


def test_a_comparison_costs_one_look_at_each_attempt_and_its_feedback(grown, monkeypatch):
    ids = [grown.attempt(answer=str(n)) for n in range(60)]
    for challenger in ids[1:]:
        both_orders(grown, ids[0], challenger, ids[0])
    looked = Counter()

    def counted(name, real):
        def look(tree, subject):
            looked[name, subject] += 1
            return real(tree, subject)

        monkeypatch.setattr(Tree, name, look)

    counted("about", Tree.about)
    counted("judgements", Tree.judgements)
    assert keep_if_better(grown.tree) == Pick(attempt=ids[0], decided_by="judge")
    assert set(looked.values()) == {1}
    assert looked["about", ids[0]] == 0, "the holder's feedback is on all its comparisons"


def test_the_winner_meets_the_next_one(grown):
    ids = [grown.attempt(answer=str(n)) for n in range(4)]
    both_orders(grown, ids[0], ids[1], ids[1])
    assert keep_if_better(grown.tree) == Compare(ids[1], ids[2])
    both_orders(grown, ids[1], ids[2], ids[1])
    assert keep_if_better(grown.tree) == Compare(ids[1], ids[3])
    both_orders(grown, ids[1], ids[3], ids[3])
    assert keep_if_better(grown.tree).attempt == ids[3]


def test_evidence_needs_no_judge(grown):
    draft, revision = grown.attempt(answer="1"), grown.attempt(answer="2")
    grown.verified(draft, "pass")
    grown.verified(revision, "fail")
    assert keep_if_better(grown.tree) == Pick(attempt=draft, decided_by="verifier")


def test_a_shadow_judge_is_not_obeyed(grown):
    draft, revision = grown.attempt(answer="1"), grown.attempt(answer="2")
    for pair in ((draft, revision), (revision, draft)):
        compared(grown, *pair, (0.5, 0.5), advisory=True)
    assert keep_if_better(grown.tree) == Compare(draft, revision)


# -- by name -----------------------------------------------------------------------------------


def test_rules_are_found_by_name():
    assert selection("majority") is majority
    assert selection("critic_loop.select.rules:best_value") is best_value
    assert selection("b4", {"alpha": 10}) == B4(alpha=10.0)
    with pytest.raises(ConfigError, match="unknown selection 'mojority'; known are b4, best-value, code-t"):
        selection("mojority")


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("majority", {"n": 3}, "selection 'majority' has no setting 'n'; it has none."),
        ("b4", {"beta": 3}, "selection 'b4' has no setting 'beta'; it has alpha, beta0."),
        ("b4", {"alpha": 0}, "selection 'b4', setting 'alpha': Input should be greater than 0."),
        (
            "win-rate",
            {"among": 1},
            "selection 'win-rate', setting 'among': Input should be greater than or equal",
        ),
        ("weighted-vote", {"by": "age"}, "selection 'weighted-vote', setting 'by': Input should be 'score' or"),
    ],
)
def test_settings_are_checked(kind, settings, message):
    with pytest.raises(ConfigError) as caught:
        selection(kind, settings)
    assert str(caught.value).startswith(message)
