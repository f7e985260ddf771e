"""A tree that is being written, as far as a view of it needs.

Takes in records, each in constant time. Does not know how it is drawn (`render.live`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from critic_loop.core.printable import excerpt
from critic_loop.core.protocols import Delta
from critic_loop.core.records import Ask, Attempt, Call, Feedback, Outcome, Record, Reply, Verdict
from critic_loop.evidence import EVIDENCE
from critic_loop.render.words import Standing, standing

_FARTHEST = 200
"""Ancestors that are looked through for one that is drawn, too."""
_TAIL = 400
"""Characters of streamed text that are kept for each call."""


@dataclass(slots=True)
class Note:
    """What somebody said of an attempt."""

    author: str
    verdict: Verdict | None
    score: float | None
    text: str
    evidence: bool


@dataclass(slots=True)
class Node:
    """An attempt as it is drawn."""

    id: str
    parent: str | None
    answer: str = ""
    error: str = ""
    status: str = "in flight"
    worth: str = ""
    """What it is worth, where the whole tree was asked."""
    notes: list[Note] = field(default_factory=list[Note])

    @property
    def number(self) -> str:
        """Its place in the order of asking."""
        return self.id.rpartition(".")[2]

    @property
    def verdict(self) -> Verdict | None:
        """What evidence says; where it is silent, what opinion says."""
        for evidence in (True, False):
            said = {n.verdict for n in self.notes if n.evidence is evidence} - {None, Verdict.ABSTAIN}
            if said:
                return Verdict.PASS if said == {Verdict.PASS} else Verdict.FAIL
        return None

    @property
    def rank(self) -> tuple[int, float]:
        """What makes one better than another, roughly: enough to keep a good one in sight."""
        rank = {Verdict.PASS: 2, None: 1, Verdict.FAIL: 0}[self.verdict] if self.status == "complete" else -1
        return rank, max((n.score for n in self.notes if n.score is not None), default=-1.0)

    @property
    def standing(self) -> Standing:
        """How it stands, as far as its feedback tells."""
        return standing(self.worth or self._worth, self.status)

    @property
    def _worth(self) -> str:
        verdict = self.verdict
        if verdict is None:
            return "scored" if any(note.score is not None for note in self.notes) else "not judged"
        known = any(note.evidence and note.verdict is verdict for note in self.notes)
        words = ("right", "wrong") if known else ("accepted", "rejected")
        return words[verdict is Verdict.FAIL]


@dataclass(slots=True)
class Asked:
    """A call in flight."""

    agent: str
    binding: str
    attempt: str
    since: float
    text: str = ""


@dataclass(slots=True)
class Growing:
    """The attempts of a tree, the calls in flight, and the totals so far."""

    now: Callable[[], float] = time.monotonic
    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    asked: dict[str, Asked] = field(default_factory=dict[str, Asked])
    """Calls in flight, oldest first."""
    calls: int = 0
    tokens: int = 0
    chosen: str | None = None
    bindings: set[str] = field(default_factory=set[str])
    """The models that were called."""
    recent: deque[str] = field(default_factory=lambda: deque[str](maxlen=256))
    """Attempts in the order of their latest change."""
    _open: dict[str, None] = field(default_factory=dict[str, None])
    _best: str | None = None

    def observe(self, record: Record | Delta) -> tuple[Node, Note | None] | None:
        """Take in what was written, or is being written.

        Returns: the attempt that has settled or got feedback, with that feedback.
        """
        match record:
            case Delta():
                if record.call in self.asked:
                    asked = self.asked[record.call]
                    asked.text = (asked.text + record.text)[-_TAIL:]
            case Ask():
                parent = record.parents[0] if record.parents else None
                self.nodes[record.attempt] = Node(record.attempt, parent)
                self._open[record.attempt] = None
            case Call():
                self.calls += 1
                place = record.place
                self.asked[record.id] = Asked(place.agent, record.binding, place.subject[0], self.now())
                self.bindings.add(record.binding)
            case Reply():
                self.asked.pop(record.call, None)
                self.tokens += record.usage.input_tokens + record.usage.output_tokens
            case Attempt():
                return self._attempt(record)
            case Feedback():
                return self._feedback(record)
            case Outcome():
                self.chosen = record.chosen
            case _:
                pass
        return None

    def _attempt(self, attempt: Attempt) -> tuple[Node, None] | None:
        node = self.nodes[attempt.id]
        if attempt.status == "partial":
            return None
        node.status, node.error = attempt.status, excerpt(attempt.error, 200)
        node.answer = excerpt(_text_of(attempt), 300)
        self._open.pop(attempt.id, None)
        self._touched(node)
        return node, None

    def _feedback(self, feedback: Feedback) -> tuple[Node, Note] | None:
        subject = feedback.subject
        if subject is None or not subject.attempts or subject.location is not None or feedback.advisory:
            return None
        node, evidence = self.nodes[subject.attempts[0]], feedback.source in (*EVIDENCE, "grader")
        told = feedback.verdict is not Verdict.ABSTAIN or feedback.parse == "error"  # what could be mended
        text = excerpt(feedback.text or feedback.reason, 300) if told else ""
        if len(subject.attempts) > 1:
            against = subject.attempts[1].rpartition(".")[2]
            verdict, share = _of_two(feedback)
            who = f"{feedback.author} {'with' if evidence else 'against'} {against}"
            node.notes.append(Note(who, verdict, share, text, evidence=False))
        else:
            node.notes.append(Note(feedback.author, feedback.verdict, feedback.score, text, evidence))
        self._touched(node)
        return node, node.notes[-1]

    def _touched(self, node: Node) -> None:
        if not self.recent or self.recent[-1] != node.id:
            self.recent.append(node.id)
        best = None if self._best is None else self.nodes[self._best]
        if best is None or node.rank > best.rank:
            self._best = node.id

    # -- which attempts are drawn

    def foremost(self, most: int) -> set[str]:
        """Return the attempts that are drawn: what is open, the best, and what happened last."""
        if len(self.nodes) <= most:
            return set(self.nodes)
        chosen: set[str] = set()
        busy = (asked.attempt for asked in self.asked.values())
        best = [node_id for node_id in (self.chosen, self._best) if node_id is not None]
        for ids in (best, busy, self._open, reversed(self.recent)):
            for node_id in ids:
                if len(chosen) >= most:
                    return chosen
                chosen.add(node_id)
        return chosen

    def forest(self, chosen: set[str]) -> Iterator[tuple[Node, int]]:
        """Yield the chosen attempts with their depth, each below its nearest chosen ancestor."""
        below: dict[str | None, list[str]] = {}
        for node_id in sorted(chosen, key=_order):
            below.setdefault(self._ancestor(node_id, chosen), []).append(node_id)
        waiting = [(node_id, 0) for node_id in reversed(below.get(None, []))]
        while waiting:
            node_id, depth = waiting.pop()
            yield self.nodes[node_id], depth
            waiting += [(child, depth + 1) for child in reversed(below.get(node_id, []))]

    def _ancestor(self, node_id: str, chosen: set[str]) -> str | None:
        parent = self.nodes[node_id].parent
        for _ in range(_FARTHEST):
            if parent is None or parent in chosen:
                return parent
            parent = self.nodes[parent].parent
        return None


def _order(node_id: str) -> int:
    number = node_id.rpartition(".")[2]
    return int(number) if number.isdigit() else 0


def _text_of(attempt: Attempt) -> str:
    if isinstance(attempt.answer, str):
        return attempt.answer
    if attempt.answer is not None:
        from pydantic_core import to_json

        return to_json(attempt.answer)[:1200].decode(errors="replace")
    return attempt.messages[-1].text if attempt.messages else ""


def _of_two(feedback: Feedback) -> tuple[Verdict | None, float | None]:
    """Return what a word on two attempts says of the first alone: a share, an abstention, or nothing."""
    if feedback.preference is not None:
        return None, feedback.preference[0]
    silent = feedback.source == "judge" or feedback.verdict is Verdict.ABSTAIN
    return Verdict.ABSTAIN if silent else None, None
