"""The stages of a lane, named by role: actor, tool_executor, verifier, critic, judge.

Each is idempotent: it looks into the tree first and does only what is missing, so that a resumed lane
may run it again. Errors of scope *attempt* become records here; so does an untyped error that a verifier,
critic or judge raises. Others pass through.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import to_json

from critic_loop.core.abstain import abstention, is_job_error
from critic_loop.core.errors import (
    BudgetSpent,
    CriticLoopError,
    ModelError,
    OutputError,
    VerifierError,
    boundary,
)
from critic_loop.core.functions import remarks
from critic_loop.core.messages import Message
from critic_loop.core.protocols import Parsed
from critic_loop.core.records import (
    UNFINISHED,
    Ask,
    Attempt,
    AttemptStatus,
    Feedback,
    Source,
    Subject,
    Verdict,
)
from critic_loop.core.roles import Critic, Human, Judge, Turn, Verifier
from critic_loop.core.tree import Tree
from critic_loop.evidence import value_of
from critic_loop.nodes.context import RunContext
from critic_loop.nodes.gather import gather
from critic_loop.nodes.tool_executor import awaits, tool_executor
from critic_loop.nodes.views import actor_views, argued, critic_view, pair_view, verifier_view

__all__ = [
    "actor", "add", "awaited", "critic", "gather", "judge", "judge_revisions", "mid_turn", "missing",
    "pair_verifier", "release", "said", "tool_executor", "verifier",
]  # fmt: skip


# -- actor and tools ---------------------------------------------------------------------------


async def actor(run: RunContext, asks: Sequence[Ask]) -> None:
    """Let the actor speak for each ask that waits for it: all fresh ones with one request."""
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
    ) in turns:  # what a lack of budget left open stays open; what must end the run does, after its siblings
        if isinstance(turn, CriticLoopError) and turn.scope != "attempt" and not isinstance(turn, BudgetSpent):
            raise turn


async def _turns(
    run: RunContext, asks: tuple[Ask, ...], so_far: tuple[Message, ...]
) -> Sequence[Turn | CriticLoopError]:
    """Return what came of each ask; an error that the actor raises is that of all."""
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
    """Return a turn with an answer of the loop's type; an error where nothing can follow from it."""
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
    """Return an answer as it is if it can be written down and read again, else why not."""
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
    """Whether an ask has begun and waits for its tools, or for the actor after them."""
    return any(
        a is not None and a.status == "partial" for a in (run.tree.attempts.get(k.attempt) for k in asks)
    )


# -- verifiers and critics ---------------------------------------------------------------------


async def verifier(run: RunContext, asks: Sequence[Ask]) -> None:
    """Gather evidence: each verifier's word on each readable answer."""
    await gather(
        _verify(run, attempt_id, verifier)
        for attempt_id in _judgeable(run.tree, asks)
        for verifier in run.verifiers
        if _verifies(verifier, run.tree[attempt_id])
    )


async def critic(run: RunContext, asks: Sequence[Ask]) -> None:
    """Gather opinions, all critics at once, and release attempts that wait for no person any more."""
    await gather(
        _critique(run, attempt_id, critic)
        for attempt_id in _judgeable(run.tree, asks)
        for critic in run.critics
        if _wanted(run.tree, attempt_id, critic)
    )
    for ask in asks:
        await release(run, ask.attempt)


async def release(run: RunContext, attempt_id: str) -> None:
    """Settle a parked attempt once no person has to speak about it any more."""
    attempt = run.tree.attempts.get(attempt_id)
    if attempt is not None and attempt.status == "parked" and not awaited(run, attempt_id):
        await run.journal.record(attempt.model_copy(update={"status": "complete"}))


def awaited(run: RunContext, attempt_id: str) -> tuple[Human, ...]:
    """Return the people whose word on a parked attempt is still missing."""
    tree = run.tree
    if tree[attempt_id].error_code == "output":
        return ()
    return tuple(
        human
        for human in run.humans
        if _wanted(tree, attempt_id, human) and not said(tree, attempt_id, "human", human.name)
    )


