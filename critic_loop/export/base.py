"""The exporter protocol, and what all target formats share: rows, skipped items and provenance.

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
    """JSON values by column name; `provenance` is always present."""
    images: tuple[Image, ...] = ()
    """The images of the `images` column in its order, with their bytes."""
    notes: tuple[str, ...] = ()
    """Warnings for users of the row, as short fixed phrases: the manifest counts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A candidate that was not exported, and why."""

    tree: str
    reason: str
    """A short fixed phrase: the manifest counts reasons."""


@runtime_checkable
class Exporter(Protocol):
    """A target format. Its settings are its fields.

    An exporter is pure: the rows of a tree do not depend on other trees, and all text in a row is from its
    tree.
    """

    @property
    def name(self) -> str:
        """The format's name, such as `preference`."""
        ...

    @property
    def when_empty(self) -> str:
        """The message for an export without rows, such as "no tree has two attempts of different value"."""
        ...

    def rows(self, trees: Iterable[Tree]) -> Iterator[Row | Skip]:
        """Yield the rows and skipped items of `trees`, tree by tree in their order."""
        ...


def weighted(items: Iterable[Row | Skip]) -> Iterator[Row | Skip]:
    """Yield the items of one tree, with a column `weight` of 1 / (number of rows) in each row.

    So every tree has the same total weight, however many rows it has.
    """
    items = list(items)
    count = sum(isinstance(item, Row) for item in items)
    for item in items:
        yield replace(item, columns={**item.columns, "weight": 1.0 / count}) if isinstance(item, Row) else item


def grounds(tree: Tree, *attempts: str) -> list[Feedback]:
    """Return the feedback on attempts as a whole, grades included: the reasons to learn from them or not."""
    return [f for i in attempts for f in (*tree.judgements(i), *(g for g in tree.grades_on(i) if is_whole(g)))]


def provenance(
    tree: Tree, attempts: Iterable[Attempt], feedback: Iterable[Feedback] = (), *, decided_by: str = ""
) -> dict[str, JsonValue]:
    """Return the origin of a row, always with the same keys, so that columnar files need one type.

    Args:
        tree: the tree.
        attempts: the attempts whose text is in the row.
        feedback: the feedback that selected the row, or whose text is in it.
        decided_by: for preferences, what decided which attempt is better: `evidence`, `judge` or `opinion`.
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
