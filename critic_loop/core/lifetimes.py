"""Opening and closing of parts: context managers of both kinds, and objects with `open`.

Knows context managers. Does not know when a part is opened, or for how long (`nodes.open_parts`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from critic_loop.core.threads import in_thread


def is_manager(thing: object) -> bool:
    """Whether `thing` is a context manager, async or sync."""
    return hasattr(type(thing), "__aenter__") or hasattr(type(thing), "__enter__")


def has_lifetime(part: object) -> bool:
    """Whether `part` is opened before it is used: it has `open`, or is a context manager itself."""
    return callable(getattr(part, "open", None)) or is_manager(part)


@asynccontextmanager
async def opened(part: Any, context: Any) -> AsyncGenerator[Any]:
    """Open `part` and close it at the end; yield what is to be used in its place, most often itself.

    Args:
        part: with `open(context)`, a context manager that yields what to use; or a context manager itself.
        context: what `open` is given.

    Raises:
        TypeError: what `open` returned is not a context manager.
    """
    if callable(getattr(part, "open", None)):
        async with entered(part.open(context)) as used:
            yield part if used is None else used
    elif is_manager(part):
        async with entered(part):
            yield part
    else:
        yield part


@asynccontextmanager
async def entered(manager: Any) -> AsyncGenerator[Any]:
    """Enter a context manager and leave it at the end; a sync one in threads.

    Raises:
        TypeError: it is not a context manager.
    """
    if hasattr(type(manager), "__aenter__"):
        async with manager as value:
            yield value
        return
    if not is_manager(manager):
        raise TypeError(f"{type(manager).__name__!r} is not a context manager.")
    value = await _enter(manager)
    try:
        yield value
    except BaseException as error:
        if not await in_thread(manager.__exit__, type(error), error, error.__traceback__):
            raise
    else:
        await in_thread(manager.__exit__, None, None, None)


async def _enter(manager: Any) -> Any:
    """Enter in a thread. When that is cancelled, wait for the thread and close what it has opened."""
    entering = asyncio.ensure_future(in_thread(manager.__enter__))
    try:
        return await asyncio.shield(entering)
    except asyncio.CancelledError:
        await asyncio.wait([entering])
        if not entering.cancelled() and entering.exception() is None:
            await in_thread(manager.__exit__, None, None, None)
        raise
