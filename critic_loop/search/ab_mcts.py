"""Tree search that decides at each node whether to go wider or deeper.

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
from critic_loop.search.posteriors import Beta, Bins, Gaussian, Rows, StudentSums, Sums
from critic_loop.search.rng import Uniform, rng_of

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ROOT = 0
BINNED_ABOVE = 48
"""With more children, they are kept in bins, and draws are made only for those that may win."""


@dataclass(slots=True)
class AbMctsState:
    """Posteriors of attempts, numbered from 1 in the order of asking; 0 is the root above all drafts."""

    agents: Sums = field(default_factory=Sums)
    """Of each agent, in the order of the setting."""
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    ids: list[str] = field(default_factory=list[str])
    parent: array[int] = field(default_factory=lambda: array("i"))
    own: StudentSums = field(default_factory=StudentSums)
    """Of an attempt and all below it."""
    wider: Sums = field(default_factory=Sums)
    """Of a new attempt right below."""
    deeper: Sums = field(default_factory=Sums)
    """Of a new attempt below one of the children."""
    children: dict[int, Rows] = field(default_factory=dict[int, Rows])
    """Children that may be built on."""
    bins: array[int] = field(default_factory=lambda: array("i"))
    """The bin of an attempt among its siblings; 0 = they are not in bins."""
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

    At each node from the root down there are two draws: one from the posterior of a new attempt right below,
    one from that of attempts further down. If the first is at least as high, a new attempt is asked for
    (wider). Otherwise the search descends to the child with the highest draw (deeper). The agent is drawn in
    the same way, from the scores of each agent's attempts. A score is an observation for `wider` of the
    attempt's parent, and for `deeper` of every node above.

    Source: Inoue et al., "Wider or Deeper? Scaling LLM Inference-Time Compute with Adaptive Branching Tree
    Search" (2025), AB-MCTS-A; the priors' defaults are those of its package treequest 0.3.3. We differ: an
    attempt in flight counts as one of score 0 until it settles, so that lanes spread; an unjudged one counts
    for nothing; draws follow from the tree (`search.rng`), so that a replay draws the same.
    Folding is O(depth). Asking draws for each child on the way; with `gaussian` and more than `BINNED_ABOVE`
    children only for those that may win (`Gaussian.best`).
    """

    n: Count | None = None
    """Attempts in all; None leaves it to the stop rules."""
    agents: Annotated[tuple[str, ...], Field(min_length=1)] = ("actor",)
    """The agents to choose from."""
    posterior: Literal["gaussian", "beta"] = "gaussian"
    mean: Unit | None = None
    """Prior mean of a score; None = 0 for `gaussian`, 0.5 for `beta`."""
    weight: Positive = 1.0
    """Weight of the prior mean, in observations."""
    freedom: Positive = 1.0
    """Degrees of freedom of the prior variance (`gaussian`)."""
    variance: Positive = 0.1
    """Prior variance of a score (`gaussian`)."""
    virtual_loss: bool = True
    """Whether an attempt in flight counts as one of score 0."""
    depth: Count | None = None
    """Attempts on a path at most; None = no limit."""
    moves: AttemptKind = "answer"

    def start(self, task: Task) -> AbMctsState:  # noqa: ARG002
        """Return a root without children."""
        state = AbMctsState()
        for _ in self.agents:
            state.agents.add()
        state.add("", ROOT)
        return state

    def fold(self, state: AbMctsState, tree: Tree, record: Ask | Attempt) -> AbMctsState:
        """Add an attempt, or its score, to the posteriors on its path."""
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
        """Draw the path down from the root, and the agent at its end."""
        asked = len(state.ids) - 1
        if self.n is not None and asked >= self.n:
            done = state.settled == asked
            return Stop("exhausted", f"{self.n} attempts made") if done else Wait()
        random, agent = rng_of(tree).random, 0
        at = self._descend(state, random)
        if len(self.agents) > 1:
            agent = max(range(len(self.agents)), key=lambda k: self.prior.draw(state.agents, k, random))
        parents = (state.ids[at],) if at else ()
        return Move(parents=parents, kind=self.moves, agent=self.agents[agent])

    def _descend(self, state: AbMctsState, random: Uniform) -> int:
        prior, at = self.prior, ROOT
        while at in state.children:
            if prior.draw(state.deeper, at, random) <= prior.draw(state.wider, at, random):
                break
            at = prior.best(state.own, state.children[at], random)
        return at

    def _observe(self, state: AbMctsState, number: int, ask: Ask, count: int, score: float) -> None:
        """Add `count` observations, or a score alone, to all posteriors that an attempt informs."""
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
        """Update the posterior of an attempt, and its bin."""
        place, known = self.prior.refresh(state.own, number), state.bins[number]
        if not known or place == known:
            return
        bins = state.children[state.parent[number]]
        if isinstance(bins, dict):
            _leave(bins, known, number)
            _join(state, bins, place, number)

    def _open(self, state: AbMctsState, number: int) -> None:
        place, parent = self.prior.refresh(state.own, number), state.parent[number]
        rows = state.children.setdefault(parent, [])
        if isinstance(rows, dict):
            _join(state, rows, place, number)
            return
        insort(rows, number)
        if place and len(rows) > BINNED_ABOVE:
            state.children[parent] = bins = {}
            for row in rows:
                _join(state, bins, self.prior.refresh(state.own, row), row)

    def _agent(self, ask: Ask) -> int | None:
        """Return the number of an agent; any other name is that of the spec of the recipe's `actor`."""
        name = ask.agent if ask.agent in self.agents else "actor"
        return self.agents.index(name) if name in self.agents else None

    @cached_property
    def prior(self) -> Gaussian | Beta:
        """The prior."""
        if self.posterior == "beta":
            return Beta(mean=0.5 if self.mean is None else self.mean, weight=self.weight)
        mean = 0.0 if self.mean is None else self.mean
        return Gaussian(mean=mean, weight=self.weight, freedom=self.freedom, variance=self.variance)


def _join(state: AbMctsState, bins: Bins, place: int, number: int) -> None:
    insort(bins.setdefault(place, []), number)
    state.bins[number] = place


def _leave(bins: Bins, place: int, number: int) -> None:
    rows = bins[place]
    del rows[bisect_left(rows, number)]
    if not rows:
        del bins[place]


def _depth(state: AbMctsState, number: int) -> int:
    depth = 0
    while number:
        number, depth = state.parent[number], depth + 1
    return depth
