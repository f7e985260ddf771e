"""`config`: the settings in force."""

from __future__ import annotations

import typer

from critic_loop.cli.options import (
    AsJson,
    settings_of,
    terminal_of,
)

group = typer.Typer(
    invoke_without_command=True,
    help="Show the settings that are in force, and where each came from.\n\n"
    "A critic_loop.toml here or above (not above a git root) < the environment < flags.",
)


@group.callback()
def config_command(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Show the settings that are in force, and where each came from."""
    if ctx.invoked_subcommand is None:
        from critic_loop.cli.config import config

        terminal = terminal_of(ctx)
        with terminal.failing(as_json=as_json):
            config(settings_of(ctx), terminal, as_json=as_json)


@group.command("path")
def config_path_command(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Show where the configuration file lies; exit code 1 if there is none."""
    from critic_loop.cli.config import path

    terminal = terminal_of(ctx)
    with terminal.failing(as_json=as_json):
        raise typer.Exit(path(settings_of(ctx), terminal, as_json=as_json))
