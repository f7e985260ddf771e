"""Why a tree came to no right answer: one cause, in words, with the records that show it.

A pure function of the tree, so that it says more as soon as more is known: a verifier that is run
afterwards, or a user's word days later, counts like any other. What is right is `metrics.truth`'s
business; where nobody knows, the cause is `unknown`. Does not know stores or how it is shown.

Several things may have gone wrong in one tree. The order in which `_CHECKS` are asked decides what is
named: first that the tree has not ended or is right after all; then how a right answer got lost; then
what ended the loop too early; then what kept it from judging; last that it did not find a right answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum

from pydantic_core import to_json

from critic_loop.core.messages import Frozen
from critic_loop.core.printable import excerpt
from critic_loop.core.records import Attempt, Feedback, Verdict
from critic_loop.core.stop import LIMITS
from critic_loop.core.tree import Tree
from critic_loop.core.value import EVIDENCE
from critic_loop.metrics.case import Case, is_unread
from critic_loop.metrics.truth import Truth

_MOST_SHOWN = 5


class Cause(StrEnum):
    """What went wrong, or that nothing did (the last six)."""

    NEVER_FOUND = "never_found"
    FOUND_NOT_SELECTED = "found_not_selected"
    BROKEN_BY_CRITIQUE = "broken_by_critique"
    FALSE_ACCEPT = "false_accept"
    UNPARSED = "unparsed"
    VERIFIER_ABSTAINED = "verifier_abstained"
    BUDGET = "budget"
    ERROR = "error"
    UNKNOWN = "unknown"
    """Nobody who can know has judged the answer, or could: neither failure nor success."""
    PARKED = "parked"
    UNFINISHED = "unfinished"
    SOLVED = "solved"


FAILURES = tuple(Cause)[:8]
"""Causes that say that something went wrong."""


_HINTS = {
    Cause.NEVER_FOUND: "Try a stronger actor, more attempts (samples find what revisions do not), or critiques "
    "that say more.",
    Cause.FOUND_NOT_SELECTED: "Use select = 'verified-first', which takes what verifiers passed.",
    Cause.BROKEN_BY_CRITIQUE: "Mend or replace whoever rejected it, or keep a revision only if it beats its "
    "parent: search refine with base = 'kept', select = 'keep-if-better'.",
    Cause.FALSE_ACCEPT: "Do not stop on this word alone: add a verifier, ask a stronger critic or several, or "
    "train this one on such trees.",
    Cause.UNPARSED: "Look at what was written (critic-loop show), then ask for the output in plainer words, "
    "allow more tokens, or use another model.",
    Cause.VERIFIER_ABSTAINED: "Mend the verifier or give tasks what it needs (checks); then run them again.",
    Cause.BUDGET: "",  # as the limit is
    Cause.ERROR: "Mend what the message names, and run it again with the same store.",
    Cause.UNKNOWN: "Run with a verifier, or add what is known: store.add_feedback(attempt_id, "
    "Feedback.user(score=...)).",
    Cause.PARKED: "Give it with loop.hear(tree_id, ...), and run the tree again.",
    Cause.UNFINISHED: "If nothing runs any more, run it again with the same store: no finished call is "
    "repeated.",
    Cause.SOLVED: "",
}
_MORE = {
    "budget": "a higher max_calls",
    "spent": "more in Spent, of what is named here, given to the loop as stop=",
    "elapsed": "more time in Elapsed, given to the loop as stop=",
    "steps": "a higher recursion_limit of the host",
}
"""What lifts each of `LIMITS`."""
_GIVE = (
    "If it is known, run the task anew with it; else add another verifier, or what is known of the answer: "
    "store.add_feedback(attempt_id, Feedback.user(score=...))."
)
_NOT_ON_RECORD = "Let the loop have what knew it (a verifier, the hidden tests), or a better judge."


class Evidence(Frozen):
    """A record that shows the cause."""

    id: str
    """An attempt's or a feedback's."""
    by: str = ""
    """Who said it; empty for the loop's own actor."""
    quote: str = ""
    """What was said, shortened, on one line, safe to print."""


