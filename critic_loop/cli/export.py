"""`critic-loop export`: stored trees into files for trainers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from critic_loop.cli.terminal import Terminal, UsageProblem
from critic_loop.core.printable import count
from critic_loop.core.protocols import Store
from critic_loop.core.tree import Tree

if TYPE_CHECKING:
    from critic_loop.export import Manifest


def export(
    *,
    to: str,
    out: Path,
    file_format: Literal["jsonl", "parquet", "both"],
    store: str,
    recipe: str | None,
    as_json: bool,
    terminal: Terminal,
) -> None:
    """Write the rows and show what was written."""
    from critic_loop.export import FORMATS, export
    from critic_loop.store import open_store

    require_file(store)
    name = to.replace("-", "_") if to.replace("-", "_") in FORMATS else to
    opened = open_store(store)
    with asyncio.Runner() as runner:
        try:
            ids = runner.run(_ids(opened, recipe))
            if not ids:
                raise _no_trees(opened, recipe)
            trees = _trees(runner, opened, ids, terminal)
            manifest = export(trees, name, out, format=file_format)
        finally:
            runner.run(opened.aclose())
    if as_json:
        from critic_loop.cli.documents.work import ExportDocument

        terminal.document(ExportDocument(out=str(out), store=opened.where, **manifest.model_dump()))
    else:
        terminal.out.print(_page(manifest, out))


def require_file(store: str) -> None:
    """Refuse a file that does not exist: reading would only find nothing.

    Raises:
        UsageProblem: there is no such file.
    """
    path = Path(store.removeprefix("sqlite:///"))
    if "://" not in str(path) and path.suffix in (".db", ".sqlite", ".sqlite3") and not path.exists():
        raise UsageProblem(
            f"there is no store {store}.",
            hint="Name one with --store; critic-loop run and critic-loop demo print the store's path.",
        )


def _no_trees(store: Store, recipe: str | None) -> UsageProblem:
    of_recipe = f" of recipe {recipe!r}" if recipe else ""
    return UsageProblem(
        f"{store.where} holds no tree{of_recipe}.", hint="Run critic-loop run or critic-loop demo first."
    )


async def _ids(store: Store, recipe: str | None) -> list[str]:
    return [tree.id async for tree in store.trees(recipe=recipe)]


def _trees(runner: asyncio.Runner, store: Store, ids: list[str], terminal: Terminal) -> Iterator[Tree]:
    """Yield the trees, one in memory at a time."""
    with terminal.progress() as progress:
        for tree_id in progress.track(ids, description="trees"):
            yield runner.run(store.load(tree_id))


def _page(manifest: Manifest, out: Path) -> RenderableType:
    rows, trees = count(manifest.total, "row"), count(manifest.trees, "tree")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for path, info in manifest.files.items():
        table.add_row("file", f"{info.bytes:,} B", path)
    for reason, number in manifest.skipped.items():
        table.add_row("left out", f"{number:,}", reason)
    for note, number in manifest.notes.items():
        table.add_row("note", f"{number:,}", note)
    table.add_row("digest", "", manifest.digest)
    return Group(Text(f"{rows} for {manifest.export} from {trees}, in {out}/"), table)
