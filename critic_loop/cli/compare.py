"""`critic-loop compare`: two loops on the same tasks, from their stored trees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from critic_loop.cli.documents.trees import CompareDocument, ComparedSide, CurveRow
from critic_loop.cli.stored import Stored, stored
from critic_loop.cli.terminal import Terminal, UsageProblem
from critic_loop.core.printable import count, printable
from critic_loop.metrics import Run, by_task, curve, estimate, paired, run_of
from critic_loop.metrics.comparison import Measure, Unit

_UNITS = {"tokens": "tokens", "calls": "calls", "usd": "USD"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareArguments:
    """The arguments of `critic-loop compare`."""

    store: str
    other: str | None
    recipe: str | None
    against: str | None
    measure: Measure
    unit: Unit
    resamples: int
    seed: int


@dataclass(frozen=True, slots=True)
class _Side:
    """One loop's trees."""

    store: str
    recipe: str
    runs: Sequence[Run]
    unfinished: int


def compare(arguments: CompareArguments, terminal: Terminal, *, as_json: bool) -> None:
    """Print how much better one loop is than another on the tasks that both have.

    Raises:
        UsageProblem: the arguments are ambiguous, or there is nothing to compare.
    """
    found = document(arguments, *_sides(arguments, terminal))
    if as_json:
        terminal.document(found)
        return
    terminal.out.print(page(found))
    for side in (found.ours, found.theirs):
        _tell_what_is_left_out(side, found, terminal)


def _sides(arguments: CompareArguments, terminal: Terminal) -> tuple[_Side, _Side]:
    with ExitStack() as open_stores:
        ours = open_stores.enter_context(stored(arguments.store))
        theirs = ours if arguments.other is None else open_stores.enter_context(stored(arguments.other))
        mine, yours = _recipes(arguments, ours, theirs)
        return _side(ours, mine, terminal), _side(theirs, yours, terminal)


def _recipes(arguments: CompareArguments, ours: Stored, theirs: Stored) -> tuple[str, str]:
    """Return the recipe of each side; one that is not given must be the only one left.

    Raises:
        UsageProblem: several are left.
    """
    mine, yours = ours.recipes(), theirs.recipes()
    if arguments.other is not None:
        first = arguments.recipe or _only(mine, "--recipe")
        return first, arguments.against or (first if first in yours else _only(yours, "--against"))
    left = [name for name in mine if name != arguments.against]
    first = arguments.recipe or (left[0] if len(mine) == 2 else _only(left, "--recipe"))
    return first, arguments.against or _only([name for name in yours if name != first], "--against")


