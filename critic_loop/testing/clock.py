"""Virtual time for asyncio: sleeps take no real time and end in a deterministic order.

Knows timers. Does not know I/O: when no file is ready, time jumps to the next timer, so a timeout around a real
socket or thread expires at once unless the loop has some `patience_s`.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.BaseSelector):
    """Does not wait: when no file is ready, it advances the virtual time by the timeout."""

    def __init__(self, patience_s: float) -> None:
        self._files = selectors.DefaultSelector()
        self._patience_s = patience_s
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # no timer: only a file or another thread can wake the loop
            return self._files.select(None)
        ready = self._files.select(min(timeout, self._patience_s))
        if not ready and timeout > 0:
            self.now_s += timeout
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._files.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._files.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._files.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._files.get_map()

    def close(self) -> None:
        self._files.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at 0 and jumps to the next timer when nothing is ready."""

    def __init__(self, patience_s: float = 0.0) -> None:
        """Start at time 0; wait up to `patience_s` real seconds for files and threads before a jump."""
        self._jumping = _JumpingSelector(patience_s)
        super().__init__(self._jumping)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.now_s


def run_virtual(main: Coroutine[Any, Any, T], *, patience_s: float = 0.0) -> T:
    """Run a coroutine as `asyncio.run` does, but under virtual time.

    Args:
        main: the coroutine.
        patience_s: as for `VirtualLoop`, in real seconds.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(patience_s)) as runner:
        return runner.run(main)
