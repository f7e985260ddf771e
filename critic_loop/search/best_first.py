"""Greedy best-first search: the best attempt so far with room for another child is built on next."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt, AttemptKind, Task, Unit
from critic_loop.core.tree import Tree
from critic_loop.evidence import value_of
from critic_loop.search.base import extensible, require_known
from critic_loop.search.rng import rng_of

Count = Annotated[int, Field(ge=1)]
Ranked = tuple[float, int, str]
"""Worth, minus the number in the order of asking, id: the last of a sorted list is built on next."""


def curriculum_weight(p: float) -> float:
    """Return 2p(1 - p), in [0, 0.5]: how much can be learned where the probability of success is `p` in [0, 1].

    Source: InternGeometry (2025): the expected size of a binary reward's advantage.
    """
    return 2.0 * p * (1.0 - p)


@dataclass(slots=True)
class BestFirstState:
    """Attempts that may be built on, the best last, and how often each was."""

    frontier: list[Ranked] = field(default_factory=list[Ranked])
    places: dict[str, Ranked] = field(default_factory=dict[str, Ranked])
    used: dict[str, int] = field(default_factory=dict[str, int])
    """Attempts asked for below each, failed ones not counted; drafts are below the empty id."""
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    settled: int = 0


@dataclass(frozen=True, kw_only=True)
class BestFirst:
    """Asks for `roots` drafts, then builds on the attempt of highest worth, at most `width` times on each.

    Worth is the score, or with `by="curriculum"` 2p(1 - p) of the score p (`curriculum_weight`), less
    `depth_penalty` for each attempt above. An attempt in flight counts against `width`, so that lanes spread; a
    failed one no longer does.

    Source: best-first search as in textbooks; epsilon-greedy where `epsilon` is set.
    """

    n: Count | None = None
    """Attempts in all; None leaves it to the stop rules."""
    roots: Count = 4
    width: Count = 3
    depth: Count | None = None
    """Attempts on a path at most; None = no limit."""
    by: Literal["score", "curriculum"] = "score"
    epsilon: Unit = 0.0
    """Probability that an attempt with room is drawn at random, instead of the best."""
    depth_penalty: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Subtracted from the worth for each attempt above."""
    unknown: Unit = 0.5
    """The score of an unjudged attempt."""
    moves: AttemptKind = "answer"

    def start(self, task: Task) -> BestFirstState:  # noqa: ARG002
        """Return an empty frontier."""
        return BestFirstState(used={"": 0})

    def fold(self, state: BestFirstState, tree: Tree, record: Ask | Attempt) -> BestFirstState:
        """Count an ask below its parent; add an ended attempt to the frontier."""
        require_known(tree, record)
        parent = record.parents[0] if record.parents else ""
        if isinstance(record, Ask):
            state.numbers[record.attempt] = len(state.numbers)
            self._use(state, parent, 1)
            return state
        state.settled += 1
        if record.status == "failed":
            self._use(state, parent, -1)
        elif extensible(record, self.moves) and (self.depth is None or tree.depth(record.id) + 1 < self.depth):
            place = (self._worth(tree, record.id), -state.numbers[record.id], record.id)
            state.places[record.id], state.used[record.id] = place, 0
            insort(state.frontier, place)
        return state

    def ask(self, state: BestFirstState, tree: Tree) -> Move | Wait | Stop:
        """Ask for drafts, then below the best."""
        asked = len(state.numbers)
        if self.n is not None and asked >= self.n:
            done = state.settled == asked
            return Stop("exhausted", f"{self.n} attempts made") if done else Wait()
        if state.used[""] < self.roots:
            return Move(kind=self.moves)
        if state.frontier:
            return Move(parents=(self._next(state, tree),), kind=self.moves)
        return Stop("exhausted", "nothing left to build on") if state.settled == asked else Wait()

    def _next(self, state: BestFirstState, tree: Tree) -> str:
        if self.epsilon:
            draws = rng_of(tree)
            if draws.random() < self.epsilon:
                return draws.choice(state.frontier)[2]
        return state.frontier[-1][2]

    def _worth(self, tree: Tree, attempt_id: str) -> float:
        score = value_of(tree, attempt_id).score
        known = self.unknown if score is None else score
        worth = curriculum_weight(known) if self.by == "curriculum" else known
        return worth - self.depth_penalty * tree.depth(attempt_id)

    def _use(self, state: BestFirstState, parent: str, more: int) -> None:
        """Add `more` to the attempts below `parent`, which is in the frontier only while it has room."""
        before = state.used[parent]
        state.used[parent] = before + more
        if parent not in state.places or (before < self.width) == (before + more < self.width):
            return
        place = state.places[parent]
        if more > 0:
            del state.frontier[bisect_left(state.frontier, place)]
        else:
            insort(state.frontier, place)
