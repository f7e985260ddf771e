"""Ctrl-C and SIGTERM: once ends a run when its calls in flight have settled, twice at once.

Knows signals and the running event loop. Does not know what is being ended.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class Presses:
    """How often a person pressed Ctrl-C."""

    number: int = 0

    @property
    def any(self) -> bool:
        """Whether it was pressed at least once."""
        return self.number > 0


@contextmanager
def patiently(settle: Callable[[], None]) -> Generator[Presses]:
    """Call `settle` at the first signal, cancel the current task at the second, raise at the third.

    The third is for code that blocks the event loop, which reacts to neither of the others.
    """
    loop, task, presses = asyncio.get_running_loop(), asyncio.current_task(), Presses()

    def pressed(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # signal's signature
        presses.number += 1
        if presses.number == 1:
            loop.call_soon_threadsafe(settle)
        elif presses.number == 2 and task is not None:
            loop.call_soon_threadsafe(task.cancel)
        else:
            raise KeyboardInterrupt

    before = {}
    with suppress(ValueError):  # not the main thread: signals belong to the host
        for number in _SIGNALS:
            before[number] = signal.signal(number, pressed)
    try:
        yield presses
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
