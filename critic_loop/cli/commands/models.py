"""`models`: which models respond, and what they support."""

from __future__ import annotations

from typing import Annotated

import typer

from critic_loop.cli import completion
from critic_loop.cli.options import (
    ActorOption,
    AsJson,
    CriticOption,
    JudgeOption,
    settings_of,
    terminal_of,
)

group = typer.Typer(
    invoke_without_command=True,
    help="Show which models are configured, which respond, and what they support.\n\n"
    "An endpoint is asked for the list of its models; exit code 1 if one does not respond.",
)


@group.callback()
def models_command(
    ctx: typer.Context,
    *,
    actor: ActorOption = None,
    critic: CriticOption = None,
    judge: JudgeOption = None,
    probe: Annotated[
        bool, typer.Option("--probe", metavar="", help="Also send each model a prompt and ask for one token.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show which models are configured, which respond, and what they support.

    An endpoint is asked for the list of its models; exit code 1 if one does not respond.
    """
    if ctx.invoked_subcommand is not None:
        return
    from critic_loop.cli.models import models

    terminal, found = terminal_of(ctx), settings_of(ctx)
    slots = {"actor": actor, "critic": critic, "judge": judge}
    with terminal.failing(as_json=as_json):
        raise typer.Exit(models(slots, found.settings.models, terminal, probe=probe, as_json=as_json))


@group.command("probe")
def models_probe_command(
    ctx: typer.Context,
    spec: Annotated[
        str,
        typer.Argument(
            autocompletion=completion.models, help="BACKEND:NAME\\[@URL], or the name of a table in \\[models]."
        ),
    ],
    *,
    refresh: Annotated[
        bool, typer.Option("--refresh", metavar="", help="Probe again, even if a result is stored.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Test what an endpoint supports with about ten short requests, and store the result.

    Tools, JSON schemas, log-probabilities of answers and of given texts, token ids, several choices, seeds,
    images. Later requests to this endpoint use only what it supports.
    """
    from critic_loop.cli.probe import probe

    terminal, found = terminal_of(ctx), settings_of(ctx)
    with terminal.failing(as_json=as_json):
        probe(spec, found.settings.models, terminal, refresh=refresh, as_json=as_json)
