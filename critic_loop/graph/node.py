"""A loop as a node of a host's own graph: `Loop.as_node`.

Knows states, threads and people of the host. Does not know how a tree is run (`graph.runner`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from critic_loop.core.records import Task
from critic_loop.graph.host import field_of, host_tree_id, new_tree_id, task_in
from critic_loop.graph.options import RunOptions, TaskLike
from critic_loop.graph.people import ask_people, heard_by_host, skip_answers
from critic_loop.graph.result import Result
from critic_loop.graph.runner import Runner

_OPTIONS = RunOptions()


def node_of(
    runner: Runner,
    given: str | Callable[[Any], TaskLike],
    returned: str | Callable[[Result[Any]], Mapping[str, Any]],
) -> Callable[..., Coroutine[Any, Any, dict[str, Any]]]:
    """Return the node that `Loop.as_node` describes: from the host's state to an update of it."""

    async def node(state: Any) -> dict[str, Any]:
        task = task_in(given(state) if callable(given) else field_of(state, given))
        result = await _heard(runner, task, host_tree_id(task))
        return dict(returned(result)) if callable(returned) else {returned: result.answer}

    return node


async def _heard(runner: Runner, task: Task, thread: str | None) -> Result[Any]:
    """Run the loop, and ask the host's people as long as attempts wait for them and there is a thread."""
    tree_id = thread or new_tree_id()
    result = await runner.run(task, tree_id, 0, _OPTIONS)
    skip_answers(heard_by_host(result.tree), list(result.tree.attempts))
    while result.stop == "parked" and thread is not None:
        answer = ask_people(runner.sessions.reading(result.tree))
        await runner.sessions.respond(tree_id, answer, by="host")
        result = await runner.run(task, tree_id, 0, _OPTIONS)
    return result
