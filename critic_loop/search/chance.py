"""Chance that can be repeated: draws follow from the tree's seed, its task, and how many moves it has.

A search that draws is still a pure function of the tree: asked twice, or after a crash, it draws the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain
from struct import Struct
from typing import TypeVar

from critic_loop.core.tree import Tree

T = TypeVar("T")
Uniform = Callable[[], float]
"""A source of numbers in (0, 1), neither end among them."""
_words = Struct("<16I").unpack


class Chance:
    """A source of draws, 16 to a hash: for few draws, cheaper than to seed a `random.Random`."""

    __slots__ = ("random",)

    def __init__(self, place: str) -> None:
        """Begin the draws that belong to a place."""
        self.random: Uniform = chain.from_iterable(_blocks(place.encode())).__next__
        """Return one of 2^32 numbers in (0, 1), evenly spaced, neither end among them."""

    def choice(self, pool: Sequence[T]) -> T:
        """Return one of a pool that is not empty."""
        return pool[int(self.random() * len(pool))]

    def sample(self, pool: Sequence[T], k: int) -> list[T]:
        """Return `k` different members, in random order, of a pool that has as many."""
        left = list(pool)
        return [left.pop(int(self.random() * len(left))) for _ in range(k)]


def chance(tree: Tree) -> Chance:
    """Return the source of the draws for the tree's next move; the same until that move is asked for."""
    head = tree.head
    return Chance(f"{head.seed}/{head.task.id}/{len(tree.asks)}")


def _blocks(block: bytes) -> Iterator[list[float]]:
    while True:
        block = blake2b(block).digest()
        yield [(word + 0.5) * 2.0**-32 for word in _words(block)]
