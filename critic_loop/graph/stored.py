"""Find the stored tree for a replay."""

from __future__ import annotations

from critic_loop.core.errors import NotRecorded
from critic_loop.core.protocols import Store
from critic_loop.core.records import Head
from critic_loop.core.tree import Tree


async def stored_run(store: Store, head: Head) -> Tree:
    """Return the tree of a store that was run as `head` says: the same id, else the same task and seed.

    Of several, those of an equal loop come first, then the newest.

    Raises:
        NotRecorded: there is none.
    """
    if await store.has(head.tree):
        return await store.load(head.tree)
    seeds: set[int] = set()
    found: Tree | None = None
    async for info in store.trees(task=head.task.id):
        tree = await store.load(info.id)
        seeds.add(tree.head.seed)
        equal = tree.head.recipe_digest == head.recipe_digest
        better = found is None or equal or found.head.recipe_digest != head.recipe_digest
        found = tree if tree.head.seed == head.seed and better else found
    if found is None:
        known = f"There are runs with seed {', '.join(map(str, sorted(seeds)))}." if seeds else ""
        raise NotRecorded(
            f"{store.where} holds no run of task {head.task.id!r} with seed {head.seed}.", hint=known
        )
    return found
