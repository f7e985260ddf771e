"""Step by step towards one verified answer: the next step is asked for where success per step is likeliest.

Knows of each position how likely success is still possible there, and how likely another step from it is new.
Does not know what a step says, beyond the part of it that names a state (`Prospect.state`).
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from math import exp, fsum, prod
from typing import Annotated

from pydantic import Field

from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt, Sampling, Task, digest_of
from critic_loop.core.tree import Tree
from critic_loop.evidence import value_of
from critic_loop.search.base import last_text, require_known, require_pattern, state_key

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
ROOT = ""
"""The position before the first step."""
_LEAST = 0.001
"""Least probability that another step is new."""


@dataclass(slots=True)
class Position:
    """Where an answer is after some steps, and what was tried from there."""

    depth: int
    possible: float
    """Probability that success is possible here, given that it is possible above, before any trial."""
    above: list[str] = field(default_factory=list[str])
    """Positions from which it was reached."""
    attempts: list[str] = field(default_factory=list[str])
    """The steps that lead here, in the order of their ids."""
    scores: list[float] = field(default_factory=list[float])
    """Critics' scores of them, in ascending order."""
    evidence: float = 1.0
    """Likelihood ratio of those scores: success possible here, to not possible."""
    below: list[str] = field(default_factory=list[str])
    """Positions that were reached from here, ended answers among them."""
    drawn: dict[str, int] = field(default_factory=dict[str, int])
    """How often each position below was drawn."""
    probabilities: dict[str, float] = field(default_factory=dict[str, float])
    """The model's probability of each text drawn from here, where log-probabilities are served."""
    in_flight: int = 0
    """Steps in flight."""
    trials: float = 1.0
    """Likelihood ratio of all that is known below: success possible here, to not possible. Without scores it is
    the probability that all trials failed although success is possible."""
    gain: float = 0.0
    """Expected success per step at the best position here or below, given that success is possible here."""
    best: str = ""
    """The position right below through which that is; empty = here."""
    ended: bool = False
    """Whether an answer ends here: there is no next step, at whatever depth."""


