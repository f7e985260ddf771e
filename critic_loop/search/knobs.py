"""The settings of `Mcts`, each with its range and where it comes from. Knows no tree."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from critic_loop.core.records import UNFINISHED, AttemptKind
from critic_loop.search.base import require_pattern
from critic_loop.search.scores import RULES, Additive, RuleName, Weigh
from critic_loop.search.statistics import Fold

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Unit = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Knobs:
    """What can be set; `Mcts` says what it does with it."""

    n: Count = 32
    """Attempts to ask for at most, failed ones and each step counted."""
    moves: AttemptKind = "answer"
    """`answer`: a child revises its parent. `step`: an attempt is one step of an answer, until one ends it.
    `thought`: children are thoughts, each evaluated by an answer below it."""
    agent: str = "actor"
    """Who makes the attempts."""
    answerer: str = "actor"
    """Who writes the answer that a thought is evaluated by."""
    rule: RuleName = "ucb1"
    c: Number | None = None
    """Exploration constant, for rewards in [0, 1]; None takes the rule's own. Not used by `additive`."""
    base: Positive = 10.0
    """For `var_puct`: visits until it explores more."""
    additive: Additive = Additive()
    """The terms of rule `additive`."""
    q: Literal["mean", "max", "sum", "last"] = "mean"
    """What the returns of a node come to; `last` = of the attempt that was asked for last."""
    unjudged: Unit | None = None
    """Q of a node without returns, as far as it has no reward itself; None = its parent's, 0.5 at the root."""
    visits_from: Whole = 0
    """Visits that a parent has before its first (RethinkMCTS: 1)."""
    log: Literal["parent", "parent+1", "tree"] = "parent"
    """Whose visits the rule takes the logarithm of: the parent's, one more, or the root's."""
    min_visits: Whole = 0
    """A child with fewer visits is taken before the rule is asked, the fewest first."""
    randomness: Number | None = None
    """A child is chosen at random with probability exp(-randomness * depth / limit), by a draw that follows
    from task, seed and state (HAIChart: 0.8); needs `depth`."""
    discount: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Times which a return counts one level up (RethinkMCTS: 0.9)."""
    backup: Literal["discounted", "cumulative"] = "discounted"
    """`cumulative`: a return is the (discounted) sum of rewards from the node down to the end (PromptAgent)."""
    returns: Literal["judged", "ended"] = "judged"
    """Which attempts bring a return: all that were judged, or those that end a simulation."""
    opinion: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the critics' score in the reward of an attempt that verifiers passed; all others get the rest of
    it times their score, so that opinion never lifts them over one that passed. RethinkMCTS: 0.2, but there a
    program that passes and dislikes itself falls below one that fails a third of the tests."""
    statistics: Literal["node", "edge"] = "node"
    """Of a rewritten attempt: `edge` = it takes over the returns of the one it replaces (RethinkMCTS)."""
    state: str = ""
    """A regular expression: all that it finds in an answer so far (or its first group), in any order, is where
    one stands. Steps at the same place share their returns, whatever came before; visits are each one's own.
    Empty = nobody shares. For steps, with q `mean`, no discount and no rethink. After HAIChart, a graph of
    states with counts on its edges, in which children are shared, too; in trees, UCT2 (Childs et al. 2008)."""
    roots: Count | None = None
    """Attempts without parents; None = as many as `width`. 1 inside a nest."""
    width: Count | None = None
    """Children of a node at most; None = 3, and with `widening` as many as that allows."""
    batch: Count = 1
    """Children asked for with one request of so many choices."""
    widening: Annotated[float, Field(gt=0, le=1)] | None = None
    """Progressive widening: at most k * N^alpha children at N visits; this is alpha."""
    widening_k: Positive = 1.0
    depth: Count | None = None
    """Attempts on a path."""
    rollout: Literal["never", "ended", "depth"] = "ended"
    """How a simulation goes on from a new attempt: not at all; until an answer ends (steps); to the
    limit of `depth`. What it makes stays in the tree."""
    duplicates: Literal["merge", "keep"] = "merge"
    """`merge`: an attempt that says the same as a sibling is not expanded; its visits count for the sibling."""
    rethink: Whole = 0
    """How often what verifiers (or else critics) reject is rewritten in its place (RethinkMCTS: 1)."""
    hindsight: Whole = 0
    """Latest judged siblings that are shown to the next child of a node (SWE-Search: 1)."""
    virtual_loss: Number = 1.0
    """Visits of worth 0 that an attempt in flight counts for."""
    prune_from: Whole | None = None
    """Below this depth, an attempt with less than the mean of its root's and its parent's reward is not built
    on (PromptAgent: 2). Their early end of simulations depends on the time of arrival, and is left out."""
    failures: Whole = 3
    """Failed children of a node that do not count against `width`; those of the root never do."""

    def __post_init__(self) -> None:
        """Refuse what does not go together.

        Raises:
            ValueError: a setting needs another one.
        """
        if self.depth is None and (self.rollout == "depth" or self.randomness is not None):
            raise ValueError("rollout to the depth and randomness need a limit of depth")
        if self.state:
            self._shares()

    def _shares(self) -> None:
        if self.moves != "step" or self.q != "mean" or not self.flat or self.rethink:
            raise ValueError("a state is shared by steps, with q mean, no discount and no rethink")
        require_pattern(self.state)

    @cached_property
    def most(self) -> int:
        """Children of a node, however often it was visited."""
        return self.width or (3 if self.widening is None else self.n)

    @cached_property
    def weight_of(self) -> Weigh:
        """The rule's weight of a parent."""
        return RULES[self.rule].weight

    @cached_property
    def constant(self) -> float:
        """The exploration constant."""
        return RULES[self.rule].c if self.c is None else self.c

    @cached_property
    def plain(self) -> bool:
        """Whether a child's score is its mean return and a share of 1/sqrt(n), and nothing else."""
        under_root = self.rule in ("ucb1", "edge_ucb")
        return under_root and self.q == "mean" and self.log == "parent" and not (self.min_visits or self.state)

    @cached_property
    def closes(self) -> bool:
        """Whether there are attempts that get no children."""
        return self.depth is not None or self.prune_from is not None or self.moves == "step"

    @cached_property
    def goes_on(self) -> bool:
        """Whether simulations go on from attempts."""
        return self.moves in UNFINISHED or self.rollout == "depth"

    @cached_property
    def flat(self) -> bool:
        """Whether a return is the same for all nodes above, and adds up."""
        return self.q in ("mean", "sum") and self.discount == 1.0 and self.backup == "discounted"

    @cached_property
    def fold_returns(self) -> Fold:
        """How the returns of a node come to its worth."""
        return "sum" if self.q == "mean" else self.q
