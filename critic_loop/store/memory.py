"""A store in memory: its trees are lost when the process ends.

Behaves as stores on disk do, so that tests and first steps need no file.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from critic_loop.core.errors import NoSuchTree
from critic_loop.core.listing import TreeInfo, TreePage, TreeQuery
from critic_loop.core.records import Ask, Feedback, Head, Outcome, Record, tree_of
from critic_loop.core.tree import Tree
from critic_loop.store.rebuild import (
    blobs_of,
    check_heads,
    late_feedback,
    require_present,
    require_readable,
    title_of,
    with_bytes,
)
from critic_loop.store.tree_ids import TreeIds, add_all


@dataclass(slots=True)
class _StoredTree:
    head: Head
    log: list[Record] = field(default_factory=list[Record])
    ids: TreeIds = field(default_factory=TreeIds)
    stop: str | None = None

    def add(self, tree_id: str, records: Sequence[Record]) -> None:
        """Add all of `records` or none."""
        add_all(self.ids, tree_id, records)
        self.log += records
        for record in records:
            if isinstance(record, Outcome):
                self.stop = record.stop
            elif isinstance(record, Ask):  # the tree goes on
                self.stop = None

    @property
    def info(self) -> TreeInfo:
        """The tree in a listing."""
        head = self.head
        return TreeInfo(
            id=head.tree,
            task=head.task.id,
            title=title_of(head),
            tags=head.task.tags,
            recipe=head.recipe,
            created_at=head.created_at,
            attempts=len(self.ids.settled),
            stop=self.stop,
        )


class MemoryStore:
    """A `Store` whose trees live as long as the object."""

    def __init__(self) -> None:
        """Start empty."""
        self._trees: dict[str, _StoredTree] = {}
        self._blobs: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._trees)} trees)"

    @property
    def where(self) -> str:
        """The store's name in messages: `memory`."""
        return "memory"

    async def append(self, tree_id: str, *records: Record, durable: bool = True) -> None:  # noqa: ARG002
        """Add records; `durable` has no effect in memory.

        Raises:
            StoreError: the tree is unknown or has a head already, or a record does not continue it.
        """
        with self._lock:
            kept = self._trees.get(tree_id)
            check_heads(tree_id, records, exists=kept is not None)
            if kept is None:
                kept = _StoredTree(cast("Head", records[0]))  # as `check_heads` made sure
            kept.add(tree_id, records)
            self._trees[tree_id] = kept
            for record in records:
                for blob in blobs_of(record):
                    if blob.data is not None:
                        self._blobs[blob.sha256] = blob.data

    async def load(self, tree_id: str) -> Tree:
        """Return a copy of a tree; later appends do not change it.

        Raises:
            StoreError: the tree does not exist, or a newer critic_loop wrote it.
        """
        kept = self._stored(tree_id)
        require_readable(kept.head.schema_version, tree_id)
        return Tree.of(with_bytes(record, self._blobs.get) for record in tuple(kept.log))

    def _stored(self, tree_id: str) -> _StoredTree:
        kept = self._trees.get(tree_id)
        if kept is None:
            raise NoSuchTree(f"{self.where} has no tree {tree_id!r}")
        return kept

    async def has(self, tree_id: str) -> bool:
        """Return whether the tree exists."""
        return tree_id in self._trees

    async def trees(self, *, recipe: str | None = None, task: str | None = None) -> AsyncIterator[TreeInfo]:
        """Iterate over the trees, oldest first; where given, only those of a recipe or a task id."""
        wanted = TreeQuery(recipe=recipe, task=task)
        for kept in tuple(self._trees.values()):
            if wanted.matches(info := kept.info):
                yield info

    async def find(self, query: TreeQuery) -> TreePage:
        """Return a page of the trees that a query finds, newest first.

        Raises:
            NoSuchTree: there is no tree with the id that is given as `before`.
        """
        found = [info for kept in self._trees.values() if query.matches(info := kept.info)]
        older = found
        if query.before is not None:
            self._stored(query.before)
            place = {tree: number for number, tree in enumerate(self._trees)}
            older = [info for info in found if place[info.id] < place[query.before]]
        page = older[::-1][: query.limit]
        return TreePage(trees=tuple(page), total=len(found), more=len(older) > len(page))

    async def add_feedback(self, attempt_id: str, feedback: Feedback) -> Feedback:
        """Add feedback on an attempt, also after the run of its tree; return it with its id.

        Raises:
            NoSuchTree, NoSuchAttempt: the tree or the attempt does not exist.
            ConfigError: the feedback has no author.
        """
        kept = self._stored(tree_of(attempt_id))
        added = late_feedback(attempt_id, feedback, secrets.token_hex(4))
        with self._lock:
            require_present(added, kept.ids)
            kept.add(kept.head.tree, (added,))
        return added

    async def aclose(self) -> None:
        """Do nothing: memory needs no release."""
