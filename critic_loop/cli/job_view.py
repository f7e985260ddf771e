"""The progress of a job of many tasks.

Adds each result in constant time and draws into the lines that are available. Does not know loops,
nor when it is drawn (`cli.live`).
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from critic_loop.core.printable import excerpt
from critic_loop.render.words import NO_ANSWER, WORTH_STYLES


@dataclass(slots=True)
class JobView:
    """The progress of a job of many tasks."""

    title: str
    total: int
    most_calls: int
    """For one task."""
    in_flight: Callable[[], dict[str, int]]
    """Calls in flight by slot."""
    ending: bool = False
    now: Callable[[], float] = time.monotonic
    started: int = 0
    done: int = 0
    reused: int = 0
    calls: int = 0
    tokens: int = 0
    cost_usd: float | None = None
    worths: Counter[str] = field(default_factory=Counter[str])
    """What the answers are worth, by `render.words`; `no answer` where there is none."""
    began: float = field(init=False)
    _last: deque[tuple[dict[str, Any], str, str]] = field(
        default_factory=lambda: deque[tuple[dict[str, Any], str, str]](maxlen=8)
    )
    _ends: deque[float] = field(default_factory=lambda: deque[float](maxlen=200))
    _told_at: float = field(init=False)
    _told: int = 0

    def __post_init__(self) -> None:
        """Start the clock."""
        self.began = self._told_at = self.now()

    def begins(self, tasks: Iterable[Any]) -> Iterator[Any]:
        """Yield the tasks and count them as they are taken; stop once the job is ending."""
        for task in tasks:
            if self.ending:
                return
            self.started += 1
            yield task

    def ended(self, row: dict[str, Any], task: str, worth: str) -> None:
        """Add a result's row, the text of its task, and the value of its answer."""
        worth = NO_ANSWER if row["error"] else worth
        self.done += 1
        self.reused += bool(row["reused"])
        self.worths[worth] += 1
        self._last.append((row, task, worth))
        if row["reused"]:
            return
        self._ends.append(self.now())
        self.calls += row["calls"]
        self.tokens += row["input_tokens"] + row["output_tokens"]
        if row["cost_usd"] is not None:
            self.cost_usd = (self.cost_usd or 0.0) + row["cost_usd"]

    @property
    def pace(self) -> float | None:
        """Tasks a second lately; None while too few have ended to tell."""
        if len(self._ends) < 2:
            return None
        since = self.began if len(self._ends) < 200 else self._ends[0]
        return len(self._ends) / max(1e-3, self.now() - since)

    def draw(self, lines: int, width: int) -> RenderableType:
        """Return bar, counts, what is in flight, and the last results: each on one line, however narrow."""
        share = f"{self.done:,} of {self.total:,}"
        bar: RenderableType = _cropped(f"{excerpt(self.title, 16)}  {share}  {self._pace()}", style="bold")
        if width >= 80:
            bar = Table.grid(padding=(0, 2))
            for _ in range(4):
                bar.add_column(no_wrap=True, overflow="ellipsis")
            done = ProgressBar(self.total, self.done, width=24)
            bar.add_row(Text(self.title, style="bold"), done, share, self._pace())
        texts = (self._counts(), self._busy(), self._spent())
        parts: list[RenderableType] = [bar, *(_cropped(text) for text in texts)]
        if self.ending:
            text = "Ending: calls in flight may finish, no task is begun. Ctrl-C again leaves at once."
            if cell_len(text) > width:
                text = "Ending. Ctrl-C again leaves at once."
            parts.append(_cropped(text, style="yellow"))
        parts = parts[: max(1, lines)]
        last = list(self._last)[-max(0, lines - len(parts)) :] if lines > len(parts) else []
        return Group(*parts, *(_row(*each) for each in last))

    def news(self) -> str:
        """Return the progress for a log every ten seconds or at another tenth; else an empty text."""
        since, grown = self.now() - self._told_at, self.done - self._told
        if not grown or (since < 10 and grown * 10 < self.total and self.done < self.total):
            return ""
        self._told_at, self._told = self.now(), self.done
        pace = self._pace()
        return f"{self.done:,} of {self.total:,} done: {self._counts()}{'; ' if pace else ''}{pace}"

    def _pace(self) -> str:
        pace = self.pace
        if pace is None or self.done >= self.total:
            return ""
        speed = f"{pace:.1f} a second" if pace >= 0.5 else f"{pace * 60:.1f} a minute"
        return f"{speed}, {_duration((self.total - self.done) / pace)} left"

    def _counts(self) -> str:
        counts = [f"{word} {self.worths[word]:,}" for word in WORTH_STYLES if self.worths[word]]
        counts += [f"{self.reused:,} from earlier runs"] if self.reused else []
        return ", ".join(counts) or "none yet"

    def _busy(self) -> str:
        asked = ", ".join(f"{slot} {n}" for slot, n in sorted(self.in_flight().items()) if n)
        waiting = f"{self.started - self.done} in flight (calls: {asked or 'none'})"
        return f"{waiting}, {_duration(self.now() - self.began)}"

    def _spent(self) -> str:
        most = self.most_calls * (self.done - self.reused)
        cost = "" if self.cost_usd is None else f", {self.cost_usd:.2f} USD"
        return f"the others took {self.calls:,} of {most:,} calls, {self.tokens:,} tokens{cost}"


def _cropped(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _row(row: dict[str, Any], task: str, worth: str) -> Text:
    said = row["error"] or row["answer"]
    line = Text.assemble("  ", (f"{worth:<10}  ", WORTH_STYLES[worth]), f"{excerpt(task, 36)}  ")
    line.append(excerpt(str(said), 200), style="dim")
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
