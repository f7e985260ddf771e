"""The stage `actor`: calls the actor, and records its turns as attempts.

Idempotent, as all stages are. Errors of scope *attempt* become failed attempts; others pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

from pydantic_core import to_json

from critic_loop.core.errors import (
    BudgetSpent,
    CriticLoopError,
    ModelError,
    OutputError,
    boundary,
)
from critic_loop.core.messages import Message
from critic_loop.core.protocols import Parsed
from critic_loop.core.records import (
    UNFINISHED,
    Ask,
    Attempt,
    AttemptStatus,
    Feedback,
    Subject,
)
from critic_loop.core.roles import Turn
from critic_loop.core.tree import Tree
from critic_loop.nodes.context import RunContext
from critic_loop.nodes.gather import gather
from critic_loop.nodes.tool_executor import awaits
from critic_loop.nodes.views import actor_views


async def actor(run: RunContext, asks: Sequence[Ask]) -> None:
    """Call the actor for each ask that waits for it: for all new asks with one request."""
    fresh = tuple(ask for ask in asks if ask.attempt not in run.tree)
    going = [ask for ask in asks if awaits(run.tree, ask) == "actor" and ask not in fresh]
    groups = [fresh, *((ask,) for ask in going)] if fresh else [(ask,) for ask in going]
    await gather(_act(run, group) for group in groups)


async def _act(run: RunContext, asks: tuple[Ask, ...]) -> None:
    known = run.tree.attempts.get(asks[0].attempt)
    so_far = known.messages if known else ()
    earlier = known.calls if known else ()
    turns = await _turns(run, asks, so_far)
    attempts = [
        _failed(ask, so_far, earlier, turn)
        if isinstance(turn, CriticLoopError)
        else _attempt(run, ask, turn, earlier)
        for ask, turn in zip(asks, turns, strict=True)
        if isinstance(turn, Turn) or turn.scope == "attempt"
    ]
    await run.journal.record(*attempts, *_unreadable(run.tree, attempts))
    for (
        turn
    ) in turns:  # an ask without budget stays open; what ends the run is raised after the others are kept
        if isinstance(turn, CriticLoopError) and turn.scope != "attempt" and not isinstance(turn, BudgetSpent):
            raise turn


async def _turns(
    run: RunContext, asks: tuple[Ask, ...], so_far: tuple[Message, ...]
) -> Sequence[Turn | CriticLoopError]:
    """Return a turn or an error for each ask; an error that the actor raises is that of all."""
    try:
        if sum(1 for m in so_far if m.role == "assistant") >= run.max_turns:
            raise ModelError(f"the actor took {run.max_turns} turns without an answer.")
        actor = run.actor_of(asks[0])
        opened = await run.open_parts.role(actor, "actor", actor.name)
        given = cast("object", await opened.act(actor_views(run, actor, asks, so_far)))
        turns = cast("Sequence[object]", given) if isinstance(given, list | tuple) else (given,)
        if len(turns) != len(asks):
            raise ModelError(f"actor {actor.name!r} returned {len(turns)} turns for {len(asks)} views.")
        return [_usable(run, actor.name, turn) for turn in turns]
    except CriticLoopError as error:
        return [error for _ in asks]


def _usable(run: RunContext, name: str, turn: object) -> Turn | CriticLoopError:
    """Return a turn with an answer of the loop's type; an error if it has neither answer nor tool call."""
    if isinstance(turn, CriticLoopError):
        return turn
    if not isinstance(turn, Turn):
        return ModelError(f"actor {name!r} returned {type(turn).__name__}, not a Turn.")
    if turn.answer is not None:
        return replace(turn, answer=_fitted(run, turn.answer))
    if turn.unfinished or (run.tools and turn.messages and turn.messages[-1].tool_calls):
        return turn
    return ModelError(f"actor {name!r} returned a turn without an answer and without a tool call.")


def _fitted(run: RunContext, answer: Parsed[Any]) -> Parsed[Any]:
    """Return an answer as it is if it can be stored and loaded, else an unparsed one with the reason."""
    if not answer.found:
        return answer
    try:
        with boundary(OutputError, "the actor's answer"):
            to_json(dumped := run.output.dump(answer.value))
            run.output.load(dumped)
    except OutputError as error:
        return Parsed[Any].unparsed(f"{type(answer.value).__name__} was returned: {error}")
    return answer


def _unreadable(tree: Tree, attempts: list[Attempt]) -> list[Feedback]:
    """Return evidence against answers that cannot be parsed; it is recorded together with them."""
    failed = [a for a in attempts if a.error_code == "output"]
    first = len(tree.feedback) + 1
    return [
        Feedback.failed(
            attempt.error,
            id=f"{tree.id}.f{first + k}",
            subject=Subject.of(attempt.id),
            source="verifier",
            author="output",
            parse="unparsed",
        )
        for k, attempt in enumerate(failed)
    ]


def _attempt(run: RunContext, ask: Ask, turn: Turn, earlier: tuple[str, ...]) -> Attempt:
    parsed, status, answer, error, code = turn.answer, "partial", None, "", ""
    if turn.unfinished:
        status = "complete"
    elif parsed is not None:
        ask = _ended(ask)
        status = "parked" if run.humans else "complete"
        if not parsed.found:
            error, code = parsed.reason or "the answer could not be read", "output"
            status = "failed" if parsed.status == "refused" else status
            code = "refused" if parsed.status == "refused" else code
        else:
            answer = run.output.dump(parsed.value)
    return _record(ask, turn.messages, (*earlier, *turn.calls), status, answer=answer, error=error, code=code)


def _ended(ask: Ask) -> Ask:
    """Return the ask of a step that ended the answer as that of an answer."""
    return ask.model_copy(update={"kind": "answer"}) if ask.kind in UNFINISHED else ask


def _failed(ask: Ask, messages: tuple[Message, ...], calls: tuple[str, ...], error: CriticLoopError) -> Attempt:
    return _record(ask, messages, calls, "failed", error=str(error), code=error.code)


def _record(
    ask: Ask,
    messages: tuple[Message, ...],
    calls: tuple[str, ...],
    status: AttemptStatus | str,
    *,
    answer: Any = None,
    error: str = "",
    code: str = "",
) -> Attempt:
    return Attempt.model_validate(
        {
            "id": ask.attempt, "parents": ask.parents, "kind": ask.kind, "replaces": ask.replaces,
            "messages": messages, "calls": calls, "status": status,
            "answer": answer, "error": error, "error_code": code,
        }
    )  # fmt: skip


def mid_turn(run: RunContext, asks: Iterable[Ask]) -> bool:
    """Whether a turn of one of the asks is not complete: its tools run next, or the actor after them."""
    return any(
        a is not None and a.status == "partial" for a in (run.tree.attempts.get(k.attempt) for k in asks)
    )
