"""`Loop`: one object that runs a recipe on tasks, embedded or on its own.

The public interface only: `graph.runner` runs a tree, `graph.job` runs many, and `graph.registry` holds those
that are being written. LangGraph is imported when a graph is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal

from typing_extensions import TypeVar

from critic_loop.assets import Library, Recipe
from critic_loop.core.protocols import AnySearch, Delta, Model, Select, Store
from critic_loop.core.records import Record, Task
from critic_loop.core.rules import StopFunction
from critic_loop.graph.assemble import assemble
from critic_loop.graph.background import Background
from critic_loop.graph.host import cancelled, new_tree_id
from critic_loop.graph.job import run_job
from critic_loop.graph.langchain import adapted
from critic_loop.graph.options import Driver, RunOptions, TaskLike
from critic_loop.graph.parts import LoopArguments
from critic_loop.graph.result import Result
from critic_loop.graph.runner import Runner
from critic_loop.models import Bindable, Switchboard
from critic_loop.nodes.streak import Streak
from critic_loop.outputs import Output
from critic_loop.search import FunctionSearch
from critic_loop.store import open_store

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable
    from langgraph.graph.state import CompiledStateGraph

T = TypeVar("T", default=str)


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
        tools: Sequence[Any] = (),
        stop: StopFunction | None = None,
        search: str | AnySearch | FunctionSearch | Callable[..., Any] | None = None,
        select: str | Select | None = None,
        store: str | Path | Store | None = None,
        lanes: int | None = None,
        max_calls: int | None = None,
        assets: Sequence[str | Path] = (),
        replay: str | Path | Store | None = None,
    ) -> None:
        """Build a loop; nothing is sent and nothing written yet.

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
            tools: what the actor may call: typed functions, Tools, LangChain tools.
            stop: a rule such as `Verified() | MaxRounds(3)`, or a function of the progress, in place of the
                recipe's.
            search: a name, a Search, or a function of the tree, in place of the recipe's.
            select: a name, a function of the tree, or a rule such as `B4(alpha=10)`, in place of the recipe's.
            store: a URL, a path or a Store; None keeps trees in memory.
            lanes: attempts that may be made at once.
            max_calls: model calls a task, all roles together.
            assets: folders with `agents/` and `prompts/` that are searched before the bundled ones.
            replay: a store whose trees answer all calls instead of models; strict about what was asked.

        Raises:
            ConfigError: an argument is invalid; the message says what to do.
            AssetError: a recipe, spec or prompt is wrong.
        """
        library = Library(assets)
        chosen = recipe if isinstance(recipe, Recipe) else library.recipe(str(recipe))
        given = LoopArguments(
            recipe=chosen, library=library, output=output, actor=actor, critic=critic, judge=judge,
            slots=slots or {}, verifiers=verifiers, tools=tools, stop=stop, search=search, select=select,
            lanes=lanes, max_calls=max_calls, replay=replay is not None,
        )  # fmt: skip
        self.parts = assemble(given)
        self.store: Store = open_store(store)
        """Where its trees are kept."""
        self.runner = Runner(self.parts, self.store, None if replay is None else open_store(replay))
        self._background = Background()

    @property
    def recipe(self) -> Recipe:
        """The recipe as loaded, before this loop's own arguments."""
        return self.parts.recipe

    @property
    def graph(self) -> CompiledStateGraph[Any]:
        """The compiled graph, for hosts and for `langgraph dev`. The first access imports LangGraph."""
        return self.runner.graph()

    @property
    def lane(self) -> CompiledStateGraph[Any]:
        """The graph of one lane. The first access imports LangGraph."""
        return self.runner.lane()

    @property
    def switchboard(self) -> Switchboard:
        """The slots and what they are bound to."""
        return self.parts.switchboard

    # -- running -------------------------------------------------------------------------------

    async def run(
        self, task: TaskLike, *, tree_id: str | None = None, seed: int = 0, driver: Driver = "graph"
    ) -> Result[T]:
        """Run the loop on one task and return the best answer, whatever stopped it.

        Args:
            task: text, messages, or a Task.
            tree_id: resume (or begin) this tree; without it a new tree is begun.
            seed: another seed gives other random draws where models honour seeds.
            driver: `graph` runs the lanes with LangGraph, which can trace them; `direct` without it, which
                costs less. The tree is the same.

        Raises:
            AlreadyRunning: the tree is being run already.
            OtherTask, OtherLoop, OtherVersion: the tree was begun with another task, loop or version.
            ModelError: a wrong key, an empty account or an unreachable actor; the tree can be resumed.
        """
        return await self.runner.run(Task.of(task), tree_id or new_tree_id(), seed, RunOptions(driver=driver))

    def run_sync(
        self, task: TaskLike, *, tree_id: str | None = None, seed: int = 0, driver: Driver = "graph"
    ) -> Result[T]:
        """Run the loop from code that is not async; also where an event loop runs already."""
        return self._background.run(self.run(task, tree_id=tree_id, seed=seed, driver=driver))

    async def stream(
        self,
        task: TaskLike,
        *,
        tree_id: str | None = None,
        seed: int = 0,
        deltas: bool = False,
        driver: Driver = "graph",
    ) -> AsyncGenerator[Record | Delta | Result[T], None]:
        """Yield every record after the head as it is written, and the result last.

        Args:
            task: text, messages, or a Task.
            tree_id: resume (or begin) this tree; without it a new tree is begun.
            seed: another seed gives other random draws where models honour seeds.
            deltas: ask models to stream, and yield their text as it comes, too.
            driver: as for `run`.
        """
        queue: asyncio.Queue[Record | Delta | None] = asyncio.Queue()
        options = RunOptions(driver=driver, notify=queue.put_nowait, deltas=deltas)
        work = self.runner.run(Task.of(task), tree_id or new_tree_id(), seed, options)
        running = asyncio.create_task(work)
        running.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (record := await queue.get()) is not None:
                yield record
            yield await running
        finally:
            await cancelled(running)

    def map(
        self,
        tasks: Iterable[TaskLike],
        *,
        in_flight: int = 64,
        seed: int = 0,
        same_error: int = 20,
        driver: Driver = "direct",
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
            driver: as for `run`.
        """
        options = RunOptions(driver=driver, streak=Streak(same_error))
        return run_job(self.runner, tasks, in_flight=in_flight, seed=seed, options=options)

    def interrupt(self) -> None:
        """End all running trees soon, with stop reason `interrupted`: calls in flight are waited for and kept.

        This loop sends no further call. Each run returns its best so far, and its tree goes on from there when
        another loop runs it again. May be called from any thread, or from a signal handler. To end at once,
        cancel the task instead: calls in flight are lost then.
        """
        self.runner.sessions.interrupt()

    def stop(self, tree_id: str) -> bool:
        """End one tree soon, with stop reason `stopped`: calls in flight are waited for and kept.

        Its run returns the best so far; other trees go on, and so does this one when it is run again. May be
        called from any thread.

        Args:
            tree_id: a tree that this loop runs.

        Returns:
            Whether it was being run; if not, nothing happens.
        """
        return self.runner.sessions.stop(tree_id)

    # -- embedding -----------------------------------------------------------------------------

    def as_node(
        self,
        *,
        input: str | Callable[[Any], TaskLike] = "task",  # noqa: A002  # the word that hosts use
        output: str | Callable[[Result[T]], Mapping[str, Any]] = "answer",
        deltas: bool = False,
    ) -> Runnable[Any, dict[str, Any]]:
        """Return a node for a host's own graph, which may be invoked with `invoke` or `ainvoke`.

        The loop runs with its own step limit, whatever the host's. In a thread of a host with a checkpointer
        the tree belongs to this step of this thread: a resumed host goes on with it, and people are asked
        through the host's `interrupt`. What `stream` yields is written to the host's stream
        (`stream_mode="custom"`) in the shape of `event_json`, and the host's callbacks trace the loop's lanes
        and stages as children of the node.

        Args:
            input: the state's key that holds the task, or a function from state to task.
            output: the state's key that takes the answer, or a function from result to update.
            deltas: ask models to stream, and write their text to the host's stream as it comes, too.
        """
        from critic_loop.graph.node import node_of

        return node_of(self.runner, self._background, input, output, deltas=deltas)

    def as_model(self) -> Model:
        """Return the loop as a Model, for use wherever a model is wanted."""
        from critic_loop.graph.loop_model import LoopModel

        return LoopModel(self)

    async def respond(self, tree_id: str, answer: Any) -> None:
        """Write down what people answer about attempts that wait for them; `run` the tree again to go on.

        No answer is dropped: one that cannot be used is an error, and nothing of it is written.

        Args:
            tree_id: a tree that stopped as `parked`; `result.waiting` has what waits.
            answer: true, false, a text, fields of a Feedback, or a mapping of these by attempt id. Without ids
                it is about all attempts that wait. Where several people are asked about an attempt, `author`
                says whose answer it is; without it, it is that of the first who is still awaited.

        Raises:
            UnreadableResponse: the answer cannot be read, or is empty.
            NotAwaited: no attempt waits for it: it was given before, or no person was asked.
            NoSuchAttempt, NoSuchTree: there is none of this id.
            AlreadyRunning: another answer for the tree is being written.
        """
        await self.runner.sessions.respond(tree_id, answer)

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

    # -- ending --------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Write what is pending; release tools, models and store.

        Raises:
            StoreError: records could not be written, and no run has raised the error.
        """
        try:
            await self.parts.open_parts.aclose()
            await self.switchboard.aclose()
            await self.store.aclose()
        finally:
            if self.runner.sessions.replay is not None:
                await self.runner.sessions.replay.aclose()
            self._background.close()

    async def __aenter__(self) -> Loop[T]:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Loop({self.recipe.name!r}, slots={self.switchboard!r}, store={self.store.where!r})"
