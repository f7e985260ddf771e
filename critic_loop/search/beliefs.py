"""What is believed about a score in [0, 1] after some observations: conjugate posteriors, and draws from them.

Sums are kept as integers, so that they do not depend on the order in which scores arrive. Knows numbers
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, log, log1p, pi, sqrt
from random import Random

UNIT = 1 << 32
"""A score of 1 in sums: scores are kept to about ten digits."""
_NO = 1e-6
"""What a beta distribution has in place of a parameter of 0."""


@dataclass(slots=True)
class Belief:
    """Observations of one thing, and the posterior that follows from them."""

    number: int = 0
    """Place of what this is about in the order of asking."""
    name: str = ""
    """The attempt or agent that this is about."""
    count: int = 0
    total: int = 0
    """Sum of scores, in units."""
    squares: int = 0
    """Sum of squared scores, in squared units."""
    shape: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Parameters of the posterior, as its prior reads them."""
    open: bool = False
    """Whether this may be drawn for among its siblings."""


Ranked = tuple[float, int, Belief]
"""Posterior mean, number, and what they belong to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaussian:
    """Scores are normal with unknown mean and variance: normal-inverse-gamma prior, Student-t draws.

    Source: Murphy, Probabilistic Machine Learning: Advanced Topics, 3.4.3.3. Given the data, the mean has a
    Student-t distribution; it is drawn by Bailey's polar method (1994), with two uniform numbers.
    """

    mean: float
    weight: float
    """What the prior mean counts for, in observations."""
    freedom: float
    variance: float

    def observe(self, belief: Belief, count: int, score: int) -> None:
        """Add `count` observations that sum to `score` (one observation, or none but its score)."""
        belief.count += count
        belief.total += score
        belief.squares += score * score
        belief.shape = self.shape(belief)

    def shape(self, belief: Belief) -> tuple[float, float, float]:
        """Return mean, spread and exponent of the Student-t draw."""
        count, total = belief.count, belief.total / UNIT
        weight, freedom = self.weight + count, self.freedom + count
        mean = (self.weight * self.mean + total) / weight
        around = belief.squares / (UNIT * UNIT) + self.weight * self.mean**2 - weight * mean**2
        variance = self.freedom * self.variance + max(around, 0.0)
        return mean, sqrt(variance / weight), -2.0 / freedom

    def draw(self, belief: Belief, chance: Random) -> float:
        """Return a mean that the observations allow."""
        mean, spread, power = belief.shape
        return mean + spread * sqrt((1.0 - chance.random()) ** power - 1.0) * cos(2 * pi * chance.random())

    def sorts(self, belief: Belief) -> bool:
        """Whether this may be ranked by its mean: then 1 / (1 + z^2) bounds the chance of each draw."""
        return belief.count >= 1 and self.freedom >= 1.0

    def best(self, loose: Sequence[Belief], ranked: Sequence[Ranked], chance: Random) -> Belief:
        """Draw for each; return the one with the highest draw. `ranked` ascend, and each `sorts`.

        With two degrees of freedom or more, a draw is above mean + z * spread only if its first uniform number
        is below 1 / (1 + z^2). Of the ranked, those that cannot win are passed over without a draw of their
        own: how many, is one geometric draw, thinned to each one's own bound. No probability changes.
        """
        highest, found = float("-inf"), Belief()
        for belief in loose:
            drawn = self.draw(belief, chance)
            if drawn > highest:
                highest, found = drawn, belief
        random, at = chance.random, len(ranked) - 1
        while at >= 0:
            gap, bound = highest - ranked[at][0], 1.0
            if gap > 0.0:
                square = self._widest(ranked[at][0])
                bound = square / (square + gap * gap)
                at -= int(log(1.0 - random()) / log1p(-bound)) if bound < 1.0 else 0
                if at < 0:
                    break
            belief = ranked[at][2]
            mean, spread, power = belief.shape
            own = 1.0 / (1.0 + (max(highest - mean, 0.0) / spread) ** 2)
            if random() * bound <= own:
                u = own * (1.0 - random())
                drawn = mean + spread * sqrt(u**power - 1.0) * cos(2 * pi * random())
                if drawn > highest:
                    highest, found = drawn, belief
            at -= 1
        return found

    def _widest(self, mean: float) -> float:
        """Return what no squared spread exceeds where the posterior mean is `mean` or less.

        That is after one observation or more, all in [0, 1]: their squares then sum to no more than they do.
        """
        ahead = self.freedom * self.variance / (self.weight + 1.0)
        return ahead + (0.25 if mean >= 0.5 else mean * (1.0 - mean)) + 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Beta:
    """A score s counts as s successes and 1 - s failures: beta prior and posterior."""

    mean: float
    weight: float
    """What the prior mean counts for, in observations."""

    def observe(self, belief: Belief, count: int, score: int) -> None:
        """Add `count` observations that sum to `score`."""
        belief.count += count
        belief.total += score
        belief.shape = self.shape(belief)

    def shape(self, belief: Belief) -> tuple[float, float, float]:
        """Return the two parameters of the beta distribution, and a zero."""
        good = belief.total / UNIT
        bad = belief.count - good
        return max(self.weight * self.mean + good, _NO), max(self.weight * (1 - self.mean) + bad, _NO), 0.0

    def draw(self, belief: Belief, chance: Random) -> float:
        """Return a chance of success that the observations allow."""
        good, bad, _ = belief.shape
        return chance.betavariate(good, bad)

    def sorts(self, belief: Belief) -> bool:  # noqa: ARG002
        """Never: each is drawn for."""
        return False

    def best(self, loose: Sequence[Belief], ranked: Sequence[Ranked], chance: Random) -> Belief:
        """Draw for each; return the one with the highest draw."""
        each = (*loose, *(belief for _, _, belief in ranked))
        return max(each, key=lambda belief: self.draw(belief, chance))


def units(score: float) -> int:
    """Return a score in [0, 1] in units."""
    return round(score * UNIT)
