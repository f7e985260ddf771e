"""Iterative refinement: search of width one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt, AttemptKind, Task
from critic_loop.core.tree import Tree
from critic_loop.evidence import beats
from critic_loop.search.base import extensible, require_known


@dataclass(slots=True)
class RefineState:
    """The chain so far."""

    base: str | None = None
    """The attempt that the next one revises."""
    in_flight: bool = False
    made: int = 0
    done: bool = False
    """Whether the base ends an answer that was made in steps."""


@dataclass(frozen=True, kw_only=True)
class Refine:
    """Revises the last attempt, or the last that was kept.

    With `base="last"` each revision starts from the one before it. With `base="kept"` a revision must beat its
    parent (by a judge in both orders, else by value) to be kept; otherwise the next one starts from the parent
    again. A failed attempt (a model error, say) is never a base.
    """

    rounds: Annotated[int, Field(ge=1)] | None = None
    """Attempts on the chain, the draft counted; None leaves it to the stop rules."""
    base: Literal["last", "kept"] = "last"
    moves: AttemptKind = "answer"
    """`step`: each attempt continues the one before it, until one ends the answer."""

    def start(self, task: Task) -> RefineState:  # noqa: ARG002
        """Return the state before the draft."""
        return RefineState()

    def fold(self, state: RefineState, tree: Tree, record: Ask | Attempt) -> RefineState:
        """Take an ended attempt as the base, if it is kept."""
        require_known(tree, record)
        if isinstance(record, Ask):
            state.in_flight = True
            state.made += 1
        else:
            state.in_flight = False
            if record.status != "failed" and self._replaces(tree, state.base, record.id):
                state.base = record.id
                state.done = not extensible(record, self.moves)
        return state

    def ask(self, state: RefineState, tree: Tree) -> Move | Wait | Stop:  # noqa: ARG002
        """Ask for the next revision when the last one has ended."""
        if state.in_flight:
            return Wait()
        if state.done:
            return Stop("exhausted", f"{state.base} ended the answer")
        if self.rounds is not None and state.made >= self.rounds:
            return Stop("exhausted", f"{self.rounds} rounds made")
        return Move(parents=() if state.base is None else (state.base,), kind=self.moves)

    def _replaces(self, tree: Tree, base: str | None, revision: str) -> bool:
        return base is None or self.base == "last" or beats(tree, revision, base)
