"""Commands that read stored trees: `why`, `failures`, `show`, `compare`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from critic_loop.cli import completion
from critic_loop.cli.options import (
    AsJson,
    RecipeFilter,
    StoreArgument,
    TreeArgument,
    terminal_of,
)


def why_command(
    ctx: typer.Context, store: StoreArgument, tree: TreeArgument = None, *, as_json: AsJson = False
) -> None:
    """Explain why a stored tree came to no right answer, with the records that show it."""
    from critic_loop.cli.why import explain

    terminal = terminal_of(ctx)
    with terminal.failing(as_json=as_json):
        explain(store, tree, terminal, as_json=as_json)


def failures_command(
    ctx: typer.Context,
    store: StoreArgument,
    *,
    by: Annotated[
        str | None,
        typer.Option(metavar="WHAT", help="cause (the default), recipe, task, model, stop, tag."),
    ] = None,
    cause: Annotated[
        str | None, typer.Option(metavar="CAUSE", help="Only trees of this cause; without --by, list them.")
    ] = None,
    recipe: RecipeFilter = None,
    as_json: AsJson = False,
) -> None:
    """Count what went wrong in the trees of a store."""
    from critic_loop.cli.why import failures

    terminal = terminal_of(ctx)
    with terminal.failing(as_json=as_json):
        failures(store, by=by, cause=cause, recipe=recipe, as_json=as_json, terminal=terminal)


class State(StrEnum):
    """The state of a tree."""

    UNFINISHED = "unfinished"
    PARKED = "parked"
    INTERRUPTED = "interrupted"
    ENDED = "ended"


def show_command(  # noqa: PLR0913  # options of a command line
    ctx: typer.Context,
    store: StoreArgument,
    tree: TreeArgument = None,
    *,
    attempt: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only this attempt, its ancestors and its children, with their calls."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", metavar="", help="All attempts, and no text shortened.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one self-contained HTML page instead.")
    ] = None,
    svg: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the tree instead: values, verdicts, costs."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="ID", help="List the trees of the task with this id.")
    ] = None,
    tag: Annotated[
        str | None, typer.Option(metavar="TAG", help="List the trees whose task has this tag.")
    ] = None,
    state: Annotated[State | None, typer.Option(help="List the trees in this state.")] = None,
    recipe: RecipeFilter = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=1_000_000, help="Trees on a page of the list.")
    ] = 20,
    before: Annotated[
        str | None,
        typer.Option(metavar="TREE", help="List the trees that are older than this one: the next page."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a stored tree (attempts, changes, feedback), or list the trees of a store.

    Without TREE, the store's only tree is shown; of several, or where a filter is given, a list, newest first.
    """
    from critic_loop.cli.show import Options, show
    from critic_loop.core.listing import TreeQuery

    terminal = terminal_of(ctx)
    query = TreeQuery(
        recipe=recipe, task=task, tag=tag, state=None if state is None else state.value, before=before,
        limit=limit,
    )  # fmt: skip
    options = Options(attempt=attempt, full=full, html=html, svg=svg)
    with terminal.failing(as_json=as_json):
        show(store, tree, query, options, as_json=as_json, terminal=terminal)


class CompareMeasure(StrEnum):
    """What is compared."""

    SOLVED = "solved"
    SCORE = "score"


class CompareUnit(StrEnum):
    """What is spent."""

    TOKENS = "tokens"
    CALLS = "calls"
    USD = "usd"


def compare_command(  # noqa: PLR0913  # options of a command line
    ctx: typer.Context,
    store: StoreArgument,
    other: Annotated[
        str | None, typer.Argument(metavar="OTHER", help="The other side's store; else the same store.")
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
        CompareMeasure,
        typer.Option(help="solved: share of right answers; score: the loop's own score of its answers."),
    ] = CompareMeasure.SOLVED,
    unit: Annotated[
        CompareUnit, typer.Option(help="What budgets count: generated tokens, calls, or US dollars.")
    ] = CompareUnit.TOKENS,
    resamples: Annotated[
        int, typer.Option(metavar="N", min=100, help="Resamples of the paired bootstrap.")
    ] = 2000,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the paired bootstrap.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Compare two loops on the tasks that both have: paired, and at equal cost."""
    from critic_loop.cli.compare import CompareArguments, compare

    terminal = terminal_of(ctx)
    arguments = CompareArguments(
        store=store, other=other, recipe=recipe, against=against, measure=measure.value, unit=unit.value,
        resamples=resamples, seed=seed,
    )  # fmt: skip
    with terminal.failing(as_json=as_json):
        compare(arguments, terminal, as_json=as_json)
