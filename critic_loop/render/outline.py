"""A tree as a person reads it: attempts in order, each with the feedback on it and what it changed.

The same for every view: the terminal's, the page's, the JSON document. Texts are as they were written; the
views make them safe to show.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue
from pydantic_core import to_json

from critic_loop.core.records import Attempt, Event, Outcome, Spend
from critic_loop.core.tree import Tree
from critic_loop.evidence import value_of
from critic_loop.metrics import Why, why
from critic_loop.render.diff import Line, diff
from critic_loop.render.messages import answer_text, message_text
from critic_loop.render.remarks import Asked, Remark, Remarks, all_said
from critic_loop.render.words import Standing, standing, worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An attempt, or one that is still in flight."""

    id: str
    number: str
    """Its place in the order of asking."""
    indent: int
    """Its level: a chain of revisions stays at one, what has siblings or follows one is deeper."""
    depth: int
    """How many attempts lead to it."""
    parents: tuple[str, ...]
    kind: str
    status: str
    """complete, partial, failed, parked or in flight."""
    worth: str
    """right or wrong where that is known; else accepted, rejected, scored (no more than that) or not judged."""
    score: float | None
    chosen: bool
    answer: str
    repeats: str
    """The number of the first attempt with the same answer, if that is an earlier one."""
    changed: tuple[Line, ...]
    """What it changed in its parent's answer; empty for drafts, and where nothing changed."""
    work: tuple[tuple[str, str], ...]
    """Role and text of its messages, where there is more to them than the answer."""
    error: str
    feedback: tuple[Remark, ...]
    calls: tuple[Asked, ...]
    calls_made: int
    """Own ones and those for feedback on it."""
    tokens: int

    @property
    def standing(self) -> Standing:
        """How it stands, in the words of all views."""
        return standing(self.worth, self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Attempts that are left out here, one after the other."""

    indent: int
    depth: int
    first: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A tree, or what was wished to be seen of it."""

    tree: str
    recipe: str
    created_at: float
    task: str
    reference: JsonValue
    attempts: int
    outcome: Outcome | None
    worth: str
    """What the chosen attempt is worth; `no answer` where none is chosen."""
    score: float | None
    """Of the chosen attempt."""
    spend: Spend
    why: Why
    items: tuple[Node | Gap, ...]
    events: tuple[Event, ...]
    """What happened beside the attempts; the stop is in the outcome."""
    attempt: str | None = None
    """The attempt that was wished to be seen closely."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The attempts that are in it."""
        return tuple(item for item in self.items if isinstance(item, Node))

    @property
    def left_out(self) -> int:
        """How many attempts are not in it."""
        return sum(item.attempts for item in self.items if isinstance(item, Gap))


def outline(tree: Tree, *, most: int | None = None, attempt: str | None = None) -> Outline:
    """Return a tree as an outline. O(its records); only what is shown is looked at closely.

    Args:
        tree: the tree.
        most: attempts in it at most; those that lead to the answer or show the cause come first.
        attempt: only this one, with those on its path and its children.
    """
    reason = why(tree)
    shown = _near(tree, attempt) if attempt else _foremost(tree, reason, most)
    outcome = tree.outcome
    chosen = outcome.chosen if outcome else None
    spend = tree.spend()
    if outcome is not None:
        spend = spend.model_copy(
            update={"elapsed_s": outcome.spend.elapsed_s, "cost_usd": outcome.spend.cost_usd}
        )
    return Outline(
        tree=tree.id,
        recipe=tree.head.recipe,
        created_at=tree.head.created_at,
        task="\n\n".join(message_text(m) for m in tree.task.prompt),
        reference=tree.task.reference,
        attempts=len(tree.asks),
        outcome=outcome,
        worth=worth(tree, chosen),
        score=None if chosen is None else value_of(tree, chosen).score,
        spend=spend,
        why=reason,
        items=tuple(_items(_Reader(tree), shown)),
        events=tuple(event for event in tree.events if event.kind != "stop"),
        attempt=attempt,
    )


# -- which attempts, in which order ----------------------------------------------------------------


def _near(tree: Tree, attempt: str) -> set[str]:
    return {*tree.path(attempt), *tree.children(attempt)}


def _foremost(tree: Tree, reason: Why, most: int | None) -> set[str] | None:
    """Return the attempts to show; None for all."""
    if most is None or len(tree.asks) <= most:
        return None
    cited = [e.id for e in reason.evidence if e.id in tree.asks]
    chosen = tree.outcome.chosen if tree.outcome else None
    path = list(tree.path(chosen)) if chosen else []
    wanted = [*path[-1:], *cited, *path[: most // 2], *reversed(path), *tree.asks]
    return set(list(dict.fromkeys(wanted))[:most])


def _items(reader: _Reader, shown: set[str] | None) -> Iterator[Node | Gap]:
    """Walk the tree in depth: a chain stays at one level, what has siblings or follows one goes deeper."""
    gap: Gap | None = None
    for attempt, indent, depth in _walk(reader.tree):
        if shown is not None and attempt not in shown:
            before = gap or Gap(indent=indent, depth=depth, first=attempt, attempts=0)
            gap = Gap(
                indent=min(indent, before.indent),
                depth=min(depth, before.depth),
                first=before.first,
                attempts=before.attempts + 1,
            )
            continue
        if gap is not None:
            yield gap
            gap = None
        yield reader.node(attempt, indent, depth)
    if gap is not None:
        yield gap


def _walk(tree: Tree) -> Iterator[tuple[str, int, int]]:
    """Yield each attempt with its level and its depth."""
    seen: set[str] = set()
    stack = [(root, 0, 0, len(tree.roots) > 1) for root in reversed(tree.roots)]
    while stack:
        attempt, indent, depth, has_siblings = stack.pop()
        if attempt in seen:  # it has several parents
            continue
        seen.add(attempt)
        yield attempt, indent, depth
        children = tree.children(attempt)
        several = len(children) > 1
        deeper = indent + (several or has_siblings)
        stack.extend((child, deeper, depth + 1, several) for child in reversed(children))


# -- one attempt -----------------------------------------------------------------------------------


class _Reader:
    """Reads attempts out of a tree, with all that was ever said of each."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._remarks = Remarks(tree)
        self._first: dict[bytes, str] = {}
        for attempt in tree:
            if attempt.answer is not None:
                self._first.setdefault(to_json((attempt.kind, attempt.answer)), attempt.id)

    def node(self, attempt_id: str, indent: int, depth: int) -> Node:
        """Return an attempt at its place."""
        ask, attempt = self.tree.asks[attempt_id], self.tree.attempts.get(attempt_id)
        said = self._remarks.on(attempt_id)
        calls = self._remarks.calls(attempt.calls if attempt else ())
        spent = [*calls, *(call for each in all_said(said) for call in each.calls)]
        outcome = self.tree.outcome
        return Node(
            id=attempt_id,
            number=attempt_id.rpartition(".")[2],
            indent=indent,
            depth=depth,
            parents=ask.parents,
            kind=ask.kind,
            status=attempt.status if attempt else "in flight",
            worth=worth(self.tree, attempt_id) if attempt else "not judged",
            score=value_of(self.tree, attempt_id).score,
            chosen=outcome is not None and outcome.chosen == attempt_id,
            answer=answer_text(attempt) if attempt else "",
            repeats=self._repeats(attempt) if attempt else "",
            changed=self._changed(attempt) if attempt else (),
            work=_work(attempt) if attempt else (),
            error=attempt.error if attempt else "",
            feedback=said,
            calls=calls,
            calls_made=len({call.id for call in spent}),
            tokens=sum(call.input_tokens + call.output_tokens for call in {c.id: c for c in spent}.values()),
        )

    def _repeats(self, attempt: Attempt) -> str:
        first = self._first.get(to_json((attempt.kind, attempt.answer)), attempt.id)
        return "" if first == attempt.id else first.rpartition(".")[2]

    def _changed(self, attempt: Attempt) -> tuple[Line, ...]:
        before = self.tree.attempts.get(attempt.parents[0]) if attempt.parents else None
        if before is None or before.kind != attempt.kind:
            return ()
        return diff(answer_text(before), answer_text(attempt))


def _work(attempt: Attempt) -> tuple[tuple[str, str], ...]:
    messages = attempt.messages
    plain = len(messages) == 1 and message_text(messages[0]).strip() == answer_text(attempt).strip()
    return () if plain else tuple((m.role, message_text(m)) for m in messages)
