"""`critic-loop show`: a tree from its root to the answer, or the list of trees in a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from critic_loop.cli.listing import listing
from critic_loop.cli.stored import stored
from critic_loop.cli.terminal import Terminal, UsageProblem
from critic_loop.core.listing import TreeQuery
from critic_loop.core.printable import printable
from critic_loop.core.tree import Tree
from critic_loop.render.outline import Outline, outline
from critic_loop.render.text import page

MOST_ATTEMPTS = 20
MOST_ON_A_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a tree is shown."""

    attempt: str | None
    full: bool
    html: Path | None
    svg: Path | None

    @property
    def given(self) -> bool:
        """Whether there is one; a list takes none."""
        return self.full or any(value is not None for value in (self.attempt, self.html, self.svg))


def show(
    store: str, wanted: str | None, query: TreeQuery, options: Options, *, as_json: bool, terminal: Terminal
) -> None:
    """Show a stored tree; where none is named, the only one that there is, or a list of those that match.

    Raises:
        UsageProblem: there is no such tree or attempt, or options exclude each other.
    """
    filtered = query != TreeQuery(limit=query.limit)
    if filtered and (wanted is not None or options.given):
        raise UsageProblem(
            "options that find trees and options that show one tree exclude each other.",
            hint="Find it first (--task, --tag, --state, --recipe, --before), then show it by its id.",
        )
    with stored(store) as trees:
        if filtered or (wanted is None and not options.given and trees.several()):
            listing(trees.find(query), trees.where, store, terminal, as_json=as_json)
            return
        tree = trees.tree(wanted)
    _show_tree(tree, wanted, options, terminal, as_json=as_json)


def _show_tree(tree: Tree, wanted: str | None, options: Options, terminal: Terminal, *, as_json: bool) -> None:
    full, html, svg = options.full, options.html, options.svg
    zoom = _attempt(tree, options.attempt or (wanted if wanted in tree.asks else None))
    if as_json:
        shown = outline(tree, attempt=zoom)
        terminal.document(TypeAdapter(Outline).dump_python(shown, mode="json"))
    if html is not None:
        from critic_loop.render.html import page as html_page

        html.write_text(html_page(outline(tree, most=None if full else MOST_ON_A_PAGE, attempt=zoom)), "utf-8")
        terminal.note(f"{html} shows tree {tree.id}.")
    if svg is not None:
        from critic_loop.render.svg import MOST, picture

        svg.write_text(picture(tree, most=None if full else MOST, attempt=zoom), "utf-8")
        terminal.note(f"{svg} shows tree {tree.id}.")
    if html is None and svg is None and not as_json:
        shown = outline(tree, most=None if full else MOST_ATTEMPTS, attempt=zoom)
        terminal.out.print(page(shown, full=full))


def _attempt(tree: Tree, wanted: str | None) -> str | None:
    """Return the attempt's id, given that id or its number within the tree.

    Raises:
        UsageProblem: the tree has no such attempt.
    """
    if wanted is None:
        return None
    for candidate in (wanted, f"{tree.id}.{wanted}"):
        if candidate in tree.asks:
            return candidate
    last = next(reversed(tree.asks), None)
    hint = f"Its attempts are {tree.id}.1 to {last}; the number alone will do." if last else "It has none."
    raise UsageProblem(f"tree {tree.id!r} has no attempt {printable(wanted)!r}.", hint=hint)
