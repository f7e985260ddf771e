"""Score rules: which child a tree search selects. Pure functions of numbers.

Most rules are `Q + weight(parent) * share(child)`: the weight is computed once for all children of a node.
`additive` sums terms instead. Q is in [0, 1] unless a search sums or cumulates rewards: then it grows with
depth and visits, and an exploration constant made for [0, 1] no longer explores. Knows no tree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import ConfigDict, Field

RuleName = Literal["ucb1", "uct", "puct", "var_puct", "prompt_uct", "edge_ucb", "additive"]
ShareOf = Callable[[float, float], float]
"""From a child's visits and its prior in [0, 1] to its share of the parent's weight."""

WeightOf = Callable[[float, float, float], float]
"""From a parent's visits, c and base to the weight of its children's shares."""

_LEAST = 1e-12
"""A weight in place of 0, since `0 * inf` is nan."""


class Rule(NamedTuple):
    """`Q + weight(visits of the parent, c, base) * share(visits of the child, prior)`."""

    weight: WeightOf
    share: ShareOf
    c: float
    """The default of the exploration constant."""


def ln(visits: float) -> float:
    """Return the natural logarithm, and 0 at and below one visit."""
    return log(visits) if visits > 1 else 0.0


def over_root(n: float, prior: float) -> float:  # noqa: ARG001
    """Return 1/sqrt(n); infinity for an unvisited child, which is selected first."""
    return 1 / sqrt(n) if n > 0 else inf


def over_root_from_one(n: float, prior: float) -> float:  # noqa: ARG001
    """Return 1/sqrt(max(1, n)): an unvisited child counts as visited once."""
    return 1 / sqrt(n) if n > 1 else 1.0


def over_next(n: float, prior: float) -> float:  # noqa: ARG001
    """Return 1/(1+n)."""
    return 1 / (1 + n)


def prior_over_next(n: float, prior: float) -> float:
    """Return P/(1+n)."""
    return prior / (1 + n)


def by_root(n: float, c: float, base: float) -> float:  # noqa: ARG001
    """Return c sqrt(ln N)."""
    return c * sqrt(ln(n))


def by_root_of_next(n: float, c: float, base: float) -> float:  # noqa: ARG001
    """Return c sqrt(ln(N + 1))."""
    return c * sqrt(ln(n + 1))


def by_root_never_0(n: float, c: float, base: float) -> float:  # noqa: ARG001
    """Return c sqrt(ln N), but more than 0, so that an unvisited child is selected first even at N = 1."""
    return c * sqrt(log(n)) if n > 1 and c > 0 else _LEAST


def by_root_of_twice(n: float, c: float, base: float) -> float:  # noqa: ARG001
    """Return c sqrt(2 ln N), but more than 0."""
    return max(c * sqrt(2 * ln(n)), _LEAST)


def by_growing_root(n: float, c: float, base: float) -> float:
    """Return (ln((N + base + 1)/base) + c) sqrt(ln N): the constant grows with visits."""
    return (log((n + base + 1) / base) + c) * sqrt(ln(n))


RULES: dict[str, Rule] = {
    "ucb1": Rule(by_root_never_0, over_root, sqrt(2)),
    "uct": Rule(by_root, over_next, 4.0),
    "puct": Rule(by_root, prior_over_next, 4.0),
    "var_puct": Rule(by_growing_root, prior_over_next, 4.0),
    "prompt_uct": Rule(by_root_of_next, over_root_from_one, 2.5),
    "edge_ucb": Rule(by_root_of_twice, over_root, 1.5),
}
"""All rules but `additive`.

- `ucb1`: `Q + c sqrt(ln N / n)` (Auer et al. 2002, UCT of Kocsis and Szepesvári 2006); c = sqrt 2.
- `uct`, `puct`, `var_puct`: RethinkMCTS (2024), authors' code: `ln N` under the root, `1 + n` outside it;
  c = 4, base = 10. At N = 1 every child scores Q, since ln 1 = 0: the first child wins. On rewards in [0, 1]
  c = 4 explores broadly.
