"""What `show STORE`, `failures` and `compare` write."""

from __future__ import annotations

from typing import Literal

from critic_loop.cli.documents.base import Document
from critic_loop.core.listing import TreeState
from critic_loop.metrics import Why


class TreeRow(Document):
    """A tree in a list."""

    id: str
    task: str
    """The task's id."""
    title: str
    """The first line of its text, shortened."""
    tags: tuple[str, ...]
    """The task's tags."""
    recipe: str
    created_at: float
    """Seconds since the epoch."""
    attempts: int
    state: TreeState
    stop: str | None
    """Null while it has no outcome."""


class TreesDocument(Document):
    """`critic-loop show STORE --json`, where no tree is named and several are found."""

    store: str
    total: int
    """Trees that match, on all pages."""
    trees: list[TreeRow]
    """Newest first."""
    next: str | None
    """What `--before` takes for the next page; null on the last."""


class FailureGroup(Document):
    """Trees that have something in common."""

    value: str
    trees: int
    failed: int
    share: float
    """Of all trees, by cause; else the share of failures in the group."""
    causes: dict[str, int]
    example: str
    """A tree's id."""
    task: str
    """The first line of its task, shortened."""


class ListedTree(Why):
    """A tree's cause."""

    task: str
    """The first line of its task, shortened."""


class FailuresDocument(Document):
    """`critic-loop failures --json`."""

    store: str
    by: str
    trees: int
    failed: int
    groups: list[FailureGroup]
    listed: list[ListedTree] | None = None
    """With `--cause`: each tree of that cause."""


class ComparedSide(Document):
    """One loop on the tasks that both have."""

    store: str
    recipe: str
    mean: float
    """Over these tasks, each weighing the same: the share solved, or the mean score."""
    ci95: tuple[float, float] | None
    """Null where one task cannot tell."""
    trees: int
    calls: int
    output_tokens: int
    cost_usd: float | None
    """null = the price of one of them is unknown."""
    unfinished: int
    """Trees left out: they have not ended."""
    unknown: int
    """Trees left out: whether they solved their task, or their score, is unknown."""
    unmatched: int
    """Trees left out: the other side does not have their task."""


class CurveRow(Document):
    """The share of tasks that each side solves within a budget for each task."""

    budget: float
    ours: float
    theirs: float


class CompareDocument(Document):
    """`critic-loop compare --json`."""

    measure: Literal["solved", "score"]
    tasks: int
    """Those that both have."""
    ours: ComparedSide
    theirs: ComparedSide
    difference: float
    """Ours less theirs."""
    ci95: tuple[float, float]
    """By the paired bootstrap over tasks."""
    better: int
    """Tasks on which ours is better."""
    worse: int
    mcnemar_p: float | None
    """Null unless each task has one tree on each side, and it is solved or not."""
    resamples: int
    seed: int
    unit: Literal["tokens", "calls", "usd"]
    """Of the budgets: generated tokens, model calls, US dollars."""
    curve: list[CurveRow]
    """Empty where scores are compared."""
