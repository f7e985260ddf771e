"""A loop as a node of a host's own graph: `Loop.as_node`.

Knows states, threads, streams and people of the host. Does not know how a tree is run (`graph.runner`).
Importing this module loads LangChain's core; it is imported when a node is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.runnables import Runnable, RunnableLambda

from critic_loop.core.records import Task
from critic_loop.graph.background import Background
from critic_loop.graph.host import field_of, host_stream, host_tree_id, new_tree_id, task_in
from critic_loop.graph.interrupts import ask_people, skip_answers
from critic_loop.graph.options import RunOptions, TaskLike, ignore
from critic_loop.graph.result import Result
from critic_loop.graph.runner import Runner


def node_of(
    runner: Runner,
    background: Background,
    given: str | Callable[[Any], TaskLike],
    returned: str | Callable[[Result[Any]], Mapping[str, Any]],
    *,
    deltas: bool,
) -> Runnable[Any, dict[str, Any]]:
    """Return the node that `Loop.as_node` describes: from the host's state to an update of it.

    Under `ainvoke` it runs in the host's event loop, under `invoke` in that of `background`, with the context
    of the thread that waits for it: the host's interrupts, stream and callbacks are the same.
    """

    async def node(state: Any) -> dict[str, Any]:
        task = task_in(given(state) if callable(given) else field_of(state, given))
        result = await _result(runner, task, host_tree_id(task), deltas=deltas)
        return dict(returned(result)) if callable(returned) else {returned: result.answer}

    def node_sync(state: Any) -> dict[str, Any]:
        return background.run(node(state))

    return RunnableLambda(node_sync, node, name="critic_loop")


async def _result(runner: Runner, task: Task, thread: str | None, *, deltas: bool) -> Result[Any]:
    """Run the loop, and ask the host's people as long as attempts wait for them and there is a thread."""
    tree_id, stream = thread or new_tree_id(), host_stream()
    options = RunOptions(deltas=deltas, notify=stream or ignore)
    result = await runner.run(task, tree_id, 0, options)
    if thread is not None and runner.parts.humans:
        skip_answers(result.tree)
        while await ask_people(runner.sessions, tree_id, begin=result.stop == "parked"):
            result = await runner.run(task, tree_id, 0, options)
    if stream is not None:
        stream(result)
    return result
