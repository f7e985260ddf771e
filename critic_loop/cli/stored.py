"""Trees of a store: one by its id or the beginning of its id, a page of a list, or all of them one by one."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from critic_loop.cli.export import require_file
from critic_loop.cli.terminal import Terminal, UsageProblem
from critic_loop.core.errors import NoSuchTree
from critic_loop.core.listing import TreeInfo, TreePage, TreeQuery
from critic_loop.core.printable import count, excerpt, printable
from critic_loop.core.protocols import Store
from critic_loop.core.records import tree_of
from critic_loop.core.tree import Tree

_MOST_NAMED = 5
_MOST_LISTED = 10


class Stored:
    """A store that is read by a command, one tree in memory at a time."""

    def __init__(self, store: Store, runner: asyncio.Runner) -> None:
        """Store the open store and the event loop that reads it."""
        self._store = store
        self._runner = runner

    @property
    def where(self) -> str:
        """The store's address as people write it."""
        return self._store.where

    def tree(self, wanted: str | None) -> Tree:
        """Return the tree with this id, with an id that begins so and is unique, or with this attempt.

        None means the only tree of the store.

        Raises:
            UsageProblem: there is none, or there are several.
        """
        return self._runner.run(self._store.load(self._runner.run(self._find(wanted))))

    def several(self) -> bool:
        """Return whether the store holds more than one tree."""
        return self._runner.run(self._store.find(TreeQuery(limit=1))).total > 1

    def find(self, query: TreeQuery) -> TreePage:
        """Return a page of the trees that a query finds.

        Raises:
            UsageProblem: `before` names a tree that the store does not have.
        """
        try:
            return self._runner.run(self._store.find(query))
        except NoSuchTree as error:
            raise UsageProblem(f"--before {query.before}: {error.message}.") from error

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
        """Yield these trees, with a progress bar on stderr."""
        with terminal.progress() as progress:
            for tree_id in progress.track(ids, description="trees"):
                yield self._runner.run(self._store.load(tree_id))

    async def _find(self, wanted: str | None) -> str:
        for candidate in (wanted, tree_of(wanted)) if wanted else ():
            if candidate and await self._store.has(candidate):
                return candidate
        page = await self._store.find(TreeQuery(limit=_MOST_LISTED))
        if not page.trees:
            raise self._empty("")
        if wanted is None:
            if page.total == 1:
                return page.trees[0].id
            older = page.total - len(page.trees)
            more = f"; {older:,} older ones are not listed" if older else ""
            raise UsageProblem(
                f"{self.where} holds {count(page.total, 'tree')}: name one.",
                hint=f"Write its id, or the beginning of its id, after the store; the newest come first{more}.",
                details=[_line(tree) for tree in page.trees],
            )
        ids = [tree.id async for tree in self._store.trees()]
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


def _line(tree: TreeInfo) -> str:
    """Return a tree in a line."""
    stop = excerpt(tree.stop or tree.state, 24)
    facts = f"{excerpt(tree.recipe, 24)}, {count(tree.attempts, 'attempt')}, {stop}"
    return f"{excerpt(tree.id, 40)}  {facts}  {excerpt(tree.title, 60)}"


def _some(ids: list[str]) -> str:
    named = ", ".join(ids[:_MOST_NAMED])
    return named if len(ids) <= _MOST_NAMED else f"{named} and {len(ids) - _MOST_NAMED:,} more"
