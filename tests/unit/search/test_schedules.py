"""Printed values of the schedules of two published methods, from their public code.

Exploit shares: execution-grounded evolutionary search (NoviScl/Automated-AI-Researcher), epochs 0 to 9.
Temperatures: Feedback Friction (JHU-CLSP/Feedback-Friction), turns 0 to 10.
"""

import pytest

from critic_loop.search import curriculum_weight, exploit_share
from critic_loop.search.evolve import exploits
from critic_loop.search.modifiers import progressive_temperature


def test_exploit_shares_to_the_printed_digits():
    shares = [exploit_share(epoch) for epoch in range(10)]
    assert shares == [0.5, 0.5, 0.6, 0.6, 0.7, 0.7, 0.8, 0.8, 0.8, 0.8]


def test_temperatures_to_the_printed_digits():
    printed = [0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05, 1.2, 1.35, 1.5]
    assert [progressive_temperature(turn) for turn in range(11)] == printed
    assert progressive_temperature(40) == 1.5


@pytest.mark.parametrize("size", [10, 80])
@pytest.mark.parametrize("epoch", range(10))
def test_an_epoch_exploits_exactly_its_share(epoch, size):
    assert sum(exploits(epoch, place) for place in range(size)) == round(exploit_share(epoch) * size)


def test_what_is_half_known_teaches_most():
    """2p(1 - p) peaks at p = 0.5 and vanishes where nothing is left to learn."""
    assert [curriculum_weight(p) for p in (0.0, 0.25, 0.5, 0.75, 1.0)] == [0.0, 0.375, 0.5, 0.375, 0.0]
