"""A run while it runs: a view that is redrawn in a terminal and logged line by line elsewhere.

Does not know what it shows (`render.live`, `cli.job_view`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

from rich.console import Group, RenderableType
from rich.text import Text

from critic_loop.cli.terminal import Terminal

_LEAST_PAUSE_S = 0.12
_SHARE = 20
"""A drawing that took a second is followed by twenty without one: at most 5 % of the time is spent on it."""
_LINE_EVERY_S = 0.5


class View(Protocol):
    """What `watching` draws."""

    ending: bool

    def draw(self, lines: int, width: int) -> RenderableType:
        """Return the current state in at most so many lines of so many columns."""
        ...

    def news(self) -> str:
        """Return what has happened since the last call, for a log; empty if nothing has."""
        ...


@asynccontextmanager
async def watching(view: View, terminal: Terminal) -> AsyncGenerator[None, None]:
    """Show `view` while the body runs: drawn again and again in a terminal, in lines elsewhere."""
    show = _drawn if terminal.err.is_interactive else _told
    watcher = asyncio.create_task(show(view, terminal))
    try:
        yield
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)


async def _drawn(view: View, terminal: Terminal) -> None:
    from rich.live import Live

    console = terminal.err
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False) as live:
        while True:
            began = time.perf_counter()
            drawing = view.draw(max(4, console.height - 3), console.width)
            live.update(Group(drawing, Text()), refresh=True)  # the last line takes what the terminal echoes
            await asyncio.sleep(max(_LEAST_PAUSE_S, _SHARE * (time.perf_counter() - began)))


async def _told(view: View, terminal: Terminal) -> None:
    try:
        while True:
            await asyncio.sleep(_LINE_EVERY_S)
            if text := view.news():
                terminal.note(text, style="none")
    finally:
        if text := view.news():
            terminal.note(text, style="none")
