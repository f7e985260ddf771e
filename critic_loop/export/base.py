"""What every target format shares: rows with their provenance, and what was left out and why.

Knows trees. Does not know files (`export.write`) or any trainer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from pydantic import JsonValue

from critic_loop.core.messages import Image
from critic_loop.core.records import Attempt, Feedback
from critic_loop.core.tree import Tree
from critic_loop.evidence import is_whole

Columns = dict[str, JsonValue]

MESSAGE_COLUMNS = ("messages", "prompt", "completion", "chosen", "rejected")
"""Columns that hold a conversation or a part of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One example for a trainer."""

    columns: Columns
    """JSON throughout; `provenance` is always among them."""
    images: tuple[Image, ...] = ()
    """The pictures that the `images` column names, with their bytes, in its order."""
    notes: tuple[str, ...] = ()
    """What a user of the row should know; counted in the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """Something that could have become a row, and the reason why it did not."""

    tree: str
    reason: str
    """A short fixed phrase: reasons are counted."""


@runtime_checkable
class Exporter(Protocol):
    """A target format. Its settings are its fields.

    Pure: a tree gives the same rows whatever other trees stand around it, and all text in a row
    stands in that tree.
    """

    @property
    def name(self) -> str:
        """The name of the format, as in `preference`."""
        ...

    @property
    def when_empty(self) -> str:
        """Why trees give no row at all, as in "no tree has two attempts of different value"."""
        ...

    def rows(self, trees: Iterable[Tree]) -> Iterator[Row | Skip]:
        """Yield the rows of `trees` in their order, one tree at a time."""
        ...


def weighted(made: Iterable[Row | Skip]) -> Iterator[Row | Skip]:
    """Yield what a tree gave, its rows with a `weight`: they share 1, so that long trees do not outweigh."""
    made = list(made)
    count = sum(isinstance(item, Row) for item in made)
    for item in made:
        yield replace(item, columns={**item.columns, "weight": 1.0 / count}) if isinstance(item, Row) else item


def grounds(tree: Tree, *attempts: str) -> list[Feedback]:
    """Return what was said of attempts as a whole, grades included: why they are worth learning, or not."""
    return [f for i in attempts for f in (*tree.judgements(i), *(g for g in tree.grades_on(i) if is_whole(g)))]


def provenance(
    tree: Tree, attempts: Iterable[Attempt], feedback: Iterable[Feedback] = (), *, decided_by: str = ""
) -> dict[str, JsonValue]:
    """Return where a row comes from; always the same keys, so that columnar files have one type.

    Args:
        tree: the tree.
        attempts: whose text the row holds.
        feedback: what the row was chosen by, or holds.
        decided_by: what decided, where the row says that something is better: `evidence`, `judge`, `opinion`.
    """
    attempts, feedback = list(attempts), list(feedback)
    calls = [call for record in (*attempts, *feedback) for call in record.calls]
    task = tree.task
    return {
        "tree": tree.id,
        "attempts": [attempt.id for attempt in attempts],
        "feedback": [item.id for item in feedback],
        "recipe": tree.head.recipe,
        "recipe_digest": tree.head.recipe_digest,
        "task": task.id,
        "source": task.source,
        "license": task.license,
        "language": task.language,
        "models": list[JsonValue](sorted({tree.calls[call].binding for call in calls if call in tree.calls})),
        "decided_by": decided_by,
        "schema_version": tree.head.schema_version,
    }
