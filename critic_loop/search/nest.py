"""Searches inside searches: `[{kind="sample", n=8}, {kind="refine"}]` refines each of eight drafts.

The outer search asks for the roots. Below each root an inner search of its own continues, as if the root were
its first attempt; attempts of kind `tests` have none. Does not know which searches they are.
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

    An inner search has one root, and no other draft: its setting `roots`, if it has one, becomes 1. A search
    that asks for a second draft (`sample`, `ab-mcts`, `map-elites` before its `seeds`) ends there.
    """

    outer: AnySearch
    inner: AnySearch

    def __post_init__(self) -> None:
        """Set the inner search's `roots` to 1."""
        object.__setattr__(self, "inner", _rooted(self.inner))

    def start(self, task: Task) -> NestState:
        """Start the outer search; inner ones start with their roots."""
        return NestState(task, self.outer.start(task))

    def fold(self, state: NestState, tree: Tree, record: Ask | Attempt) -> NestState:
        """Fold roots into the outer search's state, and all at or below a root into that root's."""
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
        """Continue below the roots, oldest first; else ask for another root.

        Raises:
            SearchError: the outer search builds on its roots; only the inner one may.
        """
        return next(self.alternatives(state, tree))

    def alternatives(self, state: NestState, tree: Tree) -> Iterator[Move | Wait | Stop]:
        """Yield the moves below each root, oldest first, then the outer search's; else one Wait or Stop.

        An inner search that asks for a new root (its draft failed, for example) has ended.
        """
        ends: list[Wait | Stop] = []
        moves = False
        for proposal in self._each(state, tree):
            if isinstance(proposal, Move):
                moves = True
                yield proposal
            else:
                ends.append(proposal)
        if not moves:
            yield next((proposal for proposal in ends if isinstance(proposal, Wait)), ends[0])

    def _each(self, state: NestState, tree: Tree) -> Iterator[Move | Wait | Stop]:
        for root, inner in state.inner.items():
            for proposal in alternatives(self.inner, inner, tree):
                if not isinstance(proposal, Move) or proposal.parents:
                    yield proposal
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
    """Return a search with its setting `roots`, if it has one, at 1; also inside modifiers and nests."""
    match search:
        case Nest():
            return replace(search, outer=_rooted(search.outer))
        case Modified():
            return replace(search, inner=_rooted(search.inner))
        case _ if is_dataclass(search) and not isinstance(search, type):
            return replace(search, roots=1) if "roots" in [f.name for f in fields(search)] else search
        case _:
            return search
