"""Trees out of a store: found by id or by its beginning, or all of them one by one."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from critic_loop.cli.export import require_file
from critic_loop.cli.terminal import Terminal, UsageProblem
from critic_loop.core.printable import count, excerpt, printable
from critic_loop.core.protocols import Store
from critic_loop.core.records import tree_of
from critic_loop.core.tree import Tree

_MOST_NAMED = 5
_MOST_LISTED = 10


class Stored:
    """A store that is read by a command, one tree in memory at a time."""

    def __init__(self, store: Store, runner: asyncio.Runner) -> None:
        """Take an open store and the event loop that reads it."""
        self._store = store
        self._runner = runner

    @property
    def where(self) -> str:
        """A person's name for the place."""
        return self._store.where

    def tree(self, wanted: str | None) -> Tree:
        """Return the tree of this id, or whose id alone begins so, or that has this attempt.

        None means the only one that there is.

        Raises:
            UsageProblem: there is none, or there are several.
        """
        return self._runner.run(self._store.load(self._runner.run(self._find(wanted))))

    def ids(self, recipe: str | None = None) -> list[str]:
        """Return the ids of the trees, oldest first.

        Raises:
            UsageProblem: there is none.
        """

        async def listed() -> list[str]:
            return [tree.id async for tree in self._store.trees(recipe=recipe)]

        found = self._runner.run(listed())
        if not found:
            raise self._empty(f" of recipe {recipe!r}" if recipe else "")
        return found

    def recipes(self) -> list[str]:
        """Return the recipes of the trees, in the order of their oldest.

        Raises:
            UsageProblem: there is no tree.
        """

        async def listed() -> list[str]:
            return [tree.recipe async for tree in self._store.trees()]

        found = self._runner.run(listed())
        if not found:
            raise self._empty("")
        return list(dict.fromkeys(found))

    def trees(self, ids: list[str], terminal: Terminal) -> Iterator[Tree]:
        """Yield these trees, with a bar that moves on stderr."""
        with terminal.progress() as progress:
            for tree_id in progress.track(ids, description="trees"):
                yield self._runner.run(self._store.load(tree_id))

    async def _find(self, wanted: str | None) -> str:
        for candidate in (wanted, tree_of(wanted)) if wanted else ():
            if candidate and await self._store.has(candidate):
                return candidate
        ids = [tree.id async for tree in self._store.trees()]
        if not ids:
            raise self._empty("")
        if wanted is None:
            if len(ids) == 1:
                return ids[0]
            newest = ids[: -_MOST_LISTED - 1 : -1]
            older = f"; {len(ids) - len(newest):,} older ones are not listed" if len(ids) > len(newest) else ""
            raise UsageProblem(
                f"{self.where} holds {count(len(ids), 'tree')}: say which one.",
                hint=f"Name it behind the store, by its id or how that begins; the newest come first{older}.",
                details=[_line(await self._store.load(tree_id)) for tree_id in newest],
            )
        begun = [i for i in ids if i.startswith(wanted)]
        if len(begun) == 1:
            return begun[0]
        if begun:
            raise UsageProblem(f"{count(len(begun), 'tree')} begin with {wanted!r}: {_some(begun)}.")
        near = difflib.get_close_matches(wanted, ids, n=3, cutoff=0.4)
        hint = f"Closest are {', '.join(near)}." if near else f"It holds {_some(ids)}."
        raise UsageProblem(f"{self.where} has no tree {printable(wanted)!r}.", hint=hint)

    def _empty(self, of: str) -> UsageProblem:
        return UsageProblem(
            f"{self.where} holds no tree{of}.", hint="Run critic-loop run or critic-loop demo first."
        )


@contextmanager
def stored(store: str) -> Generator[Stored]:
    """Open a store for reading.

    Raises:
        UsageProblem: there is no such file.
        ConfigError: it names no kind of store.
    """
    from critic_loop.store import open_store

    require_file(store)
    opened = open_store(store)
    with asyncio.Runner() as runner:
        try:
            yield Stored(opened, runner)
        finally:
            runner.run(opened.aclose())


def _line(tree: Tree) -> str:
    """Return what tells a tree from the others of its store."""
    ended = tree.outcome.stop if tree.outcome else "unfinished"
    facts = f"{excerpt(tree.head.recipe, 24)}, {count(len(tree.asks), 'attempt')}, {excerpt(ended, 24)}"
    return f"{excerpt(tree.id, 40)}  {facts}  {excerpt(tree.task.text, 60)}"


def _some(ids: list[str]) -> str:
    named = ", ".join(ids[:_MOST_NAMED])
    return named if len(ids) <= _MOST_NAMED else f"{named} and {len(ids) - _MOST_NAMED:,} more"