class Why(Frozen):
    """The cause, in a sentence that a person can act on, with what shows it."""

    tree: str
    cause: Cause
    text: str
    evidence: tuple[Evidence, ...] = ()
    hint: str = ""
    """What to do next; empty where there is nothing to do."""

    @property
    def failed(self) -> bool:
        """Whether something is known to have gone wrong."""
        return self.cause in FAILURES

    def __str__(self) -> str:
        lines = [f"{self.cause}: {self.text}"]
        lines += [f"  {e.id}{f' by {e.by}' if e.by else ''}: {e.quote}".rstrip(": ") for e in self.evidence]
        return "\n".join([*lines, f"Next: {self.hint}"] if self.hint else lines)


def why(tree: Tree) -> Why:
    """Return why a tree came to no right answer, or that it did. O(its records); never raises.

    The same tree always gives the same answer, and any beginning of a tree's log gives one.
    """
    case = Case(tree)
    found = next(found for check in _CHECKS if (found := check(case)) is not None)
    return found if found.cause is Cause.VERIFIER_ABSTAINED else _with_crashes(case, found)


def _because(
    case: Case, cause: Cause, text: str, *, hint: str = "", shows: Iterable[Attempt | Feedback] = ()
) -> Why:
    """Put the answer together; of much evidence the first records."""
    shown = list({record.id: record for record in shows}.values())[:_MOST_SHOWN]
    text = text[:1].upper() + text[1:]
    return Why(
        tree=case.tree.id,
        cause=cause,
        text=text,
        evidence=tuple(map(_cited, shown)),
        hint=hint or _HINTS[cause],
    )


# -- ends that are none, and ends that are right ---------------------------------------------------


def _ended_by_error(case: Case) -> Why | None:
    return _because(case, Cause.ERROR, excerpt(case.error, 400)) if case.error else None


def _unfinished(case: Case) -> Why | None:
    if case.heard:
        return _because(
            case,
            Cause.UNFINISHED,
            "The tree was waiting for a person's word and has been heard: run it again.",
            hint="Run it again with the same store: it goes on where it stopped.",
        )
    if case.outcome is not None or _waits(case):
        return None
    return _because(
        case,
        Cause.UNFINISHED,
        f"The loop has not ended: {_count(len(case.tree), 'attempt')} so far, {len(case.tree.open)} in flight.",
    )


def _interrupted(case: Case) -> Why | None:
    if case.outcome is None or "interrupted" not in case.stops:
        return None
    return _because(
        case,
        Cause.UNFINISHED,
        f"The run was interrupted after {_count(len(case.tree), 'attempt')}.",
        hint="Run it again with the same store: no finished call is repeated.",
    )


def _solved(case: Case) -> Why | None:
    if case.chosen is None or case.right(case.chosen) is not True:
        return None
    truth = case.truths[case.chosen.id]
    return _because(
        case,
        Cause.SOLVED,
        f"Nothing to explain: {_named(case.chosen)} was chosen and is right, says {_sources(truth)}.",
        shows=(case.chosen, *truth.rests_on),
    )


def _waits(case: Case) -> bool:
    """Whether only people's words are missing: none was said yet, or not by all who are asked."""
    ended = case.tree.outcome
    return ended is not None and ended.stop == "parked" and bool(case.waiting) and not case.went_on


def _parked(case: Case) -> Why | None:
    if not _waits(case):
        return None
    return _because(
        case,
        Cause.PARKED,
        f"Waiting for a person's word on {_count(len(case.waiting), 'attempt')}.",
        shows=case.waiting,
    )


# -- a right answer was there ----------------------------------------------------------------------


