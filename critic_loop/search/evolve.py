"""Evolution by epochs: some attempts vary what worked (exploit), the others try something new (explore)."""

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
    """Return the share of an epoch's attempts that exploit, min(0.5 + 0.1 * (epoch // 2), 0.8); epochs from 0.

    Source: the public code of execution-grounded evolutionary search (NoviScl/Automated-AI-Researcher).
    """
    return min(5 + epoch // 2, 8) / 10


def exploits(epoch: int, place: int) -> bool:
    """Whether the attempt at `place` in its epoch, from 0, exploits; those are spread evenly."""
    tenths = round(10 * exploit_share(epoch))
    return (place + 1) * tenths // 10 > place * tenths // 10


@dataclass(slots=True)
class EvolveState:
    """The attempts that were tried, and those of them that beat the baseline, in the order of asking."""

    drafts: int = 0
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    tried: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    good: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    settled: int = 0


@dataclass(frozen=True, kw_only=True)
class Evolve:
    """Makes epochs of `size` attempts: a growing share varies attempts that beat `baseline`, the rest is new.

    To exploit: `inspiring` attempts that beat the baseline are drawn; the first is the parent (the lineage),
    the others are shown beside it with the feedback on them. To explore: an attempt without parents is asked
    for, and its actor is shown `avoided` of all attempts so far, from which it is to differ. While nothing
    beats the baseline, all attempts explore. Failed attempts, and those that score above `believable`, are
    neither varied nor shown. After `roots` drafts all attempts exploit, and the search ends if nothing beat
    the baseline: inside a nest, each root is a lineage.

    Source: execution-grounded evolutionary search (2026): 10 epochs of 80, 10 ideas to exploit, 100 to
    explore. We differ: an epoch is counted by asking, with no barrier between epochs (there the next one
    begins when 30% of the results are back), so that lanes never idle; the share is spread evenly, not drawn.
    """

    epochs: Count | None = 10
    """None leaves the end to the stop rules."""
    size: Count = 80
    """Attempts of an epoch."""
    baseline: Unit = 0.0
    """Attempts with a higher score are varied."""
    believable: Unit = 1.0
    """A higher score is taken for an error of measurement."""
    inspiring: Count = 10
    """Attempts drawn to exploit: the parent, and those shown beside it."""
    avoided: Annotated[int, Field(ge=0)] = 100
    """Attempts shown to explore."""
    exploiter: str = "actor"
    """The agent of attempts that exploit."""
    explorer: str = "actor"
    """The agent of attempts that explore."""
    moves: AttemptKind = "answer"
    roots: Count | None = None
    """Attempts without parents at most; None = by the shares alone. Inside a nest always 1."""

    def start(self, task: Task) -> EvolveState:  # noqa: ARG002
        """Return an empty history."""
        return EvolveState()

    def fold(self, state: EvolveState, tree: Tree, record: Ask | Attempt) -> EvolveState:
        """Note an ended attempt, and whether it beat the baseline."""
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
