"""Searches inside searches: `[{kind="sample", n=8}, {kind="refine"}]` refines each of eight drafts.

The outer search asks for the roots; below each root an inner search of its own goes on, as if the
root were its first attempt. Knows nothing of what the two are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from critic_loop.core.errors import SearchError
from critic_loop.core.protocols import AnySearch, Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt, Task
from critic_loop.core.tree import Tree
from critic_loop.search.base import require_known


@dataclass(slots=True)
class NestState:
    """The outer state, and an inner one for each root."""

    task: Task
    outer: Any
    inner: dict[str, Any] = field(default_factory=dict[str, Any])
    root_of: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Nest:
    """`outer` asks for roots, `inner` works below each."""

    outer: AnySearch
    inner: AnySearch

    def start(self, task: Task) -> NestState:
        """Start the outer search; inner ones start with their roots."""
        return NestState(task, self.outer.start(task))

    def fold(self, state: NestState, tree: Tree, record: Ask | Attempt) -> NestState:
        """Tell the outer search of its roots, and each inner one of all below its root."""
        require_known(tree, record)
        if isinstance(record, Ask):
            root = state.root_of[record.parents[0]] if record.parents else record.attempt
            state.root_of[record.attempt] = root
            if not record.parents:
                state.inner[root] = self.inner.start(state.task)
        else:
            root = state.root_of[record.id]
        if not record.parents:
            state.outer = self.outer.fold(state.outer, tree, record)
        state.inner[root] = self.inner.fold(state.inner[root], tree, record)
        return state

    def ask(self, state: NestState, tree: Tree) -> Move | Wait | Stop:
        """Go on below the roots there are, oldest first; else ask for another root.

        An inner search that wants a new root (its draft came to nothing) has ended: roots are the outer's.

        Raises:
            SearchError: the outer search builds on its roots, which is what the inner one is for.
        """
        answers = [self.inner.ask(inner, tree) for inner in state.inner.values()]
        for answer in answers:
            if isinstance(answer, Move) and answer.parents:
                return answer
        outer = self.outer.ask(state.outer, tree)
        if isinstance(outer, Move):
            if outer.parents:
                raise SearchError(
                    f"{type(self.outer).__name__} stands around another search but builds on its own attempts.",
                    hint="Put a search that only asks for roots, such as sample, first.",
                )
            return outer
        if isinstance(outer, Wait) or any(isinstance(answer, Wait) for answer in answers):
            return Wait()
        return next((answer for answer in answers if isinstance(answer, Stop)), outer)
