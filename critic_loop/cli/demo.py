"""`critic-loop demo`: the embedded experiment, shown to a person or as JSON."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree as Branches

from critic_loop.cli.documents.work import ArmRow, DemoDocument, LevelRow, Paired, RevisedRow
from critic_loop.cli.terminal import Terminal, UsageProblem
from critic_loop.core.printable import printable
from critic_loop.core.records import Verdict
from critic_loop.core.tree import Tree

if TYPE_CHECKING:
    from rich.progress import TaskID

    from critic_loop.demo.experiment import Arm, Comparison, Report, Revised
    from critic_loop.demo.experiment import Paired as Pair

FOLDER = Path(".critic_loop")
MARKS = ("<!-- demo table -->", "<!-- /demo table -->")
"""Between these two lines of a Markdown file stands the table that `--into` writes."""

WHAT = {
    "draft": "one answer, no critique",
    "resample": "answers drawn anew until the critic accepts one",
    "refine": "the answer revised by the critique of its lines until the critic accepts it",
    "best-of-n": "answers drawn anew; the one that the critic is surest of",
    "vote": "answers drawn anew; the most frequent of those that the critic accepts",
    "no-critique": "control: revised without the critique",
    "wrong-critique": "control: revised by the critique of another answer",
    "reviser-drafts": "control: the reviser draws anew",
}


def demo(  # noqa: PLR0913  # options of a command line
    *, actor: str, puzzles: int, full: bool, tokens: int | None, seed: int, store: str, into: Path | None,
    as_json: bool, terminal: Terminal,
) -> None:  # fmt: skip
    """Run the experiment and show what it found."""
    from critic_loop.demo.arms import ALL_ARMS, ARMS, TOKENS

    if into is not None:
        _between_marks(into)
    caps = {level: tokens or limit for level, limit in TOKENS.items()}
    each = ", ".join(f"{cap} ({level})" for level, cap in caps.items())
    terminal.fact("model", f"{actor}: actor, critic and reviser")
    terminal.fact("puzzles", f"{puzzles} held-out Countdown puzzles of each level (seed {seed})")
    terminal.fact("cap", f"generated tokens a puzzle, critiques included: {each}")
    terminal.fact("store", store)
    arms = ALL_ARMS if full else ARMS
    report = asyncio.run(
        _run(terminal, actor=actor, puzzles=puzzles, arms=arms, tokens=tokens, seed=seed, where=store)
    )
    if into is not None:
        _write_between(into, markdown(report))
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


async def _run(
    terminal: Terminal,
    *,
    actor: str,
    puzzles: int,
    arms: Sequence[str],
    tokens: int | None,
    seed: int,
    where: str,
) -> Report:
    from critic_loop.demo.experiment import experiment
    from critic_loop.models import resolve
    from critic_loop.store import open_store

    model, store = resolve(actor), open_store(where)
    bars: dict[str, TaskID] = {}
    try:
        with terminal.progress() as progress:

            def show(name: str, done: int, total: int) -> None:
                if name not in bars:
                    bars[name] = progress.add_task(f"{name:<20}", total=total)
                progress.update(bars[name], completed=done)

            return await experiment(
                model, store, puzzles=puzzles, arms=arms, tokens=tokens, seed=seed, progress=show
            )
    finally:
        await model.aclose()
        await store.aclose()


# -- as JSON -----------------------------------------------------------------------------------


def document(report: Report) -> DemoDocument:
    """Return the report as a JSON document; its keys are public."""
    return DemoDocument(
        model=report.model,
        puzzles_per_level=report.puzzles,
        levels=[
            LevelRow(
                level=found.level,
                tokens_per_puzzle=found.tokens,
                arms=[_row(arm) for arm in found.arms],
                paired=[_paired_row(pair) for pair in found.paired],
                first_revision=_revised_row(found.revised),
            )
            for found in report.levels
        ],
        store=report.store,
        reused_trees=report.reused,
        revised_tree=None if report.revised is None else report.revised.id,
    )


def _row(arm: Arm) -> ArmRow:
    low, high = arm.ci95
    return ArmRow(
        name=arm.name,
        solved=arm.solved,
        rate=round(arm.rate, 4),
        ci95=(round(low, 4), round(high, 4)),
        calls=arm.calls,
        input_tokens=arm.input_tokens,
        output_tokens=arm.output_tokens,
        seconds=round(arm.seconds, 2),
    )


def _paired_row(pair: Pair) -> Paired:
    return Paired(
        ours=pair.ours,
        theirs=pair.theirs,
        only_ours=pair.only_ours,
        only_theirs=pair.only_theirs,
        mcnemar_p=pair.p_value,
    )


def _revised_row(found: Revised | None) -> RevisedRow | None:
    if found is None:
        return None
    low, high = found.ci95
    least, most = found.predicted_ci95
    return RevisedRow(
        puzzles=found.puzzles,
        drafts_right=found.drafted,
        right_after=found.right,
        ci95=(round(low, 4), round(high, 4)),
        predicted=round(found.predicted, 4),
        predicted_ci95=(round(least, 4), round(most, 4)),
    )


# -- as Markdown -------------------------------------------------------------------------------


def markdown(report: Report) -> str:
    """Return the tables of a report for a page."""
    parts = list[str]()
    for found in report.levels:
        parts += [
            f"**{found.level}**: {report.puzzles} held-out puzzles, up to {found.tokens} generated tokens each",
            "",
            "| arm | solved | 95 % interval | tokens a puzzle | calls a puzzle |",
            "|---|---|---|---|---|",
        ]
        for arm in found.arms:
            low, high = arm.ci95
            tokens, calls = arm.output_tokens / report.puzzles, arm.calls / report.puzzles
            parts.append(
                f"| `{arm.name}`: {WHAT[arm.name]} | {arm.rate:.1%} | {low:.1%} to {high:.1%} | {tokens:.0f} | "
                f"{calls:.1f} |"
            )
        parts += ["", *(f"{sentence}\n" for sentence in _sentences(found))]
    return "\n".join(parts).rstrip()


def _between_marks(path: Path) -> tuple[str, str]:
    """Return what stands before and after the place for the table.

    Raises:
        UsageProblem: the file cannot be read, or has no such place.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageProblem(f"{path}: cannot be read: {error.strerror}.", hint="Name another file.") from error
    before, found, rest = text.partition(MARKS[0] + "\n")
    _, ended, after = rest.partition(MARKS[1] + "\n")
    if not found or not ended:
        raise UsageProblem(
            f"{path}: there is no place for the table.",
            hint=f"Write the lines {MARKS[0]} and {MARKS[1]} into it.",
        )
    return before, after


