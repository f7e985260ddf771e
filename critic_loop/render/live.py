"""A tree that grows, drawn into as many lines as there are, however large it is.

Does not know loops, nor when it is drawn (`cli.live`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.text import Text

from critic_loop.core.printable import count, excerpt
from critic_loop.core.protocols import Delta
from critic_loop.core.records import Record, Verdict
from critic_loop.core.tree import Tree
from critic_loop.render.growing import Asked, Growing, Node, Note
from critic_loop.render.words import CHOSEN, worth

_DEEPEST = 10
"""Indentation ends here; deeper attempts stand below each other."""
_LONGEST = 400
"""Characters of streamed text that are looked at to fill a line."""


@dataclass(slots=True)
class TreeView:
    """One growing tree."""

    title: str
    most_calls: int | None = None
    ending: bool = False
    now: Callable[[], float] = time.monotonic
    tree: Growing = field(init=False)
    began: float = field(init=False)
    _news: list[str] = field(default_factory=list[str])
    _untold: int = 0

    def __post_init__(self) -> None:
        """Note when it began."""
        self.began = self.now()
        self.tree = Growing(self.now)

    def observe(self, record: Record | Delta) -> None:
        """Take in what was written, or is being written."""
        changed = self.tree.observe(record)
        if changed is None:
            return
        node, note = changed
        if note is not None:
            self._tell(f"attempt {node.number}: {_told_note(note)}")
        else:
            made = f"{node.status}: {node.error}" if node.error else f"made: {node.answer}"
            self._tell(f"attempt {node.number}: {made}")

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
            waits = count(len(self.tree.asked), "call")
            head = Text(f"Ending: {waits} in flight may finish. Ctrl-C again leaves at once.", style="yellow")
        return Group(head, *self._lines(lines - 1, width=width))

    def final(self, tree: Tree, *, lines: int = 60) -> RenderableType:
        """Return the tree as it ended, with the feedback on each attempt; `tree` tells what each is worth."""
        for attempt in tree:
            self.tree.nodes[attempt.id].worth = worth(tree, attempt.id)
        return Group(*self._lines(lines))

    def _totals(self) -> str:
        cap = f" of {self.most_calls:,}" if self.most_calls else ""
        tree, elapsed_s = self.tree, self.now() - self.began
        spent = [f"{tree.calls:,}{cap} calls", f"{tree.tokens:,} tokens", f"{elapsed_s:.0f} s"]
        return ", ".join([count(len(tree.nodes), "attempt"), *spent])

    def _lines(self, most: int, *, width: int | None = None) -> list[Text]:
        """Return the drawn attempts in their order; what does not fit is counted instead.

        With a width, calls in flight are drawn, and details of the latest attempt alone.
        """
        about: dict[str, list[Asked]] = {}
        for asked in self.tree.asked.values() if width else ():
            about.setdefault(asked.attempt, []).append(asked)
        each = 2 if width else max((_height(node) for node in self.tree.nodes.values()), default=2)
        chosen = self.tree.foremost(max(1, most - 1 - min(len(about), most // 2)) if width else most // each)
        latest = self.tree.recent[-1] if self.tree.recent else None
        drawn: list[Text] = []
        for node, depth in self.tree.forest(chosen):
            indent = "  " * min(depth, _DEEPEST)
            apart = not width and _spoke(node) > 1
            drawn.append(_line(node, indent, chosen=node.id == self.tree.chosen, notes=not apart))
            drawn += [_below(said, indent) for said in (_said(node) if apart else ())]
            drawn += [self._asking(asked, indent, width or 0) for asked in about.get(node.id, ())]
            if not width or node.id == latest:
                drawn += _details(node, indent)
        hidden = len(self.tree.nodes) - len(chosen)
        cut = drawn[: most - bool(hidden)]
        if hidden:
            cut.insert(0, Text(f"⋮ {hidden:,} more attempts are not drawn", style="dim"))
        return cut

    def _asking(self, asked: Asked, indent: str, width: int) -> Text:
        """Return who is asked, of which model if there are several, since when, and the end of its text."""
        since = f"{self.now() - asked.since:.1f} s"
        line = Text.assemble(indent, "     ", ("→ ", "cyan"), f"{excerpt(asked.agent, 40)}, {since}")
        if len(self.tree.bindings) > 1:
            line.append(f"  {excerpt(asked.binding, 40)}", style="dim")
        line.no_wrap, line.overflow = True, "ellipsis"
        left = width - line.cell_len - 2
        if asked.text and left > 8:
            line.append(f"  {_tail(asked.text, left)}", style="italic")
        return line


def view_of(title: str, records: Iterable[Record], *, most_calls: int | None = None) -> TreeView:
    """Return a view that has taken in `records`."""
    view = TreeView(title, most_calls)
    for record in records:
        view.observe(record)
    view.tree.asked.clear()  # an earlier process waited for these
    view.news()
    return view


def _line(node: Node, indent: str, *, chosen: bool, notes: bool) -> Text:
    sign, words, style = node.standing
    line = Text.assemble(indent, (sign, style), f" attempt {node.number}  ", (words, style))
    line.no_wrap, line.overflow = True, "ellipsis"
    if chosen:
        line.append(f"  {CHOSEN}", style="bold")
    if not notes:
        return line
    if said := "; ".join(_said(node)):
        line.append(f"  {said}")
    elif node.error:
        line.append(f"  {node.error}", style="red")
    elif node.answer:
        line.append(f"  {node.answer}", style="dim")
    return line


def _said(node: Node) -> list[str]:
    """Return what was said of an attempt, a text each; who abstains comes last."""
    return [_told_note(note) for note in sorted(node.notes, key=lambda note: note.verdict is Verdict.ABSTAIN)]


def _spoke(node: Node) -> int:
    """Return how many said something of it: where several did, one line would hide all but the first."""
    return sum(note.verdict is not Verdict.ABSTAIN for note in node.notes)


def _height(node: Node) -> int:
    """Return how many lines it takes in the end."""
    return 2 + (len(node.notes) if _spoke(node) > 1 else 0)


def _details(node: Node, indent: str) -> list[Text]:
    if not node.notes or not node.answer:
        return []
    return [_below(node.answer, indent, "dim")]


def _below(text: str, indent: str, style: str = "") -> Text:
    return Text(f"{indent}     {text}", style=style, no_wrap=True, overflow="ellipsis")


def _tail(text: str, columns: int) -> str:
    """Return the end of a text on one line of so many columns."""
    line = excerpt(text, _LONGEST)
    if cell_len(line) <= columns:
        return line
    while cell_len(line) >= columns:
        line = line[max(1, (cell_len(line) - columns) // 2) :]
    return f"…{line}"


def _told_note(note: Note) -> str:
    words = "" if note.verdict is None else str(note.verdict)
    score = "" if note.score is None or note.verdict is Verdict.ABSTAIN else f"{note.score:.2f}"
    said = " ".join(part for part in (words, score) if part)
    text = f" ({excerpt(note.text, 120)})" if note.text else ""
    return f"{excerpt(note.author, 40)}{': ' if said else ''}{said}{text}"
