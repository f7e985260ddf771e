"""Tools and roles that are open, and their scratch folders: for a loop, a tree or an attempt.

Knows when a part is opened and closed. Does not know how it is called (`nodes.tool_executor`, `nodes.stages`).

Each part that has a lifetime is opened and closed by one task of its own, because a context manager (an AnyIO
cancel scope, say) must be exited in the task that entered it. A part that fails does not affect the others.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import re
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from critic_loop.core.errors import CriticLoopError, ModelError, ToolError, VerifierError
from critic_loop.core.lifetimes import has_lifetime, is_manager, opened
from critic_loop.core.records import Task
from critic_loop.core.threads import in_thread
from critic_loop.core.tools import Tool, ToolContext, ToolScope, tool_error

CLOSING_S = 10.0
"""How long the end of a scope waits for its tools to close."""

log = logging.getLogger("critic_loop")

ScopeKey = tuple[str, str]
"""Tree and attempt that a scope belongs to; both empty for the loop, the attempt for a tree."""
P = TypeVar("P")


_ERRORS: dict[str, type[CriticLoopError]] = {"tool": ToolError, "actor": ModelError}


class PartName(NamedTuple):
    """A part's name in messages."""

    kind: str
    """`tool`, `verifier`, `critic`, ..."""
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"

    def error(self, error: BaseException) -> CriticLoopError:
        """Return an error raised by opening it as a `CriticLoopError`."""
        found = tool_error(f"{self} cannot be opened", error)
        if type(found) is not ToolError:  # a `CriticLoopError` already
            return found
        return _ERRORS.get(self.kind, VerifierError)(found.message)


class OpenParts:
    """The open tools and roles of a loop. May be used from several event loops."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._scopes: dict[ScopeKey, _Scope] = {}
        self._closing: set[_Scope] = set()

    async def use(self, tool: Tool, context: ToolContext) -> Tool:
        """Return the tool to call, opened for its scope if this is the first use there.

        Raises:
            ToolError: it cannot be opened, with the reason. The next use tries again.
        """
        if not has_lifetime(tool):
            return tool
        scope = self._scope(tool.scope, context.tree_id, context.attempt_id)
        return await scope.opening(tool, PartName("tool", tool.name), context.task).part()

    async def role(self, role: P, kind: str, name: str) -> P:
        """Return a role to ask, opened for the loop if this is its first use.

        Args:
            role: an actor, critic, verifier or judge; a context manager where it has a lifetime.
            kind: which of these.
            name: its name in records.

        Raises:
            VerifierError: it cannot be opened, with the reason. The next use tries again.
        """
        if not is_manager(role):
            return role
        opening = self._scope("loop", "", "").opening(role, PartName(kind, name), Task.of(""))
        return await opening.part()

    def scratch(self, part: PartName, scope: ToolScope, tree_id: str, attempt_id: str = "") -> Path:
        """Return a part's folder for its scope, created at the first call. May be called from any thread."""
        return self._scope(scope, tree_id, attempt_id).folder(part)

    def leave(self, tree_id: str, attempt_id: str = "") -> None:
        """Begin to close what was opened for an attempt, or for a tree with its attempts; do not wait."""
        if not self._scopes:
            return
        left = (
            [(tree_id, attempt_id)]
            if attempt_id
            else [place for place in tuple(self._scopes) if place[0] == tree_id]
        )
        for place in left:
            self._leave(self._scopes.pop(place, None))

    async def aclose(self, tree_id: str = "") -> None:
        """Close what was opened for a tree, or everything; return when it is closed. Errors are logged."""
        for place in tuple(self._scopes):
            if tree_id in ("", place[0]):
                self._leave(self._scopes.pop(place, None))
        closing = [scope.closed for scope in tuple(self._closing) if tree_id in ("", scope.place[0])]
        await _all(closing, limit_s=2 * CLOSING_S)

    def _scope(self, scope: ToolScope, tree_id: str, attempt_id: str) -> _Scope:
        place = {"loop": ("", ""), "tree": (tree_id, ""), "attempt": (tree_id, attempt_id)}[scope]
        known = self._scopes.get(place)
        return self._scopes.setdefault(place, _Scope(place)) if known is None else known

    def _leave(self, scope: _Scope | None) -> None:
        if scope is not None:
            self._closing.add(scope)
            scope.closed.add_done_callback(lambda _: self._closing.discard(scope))
            scope.leave()


