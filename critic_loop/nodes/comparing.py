"""The stage `judge`: comparisons of two attempts in both orders, after a debate where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from critic_loop.core.abstain import abstention, is_job_error
from critic_loop.core.errors import (
    BudgetSpent,
    CriticLoopError,
    VerifierError,
    boundary,
)
from critic_loop.core.records import (
    Ask,
    Feedback,
    Subject,
    Verdict,
)
from critic_loop.core.roles import Judge
from critic_loop.core.tree import Tree
from critic_loop.evidence import value_of
from critic_loop.nodes.adding import add
from critic_loop.nodes.context import RunContext
from critic_loop.nodes.gather import gather
from critic_loop.nodes.views import argued, pair_view


async def judge(run: RunContext, first: str, second: str) -> None:
    """Hold the debate about two attempts, and compare them in both orders, unless the tree has both already.

    Raises:
        BudgetSpent: there is no call or no time left for it.
    """
    orders = ((first, second), (second, first))
    if not all(_compared(run.tree, pair) for pair in orders):
        await _debate(run, orders)
    await gather(_compare(run, pair) for pair in orders)


async def _debate(run: RunContext, orders: Sequence[tuple[str, str]]) -> None:
    """Ask both sides for arguments, round by round; the debate ends if one abstains."""
    for turn in range(0 if run.debater is None else run.debater.rounds):
        await gather(_argue(run, pair, turn) for pair in orders)
        if any(_abstention(run.tree, pair) for pair in orders):
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


def _abstention(tree: Tree, pair: tuple[str, str]) -> Feedback | None:
    return next((f for f in argued(tree, *pair) if f.verdict is Verdict.ABSTAIN), None)


async def _compare(run: RunContext, pair: tuple[str, str]) -> None:
    if run.judge is None or _compared(run.tree, pair):
        return
    try:
        feedback = await _comparison(run.judge, run, pair)
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


async def _comparison(judge: Judge, run: RunContext, pair: tuple[str, str]) -> Feedback:
    """Ask the judge; abstain if one side of the debate gave no argument, since the sides were not equal."""
    abstained = _abstention(run.tree, pair) or _abstention(run.tree, (pair[1], pair[0]))
    if abstained is not None:
        return Feedback.abstain(f"one side of the debate gave no argument: {abstained.reason}")
    opened = await run.open_parts.role(judge, "judge", judge.name)
    where = f"judge {judge.name!r}"
    with boundary(VerifierError, where):
        given = cast("object", await opened.compare(pair_view(run, judge, *pair)))
    if not isinstance(given, Feedback):
        raise VerifierError(f"{where} returned {type(given).__name__}, not a Feedback.")
    if given.advisory:  # it would be asked again and again, since advisory feedback is not acted upon
        raise VerifierError(f"{where} returned an advisory comparison, which can decide nothing.")
    return given


async def judge_revisions(run: RunContext, asks: Sequence[Ask]) -> None:
    """Compare each new attempt with its parent, unless evidence decides."""
    with suppress(BudgetSpent):
        pending = (pending_pairs(run.tree, ask.attempt) for ask in asks)
        await gather(judge(run, *pairs[0]) for pairs in pending if pairs)


def pending_pairs(tree: Tree, attempt_id: str) -> list[tuple[str, str]]:
    """Return the orders in which an attempt is still to be compared with its parent."""
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
