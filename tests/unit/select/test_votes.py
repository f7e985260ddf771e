"""Votes by what attempts are worth, and by how sure their critics are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic_loop.core.protocols import Pick
from critic_loop.select import WeightedVote, majority
from tests.conftest import Grown

by_score, by_confidence = WeightedVote(), WeightedVote(by="confidence")


def test_weight_outvotes_numbers(grown):
    ids = [grown.attempt(answer=a) for a in ("41", "41", "42")]
    for attempt, score in zip(ids, (0.2, 0.3, 0.9), strict=True):
        grown.say(attempt, score=score)
    assert majority(grown.tree).attempt == ids[0]
    expected = Pick(attempt=ids[2], decided_by="vote", text="0.90 of 1.40 by score, 1 of 3 votes")
    assert by_score(grown.tree) == expected


def test_not_judged_weighs_as_much_as_the_judged_do_on_average(grown):
    ids = [grown.attempt(answer=a) for a in ("41", "42", "42")]
    grown.say(ids[0], score=0.8)
    grown.say(ids[1], score=0.1)
    found = by_score(grown.tree)
    assert (found.attempt, found.text) == (ids[0], "0.80 of 1.35 by score, 1 of 3 votes")
    grown.say(ids[1], score=0.9, author="another")
    assert by_score(grown.tree).attempt == ids[1], "0.5 and the mean of 0.65 outweigh 0.8"


def test_a_sure_rejection_weighs_little_and_an_unsure_one_more(grown):
    ids = [grown.attempt(answer=a) for a in ("a", "b", "c", "c")]
    said = (("pass", 0.6), ("fail", 0.1), ("fail", 0.95), ("abstain", 1.0))
    for attempt, (verdict, confidence) in zip(ids, said, strict=True):
        grown.say(attempt, verdict=verdict, confidence=confidence)
    found = by_confidence(grown.tree)
    assert found.attempt == ids[1]
    assert found.text == "0.90 of 2.07 by confidence, 1 of 4 votes"


def test_verifiers_have_no_confidence_that_counts_here(grown):
    ids = [grown.attempt(answer=a) for a in ("a", "b")]
    grown.say(ids[0], source="verifier", verdict="abstain", confidence=1.0)
    grown.say(ids[1], verdict="pass", confidence=0.4)
    assert by_confidence(grown.tree).attempt == ids[0], "both weigh 0.4; the oldest wins"


@pytest.mark.parametrize("rule", [by_score, by_confidence])
def test_only_those_vote_that_verifiers_rank_highest(grown, rule):
    failed = [grown.attempt(answer="41") for _ in range(4)]
    passed = grown.attempt(answer="42")
    for attempt in failed:
        grown.verified(attempt, "fail")
        grown.say(attempt, verdict="pass", score=1.0, confidence=1.0)
    grown.verified(passed, "pass")
    grown.say(passed, verdict="fail", score=0.0, confidence=1.0)
    assert rule(grown.tree).attempt == passed


@given(st.lists(st.sampled_from("abc"), max_size=9), st.sampled_from([by_score, by_confidence]))
def test_where_nobody_was_weighed_it_is_the_majority(answers, rule):
    grown = Grown()
    for answer in answers:
        grown.attempt(answer=answer)
    assert rule(grown.tree).attempt == majority(grown.tree).attempt
