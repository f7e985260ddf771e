"""Why a tree came to no right answer: one cause, in words, with the records that show it.

A pure function of the tree, so that it says more as soon as more is known: a verifier that is run
afterwards, or a user's word days later, counts like any other. What is right is `evidence.right`'s
business; where nobody knows, the cause is `unknown`. Does not know stores or how it is shown.

Several things may have gone wrong in one tree. The order in which `_CHECKS` are asked decides what is
named: first that the tree has not ended or is right after all; then how a right answer got lost; then
what ended the loop too early; then what kept it from judging; last that it did not find a right answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from critic_loop.core.tree import Tree
from critic_loop.metrics import absences, ends, hindrances, losses
from critic_loop.metrics.case import Case
from critic_loop.metrics.cause import Cause, Why

_CHECKS: Sequence[Callable[[Case], Why | None]] = (
    ends.ended_by_error,
    ends.unfinished,
    ends.solved,
    ends.parked,
    ends.interrupted,
    losses.broken_by_critique,
    losses.found_not_selected,
    losses.false_accept,
    hindrances.error,
    hindrances.unparsed,
    hindrances.verifier_abstained,
    hindrances.budget,
    absences.never_found,
    absences.unknown,
)


def why(tree: Tree) -> Why:
    """Return why a tree came to no right answer, or that it did. O(its records); never raises.

    The same tree always gives the same answer, and any beginning of a tree's log gives one.
    """
    case = Case(tree)
    found = next(found for check in _CHECKS if (found := check(case)) is not None)
    return found if found.cause is Cause.VERIFIER_ABSTAINED else hindrances.with_crashes(case, found)
