"""A plain function of the tree becomes a search.

    @cl.search
    def widen(tree: Tree, *, width: int = 4) -> Move | Wait | Stop: ...

    Loop(search=widen)            # defaults
    Loop(search=widen(width=8))   # settings

Such a function keeps no state between calls. A class with `start` and `fold` (`core.protocols.Search`) does,
which makes it faster on large trees.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from critic_loop.core.errors import ConfigError, SearchError, boundary
from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt, Task
from critic_loop.core.tree import Tree
from critic_loop.search.base import require_known, require_move

SearchFn = Callable[..., Move | Wait | Stop]


@dataclass(frozen=True)
class FunctionSearch:
    """A stateless search made of a function of the tree."""

    function: SearchFn
    settings: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def name(self) -> str:
        """The function's name, for error messages."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def __repr__(self) -> str:
        """Return a text without addresses, the same in every process."""
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
        """Call the function.

        Raises:
            SearchError: it raised, or returned something else.
        """
        with boundary(SearchError, f"search {self.name!r}"):
            answer = cast("object", self.function(tree, **self.settings))
        return require_move(answer, self)


def search(function: SearchFn) -> FunctionSearch:
    """Make a search of a function `(tree, *, settings...) -> Move | Wait | Stop`."""
    return FunctionSearch(function)
