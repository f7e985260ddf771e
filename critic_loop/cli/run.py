"""`critic-loop run`: a recipe on one task or many, resumed by typing the same again."""

from __future__ import annotations

import asyncio
import secrets
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from critic_loop.assets import Library
from critic_loop.cli import results
from critic_loop.cli.live import View, watching
from critic_loop.cli.signals import patiently
from critic_loop.cli.tasks import tasks_from
from critic_loop.cli.terminal import FAILURE, INTERRUPTED, Terminal, UsageProblem
from critic_loop.core.errors import CriticLoopError
from critic_loop.core.printable import count
from critic_loop.core.protocols import Model
from critic_loop.core.records import Task
from critic_loop.models import Route, route_of
from critic_loop.models.providers.specs import ModelTable, configured
from critic_loop.render.live import view_of
from critic_loop.store import open_store

if TYPE_CHECKING:
    from critic_loop.graph.loop import Loop
    from critic_loop.graph.result import Result

_RESUME = "Run the same command again to go on; no finished call is repeated."
_FORGOTTEN = (
    "Nothing was kept: a store in memory ends with the command. Give --store FILE to go on another time."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunArguments:
    """The arguments of `critic-loop run`."""

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
    same_error: int
    max_calls: int | None
    lanes: int | None
    seed: int | None
    new: bool
    out: Path | None
    as_json: bool
    judge_if_any: bool = False
    """Whether the judge comes from the configuration, which serves recipes without one, too."""
    models: Mapping[str, ModelTable] = field(default_factory=dict[str, ModelTable])
    """The configured `[models.NAME]` tables: what actor, critic and judge may name beside specs."""
    file_of_settings: Path | None = None
    replay: str | None = None
    """A store whose trees answer instead of models."""


def run(arguments: RunArguments, terminal: Terminal) -> int:
    """Run the recipe and return the exit code."""
    if arguments.new and arguments.seed is not None:
        raise UsageProblem(
            "--new and --seed contradict each other.", hint="--new draws a seed; --seed names one."
        )
    seed = secrets.randbelow(2**31) if arguments.new else arguments.seed or 0
    if arguments.new:
        terminal.note(f"A new run: seed {seed}. To resume it, give --seed {seed} instead of --new.")
    tasks = tasks_from(arguments.task, arguments.file)
    _keep_input(arguments)
    if arguments.replay is not None:
        _require_replay(arguments, arguments.replay)
    made: dict[str, Model] = {}
    loop = _loop(arguments, _models(arguments, made), terminal)
    _introduce(loop, arguments, tasks, terminal)
    sink = _open_out(arguments.out)  # what an earlier run wrote there goes only now that everything is in order
    try:
        return asyncio.run(_work(_Job(loop, tasks, seed, arguments, terminal, sink, list(made.values()))))
    except asyncio.CancelledError:  # the second Ctrl-C
        raise KeyboardInterrupt from None
    finally:
        if sink is not None:
            sink.close()


def resume_of(store: str) -> str:
    """Return how an interrupted run is resumed."""
    return _FORGOTTEN if store in ("memory", ":memory:", "sqlite://", "sqlite:///:memory:") else _RESUME


def _keep_input(arguments: RunArguments) -> None:
    """Refuse to write results over the tasks."""
    if arguments.out is None or arguments.file in (None, "-"):
        return
    try:
        same = arguments.out.samefile(arguments.file)
    except OSError:  # there is no such file yet
        return
    if same:
        raise UsageProblem(
            f"{arguments.out}: --out and --file are the same file.", hint="Name another for --out."
        )


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


def _models(arguments: RunArguments, made: dict[str, Model]) -> dict[str, Route]:
    """Return the routes of the roles: specs, names of tables, and chains and splits of these.

    Each model is made once, and added to `made`.
    """

    def make(name: str | Model) -> Model:
        if not isinstance(name, str):
            return name
        if name not in made:
            made[name] = configured(name, arguments.models)
        return made[name]

    wanted = {name for name in (arguments.actor, arguments.critic, arguments.judge) if name is not None}
    return {name: route_of(name, make) for name in sorted(wanted)}


def _require_replay(arguments: RunArguments, replay: str) -> None:
    """Refuse a replay that names models, a missing store, or the replayed store as its own store."""
    from critic_loop.cli.export import require_file

    if arguments.actor or arguments.critic or arguments.judge:
        raise UsageProblem("--replay asks no model.", hint="Leave --actor, --critic and --judge out.")
    require_file(replay)
    if open_store(replay).where == open_store(arguments.store).where:
        raise UsageProblem(
            "--replay and --store are the same store.", hint="Leave --store out: a replay is kept in memory."
        )


def _loop(arguments: RunArguments, named: Mapping[str, Route], terminal: Terminal) -> Loop[Any]:
    if arguments.actor is None and arguments.replay is None:
        raise UsageProblem(
            "no model was named.",
            hint="Pass --actor openai:NAME, chat:NAME@http://HOST:PORT/v1, ollama:NAME or embedded:countdown, "
            "set CRITIC_LOOP_ACTOR, or write actor = ... into critic_loop.toml.",
        )
    from critic_loop.graph.loop import Loop

    recipe = Library(arguments.assets).recipe(arguments.recipe)
    judge = None if arguments.judge_if_any and recipe.judge is None else arguments.judge
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        loop: Loop[Any] = Loop(
            recipe,
            actor=None if arguments.actor is None else named[arguments.actor],
            critic=None if arguments.critic is None else named[arguments.critic],
            judge=None if judge is None else named[judge],
            verifiers=list(arguments.verifiers) or None,
            store=arguments.store,
            lanes=arguments.lanes,
            max_calls=arguments.max_calls,
            assets=arguments.assets,
            replay=arguments.replay,
        )
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            terminal.note(f"warning: {warning.message}", style="yellow")
    return loop


def _introduce(loop: Loop[Any], arguments: RunArguments, tasks: Sequence[Task], terminal: Terminal) -> None:
    """Print recipe, models and tasks before the first call."""
    if arguments.file_of_settings is not None:
        terminal.fact("config", str(arguments.file_of_settings))
    terminal.fact("recipe", f"{loop.recipe.name}: {loop.recipe.description}".rstrip(": "))
    for slot, spec in bound(loop).items():
        terminal.fact(slot, spec)
    terminal.fact("store", loop.store.where)
    if arguments.replay is not None:
        terminal.fact("replay", f"{arguments.replay}: no model is asked")
    each = " a task" if len(tasks) > 1 else ""
    cap = f"at most {count(loop.parts.max_calls, 'call')}{each}"
    if len(tasks) > 1:
        cap += f", {loop.parts.max_calls * len(tasks):,} in all; {arguments.in_flight} tasks at once"
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
    arguments: RunArguments
    terminal: Terminal
    sink: TextIO | None
    models: Sequence[Model]

    @property
    def single(self) -> bool:
        return self.arguments.file is None


async def _work(job: _Job) -> int:
    try:
        return await (_one(job) if job.single else _many(job))
    finally:
        await job.loop.aclose()
        for model in job.models:
            await model.aclose()


async def _one(job: _Job) -> int:
    """Run one task and show its tree as it grows; the tree's id is the same in every run of the command."""
    from critic_loop.graph.host import job_tree_id
    from critic_loop.graph.result import Result

    loop, task, terminal = job.loop, job.tasks[0], job.terminal
    tree_id = job_tree_id(task, loop.parts.digest, job.seed)
    earlier = (await loop.store.load(tree_id)).log if await loop.store.has(tree_id) else []
    view = view_of(f"{loop.recipe.name}  {tree_id}", earlier, most_calls=loop.parts.max_calls)
    streamed = loop.stream(
        task, tree_id=tree_id, seed=job.seed, deltas=terminal.err.is_interactive, driver="direct"
    )
    result: Result[Any] | None = None
    with patiently(_ending(view, job)) as presses:
        async with watching(view, terminal), aclosing(streamed) as records:
            async for record in records:
                if isinstance(record, Result):
                    result = record
                else:
                    view.observe(record)
    if result is None:
        raise CriticLoopError(f"tree {tree_id!r} ended without a result.")
    row = results.row(result)
    _write(job.sink, row)
    interrupted = presses.any and result.stop == "interrupted"
    if job.arguments.as_json:
        _document(job, [row], interrupted=interrupted)
    else:
        terminal.err.print(view_of("", result.tree.log).final(result.tree))
        terminal.err.print()
        if row["error"]:
            terminal.note(row["error"], style="red")
        else:
            terminal.out.print(results.answer_of(row), soft_wrap=True)
        terminal.err.print(results.facts(result, row))
    return _ended(job, [row], f"Interrupted. Tree {tree_id} lies in {loop.store.where}." if interrupted else "")


async def _many(job: _Job) -> int:
    from critic_loop.cli.job_view import JobView

    loop, terminal = job.loop, job.terminal
    rows: list[dict[str, Any]] = []
    view = JobView(loop.recipe.name, len(job.tasks), loop.parts.max_calls, lambda: _calls_in_flight(loop))
    arguments = job.arguments
    found = loop.map(
        view.begins(job.tasks), in_flight=arguments.in_flight, seed=job.seed, same_error=arguments.same_error
    )
    left_open = 0
    try:
        with patiently(_ending(view, job)) as presses:
            async with watching(view, terminal), aclosing(found) as each:
                async for result in each:
                    if result.stop == "interrupted":
                        left_open += 1
                        continue
                    rows.append(results.row(result))
                    view.ended(rows[-1], result.task.text, results.worth_of(result))
                    _write(job.sink, rows[-1])
    except (CriticLoopError, asyncio.CancelledError):
        terminal.note(f"{_so_far(job, rows)} {resume_of(job.arguments.store)}")
        raise
    interrupted = presses.any and len(rows) < len(job.tasks)
    if job.arguments.as_json:
        _document(job, rows, interrupted=interrupted)
    else:
        terminal.out.print(results.many(rows, view.worths))
    for row in [row for row in rows if row["error"]][:5]:
        terminal.note(f"task {row['task']}: {row['error']}", style="red")
    ending = f"Interrupted. {_so_far(job, rows)} {count(left_open, 'tree')} left open." if interrupted else ""
    return _ended(job, rows, ending)


def _so_far(job: _Job, rows: Sequence[dict[str, Any]]) -> str:
    return f"{len(rows)} of {count(len(job.tasks), 'task')} done; trees lie in {job.loop.store.where}."


def _ending(view: View, job: _Job) -> Callable[[], None]:
    def settle() -> None:
        view.ending = True
        job.loop.interrupt()
        if not job.terminal.err.is_interactive:
            job.terminal.note("Ending when the calls in flight have settled; once more ends at once.")

    return settle


def _ended(job: _Job, rows: Sequence[dict[str, Any]], interrupted: str) -> int:
    """Print the closing notes and return the exit code."""
    if job.arguments.out is not None:
        job.terminal.note(f"{count(len(rows), 'result')} in {job.arguments.out}")
    if interrupted:
        job.terminal.note(f"{interrupted} {resume_of(job.arguments.store)}", style="yellow")
        return INTERRUPTED
    return FAILURE if any(row["error"] for row in rows) else 0


def _calls_in_flight(loop: Loop[Any]) -> dict[str, int]:
    return {slot: sum(loop.switchboard.in_flight(slot).values()) for slot in loop.switchboard.slots}


def _write(sink: TextIO | None, row: dict[str, Any]) -> None:
    if sink is None:
        return
    import orjson

    sink.write(orjson.dumps(row).decode() + "\n")
    sink.flush()


def _document(job: _Job, rows: list[dict[str, Any]], *, interrupted: bool) -> None:
    from critic_loop.cli.documents.work import RunDocument

    loop = job.loop
    document = RunDocument.model_validate(
        {
            "recipe": loop.recipe.name,
            "models": bound(loop),
            "store": loop.store.where,
            "seed": job.seed,
            "results": rows,
            "summary": results.summary(rows),
            "interrupted": interrupted,
        }
    )
    job.terminal.document(document)
