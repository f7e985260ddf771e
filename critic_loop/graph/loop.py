"""`Loop`: one object that runs a recipe on tasks, embedded or on its own.

Knows how trees are opened, run, resumed and returned. The work itself is the graph's (`graph.graph`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Literal, cast

from langgraph.runtime import Runtime
from langgraph.types import interrupt
from typing_extensions import TypeVar

from critic_loop.assets import Library, Recipe
from critic_loop.core.errors import AlreadyRunning, ConfigError, CriticLoopError, OtherTask
from critic_loop.core.messages import Message
from critic_loop.core.protocols import AnySearch, Delta, Model, Select, Store
from critic_loop.core.records import Event, Outcome, Record, Task
from critic_loop.core.stop import StopFunction, StopReason
from critic_loop.core.tree import Tree
from critic_loop.graph.assemble import assemble
from critic_loop.graph.background import Background
from critic_loop.graph.graph import build_graph, build_lane
from critic_loop.graph.host import (
    apart,
    cancelled,
    field_of,
    heard_by_host,
    host_tree_id,
    id_of,
    job_tree_id,
    new_tree_id,
    task_in,
)
from critic_loop.graph.langchain import adapted
from critic_loop.graph.parts import Given
from critic_loop.graph.people import answers_in, ask_people, unreadable
from critic_loop.graph.result import Result
from critic_loop.graph.session import Session
from critic_loop.graph.stored import stored_run
from critic_loop.models import Bindable, Change, Switchboard, restore
from critic_loop.nodes.replay import Replay
from critic_loop.nodes.streak import Streak
from critic_loop.outputs import Output
from critic_loop.search import FunctionSearch
from critic_loop.store import open_store

T = TypeVar("T", default=str)

TaskLike = str | Sequence[Message] | Task
Notify = Callable[[Record | Delta], None]
_OWN_LIMIT: Any = {"recursion_limit": 1_000_000_000}
"""Our own runs end by stop rules and budgets, not by LangGraph's fuse."""

log = logging.getLogger("critic_loop")


