"""The stages `verifier` and `critic`: evidence and opinion about each attempt, and what of them is missing.

Each role gives feedback once about an attempt. If it fails, an abstention with the reason is recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from critic_loop.core.abstain import abstention, is_job_error
from critic_loop.core.errors import (
    BudgetSpent,
    CriticLoopError,
    ModelError,
    VerifierError,
    boundary,
)
from critic_loop.core.functions import remarks
from critic_loop.core.records import (
    Ask,
    Attempt,
    Feedback,
    Source,
    Subject,
)
from critic_loop.core.roles import Critic, Human, Verifier
from critic_loop.core.tree import Tree
from critic_loop.evidence import value_of
from critic_loop.nodes.adding import add
from critic_loop.nodes.comparing import pending_pairs
from critic_loop.nodes.context import RunContext
from critic_loop.nodes.gather import gather
from critic_loop.nodes.views import critic_view, verifier_view


async def verifier(run: RunContext, asks: Sequence[Ask]) -> None:
    """Gather evidence: run each verifier on each readable answer."""
    await gather(
        _verify(run, attempt_id, verifier)
        for attempt_id in _judgeable(run.tree, asks)
        for verifier in run.verifiers
        if _verifies(verifier, run.tree[attempt_id])
    )


async def critic(run: RunContext, asks: Sequence[Ask]) -> None:
    """Gather opinions, all critics at once, and settle attempts that wait for no person any more."""
    await gather(
        _critique(run, attempt_id, critic)
        for attempt_id in _judgeable(run.tree, asks)
        for critic in run.critics
        if _wanted(run.tree, attempt_id, critic)
    )
    for ask in asks:
        await release(run, ask.attempt)


async def release(run: RunContext, attempt_id: str) -> None:
    """Settle a parked attempt if no person's answer about it is missing."""
    attempt = run.tree.attempts.get(attempt_id)
    if attempt is not None and attempt.status == "parked" and not awaited(run, attempt_id):
        await run.journal.record(attempt.model_copy(update={"status": "complete"}))


def awaited(run: RunContext, attempt_id: str) -> tuple[Human, ...]:
    """Return the people whose answer about a parked attempt is missing."""
    tree = run.tree
    if tree[attempt_id].error_code == "output":
        return ()
    return tuple(
        human
        for human in run.humans
        if _wanted(tree, attempt_id, human) and not has_feedback(tree, attempt_id, "human", human.name)
    )


def missing(run: RunContext, attempt_id: str) -> bool:
    """Whether feedback of the loop's roles about a complete, readable attempt is missing."""
    tree = run.tree
    attempt = tree[attempt_id]
    if any(
        _verifies(v, attempt) and not has_feedback(tree, attempt_id, "verifier", v.name) for v in run.verifiers
    ):
        return True
    if any(
        _wanted(tree, attempt_id, c) and not has_feedback(tree, attempt_id, "critic", c.name)
        for c in run.critics
    ):
        return True
    return run.judge is not None and run.judge_revisions and any(pending_pairs(tree, attempt_id))


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
    """Gather evidence about each answer together with each attempt of kind `tests`, where it is missing."""
    for checker in (v for v in run.verifiers if v.pairs):
        said = (
            f.subject for f in run.tree.feedback.values() if f.source == "verifier" and f.author == checker.name
        )
        known = {subject.attempts for subject in said if subject is not None}
        pairs = [pair for pair in _pairs_with_tests(run.tree) if pair not in known]
        await gather(_verify_pair(run, pair, checker) for pair in pairs)


def _pairs_with_tests(tree: Tree) -> Iterable[tuple[str, str]]:
    replaced = {a.replaces for a in tree if a.replaces and a.status == "complete"}
    whole = [a for a in tree if a.status == "complete" and not a.error_code and not a.unfinished]
    left = [a for a in whole if a.id not in replaced]
    tests = [a.id for a in left if a.kind == "tests"]
    return ((a.id, i) for a in left if a.kind != "tests" for i in tests)


async def _verify_pair(run: RunContext, pair: tuple[str, str], checker: Verifier) -> None:
    given = await _evidence(run, checker, *pair)
    subject = Subject.of(*pair)
    given = [f.model_copy(update={"subject": subject}) for f in given]
    await add(run, given, subject, "verifier", checker.name)


def has_feedback(tree: Tree, attempt_id: str, source: Source, author: str) -> bool:
    """Whether the tree has this author's feedback about the attempt or a part of it, advisory or not."""
    return any(f.source == source and f.author == author for f in tree.about(attempt_id))


async def _verify(run: RunContext, attempt_id: str, verifier: Verifier) -> None:
    if has_feedback(run.tree, attempt_id, "verifier", verifier.name):
        return
    given = await _evidence(run, verifier, attempt_id)
    await add(run, given, Subject.of(attempt_id), "verifier", verifier.name)


async def _evidence(run: RunContext, verifier: Verifier, *attempts: str) -> Sequence[Feedback]:
    """Return a verifier's feedback; if it fails, an abstention, unless the error ends the job."""
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
    if has_feedback(run.tree, attempt_id, "critic", critic.name):
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
