"""Draws that follow from their place."""

import statistics
from collections import Counter
from itertools import permutations

import pytest

from critic_loop.search import Sample
from critic_loop.search.rng import Rng, rng_of
from tests.worlds import Played, wide


def test_a_place_draws_the_same_again_and_another_one_something_else():
    drawn = [[random() for random in [Rng(place).random] * 40] for place in ("a", "a", "b")]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 40, "the third hash differs from the first"


def test_numbers_are_uniform_in_the_open_interval():
    random = Rng("uniform").random
    drawn = [random() for _ in range(40_000)]
    assert 0.0 < min(drawn) < 0.001
    assert 0.999 < max(drawn) < 1.0
    assert statistics.fmean(drawn) == pytest.approx(0.5, abs=0.006)
    assert statistics.variance(drawn) == pytest.approx(1 / 12, rel=0.03)
    pairs = statistics.correlation(drawn[:-1], drawn[1:])
    assert abs(pairs) < 0.02


def test_every_order_of_a_sample_is_as_likely():
    draws = Rng("sample")
    found = Counter(tuple(draws.sample("abc", 2)) for _ in range(6000))
    assert set(found) == set(permutations("abc", 2))
    assert all(abs(count - 1000) < 130 for count in found.values())
    assert Counter(draws.choice("ab") for _ in range(1000))["a"] == pytest.approx(500, abs=70)


def test_a_tree_draws_anew_with_each_move_and_by_its_seed():
    played = [Played(Sample(n=3), wide, seed=seed) for seed in (1, 2)]
    before = [rng_of(p.tree).random() for p in played]
    assert before == [rng_of(p.tree).random() for p in played]
    assert before[0] != before[1]
    played[0].run()
    assert rng_of(played[0].tree).random() != before[0]
