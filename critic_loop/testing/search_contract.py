"""What every search promises, as tests that anyone can run over their own.

    class TestMySearch(SearchContract):
        @pytest.fixture
        def search(self):
            return MySearch(rounds=5)   # settings under which it ends by itself

Knows the `Search` protocol, and plays the loop: it asks, lets attempts end in a random order with
random outcomes, and tells the search of each once all feedback on it is in the tree. Does not know any
search. Needs pytest.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from critic_loop.core.errors import SearchError
from critic_loop.core.messages import assistant, user
from critic_loop.core.protocols import AnySearch, Move, Stop, Wait
from critic_loop.core.records import (
    UNFINISHED,
    Ask,
    Attempt,
    ContextSpec,
    Feedback,
    Head,
    Sampling,
    Subject,
    Task,
    Verdict,
)
from critic_loop.core.tree import Tree


@dataclass
class Drive:
    """A search at work on a tree of its own; the same seed gives the same outcomes and order."""

    search: AnySearch
    seed: int
    lanes: int = 3
    late: bool = False
    """Whether attempts are judged, and the search told of them, some time after they ended."""
    tree: Tree = field(init=False)
    state: Any = field(init=False)
    told: list[Ask | Attempt] = field(default_factory=list[Ask | Attempt])
    """What the search has been told of, in this order."""
    flying: list[str] = field(default_factory=list[str])
    """Attempts asked for and not ended."""
    unjudged: list[str] = field(default_factory=list[str])
    """Attempts ended and not judged."""

    def __post_init__(self) -> None:
        """Begin a tree."""
        task = Task(prompt=(user("Name a prime."),))
        head = Head(
            tree=f"drive-{self.seed}", task=task, recipe="", recipe_digest="", key="key", created_at=0.0
        )
        self.tree, self.state = Tree(head), self.search.start(task)
        self._random = random.Random(self.seed)

    def steps(self, limit: int = 200) -> Iterator[Move | Wait | Stop]:
        """Yield what the search says, then act on it, until it stops with nothing in flight.

        Raises:
            AssertionError: it made more than `limit` attempts.
        """
        while True:
            said = self.search.ask(self.state, self.tree)
            yield said
            idle = isinstance(said, Move) and len(self.flying) < self.lanes and self._random.random() < 0.7
            if isinstance(said, Move) and (idle or not (self.flying or self.unjudged)):
                self.begin(said)
                assert len(self.tree.asks) <= limit, f"no Stop within {limit} attempts"
            elif self.unjudged and (not self.flying or self._random.random() < 0.5):
                self.say(attempt := self.unjudged[self._random.randrange(len(self.unjudged))])
                self.tell(self.tree[attempt])
            elif self.flying:
                self.end(self.flying[self._random.randrange(len(self.flying))])
            else:
                return

    def run(self, limit: int = 200) -> Drive:
        """Run to the end; return this."""
        for _ in self.steps(limit):
            pass
        return self

    def begin(self, move: Move) -> None:
        """Ask for the attempts of a move."""
        for _ in range(move.samples):
            ask = Ask(
                attempt=self.tree.next_attempt_id(),
                parents=move.parents,
                kind=move.kind,
                agent=move.agent,
                sampling=move.sampling or Sampling(),
                context=ContextSpec(attempts=move.parents, also_shown=move.shows),
                replaces=move.replaces,
            )
            self.tree.append(ask)
            self.tell(ask)
            self.flying.append(ask.attempt)

    def end(self, attempt_id: str) -> None:
        """Let an attempt end; unless it is judged later on, let it be judged and the search be told."""
        self.write(attempt_id)
        if not self.late:
            self.say(attempt_id)
            self.tell(self.tree[attempt_id])

    def judge(self, attempt_id: str) -> None:
        """Write an attempt and the feedback on it."""
        self.write(attempt_id)
        self.say(attempt_id)

    def write(self, attempt_id: str) -> None:
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
        self.tree.append(
            Attempt(
                id=attempt_id, parents=ask.parents, kind=kind, replaces=ask.replaces,
                status=status, answer=answer, messages=() if failed else (said,),
            )
        )  # fmt: skip
        self.flying.remove(attempt_id)
        self.unjudged.append(attempt_id)

    def say(self, attempt_id: str) -> None:
        """Write the feedback on an attempt; it follows from seed and id alone."""
        chance = random.Random(f"{self.seed}/{attempt_id}/said")
        traits = random.Random(f"{self.seed}/{attempt_id}/traits")
        self.unjudged.remove(attempt_id)
        for author in () if self.tree[attempt_id].status == "failed" else ("a", "b"):
            verdict = chance.choice([Verdict.PASS, Verdict.FAIL, Verdict.ABSTAIN, None])
            score = None if verdict is Verdict.ABSTAIN else round(chance.random(), 2)
            self.tree.append(
                Feedback(
                    id=self.tree.next_feedback_id(), subject=Subject.of(attempt_id), author=author,
                    verdict=verdict, score=score,
                    data={"size": traits.random(), "colour": traits.choice(["red", "green", "blue"])},
                )
            )  # fmt: skip

    def tell(self, record: Ask | Attempt) -> None:
        """Fold a record into the search's state."""
        self.told.append(record)
        self.state = self.search.fold(self.state, self.tree, record)


