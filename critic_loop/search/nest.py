"""Searches inside searches: `[{kind="sample", n=8}, {kind="refine"}]` refines each of eight drafts.

The outer search asks for the roots; below each root an inner search of its own goes on, as if the
root were its first attempt. Tests are nobody's draft, and stand for themselves. Knows nothing of what the two
searches are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from critic_loop.core.errors import SearchError
from critic_loop.core.protocols import AnySearch, Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt, Task
from critic_loop.core.tree import Tree
from critic_loop.search.base import alternatives, require_known
from critic_loop.search.modifiers import Modified


@dataclass(slots=True)
class NestState:
    """The outer state, and an inner one for each root."""

    task: Task
    outer: Any
    inner: dict[str, Any] = field(default_factory=dict[str, Any])
    root_of: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Nest:
    """`outer` asks for roots, `inner` works below each.

    An inner search has one root, and no other draft: where it has a setting `roots`, that is 1. One that must
    have drafts (`sample`, `ab-mcts`, `map-elites` before its `seeds`) ends with the first that it asks for.
    """

    outer: AnySearch
    inner: AnySearch

    def __post_init__(self) -> None:
        """Tell the inner search of its one root."""
        object.__setattr__(self, "inner", _rooted(self.inner))

    def start(self, task: Task) -> NestState:
        """Start the outer search; inner ones start with their roots."""
        return NestState(task, self.outer.start(task))

    def fold(self, state: NestState, tree: Tree, record: Ask | Attempt) -> NestState:
        """Tell the outer search of its roots, and each inner one of all below its root."""
        require_known(tree, record)
        if isinstance(record, Ask):
            root = state.root_of[record.parents[0]] if record.parents else record.attempt
            state.root_of[record.attempt] = root
            if not record.parents and record.kind != "tests":
                state.inner[root] = self.inner.start(state.task)
        else:
            root = state.root_of[record.id]
        if not record.parents:
            state.outer = self.outer.fold(state.outer, tree, record)
        if root in state.inner:
            state.inner[root] = self.inner.fold(state.inner[root], tree, record)
        return state

    def ask(self, state: NestState, tree: Tree) -> Move | Wait | Stop:
        """Go on below the roots there are, oldest first; else ask for another root.

        Raises:
            SearchError: the outer search builds on its roots, which is what the inner one is for.
        """
        return next(self.alternatives(state, tree))

    def alternatives(self, state: NestState, tree: Tree) -> Iterator[Move | Wait | Stop]:
        """Yield the moves below each root, oldest first, then the outer search's; else why there is none.

        An inner search that wants a new root (its draft came to nothing) has ended: roots are the outer's.
        """
        ends: list[Wait | Stop] = []
        moves = False
        for said in self._each(state, tree):
            if isinstance(said, Move):
                moves = True
                yield said
            else:
                ends.append(said)
        if not moves:
            yield next((said for said in ends if isinstance(said, Wait)), ends[0])

    def _each(self, state: NestState, tree: Tree) -> Iterator[Move | Wait | Stop]:
        for root, inner in state.inner.items():
            for said in alternatives(self.inner, inner, tree):
                if not isinstance(said, Move) or said.parents:
                    yield said
                elif root in tree and tree[root].status == "complete":
                    yield Stop("exhausted", f"below {root} another draft was wanted")
        outer = self.outer.ask(state.outer, tree)
        if isinstance(outer, Move) and outer.parents:
            raise SearchError(
                f"{type(self.outer).__name__} stands around another search but builds on its own attempts.",
                hint="Put a search that only asks for roots, such as sample, first.",
            )
        yield outer


def _rooted(search: AnySearch) -> AnySearch:
    """Return a search for the place below a root: its `roots`, where it has such a setting, are 1."""
    match search:
        case Nest():
            return replace(search, outer=_rooted(search.outer))
        case Modified():
            return replace(search, inner=_rooted(search.inner))
        case _ if is_dataclass(search) and not isinstance(search, type):
            return replace(search, roots=1) if "roots" in [f.name for f in fields(search)] else search
        case _:
            return search
