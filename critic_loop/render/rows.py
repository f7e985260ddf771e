"""A tree as rows: an attempt each, indented by depth, and sums of the attempts that are left out."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from critic_loop.core.printable import count, excerpt
from critic_loop.core.tree import Tree
from critic_loop.evidence import value_of
from critic_loop.render.cost import Survey
from critic_loop.render.messages import answer_text, message_text
from critic_loop.render.words import worth

_LONGEST_LABEL, _LONGEST_TASK = 46, 56
_SMALL = 0.01
"""Where the attempts left out below an attempt cost less than this share of all, its own row counts them."""
_LOW, _MIDDLE, _HIGH = (0xC2, 0x41, 0x0C), (0x80, 0x80, 0x80), (0x1D, 0x6F, 0xDC)
"""Colours of the values 0, 1/2 and 1, which people tell apart who see no red or green, on light and dark."""


@dataclass(slots=True, kw_only=True)
class Row:
    """An attempt, or the sum of some that are left out, at its place."""

    id: str
    depth: int
    parent: Row | None
    chosen: bool = False
    on_path: bool = False
    skips: bool = False
    """Whether attempts between it and the row above it are left out."""
    shape: str = "value"
    """value, unjudged, failed, open, task or more."""
    replaced: bool = False
    number: str = ""
    worth: str = ""
    value: float | None = None
    note: str = ""
    title: str = ""
    left_out: int = 0
    """Attempts below it that neither have a row nor are in a sum: they cost next to nothing."""
    attempts: int
    """It and those below it."""
    own: float = 0.0
    """Its share of all tokens, in [0, 1]."""
    share: float
    """The share of it and those below it."""
    x: float = 0.0
    y: float = 0.0
    radius: float = 0.0

    @property
    def colour(self) -> str:
        """The colour of its value."""
        return "" if self.value is None else colour(self.value)


def colour(value: float) -> str:
    """Return the colour of a value in [0, 1], from orange over grey to blue, in tenths."""
    part = round(min(1.0, max(0.0, value)), 1)
    start, end, way = (_LOW, _MIDDLE, 2 * part) if part < 0.5 else (_MIDDLE, _HIGH, 2 * part - 1)
    return "#" + "".join(f"{round(a + (b - a) * way):02x}" for a, b in zip(start, end, strict=True))


def scope_of(survey: Survey, attempt: str | None) -> list[str]:
    """Return the attempts that the picture is about, in the order of asking."""
    tree = survey.tree
    if attempt is None:
        return list(tree.asks)
    below = {attempt}
    for i in tree.asks:  # parents come before their children
        if survey.parent(i) in below:
            below.add(i)
    path = set(tree.path(attempt))
    return [i for i in tree.asks if i in below or i in path]


def _shown(survey: Survey, scope: Sequence[str], most: int | None) -> set[str]:
    """Return the attempts with a row of their own: the path to the answer, then where most was spent."""
    if most is None or len(scope) <= most:
        return set(scope)
    place = {i: number for number, i in enumerate(scope)}
    path = [i for i in _path(survey.tree) if i in place]
    kept = {*path[: most // 4], *path[-(most // 4) :]}
    by_cost = sorted(scope, key=lambda i: (-survey.of[i].tokens, -survey.of[i].attempts, place[i]))
    for i in by_cost:  # parents cost at least as much as their children
        if len(kept) >= most:
            break
        kept.add(i)
    return kept


def _path(tree: Tree) -> tuple[str, ...]:
    chosen = tree.outcome.chosen if tree.outcome else None
    return () if chosen is None else tree.path(chosen)


def rows_of(survey: Survey, scope: Sequence[str], most: int | None) -> Iterator[Row]:
    """Yield at most `most` rows in depth: an attempt, those below it, then the sum of what is left out."""
    shown = _shown(survey, scope, most)
    drawn: dict[str, str | None] = {}
    below: dict[str | None, list[str]] = defaultdict(list)
    hidden: dict[str | None, list[str]] = defaultdict(list)
    for i in scope:
        parent = survey.parent(i)
        above = parent if parent in shown else drawn.get(parent or "")
        (below if i in shown else hidden)[above].append(i)
        drawn[i] = above
    reader = _Reader(survey)
    stack = [reader.task()]
    while stack:
        row = stack.pop()
        yield row  # what is found out below is written into it before it is drawn
        if row.shape == "more":
            continue
        at = row.id or None
        children = [reader.row(i, row, skips=survey.parent(i) != at) for i in below[at]]
        more = reader.more(hidden[at], row)
        if more is None or more.share < _SMALL:
            row.left_out = len(hidden[at])
        else:
            children.append(more)
        stack.extend(reversed(children))


class _Reader:
    """Makes rows of attempts."""

    def __init__(self, survey: Survey) -> None:
        self._survey, self._tree = survey, survey.tree
        self._path = frozenset(_path(survey.tree))
        self._replaced_by = {ask.replaces: i for i, ask in survey.tree.asks.items() if ask.replaces}

    def task(self) -> Row:
        text = " ".join(message_text(m) for m in self._tree.task.prompt)
        return Row(
            id="",
            depth=0,
            parent=None,
            on_path=bool(self._path),
            shape="task",
            note=excerpt(text, _LONGEST_TASK),
            title=f"The task: {excerpt(text, 600)}",
            attempts=len(self._tree.asks),
            share=1.0 if self._survey.total else 0.0,
        )

    def row(self, i: str, parent: Row, *, skips: bool) -> Row:
        counted, share = self._survey.of[i], self._survey.share
        value, attempt = value_of(self._tree, i).score, self._tree.attempts.get(i)
        row = Row(
            id=i,
            depth=parent.depth + 1,
            parent=parent,
            chosen=self._tree.outcome is not None and self._tree.outcome.chosen == i,
            on_path=i in self._path,
            skips=skips,
            shape=_shape(attempt.status if attempt else "in flight", value),
            replaced=i in self._replaced_by,
            number=_number(i),
            worth=worth(self._tree, i) if attempt else "not judged",
            value=value,
            attempts=counted.attempts,
            own=share(counted.own),
            share=share(counted.tokens),
        )
        row.note = _fitting(row, ", ".join(self._notes(i)))
        row.title = self._title(row)
        return row

    def _notes(self, i: str) -> Iterator[str]:
        """Yield what is out of the ordinary about an attempt, the most important first."""
        ask, attempt = self._tree.asks[i], self._tree.attempts.get(i)
        status = attempt.status if attempt else "in flight"
        if status != "complete":
            yield status
        elif attempt is not None and attempt.error_code:
            yield "unreadable"
        if i in self._replaced_by:
            yield f"rethought as {_number(self._replaced_by[i])}"
        if ask.replaces:
            yield f"in place of {_number(ask.replaces)}"
        if len(ask.parents) > 1:
            yield f"also from {', '.join(map(_number, ask.parents[1:]))}"
        if ask.kind != "answer":
            yield ask.kind

    def _title(self, row: Row) -> str:
        counted, attempt = self._survey.of[row.id], self._tree.attempts.get(row.id)
        value = "not judged" if row.value is None else f"value {row.value:.3f}"
        unit, below = self._survey.unit, counted.attempts - 1
        lines = [f"Attempt {row.number}: {row.worth}, {value}", *self._notes(row.id)]
        more = f", {counted.tokens:,.0f} with {count(below, 'attempt')} below it" if below else ""
        lines.append(f"{counted.own:,.0f} {unit} on itself{more}")
        lines += [excerpt(answer_text(attempt), 400)] if attempt else []
        lines += [f"error: {excerpt(attempt.error, 200)}"] if attempt and attempt.error else []
        return "\n".join(line for line in lines if line)

    def more(self, hidden: Sequence[str], parent: Row) -> Row | None:
        if not hidden:
            return None
        values = [v for i in hidden if (v := value_of(self._tree, i).score) is not None]
        kinds = Counter(worth(self._tree, i) for i in hidden if i in self._tree)
        own = math.fsum(self._survey.of[i].own for i in hidden)
        best = f", best {max(values):.2f}" if values else ""
        known = ", ".join(f"{number:,} {word}" for word, number in kinds.most_common())
        return Row(
            id="",
            depth=parent.depth + 1,
            parent=parent,
            shape="more",
            note=excerpt(f"{len(hidden):,} more{best}: {known}", _LONGEST_LABEL),
            title=f"{count(len(hidden), 'more attempt')}{best}: {known}",
            value=max(values, default=None),
            attempts=len(hidden),
            share=self._survey.share(own),
        )


def _fitting(row: Row, note: str) -> str:
    """Return what of a note fits behind the rest of a row's label; nothing, if that is next to nothing."""
    marked = row.worth not in ("scored", "not judged")
    taken = len(row.number) + 8 * marked + 5 * (row.value is not None) + 9 * row.chosen
    room = _LONGEST_LABEL - taken - len("+ 100 more")
    return excerpt(note, room) if room >= 10 else ""


def _shape(status: str, value: float | None) -> str:
    if status == "failed":
        return "failed"
    if status != "complete":
        return "open"
    return "unjudged" if value is None else "value"


def _number(attempt: str) -> str:
    return attempt.rpartition(".")[2]
