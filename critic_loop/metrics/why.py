"""Why a tree came to no right answer: one cause, in words, with the records that show it.

A pure function of the tree, so that it finds more as soon as more is known: a verifier that is run afterwards,
or a user's feedback days later, counts like any other. `evidence.right` decides what is right; where that is
unknown, the cause is `unknown`.

The first check of `_CHECKS` that finds something names the cause: the tree has not ended or is right after all;
a right answer was lost; the loop ended too early; it could not judge; no right answer was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pydantic_core import to_json

from critic_loop.core.printable import count, excerpt
from critic_loop.core.progress import ENDED_BY_HAND, LIMITS
from critic_loop.core.records import Attempt, Feedback, Verdict
from critic_loop.core.tree import Tree
from critic_loop.evidence import EVIDENCE, OPINION, is_whole
from critic_loop.metrics.cause import Cause, Why, because, cited, named, rejects, sources, who
from critic_loop.metrics.facts import Facts, is_unread

_MORE = {
    "budget": "a higher max_calls",
    "spent": "more in Spent, of what is named here, given to the loop as stop=",
    "elapsed": "more time in Elapsed, given to the loop as stop=",
    "steps": "a higher recursion_limit of the host",
}
"""What lifts each of `LIMITS`."""
_NOT_ON_RECORD = "Give the loop the source that knew it (a verifier, the hidden tests), or a better judge."
_GIVE = (
    "Add a reference answer to the task and run it again, or add another verifier, or rate the answer: "
    "store.add_feedback(attempt_id, Feedback.user(score=...))."
)


def why(tree: Tree) -> Why:
    """Return why a tree came to no right answer, or that it did. O(its records); never raises.

    The same tree always gives the same answer, and any beginning of a tree's log gives one.
    """
    facts = Facts(tree)
    found = next(found for check in _CHECKS if (found := check(facts)) is not None)
    return found if found.cause is Cause.VERIFIER_ABSTAINED else _with_crashes(facts, found)


# -- the tree has not ended, or is right --------------------------------------------------------------


def _ended_by_error(facts: Facts) -> Why | None:
    """Find an error that ended the tree."""
    return because(facts, Cause.ERROR, excerpt(facts.error, 400)) if facts.error else None


def _unfinished(facts: Facts) -> Why | None:
    """Find a loop that has not ended, or has the feedback it waited for and was not resumed."""
    if facts.answered:
        return because(
            facts,
            Cause.UNFINISHED,
            "The tree has the feedback from a person that it waited for: run it again.",
            hint="Run it again with the same store: it continues where it stopped.",
        )
    if facts.outcome is not None or _waits(facts):
        return None
    return because(
        facts,
        Cause.UNFINISHED,
        f"The loop has not ended: {count(len(facts.tree), 'attempt')} so far, "
        f"{len(facts.tree.open)} in flight.",
    )


def _interrupted(facts: Facts) -> Why | None:
    """Find a run that was interrupted, or stopped by hand."""
    by_hand = sorted(facts.stops & ENDED_BY_HAND)
    if facts.outcome is None or not by_hand:
        return None
    return because(
        facts,
        Cause.UNFINISHED,
        f"The run was {by_hand[0]} after {count(len(facts.tree), 'attempt')}.",
        hint="Run it again with the same store: no finished call is repeated.",
    )


def _solved(facts: Facts) -> Why | None:
    """Find that the chosen answer is right."""
    if facts.chosen is None or facts.right(facts.chosen) is not True:
        return None
    truth = facts.truths[facts.chosen.id]
    return because(
        facts,
        Cause.SOLVED,
        f"Nothing to explain: {named(facts.chosen)} was chosen and is right, according to {sources(truth)}.",
        shows=(facts.chosen, *truth.rests_on),
    )


def _waits(facts: Facts) -> bool:
    """Whether nothing but feedback from people is missing."""
    ended = facts.tree.outcome
    return ended is not None and ended.stop == "parked" and bool(facts.waiting) and not facts.resumed


def _parked(facts: Facts) -> Why | None:
    """Find a tree that waits only for feedback from people."""
    if not _waits(facts):
        return None
    return because(
        facts,
        Cause.PARKED,
        f"Waiting for a person's feedback on {count(len(facts.waiting), 'attempt')}.",
        shows=facts.waiting,
    )


# -- a right answer was lost, or a wrong one accepted -------------------------------------------------


def _broken_by_critique(facts: Facts) -> Why | None:
    """Find a right answer that was rejected, and whose revision is wrong."""
    last = facts.chosen or (facts.read[-1] if facts.read else None)
    if last is None or facts.right(last) is not False:
        return None
    for earlier, revision in _upwards(facts, last):
        if facts.right(earlier) is not True:
            continue
        steering = facts.steering_before(earlier.id, facts.at[revision])
        rejected = [f for f in steering if rejects(f)]
        if rejected:
            return because(
                facts,
                Cause.BROKEN_BY_CRITIQUE,
                f"{named(earlier)} was right, but {who(rejected[0])} rejected it, and its revision "
                f"{named(last)} is wrong, according to {sources(facts.truths[last.id])}.",
                shows=(earlier, *rejected, last, *facts.truths[last.id].rests_on),
            )
    return None


def _upwards(facts: Facts, last: Attempt) -> Iterator[tuple[Attempt, str]]:
    """Yield all attempts that an attempt was made from, nearest first, each with its revision on that path."""
    seen, queue = {last.id}, [last.id]
    for revision in queue:
        ask = facts.tree.asks[revision]
        for parent in (*ask.parents, *([ask.replaces] if ask.replaces else [])):
            if parent in seen or parent not in facts.tree.asks:
                continue
            seen.add(parent)
            queue.append(parent)
            if parent in facts.tree:
                yield facts.tree[parent], revision


def _found_not_selected(facts: Facts) -> Why | None:
    """Find a right answer where another one was chosen."""
    rights = [a for a in facts.read if facts.right(a) and a is not facts.chosen]
    if not rights or facts.outcome is None:
        return None
    best, truth = rights[0], facts.truths[rights[0].id]
    equal = {best.id, *(i for f in truth.rests_on if f.subject for i in f.subject.attempts)}
    known_then = facts.known_right_then(*equal)
    more = f" (and {len(rights) - 1:,} more)" if len(rights) > 1 else ""
    passed_over = f"{named(best)}{more} {'are' if more else 'is'} right, according to {sources(truth)}, but "
    rule = f"the selection {facts.outcome.select!r}" if facts.outcome.select else "the selection"
    if facts.chosen is None:
        text = f"{passed_over}{rule} chose none."
    else:
        known = "is wrong" if facts.right(facts.chosen) is False else "is not known to be right"
        text = f"{passed_over}{rule} chose {named(facts.chosen)}, which {known}."
    return because(
        facts,
        Cause.FOUND_NOT_SELECTED,
        text if known_then else f"{text} The selection could not know: this was not in the tree when it chose.",
        hint="" if known_then else _NOT_ON_RECORD,
        shows=(best, *truth.rests_on, *([facts.chosen] if facts.chosen else [])),
    )


def _false_accept(facts: Facts) -> Why | None:
    """Find a wrong answer that was accepted, where that mattered."""
    ended = facts.stops & {"accepted", "verified"}
    by_opinion = facts.outcome is not None and facts.outcome.decided_by in ("critic", "judge", "human")
    suspects = [facts.chosen] if facts.chosen else []
    suspects += [a for a in facts.read[-1:] if ended and a is not facts.chosen]
    for attempt in suspects:
        steering = facts.steering_before(attempt.id, facts.at.get("", len(facts.tree.log)))
        accepted = [f for f in steering if f.verdict is Verdict.PASS]
        known_then = any(f.source in EVIDENCE and f.verdict is Verdict.FAIL for f in steering)
        mattered = ended or not known_then or by_opinion
        if accepted and facts.right(attempt) is False and mattered:
            truth = facts.truths[attempt.id]
            effect = "and the loop stopped" if ended else "and it was chosen"
            return because(
                facts,
                Cause.FALSE_ACCEPT,
                f"{who(accepted[0])} accepted {named(attempt)} {effect}, but it is wrong, according to "
                f"{sources(truth)}.",
                shows=(attempt, *accepted, *truth.rests_on),
            )
    return None


# -- what kept the loop from its work -----------------------------------------------------------------


def _error(facts: Facts) -> Why | None:
    """Find failed attempts, where they decided how the tree ended."""
    failed = [a for a in facts.tree if a.status == "failed" and not is_unread(a)]
    nothing = bool(failed) and not facts.finals and not facts.stops & LIMITS
    if not (nothing or "error" in facts.stops or (failed and "failing" in facts.stops)):
        return None
    errors = [a.error for a in failed if a.error] or [facts.outcome.stop_text if facts.outcome else ""]
    return because(
        facts,
        Cause.ERROR,
        f"{count(len(failed), 'attempt')} failed, the last with: {excerpt(errors[-1], 200)}",
        shows=reversed(failed),
    )


def _unparsed(facts: Facts) -> Why | None:
    """Find answers or critiques most of which could not be read."""
    if facts.only_accepted:
        return None
    if len(facts.unread) > len(facts.read):
        return because(
            facts,
            Cause.UNPARSED,
            f"{len(facts.unread)} of {count(len(facts.finals), 'answer')} could not be read, the last because: "
            f"{excerpt(facts.unread[-1].error, 200)}",
            shows=reversed(facts.unread),
        )
    said = [f for f in facts.tree.feedback.values() if not f.advisory and f.source in ("critic", "judge")]
    critiques = [f for f in said if facts.at[f.id] < facts.at.get("", len(facts.tree.log))]
    garbled = [f for f in critiques if f.parse == "unparsed"]
    if 2 * len(garbled) <= len(critiques):
        return None
    return because(
        facts,
        Cause.UNPARSED,
        f"{len(garbled)} of {count(len(critiques), 'critique')} could not be read, so nothing guided the "
        f"loop; the last because: {excerpt(garbled[-1].reason or garbled[-1].text, 200)}",
        shows=reversed(garbled),
    )


def _verifier_abstained(facts: Facts) -> Why | None:
    """Find verifiers and graders that abstained, though they had what they need to judge."""
    abstained: dict[str, list[Feedback]] = {}
    for attempt in facts.read:
        evidence = [f for f in facts.tree.judgements(attempt.id) if f.source in EVIDENCE]
        evidence += [f for f in facts.tree.grades_on(attempt.id) if f.source == "grader" and is_whole(f)]
        known = facts.right(attempt) is not None
        if not known and all(f.verdict is Verdict.ABSTAIN for f in evidence):
            abstained[attempt.id] = [f for f in evidence if not f.lacks]
    abstained = {attempt_id: words for attempt_id, words in abstained.items() if words}
    decided = len(facts.read) - len(abstained)
    undecided = facts.chosen is not None and facts.chosen.id in abstained
    if not undecided and len(abstained) <= decided:
        return None
    words = [f for each in abstained.values() for f in each]
    return because(
        facts,
        Cause.VERIFIER_ABSTAINED,
        f"{who(words[-1])} could not judge {len(abstained)} of {count(len(facts.read), 'attempt')}: "
        f"{excerpt(words[-1].reason or words[-1].text, 200) or 'it gave no reason'}",
        shows=reversed(words),
    )


def _budget(facts: Facts) -> Why | None:
    """Find a limit that cut the search short."""
    limit = sorted(facts.stops & LIMITS)
    if not limit or facts.outcome is None or facts.only_accepted:
        return None
    spend = facts.outcome.spend
    more = " and ".join(_MORE[name] for name in limit)
    text = excerpt(facts.outcome.stop_text, 200).rstrip(".") or f"the limit {limit[0]!r} was reached"
    left = f", {len(facts.tree.open)} of them unfinished" if facts.tree.open else ""
    return because(
        facts,
        Cause.BUDGET,
        f"The search was cut short after {count(len(facts.tree.asks), 'attempt')}{left}, "
        f"{count(spend.calls, 'call')} and {spend.elapsed_s:.1f} s: {text}.",
        hint=f"Run the tree again with {more}: it goes on where it stopped.",
        shows=[facts.chosen] if facts.chosen else (),
    )


# -- no right answer, or none that is known -----------------------------------------------------------


def _never_found(facts: Facts) -> Why | None:
    """Find that no attempt is right, as far as is known."""
    wrong = [a for a in facts.read if facts.right(a) is False]
    if not wrong or facts.right(facts.chosen or wrong[-1]) is not False:
        return None
    rejected = [a for a in facts.read if facts.right(a) is None and _rejected(facts, a)]
    if 2 * (len(wrong) + len(rejected)) <= len(facts.read):
        return None
    if len(wrong) == len(facts.read):
        what = "is wrong" if len(wrong) == 1 else "are all wrong"
        text = f"No right answer was found: {count(len(wrong), 'attempt')}, which {what}"
    else:
        text = f"No right answer is known: {len(wrong)} of {count(len(facts.read), 'attempt')} are wrong"
        text += f", {len(rejected)} were rejected by critics" if rejected else ""
    different = len({to_json(a.answer) for a in facts.read})
    repeats = f"; only {count(different, 'different answer')} among them" if different < len(facts.read) else ""
    unread = f"; {len(facts.unread)} more could not be read" if facts.unread else ""
    shows = (record for a in reversed(wrong) for record in (a, *facts.truths[a.id].rests_on[:1]))
    return because(
        facts,
        Cause.NEVER_FOUND,
        f"{text}, according to {sources(facts.truths[wrong[-1].id])}{repeats}{unread}.",
        shows=shows,
    )


def _unknown(facts: Facts) -> Why:
    """Explain what is known about an answer when nothing tells whether it is right."""
    chosen = facts.chosen
    if chosen is None:
        text = "The loop ended without an answer"
        said = excerpt(facts.outcome.stop_text, 200).rstrip(".") if facts.outcome else ""
        return because(facts, Cause.UNKNOWN, f"{text}: {said}." if said else f"{text}.")
    grades = [f for f in facts.tree.grades_on(chosen.id) if f.source == "grader" and is_whole(f)]
    opinions = [f for f in facts.tree.judgements(chosen.id) if f.source in OPINION]
    scored = [f for f in facts.feedback_on[chosen.id] if f.source in EVIDENCE and f.score is not None]
    scored += [f for f in grades if f.score is not None]
    compared = [f for f in facts.tree.about(chosen.id) if f.preference is not None and not f.advisory]
    name, unsure = named(chosen), "whether it is right is unknown"
    accepting = [f for f in opinions if f.verdict is Verdict.PASS]
    rejecting = [f for f in opinions if rejects(f)]
    if facts.right(chosen) is False:
        others = count(len(facts.read) - 1, "other attempt")
        text = f"{name} is wrong, according to {sources(facts.truths[chosen.id])}; a right one may be there: "
        text = f"{text}nobody has judged most of the {others}."
    elif accepting:
        text = f"{who(accepting[0])} accepted {name}; {unsure}."
    elif rejecting:
        text = f"{who(rejecting[0])} rejected {name}; {unsure}."
    elif scored:
        text = f"{who(scored[-1])} gave {name} a score of {scored[-1].score:g}: neither right nor wrong."
    elif compared:
        text = f"{who(compared[-1])} compared {name} with others; {unsure}."
    else:
        text = f"Nobody has judged {name}: it has no verdict, and no feedback from a person."
    lacking = [f for f in (*facts.tree.judgements(chosen.id), *grades) if f.lacks]
    return because(
        facts,
        Cause.UNKNOWN,
        f"{text} {_lacking_text(lacking)}" if lacking else text,
        hint=_GIVE if lacking else "",
        shows=(chosen, *scored, *opinions, *compared, *lacking),
    )


def _lacking_text(lacking: Sequence[Feedback]) -> str:
    verifier = who(lacking[-1])
    return f"T{verifier[1:]} could not judge: the task has no {excerpt(lacking[-1].lacks, 60)}."


def _rejected(facts: Facts, attempt: Attempt) -> bool:
    opinions = [f for f in facts.tree.judgements(attempt.id) if f.source in OPINION]
    return any(rejects(f) for f in opinions) and not any(f.verdict is Verdict.PASS for f in opinions)


def _with_crashes(facts: Facts, found: Why) -> Why:
    """Return what was found, with the crashes of verifiers and graders: their verdicts are missing."""
    said = (*facts.tree.feedback.values(), *facts.tree.grades.values())
    crashes = [f for f in said if f.source in (*EVIDENCE, "grader") and f.parse == "error"]
    if not crashes:
        return found
    times, last = len(crashes), crashes[-1]
    text = f"{found.text.rstrip('.')}. A {last.source} crashed {'once' if times == 1 else f'{times:,} times'}: "
    text += excerpt(last.reason, 200)
    evidence = tuple(e for e in found.evidence if e.id != last.id)
    return found.model_copy(update={"text": text, "evidence": (*evidence, cited(last))})


_CHECKS: Sequence[Callable[[Facts], Why | None]] = (
    _ended_by_error,
    _unfinished,
    _solved,
    _parked,
    _interrupted,
    _broken_by_critique,
    _found_not_selected,
    _false_accept,
    _error,
    _unparsed,
    _verifier_abstained,
    _budget,
    _never_found,
    _unknown,
)
