"""One tree that grows, while it grows.

Takes in records, each in constant time, and draws itself into as many lines as there are, however large it has
grown. Knows records. Does not know loops, nor when it is drawn (`cli.live`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.text import Text

from critic_loop.cli.results import VERDICT_STYLES, count, verdict_word
from critic_loop.core.printable import excerpt
from critic_loop.core.protocols import Delta
from critic_loop.core.records import Ask, Attempt, Call, Feedback, Outcome, Record, Reply, Verdict
from critic_loop.evidence import EVIDENCE

_DEEPEST = 10
"""Indentation ends here; deeper attempts stand below each other."""
_FARTHEST = 200
"""Ancestors that are looked through for one that is drawn, too."""
_TAIL = 400
"""Characters of streamed text that are kept for each call."""


@dataclass(slots=True)
class _Note:
    """What somebody said of an attempt."""

    author: str
    verdict: Verdict | None
    score: float | None
    text: str
    evidence: bool


@dataclass(slots=True)
class _Node:
    """An attempt as it is drawn."""

    id: str
    parent: str | None
    answer: str = ""
    error: str = ""
    status: str = "open"
    notes: list[_Note] = field(default_factory=list[_Note])

    @property
    def number(self) -> str:
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
    def state(self) -> tuple[str, str, str]:
        """Sign, word and style."""
        if self.status in ("failed", "parked"):
            return ("!", "failed", "red") if self.status == "failed" else ("?", "waits for a person", "yellow")
        verdict = self.verdict
        if verdict is not None:
            known = any(n.evidence and n.verdict is verdict for n in self.notes)
            word = verdict_word(verdict, known=known)
            return ("✓" if verdict is Verdict.PASS else "✗", word, VERDICT_STYLES[verdict])
        return ("○", "open", "cyan") if self.status == "open" else ("•", "not judged", "default")


@dataclass(slots=True)
class _Asked:
    """A call in flight."""

    agent: str
    binding: str
    attempt: str
    since: float
    text: str = ""


@dataclass(slots=True)
class TreeView:
    """One growing tree."""

    title: str
    most_calls: int | None = None
    ending: bool = False
    now: Callable[[], float] = time.monotonic
    nodes: dict[str, _Node] = field(default_factory=dict[str, _Node])
    asked: dict[str, _Asked] = field(default_factory=dict[str, _Asked])
    """Calls in flight, oldest first."""
    calls: int = 0
    tokens: int = 0
    chosen: str | None = None
    began: float = field(init=False)
    _open: dict[str, None] = field(default_factory=dict[str, None])
    _recent: deque[str] = field(default_factory=lambda: deque[str](maxlen=256))
    _best: str | None = None
    _bindings: set[str] = field(default_factory=set[str])
    _news: list[str] = field(default_factory=list[str])
    _untold: int = 0

    def __post_init__(self) -> None:
        """Note when it began."""
        self.began = self.now()

    # -- taking in

    def observe(self, record: Record | Delta) -> None:
        """Take in what was written, or is being written."""
        match record:
            case Delta():
                if record.call in self.asked:
                    asked = self.asked[record.call]
                    asked.text = (asked.text + record.text)[-_TAIL:]
            case Ask():
                parent = record.parents[0] if record.parents else None
                self.nodes[record.attempt] = _Node(record.attempt, parent)
                self._open[record.attempt] = None
            case Call():
                self.calls += 1
                place = record.place
                self.asked[record.id] = _Asked(place.agent, record.binding, place.subject[0], self.now())
                self._bindings.add(record.binding)
            case Reply():
                self.asked.pop(record.call, None)
                self.tokens += record.usage.input_tokens + record.usage.output_tokens
            case Attempt():
                self._attempt(record)
            case Feedback():
                self._feedback(record)
            case Outcome():
                self.chosen = record.chosen
            case _:
                pass

    def _attempt(self, attempt: Attempt) -> None:
        node = self.nodes[attempt.id]
        if attempt.status == "partial":
            return
        node.status, node.error = attempt.status, excerpt(attempt.error, 200)
        node.answer = excerpt(_text_of(attempt), 300)
        self._open.pop(attempt.id, None)
        self._touched(node)
        said = node.error if attempt.error else node.answer
        self._tell(f"attempt {node.number}: {node.state[1] if attempt.error else 'made'}: {said}")

    def _feedback(self, feedback: Feedback) -> None:
        subject = feedback.subject
        if subject is None or not subject.attempts or subject.location is not None or feedback.advisory:
            return
        node, evidence = self.nodes[subject.attempts[0]], feedback.source in (*EVIDENCE, "grader")
        told = feedback.verdict is not Verdict.ABSTAIN or feedback.parse == "error"  # what could be mended
        text = excerpt(feedback.text or feedback.reason, 300) if told else ""
        if len(subject.attempts) > 1:
            against = subject.attempts[1].rpartition(".")[2]
            verdict, share = _of_two(feedback)
            who = f"{feedback.author} {'with' if evidence else 'against'} {against}"
            node.notes.append(_Note(who, verdict, share, text, evidence=False))
        else:
            node.notes.append(_Note(feedback.author, feedback.verdict, feedback.score, text, evidence))
        self._touched(node)
        self._tell(f"attempt {node.number}: {_told_note(node.notes[-1])}")

    def _touched(self, node: _Node) -> None:
        if not self._recent or self._recent[-1] != node.id:
            self._recent.append(node.id)
        best = None if self._best is None else self.nodes[self._best]
        if best is None or node.rank > best.rank:
            self._best = node.id

    def _tell(self, text: str) -> None:
        if len(self._news) < 4:
            self._news.append(text)
        else:
            self._untold += 1

    # -- showing

    def news(self) -> str:
        """Return what has happened since the last time."""
        lines, more = self._news, self._untold
        self._news, self._untold = [], 0
        if more:
            lines.append(f"... and {more:,} more; {self._totals()}")
        return "\n".join(lines)

    def draw(self, lines: int, width: int) -> RenderableType:
        """Return the tree in at most so many lines of so many columns."""
        head = Text.assemble((self.title, "bold"), "  ", self._totals(), no_wrap=True, overflow="ellipsis")
        if self.ending:
            waits = count(len(self.asked), "call")
            head = Text(f"Ending: {waits} in flight may finish. Ctrl-C again leaves at once.", style="yellow")
        return Group(head, *self._lines(lines - 1, width=width))

    def final(self, lines: int = 60) -> RenderableType:
        """Return the tree as it ended, with what was said about each attempt."""
        return Group(*self._lines(lines))

    def _totals(self) -> str:
        cap = f" of {self.most_calls:,}" if self.most_calls else ""
        return ", ".join(
            [
                count(len(self.nodes), "attempt"), f"{self.calls:,}{cap} calls", f"{self.tokens:,} tokens",
                f"{self.now() - self.began:.0f} s",
            ]
        )  # fmt: skip

    def _lines(self, most: int, *, width: int | None = None) -> list[Text]:
        """Return the drawn attempts in their order; what does not fit is counted instead.

        With a width, calls in flight are drawn, and details of the latest attempt alone.
        """
        about: dict[str, list[_Asked]] = {}
        for asked in self.asked.values() if width else ():
            about.setdefault(asked.attempt, []).append(asked)
        each = 2 if width else max((_height(node) for node in self.nodes.values()), default=2)
        chosen = self._chosen(max(1, most - 1 - min(len(about), most // 2)) if width else most // each)
        latest = self._recent[-1] if self._recent else None
        drawn: list[Text] = []
        for node, depth in self._forest(chosen):
            indent = "  " * min(depth, _DEEPEST)
            apart = not width and _spoke(node) > 1
            drawn.append(_line(node, indent, chosen=node.id == self.chosen, notes=not apart))
            drawn += [_below(said, indent) for said in (_said(node) if apart else ())]
            drawn += [self._asking(asked, indent, width or 0) for asked in about.get(node.id, ())]
            if not width or node.id == latest:
                drawn += _details(node, indent)
        hidden = len(self.nodes) - len(chosen)
        cut = drawn[: most - bool(hidden)]
        if hidden:
            cut.insert(0, Text(f"⋮ {hidden:,} more attempts are not drawn", style="dim"))
        return cut

    def _asking(self, asked: _Asked, indent: str, width: int) -> Text:
        """Return who is asked, of which model if there are several, since when, and the end of its text."""
        since = f"{self.now() - asked.since:.1f} s"
        line = Text.assemble(indent, "     ", ("→ ", "cyan"), f"{excerpt(asked.agent, 40)}, {since}")
        if len(self._bindings) > 1:
            line.append(f"  {excerpt(asked.binding, 40)}", style="dim")
        line.no_wrap, line.overflow = True, "ellipsis"
        left = width - line.cell_len - 2
        if asked.text and left > 8:
            line.append(f"  {_tail(asked.text, left)}", style="italic")
        return line

    def _chosen(self, most: int) -> set[str]:
        """Return the attempts that are drawn: what is open, the best, and what happened last."""
        if len(self.nodes) <= most:
            return set(self.nodes)
        chosen: set[str] = set()
        busy = (asked.attempt for asked in self.asked.values())
        best = [node_id for node_id in (self.chosen, self._best) if node_id is not None]
        for ids in (best, busy, self._open, reversed(self._recent)):
            for node_id in ids:
                if len(chosen) >= most:
                    return chosen
                chosen.add(node_id)
        return chosen

    def _forest(self, chosen: set[str]) -> Iterator[tuple[_Node, int]]:
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


def view_of(title: str, records: Iterable[Record], *, most_calls: int | None = None) -> TreeView:
    """Return a view that has taken in `records`."""
    view = TreeView(title, most_calls)
    for record in records:
        view.observe(record)
    view.asked.clear()  # an earlier process waited for these
    view.news()
    return view


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


def _line(node: _Node, indent: str, *, chosen: bool, notes: bool) -> Text:
    sign, word, style = node.state
    line = Text.assemble(indent, (sign, style), f" {node.number}  ", (word, style))
    line.no_wrap, line.overflow = True, "ellipsis"
    if chosen:
        line.append("  chosen", style="bold")
    if not notes:
        return line
    if said := "; ".join(_said(node)):
        line.append(f"  {said}")
    elif node.error:
        line.append(f"  {node.error}", style="red")
    elif node.answer:
        line.append(f"  {node.answer}", style="dim")
    return line


def _of_two(feedback: Feedback) -> tuple[Verdict | None, float | None]:
    """Return what a word on two attempts says of the first alone: a share, an abstention, or nothing."""
    if feedback.preference is not None:
        return None, feedback.preference[0]
    silent = feedback.source == "judge" or feedback.verdict is Verdict.ABSTAIN
    return Verdict.ABSTAIN if silent else None, None


def _said(node: _Node) -> list[str]:
    """Return what was said of an attempt, a text each; who abstains comes last."""
    return [_told_note(note) for note in sorted(node.notes, key=lambda note: note.verdict is Verdict.ABSTAIN)]


def _spoke(node: _Node) -> int:
    """Return how many said something of it: where several did, one line would hide all but the first."""
    return sum(note.verdict is not Verdict.ABSTAIN for note in node.notes)


def _height(node: _Node) -> int:
    """Return how many lines it takes in the end."""
    return 2 + (len(node.notes) if _spoke(node) > 1 else 0)


def _details(node: _Node, indent: str) -> list[Text]:
    if not node.notes or not node.answer:
        return []
    return [_below(node.answer, indent, "dim")]


def _below(text: str, indent: str, style: str = "") -> Text:
    return Text(f"{indent}     {text}", style=style, no_wrap=True, overflow="ellipsis")


def _tail(text: str, columns: int) -> str:
    """Return the end of a text on one line of so many columns."""
    line = excerpt(text, _TAIL)
    if cell_len(line) <= columns:
        return line
    while cell_len(line) >= columns:
        line = line[max(1, (cell_len(line) - columns) // 2) :]
    return f"…{line}"


def _told_note(note: _Note) -> str:
    words = {Verdict.PASS: "pass", Verdict.FAIL: "fail", Verdict.ABSTAIN: "abstains", None: ""}[note.verdict]
    score = "" if note.score is None or note.verdict is Verdict.ABSTAIN else f"{note.score:.2f}"
    said = " ".join(part for part in (words, score) if part)
    text = f" ({excerpt(note.text, 120)})" if note.text else ""
    return f"{excerpt(note.author, 40)}{': ' if said else ''}{said}{text}"
