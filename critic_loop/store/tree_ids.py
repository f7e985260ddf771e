"""The ids in a tree that is being written, against which new records are checked.

Knows ids and nothing else of records. An id that a second writer would write twice is rejected before it
is written, so a tree that could be loaded once can always be loaded.
"""

from __future__ import annotations

from collections.abc import Iterable

from critic_loop.core.errors import StoreError, WriteConflict
from critic_loop.core.records import Ask, Attempt, Call, Feedback, Record


class TreeIds:
    """The ids in one tree."""

    __slots__ = ("asked", "calls", "feedback", "settled")

    def __init__(self) -> None:
        """Start empty."""
        self.asked: set[str] = set()
        """Attempts that have an ask."""
        self.settled: dict[str, bool] = {}
        """For each attempt with a record of its own, whether it is settled."""
        self.feedback: set[str] = set()
        self.calls: set[str] = set()

    def add(self, record: Record) -> None:
        """Add the id of a record.

        Raises:
            WriteConflict: the id exists already, or the attempt is settled.
        """
        if record.type == "call":  # by name: `isinstance` is slow on models, and this is done for every record
            _require(record.id not in self.calls, "call", record.id, "exists already")
            self.calls.add(record.id)
        elif record.type == "ask":
            _require(record.attempt not in self.asked, "attempt", record.attempt, "was asked for already")
            self.asked.add(record.attempt)
        elif record.type == "attempt":
            _require(not self.settled.get(record.id), "attempt", record.id, "is settled already")
            self.settled[record.id] = record.settled
        elif record.type == "feedback":
            _require(record.id not in self.feedback, "feedback", record.id, "exists already")
            self.feedback.add(record.id)

    def remove(self, record: Record, *, before: bool | None) -> None:
        """Undo the last `add`.

        Args:
            record: the record that was added last.
            before: the value in `settled` before that, if it is an attempt; None = there was none.
        """
        match record:
            case Call():
                self.calls.discard(record.id)
            case Ask():
                self.asked.discard(record.attempt)
            case Attempt() if before is None:
                self.settled.pop(record.id)
            case Attempt():
                self.settled[record.id] = before or False
            case Feedback():
                self.feedback.discard(record.id)
            case _:
                pass

    def missing(self, feedback: Feedback) -> list[str]:
        """Return the ids that `feedback` refers to and the tree does not have."""
        subject = feedback.subject
        missing = [i for i in subject.attempts if i not in self.asked] if subject else []
        referred = (subject.feedback if subject else None, feedback.supersedes, *feedback.rests_on)
        return [*missing, *(i for i in referred if i is not None and i not in self.feedback)]


def _require(holds: object, kind: str, name: str, problem: str) -> None:
    if not holds:
        raise WriteConflict(
            f"{kind} {name!r} {problem}.",
            hint="Only one run may write a tree at a time: if another one does, end it, then run again.",
        )


def add_all(ids: TreeIds, tree_id: str, records: Iterable[Record]) -> None:
    """Add the ids of `records` to those of a tree: all of them or none.

    Raises:
        StoreError: a record does not continue the tree.
    """
    added: list[tuple[Record, bool | None]] = []
    try:
        for record in records:
            before = ids.settled.get(record.id) if isinstance(record, Attempt) else None
            ids.add(record)
            added.append((record, before))
    except StoreError as error:
        for record, before in reversed(added):
            ids.remove(record, before=before)
        raise type(error)(f"tree {tree_id!r}: {error.message}", hint=error.hint) from None
