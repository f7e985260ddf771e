"""A job: a loop over many tasks, a few at a time. What `Loop.map` does.

Knows runs and the order in which they end. Does not know what happens within one (`graph.runner`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Any

from critic_loop.core.records import Task
from critic_loop.graph.host import cancelled, job_tree_id
from critic_loop.graph.options import RunOptions, TaskLike
from critic_loop.graph.result import Result
from critic_loop.graph.runner import Runner


async def run_job(
    runner: Runner, tasks: Iterable[TaskLike], *, in_flight: int, seed: int, options: RunOptions
) -> AsyncGenerator[Result[Any], None]:
    """Run a loop on many tasks and yield results as they come.

    Tree ids follow from task, parts and seed. A task that comes twice waits for its first run and gets the same
    result. An error that ends one tree is a result; one of scope *job* ends the job.

    Args:
        runner: the loop's; an interrupt of its sessions ends the job early.
        tasks: taken one by one, when there is room.
        in_flight: tasks at once, at least 1.
        seed: of every tree.
        options: of every run; a ledger given here is the budget of the whole job.

    Raises:
        CriticLoopError: the first error of scope *job*, once the trees in flight have settled.
    """
    waiting = iter(tasks)
    finished: asyncio.Queue[Result[Any] | None] = asyncio.Queue(maxsize=in_flight)
    failed: list[Exception] = []
    taken: dict[str, asyncio.Lock] = {}

    async def one(task: Task) -> Result[Any]:
        tree_id = job_tree_id(task, runner.parts.digest, seed)
        async with taken.setdefault(tree_id, asyncio.Lock()):
            return await runner.run_or_fail(task, tree_id, seed, options)

    async def work() -> None:
        try:
            for task in waiting:
                if failed or runner.sessions.interrupted is not None:
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
