"""No right answer, or nobody who knows of one.

Each function returns what it finds; the last one always does.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic_core import to_json

from critic_loop.core.printable import count, excerpt
from critic_loop.core.records import Attempt, Feedback, Verdict
from critic_loop.evidence import EVIDENCE, OPINION, is_whole
from critic_loop.metrics.case import Case
from critic_loop.metrics.cause import Cause, Why, because, named, rejects, sources, who

_GIVE = (
    "If it is known, run the task anew with it; else add another verifier, or what is known of the answer: "
    "store.add_feedback(attempt_id, Feedback.user(score=...))."
)


def never_found(case: Case) -> Why | None:
    """Find that no attempt was right, as far as anybody knows."""
    wrong = [a for a in case.read if case.right(a) is False]
    if not wrong or case.right(case.chosen or wrong[-1]) is not False:
        return None
    rejected = [a for a in case.read if case.right(a) is None and _rejected(case, a)]
    if 2 * (len(wrong) + len(rejected)) <= len(case.read):
        return None
    if len(wrong) == len(case.read):
        what = "is wrong" if len(wrong) == 1 else "are all wrong"
        text = f"No right answer was found: {count(len(wrong), 'attempt')}, which {what}"
    else:
        text = f"No right answer is known: {len(wrong)} of {count(len(case.read), 'attempt')} are wrong"
        text += f", {len(rejected)} were rejected by critics" if rejected else ""
    different = len({to_json(a.answer) for a in case.read})
    repeats = f"; only {count(different, 'different answer')} among them" if different < len(case.read) else ""
    unread = f"; {len(case.unread)} more could not be read" if case.unread else ""
    shows = (record for a in reversed(wrong) for record in (a, *case.truths[a.id].rests_on[:1]))
    return because(
        case,
        Cause.NEVER_FOUND,
        f"{text}, says {sources(case.truths[wrong[-1].id])}{repeats}{unread}.",
        shows=shows,
    )


def unknown(case: Case) -> Why:
    """Say what is known of an answer that nobody who can know has judged."""
    chosen = case.chosen
    if chosen is None:
        text = "The loop ended without an answer"
        said = excerpt(case.outcome.stop_text, 200).rstrip(".") if case.outcome else ""
        return because(case, Cause.UNKNOWN, f"{text}: {said}." if said else f"{text}.")
    grades = [f for f in case.tree.grades_on(chosen.id) if f.source == "grader" and is_whole(f)]
    opinions = [f for f in case.tree.judgements(chosen.id) if f.source in OPINION]
    scored = [f for f in case.said[chosen.id] if f.source in EVIDENCE and f.score is not None]
    scored += [f for f in grades if f.score is not None]
    compared = [f for f in case.tree.about(chosen.id) if f.preference is not None and not f.advisory]
    name, nobody = named(chosen), "nobody who can know has said whether it is right"
    accepting = [f for f in opinions if f.verdict is Verdict.PASS]
    rejecting = [f for f in opinions if rejects(f)]
    if case.right(chosen) is False:
        others = count(len(case.read) - 1, "other attempt")
        text = f"{name} is wrong, says {sources(case.truths[chosen.id])}; a right one may have been there: "
        text = f"{text}nobody has judged most of the {others}."
    elif accepting:
        text = f"{who(accepting[0])} accepted {name}; {nobody}."
    elif rejecting:
        text = f"{who(rejecting[0])} rejected {name}; {nobody}."
    elif scored:
        text = f"{who(scored[-1])} gave {name} a score of {scored[-1].score:g}: neither right nor wrong."
    elif compared:
        text = f"{who(compared[-1])} compared {name} with others; {nobody}."
    else:
        text = f"Nobody could judge {name}: there is neither a verdict nor a word of a person on it."
    lacking = [f for f in (*case.tree.judgements(chosen.id), *grades) if f.lacks]
    return because(
        case,
        Cause.UNKNOWN,
        f"{text} {_nothing_to_judge_by(lacking)}" if lacking else text,
        hint=_GIVE if lacking else "",
        shows=(chosen, *scored, *opinions, *compared, *lacking),
    )


def _nothing_to_judge_by(lacking: Sequence[Feedback]) -> str:
    verifier = who(lacking[-1])
    return f"T{verifier[1:]} had nothing to judge by: the task has no {excerpt(lacking[-1].lacks, 60)}."


def _rejected(case: Case, attempt: Attempt) -> bool:
    opinions = [f for f in case.tree.judgements(attempt.id) if f.source in OPINION]
    return any(rejects(f) for f in opinions) and not any(f.verdict is Verdict.PASS for f in opinions)
