"""Shell completion: recipes, models, formats, verifiers, trees.

Each function reads only files of this machine, prints nothing and never fails: where it cannot complete, it
returns nothing. Everything heavy is imported when it is needed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from critic_loop.assets import Library

_MOST_TREES = 50
Offers = list[tuple[str, str]]
"""Values, each with a word of help."""


def _quiet(
    complete: Callable[[typer.Context], Iterable[tuple[str, str]]], ctx: typer.Context, begun: str
) -> Offers:
    try:
        return [offer for offer in complete(ctx) if offer[0].startswith(begun)]
    except Exception:  # noqa: BLE001  # a shell waits: no completion is better than an error
        return []


def recipes(ctx: typer.Context, incomplete: str) -> Offers:
    """Offer the names of recipes."""
    return _quiet(_recipes, ctx, incomplete)


def models(ctx: typer.Context, incomplete: str) -> Offers:
    """Offer the names of tables in [models], then backends."""
    return _quiet(_models, ctx, incomplete)


def formats(ctx: typer.Context, incomplete: str) -> Offers:
    """Offer the export formats."""
    return _quiet(_formats, ctx, incomplete)


def verifiers(ctx: typer.Context, incomplete: str) -> Offers:
    """Offer the verifiers that have names."""
    return _quiet(_verifiers, ctx, incomplete)


def trees(ctx: typer.Context, incomplete: str) -> Offers:
    """Offer the newest trees of a file, by id."""
    return _quiet(_trees, ctx, incomplete)


def _settings() -> Any:
    from critic_loop.cli.settings import effective

    return effective(Path.cwd(), os.environ).settings


def _recipes(ctx: typer.Context) -> Offers:
    from critic_loop.assets import Library

    library = Library(ctx.params.get("assets") or _settings().assets)
    return [(name, _about(library, name)) for name in library.names("recipe")]


def _about(library: Library, name: str) -> str:
    from critic_loop.core.errors import AssetError
    from critic_loop.core.printable import excerpt

    try:
        return excerpt(library.recipe(name).description)
    except AssetError:  # the others are offered as ever, and this one tells what is wrong when it is run
        return ""


def _models(_: typer.Context) -> Offers:
    from critic_loop.models.providers.specs import backends

    tables = [(name, table.spec) for name, table in _settings().models.items()]
    return [*tables, *((f"{name}:", "") for name in backends())]


def _formats(_: typer.Context) -> Offers:
    from critic_loop.export import FORMATS

    return [(name.replace("_", "-"), "") for name in FORMATS]


def _verifiers(_: typer.Context) -> Offers:
    from critic_loop.core import plugins
    from critic_loop.verifiers.named import GROUP, VERIFIERS

    return [(name, "") for name in sorted({*VERIFIERS, *plugins.names(GROUP)})]


def _trees(ctx: typer.Context) -> Offers:
    from critic_loop.store import open_store

    where = str(ctx.params.get("store") or _settings().store)
    if not Path(where.removeprefix("sqlite:///")).is_file():
        return []

    async def read() -> Offers:
        store = open_store(where)
        try:
            found = [(tree.id, " ".join(tree.task.split())[:60]) async for tree in store.trees()]
        finally:
            await store.aclose()
        return found[: -_MOST_TREES - 1 : -1]

    return asyncio.run(read())
