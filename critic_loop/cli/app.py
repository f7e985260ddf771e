"""The commands and their options. Heavy parts are imported by the command that needs them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from critic_loop import __version__
from critic_loop.cli.logs import LogFormat, LogLevel, configure
from critic_loop.cli.terminal import Terminal

app = typer.Typer(
    name="critic-loop",
    help="Draft, critique, refine or search, and keep every trajectory as a tree.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

AsJson = Annotated[
    bool, typer.Option("--json", metavar="", help="Write one JSON document to stdout, nothing else.")
]
Assets = Annotated[
    list[Path] | None,
    typer.Option(
        "--assets", metavar="DIR", help="A folder with agents/ and prompts/ to look through first. Repeatable."
    ),
]
StoreOption = Annotated[
    str, typer.Option("--store", envvar="CRITIC_LOOP_STORE", metavar="STORE", help="Where trees are kept.")
]


class FileFormat(StrEnum):
    """How rows are written."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Globals:
    terminal: Terminal


def main() -> None:
    """Run the command line."""
    app()


def _version(wanted: bool) -> None:  # noqa: FBT001  # typer's callback
    if wanted:
        typer.echo(f"critic-loop {__version__}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    *,
    log_level: Annotated[LogLevel, typer.Option(help="How much is logged to stderr.")] = LogLevel.WARNING,
    log_format: Annotated[LogFormat, typer.Option(help="How it is logged.")] = LogFormat.CONSOLE,
    traceback: Annotated[
        bool, typer.Option("--traceback", metavar="", help="Show where an error came from.")
    ] = False,
    version: Annotated[  # noqa: ARG001  # its callback does the work
        bool, typer.Option("--version", metavar="", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Draft, critique, refine or search, and keep every trajectory as a tree."""
    terminal = Terminal(traceback=traceback)
    configure(log_level, log_format, terminal.err)
    ctx.obj = _Globals(terminal=terminal)


def _terminal(ctx: typer.Context) -> Terminal:
    given: _Globals = ctx.obj
    return given.terminal


@app.command("demo")
def demo_command(
    ctx: typer.Context,
    *,
    puzzles: Annotated[int, typer.Option(metavar="N", min=1, help="How many held-out puzzles.")] = 500,
    calls: Annotated[int, typer.Option(metavar="N", min=2, help="Calls a puzzle and strategy at most.")] = 5,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the puzzles and of every draw.")] = 1,
    actor: Annotated[str, typer.Option(metavar="SPEC", help="The model that plays.")] = "embedded:countdown",
    store: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Where trees are kept; else a new file in .critic_loop/."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare one draft, blind retries and try-again on the embedded model."""
    from critic_loop.cli.demo import demo, fresh_file

    terminal = _terminal(ctx)
    where = store or str(fresh_file())
    resume = f"Run the same command with --store {where} to go on; no finished call is repeated."
    with terminal.failing(as_json=as_json, resume=resume):
        demo(
            actor=actor, puzzles=puzzles, calls=calls, seed=seed, store=where, as_json=as_json,
            terminal=terminal,
        )  # fmt: skip


@app.command("run")
def run_command(  # noqa: PLR0913  # options of a command line
    ctx: typer.Context,
    task: Annotated[str | None, typer.Argument(help="What is to be done; - reads standard input.")] = None,
    *,
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", metavar="FILE", help="JSON lines with prompts; - is standard input."),
    ] = None,
    recipe: Annotated[str, typer.Option(metavar="NAME", help="A recipe's name, or a .toml file.")] = "refine",
    actor: Annotated[
        str | None, typer.Option(metavar="SPEC", envvar="CRITIC_LOOP_ACTOR", help="The actor's model.")
    ] = None,
    critic: Annotated[
        str | None,
        typer.Option(metavar="SPEC", envvar="CRITIC_LOOP_CRITIC", help="The critic's model; else the actor's."),
    ] = None,
    judge: Annotated[str | None, typer.Option(metavar="SPEC", help="The pairwise judge's model.")] = None,
    verifier: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="In place of the recipe's: a name or package.module:name. Repeatable.",
        ),
    ] = None,
    store: StoreOption = "./.critic_loop/trees.db",
    in_flight: Annotated[int, typer.Option(metavar="N", min=1, help="Tasks at once.")] = 16,
    max_calls: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Calls a task, all roles together.")
    ] = None,
    lanes: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Attempts at once within a task.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Another seed makes other trees.")] = None,
    assets: Assets = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--new", metavar="", help="Go on with the trees of an equal command, or begin new ones."
        ),
    ] = True,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Results as JSON lines.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a recipe on a task, or on many."""
    from critic_loop.cli.run import RESUME, Wish, run

    terminal = _terminal(ctx)
    wish = Wish(
        task=task, file=file, recipe=recipe, actor=actor, critic=critic, judge=judge, verifiers=verifier or (),
        store=store, assets=assets or (), in_flight=in_flight, max_calls=max_calls, lanes=lanes, seed=seed,
        new=not resume, out=out, as_json=as_json,
    )  # fmt: skip
    with terminal.failing(as_json=as_json, resume=RESUME):
        raise typer.Exit(run(wish, terminal))


@app.command("export")
def export_command(
    ctx: typer.Context,
    *,
    to: Annotated[
        str, typer.Option(metavar="FORMAT", help="sft, preference, critique-sft, or an exporter of your own.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder that takes them.")],
    file_format: Annotated[
        FileFormat, typer.Option("--format", help="How they are written.")
    ] = FileFormat.JSONL,
    store: StoreOption = "./.critic_loop/trees.db",
    recipe: Annotated[str | None, typer.Option(metavar="NAME", help="Only trees of this recipe.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make training data of stored trees."""
    from critic_loop.cli.export import export

    terminal = _terminal(ctx)
    with terminal.failing(as_json=as_json):
        export(
            to=to, out=out, file_format=file_format.value, store=store, recipe=recipe, as_json=as_json,
            terminal=terminal,
        )  # fmt: skip


@app.command("recipes")
def recipes_command(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Show this one.")] = None,
    *,
    assets: Assets = None,
    as_json: AsJson = False,
) -> None:
    """List the recipes, or show one."""
    from critic_loop.cli.recipes import recipes

    terminal = _terminal(ctx)
    with terminal.failing(as_json=as_json):
        recipes(name, assets or (), terminal, as_json=as_json)
