"""One event loop in a thread, for callers that are not async."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from critic_loop.core.errors import ConfigError

T = TypeVar("T")


class Background:
    """An event loop whose thread is started by the first `run`, and ends with `close` or the process."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the thread and return its result; if the caller is interrupted, it is cancelled."""
        if threading.current_thread() is self._thread:
            work.close()
            raise ConfigError(
                "the loop was run synchronously from its own event loop, which would wait for itself.",
                hint="Await run, or ainvoke of the host graph, instead.",
            )
        future = asyncio.run_coroutine_threadsafe(work, self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="critic-loop", daemon=True)
                self._thread.start()
            return self._loop

    def close(self) -> None:
        """End the thread, if there is one."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        if thread is threading.current_thread():
            loop.stop()
            return
        asyncio.run_coroutine_threadsafe(loop.shutdown_asyncgens(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
