"""How a right answer got lost, and how a wrong one came to pass for one.

Each function returns what it finds, or None where something else is to be looked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from critic_loop.core.records import Attempt, Verdict
from critic_loop.evidence import EVIDENCE
from critic_loop.metrics.case import Case
from critic_loop.metrics.cause import Cause, Why, because, named, rejects, sources, who

_NOT_ON_RECORD = "Let the loop have what knew it (a verifier, the hidden tests), or a better judge."


def broken_by_critique(case: Case) -> Why | None:
    """Find a right answer that was rejected, and its revision wrong."""
    last = case.chosen or (case.read[-1] if case.read else None)
    if last is None or case.right(last) is not False:
        return None
    for earlier, revision in _upwards(case, last):
        if case.right(earlier) is not True:
            continue
        heard = case.obeyed_before(earlier.id, case.at[revision])
        rejected = [f for f in heard if rejects(f)]
        if rejected:
            return because(
                case,
                Cause.BROKEN_BY_CRITIQUE,
                f"{named(earlier)} was right, but {who(rejected[0])} rejected it, and its revision "
                f"{named(last)} is wrong, says {sources(case.truths[last.id])}.",
                shows=(earlier, *rejected, last, *case.truths[last.id].rests_on),
            )
    return None


def _upwards(case: Case, last: Attempt) -> Iterator[tuple[Attempt, str]]:
    """Iterate over all that an attempt was made from, nearest first, with the revision that led there."""
    seen, queue = {last.id}, [last.id]
    for revision in queue:
        ask = case.tree.asks[revision]
        for parent in (*ask.parents, *([ask.replaces] if ask.replaces else [])):
            if parent in seen or parent not in case.tree.asks:
                continue
            seen.add(parent)
            queue.append(parent)
            if parent in case.tree:
                yield case.tree[parent], revision


def found_not_selected(case: Case) -> Why | None:
    """Find a right answer that was made, and another chosen."""
    rights = [a for a in case.read if case.right(a) and a is not case.chosen]
    if not rights or case.outcome is None:
        return None
    best, truth = rights[0], case.truths[rights[0].id]
    equal = {best.id, *(i for f in truth.rests_on if f.subject for i in f.subject.attempts)}
    known_then = case.known_right_then(*equal)
    more = f" (and {len(rights) - 1:,} more)" if len(rights) > 1 else ""
    passed_over = f"{named(best)}{more} {'are' if more else 'is'} right, says {sources(truth)}, but "
    rule = f"the selection {case.outcome.select!r}" if case.outcome.select else "the selection"
    if case.chosen is None:
        text = f"{passed_over}{rule} chose none."
    else:
        known = "is wrong" if case.right(case.chosen) is False else "nobody knows to be right"
        text = f"{passed_over}{rule} chose {named(case.chosen)}, which {known}."
    return because(
        case,
        Cause.FOUND_NOT_SELECTED,
        text if known_then else f"{text} The selection could not know: that was not on record for it.",
        hint="" if known_then else _NOT_ON_RECORD,
        shows=(best, *truth.rests_on, *([case.chosen] if case.chosen else [])),
    )


def false_accept(case: Case) -> Why | None:
    """Find a wrong answer that was accepted, where that mattered."""
    ended = case.stops & {"accepted", "verified"}
    by_opinion = case.outcome is not None and case.outcome.decided_by in ("critic", "judge", "human")
    suspects = [case.chosen] if case.chosen else []
    suspects += [a for a in case.read[-1:] if ended and a is not case.chosen]
    for attempt in suspects:
        heard = case.obeyed_before(attempt.id, case.at.get("", len(case.tree.log)))
        accepted = [f for f in heard if f.verdict is Verdict.PASS]
        known_then = any(f.source in EVIDENCE and f.verdict is Verdict.FAIL for f in heard)
        mattered = ended or not known_then or by_opinion
        if accepted and case.right(attempt) is False and mattered:
            truth = case.truths[attempt.id]
            effect = "and the loop stopped" if ended else "and it was chosen"
            return because(
                case,
                Cause.FALSE_ACCEPT,
                f"{who(accepted[0])} accepted {named(attempt)} {effect}, but it is wrong, says "
                f"{sources(truth)}.",
                shows=(attempt, *accepted, *truth.rests_on),
            )
    return None
