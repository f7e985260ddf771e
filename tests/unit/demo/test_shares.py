"""What one revision should come to."""

import math
import random

import pytest

from critic_loop.demo.shares import after_one_revision


def test_a_useless_critic_changes_nothing() -> None:
    idle = {"p": (30, 100), "a": (0, 70), "g": (0, 30), "f": (0, 0), "b": (0, 0)}
    assert after_one_revision(idle)[0] == pytest.approx(0.3)


def test_the_law_and_its_interval_agree_with_a_simulation() -> None:
    rates = {"p": (300, 1000), "a": (630, 700), "g": (30, 300), "f": (126, 630), "b": (15, 30)}
    predicted, (low, high) = after_one_revision(rates)
    assert predicted == pytest.approx(0.3 * (1 - 0.5 * 0.1) + 0.7 * 0.9 * 0.2)
    rng, drawn = random.Random(1), list[float]()
    for _ in range(2000):
        shares = {name: sum(rng.random() < h / n for _ in range(n)) for name, (h, n) in rates.items()}
        again = {name: (shares[name], rates[name][1]) for name in rates}
        drawn.append(after_one_revision(again)[0])
    mean = sum(drawn) / len(drawn)
    spread = math.sqrt(sum((one - mean) ** 2 for one in drawn) / len(drawn))
    assert (high - low) / 2 / 1.96 == pytest.approx(spread, rel=0.1)
