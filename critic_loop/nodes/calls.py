"""The one way from a node to a model: looked up, budgeted, written down, sent, written down.

A call stands at a place. If the tree holds an answered call of the same place and digest, its answer
is used and nothing is sent. Otherwise the call is on disk before it leaves, and its reply before anything
that rests on it leaves: a further call, a tool, a question to a person, the result. So a crash loses
calls in flight and nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

from pydantic_core import to_json

from critic_loop.core.budget import Lease, Ledger
from critic_loop.core.errors import (
    CriticLoopError,
    DeadlineExceeded,
    ModelError,
    NotSent,
    OutputError,
    boundary,
)
from critic_loop.core.messages import Text
from critic_loop.core.protocols import Completion, Delta, Request, Store
from critic_loop.core.records import NOT_SENT, Ask, Call, CallStatus, Event, Place, Record, Reply
from critic_loop.core.stop import StopReason
from critic_loop.core.tree import Tree
from critic_loop.nodes.replay import GIVEN, Replay, completion_of, raised_again
from critic_loop.nodes.slots import Bound, Change, Slots, Way
from critic_loop.nodes.streak import Streak


class BudgetSpent(CriticLoopError):
    """No call is left, or no time. A stop reason, not a failure: what was not asked stays open.

    Raise `max_calls`, or allow more time, and run the tree again: it goes on where it stopped.
    """

    code = "budget"
    scope = "tree"


@dataclass(kw_only=True)
class Calls:
    """Records and model calls of one tree."""

    tree: Tree
    store: Store
    slots: Slots
    ledger: Ledger
    now: Callable[[], float] = time.time
    notify: Callable[[Record | Delta], None] = field(default=lambda _: None)
    """Told of every record: what `Loop.stream` listens to."""
    replay: Replay | None = None
    """A stored tree that answers instead of models."""
    price: Callable[[Call, Reply], float | None] = field(default=lambda call, reply: None)  # noqa: ARG005
    """What a call cost in US dollars; None where nobody knows."""
    cost_usd: float | None = None
    """Of all calls so far; None as soon as nobody knows what one of them cost."""
    deltas: bool = False
    """Whether to ask models to stream, and to tell of each delta of text as it comes."""
    halted: StopReason | None = None
    """Why no call may be sent any more, though those in flight are waited for."""
    spent: StopReason | None = None
    """Why a call was not made or not waited for: no call left, or no time."""
    streak: Streak | None = None
    """Of calls that fail alike, in all trees of a job."""
    deadline_at: float | None = None
    """When the loop's time is up (seconds since the epoch); calls get no longer than that."""
    _noted: deque[Event] = field(default_factory=deque[Event], init=False)
    _billed: bool = field(default=False, init=False)

    async def record(self, *records: Record, durable: bool = False) -> None:
        """Append what was noted, then `records`, to the tree and to the store, in this order."""
        noted = self._taken()
        for record in (*noted, *records):
            self.tree.append(record)
            self.notify(record)
            if record.type == "reply":
                self.bill(record)
        if noted or records or durable:
            await self.store.append(self.tree.id, *noted, *records, durable=durable)

    async def begin(self, *asks: Ask, fold: Callable[[Ask], None]) -> None:
        """Announce attempts and append their asks: behind the swaps that they began after, before all others.

        Args:
            asks: what was decided.
            fold: called with each as soon as it stands in the tree.
        """
        noted: list[Event] = []
        self.slots.begin(*(ask.attempt for ask in asks), then=lambda: noted.extend(self._taken()))
        for event in noted:
            self.tree.append(event)
        for ask in asks:
            self.tree.append(ask)
            fold(ask)
        await self.store.append(self.tree.id, *noted, *asks, durable=False)
        for record in (*noted, *asks):
            self.notify(record)

    def _taken(self) -> list[Event]:
        return [self._noted.popleft() for _ in range(len(self._noted))]

    def bill(self, reply: Reply) -> None:
        """Add what a call cost to what was spent."""
        cost = self.price(self.tree.calls[reply.call], reply)
        known = self.cost_usd if self._billed else 0.0
        self.cost_usd = None if cost is None or known is None else known + cost
        self._billed = True

    def note(self, change: Change) -> None:
        """Write a change down before the next record; may be called from any thread."""
        self._noted.append(_event(change, self.now()))

    async def complete(
        self, place: Place, slot: str, request: Request, *, template: str = ""
    ) -> tuple[str, Completion]:
        """Return the id of the call that answered `request` at `place`, and the answer.

        Where the slot is bound to a chain, a model that fails is followed by the next, each with a call of
        its own; the error of the last one asked stands.

        Raises:
            BudgetSpent: no call is left.
            ModelError: the model failed; the failure is recorded.
            SameError: it did so once too often.
        """
        digest = request_digest(request)
        settled = self._settled(place, digest)
        if settled is not None:
            return settled
        if self.replay is not None:
            return await self._replayed(self.replay, place, digest, request)
        async with self.slots.lease(slot, tree=self.tree.id, attempt=place.subject[0]) as bound:
            sent = 0 if self.streak is None else self.streak.sent()
            while True:
                try:
                    call = self._call(place, digest, request, template, slot, bound)
                    completion = await self._ask(call, request, bound.way)
                except CriticLoopError as error:
                    change = bound.way.failed(error)
                    if change is None:
                        self._count(error, sent)
                        raise
                    self.note(change)  # no await between two legs: the next may be on trial, and must hear
                except BaseException:
                    bound.way.left()
                    raise
                else:
                    bound.way.answered()
                    if self.streak is not None:
                        self.streak.answered()
                    return call.id, completion

    def _count(self, error: CriticLoopError, sent: int) -> None:
        if self.streak is not None and error.scope == "attempt" and not isinstance(error, NotSent):
            self.streak.failed(error, sent)

    async def _replayed(
        self, replay: Replay, place: Place, digest: str, request: Request
    ) -> tuple[str, Completion]:
        """Answer a call from a stored tree, within the budget, and write it down as if it were made now."""
        lease = self._reserved()
        stored, reply = replay.answer(place, digest, request)
        call_id = f"{self.tree.id}.c{len(self.tree.calls) + 1}"
        call = stored.model_copy(
            update={"id": call_id, "place": place, "digest": digest, "sent_at": self._at()}
        )
        reply = reply.model_copy(update={"call": call.id, "ended_at": self._at()})
        self.ledger.settle(
            lease, calls=reply.sends, tokens=reply.usage.input_tokens + reply.usage.output_tokens
        )
        await self.record(call, reply)
        if reply.status != "ok":
            raise raised_again(reply)
        return call.id, completion_of(reply)

    def _reserved(self) -> Lease:
        """Set one call aside.

        Raises:
            BudgetSpent: no call is left, or none is to be made any more.
        """
        if self.halted is not None:
            raise self._no_further_call(self.halted)
        lease = self.ledger.reserve()
        if lease is None:
            self.spent = StopReason("budget", "the budget has no call left")
            raise BudgetSpent("the budget has no call left.", hint="Raise max_calls to go on.")
        return lease

    async def _ask(self, call: Call, request: Request, way: Way) -> Completion:
        """Send one call to one model, within the budget."""
        lease = self._reserved()
        if self._late():
            self.ledger.settle(lease, calls=0, tokens=0)
            raise self._time_is_up()
        sent, tokens = 0, 0
        retries: list[Lease] = []

        def may_retry() -> bool:
            return self._may_retry(retries)

        try:
            await self.record(call, durable=True)
            sent = 1
            asked = replace(request, may_retry=may_retry, may_send=self._may_send, retries=way.retries)
            completion = await self._send(call, asked, way, retries)
        except NotSent as error:
            sent = self._taken_back(retries)
            raise (error if self.halted is None else self._no_further_call(self.halted)) from None
        else:
            tokens = completion.usage.input_tokens + completion.usage.output_tokens
            return completion
        finally:
            self.ledger.settle(lease, calls=sent, tokens=tokens)

    def _may_send(self) -> bool:
        return self.halted is None

    def _may_retry(self, retries: list[Lease]) -> bool:
        lease = self.ledger.reserve() if self._may_send() else None
        if lease is not None:
            retries.append(lease)
        return lease is not None

    def _taken_back(self, retries: list[Lease]) -> int:
        """Give back the attempt that was not sent; return 1 if there was one before it."""
        if not retries:
            return 0
        self.ledger.settle(retries.pop(), calls=0, tokens=0)
        return 1

    def _settled(self, place: Place, digest: str) -> tuple[str, Completion] | None:
        for call in reversed(self.tree.calls_at(place)):
            reply = self.tree.replies.get(call.id)
            if reply is not None and reply.status == "ok" and call.digest == digest:
                return call.id, completion_of(reply)
        return None

    def _call(
        self, place: Place, digest: str, request: Request, template: str, slot: str, bound: Bound
    ) -> Call:
        return Call(
            id=f"{self.tree.id}.c{len(self.tree.calls) + 1}",
            place=place,
            digest=digest,
            request=request.messages,
            template=template,
            tools=to_json([asdict(t) for t in request.tools]).decode() if request.tools else "",
            output_schema=request.output.name if request.output else "",
            binding=bound.way.model.spec,
            revision=bound.revision,
            slot=slot,
            sampling=request.sampling,
            choices=request.choices,
            score=request.score,
            sent_at=self._at(),
        )

    async def _send(self, call: Call, request: Request, way: Way, retries: Sequence[Lease]) -> Completion:
        completion: Completion | None = None
        try:
            with boundary(ModelError, f"model {call.binding!r}"):
                completion = await way.model.complete(self._within_deadline(self._heard(call, request)))
            if len(completion.choices) != request.choices:
                raise ModelError(
                    f"model {call.binding!r} gave {len(completion.choices)} choices, not {request.choices}."
                )
            if way.rejects and request.accept is not None and (reason := request.accept(completion)):
                raise OutputError(f"model {call.binding!r} gave an answer that cannot be used: {reason}")
        except asyncio.CancelledError:
            await self.record(self._ended(call, "cancelled", retries))
            raise
        except NotSent as error:
            code = "" if retries else NOT_SENT
            unsent = Reply(call=call.id, status="cancelled", sends=max(1, len(retries)), ended_at=self._at())
            await self.record(unsent.model_copy(update={"error": str(error), "error_code": code}))
            raise
        except CriticLoopError as error:
            reply = self._ended(call, "error", retries, completion)
            await self.record(reply.model_copy(update={"error": str(error), "error_code": error.code}))
            if isinstance(error, DeadlineExceeded) and self._late():
                raise self._time_is_up() from error
            if (
                self.halted is not None and error.scope == "attempt"
            ):  # not tried again: what was asked stays open
                raise self._no_further_call(self.halted) from error
            raise
        await self.record(self._ended(call, "ok", retries, completion))
        return completion

    def _heard(self, call: Call, request: Request) -> Request:
        if not self.deltas:
            return request

        def heard(text: str) -> None:
            self.notify(Delta(call.id, text))

        return replace(request, on_text=heard)

    async def on_disk(self) -> None:
        """Return when all that was recorded is on disk: before a tool acts or a person is asked."""
        await self.store.append(self.tree.id, durable=True)

    def _late(self) -> bool:
        return self.deadline_at is not None and self.now() >= self.deadline_at

    def _no_further_call(self, reason: StopReason) -> BudgetSpent:
        self.spent = reason
        return BudgetSpent(f"{reason.text}.", hint="Run the tree again to go on.")

    def _time_is_up(self) -> BudgetSpent:
        self.spent = StopReason("elapsed", "the time is up")
        return BudgetSpent("the time is up.", hint="Give Elapsed more seconds to go on.")

    def _within_deadline(self, request: Request) -> Request:
        left = None if self.deadline_at is None else max(0.001, self.deadline_at - self.now())
        timeouts = [t for t in (left, request.timeout_s) if t is not None]
        return replace(request, tree=self.tree.id, timeout_s=min(timeouts, default=None))

    def _ended(
        self, call: Call, status: CallStatus, retries: Sequence[Lease], completion: Completion | None = None
    ) -> Reply:
        given = {} if completion is None else {name: getattr(completion, name) for name in GIVEN}
        reply = Reply(call=call.id, status=status, sends=1 + len(retries), ended_at=self._at())
        return reply.model_copy(update=given)

    def _at(self) -> float:
        return round(self.now(), 3)


def request_digest(request: Request) -> str:
    """Return the hash of what is asked: messages, tools, schema, sampling; not of who is asked."""
    digest = hashlib.blake2b(digest_size=12)
    for message in request.messages:
        digest.update(message.role.encode())
        for part in message.parts:
            # Text is most of what is asked: hashing it as it is spares a JSON encoding of every prompt.
            content = part.text.encode() if isinstance(part, Text) else to_json(part)
            digest.update(b"\0%s %d\0" % (part.type.encode(), len(content)))
            digest.update(content)
    tools = [(t.name, t.description, t.parameters) for t in request.tools]
    schema = request.output.schema if request.output else None
    digest.update(to_json([tools, schema, request.sampling, request.choices]))
    if request.score:
        digest.update(to_json(request.score))
    return digest.hexdigest()


def _event(change: Change, at: float) -> Event:
    return Event(kind=change.kind, at=at, text=change.text, data=change.data)
