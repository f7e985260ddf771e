"""Posteriors against values worked out by hand, and draws against their distributions."""

import random
import statistics
from math import expm1, inf, sqrt

import pytest

from critic_loop.search.base import exact
from critic_loop.search.posteriors import Beta, Gaussian, StudentSums, _level, gamma

PRIOR = Gaussian(mean=0.0, weight=1.0, freedom=1.0, variance=0.1)


def told(prior, *rows):
    """Return sums with a row for each tuple of scores."""
    sums = StudentSums()
    for row, scores in enumerate(rows):
        sums.add()
        for score in scores:
            sums.observe(row, 1, exact(score), exact(score * score))
        prior.refresh(sums, row)
    return sums


def test_the_gaussian_posterior_by_hand():
    """Scores 0.5 and 0.7: mean 1.2/3; 0.1 + 0.74 - 3 * 0.16 = 0.36 of variance, three degrees of freedom."""
    mean, square, power = PRIOR.posterior(told(PRIOR, (0.5, 0.7)), 0)
    assert mean == pytest.approx(0.4)
    assert square == pytest.approx(0.36 / 3)
    assert power == pytest.approx(-2 / 3)


def test_the_beta_posterior_by_hand():
    beta = Beta(mean=0.5, weight=1.0)
    assert beta.posterior(told(beta, (1.0, 0.25)), 0) == (pytest.approx(1.75), pytest.approx(1.25))


@pytest.mark.parametrize("prior", [PRIOR, Beta(mean=0.3, weight=2.0)])
def test_the_order_of_scores_and_what_is_taken_back_leave_no_trace(prior):
    scores = [0.1, 0.2, 0.7, 0.3, 0.9, 1 / 3]
    there, back = told(prior, scores), told(prior, scores[::-1])
    back.observe(0, 1, 0.0, 0.0)
    back.observe(0, -1, 0.0, 0.0)
    assert there == back
    assert there.total[0] == pytest.approx(sum(scores))


def test_draws_have_the_moments_of_their_distribution():
    """Student-t with 9 degrees of freedom: variance 9/7 of the squared scale; beta: by its formulas."""
    chance = random.Random(3).random
    sums = told(PRIOR, [0.4, 0.6] * 4)
    mean, square, _ = PRIOR.posterior(sums, 0)
    drawn = [PRIOR.draw(sums, 0, chance) for _ in range(40_000)]
    assert statistics.fmean(drawn) == pytest.approx(mean, abs=0.003)
    assert statistics.variance(drawn) == pytest.approx(square / 9 * 9 / 7, rel=0.05)
    beta = Beta(mean=0.5, weight=1.0)
    sums = told(beta, (1.0, 1.0, 0.0))
    drawn = [beta.draw(sums, 0, chance) for _ in range(20_000)]
    assert statistics.fmean(drawn) == pytest.approx(2.5 / 4, abs=0.01)
    assert statistics.variance(drawn) == pytest.approx(2.5 * 1.5 / (16 * 5), rel=0.05)


@pytest.mark.parametrize("shape", [0.3, 1.0, 4.5])
def test_a_gamma_draw_has_mean_and_variance_of_its_shape(shape):
    chance = random.Random(6).random
    drawn = [gamma(shape, chance) for _ in range(40_000)]
    assert min(drawn) > 0.0
    assert statistics.fmean(drawn) == pytest.approx(shape, rel=0.03)
    assert statistics.variance(drawn) == pytest.approx(shape, rel=0.06)


def crowd(prior, sums):
    """Return all rows by their bins."""
    bins = {}
    for row in range(len(sums.count)):
        bins.setdefault(prior.refresh(sums, row), []).append(row)
    return bins


MIXED = [[], [], [0.9, 0.8], [0.5, 0.1], [0.2] * 4, [0.0, 1.0], *([k / 39] for k in range(40))]
SETTLED = [[0.4 + k / 400, 0.6] * (1 + k % 12) for k in range(60)]


@pytest.mark.parametrize(
    ("rows", "prior"),
    [
        (MIXED, PRIOR),
        (MIXED, Gaussian(mean=0.4, weight=1.0, freedom=0.5, variance=0.1)),
        (SETTLED, PRIOR),
        (SETTLED, Gaussian(mean=1.0, weight=0.5, freedom=3.0, variance=9.0)),
    ],
    ids=["mixed", "heavy tails", "settled", "a wide prior"],
)
def test_what_is_passed_over_would_not_have_won(rows, prior):
    """Shares of the winners, in a crowd and one by one, agree with plain draws within four sigma."""
    sums, rounds = told(prior, *rows), 5_000
    quick, narrow, plain = (random.Random(seed).random for seed in (1, 2, 3))
    bins, every = crowd(prior, sums), list(range(len(rows)))
    shares = [[0] * len(rows) for _ in range(3)]
    for _ in range(rounds):
        shares[0][prior.best(sums, bins, quick)] += 1
        shares[1][prior.best(sums, every, narrow)] += 1
        drawn = [prior.draw(sums, row, plain) for row in every]
        shares[2][drawn.index(max(drawn))] += 1
    for one, other, third in zip(*shares, strict=True):
        assert abs(one - third) < 4 * max(one + third, 10) ** 0.5
        assert abs(other - third) < 4 * max(other + third, 10) ** 0.5
    assert len({row for row in every if shares[0][row]}) > 5, "one that always wins says little"


@pytest.mark.parametrize("freedom", [0.5, 1.0, 4.0])
def test_no_row_draws_above_the_level_beyond_the_end_of_its_bin(freedom):
    """What a first uniform number u allows at most, mean + spread * sqrt(u^power - 1), is below the level."""
    prior = Gaussian(mean=0.3, weight=2.0, freedom=freedom, variance=0.4)
    chance = random.Random(4)
    rows = [[], [0.0], [1.0], [0.5] * 7, *([chance.random() for _ in range(n % 40)] for n in range(120))]
    sums = told(prior, *rows)
    finite = 0
    for place, members in crowd(prior, sums).items():
        for drawn in (-1.0, 0.3, 0.9, 1.4, 2.0, 2.1, 7.7, 300.0):
            end = prior._limits[_level(drawn)][place]
            if end == inf:
                continue
            finite += 1
            for row in members:
                u = -expm1(-end)
                reach = sums.mean[row] + sqrt(sums.square[row] * (u ** sums.power[row] - 1.0))
                assert reach <= drawn * (1 + 1e-9)
    assert finite > 100


def test_of_a_crowd_few_are_drawn_for():
    """Of 2,000 rows with one score each, some 20: four uniform numbers for one that is."""
    sums, calls = told(PRIOR, *([k / 1999] for k in range(2000))), 0
    source, bins = random.Random(5).random, crowd(PRIOR, sums)

    def counted():
        nonlocal calls
        calls += 1
        return source()

    for _ in range(50):
        PRIOR.best(sums, bins, counted)
    assert calls / 50 < 150


def test_a_beta_prior_at_the_edge_still_draws():
    edge, chance = Beta(mean=0.0, weight=1.0), random.Random(0).random
    sums = told(edge, [], [1.0])
    assert 0.0 <= edge.draw(sums, 0, chance) < 0.5
    assert edge.best(sums, [0, 1], chance) == 1
