"""What a tree that is being written has: enough to tell whether records go on with it.

Knows ids and nothing else of records. What a second writer would write twice is refused here before it
is written, so that a tree which could be read once can always be read.
"""

from __future__ import annotations

from collections.abc import Iterable

from critic_loop.core.errors import StoreError, WriteConflict
from critic_loop.core.records import Ask, Attempt, Call, Feedback, Record


class Known:
    """The ids of one tree."""

    __slots__ = ("arrived", "asked", "calls", "said")

    def __init__(self) -> None:
        """Start empty."""
        self.asked: set[str] = set()
        self.arrived: dict[str, bool] = {}
        """Whether each attempt that arrived is settled."""
        self.said: set[str] = set()
        self.calls: set[str] = set()

    def add(self, record: Record) -> None:
        """Take up a record.

        Raises:
            WriteConflict: its id exists already, or its attempt is settled.
        """
        if record.type == "call":  # by name: `isinstance` is slow on models, and this is done for every record
            _require(record.id not in self.calls, "call", record.id, "exists already")
            self.calls.add(record.id)
        elif record.type == "ask":
            _require(record.attempt not in self.asked, "attempt", record.attempt, "was asked for already")
            self.asked.add(record.attempt)
        elif record.type == "attempt":
            _require(not self.arrived.get(record.id), "attempt", record.id, "is settled already")
            self.arrived[record.id] = record.settled
        elif record.type == "feedback":
            _require(record.id not in self.said, "feedback", record.id, "exists already")
            self.said.add(record.id)

    def drop(self, record: Record, *, before: bool | None) -> None:
        """Forget the record that was added last; `before`: what `arrived` said of an attempt until then."""
        match record:
            case Call():
                self.calls.discard(record.id)
            case Ask():
                self.asked.discard(record.attempt)
            case Attempt() if before is None:
                self.arrived.pop(record.id)
            case Attempt():
                self.arrived[record.id] = before or False
            case Feedback():
                self.said.discard(record.id)
            case _:
                pass

    def missing(self, feedback: Feedback) -> list[str]:
        """Return what `feedback` is about or rests on and the tree does not have."""
        subject = feedback.subject
        missing = [i for i in subject.attempts if i not in self.asked] if subject else []
        said = (subject.feedback if subject else None, feedback.supersedes, *feedback.rests_on)
        return [*missing, *(i for i in said if i is not None and i not in self.said)]


def _require(holds: object, kind: str, name: str, otherwise: str) -> None:
    if not holds:
        raise WriteConflict(
            f"{kind} {name!r} {otherwise}.",
            hint="Does another run write the same tree? Let only one; to go on, end the other and run again.",
        )


def go_on(known: Known, tree_id: str, records: Iterable[Record]) -> None:
    """Take up `records` of a tree: all of them or none.

    Raises:
        StoreError: one does not go on with it.
    """
    taken: list[tuple[Record, bool | None]] = []
    try:
        for record in records:
            before = known.arrived.get(record.id) if isinstance(record, Attempt) else None
            known.add(record)
            taken.append((record, before))
    except StoreError as error:
        for record, before in reversed(taken):
            known.drop(record, before=before)
        raise type(error)(f"tree {tree_id!r}: {error.message}", hint=error.hint) from None