@dataclass(slots=True)
class ProspectState:
    """All positions. The name of a position follows from its depth and state."""

    positions: dict[str, Position]
    position_of: dict[str, str] = field(default_factory=dict[str, str])
    """By the attempts that lead there."""
    asked: int = 0
    settled: int = 0


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """Asks for a step where success per step is likeliest, for tasks in which one verified answer is enough.

    An answer takes `len(succeeds)` steps at most; longer ones are not continued. `succeeds[d]` is the
    probability that the step at depth d keeps success possible. A critic's score of a step, read as that
    probability, replaces it, and is evidence about the positions above. Failed trials below a position make
    success there less likely (Bayes' rule over the positions). So do repetitions: the probability that
    another step is new is what the model's own probabilities of the steps drawn there leave, or, where none
    are served, is estimated from how many of them were drawn once (Good 1953, after Turing). As a consequence
    whole answers are drawn as long as their beginnings are new; when beginnings repeat themselves, existing
    ones are continued; and a beginning that has failed often is dropped.

    A step that a verifier fails is never continued (`cl.verifier(steps=True)`). Attempts in flight count as
    failed trials, so that lanes spread. The search ends by the loop's stop rules (`verified`), or after `n`
    attempts. Measure `succeeds` on tasks of your own, as `benchmarks/search.py` does. **Source**: our own.
    """

    n: Count | None = None
    """Attempts in all; None leaves it to the stop rules."""
    succeeds: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.5, 0.5, 0.5)
    temperatures: tuple[Annotated[float, Field(ge=0)], ...] = ()
    """For the steps at each depth; the last one also for deeper ones; empty = the agent's own."""
    state: str = ""
    """A regular expression that names the state a step leads to: all its matches in the answer so far (or their
    first groups), in any order. Steps of the same depth and state lead to the same position, whatever came
    before. Empty, or without a match, the state is the whole text."""
    agent: str = "actor"

    def __post_init__(self) -> None:
        """Refuse a pattern that is no regular expression.

        Raises:
            ValueError: `state` is none.
        """
        require_pattern(self.state)

    def start(self, task: Task) -> ProspectState:  # noqa: ARG002
        """Return the root alone."""
        root = Position(depth=0, possible=1.0)
        state = ProspectState(positions={ROOT: root})
        self._update_one(state, ROOT)
        return state

    def fold(self, state: ProspectState, tree: Tree, record: Ask | Attempt) -> ProspectState:
        """Take in an ask or an ended attempt. O(depth * width)."""
        require_known(tree, record)
        above = state.position_of[record.parents[0]] if record.parents else ROOT
        position = state.positions[above]
        if isinstance(record, Ask):
            state.asked += 1
            position.in_flight += 1
        else:
            state.settled += 1
            position.in_flight -= 1
            if record.status != "failed":
                self._take_in(state, tree, record, above)
        self._update(state, {above, state.position_of.get(_subject(record), above)})
        return state

    def ask(self, state: ProspectState, tree: Tree) -> Move | Wait | Stop:  # noqa: ARG002
        """Ask for a step at the position of greatest gain. O(depth)."""
        if self.n is not None and state.asked >= self.n:
            done = state.settled == state.asked
            return Stop("exhausted", f"{self.n} attempts made") if done else Wait()
        position = state.positions[ROOT]
        while position.best:
            position = state.positions[position.best]
        sampling = self._sampling(position.depth)
        return Move(parents=tuple(position.attempts[:1]), kind="step", agent=self.agent, sampling=sampling)

    def _sampling(self, depth: int) -> Sampling | None:
        temperature = self._temperature(depth)
        return None if temperature is None else Sampling(temperature=temperature)

    def _temperature(self, depth: int) -> float | None:
        return self.temperatures[min(depth, len(self.temperatures) - 1)] if self.temperatures else None

    def _take_in(self, state: ProspectState, tree: Tree, attempt: Attempt, above: str) -> None:
        """Note the position that a step leads to: a new one, or one that was reached before."""
        from_here = state.positions[above]
        depth = from_here.depth + 1
        ended = not attempt.unfinished or value_of(tree, attempt.id).verified is False
        name = digest_of([depth, ended, last_text(attempt) if ended else self._state(attempt)])
        from_here.drawn[name] = from_here.drawn.get(name, 0) + 1
        probability = _probability(tree, attempt)
        if probability is not None:
            from_here.probabilities[digest_of(attempt.messages)] = probability
        state.position_of[attempt.id] = name
        fresh = Position(depth=depth, possible=self._prior(depth - 1), ended=ended)
        position = state.positions.setdefault(name, fresh)
        if above not in position.above:
            insort(position.above, above)
            insort(from_here.below, name)
        self._add_step(position, tree, attempt)

    def _add_step(self, position: Position, tree: Tree, attempt: Attempt) -> None:
        insort(position.attempts, attempt.id, key=_age)
        score = value_of(tree, attempt.id).score if attempt.unfinished else None
        if score is not None:
            insort(position.scores, score)
            mean = min(max(fsum(position.scores) / len(position.scores), 0.01), 0.99)
            position.evidence = _odds(mean) / _odds(position.possible)

    def _state(self, attempt: Attempt) -> str:
        found = state_key(attempt, self.state) if self.state else None
        return last_text(attempt) if found is None else found

    def _prior(self, depth: int) -> float:
        return self.succeeds[min(depth, len(self.succeeds) - 1)]

    def _update(self, state: ProspectState, stale: set[str]) -> None:
        """Recompute positions and all above them, the deeper ones first."""
        while stale:
            name = max(stale, key=lambda n: (state.positions[n].depth, n))
            stale.remove(name)
            self._update_one(state, name)
            stale.update(state.positions[name].above)

    def _update_one(self, state: ProspectState, at: str) -> None:
        position = state.positions[at]
        if position.ended or position.depth >= len(self.succeeds):
            position.trials = 0.0
            return
        below = [state.positions[name] for name in position.below]
        position.trials = prod(1 - p.possible + p.possible * p.evidence * p.trials for p in below)
        position.trials *= (1 - self._prior(position.depth)) ** position.in_flight
        position.gain, position.best = self._here(position), ""
        for name, other in zip(position.below, below, strict=True):
            joint = other.possible * other.evidence * other.trials
            gain = joint / (joint + 1 - other.possible) * other.gain
            if gain > position.gain:
                position.gain, position.best = gain, name

    def _here(self, position: Position) -> float:
        """Return the expected success per step of another step here."""
        chance = prod(self.succeeds[position.depth :]) * (1 - self._prior(position.depth)) ** position.in_flight
        new = _LEAST if position.drawn and self._temperature(position.depth) == 0 else _new(position)
        return new * chance / (len(self.succeeds) - position.depth)


def _odds(probability: float) -> float:
    return probability / (1 - probability)


def _new(position: Position) -> float:
    """Return the probability that another step from here differs from those drawn."""
    if position.probabilities:
        return max(1 - fsum(sorted(position.probabilities.values())), _LEAST)
    once = sum(1 for count in position.drawn.values() if count == 1)
    return (once + 1) / (sum(position.drawn.values()) + 1)


def _probability(tree: Tree, attempt: Attempt) -> float | None:
    """Return the probability of a step's own tokens; None if not served, or served for several choices."""
    reply = tree.replies.get(attempt.calls[-1]) if attempt.calls else None
    if reply is None or len(reply.choices) != 1 or reply.choices[0].logprobs is None:
        return None
    return exp(fsum(reply.choices[0].logprobs))


def _subject(record: Ask | Attempt) -> str:
    return record.attempt if isinstance(record, Ask) else record.id


def _age(attempt_id: str) -> tuple[int, str]:
    return len(attempt_id), attempt_id
