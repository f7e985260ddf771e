"""Wider or deeper: tree search whose branching adapts to what it sees.

Knows the scores of attempts and how they lie in the tree. Does not know who gave them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt, AttemptKind, Task, Unit
from critic_loop.core.tree import Tree
from critic_loop.evidence import value_of
from critic_loop.search.base import exact, extensible, require_known
from critic_loop.search.posteriors import Beta, Crowd, Drawn, Gaussian, Rows, Sums
from critic_loop.search.rng import Uniform, rng_of

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ROOT = 0
FEW = 48
"""So many children are drawn for one by one; of more, most are passed over."""


@dataclass(slots=True)
class AbMctsState:
    """What is believed of attempts, numbered from 1 in the order of asking; 0 is the root above all drafts."""

    agents: Sums = field(default_factory=Sums)
    """About who makes attempts, in the order of the setting."""
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    ids: list[str] = field(default_factory=list[str])
    parent: array[int] = field(default_factory=lambda: array("i"))
    own: Drawn = field(default_factory=Drawn)
    """About an attempt and all below it."""
    wider: Sums = field(default_factory=Sums)
    """About a new attempt right below."""
    deeper: Sums = field(default_factory=Sums)
    """About a new attempt below one of those that are there."""
    children: dict[int, Rows] = field(default_factory=dict[int, Rows])
    """Those that may be built on."""
    bins: array[int] = field(default_factory=lambda: array("i"))
    """Where an attempt stands in a crowd of siblings; 0: in none."""
    settled: int = 0

    def add(self, attempt_id: str, parent: int) -> int:
        """Return the number of a new attempt."""
        number = len(self.ids)
        self.numbers[attempt_id] = number
        self.ids.append(attempt_id)
        self.parent.append(parent)
        self.bins.append(0)
        self.own.add()
        self.wider.add()
        self.deeper.add()
        return number


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
    judged counts for nothing; draws follow from the tree (`search.rng`), so a replay makes the same.
    Folding costs O(depth); asking draws for each child on the way, but with `gaussian`, where there are more
    than `FEW`, only for those that may win (`Gaussian.best`), so that a wide node costs little more.
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
        state = AbMctsState()
        for _ in self.agents:
            state.agents.add()
        state.add("", ROOT)
        return state

    def fold(self, state: AbMctsState, tree: Tree, record: Ask | Attempt) -> AbMctsState:
        """Add an attempt, or what came of it, to all that is believed on its path."""
        require_known(tree, record)
        if isinstance(record, Ask):
            number = state.add(record.attempt, state.numbers[record.parents[0]] if record.parents else ROOT)
            if self.virtual_loss:
                self._observe(state, number, record, 1, 0.0)
            return state
        number, score = state.numbers[record.id], None
        if record.status == "complete":
            score = value_of(tree, record.id).score
        count = (score is not None) - self.virtual_loss
        if score is not None or count:
            self._observe(state, number, tree.asks[record.id], count, score or 0.0)
        state.settled += 1
        if extensible(record, self.moves) and (self.depth is None or _depth(state, number) < self.depth):
            self._open(state, number)
        return state

    def ask(self, state: AbMctsState, tree: Tree) -> Move | Wait | Stop:
        """Draw the way down from the root, and the agent at its end."""
        asked = len(state.ids) - 1
        if self.n is not None and asked >= self.n:
            done = state.settled == asked
            return Stop("exhausted", f"{self.n} attempts made") if done else Wait()
        random, agent = rng_of(tree).random, 0
        at = self._way_down(state, random)
        if len(self.agents) > 1:
            agent = max(range(len(self.agents)), key=lambda k: self.prior.draw(state.agents, k, random))
        parents = (state.ids[at],) if at else ()
        return Move(parents=parents, kind=self.moves, agent=self.agents[agent])

    def _way_down(self, state: AbMctsState, random: Uniform) -> int:
        prior, at = self.prior, ROOT
        while at in state.children:
            if prior.draw(state.deeper, at, random) <= prior.draw(state.wider, at, random):
                break
            at = prior.best(state.own, state.children[at], random)
        return at

    def _observe(self, state: AbMctsState, number: int, ask: Ask, count: int, score: float) -> None:
        """Add to all that an attempt is evidence for, or take from how often it was observed."""
        square = 0.0
        if score:
            score, square = exact(score), exact(score * score)
        if (agent := self._agent(ask)) is not None:
            state.agents.observe(agent, count, score, square)
        parents, own, deeper = state.parent, state.own, state.deeper
        above = parents[number]
        own.observe(number, count, score, square)
        state.wider.observe(above, count, score, square)
        while above:
            own.observe(above, count, score, square)
            self._refresh(state, above)
            above = parents[above]
            deeper.observe(above, count, score, square)

    def _refresh(self, state: AbMctsState, number: int) -> None:
        """Follow a change of what is believed about an attempt: it may change its place in a crowd."""
        place, known = self.prior.refresh(state.own, number), state.bins[number]
        if not known or place == known:
            return
        crowd = state.children[state.parent[number]]
        if isinstance(crowd, dict):
            _leave(crowd, known, number)
            _join(state, crowd, place, number)

    def _open(self, state: AbMctsState, number: int) -> None:
        place, parent = self.prior.refresh(state.own, number), state.parent[number]
        rows = state.children.setdefault(parent, [])
        if isinstance(rows, dict):
            _join(state, rows, place, number)
            return
        insort(rows, number)
        if place and len(rows) > FEW:
            state.children[parent] = crowd = {}
            for row in rows:
                _join(state, crowd, self.prior.refresh(state.own, row), row)

    def _agent(self, ask: Ask) -> int | None:
        """Return who is drawn for when this agent is: a recipe's own actor is recorded by its spec's name."""
        name = ask.agent if ask.agent in self.agents else "actor"
        return self.agents.index(name) if name in self.agents else None

    @cached_property
    def prior(self) -> Gaussian | Beta:
        """What is believed before anything was observed."""
        if self.posterior == "beta":
            return Beta(mean=0.5 if self.mean is None else self.mean, weight=self.weight)
        mean = 0.0 if self.mean is None else self.mean
        return Gaussian(mean=mean, weight=self.weight, freedom=self.freedom, variance=self.variance)


def _join(state: AbMctsState, crowd: Crowd, place: int, number: int) -> None:
    insort(crowd.setdefault(place, []), number)
    state.bins[number] = place


def _leave(crowd: Crowd, place: int, number: int) -> None:
    rows = crowd[place]
    del rows[bisect_left(rows, number)]
    if not rows:
        del crowd[place]


def _depth(state: AbMctsState, number: int) -> int:
    depth = 0
    while number:
        number, depth = state.parent[number], depth + 1
    return depth
