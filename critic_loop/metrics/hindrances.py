"""What kept a loop from its work: errors, texts and verdicts that nobody could make anything of, limits.

Each function returns what it finds, or None where something else is to be looked for.
"""

from __future__ import annotations

from critic_loop.core.printable import count, excerpt
from critic_loop.core.progress import LIMITS
from critic_loop.core.records import Feedback, Verdict
from critic_loop.evidence import EVIDENCE, is_whole
from critic_loop.metrics.case import Case, is_unread
from critic_loop.metrics.cause import Cause, Why, because, cited, who

_MORE = {
    "budget": "a higher max_calls",
    "spent": "more in Spent, of what is named here, given to the loop as stop=",
    "elapsed": "more time in Elapsed, given to the loop as stop=",
    "steps": "a higher recursion_limit of the host",
}
"""What lifts each of `LIMITS`."""


def error(case: Case) -> Why | None:
    """Find attempts that came to nothing, where they decided the end."""
    failed = [a for a in case.tree if a.status == "failed" and not is_unread(a)]
    nothing = bool(failed) and not case.finals and not case.stops & LIMITS
    if not (nothing or "error" in case.stops or (failed and "failing" in case.stops)):
        return None
    errors = [a.error for a in failed if a.error] or [case.outcome.stop_text if case.outcome else ""]
    return because(
        case,
        Cause.ERROR,
        f"{count(len(failed), 'attempt')} came to nothing, the last with: {excerpt(errors[-1], 200)}",
        shows=reversed(failed),
    )


def unparsed(case: Case) -> Why | None:
    """Find answers or critiques most of which could not be read."""
    if case.only_accepted:
        return None
    if len(case.unread) > len(case.read):
        return because(
            case,
            Cause.UNPARSED,
            f"{len(case.unread)} of {count(len(case.finals), 'answer')} could not be read, the last because: "
            f"{excerpt(case.unread[-1].error, 200)}",
            shows=reversed(case.unread),
        )
    said = [f for f in case.tree.feedback.values() if not f.advisory and f.source in ("critic", "judge")]
    critiques = [f for f in said if case.at[f.id] < case.at.get("", len(case.tree.log))]
    garbled = [f for f in critiques if f.parse == "unparsed"]
    if 2 * len(garbled) <= len(critiques):
        return None
    return because(
        case,
        Cause.UNPARSED,
        f"{len(garbled)} of {count(len(critiques), 'critique')} could not be read, so nothing guided the "
        f"loop; the last because: {excerpt(garbled[-1].reason or garbled[-1].text, 200)}",
        shows=reversed(garbled),
    )


def verifier_abstained(case: Case) -> Why | None:
    """Find verifiers and graders that could not judge, though there was something to judge by."""
    abstained: dict[str, list[Feedback]] = {}
    for attempt in case.read:
        evidence = [f for f in case.tree.judgements(attempt.id) if f.source in EVIDENCE]
        evidence += [f for f in case.tree.grades_on(attempt.id) if f.source == "grader" and is_whole(f)]
        known = case.right(attempt) is not None
        if not known and all(f.verdict is Verdict.ABSTAIN for f in evidence):
            abstained[attempt.id] = [f for f in evidence if not f.lacks]
    abstained = {attempt_id: words for attempt_id, words in abstained.items() if words}
    decided = len(case.read) - len(abstained)
    undecided = case.chosen is not None and case.chosen.id in abstained
    if not undecided and len(abstained) <= decided:
        return None
    words = [f for each in abstained.values() for f in each]
    return because(
        case,
        Cause.VERIFIER_ABSTAINED,
        f"{who(words[-1])} could not judge {len(abstained)} of {count(len(case.read), 'attempt')}: "
        f"{excerpt(words[-1].reason or words[-1].text, 200) or 'it gave no reason'}",
        shows=reversed(words),
    )


def with_crashes(case: Case, found: Why) -> Why:
    """Return what was found and, where a verifier or grader crashed, that too: the others alone counted."""
    said = (*case.tree.feedback.values(), *case.tree.grades.values())
    crashes = [f for f in said if f.source in (*EVIDENCE, "grader") and f.parse == "error"]
    if not crashes:
        return found
    times, last = len(crashes), crashes[-1]
    text = f"{found.text.rstrip('.')}. A {last.source} crashed {'once' if times == 1 else f'{times:,} times'}: "
    text += excerpt(last.reason, 200)
    evidence = tuple(e for e in found.evidence if e.id != last.id)
    return found.model_copy(update={"text": text, "evidence": (*evidence, cited(last))})


def budget(case: Case) -> Why | None:
    """Find a limit that cut the search short."""
    limit = sorted(case.stops & LIMITS)
    if not limit or case.outcome is None or case.only_accepted:
        return None
    spend = case.outcome.spend
    more = " and ".join(_MORE[name] for name in limit)
    text = excerpt(case.outcome.stop_text, 200).rstrip(".") or f"the limit {limit[0]!r} was reached"
    left = f", {len(case.tree.open)} of them unfinished" if case.tree.open else ""
    return because(
        case,
        Cause.BUDGET,
        f"The search was cut short after {count(len(case.tree.asks), 'attempt')}{left}, "
        f"{count(spend.calls, 'call')} and {spend.elapsed_s:.1f} s: {text}.",
        hint=f"Run the tree again with {more}: it goes on where it stopped.",
        shows=[case.chosen] if case.chosen else (),
    )