def missing(run: RunContext, attempt_id: str) -> bool:
    """Whether feedback that the loop owes a complete, readable attempt is not there yet."""
    tree = run.tree
    attempt = tree[attempt_id]
    if any(_verifies(v, attempt) and not said(tree, attempt_id, "verifier", v.name) for v in run.verifiers):
        return True
    if any(_wanted(tree, attempt_id, c) and not said(tree, attempt_id, "critic", c.name) for c in run.critics):
        return True
    return run.judge is not None and run.judge_revisions and any(_pending_pairs(tree, attempt_id))


def _judgeable(tree: Tree, asks: Sequence[Ask]) -> list[str]:
    attempts = (tree[ask.attempt] for ask in asks if ask.attempt in tree)
    return [a.id for a in attempts if a.status in ("complete", "parked") and not a.error_code]


def _wanted(tree: Tree, attempt_id: str, critic: Critic | Human) -> bool:
    if critic.when == "unfinished":
        return tree[attempt_id].unfinished
    return critic.when == "always" or value_of(tree, attempt_id).verified is not True


def _verifies(verifier: Verifier, attempt: Attempt) -> bool:
    return not verifier.pairs and attempt.kind != "tests" and (verifier.steps or not attempt.unfinished)


async def pair_verifier(run: RunContext) -> None:
    """Gather evidence on each answer together with each attempt of kind `tests`, where it is missing."""
    for checker in (v for v in run.verifiers if v.pairs):
        said = (
            f.subject for f in run.tree.feedback.values() if f.source == "verifier" and f.author == checker.name
        )
        known = {subject.attempts for subject in said if subject is not None}
        pairs = [pair for pair in _crossed(run.tree) if pair not in known]
        await gather(_cross(run, pair, checker) for pair in pairs)


def _crossed(tree: Tree) -> Iterable[tuple[str, str]]:
    replaced = {a.replaces for a in tree if a.replaces and a.status == "complete"}
    whole = [a for a in tree if a.status == "complete" and not a.error_code and not a.unfinished]
    left = [a for a in whole if a.id not in replaced]
    tests = [a.id for a in left if a.kind == "tests"]
    return ((a.id, i) for a in left if a.kind != "tests" for i in tests)


async def _cross(run: RunContext, pair: tuple[str, str], checker: Verifier) -> None:
    given = await _evidence(run, checker, *pair)
    subject = Subject.of(*pair)
    given = [f.model_copy(update={"subject": subject}) for f in given]
    await add(run, given, subject, "verifier", checker.name)


def said(tree: Tree, attempt_id: str, source: Source, author: str) -> bool:
    """Whether this author's word on the attempt, or on a part of it, is in the tree; a shadow's, too."""
    return any(f.source == source and f.author == author for f in tree.about(attempt_id))


async def _verify(run: RunContext, attempt_id: str, verifier: Verifier) -> None:
    if said(run.tree, attempt_id, "verifier", verifier.name):
        return
    given = await _evidence(run, verifier, attempt_id)
    await add(run, given, Subject.of(attempt_id), "verifier", verifier.name)


async def _evidence(run: RunContext, verifier: Verifier, *attempts: str) -> Sequence[Feedback]:
    """Return what a verifier finds; one that fails abstains, unless that ends the job."""
    try:
        opened = await run.open_parts.role(verifier, "verifier", verifier.name)
        view = verifier_view(run, verifier, *attempts)
        with boundary(VerifierError, f"verifier {verifier.name!r}"):
            return remarks(await opened.verify(view))
    except CriticLoopError as error:
        if is_job_error(error):
            raise
        return (abstention(error),)


