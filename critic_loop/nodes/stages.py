"""The stages of a lane, named by role: actor, tool_executor, verifier, critic, judge.

Each is idempotent: it looks into the tree first and does only what is missing, so that a resumed lane
may run it again. Errors of scope *attempt* become records here; others pass through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Literal, TypeVar

from critic_loop.core.errors import CriticLoopError, ModelError, ToolError, boundary
from critic_loop.core.messages import Message, ToolCall, ToolResult
from critic_loop.core.records import UNFINISHED, Ask, Attempt, AttemptStatus, Feedback, Subject, Verdict
from critic_loop.core.tree import Tree
from critic_loop.evidence import value_of
from critic_loop.nodes.calls import BudgetSpent
from critic_loop.nodes.desk import Critic, Desk, HumanCritic, Judge, ToolLike, Turn, Verifier
from critic_loop.nodes.roles import abstention, is_job_error
from critic_loop.nodes.view import argued

Source = Literal["verifier", "critic"]
T = TypeVar("T")


# -- actor and tools ---------------------------------------------------------------------------


async def actor(desk: Desk, asks: Sequence[Ask]) -> None:
    """Let the actor speak for each ask that waits for it: all fresh ones with one request."""
    fresh = tuple(ask for ask in asks if ask.attempt not in desk.tree)
    going = [ask for ask in asks if _awaits(desk.tree, ask) == "actor" and ask not in fresh]
    groups = [fresh, *((ask,) for ask in going)] if fresh else [(ask,) for ask in going]
    await gather(_act(desk, group) for group in groups)


async def _act(desk: Desk, asks: tuple[Ask, ...]) -> None:
    known = desk.tree.attempts.get(asks[0].attempt)
    so_far = known.messages if known else ()
    earlier = known.calls if known else ()
    turns = await _turns(desk, asks, so_far)
    attempts = [
        _failed(ask, so_far, earlier, turn)
        if isinstance(turn, CriticLoopError)
        else _attempt(desk, ask, turn, earlier)
        for ask, turn in zip(asks, turns, strict=True)
        if isinstance(turn, Turn) or turn.scope == "attempt"
    ]
    await desk.calls.record(*attempts, *_unreadable(desk.tree, attempts))
    for (
        turn
    ) in turns:  # what a lack of budget left open stays open; what must end the run does, after its siblings
        if isinstance(turn, CriticLoopError) and turn.scope != "attempt" and not isinstance(turn, BudgetSpent):
            raise turn


async def _turns(
    desk: Desk, asks: tuple[Ask, ...], so_far: tuple[Message, ...]
) -> Sequence[Turn | CriticLoopError]:
    """Return what came of each ask; an error that the actor raises is that of all."""
    try:
        if sum(1 for m in so_far if m.role == "assistant") >= desk.max_turns:
            raise ModelError(f"the actor took {desk.max_turns} turns without an answer.")
        return await desk.actor_of(asks[0]).act(desk, asks, so_far)
    except CriticLoopError as error:
        return [error for _ in asks]


def _unreadable(tree: Tree, attempts: list[Attempt]) -> list[Feedback]:
    """Return the evidence against answers that cannot be read; written together with them."""
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


def _attempt(desk: Desk, ask: Ask, turn: Turn, earlier: tuple[str, ...]) -> Attempt:
    parsed, status, answer, error, code = turn.answer, "partial", None, "", ""
    if turn.unfinished:
        status = "complete"
    elif parsed is not None:
        ask = _ended(ask)
        status = "parked" if desk.humans else "complete"
        if not parsed.found:
            error, code = parsed.reason or "the answer could not be read", "output"
            status = "failed" if parsed.status == "refused" else status
            code = "refused" if parsed.status == "refused" else code
        else:
            answer = desk.output.dump(parsed.value)
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


async def tool_executor(desk: Desk, asks: Sequence[Ask]) -> None:
    """Run the tools that the actor's last message of each ask calls for."""
    waiting = [desk.tree[ask.attempt] for ask in asks if _awaits(desk.tree, ask) == "tools"]
    if waiting:
        await desk.calls.on_disk()
    await gather(_run_tools(desk, attempt) for attempt in waiting)


