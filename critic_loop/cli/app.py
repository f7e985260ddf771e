"""The command line: its commands by name, the options of all of them, and what the configuration gives them.

What each command takes is in `cli.commands`. Heavy parts are imported by the command that needs them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from critic_loop.cli.commands import config, models, new, recipes, trees, work
from critic_loop.cli.logs import LogFormat, LogLevel, configure
from critic_loop.cli.options import Globals, typed
from critic_loop.cli.terminal import Terminal, UsageProblem
from critic_loop.core.version import VERSION

if TYPE_CHECKING:
    from critic_loop.cli.settings import Found

app = typer.Typer(
    name="critic-loop",
    help="Draft, critique, refine or search, and keep every attempt in a tree.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line."""
    app()


def _version(wanted: bool) -> None:  # noqa: FBT001  # typer's callback
    if wanted:
        typer.echo(f"critic-loop {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    *,
    log_level: Annotated[
        LogLevel | None,
        typer.Option(
            envvar="CRITIC_LOOP_LOG_LEVEL", show_default="warning", help="How much is logged to stderr."
        ),
    ] = None,
    log_format: Annotated[
        LogFormat | None,
        typer.Option(envvar="CRITIC_LOOP_LOG_FORMAT", show_default="console", help="How it is logged."),
    ] = None,
    traceback: Annotated[
        bool, typer.Option("--traceback", metavar="", help="Show where an error came from.")
    ] = False,
    version: Annotated[  # noqa: ARG001  # its callback does the work
        bool, typer.Option("--version", metavar="", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Draft, critique, refine or search, and keep every attempt in a tree."""
    from critic_loop.cli.settings import Found, effective

    given = {"log_level": log_level, "log_format": log_format}
    flags = {name: value for name, value in given.items() if typed(ctx, name)}
    found, problem = Found(), None
    try:
        found = effective(_here(), os.environ, flags)
    except UsageProblem as error:
        problem = error
    terminal = Terminal(traceback=traceback, problem=problem)
    configure(found.settings.log_level, found.settings.log_format, terminal.err)
    ctx.default_map = _defaults(ctx.command, found)
    ctx.obj = Globals(terminal=terminal, found=found)


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        message = f"the current folder cannot be used: {error.strerror}."
        raise UsageProblem(message, hint="Change into a folder that exists.") from error


def _defaults(command: object, found: Found) -> dict[str, Any]:
    """Return the options' defaults from the configuration file, by command.

    Only `run` takes all of them: elsewhere `recipe` and others have another meaning. `demo` takes none.
    """
    shared = {name: found.in_file[name] for name in ("store", "assets") if name in found.in_file}
    given: dict[str, Any] = {}
    for name, one in getattr(command, "commands", {}).items():
        inner = dict.fromkeys(getattr(one, "commands", ()), shared)
        given[name] = {} if name == "demo" else shared | inner
    given["run"] = {name: value for name, value in found.in_file.items() if name != "models"}
    given["models"] = {
        name: given["run"][name] for name in ("actor", "critic", "judge") if name in given["run"]
    }
    return given


for _name, _command in (
    ("demo", work.demo_command),
    ("run", work.run_command),
    ("export", work.export_command),
    ("why", trees.why_command),
    ("failures", trees.failures_command),
    ("show", trees.show_command),
    ("compare", trees.compare_command),
):
    app.command(_name)(_command)
for _name, _group in (
    ("recipes", recipes.group),
    ("models", models.group),
    ("config", config.group),
    ("new", new.group),
):
    app.add_typer(_group, name=_name)
