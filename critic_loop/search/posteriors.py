"""Conjugate posteriors of the mean of scores in [0, 1], and draws from them (Thompson sampling).

Statistics are exact sums, one row for each thing observed, so that they do not depend on the order in which
scores arrive. Knows numbers alone.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from functools import cached_property
from math import cos, expm1, frexp, inf, log, log1p, log2, pi, sqrt

from critic_loop.search.rng import Uniform

_NO = 1e-6
"""Replaces a parameter of 0, which no beta distribution has."""
_TURN = 2 * pi
_FINE = 256
"""Number of levels between draws of 0 and 1."""
Bins = dict[int, list[int]]
"""Rows by their bin (`Gaussian.refresh`), each in ascending order."""
Rows = list[int] | Bins


def _integers() -> array[int]:
    return array("q")


def _numbers() -> array[float]:
    return array("d")


@dataclass(slots=True)
class Sums:
    """Number of observations of each row, and the sums of its scores and of their squares."""

    count: array[int] = field(default_factory=_integers)
    total: array[float] = field(default_factory=_numbers)
    """Sum of the scores, each a multiple of 2^-30."""
    squares: array[float] = field(default_factory=_numbers)
    """Sum of their squares, each rounded to a multiple of 2^-30."""

    def add(self) -> None:
        """Add a row without observations."""
        self.count.append(0)
        self.total.append(0.0)
        self.squares.append(0.0)

    def observe(self, row: int, count: int, score: float, square: float) -> None:
        """Add `count` observations (0 and less, too) with the sum `score` and the sum of squares `square`."""
        self.count[row] += count
        if score:
            self.total[row] += score
            self.squares[row] += square


@dataclass(slots=True)
class StudentSums(Sums):
    """Sums with the Student-t posterior of each row, for draws from many rows at once."""

    mean: array[float] = field(default_factory=_numbers)
    square: array[float] = field(default_factory=_numbers)
    """Squared scale."""
    power: array[float] = field(default_factory=_numbers)
    """-2 / degrees of freedom."""

    def add(self) -> None:
        """Add a row without observations; `Gaussian.refresh` fills in its posterior."""
        Sums.add(self)
        self.mean.append(0.0)
        self.square.append(0.0)
        self.power.append(0.0)


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Scores are normal with unknown mean and variance: normal-inverse-gamma prior, Student-t draws.

    Source: Murphy, Probabilistic Machine Learning: Advanced Topics, 3.4.3.3. Given the data, the mean has a
    Student-t distribution. It is drawn by Bailey's polar method (1994) from two uniform numbers: the first
    gives the greatest distance from the posterior mean, the second the share of it.
    """

    mean: float
    weight: float
    """Weight of the prior mean, in observations."""
    freedom: float
    variance: float

    def posterior(self, sums: Sums, row: int) -> tuple[float, float, float]:
        """Return mean, squared scale and exponent of the Student-t draw."""
        count, prior, weight = sums.count[row], self.mean, self.weight
        pulled, weighs = weight * prior, weight + count
        mean = (pulled + sums.total[row]) / weighs
        around = sums.squares[row] + pulled * prior - weighs * mean * mean
        variance = self.freedom * self.variance
        if around > 0.0:
            variance += around
        return mean, variance / weighs, -2.0 / (self.freedom + count)

    def draw(self, sums: Sums, row: int, random: Uniform) -> float:
        """Return a draw from the posterior of the mean."""
        mean, square, power = self.posterior(sums, row)
        return mean + sqrt(square * (random() ** power - 1.0)) * cos(_TURN * random())

    def refresh(self, sums: StudentSums, row: int) -> int:
        """Update the posterior of a row; return its bin, 1 or more, by count, mean and squared scale."""
        mean, square, power = self.posterior(sums, row)
        sums.mean[row], sums.square[row], sums.power[row] = mean, square, power
        count, spread = min(sums.count[row].bit_length(), 15), min(max(frexp(square)[1] + 5, 0), 7)
        steps = 8 << (count >> 1)  # the more observations, the closer to its mean is each draw
        return 1 + (count << 13) + (max(steps - 1 - int(steps * mean), 0) << 3) + 7 - spread

    def best(self, sums: StudentSums, rows: Rows, random: Uniform) -> int:
        """Draw for each row; return the one with the highest draw."""
        if isinstance(rows, dict):
            return self._best_of_bins(sums, rows, random)
        mean, square, power = sums.mean, sums.square, sums.power
        highest, found = -inf, -1
        for row in rows:
            reach, gap = square[row] * (random() ** power[row] - 1.0), highest - mean[row]
            if gap < 0.0 or reach > gap * gap:
                drawn = mean[row] + sqrt(reach) * cos(_TURN * random())
                if drawn > highest:
                    highest, found = drawn, row
        return found

    def _best_of_bins(self, sums: StudentSums, crowd: Bins, random: Uniform) -> int:
        """Draw only for rows that may win, a few of many. No row's probability to win changes.

        The first uniform number u of a row bounds its draw: the greater u, the lower the bound. So each bin
        has a limit of u above which no row can win (`_Limits`). Rows are visited in ascending order of u,
        which is drawn as such: -log(1 - u) of the least of n is exponential with rate n. What remains of it
        at the end of a bin is used in the next. Bins of few observations come first, because a high draw,
        likely there, lowers the limits of all others.
        """
        mean, square, power, ends = sums.mean, sums.square, sums.power, self._limits[0]
        highest, found, ahead = -inf, -1, -log(random())
        for place in sorted(crowd):
            rows, end = crowd[place], ends[place]
            left = len(rows)
            if ahead > left * end:
                ahead -= left * end
                continue
            gone, moved = 0.0, dict[int, int]()
            while left and ahead <= left * (ends[place] - gone):
                gone += ahead / left
                ahead, at, left = -log(random()), int(random() * left), left - 1
                row, moved[at] = rows[moved.get(at, at)], moved.get(left, left)
                reach, gap = square[row] * ((-expm1(-gone)) ** power[row] - 1.0), highest - mean[row]
                if gap < 0.0 or reach > gap * gap:
                    drawn = mean[row] + sqrt(reach) * cos(_TURN * random())
                    if drawn > highest:
                        highest, found, ends = drawn, row, self._limits[_level(drawn)]
            if left and ends[place] > gone:
                ahead -= left * (ends[place] - gone)
        return found

    @cached_property
    def _limits(self) -> _Levels:
        return _Levels(self.freedom)


