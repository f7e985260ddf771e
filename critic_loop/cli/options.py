"""Options of several commands, and what they are made into: a terminal, the effective settings.

Does not know commands.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from critic_loop.cli import completion
from critic_loop.cli.terminal import Terminal

if TYPE_CHECKING:
    from critic_loop.cli.settings import Found

AsJson = Annotated[
    bool, typer.Option("--json", metavar="", help="Write one JSON document to stdout, nothing else.")
]
Assets = Annotated[
    list[Path] | None,
    typer.Option(
        "--assets",
        metavar="DIR",
        envvar="CRITIC_LOOP_ASSETS",
        help="A folder with agents/ and prompts/, searched before the package's. Repeatable.",
    ),
]
StoreOption = Annotated[
    str, typer.Option("--store", envvar="CRITIC_LOOP_STORE", metavar="STORE", help="Where trees are kept.")
]

ActorOption = Annotated[
    str | None,
    typer.Option(
        "--actor",
        metavar="SPEC",
        autocompletion=completion.models,
        envvar="CRITIC_LOOP_ACTOR",
        help="The actor's model: BACKEND:NAME, or the name of a table in \\[models].",
    ),
]
CriticOption = Annotated[
    str | None,
    typer.Option(
        "--critic",
        metavar="SPEC",
        autocompletion=completion.models,
        envvar="CRITIC_LOOP_CRITIC",
        help="The critic's model; else the actor's.",
    ),
]
JudgeOption = Annotated[
    str | None,
    typer.Option(
        "--judge",
        metavar="SPEC",
        autocompletion=completion.models,
        envvar="CRITIC_LOOP_JUDGE",
        help="The pairwise judge's model; else the actor's.",
    ),
]


RecipeFilter = Annotated[
    str | None,
    typer.Option(
        "--recipe", metavar="NAME", autocompletion=completion.recipes, help="Only trees of this recipe."
    ),
]

StoreArgument = Annotated[str, typer.Argument(metavar="STORE", help="Where trees are kept: a path or a URL.")]
TreeArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="TREE",
        autocompletion=completion.trees,
        help="The tree's id or the first letters of it; not needed if the store has one tree.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Globals:
    """What is made before a command begins."""

    terminal: Terminal
    found: Found


def typed(ctx: typer.Context, name: str) -> bool:
    """Return whether an option was written on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def terminal_of(ctx: typer.Context) -> Terminal:
    """Return where a command writes."""
    given: Globals = ctx.obj
    return given.terminal


def settings_of(ctx: typer.Context) -> Found:
    """Return the settings in force, and where they came from."""
    given: Globals = ctx.obj
    return given.found


def import_from(folder: Path) -> None:
    """Let recipes name code of the project, as in `checks.brevity:brevity`; installed code comes first."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
