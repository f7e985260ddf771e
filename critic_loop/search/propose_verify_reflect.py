"""Propose, verify, reflect: only attempts that hold are built on; rejected ones are shown."""

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


@dataclass(slots=True)
class ProposeState:
    """The chain of attempts that held, and the rejected ones."""

    base: str | None = None
    """The latest attempt that held."""
    rejected: list[str] = field(default_factory=list[str])
    """Attempts that did not hold, oldest first."""
    edit: str | None = None
    """A rejected attempt whose feedback has a suggestion: the next attempt is a follow-up of it."""
    edits: int = 0
    """Follow-ups in a row."""
    in_flight: bool = False
    made: int = 0
    done: bool = False


@dataclass(frozen=True, kw_only=True)
class ProposeVerifyReflect:
    """Builds each attempt on the latest that held, and shows the latest `remember` that did not.

    An attempt holds if its score is `holds` or more, or if it is unjudged. Others are rejected and never built
    on, with one exception: where the feedback has a suggestion, up to `follow_ups` attempts in a row build on
    the rejected one. What the actor is shown of rejected attempts is set by `memory` and `show` of the recipe.
    A step that ends the answer and holds ends the search.

    Source: InternGeometry (2025), up to 200 steps, memory compressed to action and outcome; Auto Research
    with lineage (2026), one follow-up where a trial exposes a concrete next edit, failures listed. We differ:
    `remember` bounds the list. Repetitions of earlier attempts are rejected by the modifier `anti-repeat`.
    """

    rounds: Count | None = 200
    """Attempts in all; None leaves it to the stop rules."""
    holds: Unit = 1.0
    """The least score of an attempt that holds."""
    remember: Annotated[int, Field(ge=0)] = 8
    """Rejected attempts that are shown, the latest ones."""
    follow_ups: Annotated[int, Field(ge=0)] = 1
    """Attempts in a row that build on rejected ones."""
    moves: AttemptKind = "step"

    def start(self, task: Task) -> ProposeState:  # noqa: ARG002
        """Return the state before the first proposal."""
        return ProposeState()

    def fold(self, state: ProposeState, tree: Tree, record: Ask | Attempt) -> ProposeState:
        """Take an attempt that holds as the base, or add it to the rejected ones."""
        require_known(tree, record)
        if isinstance(record, Ask):
            state.in_flight, state.made = True, state.made + 1
            return state
        state.in_flight = False
        if record.status == "failed":
            return state
        score = value_of(tree, record.id).score
        if score is None or score >= self.holds:
            state.base, state.edit, state.edits = record.id, None, 0
            state.done = not extensible(record, self.moves)
        else:
            self._reject(state, tree, record.id)
        return state

    def ask(self, state: ProposeState, tree: Tree) -> Move | Wait | Stop:  # noqa: ARG002
        """Ask for the next attempt when the last one has ended."""
        if state.in_flight:
            return Wait()
        if state.done:
            return Stop("exhausted", f"step {state.base} ended the answer")
        if self.rounds is not None and state.made >= self.rounds:
            return Stop("exhausted", f"{self.rounds} attempts made")
        base = state.edit or state.base
        latest = state.rejected[-self.remember :] if self.remember else []
        shows = tuple(name for name in latest if name != base)
        return Move(parents=() if base is None else (base,), kind=self.moves, shows=shows)

    def _reject(self, state: ProposeState, tree: Tree, attempt_id: str) -> None:
        state.rejected.append(attempt_id)
        suggested = any(feedback.suggestion for feedback in tree.judgements(attempt_id))
        follow = suggested and state.edits < self.follow_ups
        state.edit, state.edits = (attempt_id, state.edits + 1) if follow else (None, 0)
