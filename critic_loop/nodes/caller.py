"""Model calls: looked up in the tree, budgeted, recorded, sent, and their replies recorded.

Every call has a place. If the tree has an answered call with the same place and digest, its answer is used
and nothing is sent. Otherwise the call is on disk before it is sent, and its reply is on disk before anything
that depends on it happens: a further call, a tool, a question to a person, the result. So a crash loses
calls in flight and nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic_core import to_json

from critic_loop.core.budget import Lease, Ledger
from critic_loop.core.errors import (
    BudgetSpent,
    CriticLoopError,
    DeadlineExceeded,
    ModelError,
    NotSent,
    OutputError,
    boundary,
)
from critic_loop.core.messages import ContentPart, Text, ToolResult
from critic_loop.core.progress import StopReason
from critic_loop.core.protocols import Completion, Delta, Request
from critic_loop.core.records import DIGEST_VERSION, NOT_SENT, Call, CallStatus, Place, Reply
from critic_loop.core.tree import Tree
from critic_loop.nodes.journal import Journal
from critic_loop.nodes.replay import COMPLETION_FIELDS, Replay, completion_of, raised_again
from critic_loop.nodes.slots import FallbackCursor, SlotLease
from critic_loop.nodes.streak import Streak


@dataclass(kw_only=True)
class Caller:
    """The model calls of one tree."""

    journal: Journal
    ledger: Ledger
    replay: Replay | None = None
    """A stored tree that answers instead of models."""
    deltas: bool = False
    """Whether to ask models to stream, and to pass each delta of text on as it comes."""
    streak: Streak | None = None
    """Counts calls that fail in the same way, in all trees of a job."""
    deadline_at: float | None = None
    """When the loop's time is up, in seconds since the epoch; the timeout of every call ends by then."""
    clock: Callable[[], float] = time.monotonic
    """Seconds; for durations."""
    halted: StopReason | None = None
    """Why no call may be sent any more, though those in flight are waited for."""
    spent: StopReason | None = None
    """Why a call was not made or not waited for: no call left, or no time."""

    @property
    def tree(self) -> Tree:
        """The tree that is being written."""
        return self.journal.tree

    async def complete(
        self, place: Place, slot: str, request: Request, *, template: str = ""
    ) -> tuple[str, Completion]:
        """Return the id of the call that answered `request` at `place`, and the answer.

        If the slot is bound to a chain and a model fails, the next is called, each with a call of its own;
        the error of the last one is raised.

        Raises:
            BudgetSpent: no call is left.
            ModelError: the model failed; the failure is recorded.
            SameError: calls failed in the same way as often as ends the job.
        """
        digest = request_digest(request, self.tree.head.digest_version)
        settled = self._settled(place, digest)
        if settled is not None:
            return settled
        if self.replay is not None:
            return await self._replayed(self.replay, place, digest, request)
        async with self.journal.slots.lease(slot, tree=self.tree.id, attempt=place.subject[0]) as bound:
            sent = 0 if self.streak is None else self.streak.sent()
            while True:
                try:
                    call = self._call(place, digest, request, template, slot, bound)
                    completion = await self._ask(call, request, bound.cursor)
                except CriticLoopError as error:
                    change = bound.cursor.failed(error)
                    if change is None:
                        self._count(error, sent)
                        raise
                    self.journal.note(
                        change
                    )  # no await between two candidates: the next may be on trial, and is told of every outcome
                except BaseException:
                    bound.cursor.left()
                    raise
                else:
                    bound.cursor.answered()
                    if self.streak is not None:
                        self.streak.answered()
                    return call.id, completion

    def _count(self, error: CriticLoopError, sent: int) -> None:
        if self.streak is not None and error.scope == "attempt" and not isinstance(error, NotSent):
            self.streak.failed(error, sent)

    async def _replayed(
        self, replay: Replay, place: Place, digest: str, request: Request
    ) -> tuple[str, Completion]:
        """Answer a call from a stored tree, within the budget, and record it as if it were made now."""
        lease = self._reserved()
        stored, reply = replay.answer(place, digest, request)
        call_id = f"{self.tree.id}.c{len(self.tree.calls) + 1}"
        call = stored.model_copy(
            update={"id": call_id, "place": place, "digest": digest, "sent_at": self.journal.at()}
        )
        reply = reply.model_copy(update={"call": call.id, "ended_at": self.journal.at()})
        self.ledger.settle(
            lease, calls=reply.sends, tokens=reply.usage.input_tokens + reply.usage.output_tokens
        )
        await self.journal.record(call, reply)
        if reply.status != "ok":
            raise raised_again(reply)
        return call.id, completion_of(reply)

    def _reserved(self) -> Lease:
        """Reserve one call of the budget.

        Raises:
            BudgetSpent: no call is left, or the run is ending.
        """
        if self.halted is not None:
            raise self._no_further_call(self.halted)
        lease = self.ledger.reserve()
        if lease is None:
            self.spent = StopReason("budget", "the budget has no call left")
            raise BudgetSpent("the budget has no call left.", hint="Raise max_calls to go on.")
        return lease

    async def _ask(self, call: Call, request: Request, cursor: FallbackCursor) -> Completion:
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
            await self.journal.record(call, durable=True)
            sent = 1
            asked = replace(request, may_retry=may_retry, may_send=self._may_send, retries=cursor.retries)
            completion = await self._send(call, asked, cursor, retries)
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
        """Release the reservation of a send that did not happen; return the sends before it, 0 or 1."""
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
        self, place: Place, digest: str, request: Request, template: str, slot: str, bound: SlotLease
    ) -> Call:
        return Call(
            id=f"{self.tree.id}.c{len(self.tree.calls) + 1}",
            place=place,
            digest=digest,
            request=request.messages,
            template=template,
            tools=to_json([asdict(t) for t in request.tools]).decode() if request.tools else "",
            output_schema=request.output.name if request.output else "",
            binding=bound.cursor.model.spec,
            revision=bound.revision,
            slot=slot,
            sampling=request.sampling,
            choices=request.choices,
            score=request.score,
            sent_at=self.journal.at(),
        )

    async def _send(
        self, call: Call, request: Request, cursor: FallbackCursor, retries: Sequence[Lease]
    ) -> Completion:
        completion: Completion | None = None
        started = self.clock()

        def ended(status: CallStatus, error: CriticLoopError | None = None, **fields: Any) -> Reply:
            failed = {} if error is None else {"error": str(error), "error_code": error.code}
            given = (
                {} if completion is None else {name: getattr(completion, name) for name in COMPLETION_FIELDS}
            )
            reply = Reply(
                call=call.id,
                status=status,
                sends=1 + len(retries),
                duration_s=round(self.clock() - started, 3),
                ended_at=self.journal.at(),
            )
            return reply.model_copy(update={**given, **failed, **fields})

        try:
            with boundary(ModelError, f"model {call.binding!r}"):
                completion = await cursor.model.complete(self._within_deadline(self._streaming(call, request)))
            _require_usable(completion, call, request, cursor)
        except asyncio.CancelledError:
            await self.journal.record(ended("cancelled"))
            raise
        except NotSent as error:
            code = "" if retries else NOT_SENT
            await self.journal.record(
                ended("cancelled", error, error_code=code, sends=max(1, len(retries)), duration_s=None)
            )
            raise
        except CriticLoopError as error:
            await self.journal.record(ended("error", error))
            if isinstance(error, DeadlineExceeded) and self._late():
                raise self._time_is_up() from error
            if self.halted is not None and error.scope == "attempt":
                raise self._no_further_call(self.halted) from error  # not tried again: it stays open
            raise
        await self.journal.record(ended("ok"))
        return completion

    def _streaming(self, call: Call, request: Request) -> Request:
        if not self.deltas:
            return request

        def pass_on(text: str) -> None:
            self.journal.notify(Delta(call.id, text))

        return replace(request, on_text=pass_on)

    def _late(self) -> bool:
        return self.deadline_at is not None and self.journal.now() >= self.deadline_at

    def _no_further_call(self, reason: StopReason) -> BudgetSpent:
        self.spent = reason
        return BudgetSpent(f"{reason.text}.", hint="Run the tree again to go on.")

    def _time_is_up(self) -> BudgetSpent:
        self.spent = StopReason("elapsed", "the time is up")
        return BudgetSpent("the time is up.", hint="Give Elapsed more seconds to go on.")

    def _within_deadline(self, request: Request) -> Request:
        left = None if self.deadline_at is None else max(0.001, self.deadline_at - self.journal.now())
        timeouts = [t for t in (left, request.timeout_s) if t is not None]
        return replace(request, tree=self.tree.id, timeout_s=min(timeouts, default=None))


