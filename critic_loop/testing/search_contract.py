"""What every search promises, as tests that anyone can run over their own.

    class TestMySearch(SearchContract):
        @pytest.fixture
        def search(self):
            return MySearch(rounds=5)   # settings under which it ends by itself

Knows the `Search` protocol: it drives the search with random outcomes in a random order, and folds each attempt
once all feedback on it is in the tree. Does not know any search. Needs pytest.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
from pydantic import JsonValue

from critic_loop.core.errors import SearchError
from critic_loop.core.messages import assistant
from critic_loop.core.protocols import AnySearch, Move, Stop, Wait
from critic_loop.core.records import UNFINISHED, Ask, Attempt, Feedback, Task, Verdict
from critic_loop.core.tree import Tree
from critic_loop.search.driver import Driver


@dataclass
class RandomDriver(Driver):
    """Drives a search with random outcomes in a random order; the same seed gives the same ones."""

    task: str | Task = "Name a prime."
    lanes: int = 3
    late: bool = False
    """Whether attempts are judged and folded some time after they ended."""
    folded: list[Ask | Attempt] = field(default_factory=list[Ask | Attempt])
    """What the search has folded, in this order."""
    unjudged: list[str] = field(default_factory=list[str])
    """Attempts ended and not judged."""

    def __post_init__(self) -> None:
        """Begin a tree."""
        super().__post_init__()
        self._random = random.Random(self.seed)

    def steps(self, limit: int = 200) -> Iterator[Move | Wait | Stop]:
        """Yield what the search proposes, then act on it, until it stops with nothing in flight.

        Raises:
            AssertionError: it made more than `limit` attempts.
        """
        while True:
            proposal = self.ask()
            yield proposal
            idle = isinstance(proposal, Move) and len(self.in_flight) < self.lanes
            idle = idle and self._random.random() < 0.7
            if isinstance(proposal, Move) and (idle or not (self.in_flight or self.unjudged)):
                self.begin(proposal)
                assert len(self.tree.asks) <= limit, f"no Stop within {limit} attempts"
            elif self.unjudged and (not self.in_flight or self._random.random() < 0.5):
                self.evaluate(attempt := self.unjudged[self._random.randrange(len(self.unjudged))])
                self.fold(self.tree[attempt])
            elif self.in_flight:
                self.end(self.in_flight[self._random.randrange(len(self.in_flight))])
            else:
                return

    def run(self, limit: int = 200) -> Self:
        """Run to the end; return this."""
        for _ in self.steps(limit):
            pass
        return self

    def copy(self) -> Self:
        """Return a driver that stands where this one does, with a state and a tree of its own."""
        other = type(self)(self.search, seed=self.seed, lanes=self.lanes, late=self.late)
        for record in self.tree.log[1:]:
            other.tree.append(record)
        other.state, other.folded = copy.deepcopy(self.state), list(self.folded)
        other.in_flight, other.unjudged = list(self.in_flight), list(self.unjudged)
        return other

    def end(self, attempt_id: str) -> None:
        """End an attempt; unless it is judged later on, judge and fold it."""
        self.attempt(attempt_id)
        if not self.late:
            self.evaluate(attempt_id)
            self.fold(self.tree[attempt_id])

    def attempt(self, attempt_id: str) -> None:
        """Write an attempt; its outcome follows from seed and id alone."""
        chance = random.Random(f"{self.seed}/{attempt_id}")
        ask = self.tree.asks[attempt_id]
        failed = chance.random() < 0.15
        status, answer = ("failed", None) if failed else ("complete", chance.randrange(5))
        if ask.kind in UNFINISHED and random.Random(f"{self.seed}/{attempt_id}/goes on").random() < 0.7:
            answer = None
        kind = "answer" if ask.kind in UNFINISHED and answer is not None else ask.kind
        words = random.Random(f"{self.seed}/{attempt_id}/words")
        said = assistant(f"{words.randrange(9)} makes\n>{words.randrange(3)}")
        self.write(
            Attempt(
                id=attempt_id, parents=ask.parents, kind=kind, replaces=ask.replaces,
                status=status, answer=answer, messages=() if failed else (said,),
            )
        )  # fmt: skip
        self.unjudged.append(attempt_id)

    def evaluate(self, attempt_id: str) -> None:
        """Write the feedback on an attempt; it follows from seed and id alone."""
        chance = random.Random(f"{self.seed}/{attempt_id}/said")
        traits = random.Random(f"{self.seed}/{attempt_id}/traits")
        self.unjudged.remove(attempt_id)
        for author in () if self.tree[attempt_id].status == "failed" else ("a", "b"):
            verdict = chance.choice([Verdict.PASS, Verdict.FAIL, Verdict.ABSTAIN, None])
            score = None if verdict is Verdict.ABSTAIN else round(chance.random(), 2)
            data: dict[str, JsonValue] = {
                "size": traits.random(),
                "colour": traits.choice(["red", "green", "blue"]),
            }
            self.judge(attempt_id, Feedback(author=author, verdict=verdict, score=score, data=data))

    def fold(self, record: Ask | Attempt) -> None:
        """Fold a record, and note it."""
        self.folded.append(record)
        super().fold(record)


def _subject(record: Ask | Attempt) -> str:
    return record.attempt if isinstance(record, Ask) else record.id


class SearchContract:
    """Override the fixture `search`. States of the search are compared with `==`."""

    seeds = range(6)
    limit = 200
    """Attempts within which it must stop."""
    budget: int | None = None
    """Attempts that it may ask for at most, where its settings say so."""
    lanes = (1, 2, 8)

    @pytest.fixture
    def search(self) -> AnySearch:
        """Return the search, with settings under which it ends by itself."""
        raise NotImplementedError("override the fixture `search`")

    def _run(self, search: AnySearch, seed: int, lanes: int) -> Tree:
        driver = RandomDriver(search, seed=seed, lanes=lanes, late=bool(seed % 2))
        return driver.run(self.limit).tree

    def test_it_begins_with_a_move_that_has_no_parents(self, search: AnySearch) -> None:
        """There is nothing to build on yet."""
        drive = RandomDriver(search)
        first = search.ask(drive.state, drive.tree)
        assert isinstance(first, Move)
        assert not first.parents

    def test_it_ends(self, search: AnySearch) -> None:
        """It stops, whatever came of its attempts and in whatever order."""
        for seed in self.seeds:
            drive = RandomDriver(search, seed=seed).run(self.limit)
            assert isinstance(search.ask(drive.state, drive.tree), Stop)

    def test_it_does_not_wait_for_nothing(self, search: AnySearch) -> None:
        """A Wait means that something is in flight."""
        for seed in self.seeds:
            drive = RandomDriver(search, seed=seed)
            for proposal in drive.steps(self.limit):
                assert drive.in_flight or drive.unjudged or not isinstance(proposal, Wait)

    def test_moves_build_on_attempts_that_have_ended(self, search: AnySearch) -> None:
        """Parents are in the tree, and a move asks for at least one attempt."""
        for seed in self.seeds:
            drive = RandomDriver(search, seed=seed)
            for proposal in drive.steps(self.limit):
                if isinstance(proposal, Move):
                    assert proposal.samples >= 1
                    assert all(p in drive.tree and p not in drive.in_flight for p in proposal.parents)

    def test_only_what_came_to_something_is_built_on(self, search: AnySearch) -> None:
        """A failed attempt is no parent, and where a step ended the answer there is no next one."""
        for seed in self.seeds:
            tree = self._run(search, seed, self.lanes[seed % len(self.lanes)])
            for ask in tree.asks.values():
                for parent in [tree[name] for name in ask.parents if not ask.replaces]:
                    assert parent.status == "complete"
                    assert ask.kind != "step" or parent.kind == "step"

    def test_asking_changes_nothing(self, search: AnySearch) -> None:
        """Asked twice, it proposes the same and its state stays as it was."""
        for seed in self.seeds:
            drive = RandomDriver(search, seed=seed)
            for proposal in drive.steps(self.limit):
                before, length = copy.deepcopy(drive.state), len(drive.tree.log)
                assert search.ask(drive.state, drive.tree) == proposal
                assert drive.state == before
                assert len(drive.tree.log) == length

    def test_replaying_the_log_rebuilds_the_state(self, search: AnySearch) -> None:
        """What a crash leaves behind is enough to go on exactly as before."""
        for seed in self.seeds:
            drive = RandomDriver(search, seed=seed)
            for proposal in drive.steps(self.limit):
                state = search.start(drive.tree.task)
                for record in drive.folded:
                    state = search.fold(state, drive.tree, record)
                assert state == drive.state
                assert search.ask(state, drive.tree) == proposal

    def test_the_log_alone_rebuilds_the_state(self, search: AnySearch) -> None:
        """A loop folds attempts when they have been judged; a replay folds them where the log has them."""
        for seed in self.seeds:
            drive = RandomDriver(search, seed=seed, lanes=self.lanes[seed % len(self.lanes)], late=True)
            for proposal in drive.steps(self.limit):
                folded = {(type(record), _subject(record)) for record in drive.folded}
                state = search.start(drive.tree.task)
                for record in drive.tree.log:
                    if isinstance(record, Ask | Attempt) and (type(record), _subject(record)) in folded:
                        state = search.fold(state, drive.tree, record)
                assert state == drive.state
                assert search.ask(state, drive.tree) == proposal

    def test_it_keeps_to_its_budget(self, search: AnySearch) -> None:
        """However many lanes there are, and whatever fails, it asks for no more attempts than it may."""
        for seed in self.seeds:
            for lanes in self.lanes:
                made = len(self._run(search, seed, lanes).asks)
                assert self.budget is None or made <= self.budget

    def test_siblings_may_end_in_any_order(self, search: AnySearch) -> None:
        """Which of several samples of one parent ends first makes no difference."""
        for seed in self.seeds:
            drive = RandomDriver(search, seed=seed, lanes=4)
            for _ in drive.steps(self.limit):
                asks, flying = drive.tree.asks, drive.in_flight
                siblings = [i for i in flying if asks[i].parents == asks[flying[0]].parents]
                if len(siblings) < 2:
                    continue
                other = drive.copy()
                for attempt_id in siblings:
                    other.attempt(attempt_id)
                    other.evaluate(attempt_id)
                states: list[Any] = []
                for order in (siblings, siblings[::-1]):
                    state = copy.deepcopy(other.state)
                    for attempt_id in order:
                        state = search.fold(state, other.tree, other.tree[attempt_id])
                    states.append(state)
                assert states[0] == states[1]
                assert search.ask(states[0], other.tree) == search.ask(states[1], other.tree)

    def test_an_unknown_attempt_is_refused(self, search: AnySearch) -> None:
        """A record of another tree raises; it is never passed over."""
        drive = RandomDriver(search).run(self.limit)
        with pytest.raises(SearchError, match=r"elsewhere\.1"):
            search.fold(drive.state, drive.tree, Attempt(id="elsewhere.1"))
        with pytest.raises(SearchError, match=r"elsewhere\.1"):
            search.fold(drive.state, drive.tree, Ask(attempt="elsewhere.1"))
