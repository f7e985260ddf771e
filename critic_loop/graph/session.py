"""One tree being written: what comes next, what is in flight, when to stop.

Knows search, stop rules and budget. Does not know LangGraph (`graph.graph`) nor how an attempt is made
(`nodes`). Everything here is derived from the tree: opening a stored tree again rebuilds it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from critic_loop.core.budget import Ledger
from critic_loop.core.errors import NotAwaited, SearchError
from critic_loop.core.progress import GOES_ON, Progress, StopReason
from critic_loop.core.protocols import AnySearch, Move, Pick, Select, Stop, Wait
from critic_loop.core.records import Ask, Attempt, Feedback, Outcome, Record, Reply, Sampling, Spend, Subject
from critic_loop.core.roles import Human, seed_of
from critic_loop.core.rules import Rule
from critic_loop.core.tree import Tree
from critic_loop.evidence import value_of
from critic_loop.graph.choice import choice_of
from critic_loop.nodes import stages
from critic_loop.nodes.context import RunContext
from critic_loop.nodes.slots import Change
from critic_loop.nodes.views import shown_to_actor
from critic_loop.search.base import require_move

Group = tuple[Ask, ...]


@dataclass(kw_only=True)
class Session:
    """A tree with the state that follows from its records."""

    run: RunContext
    search: AnySearch
    select: Select
    rule: Rule | None
    ledger: Ledger
    show: tuple[str, ...] = ()
    max_moves: int | None = None
    """Every move counts here, also one that a function makes without a model call."""
    lanes: int = 1
    now: Callable[[], float]
    stop: StopReason | None = None
    error: BaseException | None = None
    state: Any = None
    progress: Progress = field(init=False)
    todo: deque[Group] = field(default_factory=deque[Group])
    """Asks that an interrupted run left open; they are continued first, with their stored views."""
    busy: set[str] = field(default_factory=set[str])
    """Attempts that a lane works on."""
    folded: set[str] = field(default_factory=set[str])
    """Attempts that are folded into the search's state: settled, and all their feedback is in the tree."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    answering: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while an answer is read and written down, so that no other is taken for the same question."""
    event_loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    """In which its lanes run."""
    opened_at: float = field(init=False)
    moves: int = 0
    """Requests for attempts so far; several attempts of one request count once."""
    graded: Tree | None = None
    """The tree as it was opened, where it holds grades; then `run.tree` is the same without them."""
    _from: int = field(init=False)
    """How many records `run.tree` had when it was opened."""
    _ended: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Replay the tree into the search's state."""
        self.opened_at = self.now()
        self._from = len(self.tree.log)
        self.progress = Progress(self.tree)
        self.state = self.search.start(self.tree.task)
        outcome = self.tree.outcome
        if outcome is not None and outcome.stop not in GOES_ON:
            self.stop = StopReason(outcome.stop, outcome.stop_text)
        so_far = Tree(self.tree.head)
        for record in tuple(self.tree.log[1:]):
            so_far.append(record)
            self._replay(record, so_far)
        self._still_spent()
        groups: dict[str, list[Ask]] = {}
        for ask in self.tree.asks.values():
            self.moves += ask.group in (None, ask.attempt)
            if ask.attempt not in self.folded and not self._parked(ask.attempt):
                groups.setdefault(ask.group or ask.attempt, []).append(ask)
        self.todo.extend(tuple(group) for group in groups.values())

    @property
    def unfolded(self) -> tuple[str, ...]:
        """Attempts that are not folded yet: not settled, or with feedback missing."""
        return tuple(attempt for attempt in self.tree.asks if attempt not in self.folded)

    @property
    def tree(self) -> Tree:
        """The tree that is being written; without grades until the answer is chosen."""
        return self.graded if self._ended and self.graded is not None else self.run.tree

    # -- writing -------------------------------------------------------------------------------

    async def record(self, *records: Record, durable: bool = False) -> None:
        """Append records; if `durable`, return when they are on disk."""
        await self.run.journal.record(*records, durable=durable)

    def note(self, change: Change) -> None:
        """Record a change of bindings before the next record; may be called from any thread."""
        self.run.journal.note(change)

    async def on_disk(self) -> None:
        """Return when all records are on disk."""
        await self.run.journal.flush()

    @property
    def spent(self) -> StopReason | None:
        """Why a call was not made or not waited for; None if all were."""
        return self.run.caller.spent

    # -- asking --------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether a rule, the search or an error has ended the loop."""
        return self.stop is not None or self.error is not None

    async def next(self, lane: int) -> Group | None:
        """Return the next asks for a lane; wait for other lanes if the search waits. None = no more."""
        while not self.ended:
            if self.todo:
                return self._take(self.todo.popleft())
            move = require_move(self.search.ask(self.state, self.tree), self.search)
            match move:
                case Move():
                    return await self._begin(move, lane)
                case Stop():
                    if not self.busy and not self.parked():
                        self._halt(StopReason(move.reason, move.text))
                    return None
                case Wait():
                    if not self.busy:
                        return self._nothing_in_flight()
                    await self._wait()
        return None

    def _nothing_in_flight(self) -> None:
        if self.parked():
            return
        raise SearchError(
            f"tree {self.tree.id!r}: the search waits, but nothing is in flight.",
            hint="A search returns Wait only while an attempt that it asked for is open.",
        )

    async def _begin(self, move: Move, lane: int) -> Group | None:
        if not self._can_spend():
            self._halt(StopReason("budget", "the budget has no call left"))
            return None
        asks = self._take(self._asks(move, lane))
        self.moves += 1
        await self.run.journal.begin(*asks, fold=self._fold_ask)
        return asks

    def _fold_ask(self, ask: Ask) -> None:
        self.state = self.search.fold(self.state, self.tree, ask)

    def _asks(self, move: Move, lane: int) -> Group:
        for named in (*move.parents, *move.shows):
            if named not in self.tree:
                raise SearchError(f"tree {self.tree.id!r}: the search names unknown attempt {named!r}.")
        agent = self._agent(move)
        first = len(self.tree.asks) + 1
        ids = [f"{self.tree.id}.{first + k}" for k in range(move.samples)]
        view = shown_to_actor(self.tree, move, self.run.memory, self.show)
        return tuple(
            Ask(
                attempt=attempt_id,
                parents=move.parents,
                kind=move.kind,
                agent=agent,
                seed=seed_of(self.tree.head.seed, self.tree.task.id, first + k),
                sampling=move.sampling or Sampling(),
                context=view,
                replaces=move.replaces,
                group=ids[0] if move.samples > 1 else None,
                lane=lane,
            )
            for k, attempt_id in enumerate(ids)
        )

    def _agent(self, move: Move) -> str:
        if move.agent in ("actor", self.run.actor.name):
            return self.run.actor.name
        if move.agent not in self.run.actors:
            known = ", ".join(["actor", *sorted(self.run.actors)])
            raise SearchError(
                f"tree {self.tree.id!r}: the search asks for actor {move.agent!r}; the recipe has {known}.",
                hint="Add it to the recipe's key 'actors'.",
            )
        return move.agent

    def _can_spend(self) -> bool:
        if self.max_moves is not None and self.moves >= self.max_moves:
            return False
        lease = self.ledger.reserve()
        if lease is not None:
            self.ledger.settle(lease, calls=0, tokens=0)
        return lease is not None

    def put_back(self, group: Group) -> None:
        """Take back the asks of a lane that ends before they are done; the next lane continues them."""
        self.busy.difference_update(ask.attempt for ask in group)
        self.todo.appendleft(group)

    def idle(self) -> bool:
        """Whether only people's answers could bring the tree further."""
        if self.todo or self.busy or not self.parked():
            return False
        return not isinstance(self.search.ask(self.state, self.tree), Move)

    def _take(self, group: Group) -> Group:
        self.busy.update(ask.attempt for ask in group)
        return group

    async def _wait(self) -> None:
        self.changed.clear()
        await self.changed.wait()

    # -- telling -------------------------------------------------------------------------------

    def settle(self, group: Group) -> None:
        """Take note that a lane is done with `group`: update search and stop rule, wake other lanes."""
        for ask in group:
            self.busy.discard(ask.attempt)
            if ask.attempt in self.tree and self.judged(ask.attempt):
                self._fold_attempt(self.tree[ask.attempt])
        if self.spent is not None:
            self._halt(self.spent)
        self.changed.set()

    def judged(self, attempt_id: str) -> bool:
        """Whether an attempt is settled and all feedback of its loop's roles is in the tree."""
        attempt = self.tree[attempt_id]
        if not attempt.settled:
            return False
        return bool(attempt.error_code) or not stages.missing(self.run, attempt_id)

    def _fold_attempt(self, attempt: Attempt, spend: Spend | None = None) -> None:
        if attempt.id in self.folded:
            return
        self.folded.add(attempt.id)
        self.run.journal.slots.settled(attempt.id)
        self.run.open_parts.leave(self.tree.id, attempt.id)
        self.state = self.search.fold(self.state, self.tree, attempt)
        self.progress.observe(attempt.id, spend or self.spend(), value_of(self.tree, attempt.id))
        if self.stop is None and self.rule is not None:
            reason = self.rule(self.progress)
            if reason is not None:
                self._halt(reason)

    def _halt(self, reason: StopReason) -> None:
        if self.stop is None:
            self.stop = reason
        self.changed.set()

    def halt(self, reason: StopReason) -> None:
        """Stop because the host's step limit is reached."""
        self._halt(reason)

    def interrupt(self, reason: StopReason) -> None:
        """Stop from outside as soon as the calls in flight have settled; no other is sent. From any thread."""
        self.run.caller.halted = reason
        if self.stop is None:
            self.stop = reason
        with suppress(RuntimeError):  # its event loop was closed: no lane waits any more
            self.event_loop.call_soon_threadsafe(self.changed.set)

    def fail(self, error: BaseException) -> None:
        """Remember the first error that must end the run once all lanes have settled."""
        self.error = self.error or error
        self.changed.set()

    def _replay(self, record: object, so_far: Tree) -> None:
        """Update the state for a stored record as when it was written; `so_far` ends with it."""
        match record:
            case Ask():
                self.state = self.search.fold(self.state, self.tree, record)
            case Reply():
                self.run.journal.bill(record)
            case Attempt() if record.settled and self.judged(record.id):
                self._fold_attempt(self.tree[record.id], self._priced(so_far.spend()))
            case Feedback() if record.subject is not None:
                for attempt_id in record.subject.attempts:
                    if attempt_id in so_far and so_far[attempt_id].settled and self.judged(attempt_id):
                        self._fold_attempt(self.tree[attempt_id], self._priced(so_far.spend()))
            case Outcome() if record.stop in GOES_ON:
                # A rule may have fired on an attempt that settled after an interrupt: that end is final.
                if self.stop is not None and self.stop.name in GOES_ON:
                    self.stop = None
                self.progress.failures_in_a_row = 0
            case _:
                pass

    def _still_spent(self) -> None:
        """Stop at once if the limit on spending is reached by what was spent before."""
        if self.stop is None and self.rule is not None and self.folded:
            self.progress.spend = self.spend()
            reason = self.rule(self.progress)
            if reason is not None and reason.name == "spent":
                self.stop = reason

    # -- people --------------------------------------------------------------------------------

    def _parked(self, attempt_id: str) -> bool:
        known = self.tree.attempts.get(attempt_id)
        if known is None or known.status != "parked" or stages.missing(self.run, attempt_id):
            return False
        return bool(stages.awaited(self.run, attempt_id))

    def parked(self) -> list[str]:
        """Return the attempts that wait for a person."""
        return [i for i in self.tree.open if self._parked(i)]

    def person(self, attempt_id: str, author: str) -> Human:
        """Return whose answer about an attempt this is: its author's, else that of the first who is awaited.

        Raises:
            NotAwaited: its author is one of the loop's people and has answered, but others have not.
        """
        people = stages.awaited(self.run, attempt_id)
        named = [human for human in self.run.humans if human.name == author]
        if named and people and named[0] not in people:
            raise NotAwaited(
                f"{author!r} has answered about attempt {attempt_id!r} already.",
                hint=f"It waits for {', '.join(human.name for human in people)}.",
            )
        return (*named, *people, *self.run.humans)[0]

    async def respond(self, attempt_id: str, feedback: Feedback, human: Human) -> None:
        """Add a person's answer to an attempt; one that waited for nothing else goes on."""
        subject = Subject.of(attempt_id)
        await stages.add(self.run, [feedback], subject, "human", human.name, requested_because=human.when)
        await stages.release(self.run, attempt_id)
        group = (self.tree.asks[attempt_id],)
        self.settle(group)
        if attempt_id not in self.folded and not self._parked(attempt_id):
            self.todo.append(group)

    # -- ending --------------------------------------------------------------------------------

    async def choose(self) -> Outcome:
        """Let the selection choose, with the judge's help where it asks for it, and write the outcome."""
        outcome = await self._choose()
        if self.graded is not None and not self._ended:
            for record in self.tree.log[self._from :]:
                self.graded.append(record)
        self._ended = True
        return outcome

    async def _choose(self) -> Outcome:
        known = self.tree.outcome
        if known is not None and known.stop not in GOES_ON and not self.busy:
            return known
        pick, cut_short = await choice_of(self.run, self.select)
        if cut_short:
            self.stop = self.spent
        outcome = self._outcome(pick)
        await self.record(outcome, durable=True)
        return outcome

    def _outcome(self, pick: Pick) -> Outcome:
        stop = self.stop or StopReason("parked" if self.parked() else "exhausted")
        return Outcome(
            chosen=pick.attempt,
            decided_by=pick.decided_by,
            select=getattr(self.select, "__name__", type(self.select).__name__),
            stop=stop.name,
            stop_text=stop.text,
            spend=self.spend(),
        )

    def spend(self) -> Spend:
        """Return calls, tokens and time so far."""
        elapsed_s = round(self.now() - self.opened_at, 3)
        return self._priced(self.tree.spend()).model_copy(update={"elapsed_s": elapsed_s})

    def _priced(self, spend: Spend) -> Spend:
        return spend.model_copy(update={"cost_usd": self.run.journal.cost_usd})
