"""`critic-loop demo`: the embedded experiment, shown to a person or as JSON."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree as Branches

from critic_loop.cli.terminal import Terminal
from critic_loop.core.tree import Tree
from critic_loop.core.value import value_of

if TYPE_CHECKING:
    from rich.progress import TaskID

    from critic_loop.demo.experiment import Report, Strategy

FOLDER = Path(".critic_loop")
LEGEND = "draft: one call. retry: samples that see no history. try-again: is shown its rejected attempts."


def demo(
    *, actor: str, puzzles: int, calls: int, seed: int, store: str, as_json: bool, terminal: Terminal
) -> None:
    """Run the experiment and show what it found."""
    terminal.fact("actor", actor)
    terminal.fact("puzzles", f"{puzzles} held-out Countdown puzzles of four numbers (seed {seed})")
    terminal.fact("cap", f"{calls} calls a puzzle and strategy, stopping at the first verified answer")
    terminal.fact("store", store)
    report = asyncio.run(_run(terminal, actor=actor, puzzles=puzzles, calls=calls, seed=seed, where=store))
    if as_json:
        terminal.document(document(report))
        return
    terminal.out.print(page(report))
    terminal.out.print(ending(report), soft_wrap=True)


def fresh_file() -> Path:
    """Return the first of `demo.db`, `demo-2.db`, ... that is not there yet."""
    return next(path for path in _files() if not path.exists())


def _files() -> Iterator[Path]:
    yield FOLDER / "demo.db"
    number = 2
    while True:
        yield FOLDER / f"demo-{number}.db"
        number += 1


async def _run(terminal: Terminal, *, actor: str, puzzles: int, calls: int, seed: int, where: str) -> Report:
    from critic_loop.demo.experiment import experiment
    from critic_loop.models import resolve
    from critic_loop.store import open_store

    model, store = resolve(actor), open_store(where)
    bars: dict[str, TaskID] = {}
    try:
        with terminal.progress() as progress:

            def show(name: str, done: int, total: int) -> None:
                if name not in bars:
                    bars[name] = progress.add_task(f"{name:<10}", total=total)
                progress.update(bars[name], completed=done)

            return await experiment(model, store, puzzles=puzzles, calls=calls, seed=seed, progress=show)
    finally:
        await model.aclose()
        await store.aclose()


# -- as JSON -----------------------------------------------------------------------------------


def document(report: Report) -> dict[str, Any]:
    """Return the report as a JSON object; its keys are public."""
    paired = report.paired
    return {
        "tasks": report.puzzles,
        "calls_per_task": report.calls,
        "model": report.model,
        "strategies": [_row(strategy) for strategy in report.strategies],
        "paired": {
            "ours": paired.ours,
            "theirs": paired.theirs,
            "only_ours": paired.only_ours,
            "only_theirs": paired.only_theirs,
            "mcnemar_p": paired.p_value,
        },
        "store": report.store,
        "reused_trees": report.reused,
        "mended_tree": None if report.mended is None else report.mended.id,
    }


def _row(strategy: Strategy) -> dict[str, Any]:
    return {
        "name": strategy.name,
        "solved": strategy.solved,
        "rate": round(strategy.rate, 4),
        "ci95": [round(end, 4) for end in strategy.ci95],
        "calls": strategy.calls,
        "tokens": strategy.input_tokens + strategy.output_tokens,
        "input_tokens": strategy.input_tokens,
        "output_tokens": strategy.output_tokens,
        "seconds": round(strategy.seconds, 2),
    }


# -- for people --------------------------------------------------------------------------------


def page(report: Report) -> RenderableType:
    """Return the report for a person."""
    parts: list[RenderableType] = [_table(report), Text(LEGEND, style="dim"), Text(), Text(_sentence(report))]
    if report.reused:
        trees = f"{report.reused} trees were in the store before; seconds count only what this run added."
        parts.append(Text(trees, style="yellow"))
    if report.mended is not None:
        parts += [Text(), branches(report.mended)]
    return Group(*parts)


def ending(report: Report) -> Text:
    """Return where the trees lie and what can be done next; not wrapped, so that it can be copied."""
    path = report.store.removeprefix("sqlite:///")
    command = f"{program()} export --to preference --recipe try-again --store {path} --out pairs"
    return Text.assemble("\n", ("trees  ", "dim"), path, "\n", ("next   ", "dim"), command)


def program() -> str:
    """Return how this command can be typed again: its environment need not be an active one."""
    typed = Path(sys.argv[0])
    if shutil.which("critic-loop"):
        return "critic-loop"
    return str(typed) if typed.name == "critic-loop" else "python -m critic_loop"


def _table(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("strategy", no_wrap=True, style="bold")
    for name in ("solved", "rate", "95 % interval", "calls", "tokens", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for strategy in report.strategies:
        low, high = strategy.ci95
        table.add_row(
            strategy.name,
            f"{strategy.solved} of {report.puzzles}",
            f"{strategy.rate:.1%}",
            f"{low:.1%} to {high:.1%}",
            f"{strategy.calls:,}",
            f"{strategy.input_tokens + strategy.output_tokens:,}",
            f"{strategy.seconds:.1f}",
        )
    return table


def _sentence(report: Report) -> str:
    pair = report.paired
    p = f"p = {pair.p_value:.3f}" if pair.p_value >= 0.001 else "p < 0.001"
    return (
        f"Puzzle by puzzle, {pair.ours} solved {pair.only_ours} that {pair.theirs} did not, and {pair.theirs} "
        f"{pair.only_theirs} that {pair.ours} did not (McNemar's exact test: {p})."
    )


def branches(tree: Tree) -> Branches:
    """Return a tree's attempts with the evidence on each."""
    title = ("A tree in which feedback worked: ", "bold")
    root = Branches(Text.assemble(title, tree.task.text, (f"  {tree.id}", "dim")))
    branch = root
    for number, attempt in enumerate(tree, start=1):
        verified = value_of(tree, attempt.id).verified
        said = "; ".join(f.text for f in tree.judgements(attempt.id) if f.text)
        word, style = ("verified", "green") if verified else ("rejected", "red")
        lines = str(attempt.answer).strip().splitlines()
        label = Text.assemble(f"attempt {number}  ", (word, style), (f": {said}" if said else ""))
        label.append("".join(f"\n  {line}" for line in lines), style="dim")
        branch = branch.add(label)
    return root
