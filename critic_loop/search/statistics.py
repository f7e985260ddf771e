"""What a tree search knows of its attempts: one column for each number, one row for each node.

A node is a place in the tree; usually one attempt stands there, several if they say the same or one was
rewritten. Rows are in the order of asking, node 0 is the root above all attempts. Whatever is kept here is
a function of *which* records were folded, not of when they came: returns are rounded so that
their sums are exact, and
of several attempts at one node the order of asking decides which one stands for it. Knows no score rules and
no settings but how returns add up.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import Literal

from critic_loop.core.errors import SearchError

ROOT = 0
Fold = Literal["sum", "max", "last"]
"""How the returns of a node come to its worth: added up, the greatest, that of the attempt asked for last."""
_GRAIN = 1 << 30


@dataclass(slots=True)
class Statistics:
    """The columns. `visits[n]` = simulations that ended at or below node n, whatever they came to."""

    asked: int = 0
    """Attempts asked for."""
    row: dict[str, int] = field(default_factory=dict[str, int])
    """The node that was made for an attempt; `node` says where it stands by now."""
    ids: list[str] = field(default_factory=lambda: [""])
    """The attempt that each node was made for."""
    parent: list[int] = field(default_factory=lambda: [-1])
    depth: list[int] = field(default_factory=lambda: [0])
    """1 for attempts without parents."""
    children: list[tuple[int, ...]] = field(default_factory=lambda: [()])
    """In the order of asking, those that came to nothing too."""
    visits: list[int] = field(default_factory=lambda: [0])
    returns: list[int] = field(default_factory=lambda: [0])
    """How many visits brought a return: an attempt that nobody judged brings none."""
    worth: list[float] = field(default_factory=lambda: [0.0])
    """What the returns came to."""
    pending: list[int] = field(default_factory=lambda: [0])
    """Attempts in flight at or below the node."""
    reward: list[float | None] = field(default_factory=lambda: [None])
    """Of the attempt that the node was made for; None = not judged, or a thought (see `own`)."""
    said: bytearray = field(default_factory=lambda: bytearray(1))
    """1 = an attempt has ended here that later siblings are compared with."""
    grown: bytearray = field(default_factory=lambda: bytearray(b"\x01"))
    """1 = may have children, as far as its own attempt goes."""
    closed: bytearray = field(default_factory=lambda: bytearray(1))
    """1 = gets no more children: it ends an answer, is too deep or was pruned."""
    wide: bytearray = field(default_factory=lambda: bytearray(b"\x01"))
    """1 = another child may be asked for now."""
    ready: bytearray = field(default_factory=lambda: bytearray(b"\x01"))
    """1 = a child may be asked for here or below."""
    runs: bytearray = field(default_factory=lambda: bytearray(1))
    """1 = a simulation went on from here."""
    prior: dict[int, float] = field(default_factory=dict[int, float])
    """P in [0, 1] of nodes that were given one; else 1."""
    stands: dict[int, int] = field(default_factory=dict[int, int])
    """From a node that was merged to the one that stands for it."""
    merged: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    """From a node to those that were merged into it."""
    failed: dict[int, int] = field(default_factory=dict[int, int])
    """Children that failed."""
    placeless: dict[int, int] = field(default_factory=dict[int, int])
    """Children that take no place: answers to a thought, and attempts that rewrite another."""
    rewrites: dict[int, int] = field(default_factory=dict[int, int])
    """How often the attempt of this node had been rewritten, itself counted."""
    locked: dict[int, int] = field(default_factory=dict[int, int])
    """Nodes that are being rewritten, and by how many attempts in flight."""
    retired: set[int] = field(default_factory=set[int])
    """Nodes whose place a rewritten attempt has taken."""
    tips: set[int] = field(default_factory=set[int])
    """Nodes from which a simulation goes on."""
    again: set[int] = field(default_factory=set[int])
    """Nodes that are to be rewritten."""
    rethought: set[int] = field(default_factory=set[int])
    """Nodes that have been, or are to be."""
    latest: dict[int, int] = field(default_factory=dict[int, int])
    """Where the latest return counts: which attempt brought it, in the order of asking."""
    answers: dict[int, int] = field(default_factory=dict[int, int])
    """From a thought to the answer that was last asked for and has ended."""

    state: dict[int, str] = field(default_factory=dict[int, str])
    """Where a step stands, if others may stand there, too."""
    shared: dict[str, tuple[int, float]] = field(default_factory=dict[str, tuple[int, float]])
    """Returns and worth of all nodes of a state."""

    def made_for(self, attempt_id: str) -> int:
        """Return the node that was made for an attempt.

        Raises:
            SearchError: the search was never told that it was asked for.
        """
        node = self.row.get(attempt_id)
        if node is None:
            raise SearchError(f"attempt {attempt_id!r} is unknown to this search.")
        return node

    def node(self, attempt_id: str) -> int:
        """Return the node at which an attempt stands by now."""
        node = self.made_for(attempt_id)
        return self.stands.get(node, node)

    def add(self, attempt_id: str, parent: int, *, place: bool) -> int:
        """Make a node for an attempt in flight, which takes a place among its parent's children or none."""
        node = len(self.ids)
        self.asked += 1
        self.row[attempt_id] = node
        self.ids.append(attempt_id)
        self.parent.append(parent)
        self.depth.append(self.depth[parent] + 1)
        self.children.append(())
        self.visits.append(0)
        self.returns.append(0)
        self.pending.append(0)
        self.worth.append(0.0)
        self.reward.append(None)
        for flags in (self.said, self.grown, self.closed, self.wide, self.ready, self.runs):
            flags.append(0)
        self.children[parent] = (*self.children[parent], node)
        if not place:
            self.placeless[parent] = self.placeless.get(parent, 0) + 1
        above, pending, parents = node, self.pending, self.parent
        while above >= ROOT:
            pending[above] += 1
            above = parents[above]
        return node

    def own(self, node: int) -> float | None:
        """Return the node's own reward; a thought's is that of its answer."""
        return self.reward[self.answers.get(node, node)]

    # -- merging -------------------------------------------------------------------------------

    def merge(self, new: int, old: int, fold: Fold) -> int:
        """Let two nodes be one; return which one stands for both.

        `new` has just ended and has no children. A rewritten attempt stands for all others, else the one that
        was asked for first.
        """
        keep = new if new in self.rewrites or (old not in self.rewrites and new < old) else old
        gone = old if keep == new else new
        for node in (gone, *self.merged.pop(gone, ())):
            self.stands[node] = keep
            insort(self.merged.setdefault(keep, []), node)
        if gone == old:
            self._move(gone, keep, fold)
        return keep

    def _move(self, gone: int, keep: int, fold: Fold) -> None:
        for column in (self.visits, self.returns, self.pending):
            column[keep] += column[gone]
            column[gone] = 0
        self._move_worth(gone, keep, fold)
        for child in self.children[gone]:
            self.parent[child] = keep
        self.children[keep] = tuple(sorted((*self.children[keep], *self.children[gone])))
        self.children[gone] = ()
        for flags in (self.grown, self.closed, self.runs):
            flags[keep] |= flags[gone]
        for flags in (self.grown, self.closed, self.runs, self.wide, self.ready):
            flags[gone] = 0
        for counts in (self.failed, self.placeless, self.locked):
            if gone in counts:
                counts[keep] = counts.get(keep, 0) + counts.pop(gone)
        for nodes in (self.retired, self.tips, self.again, self.rethought):
            if gone in nodes:
                nodes.remove(gone)
                nodes.add(keep)
        if gone in self.answers:
            self.answers[keep] = self.answers.pop(gone)
        self.state.pop(gone, None)

    def _move_worth(self, gone: int, keep: int, fold: Fold) -> None:
        if fold == "sum":
            self.worth[keep] += self.worth[gone]
        else:
            self._keep(keep, self.worth[gone], self.latest.pop(gone, -1), fold)
        self.worth[gone] = 0.0

    def lock(self, node: int, by: int) -> None:
        """Add `by` to the attempts in flight that rewrite a node."""
        count = self.locked.get(node, 0) + by
        if count:
            self.locked[node] = count
        else:
            del self.locked[node]

    # -- backing up ----------------------------------------------------------------------------

    def count(self, node: int, visit: int, gained: float | None = None) -> None:
        """Add `visit` to the node and all above it, where an attempt has ended (which was in flight).

        `gained`: a return that is the same for all of them and adds up; `back_up` is for others.
        """
        visits, pending, parent, worth, returns = (
            self.visits,
            self.pending,
            self.parent,
            self.worth,
            self.returns,
        )
        start = node
        pending[node] += 1  # it was taken off this one before
        while node >= ROOT:
            visits[node] += visit
            pending[node] -= 1
            if gained is not None:
                returns[node] += 1
                worth[node] += gained
            node = parent[node]
        if gained is not None and self.state:
            self._share(start, gained)

    def _share(self, node: int, gained: float) -> None:
        """Add a return to the states at which the node and those above it stand."""
        while node >= ROOT:
            name = self.state.get(node)
            if name is not None:
                returns, worth = self.shared.get(name, (0, 0.0))
                self.shared[name] = (returns + 1, worth + gained)
            node = self.parent[node]

    def returned(self, node: int) -> tuple[int, float]:
        """Return how many returns count at a node, and what they came to: those of its state, if it has one."""
        name = self.state.get(node)
        return (self.returns[node], self.worth[node]) if name is None else self.shared.get(name, (0, 0.0))

    def back_up(self, node: int, rewards: list[float], *, discount: float, fold: Fold, order: int) -> None:
        """Add a return to the node and to all above it.

        The first of `rewards` is the node's own; each level further up the return is what it was below times
        `discount`, plus the next of `rewards`, if there are more. `order` says when its attempt was asked for.
        """
        returns, worth, parent = self.returns, self.worth, self.parent
        total, levels = 0.0, iter(rewards)
        while node >= ROOT:
            total = next(levels, 0.0) + discount * total
            amount = exact(total)
            returns[node] += 1
            if fold == "sum":
                worth[node] += amount
            else:
                self._keep(node, amount, order, fold)
            node = parent[node]

    def _keep(self, node: int, amount: float, order: int, fold: Fold) -> None:
        if fold == "last" and order > self.latest.get(node, -1):
            self.latest[node], self.worth[node] = order, amount
        elif fold == "max":
            self.worth[node] = max(self.worth[node], amount)


def exact(amount: float) -> float:
    """Return the nearest multiple of 2^-30: sums of these do not depend on the order of adding, below 2^23."""
    return round(amount * _GRAIN) / _GRAIN
