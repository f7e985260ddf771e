"""The formulas of likelihood critics, on numbers that can be checked by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic_loop.core.records import Verdict
from critic_loop.outputs import LIKELIHOODS

YES, FOLLOW_UP, REVERSE = (
    LIKELIHOODS[name].judge for name in ("p-yes", "follow-up-likelihood", "reverse-likelihood")
)
LOG = st.floats(min_value=-500, max_value=0)
WEIGHTS = st.lists(st.lists(LOG, min_size=1, max_size=4), min_size=1, max_size=4)


def logs(*probabilities):
    return tuple(math.log(p) for p in probabilities)


def test_p_yes_is_the_share_of_yes():
    said = YES([logs(0.6)], [logs(0.2)])
    assert said.score == pytest.approx(0.75)
    assert (said.verdict, said.confidence) == (Verdict.PASS, pytest.approx(0.75))
    assert said.data == {"likely": [pytest.approx(math.log(0.6))], "unlikely": [pytest.approx(math.log(0.2))]}
    no = YES([logs(0.1)], [logs(0.5, 0.6)])
    assert (no.score, no.verdict) == (pytest.approx(0.25), Verdict.FAIL)
    assert no.confidence == pytest.approx(0.75)


def test_several_spellings_add_up():
    assert YES([logs(0.3), logs(0.3)], [logs(0.2)]).score == pytest.approx(0.75)


def test_tiny_probabilities_keep_their_ratio_and_none_is_an_abstention():
    assert YES([(-1000.0,)], [(-1000.0 + math.log(3),)]).score == pytest.approx(0.25)
    assert YES([(-math.inf,)], [(-1.0,)]).score == 0
    nothing = YES([(-math.inf,)], [(-math.inf,)])
    assert (nothing.verdict, nothing.score) == (Verdict.ABSTAIN, None)
    assert YES([(-math.inf,)], [(-1.0,)]).data["likely"] == [None]


def test_follow_ups_are_compared_by_their_means_per_token():
    even = FOLLOW_UP([(-1.0, -3.0), (-2.0,)], [(-2.0, -2.0, -2.0)])
    assert (even.score, even.verdict) == (pytest.approx(0.5), None)
    assert even.data == {"likely": [-4.0, -2.0], "unlikely": [-6.0]}
    assert FOLLOW_UP([(-1.0,)], [(-2.0,)]).score == pytest.approx(1 / (1 + math.exp(-1)))
    assert FOLLOW_UP([(-math.inf,)], [(-2.0,)]).verdict is Verdict.ABSTAIN


def test_the_reverse_likelihood_is_a_mean_probability_per_token():
    said = REVERSE([logs(0.5, 0.125)], [])
    assert (said.score, said.verdict) == (pytest.approx(0.25), None)
    assert said.data == {"likely": [pytest.approx(math.log(0.0625))]}


@given(WEIGHTS, WEIGHTS)
def test_scores_are_shares(likely, unlikely):
    for judge in (YES, FOLLOW_UP):
        forth, back = judge(likely, unlikely), judge(unlikely, likely)
        assert 0 <= forth.score <= 1
        assert forth.score + back.score == pytest.approx(1)
    assert 0 <= REVERSE(likely, []).score <= 1


@given(WEIGHTS, LOG)
def test_likelier_is_never_worse(likely, more):
    better = [[x / 2 for x in text] for text in likely]
    for judge in (YES, FOLLOW_UP):
        assert judge(better, [[more]]).score >= judge(likely, [[more]]).score - 1e-12
    assert REVERSE(better, []).score >= REVERSE(likely, []).score - 1e-12
