"""`critic-loop why` and `critic-loop failures`: what went wrong in a tree, and in many."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from critic_loop.cli.stored import stored
from critic_loop.cli.terminal import Terminal, UsageProblem
from critic_loop.core.printable import count, excerpt, printable
from critic_loop.core.tree import Tree
from critic_loop.metrics import FAILURES, Cause, Why, why
from critic_loop.render.why import cause_style, page

E = TypeVar("E", bound=StrEnum)
MOST_LISTED = 50
_TASK = 60
"""Characters of a task that it is known by."""
_NAME, _BESIDE = 24, 56
"""Columns of a name, at the least, and those that its numbers and the beginning of an example's id take."""


class By(StrEnum):
    """What trees are counted by."""

    CAUSE = "cause"
    RECIPE = "recipe"
    TASK = "task"
    MODEL = "model"
    STOP = "stop"
    TAG = "tag"


def explain(store: str, tree: str | None, terminal: Terminal, *, as_json: bool) -> None:
    """Print why a stored tree came to no right answer."""
    with stored(store) as trees:
        found = why(trees.tree(tree))
    if as_json:
        terminal.document(found.model_dump(mode="json"))
    else:
        terminal.out.print(page(found))


# -- many trees ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Listed:
    """A tree's cause, with its task and id."""

    found: Why
    task: str
    """The first line of its task."""


@dataclass(slots=True)
class _Group:
    causes: Counter[Cause] = field(default_factory=Counter[Cause])
    examples: dict[Cause, _Listed] = field(default_factory=dict[Cause, _Listed])

    @property
    def trees(self) -> int:
        return self.causes.total()

    @property
    def failed(self) -> int:
        return sum(self.causes[cause] for cause in FAILURES)

    @property
    def example(self) -> _Listed:
        """A failed tree of the most frequent cause, if any failed."""
        cause = self.main_cause or self.causes.most_common(1)[0][0]
        return self.examples[cause]

    @property
    def main_cause(self) -> Cause | None:
        failures = [cause for cause, _ in self.causes.most_common() if cause in FAILURES]
        return failures[0] if failures else None


def failures(
    store: str,
    *,
    by: str | None,
    cause: str | None,
    recipe: str | None,
    as_json: bool,
    terminal: Terminal,
) -> None:
    """Count the trees of a store by what went wrong, or list those of one cause.

    Raises:
        UsageProblem: `by` or `cause` is unknown, or there are no such trees.
    """
    what = By.CAUSE if by is None else _one_of(By, by, "--by")
    only = None if cause is None else _one_of(Cause, cause, "--cause")
    groups: dict[str, _Group] = defaultdict(_Group)
    listed: list[_Listed] = []
    total: Counter[Cause] = Counter()
    key = _KEYS[what]
    with stored(store) as trees:
        for tree in trees.trees(trees.ids(recipe), terminal):
            found = why(tree)
            one = _Listed(found, _first_line(tree))
            if only is not None and found.cause is not only:
                continue
            for value in dict.fromkeys(key(tree, found)):
                groups[value].causes[found.cause] += 1
                groups[value].examples.setdefault(found.cause, one)
            total[found.cause] += 1
            if only is not None:
                listed.append(one)
        where = trees.where
    if as_json:
        data = _document(groups, total, by=what)
        rows = [one.found.model_dump(mode="json") | {"task": one.task} for one in listed]
        terminal.document({"store": where, **data, **({} if only is None else {"listed": rows})})
        return
    if only is not None and by is None:
        terminal.out.print(_list(listed, only))
        return
    terminal.out.print(_table(groups, total, by=what, width=terminal.out.width))
    terminal.note("critic-loop why STORE TREE explains one; critic-loop show STORE TREE shows it.")


def _one_of(known: type[E], given: str, option: str) -> E:
    try:
        return known(given)
    except ValueError:
        words = ", ".join(known)
        raise UsageProblem(f"{option} {given!r} is not known.", hint=f"It takes {words}.") from None


