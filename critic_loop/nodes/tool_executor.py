"""The stage that runs the tools that an actor's last message calls, and records their results.

Knows tools and how they are limited. Does not know when a tool is opened and closed (`nodes.open_parts`).
Any error that a tool raises becomes an observation for the model; only errors of scope *job* and a
cancellation of the run are raised.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from critic_loop.core.errors import CriticLoopError, ToolError
from critic_loop.core.messages import Message, ToolCall, ToolResult
from critic_loop.core.records import Ask, Attempt, Task
from critic_loop.core.roles import seed_of
from critic_loop.core.tools import Tool, ToolContext, ToolOutput, tool_error
from critic_loop.core.tree import Tree
from critic_loop.nodes.context import RunContext
from critic_loop.nodes.gather import gather
from critic_loop.nodes.open_parts import PartName

log = logging.getLogger("critic_loop")


async def tool_executor(run: RunContext, asks: Sequence[Ask]) -> None:
    """Run the tools that the actor's last message of each ask calls."""
    waiting = [ask for ask in asks if awaits(run.tree, ask) == "tools"]
    if waiting:
        await run.journal.flush()
    await gather(_run_tools(run, ask) for ask in waiting)


def awaits(tree: Tree, ask: Ask) -> Literal["actor", "tools", "nothing"]:
    """Return what an ask waits for: its actor, its tools, or neither."""
    attempt = tree.attempts.get(ask.attempt)
    if attempt is None:
        return "actor"
    if attempt.status != "partial":
        return "nothing"
    return "tools" if attempt.messages and attempt.messages[-1].tool_calls else "actor"


async def _run_tools(run: RunContext, ask: Ask) -> None:
    attempt = run.tree[ask.attempt]
    calls = attempt.messages[-1].tool_calls
    results = await gather(_result(run, ask, attempt, n, call) for n, call in enumerate(calls))
    messages = tuple(Message(role="tool", parts=(result,)) for result in results)
    await run.journal.record(attempt.model_copy(update={"messages": (*attempt.messages, *messages)}))


async def _result(run: RunContext, ask: Ask, attempt: Attempt, position: int, call: ToolCall) -> ToolResult:
    """Return the result of one call: the tool's output, or the error as text.

    Raises:
        CriticLoopError: of scope *job*; the model cannot act on it.
    """
    duration_s = None
    try:
        tool, arguments = _called(run, call)
        context = _context(run, ask, attempt, position, call, tool)
        used = await run.open_parts.use(tool, context)
        began = asyncio.get_running_loop().time()
        try:
            output = await _answer(tool, used, arguments, context)
        finally:
            duration_s = round(asyncio.get_running_loop().time() - began, 3)
    except CriticLoopError as error:
        if error.scope == "job":
            raise
        output = ToolOutput.of(str(error), is_error=True)
    return ToolResult(
        call_id=call.id, name=call.name, parts=output.parts, is_error=output.is_error, duration_s=duration_s
    )


def _called(run: RunContext, call: ToolCall) -> tuple[Tool, dict[str, Any]]:
    if call.name not in run.tools:
        raise ToolError(f"there is no tool {call.name!r}; there are {', '.join(sorted(run.tools))}.")
    if call.arguments is None:
        raise ToolError(f"the arguments are not a JSON object: {call.arguments_text[:200]}")
    return run.tools[call.name], dict(call.arguments)


def _context(
    run: RunContext, ask: Ask, attempt: Attempt, position: int, call: ToolCall, tool: Tool
) -> ToolContext:
    turn = sum(1 for message in attempt.messages if message.role == "assistant")
    return ToolContext(
        tree_id=run.tree.id,
        attempt_id=attempt.id,
        call_id=call.id,
        task=_shown(run.tree.task),
        seed=seed_of(ask.seed, "tool", turn, position),
        folder=partial(
            run.open_parts.scratch, PartName("tool", tool.name), tool.scope, run.tree.id, attempt.id
        ),
    )


def _shown(task: Task) -> Task:
    """Return the task without what the actor may not see, since a tool's output is shown to it."""
    return task.model_copy(update={"reference": None, "checks": {}, "held_out": {}})


async def _answer(tool: Tool, used: Tool, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
    """Run a tool within its time.

    Raises:
        CriticLoopError: it raised any error, took too long, or did not return a ToolOutput.
        CancelledError: the run is cancelled.
    """
    running, where = asyncio.current_task(), f"tool {tool.name!r}"
    cancels = running.cancelling() if running is not None else 0
    limit = asyncio.timeout(tool.timeout_s)
    failure: CriticLoopError | None = None
    output: Any = None
    try:
        async with limit:
            output = await used.run(arguments, context)
    except GeneratorExit:
        raise
    except BaseException as error:  # users' code, which may raise SystemExit, too
        failure = tool_error(where, error)
        if failure is not error and not limit.expired():
            log.debug("%s failed", where, exc_info=error)
    if (
        running is not None and running.cancelling() > cancels
    ):  # the run was cancelled, even if the tool caught it
        raise asyncio.CancelledError
    if limit.expired():
        raise ToolError(f"{where} took longer than {tool.timeout_s:g} s")
    if failure is not None:
        raise failure
    if not isinstance(output, ToolOutput):
        raise ToolError(f"{where} answered with {type(output).__name__}, not a ToolOutput.")
    return output
