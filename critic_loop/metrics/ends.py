"""Ends that are none, and ends that are right: the loop was broken off, waits, runs, or is done.

Each function returns what it finds, or None where something else is to be looked for.
"""

from __future__ import annotations

from critic_loop.core.printable import count, excerpt
from critic_loop.metrics.case import Case
from critic_loop.metrics.cause import Cause, Why, because, named, sources


def ended_by_error(case: Case) -> Why | None:
    """Find an error that ended the tree."""
    return because(case, Cause.ERROR, excerpt(case.error, 400)) if case.error else None


def unfinished(case: Case) -> Why | None:
    """Find a loop that has not ended, or has been heard and not gone on."""
    if case.heard:
        return because(
            case,
            Cause.UNFINISHED,
            "The tree was waiting for a person's word and has been heard: run it again.",
            hint="Run it again with the same store: it goes on where it stopped.",
        )
    if case.outcome is not None or waits(case):
        return None
    return because(
        case,
        Cause.UNFINISHED,
        f"The loop has not ended: {count(len(case.tree), 'attempt')} so far, {len(case.tree.open)} in flight.",
    )


def interrupted(case: Case) -> Why | None:
    """Find a run that somebody ended."""
    if case.outcome is None or "interrupted" not in case.stops:
        return None
    return because(
        case,
        Cause.UNFINISHED,
        f"The run was interrupted after {count(len(case.tree), 'attempt')}.",
        hint="Run it again with the same store: no finished call is repeated.",
    )


def solved(case: Case) -> Why | None:
    """Find that the chosen answer is right."""
    if case.chosen is None or case.right(case.chosen) is not True:
        return None
    truth = case.truths[case.chosen.id]
    return because(
        case,
        Cause.SOLVED,
        f"Nothing to explain: {named(case.chosen)} was chosen and is right, says {sources(truth)}.",
        shows=(case.chosen, *truth.rests_on),
    )


def waits(case: Case) -> bool:
    """Whether only people's words are missing: none was said yet, or not by all who are asked."""
    ended = case.tree.outcome
    return ended is not None and ended.stop == "parked" and bool(case.waiting) and not case.went_on


def parked(case: Case) -> Why | None:
    """Find a tree that waits for people and nothing else."""
    if not waits(case):
        return None
    return because(
        case,
        Cause.PARKED,
        f"Waiting for a person's word on {count(len(case.waiting), 'attempt')}.",
        shows=case.waiting,
    )