def _write_between(path: Path, table: str) -> None:
    before, after = _between_marks(path)
    path.write_text(f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}\n{after}", encoding="utf-8")


# -- for people --------------------------------------------------------------------------------


def page(report: Report) -> RenderableType:
    """Return the report for a person."""
    parts: list[RenderableType] = []
    for found in report.levels:
        title = f"{found.level}: {report.puzzles} puzzles, up to {found.tokens} generated tokens each"
        parts += [Text(title, style="bold"), _table(found, report.puzzles), Text()]
    names = dict.fromkeys(arm.name for found in report.levels for arm in found.arms)
    parts += [Text(f"{name}: {WHAT[name]}.", style="dim") for name in names]
    parts += [Text(), *(Text(line) for found in report.levels for line in _sentences(found))]
    if report.reused:
        trees = f"{report.reused} trees were in the store before; seconds count only what this run added."
        parts.append(Text(trees, style="yellow"))
    if report.revised is not None:
        parts += [Text(), branches(report.revised)]
    return Group(*parts)


def ending(report: Report) -> Text:
    """Return where the trees lie and what can be done next; not wrapped, so that it can be copied."""
    path = report.store.removeprefix("sqlite:///")
    commands = [f"export --to preference --recipe countdown/refine --store {path} --out pairs"]
    if report.revised is not None:
        commands.insert(0, f"show {path} {report.revised.id}")
    text = Text.assemble("\n", ("trees  ", "dim"), path)
    for command, name in zip(commands, ("next   ", "       "), strict=False):
        text.append(f"\n{name}", style="dim").append(f"{program()} {command}", style="not dim")
    return text


