"""Wider or deeper: tree search whose branching adapts to what it sees.

Knows the scores of attempts and how they lie in the tree. Does not know who gave them.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from random import Random
from typing import Annotated, Literal

from pydantic import Field

from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt, AttemptKind, Task, Unit
from critic_loop.core.tree import Tree
from critic_loop.core.value import value_of
from critic_loop.search.base import extensible, require_known
from critic_loop.search.beliefs import Belief, Beta, Gaussian, Ranked, units
from critic_loop.search.chance import chance

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ROOT = ""
"""The node above all drafts."""


@dataclass(slots=True)
class Node:
    """A place in the tree where the search goes wider or deeper."""

    parent: str
    depth: int
    own: Belief
    """About this attempt and all below it."""
    wider: Belief = field(default_factory=Belief)
    """About a new attempt right below this one."""
    deeper: Belief = field(default_factory=Belief)
    """About a new attempt below one of those that are there."""
    ranked: list[Ranked] = field(default_factory=list[Ranked])
    """About children that may be built on, by ascending mean."""
    loose: list[Belief] = field(default_factory=list[Belief])
    """About those that cannot be ranked (`Gaussian.sorts`), in the order of asking."""


@dataclass(slots=True)
class AbMctsState:
    """All nodes, and what is believed about the agents."""

    prior: Gaussian | Beta
    nodes: dict[str, Node]
    agents: dict[str, Belief]
    asked: int = 0
    settled: int = 0


@dataclass(frozen=True, kw_only=True)
class AbMcts:
    """Adaptive branching Monte Carlo tree search with Thompson sampling and node aggregation (AB-MCTS-A).

    At each node from the root down, one draw from what is believed about a new attempt right here, and one
    about the attempts further down, decide: wider, and a new attempt is asked for; or deeper, and a draw for
    each child says into which. Which agent makes it is drawn in the same way from all scores of each. An
    attempt's score counts for what made it: `wider` of its parent, and `deeper` of every node above that.

    Source: Inoue et al., "Wider or Deeper? Scaling LLM Inference-Time Compute with Adaptive Branching Tree
    Search" (2025), AB-MCTS-A; the priors' defaults are those of its package treequest 0.3.3. We differ: an
    attempt in flight counts as one of score 0 until it settles, so that lanes spread; one that nobody
    judged counts for nothing; draws follow from the tree (`search.chance`), so a replay makes the same.
    Folding costs O(depth log width), asking O(depth x width) at most; with `gaussian`, children that cannot
    win are passed over (`Gaussian.best`), so that a wide node costs little more than a narrow one.
    """

    n: Count | None = None
    """Attempts in all; None leaves it to the stop rules."""
    agents: Annotated[tuple[str, ...], Field(min_length=1)] = ("actor",)
    """Who may make an attempt."""
    posterior: Literal["gaussian", "beta"] = "gaussian"
    mean: Unit | None = None
    """Prior mean of a score; None = 0 for `gaussian`, 0.5 for `beta`."""
    weight: Positive = 1.0
    """What the prior mean counts for, in observations."""
    freedom: Positive = 1.0
    """Degrees of freedom of the prior variance (`gaussian`)."""
    variance: Positive = 0.1
    """Prior variance of a score (`gaussian`)."""
    virtual_loss: bool = True
    """Whether an attempt in flight counts as one of score 0."""
    depth: Count | None = None
    """Attempts on a path at most; None = as many as it likes."""
    moves: AttemptKind = "answer"

    def start(self, task: Task) -> AbMctsState:  # noqa: ARG002
        """Return a root without children."""
        prior = self._prior()
        agents = {name: _blank(prior, name) for name in self.agents}
        return AbMctsState(prior, {ROOT: _node(prior, ROOT, Belief())}, agents)

    def fold(self, state: AbMctsState, tree: Tree, record: Ask | Attempt) -> AbMctsState:
        """Add a node, or what came of it, to all that is believed on its path."""
        require_known(tree, record)
        if isinstance(record, Ask):
            state.asked += 1
            self._add(state, record)
            if self.virtual_loss:
                _observe(state, record.attempt, _arm(state, record), 1, 0)
            return state
        state.settled += 1
        agent, score = _arm(state, tree.asks[record.id]), value_of(tree, record.id).score
        if score is not None and record.status == "complete":
            _observe(state, record.id, agent, 0 if self.virtual_loss else 1, units(score))
        elif self.virtual_loss:
            _observe(state, record.id, agent, -1, 0)
        self._open(state, record)
        return state

    def ask(self, state: AbMctsState, tree: Tree) -> Move | Wait | Stop:
        """Draw the way down from the root, and the agent at its end."""
        if self.n is not None and state.asked >= self.n:
            done = state.settled == state.asked
            return Stop("exhausted", f"{self.n} attempts made") if done else Wait()
        draws = chance(tree)
        parent = self._way_down(state, draws)
        agent = state.prior.best(tuple(state.agents.values()), (), draws).name
        return Move(parents=(parent,) if parent else (), kind=self.moves, agent=agent)

    def _way_down(self, state: AbMctsState, draws: Random) -> str:
        prior, at = state.prior, ROOT
        node = state.nodes[at]
        while node.loose or node.ranked:
            if prior.draw(node.deeper, draws) <= prior.draw(node.wider, draws):
                break
            at = prior.best(node.loose, node.ranked, draws).name
            node = state.nodes[at]
        return at

    def _add(self, state: AbMctsState, ask: Ask) -> None:
        parent = ask.parents[0] if ask.parents else ROOT
        depth = state.nodes[parent].depth + 1
        own = Belief(state.asked, ask.attempt)
        state.nodes[ask.attempt] = _node(state.prior, parent, own, depth)

    def _open(self, state: AbMctsState, attempt: Attempt) -> None:
        node = state.nodes[attempt.id]
        if extensible(attempt, self.moves) and (self.depth is None or node.depth < self.depth):
            node.own.open = True
            _place(state.prior, state.nodes[node.parent], node.own)

    def _prior(self) -> Gaussian | Beta:
        if self.posterior == "beta":
            return Beta(mean=0.5 if self.mean is None else self.mean, weight=self.weight)
        mean = 0.0 if self.mean is None else self.mean
        return Gaussian(mean=mean, weight=self.weight, freedom=self.freedom, variance=self.variance)


def _observe(state: AbMctsState, attempt: str, agent: str, count: int, score: int) -> None:
    """Add an observation of an attempt, or take one back, to all that it is evidence for."""
    observe, nodes = state.prior.observe, state.nodes
    if agent in state.agents:
        observe(state.agents[agent], count, score)
    node = nodes[attempt]
    parent = nodes[node.parent]
    observe(node.own, count, score)
    observe(parent.wider, count, score)
    while parent.depth:
        node, parent = parent, nodes[parent.parent]
        _place(state.prior, parent, node.own, away=True)
        observe(node.own, count, score)
        _place(state.prior, parent, node.own)
        observe(parent.deeper, count, score)


def _arm(state: AbMctsState, ask: Ask) -> str:
    """Return who is drawn for when this agent is: a recipe's own actor is recorded under its spec's name."""
    return ask.agent if ask.agent in state.agents else "actor"


def _place(prior: Gaussian | Beta, parent: Node, own: Belief, *, away: bool = False) -> None:
    """Put a child that may be built on to its siblings, or take it away before its belief changes."""
    if not own.open:
        return
    if prior.sorts(own):
        entry = (own.shape[0], own.number, own)
        at = bisect_left(parent.ranked, entry[:2])
        parent.ranked[at : at + away] = [] if away else [entry]
    else:
        at = bisect_left(parent.loose, own.number, key=_number)
        parent.loose[at : at + away] = [] if away else [own]


def _node(prior: Gaussian | Beta, parent: str, own: Belief, depth: int = 0) -> Node:
    own.shape = prior.shape(own)
    return Node(parent, depth, own, _blank(prior), _blank(prior))


def _blank(prior: Gaussian | Beta, name: str = "") -> Belief:
    belief = Belief(name=name)
    belief.shape = prior.shape(belief)
    return belief


def _number(belief: Belief) -> int:
    return belief.number