async def _run_tools(desk: Desk, attempt: Attempt) -> None:
    results = await gather(_run_tool(desk.tools, call) for call in attempt.messages[-1].tool_calls)
    messages = tuple(Message(role="tool", parts=(result,)) for result in results)
    await desk.calls.record(attempt.model_copy(update={"messages": (*attempt.messages, *messages)}))


async def _run_tool(tools: dict[str, ToolLike], call: ToolCall) -> ToolResult:
    try:
        text, is_error = await _tool_text(tools, call), False
    except CriticLoopError as error:
        if error.scope == "job":
            raise
        text, is_error = str(error), True
    return ToolResult.of(text, call_id=call.id, name=call.name, is_error=is_error)


async def _tool_text(tools: dict[str, ToolLike], call: ToolCall) -> str:
    if call.name not in tools:
        raise ToolError(f"there is no tool {call.name!r}; there are {', '.join(sorted(tools))}.")
    if call.arguments is None:
        raise ToolError(f"the arguments are not a JSON object: {call.arguments_text[:200]}")
    with boundary(ToolError, f"tool {call.name!r}"):
        return await tools[call.name].run(call.arguments)


def mid_turn(desk: Desk, asks: Iterable[Ask]) -> bool:
    """Whether an ask has begun and waits for its tools, or for the actor after them."""
    return any(
        a is not None and a.status == "partial" for a in (desk.tree.attempts.get(k.attempt) for k in asks)
    )


def _awaits(tree: Tree, ask: Ask) -> Literal["actor", "tools", "nothing"]:
    attempt = tree.attempts.get(ask.attempt)
    if attempt is None:
        return "actor"
    if attempt.status != "partial":
        return "nothing"
    return "tools" if attempt.messages and attempt.messages[-1].tool_calls else "actor"


# -- verifiers and critics ---------------------------------------------------------------------


async def verifier(desk: Desk, asks: Sequence[Ask]) -> None:
    """Gather evidence: each verifier's word on each readable answer."""
    await gather(
        _judge(desk, attempt_id, critic, "verifier")
        for attempt_id in _judgeable(desk.tree, asks)
        for critic in desk.verifiers
        if _verifies(critic, desk.tree[attempt_id])
    )


async def critic(desk: Desk, asks: Sequence[Ask]) -> None:
    """Gather opinions, all critics at once, and release attempts that wait for no person any more."""
    await gather(
        _judge(desk, attempt_id, critic, "critic")
        for attempt_id in _judgeable(desk.tree, asks)
        for critic in desk.critics
        if _wanted(desk.tree, attempt_id, critic)
    )
    for ask in asks:
        await release(desk, ask.attempt)


async def release(desk: Desk, attempt_id: str) -> None:
    """Settle a parked attempt once no person has to speak about it any more."""
    attempt = desk.tree.attempts.get(attempt_id)
    if attempt is not None and attempt.status == "parked" and not awaited(desk, attempt_id):
        await desk.calls.record(attempt.model_copy(update={"status": "complete"}))


def awaited(desk: Desk, attempt_id: str) -> tuple[HumanCritic, ...]:
    """Return the people whose word on a parked attempt is still missing."""
    tree = desk.tree
    if tree[attempt_id].error_code == "output":
        return ()
    return tuple(
        human
        for human in desk.humans
        if _wanted(tree, attempt_id, human) and not said(tree, attempt_id, "human", human.name)
    )


def missing(desk: Desk, attempt_id: str) -> bool:
    """Whether feedback that the loop owes a complete, readable attempt is not there yet."""
    tree = desk.tree
    attempt = tree[attempt_id]
    if any(_verifies(v, attempt) and not said(tree, attempt_id, "verifier", v.name) for v in desk.verifiers):
        return True
    if any(_wanted(tree, attempt_id, c) and not said(tree, attempt_id, "critic", c.name) for c in desk.critics):
        return True
    return desk.judge is not None and desk.judge_revisions and any(_pending_pairs(tree, attempt_id))


