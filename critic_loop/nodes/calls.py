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
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

from pydantic_core import to_json

from critic_loop.core.budget import Lease, Ledger
from critic_loop.core.errors import CriticLoopError, DeadlineExceeded, ModelError, boundary
from critic_loop.core.messages import Text
from critic_loop.core.protocols import Completion, Model, NotSent, Piece, Request, Store
from critic_loop.core.records import NOT_SENT, Call, Place, Record, Reply
from critic_loop.core.stop import StopReason
from critic_loop.core.tree import Tree


class BudgetSpent(CriticLoopError):
    """No call is left, or no time. A stop reason, not a failure: what was not asked stays open.

    Raise `max_calls`, or allow more time, and run the tree again: it goes on where it stopped.
    """

    code = "budget"
    scope = "tree"


class Bound(Protocol):
    """What a slot is bound to at the moment."""

    @property
    def spec(self) -> str:
        """The spec as records name it."""
        ...

    @property
    def model(self) -> Model:
        """Who answers."""
        ...

    @property
    def revision(self) -> int:
        """How often the slot was bound anew."""
        ...


class Slots(Protocol):
    """The switchboard, as nodes know it."""

    def lease(self, slot: str, *, tree: str = "", attempt: str = "") -> AbstractAsyncContextManager[Bound]:
        """Hold the slot's binding for one call."""
        ...


@dataclass(kw_only=True)
class Calls:
    """Records and model calls of one tree."""

    tree: Tree
    store: Store
    slots: Slots
    ledger: Ledger
    now: Callable[[], float] = time.time
    notify: Callable[[Record | Piece], None] = field(default=lambda _: None)
    """Told of every record: what `Loop.stream` listens to."""
    pieces: bool = False
    """Whether to ask models to stream, and to tell of each piece of text as it comes."""
    halted: StopReason | None = None
    """Why no call may be sent any more, though those in flight are waited for."""
    spent: StopReason | None = None
    """Why a call was not made or not waited for: no call left, or no time."""
    deadline_at: float | None = None
    """When the loop's time is up (seconds since the epoch); calls get no longer than that."""

    async def record(self, *records: Record, durable: bool = False) -> None:
        """Append to the tree and to the store, in this order."""
        for record in records:
            self.tree.append(record)
            self.notify(record)
        await self.store.append(self.tree.id, *records, durable=durable)

    async def complete(
        self, place: Place, slot: str, request: Request, *, template: str = ""
    ) -> tuple[str, Completion]:
        """Return the id of the call that answered `request` at `place`, and the answer.

        Raises:
            BudgetSpent: no call is left.
            ModelError: the model failed; the failure is recorded.
        """
        digest = request_digest(request)
        settled = self._settled(place, digest)
        if settled is not None:
            return settled
        if self.halted is not None:
            raise self._no_further_call(self.halted)
        lease = self.ledger.reserve()
        if lease is None:
            self.spent = StopReason("budget", "the budget has no call left")
            raise BudgetSpent("the budget has no call left.", hint="Raise max_calls to go on.")
        if self._late():
            self.ledger.settle(lease, calls=0, tokens=0)
            raise self._time_is_up()
        sent, tokens = 0, 0
        retries: list[Lease] = []

        def may_retry() -> bool:
            return self._may_retry(retries)

        try:
            async with self.slots.lease(slot, tree=self.tree.id, attempt=place.subject[0]) as bound:
                call = self._call(place, digest, request, template, bound)
                await self.record(call, durable=True)
                sent = 1
                asked = replace(request, may_retry=may_retry, may_send=self._may_send)
                completion = await self._send(call, asked, bound.model, retries)
                tokens = completion.usage.input_tokens + completion.usage.output_tokens
                return call.id, completion
        except NotSent as error:
            sent = self._taken_back(retries)
            raise (error if self.halted is None else self._no_further_call(self.halted)) from None
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
                return call.id, _completion(reply)
        return None

    def _call(self, place: Place, digest: str, request: Request, template: str, bound: Bound) -> Call:
        return Call(
            id=f"{self.tree.id}.c{len(self.tree.calls) + 1}",
            place=place,
            digest=digest,
            request=request.messages,
            template=template,
            tools=to_json([asdict(t) for t in request.tools]).decode() if request.tools else "",
            output_schema=request.output.name if request.output else "",
            binding=bound.spec,
            revision=bound.revision,
            sampling=request.sampling,
            choices=request.choices,
            score=request.score,
            sent_at=round(self.now(), 3),
        )

    async def _send(self, call: Call, request: Request, model: Model, retries: Sequence[Lease]) -> Completion:
        try:
            with boundary(ModelError, f"model {call.binding!r}"):
                completion = await model.complete(self._within_deadline(self._heard(call, request)))
            if len(completion.choices) != request.choices:
                raise ModelError(
                    f"model {call.binding!r} gave {len(completion.choices)} choices, not {request.choices}."
                )
        except asyncio.CancelledError:
            await self.record(Reply(call=call.id, status="cancelled", ended_at=round(self.now(), 3)))
            raise
        except NotSent as error:
            code = "" if retries else NOT_SENT
            ended_at = round(self.now(), 3)
            await self.record(
                Reply(call=call.id, status="cancelled", error=str(error), error_code=code, ended_at=ended_at)
            )
            raise
        except CriticLoopError as error:
            await self.record(self._failure(call, error))
            if isinstance(error, DeadlineExceeded) and self._late():
                raise self._time_is_up() from error
            if (
                self.halted is not None and error.scope == "attempt"
            ):  # not tried again: what was asked stays open
                raise self._no_further_call(self.halted) from error
            raise
        await self.record(self._reply(call, completion))
        return completion

    def _heard(self, call: Call, request: Request) -> Request:
        if not self.pieces:
            return request

        def heard(text: str) -> None:
            self.notify(Piece(call.id, text))

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

    def _failure(self, call: Call, error: CriticLoopError) -> Reply:
        return Reply(
            call=call.id, status="error", error=str(error), error_code=error.code, ended_at=round(self.now(), 3)
        )

    def _reply(self, call: Call, completion: Completion) -> Reply:
        return Reply(
            call=call.id,
            status="ok",
            choices=completion.choices,
            usage=completion.usage,
            raw_usage=completion.raw_usage,
            model=completion.model,
            weight_version=completion.weight_version,
            request_id=completion.request_id,
            prompt_token_ids=completion.prompt_token_ids,
            ended_at=round(self.now(), 3),
        )


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


def _completion(reply: Reply) -> Completion:
    return Completion(
        choices=reply.choices,
        usage=reply.usage,
        raw_usage=reply.raw_usage,
        model=reply.model,
        weight_version=reply.weight_version,
        request_id=reply.request_id,
        prompt_token_ids=reply.prompt_token_ids,
    )
