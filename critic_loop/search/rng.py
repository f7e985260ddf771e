"""Reproducible random numbers: they follow from a tree's seed, its task, and the number of attempts asked for.

A search that draws them is still a pure function of the tree: called twice, or after a crash, it draws the
same.
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
"""Returns a number in (0, 1), ends excluded."""
_words = Struct("<16I").unpack


class Rng:
    """Random numbers, 16 from each hash: for a few, cheaper than seeding a `random.Random`."""

    __slots__ = ("random",)

    def __init__(self, seed: str) -> None:
        """Begin the numbers of a seed."""
        self.random: Uniform = chain.from_iterable(_blocks(seed.encode())).__next__
        """Return one of 2^32 evenly spaced numbers in (0, 1), ends excluded."""

    def choice(self, pool: Sequence[T]) -> T:
        """Return one member of a pool, which must not be empty."""
        return pool[int(self.random() * len(pool))]

    def sample(self, pool: Sequence[T], k: int) -> list[T]:
        """Return `k` different members in random order; the pool must have as many."""
        left = list(pool)
        return [left.pop(int(self.random() * len(left))) for _ in range(k)]


def rng_of(tree: Tree) -> Rng:
    """Return the random numbers for a tree's next move; the same ones until another attempt is asked for."""
    head = tree.head
    return Rng(f"{head.seed}/{head.task.id}/{len(tree.asks)}")


def _blocks(block: bytes) -> Iterator[list[float]]:
    while True:
        block = blake2b(block).digest()
        yield [(word + 0.5) * 2.0**-32 for word in _words(block)]
