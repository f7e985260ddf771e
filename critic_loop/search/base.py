"""What searches have in common: checks of records, keys of attempts, exact sums, modifiers. Knows no search."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar, runtime_checkable

from critic_loop.core.errors import SearchError
from critic_loop.core.protocols import AnySearch, Move, Stop, Wait
from critic_loop.core.records import UNFINISHED, Ask, Attempt, AttemptKind
from critic_loop.core.tree import Tree

S = TypeVar("S")
_GRAIN = 1 << 30


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


def require_move(given: object, search: object) -> Move | Wait | Stop:
    """Return what a search proposes.

    Raises:
        SearchError: it is no Move, Wait or Stop, or a Move of no attempt.
    """
    name = getattr(search, "name", type(search).__name__)
    if not isinstance(given, Move | Wait | Stop):
        raise SearchError(f"search {name!r} returned {given!r}.", hint="Return a Move, a Wait or a Stop.")
    if isinstance(given, Move) and given.samples < 1:
        raise SearchError(f"search {name!r} asks for {given.samples} attempts.", hint="Ask for 1 or more.")
    return given


def extensible(attempt: Attempt, moves: AttemptKind) -> bool:
    """Whether a search that makes such `moves` may build on an attempt: it did not fail, and ends no answer."""
    ended = moves in UNFINISHED and (attempt.answer is not None or not attempt.unfinished)
    return attempt.status == "complete" and not ended


def last_text(attempt: Attempt) -> str:
    """Return the last text that the actor wrote; empty if there is none."""
    return next((m.text for m in reversed(attempt.messages) if m.role == "assistant"), "")


def state_key(attempt: Attempt, pattern: str) -> str | None:
    """Return all matches of a pattern (or of its first group) in an answer so far, sorted; None without any."""
    found = [m[min(m.re.groups, 1)] for m in re.finditer(pattern, last_text(attempt))]
    return "\n".join(sorted(found)) if found else None


def require_pattern(state: str) -> None:
    """Refuse a pattern that is no regular expression.

    Raises:
        ValueError: it is none.
    """
    try:
        re.compile(state)
    except re.error as error:
        raise ValueError(f"state {state!r} is no regular expression: {error}") from error


@runtime_checkable
class HasAlternatives(Protocol):
    """A search made of others, which may have several moves to choose from."""

    def alternatives(self, state: Any, tree: Tree) -> Iterator[Move | Wait | Stop]:
        """Yield the possible moves, the preferred one first; a Wait or a Stop only if there is no move."""
        ...


@runtime_checkable
class Modifier(Protocol[S]):
    """Changes another search: the records that it folds, and the moves that are made. Pure, as searches are."""

    def begin(self) -> S:
        """Return the modifier's state for a tree without attempts."""
        ...

    def note(self, state: S, tree: Tree, record: Ask | Attempt) -> Ask | Attempt | None:
        """Update `state` with a record; return the record that the search folds in its place, None for none."""
        ...

    def change(self, state: S, tree: Tree, proposal: Move | Wait | Stop) -> Move | Wait | Stop:
        """Return what is done in place of the search's proposal. Changes no state."""
        ...


def alternatives(search: AnySearch, state: Any, tree: Tree) -> Iterator[Move | Wait | Stop]:
    """Yield what a search could do now, its preference first."""
    if isinstance(search, HasAlternatives):
        yield from search.alternatives(state, tree)
    else:
        yield search.ask(state, tree)


def exact(amount: float) -> float:
    """Return the nearest multiple of 2^-30. Sums of these below 2^23 do not depend on the order of adding."""
    return round(amount * _GRAIN) / _GRAIN
