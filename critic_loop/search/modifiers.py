"""Changes to any search: its temperature, what it may repeat, how much of it there may be.

    search = [{ kind = "temperature" }, { kind = "anti-repeat" }, { kind = "refine" }]

A modifier stands before the search that it changes, in the same list in which searches nest; what follows
it is one search to it. Knows moves and attempts. Does not know the search that makes them.
"""

from __future__ import annotations

import json
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args

from pydantic import Field

from critic_loop.core.protocols import AnySearch, Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt, AttemptKind, Sampling, Task, Unit
from critic_loop.core.tree import Tree
from critic_loop.evidence import value_of
from critic_loop.outputs import final_part, normalised
from critic_loop.search.base import Modifier, alternatives, require_known

S = TypeVar("S")
Count = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(slots=True)
class ModifiedState(Generic[S]):
    """The modifier's state and the search's."""

    modifier: S
    search: Any


@dataclass(frozen=True)
class Modified(Generic[S]):
    """A search under a modifier: a search again."""

    modifier: Modifier[S]
    inner: AnySearch

    def start(self, task: Task) -> ModifiedState[S]:
        """Start both."""
        return ModifiedState(self.modifier.begin(), self.inner.start(task))

    def fold(self, state: ModifiedState[S], tree: Tree, record: Ask | Attempt) -> ModifiedState[S]:
        """Tell the modifier, and the search what the modifier lets through."""
        require_known(tree, record)
        told = self.modifier.note(state.modifier, tree, record)
        if told is not None:
            state.search = self.inner.fold(state.search, tree, told)
        return state

    def ask(self, state: ModifiedState[S], tree: Tree) -> Move | Wait | Stop:
        """Return the search's first move that the modifier lets through; else what holds it back."""
        held: list[Wait | Stop] = []
        for changed in self.alternatives(state, tree):
            if isinstance(changed, Move):
                return changed
            held.append(changed)
        return next((said for said in held if isinstance(said, Wait)), held[0])

    def alternatives(self, state: ModifiedState[S], tree: Tree) -> Iterator[Move | Wait | Stop]:
        """Yield what the search could do, as the modifier changes it."""
        for said in alternatives(self.inner, state.search, tree):
            yield self.modifier.change(state.modifier, tree, said)


# -- temperature -------------------------------------------------------------------------------


def progressive_temperature(turn: int, step: float = 0.15, top: float = 1.5) -> float:
    """Return min(step * turn, top) for a turn from 0, without the noise of binary fractions.

    Source: Feedback Friction (2025), whose constants are the defaults: 0, 0.15, 0.3, ... 1.5 from the 10th on.
    """
    return min(round(step * turn, 9), top)


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """Raises the temperature with each turn: `progressive_temperature`; what a move sets itself is left.

    A turn is an attempt's depth on its path, or with `by="asked"` the number of attempts asked for before.
    """

    step: Amount = 0.15
    top: Amount = 1.5
    by: Literal["depth", "asked"] = "depth"

    def begin(self) -> list[int]:
        """Return a count of nothing."""
        return [0]

    def note(self, state: list[int], tree: Tree, record: Ask | Attempt) -> Ask | Attempt:  # noqa: ARG002
        """Count what was asked for."""
        state[0] += isinstance(record, Ask)
        return record

    def change(self, state: list[int], tree: Tree, said: Move | Wait | Stop) -> Move | Wait | Stop:
        """Lay the temperature over the move's sampling."""
        if not isinstance(said, Move) or (said.sampling and said.sampling.temperature is not None):
            return said
        depth = 1 + max(map(tree.depth, said.parents), default=-1)
        turn = depth if self.by == "depth" else state[0]
        update = {"temperature": progressive_temperature(turn, self.step, self.top)}
        return replace(said, sampling=(said.sampling or Sampling()).model_copy(update=update))


# -- no answer twice ---------------------------------------------------------------------------


def same_answer(attempt: Attempt) -> str | None:
    """Return what makes two answers the same: the final part of a text, normalised; of others the JSON.

    Of a step or a thought it is all that was written so far. None where there is nothing to compare.
    """
    answer = attempt.answer
    if attempt.unfinished and (written := "\n".join(message.text for message in attempt.messages).strip()):
        return json.dumps([attempt.kind, written])
    if answer is None:
        return None
    said = str(normalised(final_part(answer))) if isinstance(answer, str) else answer
    return json.dumps(said, sort_keys=True)


@dataclass(slots=True)
class Repeats:
    """Which answers were rejected, and what repeated one."""

    numbers: dict[str, int] = field(default_factory=dict[str, int])
    rejected: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """In the order of asking."""
    again: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """Attempts that repeated an answer and are to be asked for again, in the order of asking."""
    tries: dict[str, int] = field(default_factory=dict[str, int])
    """Of each attempt that was asked for in place of another, how many came before it there."""
    open: int = 0