class _Scope:
    """The open parts of one scope, and its folders."""

    def __init__(self, place: ScopeKey) -> None:
        self.place = place
        self.closed: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._openings: dict[tuple[PartName, asyncio.AbstractEventLoop], _Opening[Any]] = {}
        self._folders: dict[PartName, Path] = {}
        self._lock = threading.Lock()
        self._closing: asyncio.Task[None] | None = None
        weakref.finalize(self, _remove, self._folders)  # also where the process ends before the scope does

    def opening(self, part: P, named: PartName, task: Task) -> _Opening[P]:
        """Return a part's opening for the running event loop; a new one if there is none or it is closed."""
        key = (named, asyncio.get_running_loop())
        known = self._openings.get(key)
        if known is None or known.closed.done():
            known = self._openings[key] = _Opening(part, named, self._context(named, task))
        return known

    def _context(self, named: PartName, task: Task) -> ToolContext:
        """Return the context that a part is opened with: what holds for the whole scope."""
        tree_id, attempt_id = self.place
        folder = partial(self.folder, named)
        if not tree_id:
            return ToolContext(folder=folder)
        return ToolContext(tree_id=tree_id, attempt_id=attempt_id, task=task, folder=folder)

    def folder(self, named: PartName) -> Path:
        """Return the folder of the part of this name."""
        with self._lock:
            if named not in self._folders:
                name = re.sub(r"[^A-Za-z0-9_-]", "-", named.name)
                self._folders[named] = Path(tempfile.mkdtemp(prefix=f"critic-loop-{name}-"))
            return self._folders[named]

    def leave(self) -> None:
        """Begin to close all; `closed` is set at the end."""
        for opening in self._openings.values():
            opening.leave()
        try:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        except RuntimeError:  # called by sync code: the folders are deleted with this object
            self.closed.set_result(None)

    async def _close(self) -> None:
        try:
            await _all((opening.closed for opening in self._openings.values()), limit_s=CLOSING_S)
            for opening in self._openings.values():
                opening.abandon()
            await in_thread(_remove, self._folders)
        finally:
            self.closed.set_result(None)


class _Opening(Generic[P]):
    """One part, opened, held open and closed by a task of its own."""

    def __init__(self, part: P, named: PartName, context: ToolContext) -> None:
        self.closed: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._named = named
        self._event_loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[P] = self._event_loop.create_future()
        self._ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())  # waited for or not
        self._leaving = asyncio.Event()
        self._task = self._event_loop.create_task(self._hold(part, context))
        self._task.add_done_callback(self._ended)

    async def part(self) -> P:
        """Return the opened part as soon as it is there. A cancelled wait does not cancel the opening."""
        return await asyncio.shield(self._ready)

    def leave(self) -> None:
        """Have the part closed, or its opening cancelled; from any thread."""
        if not self.closed.done() and self._event_loop.is_running():
            self._event_loop.call_soon_threadsafe(self._leave)
            return
        if not self.closed.done():
            log.warning("%s was opened in an event loop that has ended: it cannot be closed", self._named)
            self.closed.set_result(None)

    def _leave(self) -> None:
        if self._ready.done():
            self._leaving.set()
        else:
            self._task.cancel()

    def abandon(self) -> None:
        """Cancel a closing that takes too long."""
        if not self.closed.done():
            log.warning("%s did not close within %g s", self._named, CLOSING_S)
            self._event_loop.call_soon_threadsafe(self._task.cancel)

    async def _hold(self, part: P, context: ToolContext) -> None:
        try:
            async with opened(part, context) as used:
                if self._named.kind == "tool" and not callable(getattr(used, "run", None)):
                    raise TypeError(f"`open` yielded {type(used).__name__}, which has no `run`")  # noqa: TRY301
                self._ready.set_result(used)
                await self._leaving.wait()
        except BaseException as error:  # noqa: BLE001  # users' code may raise anything; the error is reported by `part` or logged
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        if not self._ready.done():
            log.debug("%s cannot be opened", self._named, exc_info=error)
            self._ready.set_exception(self._named.error(error))
        elif not isinstance(error, asyncio.CancelledError | GeneratorExit):
            log.warning("%s failed while it was open or being closed", self._named, exc_info=error)

    def _ended(self, _task: asyncio.Task[None]) -> None:
        if not self._ready.done():  # cancelled before it began
            self._ready.set_exception(ToolError(f"{self._named} was closed before it was open."))
        if not self.closed.done():
            self.closed.set_result(None)


async def _all(closed: Iterable[concurrent.futures.Future[None]], *, limit_s: float) -> None:
    """Wait for all of these, at most `limit_s` seconds."""
    waiting = [asyncio.wrap_future(one) for one in closed if not one.done()]
    if waiting:
        await asyncio.wait(waiting, timeout=limit_s)


def _remove(folders: dict[PartName, Path]) -> None:
    for folder in folders.values():
        shutil.rmtree(folder, ignore_errors=True)
