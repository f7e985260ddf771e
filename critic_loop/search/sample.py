"""Best-of-n: search of depth one, by one actor or by several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt, AttemptKind, Task
from critic_loop.core.tree import Tree
from critic_loop.search.base import require_known

Count = Annotated[int, Field(ge=1)]


@dataclass(slots=True)
class SampleState:
    """How many roots have been asked for, and how many have ended."""

    asked: int = 0
    ended: int = 0


@dataclass(frozen=True, kw_only=True)
class ExtraSamples:
    """Further samples, of another kind or by another agent."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    n: Count
    moves: AttemptKind = "answer"
    agent: str = "actor"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Asks for `n` attempts without parents, as many at once as there are lanes; then for `extra_samples`.

    `extra_samples=[{n=8, moves="tests", agent="tester"}]` adds tests by another agent.
    **Source**: solutions and tests, CodeT (Chen et al. 2022).
    """

    n: Count = 8
    batch: Count = 1
    """Attempts asked for with one request of so many choices (cheaper where prompts are long)."""
    moves: AttemptKind = "answer"
    agent: str = "actor"
    extra_samples: tuple[ExtraSamples, ...] = ()

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
            state.ended += 1
        return state

    def ask(self, state: SampleState, tree: Tree) -> Move | Wait | Stop:  # noqa: ARG002
        """Ask until all samples have been asked for, then wait for those in flight."""
        wanted = 0
        for each in (self, *self.extra_samples):
            wanted += each.n
            if state.asked < wanted:
                samples = min(self.batch, wanted - state.asked)
                return Move(kind=each.moves, agent=each.agent, samples=samples)
        return Stop("exhausted", f"{wanted} samples made") if state.ended == wanted else Wait()
