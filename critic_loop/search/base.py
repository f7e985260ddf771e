"""The front door: a plain function of the tree becomes a search.

    @cl.search
    def widen(tree: Tree, *, width: int = 4) -> Move | Wait | Stop: ...

    Loop(search=widen)            # defaults
    Loop(search=widen(width=8))   # settings

Such a function keeps no state; `Search` with `start` and `fold` is the optimisation.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from critic_loop.core.errors import ConfigError, SearchError, boundary
from critic_loop.core.protocols import AnySearch, Move, Stop, Wait
from critic_loop.core.records import UNFINISHED, Ask, Attempt, AttemptKind, Task
from critic_loop.core.tree import Tree

S = TypeVar("S")
SearchFn = Callable[..., Move | Wait | Stop]


def require_known(tree: Tree, record: Ask | Attempt) -> None:
    """Refuse a record about an attempt that the tree never asked for.

    Raises:
        SearchError: its id is unknown.
    """
    attempt_id = record.attempt if isinstance(record, Ask) else record.id
    if attempt_id not in tree.asks:
        raise SearchError(f"attempt {attempt_id!r} is unknown to tree {tree.id!r}.")
    if isinstance(record, Ask):
        for parent in record.parents:
            if parent not in tree.asks:
                raise SearchError(f"attempt {parent!r} is unknown to tree {tree.id!r}.")


def extensible(attempt: Attempt, moves: AttemptKind) -> bool:
    """Whether a search that makes such `moves` may build on this: it came to something, and ended no answer."""
    ended = moves in UNFINISHED and (attempt.answer is not None or not attempt.unfinished)
    return attempt.status == "complete" and not ended


def written(attempt: Attempt) -> str:
    """Return what its actor wrote last."""
    return next((m.text for m in reversed(attempt.messages) if m.role == "assistant"), "")


def state_in(attempt: Attempt, pattern: str) -> str | None:
    """Return all that a pattern finds in an answer so far (or its first group), sorted; None if nothing."""
    found = [m[min(m.re.groups, 1)] for m in re.finditer(pattern, written(attempt))]
    return "\n".join(sorted(found)) if found else None


def require_pattern(state: str) -> None:
    """Refuse a pattern that cannot be read.

    Raises:
        ValueError: it is no regular expression.
    """
    try:
        re.compile(state)
    except re.error as error:
        raise ValueError(f"state {state!r} is no regular expression: {error}") from error


@runtime_checkable
class Several(Protocol):
    """A search made of others, which may have more than one move to offer."""

    def alternatives(self, state: Any, tree: Tree) -> Iterator[Move | Wait | Stop]:
        """Yield the moves it could make now, the one it would make first; a Wait or a Stop only alone."""
        ...


@runtime_checkable
class Modifier(Protocol[S]):
    """What changes a search: a state of its own, and two places to step in. Pure, as searches are."""

    def begin(self) -> S:
        """Return its state for a tree without attempts."""
        ...

    def note(self, state: S, tree: Tree, record: Ask | Attempt) -> Ask | Attempt | None:
        """Take note of a record, in `state`; return what the search is told of it, None = nothing."""
        ...

    def change(self, state: S, tree: Tree, said: Move | Wait | Stop) -> Move | Wait | Stop:
        """Return what is done in place of what the search said. Changes no state."""
        ...


def alternatives(search: AnySearch, state: Any, tree: Tree) -> Iterator[Move | Wait | Stop]:
    """Yield what a search could do now, what it would do first."""
    if isinstance(search, Several):
        yield from search.alternatives(state, tree)
    else:
        yield search.ask(state, tree)


@dataclass(frozen=True)
class FunctionSearch:
    """A stateless search made of a function of the tree."""

    function: SearchFn
    settings: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def name(self) -> str:
        """What errors call it."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def __repr__(self) -> str:
        """Return the same text in every process: a tree's digest holds it."""
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in sorted(self.settings.items()))})"

    def __call__(self, **settings: Any) -> FunctionSearch:
        """Return the same search with other settings.

        Raises:
            ConfigError: the function has no such setting.
        """
        parameters = inspect.signature(self.function).parameters.values()
        known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        if unknown := set(settings) - set(known):
            has = ", ".join(known) or "none"
            raise ConfigError(f"search {self.name!r} has no setting {min(unknown)!r}; it has {has}.")
        return FunctionSearch(self.function, {**self.settings, **settings})

    def start(self, task: Task) -> None:
        """Keep nothing."""

    def fold(self, state: None, tree: Tree, record: Ask | Attempt) -> None:  # noqa: ARG002
        """Keep nothing."""
        require_known(tree, record)

    def ask(self, state: None, tree: Tree) -> Move | Wait | Stop:  # noqa: ARG002
        """Ask the function.

        Raises:
            SearchError: it raised, or returned something else.
        """
        with boundary(SearchError, f"search {self.name!r}"):
            answer = cast("object", self.function(tree, **self.settings))
        if not isinstance(answer, Move | Wait | Stop):
            raise SearchError(
                f"search {self.name!r} returned {answer!r}.", hint="Return a Move, a Wait or a Stop."
            )
        return answer


def search(function: SearchFn) -> FunctionSearch:
    """Make a search of a function `(tree, *, settings...) -> Move | Wait | Stop`."""
    return FunctionSearch(function)
