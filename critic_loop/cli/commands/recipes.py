"""`recipes`: list, show and check recipes."""

from __future__ import annotations

from typing import Annotated

import typer

from critic_loop.cli import completion
from critic_loop.cli.options import (
    AsJson,
    Assets,
    import_from,
    settings_of,
    terminal_of,
)

group = typer.Typer(no_args_is_help=True, help="List, show and check recipes.")


@group.command("list")
def recipes_list_command(ctx: typer.Context, *, assets: Assets = None, as_json: AsJson = False) -> None:
    """List the recipes."""
    from critic_loop.cli.recipes import list_all

    terminal = terminal_of(ctx)
    with terminal.failing(as_json=as_json):
        list_all(assets or (), terminal, as_json=as_json)


@group.command("show")
def recipes_show_command(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(autocompletion=completion.recipes, help="A recipe's name, or a .toml file.")
    ],
    *,
    assets: Assets = None,
    as_json: AsJson = False,
) -> None:
    """Show what a recipe consists of."""
    from critic_loop.cli.recipes import show

    terminal = terminal_of(ctx)
    with terminal.failing(as_json=as_json):
        show(name, assets or (), terminal, as_json=as_json)


@group.command("check")
def recipes_check_command(
    ctx: typer.Context,
    what: Annotated[
        str | None,
        typer.Argument(
            autocompletion=completion.recipes,
            help="A recipe's name, a file, or a folder with agents/ and prompts/; else this project's folder.",
            metavar="[NAME|PATH]",
        ),
    ] = None,
    *,
    assets: Assets = None,
    as_json: AsJson = False,
) -> None:
    """Check recipes, specs and prompts: every problem with its file and line; exit code 1 if there is one."""
    from critic_loop.cli.recipes import check

    terminal, found = terminal_of(ctx), settings_of(ctx)
    with terminal.failing(as_json=as_json):
        import_from(found.folder)
        raise typer.Exit(check(what, found.folder, assets or (), terminal, as_json=as_json))
