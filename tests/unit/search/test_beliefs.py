"""Posteriors against values worked out by hand, and draws against their distributions."""

import random
import statistics

import pytest

from critic_loop.search.beliefs import UNIT, Belief, Beta, Gaussian, units

PRIOR = Gaussian(mean=0.0, weight=1.0, freedom=1.0, variance=0.1)


def told(prior, *scores):
    belief = Belief()
    for score in scores:
        prior.observe(belief, 1, units(score))
    return belief


def test_the_gaussian_posterior_by_hand():
    """Scores 0.5 and 0.7: mean 1.2/3; 0.1 + 0.74 - 3 * 0.16 = 0.36 of variance, three degrees of freedom."""
    mean, spread, power = told(PRIOR, 0.5, 0.7).shape
    assert mean == pytest.approx(0.4)
    assert spread**2 == pytest.approx(0.36 / 3)
    assert power == pytest.approx(-2 / 3)


def test_the_beta_posterior_by_hand():
    good, bad, _ = told(Beta(mean=0.5, weight=1.0), 1.0, 0.25).shape
    assert (good, bad) == (pytest.approx(1.75), pytest.approx(1.25))


@pytest.mark.parametrize("prior", [PRIOR, Beta(mean=0.3, weight=2.0)])
def test_the_order_of_scores_and_what_is_taken_back_leave_no_trace(prior):
    scores = [0.1, 0.2, 0.7, 0.3, 0.9, 1 / 3]
    there, back = told(prior, *scores), told(prior, *reversed(scores))
    prior.observe(back, 1, 0)
    prior.observe(back, -1, 0)
    assert there == back
    assert there.total == sum(round(score * UNIT) for score in scores)


def test_draws_have_the_moments_of_their_distribution():
    """Student-t with 9 degrees of freedom: variance 9/7 of the squared scale; beta: by its formulas."""
    chance = random.Random(3)
    belief = told(PRIOR, *[0.4, 0.6] * 4)
    mean, spread, _ = belief.shape
    drawn = [PRIOR.draw(belief, chance) for _ in range(40_000)]
    assert statistics.fmean(drawn) == pytest.approx(mean, abs=0.003)
    assert statistics.variance(drawn) == pytest.approx(spread**2 / 9 * 9 / 7, rel=0.05)
    beta = Beta(mean=0.5, weight=1.0)
    drawn = [beta.draw(told(beta, 1.0, 1.0, 0.0), chance) for _ in range(20_000)]
    assert statistics.fmean(drawn) == pytest.approx(2.5 / 4, abs=0.01)
    assert statistics.variance(drawn) == pytest.approx(2.5 * 1.5 / (16 * 5), rel=0.05)


def ranked(*beliefs):
    return sorted((belief.shape[0], number, belief) for number, belief in enumerate(beliefs))


@pytest.mark.parametrize("mean", [0.0, 0.4])
def test_what_is_passed_over_would_not_have_won(mean):
    """Shares of the winners, among few and many, agree with plain draws within four sigma."""
    prior = Gaussian(mean=mean, weight=1.0, freedom=1.0, variance=0.1)
    several = [told(prior, *scores) for scores in ([0.9, 0.8], [0.5, 0.1], [0.2] * 4, [0.0, 1.0])]
    sorted_ones = [*several, *(told(prior, k / 39) for k in range(40))]
    loose, rounds = [blank(prior), blank(prior)], 20_000
    assert all(map(prior.sorts, sorted_ones))
    assert not any(map(prior.sorts, loose))
    quick, plain, beliefs = random.Random(1), random.Random(2), [*loose, *sorted_ones]
    places = {id(belief): place for place, belief in enumerate(beliefs)}
    shares, order = [[0] * len(beliefs), [0] * len(beliefs)], ranked(*sorted_ones)
    for _ in range(rounds):
        shares[0][places[id(prior.best(loose, order, quick))]] += 1
        drawn = [prior.draw(belief, plain) for belief in beliefs]
        shares[1][drawn.index(max(drawn))] += 1
    for one, other in zip(*shares, strict=True):
        assert abs(one - other) < 4 * max(one + other, 10) ** 0.5
    assert shares[0][-1] > shares[0][6] > 0, "the best score wins more often than the worst"


def test_no_spread_is_wider_than_the_bound_that_draws_rest_on():
    prior = Gaussian(mean=0.3, weight=2.0, freedom=1.0, variance=0.4)
    chance = random.Random(4)
    for count in range(1, 60):
        for scores in ([0.0] * count, [1.0] * count, [float(k % 2) for k in range(count)],
                       [chance.random() for _ in range(count)]):  # fmt: skip
            mean, spread, _ = told(prior, *scores).shape
            assert spread**2 <= prior._widest(mean) <= prior._widest(mean + 0.1)


def test_with_few_degrees_of_freedom_nothing_is_passed_over():
    loose = Gaussian(mean=0.0, weight=1.0, freedom=0.5, variance=0.1)
    assert not loose.sorts(told(loose, 0.5))


def blank(prior):
    belief = Belief()
    prior.observe(belief, 0, 0)
    return belief


def test_a_beta_prior_at_the_edge_still_draws():
    edge = Beta(mean=0.0, weight=1.0)
    assert 0.0 <= edge.draw(blank(edge), random.Random(0)) < 0.5
    assert edge.best([blank(edge), told(edge, 1.0)], [], random.Random(0)).count == 1
