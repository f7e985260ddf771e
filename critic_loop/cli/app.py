"""The commands and their options. Heavy parts are imported by the command that needs them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from critic_loop import __version__
from critic_loop.cli import completion
from critic_loop.cli.logs import LogFormat, LogLevel, configure
from critic_loop.cli.terminal import Terminal, UsageProblem

if TYPE_CHECKING:
    from critic_loop.cli.settings import Found

app = typer.Typer(
    name="critic-loop",
    help="Draft, critique, refine or search, and keep every trajectory as a tree.",
    no_args_is_help=True,
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
        "--assets",
        metavar="DIR",
        envvar="CRITIC_LOOP_ASSETS",
        help="A folder with agents/ and prompts/ to look through first. Repeatable.",
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


class FileFormat(StrEnum):
    """How rows are written."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Globals:
    terminal: Terminal
    found: Found


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
    """Draft, critique, refine or search, and keep every trajectory as a tree."""
    from critic_loop.cli.settings import Found, effective

    given = {"log_level": log_level, "log_format": log_format}
    typed = {name: value for name, value in given.items() if _typed(ctx, name)}
    found, problem = Found(), None
    try:
        found = effective(_here(), os.environ, typed)
    except UsageProblem as error:
        problem = error
    terminal = Terminal(traceback=traceback, problem=problem)
    configure(found.settings.log_level, found.settings.log_format, terminal.err)
    ctx.default_map = _defaults(ctx.command, found)
    ctx.obj = _Globals(terminal=terminal, found=found)


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        message = f"the current folder cannot be used: {error.strerror}."
        raise UsageProblem(message, hint="Change into a folder that exists.") from error


def _typed(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _defaults(command: object, found: Found) -> dict[str, Any]:
    """Return what the configuration file gives as the options' defaults, by command.

    Only `run` takes everything: what a word like `recipe` means elsewhere is another thing. `demo` is the same
    everywhere.
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


def _terminal(ctx: typer.Context) -> Terminal:
    given: _Globals = ctx.obj
    return given.terminal


def _found(ctx: typer.Context) -> Found:
    given: _Globals = ctx.obj
    return given.found


def _import_from(folder: Path) -> None:
    """Let recipes name code of the project, as in `checks.brevity:brevity`; installed code comes first."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


@app.command("demo")
def demo_command(  # noqa: PLR0913  # options of a command line
    ctx: typer.Context,
    *,
    puzzles: Annotated[int, typer.Option(metavar="N", min=1, help="How many held-out puzzles a level.")] = 60,
    full: Annotated[
        bool, typer.Option("--full", metavar="", help="All arms: best-of-n, vote, and the controls, too.")
    ] = False,
    tokens: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Generated tokens a puzzle, in place of the level's.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the puzzles and of every draw.")] = 1,
    actor: Annotated[
        str, typer.Option(metavar="SPEC", help="The model that plays all roles.")
    ] = "embedded:countdown",
    store: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="Where trees are kept; else a new file in .critic_loop/."),
    ] = None,
    into: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A Markdown file whose demo table is written anew.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare one answer, answers drawn anew, and critique with revision, at equal tokens."""
    from critic_loop.cli.demo import demo, fresh_file
    from critic_loop.cli.run import resume_of

    terminal = _terminal(ctx)
    where = store or str(fresh_file())
    resume = resume_of(where) if store else f"Run the same command with --store {where} to go on."
    with terminal.failing(as_json=as_json, resume=resume):
        demo(
            actor=actor, puzzles=puzzles, full=full, tokens=tokens, seed=seed, store=where, into=into,
            as_json=as_json, terminal=terminal,
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
            help="Calls in a row, in whatever task, that fail in the same way and so end the run.",
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
            "--resume/--new", metavar="", help="Go on with the trees of an equal command, or begin new ones."
        ),
    ] = True,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Results as JSON lines.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a recipe on a task, or on many.

    Ctrl-C once waits for the calls in flight and ends; twice ends at once. The same command goes on.
    """
    from critic_loop.cli.run import Wish, resume_of, run

    terminal, found = _terminal(ctx), _found(ctx)
    if replay is not None:  # what the configuration names is for runs with models
        actor, critic, judge = (
            given if _typed(ctx, name) else None
            for name, given in (("actor", actor), ("critic", critic), ("judge", judge))
        )
        store = store if _typed(ctx, "store") else "memory"
    wish = Wish(
        task=task, file=file, recipe=recipe, actor=actor, critic=critic, judge=judge, verifiers=verifier or (),
        store=store, assets=assets or (), in_flight=in_flight, same_error=same_error, max_calls=max_calls,
        lanes=lanes, seed=seed, new=not resume, out=out, as_json=as_json, judge_if_any=not _typed(ctx, "judge"),
        models=found.settings.models, file_of_settings=found.file, replay=replay,
    )  # fmt: skip
    with terminal.failing(as_json=as_json, resume=resume_of(store)):
        _import_from(found.folder)
        raise typer.Exit(run(wish, terminal))


