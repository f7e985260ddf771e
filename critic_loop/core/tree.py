"""The tree that a loop writes and everything else reads.

Append-only: `append` is the only way in, and it refuses what does not fit. Look-ups are O(1) or
O(depth); 10^5 attempts are normal. Knows records and their relations, and keeps grades apart from all other
feedback, because nothing that steers a loop may read them. Does not know what an attempt is worth or what is
right (`evidence/`), nor how trees are kept (`store/`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from critic_loop.core.errors import NoSuchAttempt, StoreError
from critic_loop.core.records import (
    NOT_SENT,
    Ask,
    Attempt,
    Call,
    Event,
    Feedback,
    Head,
    Outcome,
    Place,
    Record,
    Reply,
    Spend,
    Subject,
    Task,
    Usage,
)


class Tree:
    """All records of one run of one task, in the order in which they were written."""

    def __init__(self, head: Head) -> None:
        """Start a tree with its first record."""
        self.head = head
        """What was to be done, and by which recipe."""
        self.log: list[Record] = [head]
        """All records, in the order in which they were written."""
        self.asks: dict[str, Ask] = {}
        """Every move that was asked for, by its attempt's id."""
        self.attempts: dict[str, Attempt] = {}
        """Latest version of each attempt, in the order of first arrival."""
        self.feedback: dict[str, Feedback] = {}
        """All feedback by its id, what was superseded included; grades are not among it."""
        self.grades: dict[str, Feedback] = {}
        """Grades by id, with all feedback that is about a grade, rests on one or supersedes one."""
        self.calls: dict[str, Call] = {}
        """Model calls as sent, by id."""
        self.replies: dict[str, Reply] = {}
        """How calls ended, by the call's id; calls in flight have none."""
        self.events: list[Event] = []
        """Swaps, stops, errors."""
        self.outcome: Outcome | None = None
        """How it ended; the latest, if it was resumed."""
        self.open: dict[str, Ask] = {}
        """Asks whose attempt is not settled: the moves in flight."""
        self._children: dict[str, list[str]] = {}
        self._roots: list[str] = []
        self._depth: dict[str, int] = {}
        self._about: dict[str, list[Feedback]] = {}
        self._superseded: set[str] = set()
        self._graded: dict[str, list[Feedback]] = {}
        self._superseded_by_grades: set[str] = set()
        self._by_place: dict[Place, list[Call]] = {}
        self._billed = [0, 0, 0, 0]
        self._not_sent = 0
        self._sent_again = 0

    @classmethod
    def of(cls, records: Iterable[Record]) -> Tree:
        """Return the tree that `records`, head first, add up to."""
        each = iter(records)
        head = next(each, None)
        if not isinstance(head, Head):
            raise StoreError("a tree begins with its head record")
        tree = cls(head)
        for record in each:
            tree.append(record)
        return tree

    # -- identity ------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The tree's id."""
        return self.head.tree

    @property
    def task(self) -> Task:
        """What is to be done."""
        return self.head.task

    def __len__(self) -> int:
        """Return the number of attempts."""
        return len(self.attempts)

    def __repr__(self) -> str:
        return f"Tree({self.id!r}, recipe={self.head.recipe!r}, attempts={len(self.attempts)})"

    # -- writing -------------------------------------------------------------------------------

    def next_attempt_id(self) -> str:
        """Return the id for the next attempt asked for."""
        return f"{self.id}.{len(self.asks) + 1}"

    def next_feedback_id(self) -> str:
        """Return the id for the next feedback that is no grade."""
        number = len(self.feedback) + 1
        while self._has(f"{self.id}.f{number}"):
            number += 1
        return f"{self.id}.f{number}"

    def next_grade_id(self) -> str:
        """Return the id for the next grade.

        Ids of grades begin with `u`, as those of late feedback do: a run does not see grades, and gives its own
        feedback ids that begin with `f`.
        """
        return f"{self.id}.u{len(self.feedback) + len(self.grades) + 1}"

    def append(self, record: Record) -> None:
        """Add `record` and index it.

        Raises:
            StoreError: it names an unknown id, or settles or asks for something twice.
        """
        match record:
            case Ask():
                self._append_ask(record)
            case Attempt():
                self._append_attempt(record)
            case Feedback():
                self._append_feedback(record)
            case Call():
                self._require(record.id not in self.calls, f"call {record.id!r} exists already")
                self.calls[record.id] = record
                self._by_place.setdefault(record.place, []).append(record)
            case Reply():
                self._require(record.call in self.calls, f"reply to unknown call {record.call!r}")
                self.replies[record.call] = record
                self._bill(record.usage)
                self._sent_again += record.sends - 1
                self._not_sent += record.error_code == NOT_SENT
            case Event():
                self.events.append(record)
            case Outcome():
                self._require(
                    record.chosen is None or record.chosen in self.attempts,
                    f"outcome chose unknown attempt {record.chosen!r}",
                )
                self.outcome = record
            case _:  # a head
                raise StoreError(f"tree {self.id!r} has a head already")
        self.log.append(record)

    def _append_ask(self, ask: Ask) -> None:
        self._require(ask.attempt not in self.asks, f"attempt {ask.attempt!r} was asked for already")
        for parent in ask.parents:
            self._require(parent in self.asks, f"ask {ask.attempt!r} names unknown parent {parent!r}")
        self.asks[ask.attempt] = self.open[ask.attempt] = ask
        self._children[ask.attempt] = []
        self._depth[ask.attempt] = 1 + max((self._depth[p] for p in ask.parents), default=-1)
        for parent in ask.parents:
            self._children[parent].append(ask.attempt)
        if not ask.parents:
            self._roots.append(ask.attempt)

    def _append_attempt(self, attempt: Attempt) -> None:
        ask = self.asks.get(attempt.id)
        if ask is None:
            raise StoreError(f"attempt {attempt.id!r} was never asked for")
        self._require(attempt.parents == ask.parents, f"attempt {attempt.id!r} has other parents than its ask")
        known = self.attempts.get(attempt.id)
        self._require(known is None or not known.settled, f"attempt {attempt.id!r} is settled already")
        self.attempts[attempt.id] = attempt
        if attempt.settled:
            del self.open[attempt.id]

    def _append_feedback(self, feedback: Feedback) -> None:
        subject = feedback.subject
        if subject is None or not feedback.id:
            raise StoreError("feedback in a tree has an id and a subject")
        self._require(not self._has(feedback.id), f"feedback {feedback.id!r} exists already")
        for attempt in subject.attempts:
            self._require(
                attempt in self.asks, f"feedback {feedback.id!r} is about unknown attempt {attempt!r}"
            )
        if subject.feedback is not None:
            self._require_feedback(feedback, "is about", subject.feedback)
        if feedback.supersedes is not None:
            self._require_feedback(feedback, "supersedes", feedback.supersedes)
        for earlier in feedback.rests_on:
            self._require_feedback(feedback, "rests on", earlier)
        if feedback.source == "grader" or (self.grades and self._uses_grade(feedback)):
            self._add_grade(feedback, subject)
            return
        self.feedback[feedback.id] = feedback
        if feedback.supersedes is not None:
            self._superseded.add(feedback.supersedes)
        for key in subject.attempts or (subject.feedback or "",):
            self._about.setdefault(key, []).append(feedback)
            if key in self._graded:
                self._graded[key].append(feedback)

    def _add_grade(self, feedback: Feedback, subject: Subject) -> None:
        """Add a grade where no other index sees it, not even as what supersedes other feedback."""
        self.grades[feedback.id] = feedback
        if feedback.supersedes is not None:
            self._superseded_by_grades.add(feedback.supersedes)
        for key in subject.attempts or (subject.feedback or "",):
            self._graded.setdefault(key, list(self._about.get(key, ()))).append(feedback)

    def _uses_grade(self, feedback: Feedback) -> bool:
        about = feedback.subject.feedback if feedback.subject else None
        return any(i in self.grades for i in (about, feedback.supersedes, *feedback.rests_on))

    def _has(self, feedback_id: str) -> bool:
        return feedback_id in self.feedback or feedback_id in self.grades

    def _require_feedback(self, feedback: Feedback, relation: str, other: str) -> None:
        self._require(self._has(other), f"feedback {feedback.id!r} {relation} unknown feedback {other!r}")

    def _require(self, holds: object, otherwise: str) -> None:
        if not holds:
            raise StoreError(f"tree {self.id!r}: {otherwise}")

    # -- reading -------------------------------------------------------------------------------

    def __getitem__(self, attempt_id: str) -> Attempt:
        """Return an attempt.

        Raises:
            NoSuchAttempt: there is none of this id.
        """
        attempt = self.attempts.get(attempt_id)
        if attempt is None:
            raise NoSuchAttempt(f"tree {self.id!r} has no attempt {attempt_id!r}")
        return attempt

    def __contains__(self, attempt_id: object) -> bool:
        return attempt_id in self.attempts

    def __iter__(self) -> Iterator[Attempt]:
        """Iterate over the attempts in the order of first arrival."""
        return iter(self.attempts.values())

    @property
    def roots(self) -> tuple[str, ...]:
        """Ids of the moves without parents, in the order of asking."""
        return tuple(self._roots)

    def children(self, attempt_id: str) -> tuple[str, ...]:
        """Return the ids of the moves asked for below `attempt_id`, in the order of asking."""
        return tuple(self._children[attempt_id])

    def depth(self, attempt_id: str) -> int:
        """Return the number of moves above `attempt_id` on its longest path."""
        return self._depth[attempt_id]

    def path(self, attempt_id: str) -> tuple[str, ...]:
        """Return the ids from the root to `attempt_id`, along first parents."""
        path = [attempt_id]
        while parents := self.asks[path[-1]].parents:
            path.append(parents[0])
        return tuple(reversed(path))

    def about(self, subject_id: str) -> tuple[Feedback, ...]:
        """Return the valid feedback on an attempt (alone or among others) or on a feedback; no grades."""
        found = self._about.get(subject_id, ())
        return tuple(f for f in found if f.id not in self._superseded)

    def judgements(self, attempt_id: str) -> tuple[Feedback, ...]:
        """Return the valid feedback on this attempt as a whole, alone, that loops act upon; no grades."""
        found, superseded = self._about.get(attempt_id, ()), self._superseded
        return tuple([f for f in found if not f.advisory and f.id not in superseded and _whole(f.subject)])

    def grades_on(self, subject_id: str) -> tuple[Feedback, ...]:
        """Return the grades on an attempt (alone or among others) or on a feedback, still valid.

        With them stands all feedback there that rests on a grade or supersedes one. Only what measures may read
        this. A loop that runs is handed a tree without any.
        """
        found = self._graded.get(subject_id, ())
        return tuple(f for f in found if f.id in self.grades and f.id not in self._superseded_by_grades)

    def all_about(self, subject_id: str) -> tuple[Feedback, ...]:
        """Return what `about` and `grades_on` return, in the order of arrival; what a grade superseded is gone.

        For readers that measure, as `grades_on` is.
        """
        found = self._graded.get(subject_id)
        if found is None:
            return self.about(subject_id)
        gone, gone_by_grades = self._superseded, self._superseded_by_grades
        return tuple(f for f in found if f.id not in gone and f.id not in gone_by_grades)

    def without_grades(self) -> Tree:
        """Return this tree without its grades, for a loop to work on: a copy, or itself where it has none."""
        if not self.grades:
            return self
        grades = self.grades
        return Tree.of(r for r in self.log if not (isinstance(r, Feedback) and r.id in grades))

    def calls_at(self, place: Place) -> tuple[Call, ...]:
        """Return the calls ever sent from `place`, oldest first."""
        return tuple(self._by_place.get(place, ()))

    def spend(self) -> Spend:
        """Return the calls sent, retries included, and tokens billed so far."""
        given, cached, made, thought = self._billed
        usage = Usage(
            input_tokens=given, cached_input_tokens=cached, output_tokens=made, reasoning_tokens=thought
        )
        return Spend(calls=len(self.calls) - self._not_sent + self._sent_again, usage=usage)

    def _bill(self, usage: Usage) -> None:
        self._billed[0] += usage.input_tokens
        self._billed[1] += usage.cached_input_tokens
        self._billed[2] += usage.output_tokens
        self._billed[3] += usage.reasoning_tokens


def _whole(subject: Subject | None) -> bool:
    return subject is not None and subject.location is None and len(subject.attempts) == 1
