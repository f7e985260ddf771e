"""A loop within a host: ids of trees, tasks in a host's state, work apart from its context.

Knows LangGraph's runtime. Does not know loops.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import secrets
from collections.abc import Coroutine, Mapping
from typing import Any

from langgraph.config import get_config
from langgraph.runtime import get_runtime

from critic_loop.core.messages import Message
from critic_loop.core.records import Task
from critic_loop.core.tree import Tree


def new_tree_id() -> str:
    """Return an id that no tree has."""
    return "t" + secrets.token_hex(8)


def job_tree_id(task: Task, parts_digest: str, seed: int) -> str:
    """Return the id of the tree for a task, a loop's parts and a seed: the same for the same."""
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
    """Return what a host's state has under a key."""
    return state[key] if isinstance(state, Mapping) else getattr(state, key)


def _inside_a_host() -> bool:
    try:
        get_config()
    except RuntimeError:
        return False
    return True


async def apart(work: Coroutine[Any, Any, None]) -> None:
    """Do `work` apart from a host's context: no foreign checkpointer, callbacks or limit."""
    if not _inside_a_host():
        return await work
    running = asyncio.create_task(work, context=contextvars.Context())
    try:
        await asyncio.shield(running)
    finally:
        await cancelled(running)


def host_tree_id(task: Task) -> str | None:
    """Return the tree's id for this step of a host's thread; None where the host keeps no thread."""
    try:
        info = get_runtime().execution_info
    except RuntimeError:
        return None
    return (
        None if info is None or info.thread_id is None else id_of("step", info.thread_id, info.task_id, task.id)
    )


def heard_by_host(tree: Tree) -> int:
    """Return how many of the host's interrupts have been answered in this tree."""
    return sum(1 for event in tree.events if event.kind == "resume" and event.data.get("by") == "host")


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel `task` if it runs, and wait until it has ended."""
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
