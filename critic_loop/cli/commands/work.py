"""Commands that run loops or use what they made: `demo`, `run`, `export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from critic_loop.cli import completion
from critic_loop.cli.options import (
    ActorOption,
    AsJson,
    Assets,
    CriticOption,
    JudgeOption,
    RecipeFilter,
    StoreOption,
    import_from,
    settings_of,
    terminal_of,
    typed,
)


class FileFormat(StrEnum):
    """How rows are written."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    BOTH = "both"


def demo_command(  # noqa: PLR0913  # options of a command line
    ctx: typer.Context,
    *,
    puzzles: Annotated[int, typer.Option(metavar="N", min=1, help="Held-out puzzles per level.")] = 60,
    full: Annotated[
        bool, typer.Option("--full", metavar="", help="Also run the arms best-of-n and vote, and the controls.")
    ] = False,
    tokens: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Most generated tokens per puzzle; else the level's cap."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the puzzles and of all draws.")] = 1,
    actor: Annotated[
        str, typer.Option(metavar="SPEC", help="The model that plays all roles.")
    ] = "embedded:countdown",
    store: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Where trees are kept; else a new file in .critic_loop/."),
    ] = None,
    into: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A Markdown file whose demo table is replaced.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare one answer, answers drawn anew, and critique with revision, at equal tokens."""
    from critic_loop.cli.demo import demo, fresh_file
    from critic_loop.cli.run import resume_of

    terminal = terminal_of(ctx)
    where = store or str(fresh_file())
    resume = resume_of(where) if store else f"Run the same command with --store {where} to resume."
    with terminal.failing(as_json=as_json, resume=resume):
        demo(
            actor=actor, puzzles=puzzles, full=full, tokens=tokens, seed=seed, store=where, into=into,
            as_json=as_json, terminal=terminal,
        )  # fmt: skip


def run_command(  # noqa: PLR0913  # options of a command line
    ctx: typer.Context,
    task: Annotated[str | None, typer.Argument(help="The prompt; - reads it from standard input.")] = None,
    *,
    file: Annotated[
        str | None,
        typer.Option("--file", "-f", metavar="FILE", help="JSON lines with prompts; - is standard input."),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.recipes,
            envvar="CRITIC_LOOP_RECIPE",
            help="A recipe's name, or a .toml file.",
        ),
    ] = "refine",
    actor: ActorOption = None,
    critic: CriticOption = None,
    judge: JudgeOption = None,
    verifier: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.verifiers,
            help="In place of the recipe's: a name or package.module:name. Repeatable.",
        ),
    ] = None,
    store: StoreOption = "./.critic_loop/trees.db",
    in_flight: Annotated[
        int, typer.Option(metavar="N", min=1, envvar="CRITIC_LOOP_IN_FLIGHT", help="Tasks at once.")
    ] = 16,
    same_error: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            envvar="CRITIC_LOOP_SAME_ERROR",
            help="End the run after this many calls in a row, over all tasks, that fail in the same way.",
        ),
    ] = 20,
    max_calls: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, envvar="CRITIC_LOOP_MAX_CALLS", help="Calls a task, all roles together."
        ),
    ] = None,
    lanes: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, envvar="CRITIC_LOOP_LANES", help="Attempts at once within a task."),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Another seed makes other trees.")] = None,
    assets: Assets = None,
    replay: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Answer all calls from the trees of this store, without a model."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--new", metavar="", help="Resume the trees of the same command, or start new ones."
        ),
    ] = True,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Results as JSON lines.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a recipe on a task, or on many.

    Ctrl-C once stops after the calls in flight, twice stops at once. The same command resumes the run.
    """
    from critic_loop.cli.run import RunArguments, resume_of, run

    terminal, found = terminal_of(ctx), settings_of(ctx)
    if replay is not None:  # what the configuration names is for runs with models
        actor, critic, judge = (
            given if typed(ctx, name) else None
            for name, given in (("actor", actor), ("critic", critic), ("judge", judge))
        )
        store = store if typed(ctx, "store") else "memory"
    arguments = RunArguments(
        task=task, file=file, recipe=recipe, actor=actor, critic=critic, judge=judge, verifiers=verifier or (),
        store=store, assets=assets or (), in_flight=in_flight, same_error=same_error, max_calls=max_calls,
        lanes=lanes, seed=seed, new=not resume, out=out, as_json=as_json, judge_if_any=not typed(ctx, "judge"),
        models=found.settings.models, file_of_settings=found.file, replay=replay,
    )  # fmt: skip
    with terminal.failing(as_json=as_json, resume=resume_of(store)):
        import_from(found.folder)
        raise typer.Exit(run(arguments, terminal))


def export_command(
    ctx: typer.Context,
    *,
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            autocompletion=completion.formats,
            help="sft, preference, critique-sft, or an exporter of your own.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder to write into; an earlier export in it is deleted.")
    ],
    file_format: Annotated[
        FileFormat, typer.Option("--format", help="The format of the files.")
    ] = FileFormat.JSONL,
    store: StoreOption = "./.critic_loop/trees.db",
    recipe: RecipeFilter = None,
    as_json: AsJson = False,
) -> None:
    """Write training data from stored trees."""
    from critic_loop.cli.export import export

    terminal = terminal_of(ctx)
    with terminal.failing(as_json=as_json):
        export(
            to=to, out=out, file_format=file_format.value, store=store, recipe=recipe, as_json=as_json,
            terminal=terminal,
        )  # fmt: skip