class _Levels(dict[int, "_Limits"]):
    """The limits of bins by `_level` of the highest draw so far; computed on first use."""

    def __init__(self, freedom: float) -> None:
        super().__init__()
        self.freedom = freedom

    def __missing__(self, level: int) -> _Limits:
        highest = level / _FINE if level < 2 * _FINE else 2.0 ** (1.0 + (level - 2 * _FINE) / 16.0)
        self[level] = ends = _Limits(self.freedom, highest)
        return ends


class _Limits(dict[int, float]):
    """By bin: -log(1 - u) of the u above which no row exceeds the highest draw so far; inf = no limit."""

    def __init__(self, freedom: float, highest: float) -> None:
        super().__init__()
        self.freedom, self.highest = freedom, highest

    def __missing__(self, place: int) -> float:
        count, below, spread = (place - 1) >> 13, (place - 1) >> 3 & 1023, 7 - (place - 1 & 7)
        gap, limit = self.highest - 1.0 + below / (8 << (count >> 1)), 1.0
        if gap > 0.0 and spread < 7:
            freedom = self.freedom + (2 ** (count - 1) if count else 0)
            limit = (1.0 + gap * gap / 2.0 ** (spread - 5)) ** (-freedom / 2.0)
        self[place] = end = -log1p(-limit) if limit < 1.0 else inf
        return end


def _level(drawn: float) -> int:
    """Return the number, from 0, of the greatest level in `_Levels` that is not above a draw."""
    if drawn < 2.0:
        return max(int(_FINE * drawn), 0)
    return 2 * _FINE + int(16.0 * log2(drawn / 2.0))


@dataclass(frozen=True, kw_only=True)
class Beta:
    """A score s counts as s successes and 1 - s failures: beta prior and posterior."""

    mean: float
    weight: float
    """Weight of the prior mean, in observations."""

    def posterior(self, sums: Sums, row: int) -> tuple[float, float]:
        """Return the two parameters of the beta distribution."""
        good = sums.total[row]
        bad = sums.count[row] - good
        return max(self.weight * self.mean + good, _NO), max(self.weight * (1 - self.mean) + bad, _NO)

    def draw(self, sums: Sums, row: int, random: Uniform) -> float:
        """Return a draw from the posterior of the probability of success."""
        good, bad = (gamma(shape, random) for shape in self.posterior(sums, row))
        return good / (good + bad) if good > 0.0 else 0.0

    def refresh(self, sums: StudentSums, row: int) -> int:  # noqa: ARG002
        """Return 0: rows are not put into bins, each is drawn for."""
        return 0

    def best(self, sums: StudentSums, rows: Rows, random: Uniform) -> int:
        """Draw for each row; return the one with the highest draw. O(rows)."""
        return max(rows, key=lambda row: self.draw(sums, row, random))


def gamma(shape: float, random: Uniform) -> float:
    """Return a draw from the gamma distribution of this shape (> 0) and scale 1.

    Source: Marsaglia and Tsang (2000), rejection from a normal number; below a shape of 1, their section 6.
    """
    if shape < 1.0:
        return gamma(shape + 1.0, random) * random() ** (1.0 / shape)
    most = shape - 1.0 / 3.0
    while True:
        normal = sqrt(-2.0 * log(random())) * cos(_TURN * random())
        cube = (1.0 + normal / sqrt(9.0 * most)) ** 3
        if cube > 0.0 and log(random()) < normal * normal / 2.0 + most * (1.0 - cube + log(cube)):
            return most * cube
