"""What each attempt of a tree cost, and what it cost with all attempts below it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from critic_loop.core.records import Call, Feedback
from critic_loop.core.tree import Tree


@dataclass(slots=True)
class Counted:
    """What attempts add up to."""

    attempts: int = 0
    own: float = 0.0
    tokens: float = 0.0


@dataclass(slots=True)
class Survey:
    """A tree with what each attempt and those below it cost."""

    tree: Tree
    of: dict[str, Counted] = field(default_factory=dict[str, Counted])
    total: float = 0.0
    unit: str = "tokens"

    def __post_init__(self) -> None:
        """Add up from the leaves to the roots, along first parents."""
        own = _own(self.tree, "tokens")
        if not any(own.values()):
            own, self.unit = _own(self.tree, "calls"), "calls"
        self.of = {i: Counted(1, own[i], own[i]) for i in self.tree.asks}
        for i in reversed(self.tree.asks):  # children come after their parents
            for parent in self.tree.asks[i].parents[:1]:
                self.of[parent].attempts += self.of[i].attempts
                self.of[parent].tokens += self.of[i].tokens
        self.total = sum(own.values())

    def share(self, tokens: float) -> float:
        """Return the share of all tokens, in [0, 1]; of all calls where no tokens were counted."""
        return tokens / self.total if self.total else 0.0

    def parent(self, attempt: str) -> str | None:
        """Return the first parent; None for a root."""
        return next(iter(self.tree.asks[attempt].parents), None)


def _own(tree: Tree, unit: str) -> dict[str, float]:
    """Return what was spent on each attempt itself, feedback on it included; shared calls by equal parts."""
    spent = dict.fromkeys(tree.asks, 0.0)
    made: dict[str, list[str]] = defaultdict(list)
    for attempt in tree:
        for call in attempt.calls:
            made[call].append(attempt.id)
    for call in tree.calls.values():
        about = made.get(call.id) or _about(tree, call)
        for i in about:
            spent[i] += _amount(tree, call, unit) / len(about)
    return spent


def _amount(tree: Tree, call: Call, unit: str) -> float:
    if unit == "calls":
        return 1.0
    reply = tree.replies.get(call.id)
    return 0.0 if reply is None else float(reply.usage.input_tokens + reply.usage.output_tokens)


def _said(tree: Tree, feedback_id: str) -> Feedback | None:
    return tree.feedback.get(feedback_id) or tree.grades.get(feedback_id)


def _about(tree: Tree, call: Call) -> Sequence[str]:
    """Return the attempts that a call was about: one, or several that were compared."""
    about = call.place.subject
    while len(about) == 1 and (feedback := _said(tree, about[0])) and feedback.subject:
        about = feedback.subject.attempts or (feedback.subject.feedback or "",)
    return [i for i in about if i in tree.asks]
