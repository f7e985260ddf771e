"""A loop within a host: ids of trees, tasks in a host's state, its stream, callbacks and context.

Knows LangGraph's runtime, but does not import it: a running host has imported LangGraph already.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import secrets
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, cast

from critic_loop.core.errors import ConfigError
from critic_loop.core.messages import Message
from critic_loop.core.protocols import Delta
from critic_loop.core.records import Record, Task
from critic_loop.graph.registry import Sessions
from critic_loop.graph.session import Session

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.runtime import Runtime

    from critic_loop.graph.result import Result

    Event = Record | Delta | Result[Any]
    """What a loop streams."""


def new_tree_id() -> str:
    """Return a new random tree id."""
    return "t" + secrets.token_hex(8)


def job_tree_id(task: Task, parts_digest: str, seed: int) -> str:
    """Return the id of the tree for a task, a loop's parts and a seed; equal arguments give equal ids."""
    return id_of("job", task.id, parts_digest, seed)


def task_in(given: Any) -> Task:
    """Return the task in a host's state: text, messages (ours or LangChain's) or a Task, also as JSON."""
    if isinstance(given, Task | str):
        return Task.of(given)
    if isinstance(given, Mapping):
        return Task.model_validate(given)
    return Task(prompt=tuple(_message_in(message) for message in given))


_LANGCHAIN_ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}


def _message_in(given: Any) -> Message:
    role, text = _LANGCHAIN_ROLES.get(getattr(given, "type", "")), getattr(given, "content", None)
    if role is not None and isinstance(text, str):
        given = {"role": role, "parts": [{"type": "text", "text": text}]}
    return Message.model_validate(given)


def id_of(*parts: object) -> str:
    """Return the tree id that belongs to these parts: the same for the same."""
    return "t" + hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).hexdigest()


def field_of(state: Any, key: str) -> Any:
    """Return the value of a key of a host's state."""
    return state[key] if isinstance(state, Mapping) else getattr(state, key)


def _host_config() -> RunnableConfig | None:
    """Return the config of the host that calls, a LangGraph or a LangChain runnable; None without a host."""
    config = sys.modules.get("langchain_core.runnables.config")
    return None if config is None else config.var_child_runnable_config.get(None)


def host_callbacks() -> Any:
    """Return the host's callbacks, under which runs are traced as children of its own; None without a host."""
    config = _host_config()
    return None if config is None else config.get("callbacks")


def host_stream() -> Callable[[Event], None] | None:
    """Return what writes an event to the host's stream, in mode `custom`; None outside a LangGraph host.

    Events are written in the shape of `event_json`, as JSON objects. May be called from any thread.
    """
    runtime = _host_runtime()
    if runtime is None:
        return None
    from critic_loop.graph.events import event_object

    write, context = runtime.stream_writer, contextvars.copy_context()

    def to_host(event: Event) -> None:
        context.copy().run(write, event_object(event))  # the writer looks its node up in the context

    return to_host


def _host_runtime() -> Runtime[Any] | None:
    """Return LangGraph's runtime of the node that calls; None where no LangGraph node does."""
    runtime = sys.modules.get("langgraph.runtime")
    return None if runtime is None or _host_config() is None else runtime.get_runtime()


async def detached(work: Coroutine[Any, Any, None]) -> None:
    """Do `work` outside a host's context: without its checkpointer and step limit."""
    if _host_config() is None:
        return await work
    running = asyncio.create_task(work, context=contextvars.Context())
    try:
        await asyncio.shield(running)
    finally:
        await cancelled(running)


def host_tree_id(task: Task) -> str | None:
    """Return the tree's id for this step of a host's thread; None where the host keeps no thread."""
    runtime = _host_runtime()
    info = None if runtime is None else runtime.execution_info
    return (
        None if info is None or info.thread_id is None else id_of("step", info.thread_id, info.task_id, task.id)
    )


async def opened(sessions: Sessions, state: Mapping[str, Any], runtime: Runtime[Any]) -> Session:
    """Return the session of the tree that a graph's state names, or of a new one for its task.

    A thread that comes back with the same task gets the same tree; with another task, a new one.
    Called where no lane of the invocation runs: a session with work in flight was left by a
    cancelled one, and is opened again from the store.
    """
    tree_id, given = state.get("tree_id"), state.get("task")
    if tree_id:
        sessions.forget_abandoned(tree_id)
    if not tree_id and given is None:
        raise ConfigError("the loop's graph was invoked without a task.", hint='Pass {"task": "..."}.')
    task = None if given is None else task_in(given)
    if tree_id and (task is None or await sessions.has(tree_id)):
        session = await sessions.session(tree_id)
        if task is None or session.tree.task == task:
            return session
        sessions.close(tree_id)
        tree_id = None
    task = cast("Task", task)
    return await sessions.open(task, tree_id or _thread_tree_id(task, runtime, sessions.parts.digest))


def _thread_tree_id(task: Task, runtime: Runtime[Any], parts_digest: str) -> str:
    info = runtime.execution_info
    if info is None or info.thread_id is None:
        return new_tree_id()
    return id_of("thread", info.thread_id, info.checkpoint_ns, parts_digest, task.id)


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel `task` if it runs, and wait until it has ended."""
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