def _require_usable(completion: Completion, call: Call, request: Request, cursor: FallbackCursor) -> None:
    """Check that there are as many choices as requested, and usable ones if another model can be called.

    Raises:
        ModelError: there are more or fewer.
        OutputError: none can be used.
    """
    if len(completion.choices) != request.choices:
        raise ModelError(
            f"model {call.binding!r} gave {len(completion.choices)} choices, not {request.choices}."
        )
    if cursor.rejects and request.accept is not None and (reason := request.accept(completion)):
        raise OutputError(f"model {call.binding!r} gave an answer that cannot be used: {reason}")


def request_digest(request: Request, version: int = DIGEST_VERSION) -> str:
    """Return the hash of a request: messages, tools, schema, sampling; the model is no part of it.

    Args:
        request: the request.
        version: that of the tree (`Head.digest_version`): its stored calls were hashed by the same rules.

    Raises:
        KeyError: there is no such version; such a tree is not continued.
    """
    return _DIGESTS[version](request)


def _digest_1(request: Request) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for message in request.messages:
        digest.update(message.role.encode())
        for part in message.parts:
            # Most of a request is text: hashing it directly saves a JSON encoding of every prompt.
            content = part.text.encode() if isinstance(part, Text) else to_json(_asked(part))
            digest.update(b"\0%s %d\0" % (part.type.encode(), len(content)))
            digest.update(content)
    tools = [(t.name, t.description, t.parameters) for t in request.tools]
    schema = request.output.schema if request.output else None
    digest.update(to_json([tools, schema, request.sampling, request.choices]))
    if request.score:
        digest.update(to_json(request.score))
    return digest.hexdigest()


def _asked(part: ContentPart) -> ContentPart:
    """Return a part without the duration of a tool: no model is shown it, and it differs in a replay."""
    return part.model_copy(update={"duration_s": None}) if isinstance(part, ToolResult) else part


_DIGESTS: dict[int, Callable[[Request], str]] = {1: _digest_1}
"""Append only: trees of an older version are continued with their own digests."""
