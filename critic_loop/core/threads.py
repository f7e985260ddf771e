"""Sync code beside an event loop: each call in a thread of its own.

Knows threads. Does not know what is called. The event loop's own pool has few threads, and a call that hangs
keeps its thread for good: a handful of them would stop all others, and the process at its end.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function` in a daemon thread of its own, and return what it returns.

    A call cannot be stopped from outside: if the wait is cancelled, it runs on and its result is dropped.

    Raises:
        BaseException: what the function raised, of any kind; a StopIteration as RuntimeError.
    """
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

    def work() -> None:
        try:
            outcome: tuple[Any, BaseException | None] = context.run(function, *args, **kwargs), None
        except BaseException as error:  # noqa: BLE001  # raised where the result is waited for
            outcome = None, error
        with suppress(RuntimeError):  # the event loop is closed: no one waits
            loop.call_soon_threadsafe(_deliver, done, outcome)

    threading.Thread(target=work, name=f"critic-loop {_name(function)}", daemon=True).start()
    value, error = await done
    if error is not None:
        raise error
    return value


def _deliver(done: asyncio.Future[Any], outcome: Any) -> None:
    if not done.done():
        done.set_result(outcome)


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)