def _judgeable(tree: Tree, asks: Sequence[Ask]) -> list[str]:
    attempts = (tree[ask.attempt] for ask in asks if ask.attempt in tree)
    return [a.id for a in attempts if a.status in ("complete", "parked") and not a.error_code]


def _wanted(tree: Tree, attempt_id: str, critic: Critic | HumanCritic) -> bool:
    if critic.when == "unfinished":
        return tree[attempt_id].unfinished
    return critic.when == "always" or value_of(tree, attempt_id).verified is not True


def _verifies(verifier: Verifier, attempt: Attempt) -> bool:
    return not verifier.pairs and attempt.kind != "tests" and (verifier.steps or not attempt.unfinished)


async def pair_verifier(desk: Desk) -> None:
    """Gather evidence on each answer together with each attempt of kind `tests`, where it is missing."""
    for checker in (v for v in desk.verifiers if v.pairs):
        said = (f.subject for f in desk.tree.feedback.values() if f.author == checker.name)
        known = {subject.attempts for subject in said if subject is not None}
        pairs = [pair for pair in _crossed(desk.tree) if pair not in known]
        await gather(_cross(desk, pair, checker) for pair in pairs)


def _crossed(tree: Tree) -> Iterable[tuple[str, str]]:
    replaced = {a.replaces for a in tree if a.replaces and a.status == "complete"}
    whole = [a for a in tree if a.status == "complete" and not a.error_code and not a.unfinished]
    left = [a for a in whole if a.id not in replaced]
    tests = [a.id for a in left if a.kind == "tests"]
    return ((a.id, i) for a in left if a.kind != "tests" for i in tests)


async def _cross(desk: Desk, pair: tuple[str, str], checker: Verifier) -> None:
    try:
        given = await checker.critique(desk, *pair)
    except CriticLoopError as error:
        if is_job_error(error):
            raise
        given = abstention(error)
    each = (given,) if isinstance(given, Feedback) else tuple(given)
    update = {"subject": Subject.of(*pair)}
    await add(desk, [f.model_copy(update=update) for f in each], pair[0], "verifier", checker.name)


def said(tree: Tree, attempt_id: str, source: str, author: str) -> bool:
    """Whether this author's word on the attempt, or on a part of it, is in the tree; a shadow's, too."""
    return any(f.source == source and f.author == author for f in tree.about(attempt_id))


async def _judge(desk: Desk, attempt_id: str, critic: Critic, source: Source) -> None:
    if said(desk.tree, attempt_id, source, critic.name):
        return
    try:
        given = await critic.critique(desk, attempt_id)
    except BudgetSpent:
        return
    except CriticLoopError as error:
        if is_job_error(error) and not (critic.shadow and isinstance(error, ModelError)):
            raise
        given = abstention(error)
    each = (given,) if isinstance(given, Feedback) else tuple(given)
    if critic.shadow:
        each = tuple(feedback.model_copy(update={"advisory": True}) for feedback in each)
    await add(desk, each, attempt_id, source, critic.name)


async def add(
    desk: Desk, each: Feedback | Sequence[Feedback], attempt_id: str, source: str, author: str
) -> None:
    """Write feedback on a whole attempt down, or what its subject says it is about; several at once.

    Of several, each that is obeyed supersedes the obeyed one before.
    """
    first, obeyed, addressed = len(desk.tree.feedback) + 1, None, list[Feedback]()
    for k, feedback in enumerate((each,) if isinstance(each, Feedback) else each):
        update = {
            "id": f"{desk.tree.id}.f{first + k}",
            "subject": feedback.subject or Subject.of(attempt_id),
            "source": source,
            "author": author,
        }
        if not feedback.advisory and obeyed is not None:
            update["supersedes"] = obeyed
        obeyed = update["id"] if not feedback.advisory else obeyed
        addressed.append(feedback.model_copy(update=update))
    await desk.calls.record(*addressed)


# -- judge -------------------------------------------------------------------------------------


