"""Beam search: level by level, only the best are built on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt, AttemptKind, Task, Unit
from critic_loop.core.tree import Tree
from critic_loop.evidence import value_of
from critic_loop.search.base import extensible, require_known

Count = Annotated[int, Field(ge=1)]
Ranked = tuple[float, int, str]
"""Minus the score, number in the order of asking, id: sorts the best first, the oldest of equals first."""


@dataclass(slots=True)
class BeamState:
    """The current level."""

    beam: tuple[str, ...] = ("",)
    """The attempts that it is built on, the best first; before the first step the empty id."""
    level: int = 0
    asked: dict[str, int] = field(default_factory=dict[str, int])
    """Attempts asked for below each of the beam."""
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    """Order of asking, of this level's attempts."""
    settled: int = 0
    """Attempts of this level that have settled."""
    candidates: list[Ranked] = field(default_factory=list[Ranked])
    """Attempts of this level that may be built on."""


@dataclass(frozen=True, kw_only=True)
class Beam:
    """Asks for `samples` steps below each of the `width` best of the level before, until `depth` or an end.

    The next level begins when all attempts of this one have settled. Pruned attempts stay in the tree and may
    be selected; so do steps that end their answer, which take no place in the beam. A failed sample is not
    asked for again.

    Source: SWE-TRACE (2026) prunes sampled actions by a process reward; PROMST keeps 2 of 8 prompts a level
    (`width=2, samples=4, kind="prompt"`); ToT-BFS. Ties go to what was asked for first.
    """

    width: Count = 4
    """Attempts of a level that are built on."""
    samples: Count = 4
    """Attempts below each of them."""
    roots: Count | None = None
    """Drafts; None = as many as `samples`. Inside a nest always 1."""
    depth: Count = 8
    """Levels."""
    batch: Count = 1
    """Attempts asked for with one request of so many choices (cheaper where prompts are long)."""
    unknown: Unit = 0.5
    """The score of an unjudged attempt."""
    least: Unit = 0.0
    """A step of a lower score is not built on."""
    moves: AttemptKind = "step"

    def start(self, task: Task) -> BeamState:  # noqa: ARG002
        """Return the state before the first step."""
        return BeamState(asked={"": 0})

    def fold(self, state: BeamState, tree: Tree, record: Ask | Attempt) -> BeamState:
        """Count asks, rank settled attempts, and begin the next level after the last of them."""
        require_known(tree, record)
        if isinstance(record, Ask):
            state.asked[record.parents[0] if record.parents else ""] += 1
            state.numbers[record.attempt] = len(state.numbers)
            return state
        state.settled += 1
        score = value_of(tree, record.id).score
        known = self.unknown if score is None else score
        if extensible(record, self.moves) and known >= self.least:
            state.candidates.append((-known, state.numbers[record.id], record.id))
            state.candidates.sort()
        if state.settled == self._below(state) * len(state.beam):
            self._begin_level(state)
        return state

    def ask(self, state: BeamState, tree: Tree) -> Move | Wait | Stop:  # noqa: ARG002
        """Ask for the next steps of this level, the best parent's first."""
        if state.level >= self.depth:
            return Stop("exhausted", f"{self.depth} levels made")
        if not state.beam:
            return Stop("exhausted", f"nothing to build on after level {state.level}")
        for parent in state.beam:
            left = self._below(state) - state.asked[parent]
            if left > 0:
                parents = (parent,) if parent else ()
                return Move(parents=parents, kind=self.moves, samples=min(self.batch, left))
        return Wait()

    def _below(self, state: BeamState) -> int:
        """Return how many attempts each of the beam gets."""
        return self.samples if state.level or self.roots is None else self.roots

    def _begin_level(self, state: BeamState) -> None:
        state.beam = tuple(name for _, _, name in state.candidates[: self.width])
        state.asked = dict.fromkeys(state.beam, 0)
        state.level, state.settled = state.level + 1, 0
        state.numbers.clear()
        state.candidates.clear()