@dataclass(frozen=True, kw_only=True)
class AntiRepeat:
    """Shows the actor what was rejected, and builds on no answer that repeats one which was shown.

    The latest `shown` attempts whose score is below `holds` are shown with each move (`Move.shows`). An
    attempt that gives the same answer (`same_answer`) as one that its ask shows counts as failed for the
    search: it is never built on. Where the search has ended, what repeated is asked for again, each up to
    `tries` times, with the seed of its new place; the new attempt takes the place of the old one.

    Source: rule 14 of the cards' part 4.5; Feedback Friction (2025), binary hint; InternGeometry (2025),
    PassCheck. Whether an attempt repeats follows from its ask alone, so the order in which lanes end does
    not matter: two lanes that could not know of each other may give one answer.
    """

    tries: Annotated[int, Field(ge=0)] = 2
    shown: Count = 10
    holds: Unit = 1.0
    """The least score of an answer that was not rejected; one that nobody judged was not."""

    def begin(self) -> Repeats:
        """Return an empty list."""
        return Repeats()

    def note(self, state: Repeats, tree: Tree, record: Ask | Attempt) -> Ask | Attempt | None:
        """Remember what was rejected; hide what is asked for again, and call a repetition failed."""
        if isinstance(record, Ask):
            return self._asked(state, record)
        again = record.id in state.tries
        state.open -= again
        if repeats(tree, record):
            if state.tries.get(record.id, 0) < self.tries:
                insort(state.again, (state.numbers[record.id], record.id))
            record = record.model_copy(update={"status": "failed"})
        else:
            self._judge(state, tree, record)
        return None if again else record

    def change(self, state: Repeats, tree: Tree, said: Move | Wait | Stop) -> Move | Wait | Stop:
        """Show what was rejected; once the search has ended, ask again for what repeated."""
        shows = tuple(name for _, name in state.rejected[-self.shown :])
        if isinstance(said, Move):
            return replace(said, shows=tuple(dict.fromkeys((*said.shows, *shows))))
        if isinstance(said, Wait) or not (state.again or state.open):
            return said
        if not state.again:
            return Wait()
        ask = tree.asks[state.again[0][1]]
        return Move(
            parents=ask.parents, kind=ask.kind, agent=ask.agent, sampling=ask.sampling,
            replaces=ask.attempt, shows=shows,
        )  # fmt: skip

    def _asked(self, state: Repeats, ask: Ask) -> Ask | None:
        state.numbers[ask.attempt] = len(state.numbers)
        place = (state.numbers.get(ask.replaces or "", -1), ask.replaces or "")
        if place not in state.again:
            return ask
        state.again.remove(place)
        state.tries[ask.attempt] = state.tries.get(place[1], 0) + 1
        state.open += 1
        return None

    def _judge(self, state: Repeats, tree: Tree, attempt: Attempt) -> None:
        score = value_of(tree, attempt.id).score
        if attempt.status == "complete" and score is not None and score < self.holds:
            insort(state.rejected, (state.numbers[attempt.id], attempt.id))


def repeats(tree: Tree, attempt: Attempt) -> bool:
    """Whether an attempt gives an answer that its ask showed the actor."""
    answer = same_answer(attempt)
    view = tree.asks[attempt.id].context
    shown = (*view.attempts, *view.also_shown) if answer is not None else ()
    return any(i in tree and same_answer(tree[i]) == answer for i in shown)


# -- pools -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Lets a search make `n` attempts at most, and of each stage no more than its share of them.

    A stage is `draft` or `revision` (with parents), or with `by` a kind of attempt, or an agent. A stage
    without a share is bounded by `n` alone. Before searches that nest, the pool is that of all of them: where
    no revision is left, the next draft is asked for. Before a search that stands inside another one, it is
    each inner search's own: `[{kind="sample", n=4}, {kind="pool", n=5}, {kind="refine"}]`. A single search
    says one move at a time: it ends as soon as that one has no share left, whatever others have.
    """

    n: Count
    shares: dict[str, Unit] = field(default_factory=dict[str, Unit])
    """Rounded to whole attempts."""
    by: Literal["stage", "kind", "agent"] = "stage"

    def __post_init__(self) -> None:
        """Refuse shares of stages that no attempt has.

        Raises:
            ValueError: there is no such stage, or kind of attempt.
        """
        known = {"stage": ("draft", "revision"), "kind": get_args(AttemptKind)}.get(self.by)
        if known and (unknown := set(self.shares) - set(known)):
            raise ValueError(f"no attempt is a {min(unknown)!r}; there are {', '.join(known)}")

    def begin(self) -> dict[str, int]:
        """Return counts by stage; the empty name counts what is in flight."""
        return {"": 0}

    def note(self, state: dict[str, int], tree: Tree, record: Ask | Attempt) -> Ask | Attempt:  # noqa: ARG002
        """Count what was asked for, by stage, and what is in flight."""
        state[""] += 1 if isinstance(record, Ask) else -1
        if isinstance(record, Ask):
            stage = self._stage(record)
            state[stage] = state.get(stage, 0) + 1
        return record

    def change(self, state: dict[str, int], tree: Tree, said: Move | Wait | Stop) -> Move | Wait | Stop:  # noqa: ARG002
        """Hold back a move whose pool is used up: the search waits for what is in flight, then ends."""
        if not isinstance(said, Move):
            return said
        stage = self._stage(said)
        left = self.n - sum(count for name, count in state.items() if name)
        if stage in self.shares:
            left = min(left, round(self.shares[stage] * self.n) - state.get(stage, 0))
        if left > 0:
            return replace(said, samples=min(said.samples, left))
        return Wait() if state[""] else Stop("exhausted", f"the pool for {stage} is used up")

    def _stage(self, move: Ask | Move) -> str:
        stage = "revision" if move.parents else "draft"
        return {"stage": stage, "kind": move.kind, "agent": move.agent}[self.by]