@app.command("export")
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
        Path, typer.Option(metavar="DIR", help="The folder that takes them; an earlier export there goes.")
    ],
    file_format: Annotated[
        FileFormat, typer.Option("--format", help="How they are written.")
    ] = FileFormat.JSONL,
    store: StoreOption = "./.critic_loop/trees.db",
    recipe: RecipeFilter = None,
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


StoreArgument = Annotated[str, typer.Argument(metavar="STORE", help="Where trees are kept: a path or a URL.")]
TreeArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="TREE",
        autocompletion=completion.trees,
        help="Its id or how it begins; not needed where there is but one.",
    ),
]


@app.command("why")
def why_command(
    ctx: typer.Context, store: StoreArgument, tree: TreeArgument = None, *, as_json: AsJson = False
) -> None:
    """Say why a stored tree came to no right answer, and what shows it."""
    from critic_loop.cli.why import explain

    terminal = _terminal(ctx)
    with terminal.failing(as_json=as_json):
        explain(store, tree, terminal, as_json=as_json)


@app.command("failures")
def failures_command(
    ctx: typer.Context,
    store: StoreArgument,
    *,
    by: Annotated[
        str | None,
        typer.Option(metavar="WHAT", help="cause (as if nothing is said), recipe, task, model, stop, tag."),
    ] = None,
    cause: Annotated[
        str | None, typer.Option(metavar="CAUSE", help="Only trees of this cause; without --by, list them.")
    ] = None,
    recipe: RecipeFilter = None,
    as_json: AsJson = False,
) -> None:
    """Count what went wrong in the trees of a store."""
    from critic_loop.cli.why import failures

    terminal = _terminal(ctx)
    with terminal.failing(as_json=as_json):
        failures(store, by=by, cause=cause, recipe=recipe, as_json=as_json, terminal=terminal)


@app.command("show")
def show_command(
    ctx: typer.Context,
    store: StoreArgument,
    tree: TreeArgument = None,
    *,
    attempt: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only this attempt, what led to it and what followed, with its calls."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", metavar="", help="All attempts, and nothing cut short.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one self-contained page instead.")
    ] = None,
    svg: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the tree instead: values, verdicts, where the budget went."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a stored tree: attempts, what they changed, and what was said of them."""
    from critic_loop.cli.show import show

    terminal = _terminal(ctx)
    with terminal.failing(as_json=as_json):
        show(store, tree, attempt=attempt, full=full, html=html, svg=svg, as_json=as_json, terminal=terminal)


class CompareMeasure(StrEnum):
    """What is compared."""

    SOLVED = "solved"
    SCORE = "score"


class CompareUnit(StrEnum):
    """What is spent."""

    TOKENS = "tokens"
    CALLS = "calls"
    USD = "usd"