- `prompt_uct`: PromptAgent (2023), authors' code: `Q + c sqrt(ln(N + 1) / max(1, n))`; c = 2.5.
- `edge_ucb`: HAIChart (2024), authors' code: `Q + c sqrt(2 ln N / n)`; c = 1.5.
"""


def score(
    rule: str,
    *,
    q: float,
    n: float,
    parent: float,
    prior: float = 1.0,
    c: float | None = None,
    base: float = 10.0,
) -> float:
    """Return a child's score.

    Args:
        rule: a name in `RULES`.
        q: the aggregate of its returns.
        n: its visits.
        parent: its parent's visits.
        prior: P in [0, 1], for the rules with one.
        c: the exploration constant, 0 or more; None = the rule's own.
        base: the number of visits from which `var_puct` explores more, above 0.
    """
    found = RULES[rule]
    return q + found.weight(parent, found.c if c is None else c, base) * found.share(n, prior)


def random_share(rate: float, depth: int, limit: int) -> float:
    """Return the probability of a random choice at `depth`: exp(-rate (1 - left/limit)), left = levels below.

    **Source**: HAIChart (2024), authors' code, with rate 0.8 and open slots of a query for levels left: 1 at
    the root, so that the first choice is always random.
    """
    return exp(-rate * depth / limit)


class Observed(NamedTuple):
    """What `Additive` needs to know of a node. Rewards are in [0, 1]; None = not judged."""

    q: float
    n: float
    parent_n: float
    depth: int
    """1 for attempts without parents."""
    parent_q: float
    children: tuple[float | None, ...] = ()
    """The children's own rewards; empty = not expanded."""
    duplicates: int = 0
    """Attempts with the same answer that were merged into it."""


Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Unit = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Additive:
    """The sum of terms by which SWE-Search chooses a node, on rewards in [0, 1].

    **Source**: SWE-Search (2024), authors' code, whose values run from -100 to 100: their bonuses are divided
    by 200, their thresholds moved as well. Theirs explores with 1 on a scale of 200, which is nearly greedy
    (`explore` 0.005 here); the default here is 0.7. Their bonus for one bad child can outweigh all other
    terms; here `correct_most` bounds it. Left out: terms on files, patches, context and types of actions.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    exploit: Weight = 1.0
    explore: Weight = 0.7
    depth: Weight = 0.004
    """Times sqrt(depth); subtracted."""
    unexpanded: Weight = 0.25
    """Added to a good attempt without children."""
    correct: Weight = 5.0
    """Times the difference between its Q and the child's reward; added to a good attempt with exactly one bad
    child, up to `correct_most`."""
    correct_most: Weight = 0.25
    good_child: Weight = 0.025
    """Subtracted where a child is nearly right."""
    finished: Weight = 0.25
    """Subtracted where a child is right: another one gains nothing."""
    second_chance: Weight = 1.0
    """Times its distance below `good_from`; added to a bad attempt without children whose parent is good."""
    duplicate: Weight = 0.125
    """Times the square of the number of duplicates; subtracted."""
    good_from: Unit = 0.75
    """A Q that is good; so is any above it."""
    bad_to: Unit = 0.5
    """A reward that is bad; so is any below it."""
    nearly_from: Unit = 0.875
    """A reward that is nearly right; so is any above it."""

    def score(self, node: Observed) -> float:
        """Return the sum for a child, higher is better."""
        judged = [r for r in node.children if r is not None]
        total = self.exploit * node.q + self.explore * sqrt(ln(node.parent_n) / max(1.0, node.n))
        total -= self.depth * sqrt(node.depth) + self.duplicate * node.duplicates**2
        if not node.children:
            return total + self._unexpanded(node)
        if max(judged, default=0.0) >= self.nearly_from:
            total -= self.good_child
        if max(judged, default=0.0) >= 1.0:
            total -= self.finished
        return total + self._bad_child(node, judged)

    def _unexpanded(self, node: Observed) -> float:
        if node.q >= self.good_from:
            return self.unexpanded
        if node.q <= self.bad_to and node.parent_q > self.good_from:
            return self.second_chance * (self.good_from - node.q)
        return 0.0

    def _bad_child(self, node: Observed, judged: list[float]) -> float:
        bad = [r for r in judged if r <= self.bad_to]
        if len(bad) != 1 or node.q < self.good_from:
            return 0.0
        return min(self.correct_most, self.correct * (node.q - bad[0]))