async def _critique(run: RunContext, attempt_id: str, critic: Critic) -> None:
    if said(run.tree, attempt_id, "critic", critic.name):
        return
    try:
        opened = await run.open_parts.role(critic, "critic", critic.name)
        view = critic_view(run, critic, attempt_id)
        with boundary(VerifierError, f"critic {critic.name!r}"):
            given: Sequence[Feedback] = remarks(await opened.critique(view))
    except BudgetSpent:
        return
    except CriticLoopError as error:
        if is_job_error(error) and not (critic.shadow and isinstance(error, ModelError)):
            raise
        given = (abstention(error),)
    stamp: dict[str, Any] = {"saw_reference": "reference" in critic.sees}
    if critic.shadow:
        stamp["advisory"] = True
    given = tuple(feedback.model_copy(update=stamp) for feedback in given)
    await add(run, given, Subject.of(attempt_id), "critic", critic.name, requested_because=critic.when)


async def add(
    run: RunContext,
    each: Sequence[Feedback],
    subject: Subject,
    source: Source,
    author: str,
    *,
    requested_because: str = "always",
) -> None:
    """Write feedback down, several at once, each about `subject` or the place in it that its own subject names.

    Ids such as `#first` name one of them in `supersedes` and `rests_on` of those that follow. A role speaks
    about what it was asked about, and takes back nothing that stands in the tree. If one of `each` does
    otherwise, or has fields of the wrong kind, an abstention with the reason is written in the place of all.
    """
    policy = {"requested_because": requested_because, "request_probability": 1.0}
    try:
        addressed = _addressed(run.tree, each, subject, source, author, policy)
    except VerifierError as error:
        kept = {name: getattr(each[0], name) for name in ("advisory", "calls", "saw_reference")}
        refused = abstention(error).model_copy(update=kept)
        addressed = _addressed(run.tree, [refused], subject, source, author, policy)
    await run.journal.record(*addressed)


def _addressed(
    tree: Tree, each: Sequence[Feedback], subject: Subject, source: Source, author: str, policy: dict[str, Any]
) -> list[Feedback]:
    """Return feedback with ids, subject and author.

    Raises:
        VerifierError: one of them cannot stand in the tree like that.
    """
    first, ids = len(tree.feedback) + 1, dict[str, str]()
    addressed: list[Feedback] = []
    for k, feedback in enumerate(each):
        where = f"{source} {author!r}"
        about = feedback.subject or subject
        if about.attempts != subject.attempts:
            raise VerifierError(
                f"{where} spoke about {about.attempts or about.feedback}, not {subject.attempts}."
            )
        replaced = feedback.supersedes and ids.get(feedback.supersedes, feedback.supersedes)
        if replaced and replaced not in ids.values():
            raise VerifierError(f"{where} supersedes {replaced!r}, which it did not return before this one.")
        rests_on = tuple(ids.get(i, i) for i in feedback.rests_on)
        if unknown := [i for i in rests_on if i not in tree.feedback and i not in ids.values()]:
            raise VerifierError(f"{where} rests on unknown feedback {unknown[0]!r}.")
        feedback_id = f"{tree.id}.f{first + k}"
        update = {
            "id": feedback_id, "subject": about, "source": source, "author": author,
            "supersedes": replaced, "rests_on": rests_on, **({} if feedback.requested_because else policy),
        }  # fmt: skip
        if feedback.id.startswith("#"):
            ids[feedback.id] = feedback_id
        try:
            addressed.append(Feedback.model_validate(dict(feedback.model_copy(update=update))))
        except ValidationError as error:
            raise VerifierError(f"{where} returned feedback with wrong fields: {error}") from error
    return addressed


# -- judge -------------------------------------------------------------------------------------


async def judge(run: RunContext, first: str, second: str) -> None:
    """Have two attempts debated, and compared in both orders, where that has not been done.

    Raises:
        BudgetSpent: there is no call or no time left for it.
    """
    orders = ((first, second), (second, first))
    if not all(_compared(run.tree, pair) for pair in orders):
        await _debate(run, orders)
    await gather(_compare(run, pair) for pair in orders)