@app.command("compare")
def compare_command(  # noqa: PLR0913  # options of a command line
    ctx: typer.Context,
    store: StoreArgument,
    other: Annotated[
        str | None, typer.Argument(metavar="OTHER", help="The other side's store; else the same one.")
    ] = None,
    *,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME", autocompletion=completion.recipes, help="The recipe of the first side."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="NAME", autocompletion=completion.recipes, help="The recipe of the other side."),
    ] = None,
    measure: Annotated[
        CompareMeasure, typer.Option(help="Whether answers are right, or what their loop thinks of them.")
    ] = CompareMeasure.SOLVED,
    unit: Annotated[
        CompareUnit, typer.Option(help="What budgets count: generated tokens, calls, or US dollars.")
    ] = CompareUnit.TOKENS,
    resamples: Annotated[int, typer.Option(metavar="N", min=100, help="Of the paired bootstrap.")] = 2000,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the paired bootstrap.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Compare two loops on the tasks that both have: paired, and at equal cost."""
    from critic_loop.cli.compare import Wish, compare

    terminal = _terminal(ctx)
    wish = Wish(
        store=store, other=other, recipe=recipe, against=against, measure=measure.value, unit=unit.value,
        resamples=resamples, seed=seed,
    )  # fmt: skip
    with terminal.failing(as_json=as_json):
        compare(wish, terminal, as_json=as_json)


recipes_app = typer.Typer(no_args_is_help=True, help="What there is to run, and whether it is in order.")
app.add_typer(recipes_app, name="recipes")


@recipes_app.command("list")
def recipes_list_command(ctx: typer.Context, *, assets: Assets = None, as_json: AsJson = False) -> None:
    """List the recipes."""
    from critic_loop.cli.recipes import list_all

    terminal = _terminal(ctx)
    with terminal.failing(as_json=as_json):
        list_all(assets or (), terminal, as_json=as_json)


@recipes_app.command("show")
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

    terminal = _terminal(ctx)
    with terminal.failing(as_json=as_json):
        show(name, assets or (), terminal, as_json=as_json)


@recipes_app.command("check")
def recipes_check_command(
    ctx: typer.Context,
    what: Annotated[
        str | None,
        typer.Argument(
            autocompletion=completion.recipes,
            help="A recipe's name, a file, or a folder with agents/ and prompts/; else this project's.",
            metavar="[NAME|PATH]",
        ),
    ] = None,
    *,
    assets: Assets = None,
    as_json: AsJson = False,
) -> None:
    """Check recipes, specs and prompts: every problem with its file and line; exit code 1 if there is one."""
    from critic_loop.cli.recipes import check

    terminal, found = _terminal(ctx), _found(ctx)
    with terminal.failing(as_json=as_json):
        _import_from(found.folder)
        raise typer.Exit(check(what, found.folder, assets or (), terminal, as_json=as_json))


models_app = typer.Typer(
    invoke_without_command=True,
    help="Show which models are configured, which answer, and what they can do.\n\n"
    "An endpoint is asked for the list of its models; exit code 1 if one does not answer.",
)
app.add_typer(models_app, name="models")


@models_app.callback()
def models_command(
    ctx: typer.Context,
    *,
    actor: ActorOption = None,
    critic: CriticOption = None,
    judge: JudgeOption = None,
    probe: Annotated[
        bool, typer.Option("--probe", metavar="", help="Ask each for one token, too: that is a prompt.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show which models are configured, which answer, and what they can do.

    An endpoint is asked for the list of its models; exit code 1 if one does not answer.
    """
    if ctx.invoked_subcommand is not None:
        return
    from critic_loop.cli.models import models

    terminal, found = _terminal(ctx), _found(ctx)
    slots = {"actor": actor, "critic": critic, "judge": judge}
    with terminal.failing(as_json=as_json):
        raise typer.Exit(models(slots, found.settings.models, terminal, probe=probe, as_json=as_json))


@models_app.command("probe")
def models_probe_command(
    ctx: typer.Context,
    spec: Annotated[
        str,
        typer.Argument(
            autocompletion=completion.models, help="BACKEND:NAME[@URL], or the name of a table in \\[models]."
        ),
    ],
    *,
    refresh: Annotated[
        bool, typer.Option("--refresh", metavar="", help="Ask again, though an earlier answer is kept.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find out what an endpoint can do, with about ten short requests, and keep the answer.

    Tools, JSON schemas, log-probabilities of answers and of given texts, token ids, several choices, seeds,
    images. Models of this endpoint are asked accordingly from then on.
    """
    from critic_loop.cli.probe import probe

    terminal, found = _terminal(ctx), _found(ctx)
    with terminal.failing(as_json=as_json):
        probe(spec, found.settings.models, terminal, refresh=refresh, as_json=as_json)


config_app = typer.Typer(
    invoke_without_command=True,
    help="Show the settings that are in force, and where each came from.\n\n"
    "A critic_loop.toml here or above (not above a git root) < the environment < flags.",
)
app.add_typer(config_app, name="config")


@config_app.callback()
def config_command(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Show the settings that are in force, and where each came from."""
    if ctx.invoked_subcommand is None:
        from critic_loop.cli.config import config

        terminal = _terminal(ctx)
        with terminal.failing(as_json=as_json):
            config(_found(ctx), terminal, as_json=as_json)


@config_app.command("path")
def config_path_command(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Show where the configuration file lies; exit code 1 if there is none."""
    from critic_loop.cli.config import path

    terminal = _terminal(ctx)
    with terminal.failing(as_json=as_json):
        raise typer.Exit(path(_found(ctx), terminal, as_json=as_json))


new_app = typer.Typer(
    no_args_is_help=True, help="Write files of your own to begin with; they work as they are."
)
app.add_typer(new_app, name="new")


@new_app.command("recipe")
def new_recipe_command(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="As in careful-summary.")],
    *,
    prompts: Annotated[
        bool, typer.Option("--prompts", metavar="", help="With an actor, a critic and their prompts.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a recipe and its test into this project; nothing is overwritten."""
    from critic_loop.cli.new import recipe

    terminal = _terminal(ctx)
    with terminal.failing(as_json=as_json):
        recipe(name, _found(ctx), terminal, prompts=prompts, as_json=as_json)


@new_app.command("verifier")
def new_verifier_command(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="As in short-answer.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Write a verifier and its test into this project; nothing is overwritten."""
    from critic_loop.cli.new import verifier

    terminal = _terminal(ctx)
    with terminal.failing(as_json=as_json):
        verifier(name, _found(ctx), terminal, as_json=as_json)
