"""Step by step towards one answer that holds: the next step is tried where it is likeliest to pay.

Knows of each place how likely it still leads to success, and how much that is new can be expected there.
Does not know what a step says, beyond the part of it that names where one stands (`Prospect.state`).
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
"""Where an answer begins: the place of first steps."""
_LEAST = 0.001


@dataclass(slots=True)
class Place:
    """Where an answer stands after some steps, and what was tried from there."""

    depth: int
    alive: float
    """Probability that success is possible here, given that it is at a place above and nothing was tried."""
    above: list[str] = field(default_factory=list[str])
    """Places from which it was reached."""
    attempts: list[str] = field(default_factory=list[str])
    """The steps that lead here, in the order of their ids."""
    scores: list[float] = field(default_factory=list[float])
    """What critics gave them, in ascending order."""
    evidence: float = 1.0
    """How much likelier those scores are if success is possible here than if it is not."""
    below: list[str] = field(default_factory=list[str])
    """Places that were found from here, ended answers among them."""
    drawn: dict[str, int] = field(default_factory=dict[str, int])
    """How often each place was drawn from here."""
    likely: dict[str, float] = field(default_factory=dict[str, float])
    """The probability that the model gave each text drawn from here, where log-probabilities are served."""
    open: int = 0
    """Steps in flight."""
    lost: float = 1.0
    """How much likelier what is known of the places below is if success is possible here than if it is not:
    without scores, the probability that all that was tried there came to nothing."""
    pays: float = 0.0
    """Success per step to be hoped for at the best place below or here, given that it is possible here."""
    way: str = ""
    """The place below through which that is; empty = here."""
    ended: bool = False
    """Whether an answer ends here: there is no next step, however early it came."""


@dataclass(slots=True)
class Prospects:
    """All places; a place's name follows from its depth and state."""

    places: dict[str, Place]
    place_of: dict[str, str] = field(default_factory=dict[str, str])
    """By the attempts that lead there."""
    asked: int = 0
    settled: int = 0


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """Asks for a step where success per step is likeliest, for tasks in which one verified answer is enough.

    An answer takes `len(succeeds)` steps at most; longer ones are left. `succeeds[d]` is the probability that
    the step at depth d keeps success possible where it was; a critic's score of a step, read as that
    probability, takes its place, and is evidence of the places above, too. What was tried in vain below a place
    makes it less likely (Bayes' rule over the places), and so does what repeats itself: the chance of something
    new is what the model's own probabilities of the steps drawn there leave, and where it serves none it is
    estimated from how many of them were drawn once (Good 1953, after Turing). So whole answers are drawn as
    long as those are new, what is there is gone on from when beginnings repeat themselves, and a beginning that
    has failed often is left.

    A step that a verifier fails is never gone on from (`cl.verifier(steps=True)`).
    Attempts in flight count as tried in vain, so that lanes spread. Stops are the loop's: `verified`, and `n`.
    Settings are measured on tasks of one's own, as `benchmarks/search.py` does. **Source**: our own.
    """

    n: Count | None = None
    """Attempts in all; None leaves it to the stop rules."""
    succeeds: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.5, 0.5, 0.5)
    temperatures: tuple[Annotated[float, Field(ge=0)], ...] = ()
    """For the steps at each depth; the last for all deeper ones; none = the agent's own."""
    state: str = ""
    """A regular expression: all that it finds in the answer so far (its first group, if it has one), in any
    order, is where one stands. Steps of one depth with the same state lead to one place, whatever came
    before. Empty, or nothing found = the whole text."""
    agent: str = "actor"

    def __post_init__(self) -> None:
        """Refuse a pattern that cannot be read.

        Raises:
            ValueError: `state` is no regular expression.
        """
        require_pattern(self.state)

    def start(self, task: Task) -> Prospects:  # noqa: ARG002
        """Return the root alone."""
        root = Place(depth=0, alive=1.0)
        state = Prospects(places={ROOT: root})
        self._weigh(state, ROOT)
        return state

    def fold(self, state: Prospects, tree: Tree, record: Ask | Attempt) -> Prospects:
        """Take in an ask or an ended attempt. O(depth * width)."""
        require_known(tree, record)
        above = state.place_of[record.parents[0]] if record.parents else ROOT
        place = state.places[above]
        if isinstance(record, Ask):
            state.asked += 1
            place.open += 1
        else:
            state.settled += 1
            place.open -= 1
            if record.status != "failed":
                self._found(state, tree, record, above)
        self._update(state, {above, state.place_of.get(_subject(record), above)})
        return state

    def ask(self, state: Prospects, tree: Tree) -> Move | Wait | Stop:  # noqa: ARG002
        """Ask at the place that pays best. O(depth)."""
        if self.n is not None and state.asked >= self.n:
            done = state.settled == state.asked
            return Stop("exhausted", f"{self.n} attempts made") if done else Wait()
        place = state.places[ROOT]
        while place.way:
            place = state.places[place.way]
        sampling = self._sampling(place.depth)
        return Move(parents=tuple(place.attempts[:1]), kind="step", agent=self.agent, sampling=sampling)

    def _sampling(self, depth: int) -> Sampling | None:
        temperature = self._temperature(depth)
        return None if temperature is None else Sampling(temperature=temperature)

    def _temperature(self, depth: int) -> float | None:
        return self.temperatures[min(depth, len(self.temperatures) - 1)] if self.temperatures else None

    def _found(self, state: Prospects, tree: Tree, attempt: Attempt, above: str) -> None:
        """Note where a step leads: to a new place, or to one that is known, from here or from elsewhere."""
        from_here = state.places[above]
        depth = from_here.depth + 1
        ended = not attempt.unfinished or value_of(tree, attempt.id).verified is False
        name = digest_of([depth, ended, last_text(attempt) if ended else self._state(attempt)])
        from_here.drawn[name] = from_here.drawn.get(name, 0) + 1
        likely = _likely(tree, attempt)
        if likely is not None:
            from_here.likely[digest_of(attempt.messages)] = likely
        state.place_of[attempt.id] = name
        fresh = Place(depth=depth, alive=self._prior(depth - 1), ended=ended)
        place = state.places.setdefault(name, fresh)
        if above not in place.above:
            insort(place.above, above)
            insort(from_here.below, name)
        self._leads_to(place, tree, attempt)

    def _leads_to(self, place: Place, tree: Tree, attempt: Attempt) -> None:
        insort(place.attempts, attempt.id, key=_age)
        score = value_of(tree, attempt.id).score if attempt.unfinished else None
        if score is not None:
            insort(place.scores, score)
            mean = min(max(fsum(place.scores) / len(place.scores), 0.01), 0.99)
            place.evidence = _odds(mean) / _odds(place.alive)

    def _state(self, attempt: Attempt) -> str:
        found = state_key(attempt, self.state) if self.state else None
        return last_text(attempt) if found is None else found

    def _prior(self, depth: int) -> float:
        return self.succeeds[min(depth, len(self.succeeds) - 1)]

    def _update(self, state: Prospects, stale: set[str]) -> None:
        """Weigh places anew, and all above them, the deeper ones first."""
        while stale:
            name = max(stale, key=lambda n: (state.places[n].depth, n))
            stale.remove(name)
            self._weigh(state, name)
            stale.update(state.places[name].above)

    def _weigh(self, state: Prospects, at: str) -> None:
        place = state.places[at]
        if place.ended or place.depth >= len(self.succeeds):
            place.lost = 0.0
            return
        below = [state.places[name] for name in place.below]
        place.lost = prod(1 - p.alive + p.alive * p.evidence * p.lost for p in below)
        place.lost *= (1 - self._prior(place.depth)) ** place.open
        place.pays, place.way = self._here(place), ""
        for name, other in zip(place.below, below, strict=True):
            still = other.alive * other.evidence * other.lost
            hope = still / (still + 1 - other.alive) * other.pays
            if hope > place.pays:
                place.pays, place.way = hope, name

    def _here(self, place: Place) -> float:
        """Success per step to be hoped for from another step here."""
        chance = prod(self.succeeds[place.depth :]) * (1 - self._prior(place.depth)) ** place.open
        new = _LEAST if place.drawn and self._temperature(place.depth) == 0 else _new(place)
        return new * chance / (len(self.succeeds) - place.depth)


def _odds(probability: float) -> float:
    return probability / (1 - probability)


def _new(place: Place) -> float:
    """Return the chance that another step from here is none of those drawn."""
    if place.likely:
        return max(1 - fsum(sorted(place.likely.values())), _LEAST)
    once = sum(1 for count in place.drawn.values() if count == 1)
    return (once + 1) / (sum(place.drawn.values()) + 1)


def _likely(tree: Tree, attempt: Attempt) -> float | None:
    """Return the probability of a step's own tokens; None where it is not served, or not of this step alone."""
    reply = tree.replies.get(attempt.calls[-1]) if attempt.calls else None
    if reply is None or len(reply.choices) != 1 or reply.choices[0].logprobs is None:
        return None
    return exp(fsum(reply.choices[0].logprobs))


def _subject(record: Ask | Attempt) -> str:
    return record.attempt if isinstance(record, Ask) else record.id


def _age(attempt_id: str) -> tuple[int, str]:
    return len(attempt_id), attempt_id
