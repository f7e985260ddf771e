"""A tree as `metrics.why` looks at it: what was chosen, what is known of it, what was heard when.

Knows records and truth. Does not know causes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

from critic_loop.core.records import Ask, Attempt, Event, Feedback, Outcome, Record, Verdict
from critic_loop.core.tree import Tree
from critic_loop.evidence import UNKNOWN, Truth, told_right, truths_of


@dataclass(frozen=True)
class Case:
    """A tree with what may be asked of it, each found once. Ids that are unknown raise `KeyError`."""

    tree: Tree

    @cached_property
    def outcome(self) -> Outcome | None:
        """How the tree ended, if it did; one after which the loop went on is none any more."""
        return None if any(isinstance(r, Ask | Attempt) for r in self._since) else self.tree.outcome

    @cached_property
    def error(self) -> str:
        """What ended the tree, where that was an error and the loop has not gone on since."""
        for record in reversed(self.tree.log):
            if isinstance(record, Ask | Attempt | Outcome):
                break
            if isinstance(record, Event) and record.kind == "error":
                return record.text
        return ""

    @cached_property
    def heard(self) -> bool:
        """Whether a parked tree has the words that it waited for, and has not gone on yet."""
        ended = self.tree.outcome
        was_parked = ended is not None and ended.stop == "parked"
        return was_parked and self.outcome is None and not self.waiting and not self.went_on

    @cached_property
    def went_on(self) -> bool:
        """Whether moves were asked for after the latest outcome."""
        return any(isinstance(record, Ask) for record in self._since)

    @cached_property
    def waiting(self) -> tuple[Attempt, ...]:
        """Attempts that wait for a person's word."""
        return tuple(a for a in self.tree if a.status == "parked")

    @cached_property
    def _since(self) -> tuple[Record, ...]:
        """What was written after the latest outcome."""
        if self.tree.outcome is None:
            return ()
        after = takewhile(lambda record: not isinstance(record, Outcome), reversed(self.tree.log))
        return tuple(after)

    @cached_property
    def chosen(self) -> Attempt | None:
        """What the loop gave as its answer."""
        chosen = None if self.outcome is None else self.outcome.chosen
        return None if chosen is None else self.tree[chosen]

    @cached_property
    def stops(self) -> frozenset[str]:
        """Names of the rules that ended the loop (several may have to agree)."""
        return frozenset((self.outcome.stop if self.outcome else "").split("+"))

    @cached_property
    def finals(self) -> tuple[Attempt, ...]:
        """Attempts that could have been the answer: of the chosen one's kind, and complete or unreadable."""
        partial = ("step", "thought", "tests")
        kinds = {self.chosen.kind} if self.chosen else {a.kind for a in self.tree if a.kind not in partial}
        return tuple(a for a in self.tree if a.kind in kinds and (a.status == "complete" or is_unread(a)))

    @cached_property
    def unread(self) -> tuple[Attempt, ...]:
        """Answers that could not be read."""
        return tuple(a for a in self.finals if a.error_code)

    @cached_property
    def read(self) -> tuple[Attempt, ...]:
        """Answers that could be read."""
        return tuple(a for a in self.finals if not a.error_code)

    @cached_property
    def truths(self) -> dict[str, Truth]:
        """What is known of each readable answer."""
        return truths_of(self.tree, self.read)

    def right(self, attempt: Attempt | None) -> bool | None:
        """Whether an attempt is right; None if nobody knows, or it cannot be read."""
        return self.truths.get(attempt.id, UNKNOWN).right if attempt else None

    @cached_property
    def at(self) -> dict[str, int]:
        """Where in the log a move was asked for and a feedback was said; the outcome's place under ``."""
        places: dict[str, int] = {}
        for place, record in enumerate(self.tree.log):
            match record:
                case Ask():
                    places[record.attempt] = place
                case Feedback():
                    places[record.id] = place
                case Outcome():
                    places[""] = place
                case _:
                    pass
        return places

    @cached_property
    def said(self) -> dict[str, list[Feedback]]:
        """All that was ever said about one attempt or a part of it, taken back or not; no grades."""
        said: dict[str, list[Feedback]] = defaultdict(list)
        for feedback in self.tree.feedback.values():
            subject = feedback.subject
            if subject is not None and len(subject.attempts) == 1:
                said[subject.attempts[0]].append(feedback)
        return said

    @cached_property
    def taken_back_at(self) -> dict[str, int]:
        """Where in the log a feedback was superseded."""
        all_said = self.tree.feedback.values()
        return {f.supersedes: self.at[f.id] for f in reversed(list(all_said)) if f.supersedes is not None}

    def obeyed_before(self, attempt_id: str, place: int) -> list[Feedback]:
        """Return what the loop had heard about an attempt, and obeyed, at a place in the log."""
        return [
            f
            for f in self.said[attempt_id]
            if not f.advisory and self.at[f.id] < place <= self.taken_back_at.get(f.id, place)
        ]

    def known_right_then(self, *attempts: str) -> bool:
        """Whether somebody who can know had said in time that an answer is right, and none that it is wrong."""
        heard = [f for attempt in attempts for f in self.obeyed_before(attempt, self.at[""])]
        return told_right(heard)

    @cached_property
    def only_accepted(self) -> bool:
        """Whether an opinion accepted the chosen answer, and nobody who can know has spoken of it."""
        if self.chosen is None or self.outcome is None or self.right(self.chosen) is not None:
            return False
        heard = self.obeyed_before(self.chosen.id, self.at[""])
        return any(f.verdict is Verdict.PASS for f in heard)


def is_unread(attempt: Attempt) -> bool:
    """Whether something was written that could not be read as an answer."""
    return attempt.settled and attempt.error_code == "output"