def _broken_by_critique(case: Case) -> Why | None:
    last = case.chosen or (case.read[-1] if case.read else None)
    if last is None or case.right(last) is not False:
        return None
    for earlier, revision in _upwards(case, last):
        if case.right(earlier) is not True:
            continue
        heard = case.obeyed_before(earlier.id, case.at[revision])
        rejected = [f for f in heard if _rejects(f)]
        if rejected:
            return _because(
                case,
                Cause.BROKEN_BY_CRITIQUE,
                f"{_named(earlier)} was right, but {_who(rejected[0])} rejected it, and its revision "
                f"{_named(last)} is wrong, says {_sources(case.truths[last.id])}.",
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


def _found_not_selected(case: Case) -> Why | None:
    rights = [a for a in case.read if case.right(a) and a is not case.chosen]
    if not rights or case.outcome is None:
        return None
    best, truth = rights[0], case.truths[rights[0].id]
    equal = {best.id, *(i for f in truth.rests_on if f.subject for i in f.subject.attempts)}
    known_then = case.known_right_then(*equal)
    more = f" (and {len(rights) - 1:,} more)" if len(rights) > 1 else ""
    passed_over = f"{_named(best)}{more} {'are' if more else 'is'} right, says {_sources(truth)}, but "
    rule = f"the selection {case.outcome.select!r}" if case.outcome.select else "the selection"
    if case.chosen is None:
        text = f"{passed_over}{rule} chose none."
    else:
        known = "is wrong" if case.right(case.chosen) is False else "nobody knows to be right"
        text = f"{passed_over}{rule} chose {_named(case.chosen)}, which {known}."
    return _because(
        case,
        Cause.FOUND_NOT_SELECTED,
        text if known_then else f"{text} The selection could not know: that was not on record for it.",
        hint="" if known_then else _NOT_ON_RECORD,
        shows=(best, *truth.rests_on, *([case.chosen] if case.chosen else [])),
    )


# -- the loop ended too early ----------------------------------------------------------------------


def _false_accept(case: Case) -> Why | None:
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
            return _because(
                case,
                Cause.FALSE_ACCEPT,
                f"{_who(accepted[0])} accepted {_named(attempt)} {effect}, but it is wrong, says "
                f"{_sources(truth)}.",
                shows=(attempt, *accepted, *truth.rests_on),
            )
    return None


def _error(case: Case) -> Why | None:
    failed = [a for a in case.tree if a.status == "failed" and not is_unread(a)]
    nothing = bool(failed) and not case.finals and not case.stops & LIMITS
    if not (nothing or "error" in case.stops or (failed and "failing" in case.stops)):
        return None
    errors = [a.error for a in failed if a.error] or [case.outcome.stop_text if case.outcome else ""]
    return _because(
        case,
        Cause.ERROR,
        f"{_count(len(failed), 'attempt')} came to nothing, the last with: {excerpt(errors[-1], 200)}",
        shows=reversed(failed),
    )


# -- nothing could be judged -----------------------------------------------------------------------


def _unparsed(case: Case) -> Why | None:
    if case.only_accepted:
        return None
    if len(case.unread) > len(case.read):
        return _because(
            case,
            Cause.UNPARSED,
            f"{len(case.unread)} of {_count(len(case.finals), 'answer')} could not be read, the last because: "
            f"{excerpt(case.unread[-1].error, 200)}",
            shows=reversed(case.unread),
        )
    said = [f for f in case.tree.feedback.values() if f.obeyed and f.source in ("critic", "judge")]
    critiques = [f for f in said if case.at[f.id] < case.at.get("", len(case.tree.log))]
    garbled = [f for f in critiques if f.parse == "unparsed"]
    if 2 * len(garbled) <= len(critiques):
        return None
    return _because(
        case,
        Cause.UNPARSED,
        f"{len(garbled)} of {_count(len(critiques), 'critique')} could not be read, so nothing guided the "
        f"loop; the last because: {excerpt(garbled[-1].reason or garbled[-1].text, 200)}",
        shows=reversed(garbled),
    )


def _verifier_abstained(case: Case) -> Why | None:
    abstained: dict[str, list[Feedback]] = {}
    for attempt in case.read:
        evidence = [f for f in case.tree.judgements(attempt.id) if f.source in EVIDENCE]
        known = case.right(attempt) is not None
        if not known and all(f.verdict is Verdict.ABSTAIN for f in evidence):
            abstained[attempt.id] = [f for f in evidence if not f.lacks]
    abstained = {attempt_id: words for attempt_id, words in abstained.items() if words}
    decided = len(case.read) - len(abstained)
    undecided = case.chosen is not None and case.chosen.id in abstained
    if not undecided and len(abstained) <= decided:
        return None
    words = [f for each in abstained.values() for f in each]
    return _because(
        case,
        Cause.VERIFIER_ABSTAINED,
        f"{_who(words[-1])} could not judge {len(abstained)} of {_count(len(case.read), 'attempt')}: "
        f"{excerpt(words[-1].reason or words[-1].text, 200) or 'it gave no reason'}",
        shows=reversed(words),
    )


def _with_crashes(case: Case, found: Why) -> Why:
    """Return what was found and, where a verifier crashed, that too: the others' word is all that counted."""
    crashes = [f for f in case.tree.feedback.values() if f.source == "verifier" and f.parse == "error"]
    if not crashes:
        return found
    times, last = len(crashes), crashes[-1]
    text = f"{found.text.rstrip('.')}. A verifier crashed {'once' if times == 1 else f'{times:,} times'}: "
    text += excerpt(last.reason, 200)
    evidence = tuple(e for e in found.evidence if e.id != last.id)
    return found.model_copy(update={"text": text, "evidence": (*evidence, _cited(last))})


def _budget(case: Case) -> Why | None:
    limit = sorted(case.stops & LIMITS)
    if not limit or case.outcome is None or case.only_accepted:
        return None
    spend = case.outcome.spend
    more = " and ".join(_MORE[name] for name in limit)
    text = excerpt(case.outcome.stop_text, 200).rstrip(".") or f"the limit {limit[0]!r} was reached"
    left = f", {len(case.tree.open)} of them unfinished" if case.tree.open else ""
    return _because(
        case,
        Cause.BUDGET,
        f"The search was cut short after {_count(len(case.tree.asks), 'attempt')}{left}, "
        f"{_count(spend.calls, 'call')} and {spend.elapsed_s:.1f} s: {text}.",
        hint=f"Run the tree again with {more}: it goes on where it stopped.",
        shows=[case.chosen] if case.chosen else (),
    )


# -- nothing right was found, or nobody knows ------------------------------------------------------


def _never_found(case: Case) -> Why | None:
    wrong = [a for a in case.read if case.right(a) is False]
    if not wrong or case.right(case.chosen or wrong[-1]) is not False:
        return None
    rejected = [a for a in case.read if case.right(a) is None and _rejected(case, a)]
    if 2 * (len(wrong) + len(rejected)) <= len(case.read):
        return None
    if len(wrong) == len(case.read):
        what = "is wrong" if len(wrong) == 1 else "are all wrong"
        text = f"No right answer was found: {_count(len(wrong), 'attempt')}, which {what}"
    else:
        text = f"No right answer is known: {len(wrong)} of {_count(len(case.read), 'attempt')} are wrong"
        text += f", {len(rejected)} were rejected by critics" if rejected else ""
    different = len({to_json(a.answer) for a in case.read})
    repeats = f"; only {_count(different, 'different answer')} among them" if different < len(case.read) else ""
    unread = f"; {len(case.unread)} more could not be read" if case.unread else ""
    shows = (record for a in reversed(wrong) for record in (a, *case.truths[a.id].rests_on[:1]))
    return _because(
        case,
        Cause.NEVER_FOUND,
        f"{text}, says {_sources(case.truths[wrong[-1].id])}{repeats}{unread}.",
        shows=shows,
    )


def _unknown(case: Case) -> Why:
    chosen = case.chosen
    if chosen is None:
        text = "The loop ended without an answer"
        said = excerpt(case.outcome.stop_text, 200).rstrip(".") if case.outcome else ""
        return _because(case, Cause.UNKNOWN, f"{text}: {said}." if said else f"{text}.")
    opinions = [f for f in case.tree.judgements(chosen.id) if f.source not in EVIDENCE]
    graded = [f for f in case.said[chosen.id] if f.source in EVIDENCE and f.score is not None]
    compared = [f for f in case.tree.about(chosen.id) if f.preference is not None and f.obeyed]
    name, nobody = _named(chosen), "nobody who can know has said whether it is right"
    accepting = [f for f in opinions if f.verdict is Verdict.PASS]
    rejecting = [f for f in opinions if _rejects(f)]
    if case.right(chosen) is False:
        others = _count(len(case.read) - 1, "other attempt")
        text = f"{name} is wrong, says {_sources(case.truths[chosen.id])}; a right one may have been there: "
        text = f"{text}nobody has judged most of the {others}."
    elif accepting:
        text = f"{_who(accepting[0])} accepted {name}; {nobody}."
    elif rejecting:
        text = f"{_who(rejecting[0])} rejected {name}; {nobody}."
    elif graded:
        text = f"{_who(graded[-1])} gave {name} a score of {graded[-1].score:g}: neither right nor wrong."
    elif compared:
        text = f"{_who(compared[-1])} compared {name} with others; {nobody}."
    else:
        text = f"Nobody could judge {name}: there is neither a verdict nor a word of a person on it."
    lacking = [f for f in case.tree.judgements(chosen.id) if f.lacks]
    return _because(
        case,
        Cause.UNKNOWN,
        f"{text} {_nothing_to_judge_by(lacking)}" if lacking else text,
        hint=_GIVE if lacking else "",
        shows=(chosen, *graded, *opinions, *compared, *lacking),
    )


def _nothing_to_judge_by(lacking: Sequence[Feedback]) -> str:
    verifier = _who(lacking[-1])
    return f"T{verifier[1:]} had nothing to judge by: the task has no {excerpt(lacking[-1].lacks, 60)}."


_CHECKS: Sequence[Callable[[Case], Why | None]] = (
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


# -- words -----------------------------------------------------------------------------------------


def _rejects(feedback: Feedback) -> bool:
    """Whether a loop that hears this goes on revising."""
    if feedback.verdict is not None:
        return feedback.verdict is Verdict.FAIL
    low = feedback.score is not None and feedback.score < 0.5
    return low or (feedback.first_error is not None and feedback.first_error >= 0)


def _rejected(case: Case, attempt: Attempt) -> bool:
    opinions = [f for f in case.tree.judgements(attempt.id) if f.source not in EVIDENCE]
    return any(_rejects(f) for f in opinions) and not any(f.verdict is Verdict.PASS for f in opinions)


def _cited(record: Attempt | Feedback) -> Evidence:
    if isinstance(record, Feedback):
        said = record.text or record.reason
        words = [] if record.verdict is None else [str(record.verdict)]
        words += [] if record.score is None else [f"score {record.score:g}"]
        quote = ": ".join(part for part in (", ".join(words), excerpt(said)) if part)
        return Evidence(id=record.id, by=excerpt(record.author, 60) or record.source, quote=quote)
    answer = record.answer
    written = next((m.text for m in reversed(record.messages) if m.role == "assistant" and m.text), "")
    text = answer if isinstance(answer, str) else written if answer is None else to_json(answer).decode()
    return Evidence(id=record.id, quote=excerpt(text or record.error))


def _named(attempt: Attempt) -> str:
    return f"attempt {attempt.id.rpartition('.')[2]}"


def _who(feedback: Feedback) -> str:
    author = excerpt(feedback.author, 60)
    source = "reviewer" if feedback.source == "human" else feedback.source
    return f"the {source}" if author in ("", feedback.source) else f"the {source} {author!r}"


def _sources(truth: Truth) -> str:
    names = list(dict.fromkeys(_who(f) for f in truth.rests_on))
    if not names:
        return "the task's reference"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
