"""`new`: starter files for a recipe or a verifier."""

from __future__ import annotations

from typing import Annotated

import typer

from critic_loop.cli.options import (
    AsJson,
    settings_of,
    terminal_of,
)

group = typer.Typer(
    no_args_is_help=True, help="Write starter files for a recipe or a verifier, with a test that passes."
)


@group.command("recipe")
def new_recipe_command(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name, such as careful-summary.")],
    *,
    prompts: Annotated[
        bool, typer.Option("--prompts", metavar="", help="Also write an actor, a critic and their prompts.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a recipe and its test into this project; nothing is overwritten."""
    from critic_loop.cli.new import recipe

    terminal = terminal_of(ctx)
    with terminal.failing(as_json=as_json):
        recipe(name, settings_of(ctx), terminal, prompts=prompts, as_json=as_json)


@group.command("verifier")
def new_verifier_command(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name, such as short-answer.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Write a verifier and its test into this project; nothing is overwritten."""
    from critic_loop.cli.new import verifier

    terminal = terminal_of(ctx)
    with terminal.failing(as_json=as_json):
        verifier(name, settings_of(ctx), terminal, as_json=as_json)