class Loop(Generic[T]):
    """A recipe with its parts bound: run it, stream it, map it over tasks, or embed it.

    One loop may run many tasks at once, from one event loop at a time for each of them.
    """

    def __init__(  # noqa: PLR0913  # keyword-only: each is one part of a loop, all optional but the actor
        self,
        recipe: str | Path | Recipe = "refine",
        *,
        output: type[T] | Output[T] | str | None = None,
        actor: Bindable | Callable[..., Any] | Any | None = None,
        critic: Any = None,
        judge: Bindable | None = None,
        slots: Mapping[str, Bindable] | None = None,
        verifiers: Sequence[Any] | None = None,
        tools: Sequence[Callable[..., Any]] = (),
        stop: StopFunction | None = None,
        search: str | AnySearch | FunctionSearch | Callable[..., Any] | None = None,
        select: str | Select | None = None,
        store: str | Path | Store | None = None,
        lanes: int | None = None,
        max_calls: int | None = None,
        assets: Sequence[str | Path] = (),
        replay: str | Path | Store | None = None,
    ) -> None:
        """Put a loop together; nothing is sent and nothing written yet.

        Args:
            recipe: a bundled recipe's name, a `.toml` file, or a `Recipe`.
            output: what an answer is: a pydantic model or any type, or text, boxed, code:LANGUAGE.
            actor: a spec string, a Model, a LangChain chat model, another runnable or compiled graph, or an
                async function.
            critic: a spec string, a Model, a LangChain chat model, a function, `Human()`, or a list of these;
                functions and people take the place of the recipe's critics, a model plays them.
            judge: the model of the recipe's pairwise judge.
            slots: models for further slots by name.
            verifiers: functions or names, in place of the recipe's.
            tools: functions that the actor may call.
            stop: a rule such as `Verified() | MaxRounds(3)`, or a function of the progress, in place of the
                recipe's.
            search: a name, a Search, or a function of the tree, in place of the recipe's.
            select: a name, a function of the tree, or a rule such as `B4(alpha=10)`, in place of the recipe's.
            store: a URL, a path or a Store; None keeps trees in memory.
            lanes: attempts that may be made at once.
            max_calls: model calls a task, all roles together.
            assets: folders with `agents/` and `prompts/` that are looked through first.
            replay: a store whose trees answer all calls instead of models; strict about what was asked.

        Raises:
            ConfigError: something does not fit, with what to do.
            AssetError: a recipe, spec or prompt is wrong.
        """
        library = Library(assets)
        chosen = recipe if isinstance(recipe, Recipe) else library.recipe(str(recipe))
        self.recipe = chosen
        """The recipe as loaded, before this loop's own arguments."""
        self.parts = assemble(
            Given(
                recipe=chosen, library=library, output=output, actor=actor, critic=critic, judge=judge,
                slots=slots or {}, verifiers=verifiers, tools=tools, stop=stop, search=search, select=select,
                lanes=lanes, max_calls=max_calls, replay=replay is not None,
            )
        )  # fmt: skip
        self.store: Store = open_store(store)
        """Where its trees are kept."""
        self._replay = None if replay is None else open_store(replay)
        self.lane = build_lane(
            self,
            tools=bool(self.parts.tools),
            verifier=bool(self.parts.verifiers),
            critic=bool(self.parts.critics or self.parts.humans),
            judge=self.parts.judges_revisions,
        )
        self.graph = build_graph(self, self.lane)
        """The compiled graph, for hosts and for `langgraph dev`."""
        self._sessions: dict[str, Session] = {}
        self._reserved: set[str] = set()
        self._background = Background()
        self._announced = False
        self._interrupted: StopReason | None = None
        self.switchboard.subscribe(self._note)

    @property
    def switchboard(self) -> Switchboard:
        """The slots and what they are bound to."""
        return self.parts.switchboard

    # -- running -------------------------------------------------------------------------------

    async def run(self, task: TaskLike, *, tree_id: str | None = None, seed: int = 0) -> Result[T]:
        """Run the loop on one task and return the best answer, whatever stopped it.

        Args:
            task: text, messages, or a Task.
            tree_id: resume (or begin) this tree; without it a new tree is begun.
            seed: another seed gives other random draws where models honour seeds.

        Raises:
            AlreadyRunning: the tree is being run already.
            OtherTask, OtherLoop, OtherVersion: the tree was begun with another task, loop or version.
            ModelError: a wrong key, an empty account or an unreachable actor; the tree can be resumed.
        """
        return await self._run(Task.of(task), tree_id or new_tree_id(), seed, _ignore)

    async def _run(
        self,
        task: Task,
        tree_id: str,
        seed: int,
        notify: Notify,
        *,
        deltas: bool = False,
        streak: Streak | None = None,
    ) -> Result[T]:
        session = await self._open(task, tree_id, seed, notify)
        session.desk.calls.deltas, session.desk.calls.streak = deltas, streak
        before = session.tree.outcome
        self._announce()
        try:
            if session.stop is None:
                await apart(self._work(session))
            outcome = await session.choose()
        except CriticLoopError as error:
            if error.scope == "tree":
                event = Event(kind="error", at=session.now(), text=str(error), data={"code": error.code})
                await session.desk.calls.record(event, durable=True)
            raise
        finally:
            self.close(session.tree.id)
        log.info(
            "tree %s: %s, decided by %s, %d calls",
            session.tree.id,
            outcome.stop,
            outcome.decided_by,
            outcome.spend.calls,
        )
        return self._from(session.tree, outcome, reused=outcome is before)

    def run_sync(self, task: TaskLike, *, tree_id: str | None = None, seed: int = 0) -> Result[T]:
        """Run the loop from code that is not async; also where an event loop runs already."""
        return self._background.run(self.run(task, tree_id=tree_id, seed=seed))

    async def stream(
        self, task: TaskLike, *, tree_id: str | None = None, seed: int = 0, deltas: bool = False
    ) -> AsyncGenerator[Record | Delta | Result[T], None]:
        """Yield every record after the head as it is written, and the result last.

        Args:
            task: text, messages, or a Task.
            tree_id: resume (or begin) this tree; without it a new tree is begun.
            seed: another seed gives other random draws where models honour seeds.
            deltas: ask models to stream, and yield their text as it comes, too.
        """
        wanted = tree_id or new_tree_id()
        queue: asyncio.Queue[Record | Delta | None] = asyncio.Queue()
        work = self._run(Task.of(task), wanted, seed, queue.put_nowait, deltas=deltas)
        running = asyncio.create_task(work)
        running.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (record := await queue.get()) is not None:
                yield record
            yield await running
        finally:
            await cancelled(running)

    async def map(
        self, tasks: Iterable[TaskLike], *, in_flight: int = 64, seed: int = 0, same_error: int = 20
    ) -> AsyncGenerator[Result[T], None]:
        """Run the loop on many tasks, at most `in_flight` at once, and yield results as they come.

        Tree ids follow from task, recipe and seed: run again over the same store, finished trees are
        returned without a call and unfinished ones go on where they stopped. An error of scope *tree*
        is a result with stop reason `error`; one of scope *job* (a wrong key, a full disk) ends the
        map after the trees in flight have settled, with nothing written as failed. `interrupt` ends it early.

        Args:
            tasks: texts, messages, or Tasks.
            in_flight: tasks at once.
            seed: as for `run`.
            same_error: calls in a row that fail in the same way, in whatever tree, after which the map ends
                as for an error of scope *job*. Calls that were in flight together count once.
        """
        streak = Streak(same_error)
        waiting = iter(tasks)
        finished: asyncio.Queue[Result[T] | None] = asyncio.Queue(maxsize=in_flight)
        failed: list[BaseException] = []
        taken: dict[str, asyncio.Lock] = {}

        async def one(task: Task) -> Result[T]:
            """Run a task; one that comes twice waits for its first run and gets the same result."""
            tree_id = job_tree_id(task, self.parts.digest, seed)
            async with taken.setdefault(tree_id, asyncio.Lock()):
                return await self._one(task, tree_id, seed, streak)

        async def work() -> None:
            try:
                for task in waiting:
                    if failed or self._interrupted is not None:
                        break
                    await finished.put(await one(Task.of(task)))
            except Exception as error:  # noqa: BLE001  # raised below, once the others have settled
                failed.append(error)
            await finished.put(None)

        workers = [asyncio.create_task(work()) for _ in range(in_flight)]
        try:
            for _ in workers:
                while (result := await finished.get()) is not None:
                    yield result
            if failed:
                raise failed[0]
        finally:
            for worker in workers:
                await cancelled(worker)

    async def _one(self, task: Task, tree_id: str, seed: int, streak: Streak) -> Result[T]:
        try:
            return await self._run(task, tree_id, seed, _ignore, streak=streak)
        except CriticLoopError as error:
            if error.scope == "job":
                raise
            log.warning("tree %s ended: %s", tree_id, error)
            tree = await self.store.load(tree_id)
            return self._from(tree, Outcome(stop="error", stop_text=str(error)), error=str(error))

    def interrupt(self) -> None:
        """Let what runs end soon, with stop reason `interrupted`: calls in flight are waited for and kept.

        No further call is sent, by this loop, ever; each tree returns its best so far and goes on where it
        was when it is run again. Call it from the event loop that runs the loop (from a signal handler, say).
        To end at once, cancel the task instead: calls in flight are lost then.
        """
        self._interrupted = StopReason("interrupted", "the run was interrupted")
        for session in tuple(self._sessions.values()):
            session.interrupt(self._interrupted)

    def _announce(self) -> None:
        """Say once, before the first call, who is asked, by which recipe, up to which cap, kept where."""
        if not self._announced:
            self._announced = True
            where, cap = self.store.where, self.parts.max_calls
            log.info(
                "recipe %s, %r, at most %d calls a task, trees in %s",
                self.recipe.name,
                self.switchboard,
                cap,
                where,
            )

    async def _work(self, session: Session) -> None:
        """Run the lanes until the search or a rule ends them: what `graph` does, without a host's needs."""
        given: list[Any] = [{"tree_id": session.tree.id, "lane": n} for n in range(session.lanes)]
        if len(given) == 1:
            await self.lane.ainvoke(given[0], _OWN_LIMIT)
        else:
            work = (self.lane.ainvoke(lane, _OWN_LIMIT) for lane in given)
            for ended in await asyncio.gather(*work, return_exceptions=True):
                if isinstance(ended, BaseException):
                    session.fail(ended)
        if session.error is not None:
            raise session.error

    def _from(self, tree: Tree, outcome: Outcome, *, reused: bool = False, error: str = "") -> Result[T]:
        chosen = None if outcome.chosen is None else tree[outcome.chosen]
        answer = None if chosen is None or chosen.error_code else self.parts.output.load(chosen.answer)
        return Result(
            answer=answer,
            attempt_id=outcome.chosen,
            decided_by=outcome.decided_by,
            stop=outcome.stop,
            stop_text=outcome.stop_text,
            spend=outcome.spend,
            tree=tree,
            reused=reused,
            error=error,
        )

    # -- embedding -----------------------------------------------------------------------------

    def as_node(
        self,
        *,
        input: str | Callable[[Any], TaskLike] = "task",  # noqa: A002  # the word that hosts use
        output: str | Callable[[Result[T]], Mapping[str, Any]] = "answer",
    ) -> Callable[..., Coroutine[Any, Any, dict[str, Any]]]:
        """Return a node for a host's own graph.

        The loop runs with its own step limit, whatever the host's. In a thread of a host with a checkpointer
        the tree belongs to this step of this thread: a resumed host goes on with it, and people are asked
        through the host's `interrupt`.

        Args:
            input: the state's key that holds the task, or a function from state to task.
            output: the state's key that takes the answer, or a function from result to update.
        """

        async def node(state: Any) -> dict[str, Any]:
            task = task_in(input(state) if callable(input) else field_of(state, input))
            tree_id = host_tree_id(task)
            result = await self.run(task, tree_id=tree_id)
            heard = heard_by_host(result.tree)
            while heard:  # LangGraph gives a resumed node its earlier answers again, in order
                heard -= not unreadable(interrupt(None), list(result.tree.attempts))
            while result.stop == "parked" and tree_id is not None:
                answer = ask_people(self.parts.session(result.tree, self.store, _ignore))
                await self._respond(result.tree.id, answer, by="host")
                result = await self.run(task, tree_id=tree_id)
            return dict(output(result)) if callable(output) else {output: result.answer}

        return node

    def as_model(self) -> Model:
        """Return the loop as a Model, for use wherever a model is wanted."""
        from critic_loop.graph.as_model import LoopModel

        return LoopModel(self)

    async def respond(self, tree_id: str, answer: Any) -> None:
        """Add people's words to a tree whose attempts wait for them; `run` it again to go on.

        Args:
            tree_id: a tree that stopped as `parked`.
            answer: true, false, a text, fields of a Feedback, or a mapping of these by attempt id.
        """
        await self._respond(tree_id, answer, by="caller")

    async def _respond(self, tree_id: str, answer: Any, *, by: str) -> None:
        live = self._sessions.get(tree_id)
        if live is not None:
            await _told(live, answer, by)
            return
        with self._reserve(tree_id):
            await _told(self.parts.session(await self.store.load(tree_id), self.store, _ignore), answer, by)

    # -- swapping ------------------------------------------------------------------------------

    async def swap(
        self,
        slot: str,
        model: Bindable,
        *,
        when: Literal["call", "attempt", "tree"] = "call",
        warm: bool = True,
        drain: bool = True,
    ) -> None:
        """Bind `slot` to another model while trees are running; each running tree records the event.

        May be called from any thread, as in `asyncio.run(loop.swap(...))`. A function that plays a role in
        this loop passes `drain=False`: a drain waits for what such a function is part of.

        Args:
            slot: as in `critic`.
            model: a spec string, a Model, a `Fallback` or a `Split`.
            when: from the next call, attempt or tree on; what has begun keeps the old binding.
            warm: ask the new model for one token before it takes traffic.
            drain: return only when no call can reach the old binding any more: the calls in flight on it have
                ended, and so have the attempts or trees that keep it.

        Raises:
            NoSuchSlot: there is no such slot.
            ModelError: the new model does not answer; the old binding stays.
        """
        await self.switchboard.swap(slot, adapted(model), when=when, warm=warm, drain=drain)

    def _note(self, change: Change) -> None:
        """Have each running tree write a change down; called in whatever thread it happens."""
        for session in tuple(self._sessions.values()):
            session.desk.calls.note(change)

    # -- sessions: what the graph asks for -----------------------------------------------------

    async def open(self, state: Mapping[str, Any], runtime: Runtime[Any]) -> Session:
        """Return the session of the tree that a graph's state names, or of a new one for its task.

        A thread that comes back with the same task gets the same tree; with another task, a new one.
        Called where no lane of the invocation runs: a session with work in flight was left by a
        cancelled one, and is opened again from the store.
        """
        tree_id, given = state.get("tree_id"), state.get("task")
        known = self._sessions.get(tree_id or "")
        if known is not None and known.busy and known.error is None:
            self.close(known.tree.id)
        if not tree_id and given is None:
            raise ConfigError("the loop's graph was invoked without a task.", hint='Pass {"task": "..."}.')
        task = None if given is None else task_in(given)
        if tree_id and (task is None or tree_id in self._sessions or await self.store.has(tree_id)):
            session = await self.session(tree_id)
            if task is None or session.tree.task == task:
                return session
            self.close(tree_id)
            tree_id = None
        return await self._open(cast("Task", task), tree_id or self._thread_tree_id(task, runtime), 0, _ignore)

    def _thread_tree_id(self, task: Task | None, runtime: Runtime[Any]) -> str:
        info = runtime.execution_info
        if info is None or info.thread_id is None or task is None:
            return new_tree_id()
        return id_of("thread", info.thread_id, info.checkpoint_ns, self.parts.digest, task.id)

    async def session(self, tree_id: str) -> Session:
        """Return the session of a tree, opened from the store if it is not in memory."""
        known = self._sessions.get(tree_id)
        if known is not None:
            return known
        with self._reserve(tree_id):
            return await self._replayed(self._adopt(await self.store.load(tree_id), _ignore))

    def close(self, tree_id: str) -> None:
        """Forget a session; its tree stays in the store."""
        self._sessions.pop(tree_id, None)
        self.switchboard.forget(tree_id)

    async def _open(self, task: Task, tree_id: str, seed: int, notify: Notify) -> Session:
        with self._reserve(tree_id):
            if not await self.store.has(tree_id):
                head = self.parts.head(tree_id, task, seed)
                await self.store.append(tree_id, head, durable=False)
                return await self._replayed(self._adopt(Tree(head), notify))
            tree = await self.store.load(tree_id)
            if tree.task != task:
                differing = _differing(tree.task, task)
                raise OtherTask(
                    f"tree {tree_id!r} was begun with another task (id {tree.task.id!r}): {differing}.",
                    hint="Give the changed task another id, or none.",
                )
            return await self._replayed(self._adopt(tree, notify))

    async def _replayed(self, session: Session) -> Session:
        """Let a stored tree answer this session's calls, where the loop replays."""
        if self._replay is not None:
            try:
                stored = await stored_run(self._replay, session.tree.head)
            except CriticLoopError:
                self.close(session.tree.id)
                raise
            session.desk.calls.replay = Replay(stored)
        return session

    @contextmanager
    def _reserve(self, tree_id: str) -> Generator[None]:
        """Keep a tree to one opener: two sessions of one tree would write past each other."""
        if tree_id in self._sessions or tree_id in self._reserved:
            raise AlreadyRunning(
                f"tree {tree_id!r} is being run already.", hint="Wait for it, or give another tree_id."
            )
        self._reserved.add(tree_id)
        try:
            yield
        finally:
            self._reserved.discard(tree_id)

    def _adopt(self, tree: Tree, notify: Notify) -> Session:
        session = self._sessions[tree.id] = self.parts.session(tree, self.store, notify)
        for rebound in restore(self.switchboard, tree, session.unfolded):
            session.desk.calls.note(rebound)
        for swap in self.switchboard.latest_swaps():
            if swap.when == "tree" and len(tree.log) == 1:
                session.desk.calls.note(swap)
        if self._interrupted is not None and session.stop is None:
            session.interrupt(self._interrupted)
        return session

    # -- ending --------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Write what is pending; release models and store."""
        await self.switchboard.aclose()
        await self.store.aclose()
        if self._replay is not None:
            await self._replay.aclose()
        self._background.close()

    async def __aenter__(self) -> Loop[T]:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Loop({self.recipe.name!r}, slots={self.switchboard!r}, store={self.store.where!r})"


def _differing(stored: Task, given: Task) -> str:
    names = [name for name in Task.model_fields if getattr(stored, name) != getattr(given, name)]
    return f"its {', '.join(names)} differ{'s' if len(names) == 1 else ''}"


async def _told(session: Session, answer: Any, by: str) -> None:
    for attempt_id, feedback in answers_in(answer, session.parked()).items():
        await session.respond(attempt_id, feedback)
    event = Event(kind="resume", at=session.now(), data={"by": by})
    await session.desk.calls.record(event, durable=True)


def _ignore(record: Record | Delta) -> None:
    """Nobody listens."""
