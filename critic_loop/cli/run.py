"""`critic-loop run`: a recipe on one task or many, resumed by typing the same again."""

from __future__ import annotations

import asyncio
import secrets
import warnings
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from critic_loop.cli import results
from critic_loop.cli.tasks import tasks_from
from critic_loop.cli.terminal import FAILURE, Terminal, UsageProblem
from critic_loop.core.errors import CriticLoopError
from critic_loop.core.records import Attempt, Call, Task

if TYPE_CHECKING:
    from critic_loop.graph.loop import Loop
    from critic_loop.graph.result import Result

T = TypeVar("T")

RESUME = "Run the same command again to go on; no finished call is repeated."


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was typed."""

    task: str | None
    file: str | None
    recipe: str
    actor: str | None
    critic: str | None
    judge: str | None
    verifiers: Sequence[str]
    store: str
    assets: Sequence[Path]
    in_flight: int
    max_calls: int | None
    lanes: int | None
    seed: int | None
    new: bool
    out: Path | None
    as_json: bool


def run(wish: Wish, terminal: Terminal) -> int:
    """Do what was typed and return the exit code."""
    if wish.new and wish.seed is not None:
        raise UsageProblem(
            "--new and --seed contradict each other.", hint="--new draws a seed; --seed names one."
        )
    seed = secrets.randbelow(2**31) if wish.new else wish.seed or 0
    if wish.new:
        terminal.note(f"A new run: seed {seed}. Give --seed {seed} instead of --new to go on with it.")
    tasks = tasks_from(wish.task, wish.file)
    sink = _open_out(wish.out)
    try:
        loop = _loop(wish, terminal)
        _introduce(loop, wish, tasks, terminal)
        return asyncio.run(_work(_Job(loop, tasks, seed, wish, terminal, sink)))
    finally:
        if sink is not None:
            sink.close()


def _open_out(path: Path | None) -> TextIO | None:
    if path is None:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageProblem(
            f"{path}: cannot be written: {error.strerror}.", hint="Name another file."
        ) from error


def _loop(wish: Wish, terminal: Terminal) -> Loop[Any]:
    if wish.actor is None:
        raise UsageProblem(
            "no model was named.",
            hint="Pass --actor openai:NAME, chat:NAME@http://HOST:PORT/v1, ollama:NAME or embedded:countdown, "
            "or set CRITIC_LOOP_ACTOR.",
        )
    from critic_loop.graph.loop import Loop

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        loop: Loop[Any] = Loop(
            wish.recipe,
            actor=wish.actor,
            critic=wish.critic,
            judge=wish.judge,
            verifiers=list(wish.verifiers) or None,
            store=wish.store,
            lanes=wish.lanes,
            max_calls=wish.max_calls,
            assets=wish.assets,
        )
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            terminal.note(f"warning: {warning.message}", style="yellow")
    return loop


def _introduce(loop: Loop[Any], wish: Wish, tasks: Sequence[Task], terminal: Terminal) -> None:
    """Show what is about to be asked of whom, before the first call."""
    terminal.fact("recipe", f"{loop.recipe.name}: {loop.recipe.description}".rstrip(": "))
    for slot, spec in bound(loop).items():
        terminal.fact(slot, spec)
    terminal.fact("store", loop.store.where)
    each = " a task" if len(tasks) > 1 else ""
    cap = f"at most {results.count(loop.parts.max_calls, 'call')}{each}"
    if len(tasks) > 1:
        cap += f", {loop.parts.max_calls * len(tasks):,} in all; {wish.in_flight} tasks at once"
    terminal.fact("cap", cap)


def bound(loop: Loop[Any]) -> dict[str, str]:
    """Return the spec of each slot that is bound and that the recipe uses."""
    specs: dict[str, str] = {}
    for slot in loop.switchboard.slots:
        try:
            specs[slot] = loop.switchboard.binding(slot).spec
        except CriticLoopError:
            continue
    return specs


@dataclass(frozen=True, slots=True)
class _Job:
    loop: Loop[Any]
    tasks: Sequence[Task]
    seed: int
    wish: Wish
    terminal: Terminal
    sink: TextIO | None

    @property
    def single(self) -> bool:
        return self.wish.file is None


async def _work(job: _Job) -> int:
    rows: list[dict[str, Any]] = []
    last: Result[Any] | None = None
    try:
        known = await _finished(job)
        async with _closing(_results(job)) as found:
            async for result in found:
                last = result
                rows.append(results.row(result, reused=result.tree.id in known))
                _write(job.sink, rows[-1])
    except (CriticLoopError, asyncio.CancelledError):
        if not job.single:
            job.terminal.note(f"{len(rows)} of {results.count(len(job.tasks), 'task')} done. {RESUME}")
        raise
    finally:
        await job.loop.aclose()
    _show(job, rows, last)
    return FAILURE if any(row["error"] for row in rows) else 0


async def _finished(job: _Job) -> set[str]:
    """Return the ids of the trees that need no call any more."""
    return {tree.id async for tree in job.loop.store.trees(recipe=job.loop.recipe.name) if tree.stop}


async def _results(job: _Job) -> AsyncGenerator[Result[Any], None]:
    if job.single:
        yield await _watched(job)
        return
    with job.terminal.progress() as progress:
        bar = progress.add_task(job.loop.recipe.name, total=len(job.tasks))
        found = job.loop.map(job.tasks, in_flight=job.wish.in_flight, seed=job.seed)
        async with _closing(found) as each:
            async for result in each:
                yield result
                progress.advance(bar)


async def _watched(job: _Job) -> Result[Any]:
    """Run one task under the id that a second run derives, too, and say what is going on."""
    from critic_loop.graph.loop import job_tree_id
    from critic_loop.graph.result import Result

    loop, task = job.loop, job.tasks[0]
    tree_id = job_tree_id(task, loop.parts.digest, job.seed)
    with job.terminal.err.status("asking") as status:
        counter = _Counter(status.update)
        async with _closing(loop.stream(task, tree_id=tree_id, seed=job.seed)) as records:
            async for record in records:
                if isinstance(record, Result):
                    return record
                counter.observe(record)
    raise CriticLoopError(f"tree {tree_id!r} ended without a result.")


def _closing(iterator: AsyncGenerator[T, None]) -> aclosing[AsyncGenerator[T, None]]:
    """Close a generator where its use ends: what it runs must stop before the loop is closed."""
    return aclosing(iterator)


@dataclass(slots=True)
class _Counter:
    """What one run has done so far, in a line."""

    show: Callable[[str], None]
    attempts: int = 0
    calls: int = 0

    def observe(self, record: object) -> None:
        self.attempts += isinstance(record, Attempt)
        self.calls += isinstance(record, Call)
        self.show(f"{results.count(self.attempts, 'attempt')}, {results.count(self.calls, 'call')}")


def _write(sink: TextIO | None, row: dict[str, Any]) -> None:
    if sink is None:
        return
    import orjson

    sink.write(orjson.dumps(row).decode() + "\n")
    sink.flush()


def _show(job: _Job, rows: list[dict[str, Any]], last: Result[Any] | None) -> None:
    terminal, wish = job.terminal, job.wish
    if wish.as_json:
        loop = job.loop
        terminal.document(
            {
                "recipe": loop.recipe.name,
                "models": bound(loop),
                "store": loop.store.where,
                "seed": job.seed,
                "results": rows,
                "summary": results.summary(rows),
            }
        )
    elif job.single and last is not None:
        terminal.out.print(results.one(last, reused=rows[0]["reused"]))
    else:
        terminal.out.print(results.many(rows))
        for row in [row for row in rows if row["error"]][:5]:
            terminal.note(f"task {row['task']}: {row['error']}", style="red")
    if wish.out is not None:
        terminal.note(f"{results.count(len(rows), 'result')} in {wish.out}")
