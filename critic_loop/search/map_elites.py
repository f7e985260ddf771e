"""MAP-Elites: a grid over traits of answers; the best answer of each cell is kept and varied.

Traits are read from the feedback on an answer. Knows the grid. Does not know who names the traits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, JsonValue

from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt, AttemptKind, Task
from critic_loop.core.tree import Tree
from critic_loop.evidence import value_of
from critic_loop.search.base import extensible, require_known
from critic_loop.search.rng import rng_of

Count = Annotated[int, Field(ge=1)]
Cell = tuple[int, ...]
Elite = tuple[float, int, str]
"""Score, minus the number in the order of asking, id: the greatest is the elite of a cell."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A trait of answers: a number cut into bins at `edges`, or one of `values`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    name: str
    """A key in the `data` of a feedback, or a criterion of its rubric, whose score is the trait."""
    edges: tuple[float, ...] = ()
    """Ascending; k edges make k + 1 bins, and a number on an edge falls into the bin above."""
    values: tuple[str, ...] = ()

    @property
    def bins(self) -> int:
        """The number of bins."""
        return len(self.values) or len(self.edges) + 1

    def bin(self, trait: JsonValue) -> int | None:
        """Return the bin of a trait; None if the trait is no number, or not among `values`."""
        if self.values:
            return self.values.index(trait) if isinstance(trait, str) and trait in self.values else None
        if isinstance(trait, bool) or not isinstance(trait, int | float):
            return None
        return bisect_right(self.edges, trait)


def cell_of(tree: Tree, attempt_id: str, axes: Iterable[Axis]) -> Cell | None:
    """Return the cell of an attempt by the latest feedback with each trait; None if a trait is missing."""
    said: dict[str, JsonValue] = {}
    for feedback in tree.judgements(attempt_id):
        said |= {c.name: c.score for c in feedback.rubric if c.score is not None} | feedback.data
    cell = [axis.bin(said.get(axis.name)) for axis in axes]
    placed = [place for place in cell if place is not None]
    return tuple(placed) if len(placed) == len(cell) else None


def qd_score(best: Mapping[Cell, float]) -> float:
    """Return the sum of the best score of each filled cell (QDAIF's QD score)."""
    return sum(best.values())


def coverage(best: Mapping[Cell, float], axes: Iterable[Axis]) -> float:
    """Return the share of cells that are filled, in [0, 1]."""
    cells = 1
    for axis in axes:
        cells *= axis.bins
    return len(best) / cells


@dataclass(slots=True)
class MapElitesState:
    """The elite of each cell."""

    elites: dict[Cell, Elite] = field(default_factory=dict[Cell, Elite])
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    settled: int = 0

    @property
    def scores(self) -> dict[Cell, float]:
        """The best score of each cell, for `qd_score` and `coverage`."""
        return {cell: elite[0] for cell, elite in self.elites.items()}


@dataclass(frozen=True, kw_only=True)
class MapElites:
    """Asks for `seeds` drafts, then for variations of elites drawn evenly from the filled cells.

    An attempt becomes the elite of its cell if the cell is empty or its elite has a lower score; of equals
    the one asked for first stays. An unscored attempt, or one that lacks a trait, has no cell. There are no
    generations: every lane draws from the grid as it is, and while it is empty asks for another draft.

    Source: Mouret and Clune, MAP-Elites (2015); QDAIF (2023), whose bins are narrower near 0 and 1 and which
    made 2000 iterations [K]. We differ: cells come from any feedback's `data`, not only from log-probabilities.
    """

    axes: Annotated[tuple[Axis, ...], Field(min_length=1)]
    n: Count | None = None
    """Attempts in all; None leaves it to the stop rules."""
    seeds: Count = 8
    """Drafts before the first variation."""
    shots: Annotated[int, Field(ge=0)] = 0
    """Further elites that the actor is shown beside the one it varies."""
    moves: AttemptKind = "answer"

    def __post_init__(self) -> None:
        """Refuse invalid axes.

        Raises:
            ConfigError: an axis has neither edges nor values, both, or edges that do not ascend.
        """
        for axis in self.axes:
            if bool(axis.edges) == bool(axis.values):
                raise ConfigError(f"axis {axis.name!r} needs either edges or values.")
            if any(high <= low for low, high in pairwise(axis.edges)):
                raise ConfigError(f"the edges of axis {axis.name!r} do not ascend.")

    def start(self, task: Task) -> MapElitesState:  # noqa: ARG002
        """Return an empty grid."""
        return MapElitesState()

    def fold(self, state: MapElitesState, tree: Tree, record: Ask | Attempt) -> MapElitesState:
        """Compare a settled attempt with the elite of its cell."""
        require_known(tree, record)
        if isinstance(record, Ask):
            state.numbers[record.attempt] = len(state.numbers)
            return state
        state.settled += 1
        score, cell = value_of(tree, record.id).score, cell_of(tree, record.id, self.axes)
        if score is not None and cell is not None and extensible(record, self.moves):
            elite = (score, -state.numbers[record.id], record.id)
            state.elites[cell] = max(elite, state.elites.get(cell, elite))
        return state

    def ask(self, state: MapElitesState, tree: Tree) -> Move | Wait | Stop:
        """Ask for a draft, or for a variation of an elite."""
        asked = len(state.numbers)
        if self.n is not None and asked >= self.n:
            done = state.settled == asked
            return Stop("exhausted", f"{self.n} attempts made") if done else Wait()
        if asked < self.seeds or not state.elites:
            return Move(kind=self.moves)
        held = [elite[2] for _, elite in sorted(state.elites.items())]
        parent, *shown = rng_of(tree).sample(held, min(1 + self.shots, len(held)))
        return Move(parents=(parent,), kind=self.moves, shows=tuple(shown))
