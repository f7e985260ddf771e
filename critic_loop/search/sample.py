"""Best-of-n: search of depth one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt, AttemptKind, Task
from critic_loop.core.tree import Tree
from critic_loop.search.base import require_known

Count = Annotated[int, Field(ge=1)]


@dataclass(slots=True)
class SampleState:
    """How many roots have been asked for and judged."""

    asked: int = 0
    judged: int = 0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Asks for `n` attempts without parents, as many at once as there are lanes."""

    n: Count = 8
    batch: Count = 1
    """Attempts asked for with one request of so many choices (cheaper where prompts are long)."""
    moves: AttemptKind = "answer"

    def start(self, task: Task) -> SampleState:  # noqa: ARG002
        """Return an empty count."""
        return SampleState()

    def fold(self, state: SampleState, tree: Tree, record: Ask | Attempt) -> SampleState:
        """Count roots."""
        require_known(tree, record)
        if record.parents:
            return state
        if isinstance(record, Ask):
            state.asked += 1
        else:
            state.judged += 1
        return state

    def ask(self, state: SampleState, tree: Tree) -> Move | Wait | Stop:  # noqa: ARG002
        """Ask until there are `n`, then wait for those in flight."""
        if state.asked < self.n:
            return Move(kind=self.moves, samples=min(self.batch, self.n - state.asked))
        if state.judged < self.n:
            return Wait()
        return Stop("exhausted", f"{self.n} samples made")
