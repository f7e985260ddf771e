"""One run of one tree: it is opened, its lanes run until it ends, the answer is chosen, it is closed.

Knows both drivers, and imports LangGraph's when a graph is asked for. Does not know how many trees there are
to run (`graph.job`) nor the public interface (`graph.loop`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from critic_loop.core.errors import CriticLoopError
from critic_loop.core.protocols import Store
from critic_loop.core.records import Event, Outcome, Task
from critic_loop.core.tree import Tree
from critic_loop.graph.host import detached, host_callbacks
from critic_loop.graph.lane import Lane
from critic_loop.graph.options import RunOptions
from critic_loop.graph.parts import LoopParts
from critic_loop.graph.people import waiting_in
from critic_loop.graph.registry import Sessions
from critic_loop.graph.result import Result, Waiting
from critic_loop.graph.session import Session
from critic_loop.graph.walk import run_lanes, walk

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

T = TypeVar("T")
_OWN_LIMIT: Any = {"recursion_limit": 1_000_000_000}
"""Our own runs end by stop rules and budgets, not by LangGraph's step limit."""
_log = logging.getLogger("critic_loop")


class Runner:
    """Runs trees for a loop, any number at once. `Loop.run`, `stream` and `map` are calls of `run`."""

    def __init__(self, parts: LoopParts, store: Store, replay: Store | None = None) -> None:
        """Take the parts of the loop, its store, and a store that answers instead of models."""
        self.parts = parts
        self.store = store
        self.sessions = Sessions(parts, store, replay)
        self.stages = Lane(parts)
        self.lane = Lazy(self._build_lane)
        """The lane as a LangGraph graph, compiled at the first call."""
        self.graph = Lazy(self._build_graph)
        """The whole loop as a LangGraph graph for a host, compiled at the first call."""
        self._announced = False

    async def run(self, task: Task, tree_id: str, seed: int, options: RunOptions) -> Result[Any]:
        """Begin a tree, or go on with one, and return the best answer.

        Raises:
            AlreadyRunning: the tree is being run already.
            OtherTask, OtherLoop, OtherVersion: it was begun with another task, loop or version.
            CriticLoopError: what ended the tree, or the job (`error.scope`); the tree can be resumed.
        """
        session = await self.sessions.open(task, tree_id, seed, options)
        self._announce()
        before = session.tree.outcome
        try:
            if session.stop is None:
                await detached(self._drive(session, options, host_callbacks()))
            outcome = await session.choose()
            waiting = waiting_in(session)
        except CriticLoopError as error:
            if error.scope == "tree":
                event = Event(kind="error", at=session.now(), text=str(error), data={"code": error.code})
                await session.record(event, durable=True)
            raise
        finally:
            self.sessions.close(tree_id)
            await self.parts.open_parts.aclose(tree_id)
        _log.info(
            "tree %s: %s, decided by %s, %d calls",
            tree_id,
            outcome.stop,
            outcome.decided_by,
            outcome.spend.calls,
        )
        return self._result(session.tree, outcome, waiting=waiting, reused=outcome is before)

    async def run_or_fail(self, task: Task, tree_id: str, seed: int, options: RunOptions) -> Result[Any]:
        """Do as `run`; an error that ends the tree alone is a result with stop reason `error`.

        Raises:
            CriticLoopError: an error of scope *job*.
        """
        try:
            return await self.run(task, tree_id, seed, options)
        except CriticLoopError as error:
            if error.scope == "job":
                raise
            _log.warning("tree %s ended: %s", tree_id, error)
            tree = await self.store.load(tree_id)
            return self._result(tree, Outcome(stop="error", stop_text=str(error)), error=str(error))

    async def _drive(self, session: Session, options: RunOptions, callbacks: Any) -> None:
        """Run the lanes until the search or a rule ends them; `callbacks` are those of a host."""
        if options.driver == "direct":
            await run_lanes(session, lambda number: walk(self.stages, session, number))
        else:
            graph, known = self.lane(), {"tree_id": session.tree.id}
            config: Any = {**_OWN_LIMIT, "callbacks": callbacks}
            await run_lanes(session, lambda number: graph.ainvoke({**known, "lane": number}, config))

    def _build_lane(self) -> CompiledStateGraph[Any]:
        from critic_loop.graph.graph import build_lane

        return build_lane(self.sessions, self.stages)

    def _build_graph(self) -> CompiledStateGraph[Any]:
        from critic_loop.graph.graph import build_graph

        return build_graph(self.sessions, self.lane())

    def _announce(self) -> None:
        """Log once, before the first call: recipe, models, cap on calls, store."""
        if not self._announced:
            self._announced = True
            _log.info(
                "recipe %s, %r, at most %d calls a task, trees in %s",
                self.parts.recipe.name,
                self.parts.switchboard,
                self.parts.max_calls,
                self.store.where,
            )

    def _result(
        self,
        tree: Tree,
        outcome: Outcome,
        *,
        waiting: tuple[Waiting, ...] = (),
        reused: bool = False,
        error: str = "",
    ) -> Result[Any]:
        chosen = None if outcome.chosen is None else tree[outcome.chosen]
        return Result(
            answer=None if chosen is None or chosen.error_code else self.parts.output.load(chosen.answer),
            attempt_id=outcome.chosen,
            decided_by=outcome.decided_by,
            stop=outcome.stop,
            stop_text=outcome.stop_text,
            spend=outcome.spend,
            tree=tree,
            waiting=waiting,
            reused=reused,
            error=error,
        )


class Lazy(Generic[T]):
    """A value that is made at the first call, once for all threads."""

    def __init__(self, make: Callable[[], T]) -> None:
        """Take what makes the value."""
        self._make = make
        self._made: list[T] = []
        self._lock = threading.Lock()

    def __call__(self) -> T:
        """Return the value, the same each time."""
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]