def _subject(record: Ask | Attempt) -> str:
    return record.attempt if isinstance(record, Ask) else record.id


class SearchContract:
    """Override `search`; its states are compared with `==`."""

    seeds = range(12)
    limit = 200
    """Attempts within which it must stop."""
    budget: int | None = None
    """Attempts that it may ask for at most, where its settings say so."""
    lanes = (1, 2, 8)

    @pytest.fixture
    def search(self) -> AnySearch:
        """Return the search, with settings under which it ends by itself."""
        raise NotImplementedError("override the fixture `search`")

    def test_it_begins_with_a_move_that_has_no_parents(self, search: AnySearch) -> None:
        """There is nothing to build on yet."""
        drive = Drive(search, 0)
        first = search.ask(drive.state, drive.tree)
        assert isinstance(first, Move)
        assert not first.parents

    def test_it_ends(self, search: AnySearch) -> None:
        """It stops, whatever came of its attempts and in whatever order."""
        for seed in self.seeds:
            drive = Drive(search, seed).run(self.limit)
            assert isinstance(search.ask(drive.state, drive.tree), Stop)

    def test_it_does_not_wait_for_nothing(self, search: AnySearch) -> None:
        """A Wait means that something is in flight."""
        for seed in self.seeds:
            drive = Drive(search, seed)
            for said in drive.steps(self.limit):
                assert drive.flying or drive.unjudged or not isinstance(said, Wait)

    def test_moves_build_on_attempts_that_have_ended(self, search: AnySearch) -> None:
        """Parents are in the tree, and a move asks for at least one attempt."""
        for seed in self.seeds:
            drive = Drive(search, seed)
            for said in drive.steps(self.limit):
                if isinstance(said, Move):
                    assert said.samples >= 1
                    assert all(p in drive.tree and p not in drive.flying for p in said.parents)

    def test_only_what_came_to_something_is_built_on(self, search: AnySearch) -> None:
        """A failed attempt is no parent, and where a step ended the answer there is no next one."""
        for seed in self.seeds:
            tree = (
                Drive(search, seed, self.lanes[seed % len(self.lanes)], late=bool(seed % 2))
                .run(self.limit)
                .tree
            )
            for ask in tree.asks.values():
                for parent in [tree[name] for name in ask.parents if not ask.replaces]:
                    assert parent.status == "complete"
                    assert ask.kind != "step" or parent.kind == "step"

    def test_asking_changes_nothing(self, search: AnySearch) -> None:
        """Asked twice, it says the same and its state stays as it was."""
        for seed in self.seeds:
            drive = Drive(search, seed)
            for said in drive.steps(self.limit):
                before, length = copy.deepcopy(drive.state), len(drive.tree.log)
                assert search.ask(drive.state, drive.tree) == said
                assert drive.state == before
                assert len(drive.tree.log) == length

    def test_replaying_the_log_rebuilds_the_state(self, search: AnySearch) -> None:
        """What a crash leaves behind is enough to go on exactly as before."""
        for seed in self.seeds:
            drive = Drive(search, seed)
            for said in drive.steps(self.limit):
                state = search.start(drive.tree.task)
                for record in drive.told:
                    state = search.fold(state, drive.tree, record)
                assert state == drive.state
                assert search.ask(state, drive.tree) == said

    def test_the_log_alone_rebuilds_the_state(self, search: AnySearch) -> None:
        """Live, attempts are told when they have been judged; a replay tells them where the log has them."""
        for seed in self.seeds:
            drive = Drive(search, seed, self.lanes[seed % len(self.lanes)], late=True)
            for said in drive.steps(self.limit):
                told = {(type(record), _subject(record)) for record in drive.told}
                state = search.start(drive.tree.task)
                for record in drive.tree.log:
                    if isinstance(record, Ask | Attempt) and (type(record), _subject(record)) in told:
                        state = search.fold(state, drive.tree, record)
                assert state == drive.state
                assert search.ask(state, drive.tree) == said

    def test_it_keeps_to_its_budget(self, search: AnySearch) -> None:
        """However many lanes there are, and whatever fails, it asks for no more attempts than it may."""
        for seed in self.seeds:
            for lanes in self.lanes:
                made = len(Drive(search, seed, lanes, late=bool(seed % 2)).run(self.limit).tree.asks)
                assert self.budget is None or made <= self.budget

    def test_siblings_may_end_in_any_order(self, search: AnySearch) -> None:
        """Which of several samples of one parent ends first makes no difference."""
        for seed in self.seeds:
            drive = Drive(search, seed, lanes=4)
            for _ in drive.steps(self.limit):
                other = copy.deepcopy(drive)
                siblings = [
                    i
                    for i in other.flying
                    if other.tree.asks[i].parents == other.tree.asks[other.flying[0]].parents
                ]
                if len(siblings) < 2:
                    continue
                for attempt_id in siblings:
                    other.judge(attempt_id)
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
        drive = Drive(search, 0).run(self.limit)
        with pytest.raises(SearchError, match=r"elsewhere\.1"):
            search.fold(drive.state, drive.tree, Attempt(id="elsewhere.1"))
        with pytest.raises(SearchError, match=r"elsewhere\.1"):
            search.fold(drive.state, drive.tree, Ask(attempt="elsewhere.1"))