def _only(names: Sequence[str], option: str) -> str:
    if len(names) == 1:
        return names[0]
    if not names:
        raise UsageProblem("the store holds trees of one recipe only.", hint="Name another store, too.")
    listed = ", ".join(repr(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")
    message = f"the store holds trees of {len(names)} recipes: {listed}."
    raise UsageProblem(message, hint=f"Say which with {option}.")


def _side(trees: Stored, recipe: str, terminal: Terminal) -> _Side:
    read = [run_of(tree) for tree in trees.trees(trees.ids(recipe), terminal)]
    runs = [run for run in read if run is not None]
    return _Side(trees.where, recipe, runs, len(read) - len(runs))


# -- what is found ---------------------------------------------------------------------------------


def document(arguments: CompareArguments, ours: _Side, theirs: _Side) -> CompareDocument:
    """Return the comparison as a JSON document.

    Raises:
        UsageProblem: no task is known on both sides, or the cost of a run is unknown.
    """
    mine, yours = by_task(ours.runs, arguments.measure), by_task(theirs.runs, arguments.measure)
    common = mine.keys() & yours.keys()
    if not common:
        raise UsageProblem(
            f"{ours.recipe!r} and {theirs.recipe!r} have no task in common that is known.",
            hint="Give the loops a verifier or tasks with a reference, or compare --measure score.",
        )
    found = paired(mine, yours, resamples=arguments.resamples, seed=arguments.seed)
    try:
        points = curve(ours.runs, theirs.runs, unit=arguments.unit) if arguments.measure == "solved" else ()
    except ValueError as error:
        raise UsageProblem(f"{error}.", hint="Compare --unit tokens or --unit calls.") from error
    return CompareDocument(
        measure=arguments.measure,
        tasks=found.tasks,
        ours=_row(ours, common, arguments.measure),
        theirs=_row(theirs, common, arguments.measure),
        difference=_rounded(found.difference),
        ci95=(_rounded(found.low), _rounded(found.high)),
        better=found.better,
        worse=found.worse,
        mcnemar_p=found.mcnemar_p,
        resamples=arguments.resamples,
        seed=arguments.seed,
        unit=arguments.unit,
        curve=[CurveRow(budget=p.budget, ours=_rounded(p.ours), theirs=_rounded(p.theirs)) for p in points],
    )


def _row(side: _Side, common: set[str], measure: Measure) -> ComparedSide:
    known = {task: each for task, each in by_task(side.runs, measure).items() if task in common}
    counted = [run for run in side.runs if run.task in common and run.value(measure) is not None]
    found, prices = estimate(known), [run.spent.usd for run in counted]
    return ComparedSide(
        store=side.store,
        recipe=side.recipe,
        mean=_rounded(math.fsum(math.fsum(each) / len(each) for each in known.values()) / len(known)),
        ci95=(_rounded(found.low), _rounded(found.high)) if math.isfinite(found.low) else None,
        trees=len(counted),
        calls=sum(run.spent.calls for run in counted),
        output_tokens=sum(run.spent.tokens for run in counted),
        cost_usd=None if None in prices else math.fsum(price or 0.0 for price in prices),
        unfinished=side.unfinished,
        unknown=sum(run.value(measure) is None for run in side.runs),
        unmatched=sum(run.value(measure) is not None and run.task not in common for run in side.runs),
    )


def _rounded(number: float) -> float:
    return round(number, 4)


# -- for a person ----------------------------------------------------------------------------------


def page(found: CompareDocument) -> RenderableType:
    """Return the comparison for a person."""
    names = _names(found)
    parts: list[RenderableType] = [_table(found, names), Text(), _difference(found, names)]
    if found.curve:
        parts += [Text(), _curve(found, names)]
    return Group(*parts)


def _names(found: CompareDocument) -> tuple[str, str]:
    """Return the names of the sides: their recipes, else their stores."""
    ours, theirs = found.ours, found.theirs
    if ours.recipe != theirs.recipe:
        return printable(ours.recipe), printable(theirs.recipe)
    return printable(ours.store), printable(theirs.store)


def _shown(found: CompareDocument, number: float) -> str:
    return f"{100 * number:.1f} %" if found.measure == "solved" else f"{number:.3f}"


def _gained(found: CompareDocument, number: float) -> str:
    return f"{100 * number:+.1f}" if found.measure == "solved" else f"{number:+.3f}"


def _table(found: CompareDocument, names: tuple[str, str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("loop", overflow="fold")
    for name in (found.measure, "95 %", "trees", "calls", "tokens out", "USD"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, side in zip(names, (found.ours, found.theirs), strict=True):
        interval = "-" if side.ci95 is None else " to ".join(_shown(found, end) for end in side.ci95)
        usd = "-" if side.cost_usd is None else f"{side.cost_usd:.4g}"
        mean = _shown(found, side.mean)
        table.add_row(
            name, mean, interval, f"{side.trees:,}", f"{side.calls:,}", f"{side.output_tokens:,}", usd
        )
    return table


def _difference(found: CompareDocument, names: tuple[str, str]) -> Text:
    low, high = found.ci95
    style = "green" if low > 0 else "red" if high < 0 else "yellow"
    points = " points" if found.measure == "solved" else ""
    text = Text.assemble(
        ("difference  ", "dim"),
        (f"{_gained(found, found.difference)}{points}", f"bold {style}"),
        f"  95 % {_gained(found, low)} to {_gained(found, high)}",
        f"  over {count(found.tasks, 'task')} that both have\n",
    )
    text.append(f"            {names[0]} is better on {found.better:,}, {names[1]} on {found.worse:,}")
    if found.mcnemar_p is not None:
        text.append(f"  (McNemar p = {found.mcnemar_p:.2g})")
    return text


def _curve(found: CompareDocument, names: tuple[str, str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(f"{_UNITS[found.unit]} a task, up to", justify="right", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for row in found.curve:
        budget = f"{row.budget:,.4g}" if found.unit == "usd" else f"{row.budget:,.0f}"
        table.add_row(budget, _shown(found, row.ours), _shown(found, row.theirs))
    return table


def _tell_what_is_left_out(side: ComparedSide, found: CompareDocument, terminal: Terminal) -> None:
    name = _names(found)[0 if side is found.ours else 1]
    for number, why in (
        (side.unfinished, "not ended"),
        (side.unknown, "whose result is unknown"),
        (side.unmatched, "whose task the other side does not have"),
    ):
        if number:
            terminal.note(f"Left out of {name}: {count(number, 'tree')} {why}.")
