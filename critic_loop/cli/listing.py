"""`critic-loop show STORE`: the trees of a store, found and paged."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from critic_loop.cli.documents.trees import TreeRow, TreesDocument
from critic_loop.cli.terminal import Terminal
from critic_loop.core.listing import TreePage
from critic_loop.core.printable import count, excerpt
from critic_loop.render.words import STATE_STYLES


def listing(page: TreePage, where: str, store: str, terminal: Terminal, *, as_json: bool) -> None:
    """Write a page of trees; `store` is what was typed, `where` its full address."""
    following = page.trees[-1].id if page.more else None
    if as_json:
        rows = [
            TreeRow(
                id=t.id, task=t.task, title=t.title, tags=t.tags, recipe=t.recipe, created_at=t.created_at,
                attempts=t.attempts, state=t.state, stop=t.stop,
            )
            for t in page.trees
        ]  # fmt: skip
        terminal.document(TreesDocument(store=where, total=page.total, trees=rows, next=following))
        return
    if page.trees:
        terminal.out.print(_table(page))
    shown = f"{len(page.trees):,} of " if len(page.trees) < page.total else ""
    terminal.note(f"{shown}{count(page.total, 'tree')}; critic-loop show {store} TREE shows one.")
    if following is not None:
        terminal.note(f"Add --before {following} for the next page, --limit N for longer ones.")


def _table(page: TreePage) -> RenderableType:
    """Return the trees as a table; on a narrow terminal, texts are shortened and ids are not."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for name in ("tree", "begun"):
        table.add_column(name, no_wrap=True)
    table.add_column("recipe", max_width=20)
    table.add_column("attempts", justify="right", no_wrap=True)
    table.add_column("stopped", max_width=20)
    table.add_column("task")
    cell = partial(Text, overflow="ellipsis", no_wrap=True)
    for tree in page.trees:
        begun = datetime.fromtimestamp(tree.created_at).astimezone().strftime("%Y-%m-%d %H:%M")
        task = cell(excerpt(tree.title, 100))
        for tag in tree.tags:
            task.append(f"  #{excerpt(tag, 30)}", style="dim")
        stop = cell(excerpt(tree.stop or tree.state, 40), style=STATE_STYLES[tree.state])
        recipe = cell(excerpt(tree.recipe, 40))
        table.add_row(Text(excerpt(tree.id, 40), style="bold"), begun, recipe, f"{tree.attempts:,}", stop, task)
    return table