def program() -> str:
    """Return how this command can be typed again: its environment need not be an active one."""
    typed = Path(sys.argv[0])
    if shutil.which("critic-loop"):
        return "critic-loop"
    return str(typed) if typed.name == "critic-loop" else "python -m critic_loop"


def _table(found: Comparison, puzzles: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("arm", no_wrap=True, style="bold")
    for name in ("solved", "rate", "95 % interval", "tokens each", "calls each", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for arm in found.arms:
        low, high = arm.ci95
        table.add_row(
            arm.name,
            f"{arm.solved} of {puzzles}",
            f"{arm.rate:.1%}",
            f"{low:.1%} to {high:.1%}",
            f"{arm.output_tokens / puzzles:.0f}",
            f"{arm.calls / puzzles:.1f}",
            f"{arm.seconds:.1f}",
        )
    return table


def _sentences(found: Comparison) -> Iterator[str]:
    """Yields what the arms of a level say beside each other, the best one first; controls are no recipes."""
    best = _most([arm for arm in found.arms if not _is_control(arm)])
    names, (low, high) = " and ".join(arm.name for arm in best), best[0].ci95
    yield f"{found.level}: {names} solved most, {best[0].rate:.1%} ({low:.1%} to {high:.1%})."
    better = _most([arm for arm in found.arms if _is_control(arm) and arm.solved >= best[0].solved])
    if better:
        names = " and ".join(arm.name for arm in better)
        yield f"{found.level}: the control {names} solved {better[0].rate:.1%}: critique did not do the work."
    for pair in found.paired[:1]:
        p = f"p = {pair.p_value:.3f}" if pair.p_value >= 0.001 else "p < 0.001"
        yield (
            f"{found.level}, puzzle by puzzle: {pair.ours} solved {pair.only_ours} that {pair.theirs} did not, "
            f"and {pair.theirs} {pair.only_theirs} that {pair.ours} did not (McNemar's exact test: {p})."
        )
    if found.revised is not None:
        once, (low, high) = found.revised, found.revised.ci95
        least, most = once.predicted_ci95
        yield (
            f"{found.level}, one critique and one revision: from {once.drafted / once.puzzles:.1%} right to "
            f"{once.right / once.puzzles:.1%} ({low:.1%} to {high:.1%}); the model card's rates, measured on "
            f"other puzzles, predict {once.predicted:.1%} ({least:.1%} to {most:.1%})."
        )


def _is_control(arm: Arm) -> bool:
    return WHAT[arm.name].startswith("control: ")


def _most(arms: Sequence[Arm]) -> list[Arm]:
    most = max((arm.solved for arm in arms), default=0)
    return [arm for arm in arms if arm.solved == most]


def branches(tree: Tree) -> Branches:
    """Return a tree's answers, each with what the critic said of it."""
    title = ("A tree in which critique worked: ", "bold")
    root = Branches(Text.assemble(title, tree.task.text, (f"  {tree.id}", "dim")))
    branch = root
    for number, attempt in enumerate(tree, start=1):
        said = [f for f in tree.judgements(attempt.id) if f.source == "critic"]
        accepted = all(f.verdict is Verdict.PASS for f in said)
        word, style = ("accepted", "green") if accepted else ("rejected", "red")
        critique = "\n".join(f.text for f in said).splitlines()
        label = Text.assemble(f"answer {number}  ", (word, style))
        for index, line in enumerate(str(attempt.answer).strip().splitlines()):
            remark = critique[index].partition(": ")[2] if index < len(critique) else ""
            label.append(f"\n  {printable(line):<22}")
            label.append(printable(remark), style="dim")
        branch = branch.add(label)
    return root
