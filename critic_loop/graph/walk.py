"""The direct driver: runs the stages of a lane without LangGraph. The other driver is `graph.graph`.

Knows lanes and sessions. What comes next is decided by `graph.lane`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from critic_loop.graph.lane import Lane, Position
from critic_loop.graph.session import Session


async def walk(lane: Lane, session: Session, number: int) -> None:
    """Run one lane of a tree until it ends."""
    at: Position | None = Position()
    while at is not None:
        await asyncio.sleep(0)  # models and functions may answer without waiting: other tasks must run, too
        at = await lane.step(session, at, number)


async def run_lanes(session: Session, lane: Callable[[int], Awaitable[Any]]) -> None:
    """Run all lanes of a tree at once, each as `lane(number)`; both drivers' lanes run through here.

    Raises:
        BaseException: the first error that must end the run, once all lanes have settled.
    """
    if session.lanes == 1:
        await lane(0)
    else:
        running = (lane(number) for number in range(session.lanes))
        for ended in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(ended, BaseException):
                session.fail(ended)
    if session.error is not None:
        raise session.error