def _actor_models(tree: Tree) -> Iterator[str]:
    """Yield the models that wrote a tree's attempts."""
    calls = (tree.calls[call] for attempt in tree for call in attempt.calls if call in tree.calls)
    yield from dict.fromkeys(call.binding for call in calls)


_KEYS: dict[By, Callable[[Tree, Why], Iterable[str]]] = {
    By.CAUSE: lambda _, found: [str(found.cause)],
    By.RECIPE: lambda tree, _: [tree.head.recipe],
    By.TASK: lambda tree, _: [tree.task.id],
    By.MODEL: lambda tree, _: list(_actor_models(tree)) or ["(none)"],
    By.STOP: lambda tree, _: [tree.outcome.stop if tree.outcome else "(none)"],
    By.TAG: lambda tree, _: tree.task.tags or ["(none)"],
}


def _ordered(groups: dict[str, _Group], by: By) -> list[tuple[str, _Group]]:
    """Return the groups, most failures first; causes that are no failures last."""

    def rank(item: tuple[str, _Group]) -> tuple[bool, int, str]:
        value, group = item
        no_failure = by is By.CAUSE and group.main_cause is None
        return (no_failure, -(group.trees if by is By.CAUSE else group.failed), value)

    return sorted(groups.items(), key=rank)


def _share(group: _Group, by: By, trees: int) -> float:
    """Return a cause's share of all trees, or else the share of failures within the group."""
    return group.trees / trees if by is By.CAUSE else group.failed / group.trees


def _document(groups: dict[str, _Group], total: Counter[Cause], *, by: By) -> dict[str, Any]:
    trees = total.total()
    return {
        "by": str(by),
        "trees": trees,
        "failed": sum(total[cause] for cause in FAILURES),
        "groups": [
            {
                "value": value,
                "trees": group.trees,
                "failed": group.failed,
                "share": round(_share(group, by, trees), 4),
                "causes": {str(cause): number for cause, number in group.causes.most_common()},
                "example": group.example.found.tree,
                "task": group.example.task,
            }
            for value, group in _ordered(groups, by)
        ],
    }


def _table(groups: dict[str, _Group], total: Counter[Cause], *, by: By, width: int) -> RenderableType:
    """Return the groups, a line each; a narrow terminal drops the example first, then cuts long names."""
    trees, failed = total.total(), sum(total[cause] for cause in FAILURES)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(str(by), no_wrap=True, max_width=max(_NAME, width - _BESIDE))
    for name in ("trees",) if by is By.CAUSE else ("trees", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    if by is not By.CAUSE:
        table.add_column("mostly", no_wrap=True)
    table.add_column("for example")
    for value, group in _ordered(groups, by):
        style = cause_style(Cause(value)) if by is By.CAUSE else ""
        name = Text(printable(value), style=style, no_wrap=False, overflow="fold")
        main = group.main_cause
        numbers = [f"{group.trees:,}"] if by is By.CAUSE else [f"{group.trees:,}", f"{group.failed:,}"]
        mostly = [] if by is By.CAUSE else [Text(str(main or ""), style="red")]
        table.add_row(name, *numbers, f"{_share(group, by, trees):.1%}", *mostly, _named(group.example))
    return Group(Text(f"{count(trees, 'tree')}, {failed:,} of them failed"), Text(), table)


def _first_line(tree: Tree) -> str:
    return excerpt(next(iter(tree.task.text.strip().splitlines()), ""), _TASK)


def _named(one: _Listed) -> Text:
    return Text.assemble((one.found.tree, "dim"), "  ", one.task, no_wrap=True, overflow="ellipsis")


def _list(listed: list[_Listed], cause: Cause) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for one in listed[:MOST_LISTED]:
        about = Text(f"{one.task}\n" if one.task else "", style="bold")
        table.add_row(one.found.tree, about.append(printable(one.found.text), style="not bold"))
    parts: list[RenderableType] = [Text(f"{count(len(listed), 'tree')} with cause {cause}"), Text(), table]
    if len(listed) > MOST_LISTED:
        parts.append(Text(f"… and {len(listed) - MOST_LISTED:,} more; --json lists them all", style="dim"))
    return Group(*parts)
