"""The facts that `metrics.why` decides by: what was chosen, what is right, which feedback came when."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

from critic_loop.core.records import Ask, Attempt, Event, Feedback, Outcome, Record, Verdict
from critic_loop.core.tree import Tree
from critic_loop.evidence import UNKNOWN, Truth, told_right, truths_of


@dataclass(frozen=True)
class Facts:
    """A tree and the facts about it, each computed once. Unknown ids raise `KeyError`."""

    tree: Tree

    @cached_property
    def outcome(self) -> Outcome | None:
        """The outcome; None while the tree has none, or after the loop was resumed."""
        return None if any(isinstance(r, Ask | Attempt) for r in self._since) else self.tree.outcome

    @cached_property
    def error(self) -> str:
        """The error that ended the tree; empty if none did, or if the loop was resumed since."""
        for record in reversed(self.tree.log):
            if isinstance(record, Ask | Attempt | Outcome):
                break
            if isinstance(record, Event) and record.kind == "error":
                return record.text
        return ""

    @cached_property
    def answered(self) -> bool:
        """Whether a parked tree has all the feedback that it waited for, and was not resumed yet."""
        ended = self.tree.outcome
        was_parked = ended is not None and ended.stop == "parked"
        return was_parked and self.outcome is None and not self.waiting and not self.resumed

    @cached_property
    def resumed(self) -> bool:
        """Whether attempts were begun after the latest outcome."""
        return any(isinstance(record, Ask) for record in self._since)

    @cached_property
    def waiting(self) -> tuple[Attempt, ...]:
        """Attempts that wait for a person's feedback."""
        return tuple(a for a in self.tree if a.status == "parked")

    @cached_property
    def _since(self) -> tuple[Record, ...]:
        """The records after the latest outcome; empty where there is no outcome."""
        if self.tree.outcome is None:
            return ()
        after = takewhile(lambda record: not isinstance(record, Outcome), reversed(self.tree.log))
        return tuple(after)

    @cached_property
    def chosen(self) -> Attempt | None:
        """The attempt that the loop returned as its answer."""
        chosen = None if self.outcome is None else self.outcome.chosen
        return None if chosen is None else self.tree[chosen]

    @cached_property
    def stops(self) -> frozenset[str]:
        """Names of the rules that ended the loop; several where they had to agree."""
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
        """What is known about each answer that could be read."""
        return truths_of(self.tree, self.read)

    def right(self, attempt: Attempt | None) -> bool | None:
        """Whether an attempt is right; None if that is unknown, or it cannot be read."""
        return self.truths.get(attempt.id, UNKNOWN).right if attempt else None

    @cached_property
    def at(self) -> dict[str, int]:
        """The index in the log of each ask (by attempt), each feedback, and the latest outcome (under "")."""
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
    def feedback_on(self) -> dict[str, list[Feedback]]:
        """All feedback on one attempt or a part of it, superseded or not; no grades."""
        feedback_on: dict[str, list[Feedback]] = defaultdict(list)
        for feedback in self.tree.feedback.values():
            subject = feedback.subject
            if subject is not None and len(subject.attempts) == 1:
                feedback_on[subject.attempts[0]].append(feedback)
        return feedback_on

    @cached_property
    def superseded_at(self) -> dict[str, int]:
        """The index in the log at which a feedback was superseded."""
        feedback = self.tree.feedback.values()
        return {f.supersedes: self.at[f.id] for f in reversed(list(feedback)) if f.supersedes is not None}

    def steering_before(self, attempt_id: str, place: int) -> list[Feedback]:
        """Return the feedback on an attempt that was in force at an index of the log, and not advisory."""
        return [
            f
            for f in self.feedback_on[attempt_id]
            if not f.advisory and self.at[f.id] < place <= self.superseded_at.get(f.id, place)
        ]

    def known_right_then(self, *attempts: str) -> bool:
        """Whether evidence before the outcome called an answer right, and none called it wrong."""
        feedback = [f for attempt in attempts for f in self.steering_before(attempt, self.at[""])]
        return told_right(feedback)

    @cached_property
    def only_accepted(self) -> bool:
        """Whether a critic or judge accepted the chosen answer, and it is unknown whether it is right."""
        if self.chosen is None or self.outcome is None or self.right(self.chosen) is not None:
            return False
        feedback = self.steering_before(self.chosen.id, self.at[""])
        return any(f.verdict is Verdict.PASS for f in feedback)


def is_unread(attempt: Attempt) -> bool:
    """Whether something was written that could not be read as an answer."""
    return attempt.settled and attempt.error_code == "output"
