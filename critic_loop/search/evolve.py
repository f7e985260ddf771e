"""Exploit and explore by epochs: what worked is varied, and beside it something different is tried."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt, AttemptKind, Task, Unit
from critic_loop.core.tree import Tree
from critic_loop.evidence import value_of
from critic_loop.search.base import extensible, require_known
from critic_loop.search.rng import rng_of

Count = Annotated[int, Field(ge=1)]


def exploit_share(epoch: int) -> float:
    """Return which share of an epoch's attempts vary what worked: min(0.5 + 0.1 * (epoch // 2), 0.8).

    Source: the public code of execution-grounded evolutionary search (NoviScl/Automated-AI-Researcher).
    """
    return min(5 + epoch // 2, 8) / 10


def exploits(epoch: int, place: int) -> bool:
    """Whether the attempt at `place` in its epoch, from 0, varies what worked; these are spread evenly."""
    tenths = round(10 * exploit_share(epoch))
    return (place + 1) * tenths // 10 > place * tenths // 10


@dataclass(slots=True)
class EvolveState:
    """All that was tried, and what of it beat the baseline; in the order of asking."""

    drafts: int = 0
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    tried: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    good: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    settled: int = 0


@dataclass(frozen=True, kw_only=True)
class Evolve:
    """Makes epochs of `size` attempts: a growing share varies what beat `baseline`, the rest is new.

    To exploit: `inspiring` attempts that beat the baseline are drawn; the first is the parent (the lineage),
    the others are shown beside it with the feedback on them. To explore: an attempt without parents that is
    shown `avoided` of all that was tried, in order to be different. While nothing beats the baseline, it
    explores. Failed attempts, and scores above `believable`, are neither varied nor shown. After `roots`
    drafts it only exploits, and ends if nothing beat the baseline: inside a nest, each root is a lineage.

    Source: execution-grounded evolutionary search (2026): 10 epochs of 80, 10 ideas to exploit, 100 to
    explore. We differ: an epoch is counted by asking, with no barrier between epochs (there the next one
    begins when 30% of the results are back), so lanes never idle; the share is spread evenly, not drawn.
    """

    epochs: Count | None = 10
    """None leaves the end to the stop rules."""
    size: Count = 80
    """Attempts of an epoch."""
    baseline: Unit = 0.0
    """What a score must be above, to be varied."""
    believable: Unit = 1.0
    """A higher score is taken for a fault of the measurement."""
    inspiring: Count = 10
    avoided: Annotated[int, Field(ge=0)] = 100
    exploiter: str = "actor"
    """The agent that varies."""
    explorer: str = "actor"
    """The agent that tries something different."""
    moves: AttemptKind = "answer"
    roots: Count | None = None
    """Attempts without parents at most; None = as many as the shares say. Inside a nest always 1."""

    def start(self, task: Task) -> EvolveState:  # noqa: ARG002
        """Return an empty history."""
        return EvolveState()

    def fold(self, state: EvolveState, tree: Tree, record: Ask | Attempt) -> EvolveState:
        """Remember what was tried, and whether it worked."""
        require_known(tree, record)
        if isinstance(record, Ask):
            state.numbers[record.attempt] = len(state.numbers)
            state.drafts += not record.parents
            return state
        state.settled += 1
        score = value_of(tree, record.id).score
        if record.status == "failed" or (score is not None and score > self.believable):
            return state
        place = (state.numbers[record.id], record.id)
        insort(state.tried, place)
        if score is not None and score > self.baseline and extensible(record, self.moves):
            insort(state.good, place)
        return state

    def ask(self, state: EvolveState, tree: Tree) -> Move | Wait | Stop:
        """Ask for the next attempt of the epoch."""
        epoch, place = divmod(len(state.numbers), self.size)
        drafted = self.roots is not None and state.drafts >= self.roots
        made = self.epochs is not None and epoch >= self.epochs
        if made or (drafted and not state.good):
            text = f"{self.epochs} epochs made" if made else "nothing beat the baseline"
            return Stop("exhausted", text) if state.settled == len(state.numbers) else Wait()
        exploit = bool(state.good) and (drafted or exploits(epoch, place))
        pool, count = (state.good, self.inspiring) if exploit else (state.tried, self.avoided)
        drawn = tuple(name for _, name in rng_of(tree).sample(pool, min(count, len(pool))))
        if exploit:
            return Move(parents=drawn[:1], kind=self.moves, agent=self.exploiter, shows=drawn[1:])
        return Move(kind=self.moves, agent=self.explorer, shows=drawn)
