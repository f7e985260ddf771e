"""Modifiers of any search: temperature, no repeated answers, a limit for each stage.

    search = [{ kind = "temperature" }, { kind = "anti-repeat" }, { kind = "refine" }]

A modifier stands before the search that it changes, in the list in which searches nest; all that follows it
is one search to it. Knows moves and attempts. Does not know the search that makes them.
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
    """A search that is changed by a modifier."""

    modifier: Modifier[S]
    inner: AnySearch

    def start(self, task: Task) -> ModifiedState[S]:
        """Start both."""
        return ModifiedState(self.modifier.begin(), self.inner.start(task))

    def fold(self, state: ModifiedState[S], tree: Tree, record: Ask | Attempt) -> ModifiedState[S]:
        """Note the record, and fold what the modifier returns of it."""
        require_known(tree, record)
        noted = self.modifier.note(state.modifier, tree, record)
        if noted is not None:
            state.search = self.inner.fold(state.search, tree, noted)
        return state

    def ask(self, state: ModifiedState[S], tree: Tree) -> Move | Wait | Stop:
        """Return the first move that remains a move; else a Wait if there is one, else a Stop."""
        held: list[Wait | Stop] = []
        for changed in self.alternatives(state, tree):
            if isinstance(changed, Move):
                return changed
            held.append(changed)
        return next((proposal for proposal in held if isinstance(proposal, Wait)), held[0])

    def alternatives(self, state: ModifiedState[S], tree: Tree) -> Iterator[Move | Wait | Stop]:
        """Yield what the search could do, as changed by the modifier."""
        for proposal in alternatives(self.inner, state.search, tree):
            yield self.modifier.change(state.modifier, tree, proposal)


# -- temperature -------------------------------------------------------------------------------


def progressive_temperature(turn: int, step: float = 0.15, top: float = 1.5) -> float:
    """Return min(step * turn, top) for a turn from 0, rounded to nine digits.

    Source: Feedback Friction (2025), whose constants are the defaults: 0, 0.15, 0.3, ... 1.5 from the 10th on.
    """
    return min(round(step * turn, 9), top)


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """Raises the temperature with each turn (`progressive_temperature`), unless a move sets its own.

    A turn is an attempt's depth on its path, or with `by="asked"` the number of attempts asked for before.
    """

    step: Amount = 0.15
    top: Amount = 1.5
    by: Literal["depth", "asked"] = "depth"

    def begin(self) -> list[int]:
        """Return a count of 0."""
        return [0]

    def note(self, state: list[int], tree: Tree, record: Ask | Attempt) -> Ask | Attempt:  # noqa: ARG002
        """Count asks."""
        state[0] += isinstance(record, Ask)
        return record

    def change(self, state: list[int], tree: Tree, proposal: Move | Wait | Stop) -> Move | Wait | Stop:
        """Set the temperature of a move."""
        if not isinstance(proposal, Move) or (proposal.sampling and proposal.sampling.temperature is not None):
            return proposal
        depth = 1 + max(map(tree.depth, proposal.parents), default=-1)
        turn = depth if self.by == "depth" else state[0]
        update = {"temperature": progressive_temperature(turn, self.step, self.top)}
        return replace(proposal, sampling=(proposal.sampling or Sampling()).model_copy(update=update))


# -- no repeated answers -----------------------------------------------------------------------


def answer_key(attempt: Attempt) -> str | None:
    """Return the key by which answers are compared: the final part of a text, normalised; of others the JSON.

    Of a step or a thought it is all the text so far. None where there is nothing to compare.
    """
    answer = attempt.answer
    if attempt.unfinished and (written := "\n".join(message.text for message in attempt.messages).strip()):
        return json.dumps([attempt.kind, written])
    if answer is None:
        return None
    key = str(normalised(final_part(answer))) if isinstance(answer, str) else answer
    return json.dumps(key, sort_keys=True)


@dataclass(slots=True)
class AntiRepeatState:
    """Attempts that were rejected, and those that repeated one."""

    numbers: dict[str, int] = field(default_factory=dict[str, int])
    rejected: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """In the order of asking."""
    to_replace: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """Attempts that repeated an answer and are asked for again, in the order of asking."""
    tries: dict[str, int] = field(default_factory=dict[str, int])
    """Of each attempt that replaces a repetition: its number there, from 1."""
    open: int = 0
    """Replacements in flight."""


@dataclass(frozen=True, kw_only=True)
class AntiRepeat:
    """Shows the actor rejected attempts, and never builds on an answer that repeats one it was shown.

    The latest `shown` attempts whose score is below `holds` are shown with each move (`Move.shows`). An
    attempt with the same answer (`answer_key`) as one that its ask shows counts as failed for the search: it is
    never built on. When the search has ended, each repetition is asked for again, up to `tries` times, with the
    seed of its new place; the new attempt replaces the old one.

    Source: Feedback Friction (2025), binary hint; InternGeometry (2025),
    PassCheck. Whether an attempt repeats another follows from its ask alone, so the order in which lanes end
    does not matter; two lanes that were asked at the same time may give the same answer.
    """

    tries: Annotated[int, Field(ge=0)] = 2
    shown: Count = 10
    holds: Unit = 1.0
    """An attempt with a lower score is rejected; an unjudged one is not."""

    def begin(self) -> AntiRepeatState:
        """Return an empty list."""
        return AntiRepeatState()

    def note(self, state: AntiRepeatState, tree: Tree, record: Ask | Attempt) -> Ask | Attempt | None:
        """Note rejected attempts; return a repetition as failed, and nothing of replacements."""
        if isinstance(record, Ask):
            return self._asked(state, record)
        again = record.id in state.tries
        state.open -= again
        if repeats(tree, record):
            if state.tries.get(record.id, 0) < self.tries:
                insort(state.to_replace, (state.numbers[record.id], record.id))
            record = record.model_copy(update={"status": "failed"})
        else:
            self._judge(state, tree, record)
        return None if again else record

    def change(self, state: AntiRepeatState, tree: Tree, proposal: Move | Wait | Stop) -> Move | Wait | Stop:
        """Show rejected attempts; once the search has ended, ask for replacements of repetitions."""
        shows = tuple(name for _, name in state.rejected[-self.shown :])
        if isinstance(proposal, Move):
            return replace(proposal, shows=tuple(dict.fromkeys((*proposal.shows, *shows))))
        if isinstance(proposal, Wait) or not (state.to_replace or state.open):
            return proposal
        if not state.to_replace:
            return Wait()
        ask = tree.asks[state.to_replace[0][1]]
        return Move(
            parents=ask.parents, kind=ask.kind, agent=ask.agent, sampling=ask.sampling,
            replaces=ask.attempt, shows=shows,
        )  # fmt: skip

    def _asked(self, state: AntiRepeatState, ask: Ask) -> Ask | None:
        state.numbers[ask.attempt] = len(state.numbers)
        place = (state.numbers.get(ask.replaces or "", -1), ask.replaces or "")
        if place not in state.to_replace:
            return ask
        state.to_replace.remove(place)
        state.tries[ask.attempt] = state.tries.get(place[1], 0) + 1
        state.open += 1
        return None

    def _judge(self, state: AntiRepeatState, tree: Tree, attempt: Attempt) -> None:
        score = value_of(tree, attempt.id).score
        if attempt.status == "complete" and score is not None and score < self.holds:
            insort(state.rejected, (state.numbers[attempt.id], attempt.id))


def repeats(tree: Tree, attempt: Attempt) -> bool:
    """Whether an attempt has an answer that its ask showed the actor."""
    answer = answer_key(attempt)
    view = tree.asks[attempt.id].context
    shown = (*view.attempts, *view.also_shown) if answer is not None else ()
    return any(i in tree and answer_key(tree[i]) == answer for i in shown)


# -- pools -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Limits a search to `n` attempts, and each stage to its share of them.

    A stage is `draft` or `revision` (with parents), or by `by` a kind of attempt, or an agent. A stage
    without a share is limited by `n` alone. A pool before searches that nest is shared by all of them: when
    no revision is left, the next draft is asked for. A pool before an inner search is that of each inner
    search: `[{kind="sample", n=4}, {kind="pool", n=5}, {kind="refine"}]`. A single search proposes one move
    at a time: it ends as soon as the share of that move's stage is used up.
    """

    n: Count
    shares: dict[str, Unit] = field(default_factory=dict[str, Unit])
    """Rounded to whole attempts."""
    by: Literal["stage", "kind", "agent"] = "stage"

    def __post_init__(self) -> None:
        """Refuse shares of unknown stages.

        Raises:
            ValueError: there is no such stage, or kind of attempt.
        """
        known = {"stage": ("draft", "revision"), "kind": get_args(AttemptKind)}.get(self.by)
        if known and (unknown := set(self.shares) - set(known)):
            raise ValueError(f"no attempt is a {min(unknown)!r}; there are {', '.join(known)}")

    def begin(self) -> dict[str, int]:
        """Return counts by stage; the empty name counts attempts in flight."""
        return {"": 0}

    def note(self, state: dict[str, int], tree: Tree, record: Ask | Attempt) -> Ask | Attempt:  # noqa: ARG002
        """Count asks by stage, and attempts in flight."""
        state[""] += 1 if isinstance(record, Ask) else -1
        if isinstance(record, Ask):
            stage = self._stage(record)
            state[stage] = state.get(stage, 0) + 1
        return record

    def change(
        self,
        state: dict[str, int],
        tree: Tree,  # noqa: ARG002
        proposal: Move | Wait | Stop,
    ) -> Move | Wait | Stop:
        """Replace a move whose share is used up: by a Wait while attempts are in flight, then by a Stop."""
        if not isinstance(proposal, Move):
            return proposal
        stage = self._stage(proposal)
        left = self.n - sum(count for name, count in state.items() if name)
        if stage in self.shares:
            left = min(left, round(self.shares[stage] * self.n) - state.get(stage, 0))
        if left > 0:
            return replace(proposal, samples=min(proposal.samples, left))
        return Wait() if state[""] else Stop("exhausted", f"the pool for {stage} is used up")

    def _stage(self, move: Ask | Move) -> str:
        stage = "revision" if move.parents else "draft"
        return {"stage": stage, "kind": move.kind, "agent": move.agent}[self.by]
