"""Chance that can be repeated: draws follow from the tree's seed, its task, and how many moves it has.

A search that draws is still a pure function of the tree: asked twice, or after a crash, it draws the same.
"""

from __future__ import annotations

import hashlib
from random import Random

from critic_loop.core.tree import Tree


def chance(tree: Tree) -> Random:
    """Return the source of the draws for the tree's next move; the same until that move is asked for."""
    place = f"{tree.head.seed}/{tree.task.id}/{len(tree.asks)}"
    return Random(int.from_bytes(hashlib.blake2b(place.encode(), digest_size=8).digest()))  # noqa: S311  # no secret
