"""How the trees of a store are listed and found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from critic_loop.core.errors import ConfigError
from critic_loop.core.progress import ENDED_BY_HAND

TreeState = Literal["unfinished", "parked", "interrupted", "ended"]
"""Whether a tree has no outcome yet, waits for a person's feedback, was interrupted or stopped by hand, or has
ended otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeInfo:
    """A tree in a listing."""

    id: str
    task: str
    """The task's id."""
    title: str = ""
    """The first line of the task's text, shortened and printable."""
    tags: tuple[str, ...] = ()
    """The task's tags."""
    recipe: str
    created_at: float
    """Seconds since the epoch."""
    attempts: int
    stop: str | None
    """The stop reason of its outcome; None while it has none, or was resumed after it."""

    @property
    def state(self) -> TreeState:
        """Its state, by its stop reason."""
        match self.stop:
            case None:
                return "unfinished"
            case "parked":
                return "parked"
            case stop:
                return "interrupted" if stop in ENDED_BY_HAND else "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeQuery:
    """Which trees are wanted: those that fulfil all that is given, newest first."""

    recipe: str | None = None
    task: str | None = None
    """The task's id."""
    tag: str | None = None
    state: TreeState | None = None
    before: str | None = None
    """Only trees that are older in the store than the tree of this id: the last one of the page before."""
    limit: int = 20
    """How many at most; at least 1."""

    def __post_init__(self) -> None:
        """Check the limit.

        Raises:
            ConfigError: it is below 1.
        """
        if self.limit < 1:
            raise ConfigError(f"the limit of a listing is at least 1, not {self.limit}.")

    def matches(self, tree: TreeInfo) -> bool:
        """Return whether a tree fulfils the filters; its place is not looked at."""
        return (
            self.recipe in (None, tree.recipe)
            and self.task in (None, tree.task)
            and (self.tag is None or self.tag in tree.tags)
            and self.state in (None, tree.state)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TreePage:
    """Some of the trees that a query finds."""

    trees: tuple[TreeInfo, ...]
    total: int
    """How many fulfil the filters, on all pages."""
    more: bool
    """Whether older ones follow."""