async def _debate(run: RunContext, orders: Sequence[tuple[str, str]]) -> None:
    """Let both sides speak, round by round; one that cannot ends the debate."""
    for turn in range(0 if run.debater is None else run.debater.rounds):
        await gather(_argue(run, pair, turn) for pair in orders)
        if any(_silent(run.tree, pair) for pair in orders):
            return


async def _argue(run: RunContext, pair: tuple[str, str], turn: int) -> None:
    if run.debater is None or len(argued(run.tree, *pair)) > turn:
        return
    view = pair_view(run, run.debater, *pair)
    try:
        with boundary(VerifierError, f"debater {run.debater.name!r}"):
            argument = await run.debater.argue(view)
    except BudgetSpent:
        raise
    except CriticLoopError as error:
        if is_job_error(error):
            raise
        argument = abstention(error)
    subject = Subject.of(*pair)
    addressed = argument.model_copy(update={"subject": subject})
    await add(run, [addressed], subject, "critic", run.debater.name)


def _silent(tree: Tree, pair: tuple[str, str]) -> Feedback | None:
    return next((f for f in argued(tree, *pair) if f.verdict is Verdict.ABSTAIN), None)


async def _compare(run: RunContext, pair: tuple[str, str]) -> None:
    if run.judge is None or _compared(run.tree, pair):
        return
    try:
        feedback = await _compared_by(run.judge, run, pair)
    except BudgetSpent:
        raise
    except CriticLoopError as error:
        if is_job_error(error):
            raise
        feedback = abstention(error)
    arguments = (*argued(run.tree, *pair), *argued(run.tree, pair[1], pair[0]))
    subject = Subject.of(*pair)
    addressed = feedback.model_copy(
        update={"subject": subject, "rests_on": tuple(f.id for f in arguments), "saw_reference": False}
    )
    await add(run, [addressed], subject, "judge", run.judge.name)


async def _compared_by(judge: Judge, run: RunContext, pair: tuple[str, str]) -> Feedback:
    """Ask the judge; after a debate in which one side could not speak, it would be no comparison."""
    silent = _silent(run.tree, pair) or _silent(run.tree, (pair[1], pair[0]))
    if silent is not None:
        return Feedback.abstain(f"one side of the debate could not speak: {silent.reason}")
    opened = await run.open_parts.role(judge, "judge", judge.name)
    where = f"judge {judge.name!r}"
    with boundary(VerifierError, where):
        given = cast("object", await opened.compare(pair_view(run, judge, *pair)))
    if not isinstance(given, Feedback):
        raise VerifierError(f"{where} returned {type(given).__name__}, not a Feedback.")
    if given.advisory:  # it would be asked again and again, because nothing may come of it
        raise VerifierError(f"{where} returned an advisory comparison, which can decide nothing.")
    return given


async def judge_revisions(run: RunContext, asks: Sequence[Ask]) -> None:
    """Compare each new attempt with its parent, where evidence does not decide already."""
    with suppress(BudgetSpent):
        pending = (_pending_pairs(run.tree, ask.attempt) for ask in asks)
        await gather(judge(run, *pairs[0]) for pairs in pending if pairs)


def _pending_pairs(tree: Tree, attempt_id: str) -> list[tuple[str, str]]:
    parents = tree.asks[attempt_id].parents[:1]
    if not parents or not (_comparable(tree, attempt_id) and _comparable(tree, parents[0])):
        return []
    pairs = [(parents[0], attempt_id), (attempt_id, parents[0])]
    return [pair for pair in pairs if not _compared(tree, pair)]


def _compared(tree: Tree, pair: tuple[str, str]) -> bool:
    said = (f for f in tree.about(pair[0]) if f.source != "critic" and not f.advisory)
    return any(f.subject is not None and f.subject.attempts == pair for f in said)


def _comparable(tree: Tree, attempt_id: str) -> bool:
    attempt = tree.attempts.get(attempt_id)
    if attempt is None or attempt.status != "complete" or attempt.error_code or attempt.unfinished:
        return False
    return value_of(tree, attempt_id).verified is None
