"""The trees that a loop is writing: opened once each, looked up by id, closed.

Knows sessions, the store and the stored trees that answer in a replay. Does not know how a tree is run
(`graph.runner`) nor LangGraph.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

from critic_loop.core.errors import AlreadyRunning, OtherTask
from critic_loop.core.progress import StopReason
from critic_loop.core.protocols import Store
from critic_loop.core.records import Task
from critic_loop.core.tree import Tree
from critic_loop.graph.options import RunOptions
from critic_loop.graph.parts import LoopParts
from critic_loop.graph.people import respond
from critic_loop.graph.session import Session
from critic_loop.graph.stored import stored_run
from critic_loop.models import Change, restore
from critic_loop.nodes.replay import Replay

_DEFAULTS = RunOptions()


class Sessions:
    """Trees being written, by id; one that is not in memory is opened from the store."""

    def __init__(self, parts: LoopParts, store: Store, replay: Store | None = None) -> None:
        """Take the parts of the loop, its store, and a store that answers instead of models."""
        self.parts = parts
        self.store = store
        self.replay = replay
        self.interrupted: StopReason | None = None
        """Why no tree sends a call any more; None while calls are sent."""
        self._open: dict[str, Session] = {}
        self._reserved: set[str] = set()
        parts.switchboard.subscribe(self._note)

    async def open(self, task: Task, tree_id: str, seed: int = 0, options: RunOptions = _DEFAULTS) -> Session:
        """Return the session of a tree: of a new one, or of a stored one that goes on.

        Raises:
            AlreadyRunning: the tree is being run already.
            OtherTask, OtherLoop, OtherVersion: it was begun with another task, loop or version.
            NotRecorded: the loop replays, and no stored run fits.
        """
        with self._reserve(tree_id):
            if not await self.store.has(tree_id):
                head = self.parts.head(tree_id, task, seed)
                await self.store.append(tree_id, head, durable=False)
                return await self._adopt(Tree(head), options)
            tree = await self.store.load(tree_id)
            if tree.task != task:
                raise OtherTask(
                    f"tree {tree_id!r} was begun with another task (id {tree.task.id!r}): "
                    f"{_differing(tree.task, task)}.",
                    hint="Give the changed task another id, or none.",
                )
            return await self._adopt(tree, options)

    async def session(self, tree_id: str) -> Session:
        """Return the session of a tree that exists, opened from the store if it is not in memory.

        Raises:
            AlreadyRunning: someone else is opening the tree.
            OtherLoop, OtherVersion: another loop or version began it.
            NoSuchTree: there is no such tree.
        """
        known = self._open.get(tree_id)
        if known is not None:
            return known
        with self._reserve(tree_id):
            return await self._adopt(await self.store.load(tree_id), _DEFAULTS)

    async def has(self, tree_id: str) -> bool:
        """Whether there is such a tree, in memory or in the store."""
        return tree_id in self._open or await self.store.has(tree_id)

    def all(self) -> tuple[Session, ...]:
        """Return the sessions of the trees that are being written."""
        return tuple(self._open.values())

    def close(self, tree_id: str) -> None:
        """Forget a session; its tree stays in the store."""
        self._open.pop(tree_id, None)
        self.parts.switchboard.forget(tree_id)
        self.parts.open_parts.leave(tree_id)

    def forget_abandoned(self, tree_id: str) -> None:
        """Close a session that a cancelled invocation left with work in flight, where no lane runs any more."""
        known = self._open.get(tree_id)
        if known is not None and known.busy and known.error is None:
            self.close(tree_id)

    async def respond(self, tree_id: str, answer: Any) -> None:
        """Write down what a caller answers about the attempts of a tree, running or stored.

        Raises:
            UnreadableResponse, NotAwaited, NoSuchAttempt: see `people.respond`.
            AlreadyRunning: someone else is opening the tree.
            NoSuchTree: there is no such tree.
        """
        live = self._open.get(tree_id)
        if live is not None:
            await respond(live, answer)
            return
        async with self.stored(tree_id) as session:
            await respond(session, answer)

    @asynccontextmanager
    async def stored(self, tree_id: str) -> AsyncGenerator[Session]:
        """Give a session over a tree that is not being run: to see what waits there, and to answer.

        Raises:
            AlreadyRunning: it is being run, or someone else is opening it.
            NoSuchTree: there is no such tree.
        """
        with self._reserve(tree_id):
            yield self.parts.session(await self.store.load(tree_id), self.store)

    def interrupt(self) -> None:
        """End every tree as soon as its calls in flight have settled; no further call is sent."""
        self.interrupted = StopReason("interrupted", "the run was interrupted")
        for session in self.all():
            session.interrupt(self.interrupted)

    def stop(self, tree_id: str) -> bool:
        """End one tree as soon as its calls in flight have settled; return whether it was being run."""
        session = self._open.get(tree_id)
        if session is not None:
            session.interrupt(StopReason("stopped", "the tree was stopped"))
        return session is not None

    def _note(self, change: Change) -> None:
        """Record a change of bindings in each running tree; called in the thread of the change."""
        for session in self.all():
            session.note(change)

    @contextmanager
    def _reserve(self, tree_id: str) -> Generator[None]:
        """Reserve a tree for one opener: two sessions of one tree would conflict."""
        if tree_id in self._open or tree_id in self._reserved:
            raise AlreadyRunning(
                f"tree {tree_id!r} is being run already.", hint="Wait for it, or give another tree_id."
            )
        self._reserved.add(tree_id)
        try:
            yield
        finally:
            self._reserved.discard(tree_id)

    async def _adopt(self, tree: Tree, options: RunOptions) -> Session:
        """Open a session over `tree`, with the bindings that the tree says."""
        if options.replay is None and self.replay is not None:
            options = replace(options, replay=Replay(await stored_run(self.replay, tree.head)))
        session = self._open[tree.id] = self.parts.session(tree, self.store, options)
        switchboard = self.parts.switchboard
        for rebound in restore(switchboard, tree, session.unfolded):
            session.note(rebound)
        for swap in switchboard.latest_swaps():
            if swap.when == "tree" and len(tree.log) == 1:
                session.note(swap)
        if self.interrupted is not None and session.stop is None:
            session.interrupt(self.interrupted)
        return session


def _differing(stored: Task, given: Task) -> str:
    names = [name for name in Task.model_fields if getattr(stored, name) != getattr(given, name)]
    return f"its {', '.join(names)} differ{'s' if len(names) == 1 else ''}"
