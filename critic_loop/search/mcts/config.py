"""The settings of `Mcts` by phase, each with its range and its source. Knows no tree."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from critic_loop.core.records import UNFINISHED, AttemptKind
from critic_loop.search.base import require_pattern
from critic_loop.search.mcts.scores import RULES, Additive, RuleName, WeightOf
from critic_loop.search.mcts.state import Aggregation

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Unit = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class MctsConfig:
    """The settings of `Mcts`. Q is the mean (or `q`) of a node's returns, N the number of its visits."""

    # -- what is asked for ---------------------------------------------------------------------

    n: Count = 32
    """Attempts in all, at most; failed attempts and each step count."""
    moves: AttemptKind = "answer"
    """`answer`: a child revises its parent. `step`: an attempt is one step of an answer, until one ends it.
    `thought`: children are thoughts, and each is evaluated by an answer below it."""
    agent: str = "actor"
    """The agent that makes the attempts."""
    answerer: str = "actor"
    """The agent that writes the answer by which a thought is evaluated."""
    batch: Count = 1
    """Children asked for in one request with as many choices."""
    hindsight: Whole = 0
    """How many of the latest judged siblings the next child of a node is shown (SWE-Search: 1)."""

    # -- selection -----------------------------------------------------------------------------

    rule: RuleName = "ucb1"
    """The score rule (`search.mcts.scores`)."""
    c: Number | None = None
    """Exploration constant, for rewards in [0, 1]; None = the rule's own. Not used by `additive`."""
    base: Positive = 10.0
    """For `var_puct`: the number of visits from which it explores more."""
    additive: Additive = Additive()
    """The terms of rule `additive`."""
    visits_from: Whole = 0
    """Added to the visits of each parent (RethinkMCTS: 1)."""
    log: Literal["parent", "parent+1", "tree"] = "parent"
    """Whose visits the rule takes the logarithm of: the parent's, the parent's plus 1, or the root's."""
    min_visits: Whole = 0
    """A child with fewer visits is selected before the rule is applied, the one with the fewest first."""
    unjudged: Unit | None = None
    """Q of a node without returns and without a reward of its own; None = Q of its parent, 0.5 at the root."""
    virtual_loss: Number = 1.0
    """Each attempt in flight counts as this many visits with return 0, at its node and all nodes above."""
    randomness: Number | None = None
    """A child is selected at random with probability exp(-randomness * depth / limit), by a draw that follows
    from task, seed and number of attempts (HAIChart: 0.8); needs `depth`."""

    # -- expansion -----------------------------------------------------------------------------

    roots: Count | None = None
    """Attempts without parents; None = as many as `width`. 1 inside a nest."""
    width: Count | None = None
    """Children of a node at most; None = 3, or with `widening` as many as that allows."""
    widening: Annotated[float, Field(gt=0, le=1)] | None = None
    """Progressive widening: at most k * N^alpha children at N visits; this is alpha."""
    widening_k: Positive = 1.0
    """k of progressive widening."""
    depth: Count | None = None
    """Attempts on a path at most."""
    failures: Whole = 3
    """How many failed children of a node do not count against `width`; of the root, none counts."""
    duplicates: Literal["merge", "keep"] = "merge"
    """`merge`: an attempt with the same answer (or the same text) as a sibling is not expanded; its visits and
    returns are added to the sibling's."""
    prune_from: Whole | None = None
    """Below this depth, an attempt whose reward is less than the mean of its root's and its parent's reward is
    not expanded (PromptAgent: 2). Left out is PromptAgent's early end of simulations, which depends on the
    time of arrival."""

    # -- evaluation ----------------------------------------------------------------------------

    opinion: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the critics' score in the reward of an attempt that verifiers passed. The reward of any other
    attempt is its score times (1 - opinion), so that opinion never ranks it above one that passed. RethinkMCTS:
    0.2, but there a program that passes with a low self-evaluation ranks below one that fails a third of the
    tests."""
    rollout: Literal["never", "ended", "depth"] = "ended"
    """How far a simulation continues from a new attempt: not at all; until an answer ends (steps); to the limit
    of `depth`. Attempts made on the way stay in the tree."""
    rethink: Whole = 0
    """How often an attempt that verifiers (or, without verifiers, critics) reject is rewritten in its place
    (RethinkMCTS: 1)."""

    # -- backup --------------------------------------------------------------------------------

    q: Literal["mean", "max", "sum", "last"] = "mean"
    """How the returns of a node are aggregated; `last` = the return of the attempt asked for last."""
    discount: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor of a return for each level that it is backed up (RethinkMCTS: 0.9)."""
    backup: Literal["discounted", "cumulative"] = "discounted"
    """`cumulative`: a return is the (discounted) sum of rewards from the node down to the end (PromptAgent)."""
    returns: Literal["judged", "ended"] = "judged"
    """Which attempts give a return: all that were judged, or those that end a simulation."""
    statistics: Literal["node", "edge"] = "node"
    """Of a rewritten attempt: `edge` = it keeps the returns of the one that it replaces (RethinkMCTS)."""
    state: str = ""
    """A regular expression that names the state a step leads to: all its matches in the answer so far (or
    their first groups), in any order. Steps with the same state share their returns, whatever came before;
    visits are counted for each. Empty = nothing is shared. For steps, with q `mean`, no discount and no
    rethink. After HAIChart, a graph of states with counts on its edges, in which children are shared as well;
    in trees, UCT2 (Childs et al. 2008)."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            ValueError: a setting needs another one, or excludes it.
        """
        if self.depth is None and (self.rollout == "depth" or self.randomness is not None):
            raise ValueError("rollout to the depth and randomness need a limit of depth")
        if self.state:
            self._require_shareable()

    def _require_shareable(self) -> None:
        if self.moves != "step" or self.q != "mean" or not self.uniform_returns or self.rethink:
            raise ValueError("a state is shared by steps, with q mean, no discount and no rethink")
        require_pattern(self.state)

    # -- derived -------------------------------------------------------------------------------

    @cached_property
    def max_children(self) -> int:
        """Children of a node at most, at any number of visits."""
        return self.width or (3 if self.widening is None else self.n)

    @cached_property
    def weight_of(self) -> WeightOf:
        """The rule's weight of a parent."""
        return RULES[self.rule].weight

    @cached_property
    def exploration(self) -> float:
        """The exploration constant."""
        return RULES[self.rule].c if self.c is None else self.c

    @cached_property
    def mean_over_root(self) -> bool:
        """Whether a child's score is its mean return plus a share of 1/sqrt(N), without exceptions."""
        over_root = self.rule in ("ucb1", "edge_ucb")
        return over_root and self.q == "mean" and self.log == "parent" and not (self.min_visits or self.state)

    @cached_property
    def may_close(self) -> bool:
        """Whether there are attempts that are never expanded."""
        return self.depth is not None or self.prune_from is not None or self.moves == "step"

    @cached_property
    def may_continue(self) -> bool:
        """Whether simulations may continue from a new attempt."""
        return self.moves in UNFINISHED or self.rollout == "depth"

    @cached_property
    def uniform_returns(self) -> bool:
        """Whether an attempt's return is the same at all nodes above it, and returns are summed."""
        return self.q in ("mean", "sum") and self.discount == 1.0 and self.backup == "discounted"

    @cached_property
    def aggregation(self) -> Aggregation:
        """How the returns of a node are kept: the mean follows from their sum."""
        return "sum" if self.q == "mean" else self.q
