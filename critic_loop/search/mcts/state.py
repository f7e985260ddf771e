"""The statistics of a tree search: one column for each quantity, one row for each node.

A node is a place in the tree. Usually it holds one attempt, and several if they were merged as duplicates or
one replaces another. Rows are in the order of asking; node 0 is the root above all attempts. The state is a
function of the *set* of records that were folded: sums of returns are exact (`search.base.exact`), and where
several attempts share a node the order of asking decides which one represents it. Knows no settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from critic_loop.core.errors import SearchError

ROOT = 0
Aggregation = Literal["sum", "max", "last"]
"""How the returns of a node become its value: summed, the greatest, or that of the attempt asked for last."""


@dataclass(slots=True)
class MctsState:
    """The columns. `visits[n]` is the number of simulations that ended at or below node n, judged or not."""

    asked: int = 0
    """Attempts asked for."""
    made_for: dict[str, int] = field(default_factory=dict[str, int])
    """The node that was made for an attempt; `node` returns the one that represents it now."""
    ids: list[str] = field(default_factory=lambda: [""])
    """The attempt for which each node was made."""
    parent: list[int] = field(default_factory=lambda: [-1])
    depth: list[int] = field(default_factory=lambda: [0])
    """1 for attempts without parents."""
    children: list[tuple[int, ...]] = field(default_factory=lambda: [()])
    """In the order of asking, failed ones included."""

    visits: list[int] = field(default_factory=lambda: [0])
    returns: list[int] = field(default_factory=lambda: [0])
    """How many visits gave a return: an attempt that was not judged gives none."""
    value: list[float] = field(default_factory=lambda: [0.0])
    """The aggregated returns; with `sum` their total."""
    pending: list[int] = field(default_factory=lambda: [0])
    """Attempts in flight at or below the node."""
    reward: list[float | None] = field(default_factory=lambda: [None])
    """Of the attempt for which the node was made; None = not judged, or a thought (see `reward_at`)."""
    prior: dict[int, float] = field(default_factory=dict[int, float])
    """P in [0, 1] of nodes that have one; otherwise 1."""

    complete: bytearray = field(default_factory=lambda: bytearray(1))
    """1 = an attempt is complete here with which later siblings are compared."""
    expandable: bytearray = field(default_factory=lambda: bytearray(b"\x01"))
    """1 = its own attempt allows children."""
    closed: bytearray = field(default_factory=lambda: bytearray(1))
    """1 = is never expanded: it ends an answer, is at the limit of depth or was pruned."""
    has_room: bytearray = field(default_factory=lambda: bytearray(b"\x01"))
    """1 = another child may be asked for now."""
    selectable: bytearray = field(default_factory=lambda: bytearray(b"\x01"))
    """1 = a child may be asked for here or below."""
    continued: bytearray = field(default_factory=lambda: bytearray(1))
    """1 = a simulation continued from here."""

    merged_into: dict[int, int] = field(default_factory=dict[int, int])
    """From a merged node to the one that represents it."""
    merged: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    """From a node to those that were merged into it."""
    failed: dict[int, int] = field(default_factory=dict[int, int])
    """Children that failed."""
    uncounted: dict[int, int] = field(default_factory=dict[int, int])
    """Children that do not count against the width: answers to a thought, and rewritten attempts."""
    rewrites: dict[int, int] = field(default_factory=dict[int, int])
    """The number of a rewrite in its place, from 1; nodes of other attempts have none."""
    being_rewritten: dict[int, int] = field(default_factory=dict[int, int])
    """Nodes with attempts in flight that rewrite them, and how many."""
    replaced: set[int] = field(default_factory=set[int])
    """Nodes whose place a rewritten attempt has taken."""
    to_continue: set[int] = field(default_factory=set[int])
    """Nodes from which a simulation continues next."""
    to_rewrite: set[int] = field(default_factory=set[int])
    """Nodes that are rewritten next."""
    rewrite_seen: set[int] = field(default_factory=set[int])
    """Nodes that were, are or will be rewritten."""
    latest: dict[int, int] = field(default_factory=dict[int, int])
    """With `last`: the node whose attempt gave the return that is kept at a node."""
    answers: dict[int, int] = field(default_factory=dict[int, int])
    """From a thought to the last-asked of its answers that have ended."""

    state: dict[int, str] = field(default_factory=dict[int, str])
    """The state a step leads to, where states are shared."""
    shared: dict[str, tuple[int, float]] = field(default_factory=dict[str, tuple[int, float]])
    """Number and sum of the returns of all nodes with a state."""

    def own_node(self, attempt_id: str) -> int:
        """Return the node that was made for an attempt.

        Raises:
            SearchError: its ask was never folded.
        """
        node = self.made_for.get(attempt_id)
        if node is None:
            raise SearchError(f"attempt {attempt_id!r} is unknown to this search.")
        return node

    def node(self, attempt_id: str) -> int:
        """Return the node that represents an attempt now.

        Raises:
            SearchError: its ask was never folded.
        """
        node = self.own_node(attempt_id)
        return self.merged_into.get(node, node)

    def reward_at(self, node: int) -> float | None:
        """Return the node's own reward; a thought's is that of its answer."""
        return self.reward[self.answers.get(node, node)]

    def add(self, attempt_id: str, parent: int, *, counted: bool) -> int:
        """Add a node for an attempt in flight, which counts against its parent's width or not. O(depth)."""
        node = len(self.ids)
        self.asked += 1
        self.made_for[attempt_id] = node
        self.ids.append(attempt_id)
        self.parent.append(parent)
        self.depth.append(self.depth[parent] + 1)
        self.children.append(())
        self.visits.append(0)
        self.returns.append(0)
        self.pending.append(0)
        self.value.append(0.0)
        self.reward.append(None)
        for flags in self.flags:
            flags.append(0)
        self.children[parent] = (*self.children[parent], node)
        if not counted:
            self.uncounted[parent] = self.uncounted.get(parent, 0) + 1
        above, pending, parents = node, self.pending, self.parent
        while above >= ROOT:
            pending[above] += 1
            above = parents[above]
        return node

    @property
    def flags(self) -> tuple[bytearray, ...]:
        """All columns of flags."""
        return self.complete, self.expandable, self.closed, self.has_room, self.selectable, self.continued
