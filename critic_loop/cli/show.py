"""`critic-loop show`: a tree from its root to the answer, in a terminal, as a page, a picture or JSON."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from critic_loop.cli.stored import stored
from critic_loop.cli.terminal import Terminal, UsageProblem
from critic_loop.core.printable import printable
from critic_loop.core.tree import Tree
from critic_loop.render.outline import Outline, outline
from critic_loop.render.text import page

MOST_ATTEMPTS = 20
MOST_ON_A_PAGE = 200


def show(
    store: str,
    wanted: str | None,
    *,
    attempt: str | None,
    full: bool,
    html: Path | None,
    svg: Path | None,
    as_json: bool,
    terminal: Terminal,
) -> None:
    """Show a stored tree."""
    with stored(store) as trees:
        tree = trees.tree(wanted)
    zoom = _attempt(tree, attempt or (wanted if wanted in tree.asks else None))
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
    """Return the attempt's id; its number within the tree will do.

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