async def judge(desk: Desk, first: str, second: str) -> None:
    """Have two attempts debated, and compared in both orders, where that has not been done.

    Raises:
        BudgetSpent: there is no call or no time left for it.
    """
    orders = ((first, second), (second, first))
    if not all(_compared(desk.tree, pair) for pair in orders):
        await _debate(desk, orders)
    await gather(_compare(desk, pair) for pair in orders)


async def _debate(desk: Desk, orders: Sequence[tuple[str, str]]) -> None:
    """Let both sides speak, round by round; one that cannot ends the debate."""
    for turn in range(0 if desk.debater is None else desk.debater.rounds):
        await gather(_argue(desk, pair, turn) for pair in orders)
        if any(_silent(desk.tree, pair) for pair in orders):
            return


async def _argue(desk: Desk, pair: tuple[str, str], turn: int) -> None:
    if desk.debater is None or len(argued(desk.tree, *pair)) > turn:
        return
    try:
        argument = await desk.debater.argue(desk, *pair, turn)
    except BudgetSpent:
        raise
    except CriticLoopError as error:
        if is_job_error(error):
            raise
        argument = abstention(error)
    addressed = argument.model_copy(update={"subject": Subject.of(*pair)})
    await add(desk, addressed, pair[0], "critic", desk.debater.name)


def _silent(tree: Tree, pair: tuple[str, str]) -> Feedback | None:
    return next((f for f in argued(tree, *pair) if f.verdict is Verdict.ABSTAIN), None)


async def _compare(desk: Desk, pair: tuple[str, str]) -> None:
    if desk.judge is None or _compared(desk.tree, pair):
        return
    try:
        feedback = await _compared_by(desk.judge, desk, pair)
    except BudgetSpent:
        raise
    except CriticLoopError as error:
        if is_job_error(error):
            raise
        feedback = abstention(error)
    arguments = (*argued(desk.tree, *pair), *argued(desk.tree, pair[1], pair[0]))
    update = {"subject": Subject.of(*pair), "rests_on": tuple(f.id for f in arguments)}
    addressed = feedback.model_copy(update=update)
    await add(desk, addressed, pair[0], "judge", desk.judge.name)


async def _compared_by(judge: Judge, desk: Desk, pair: tuple[str, str]) -> Feedback:
    """Ask the judge; after a debate in which one side could not speak, it would be no comparison."""
    silent = _silent(desk.tree, pair) or _silent(desk.tree, (pair[1], pair[0]))
    if silent is not None:
        return Feedback.abstain(f"one side of the debate could not speak: {silent.reason}")
    return await judge.compare(desk, *pair)


async def judge_revisions(desk: Desk, asks: Sequence[Ask]) -> None:
    """Compare each new attempt with its parent, where evidence does not decide already."""
    with suppress(BudgetSpent):
        pending = (_pending_pairs(desk.tree, ask.attempt) for ask in asks)
        await gather(judge(desk, *pairs[0]) for pairs in pending if pairs)


def _pending_pairs(tree: Tree, attempt_id: str) -> list[tuple[str, str]]:
    parents = tree.asks[attempt_id].parents[:1]
    if not parents or not (_comparable(tree, attempt_id) and _comparable(tree, parents[0])):
        return []
    pairs = [(parents[0], attempt_id), (attempt_id, parents[0])]
    return [pair for pair in pairs if not _compared(tree, pair)]


def _compared(tree: Tree, pair: tuple[str, str]) -> bool:
    said = (f for f in tree.about(pair[0]) if f.source != "critic")
    return any(f.subject is not None and f.subject.attempts == pair for f in said)


def _comparable(tree: Tree, attempt_id: str) -> bool:
    attempt = tree.attempts.get(attempt_id)
    if attempt is None or attempt.status != "complete" or attempt.error_code or attempt.unfinished:
        return False
    return value_of(tree, attempt_id).verified is None


async def gather(awaitables: Iterable[Awaitable[T]]) -> list[T]:
    """Run all; let every one settle before the first error passes, so that nothing paid is lost."""
    each = list(awaitables)
    if len(each) == 1:
        return [await each[0]]
    settled: list[T] = []
    for result in await asyncio.gather(*each, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        settled.append(result)
    return settled
