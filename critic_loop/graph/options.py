"""The options of one run: a listener, a shared budget, the driver.

Knows no run and no tree: these are values that `graph.runner` and `graph.registry` read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from critic_loop.core.budget import Ledger
from critic_loop.core.messages import Message
from critic_loop.core.protocols import Delta
from critic_loop.core.records import Record, Task
from critic_loop.nodes.replay import Replay
from critic_loop.nodes.streak import Streak

TaskLike = str | Sequence[Message] | Task
"""What can be run: text, messages, or a Task."""
Notify = Callable[[Record | Delta], None]
Driver = Literal["graph", "direct"]
"""`graph`: LangGraph runs the lanes, and can trace them. `direct`: the same table of stages without it."""


def ignore(record: Record | Delta) -> None:
    """Take a record and do nothing: no one listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How one tree is run. None of it shapes the tree: a run may be resumed with other options."""

    driver: Driver = "graph"
    notify: Notify = ignore
    """Called with every record after the head as it is written, and with deltas."""
    deltas: bool = False
    """Whether models are asked to stream, so that `notify` gets their text as it comes."""
    streak: Streak | None = None
    """Counts calls that fail alike, over all trees of a job."""
    replay: Replay | None = None
    """The stored tree that answers instead of models; None = as the loop says."""
    ledger: Ledger | None = None
    """A budget that several trees share; it holds beside each tree's own `max_calls`."""
