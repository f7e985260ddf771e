"""Trees in memory: gone when the process ends.

Behaves as the stores on disk do, so that tests and first steps need no file.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from critic_loop.core.errors import NoSuchTree
from critic_loop.core.protocols import TreeInfo
from critic_loop.core.records import Feedback, Head, Outcome, Record, tree_of
from critic_loop.core.tree import Tree
from critic_loop.store.known import Known, go_on
from critic_loop.store.rebuild import (
    blobs_of,
    check_heads,
    late_feedback,
    require_known,
    require_readable,
    with_bytes,
)


@dataclass(slots=True)
class _Kept:
    head: Head
    log: list[Record] = field(default_factory=list[Record])
    known: Known = field(default_factory=Known)
    stop: str | None = None

    def add(self, tree_id: str, records: Sequence[Record]) -> None:
        """Add all of `records` or none."""
        go_on(self.known, tree_id, records)
        self.log += records
        for record in records:
            if isinstance(record, Outcome):
                self.stop = record.stop


class MemoryStore:
    """A `Store` whose trees live as long as the object."""

    def __init__(self) -> None:
        """Start empty."""
        self._trees: dict[str, _Kept] = {}
        self._blobs: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._trees)} trees)"

    @property
    def where(self) -> str:
        """A person's name for the place."""
        return "memory"

    async def append(self, tree_id: str, *records: Record, durable: bool = True) -> None:  # noqa: ARG002
        """Add records; memory makes no difference between durable and not.

        Raises:
            StoreError: the tree is unknown or has a head already, or a record does not go on with it.
        """
        with self._lock:
            kept = self._trees.get(tree_id)
            check_heads(tree_id, records, exists=kept is not None)
            if kept is None:
                kept = _Kept(cast("Head", records[0]))  # as `check_heads` made sure
            kept.add(tree_id, records)
            self._trees[tree_id] = kept
            for record in records:
                for blob in blobs_of(record):
                    if blob.data is not None:
                        self._blobs[blob.sha256] = blob.data

    async def load(self, tree_id: str) -> Tree:
        """Return a tree of its own, which later appends do not change.

        Raises:
            StoreError: there is none of this id, or it is of a newer version.
        """
        kept = self._known(tree_id)
        require_readable(kept.head.schema_version, tree_id)
        return Tree.of(with_bytes(record, self._blobs.get) for record in tuple(kept.log))

    def _known(self, tree_id: str) -> _Kept:
        kept = self._trees.get(tree_id)
        if kept is None:
            raise NoSuchTree(f"{self.where} has no tree {tree_id!r}")
        return kept

    async def has(self, tree_id: str) -> bool:
        """Return whether there is such a tree."""
        return tree_id in self._trees

    async def trees(self, *, recipe: str | None = None, task: str | None = None) -> AsyncIterator[TreeInfo]:
        """Iterate over the trees, oldest first."""
        for kept in tuple(self._trees.values()):
            head = kept.head
            if recipe in (None, head.recipe) and task in (None, head.task.id):
                yield TreeInfo(
                    id=head.tree,
                    task=head.task.id,
                    recipe=head.recipe,
                    created_at=head.created_at,
                    attempts=len(kept.known.arrived),
                    stop=kept.stop,
                )

    async def add_feedback(self, attempt_id: str, feedback: Feedback) -> Feedback:
        """Add what somebody says of an attempt later on; return it with its id.

        Raises:
            NoSuchAttempt: there is no such attempt.
        """
        kept = self._known(tree_of(attempt_id))
        added = late_feedback(attempt_id, feedback, secrets.token_hex(4))
        with self._lock:
            require_known(added, kept.known)
            kept.add(kept.head.tree, (added,))
        return added

    async def aclose(self) -> None:
        """Do nothing: there is nothing to release."""
