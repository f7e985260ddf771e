"""What may have gone wrong in a tree, and its description: the cause, a sentence, the records that show it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic_core import to_json

from critic_loop.core.messages import Frozen
from critic_loop.core.printable import excerpt
from critic_loop.core.records import Attempt, Feedback, Verdict
from critic_loop.evidence import Truth
from critic_loop.metrics.facts import Facts

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
    """It is unknown whether the answer is right: neither failure nor success."""
    PARKED = "parked"
    UNFINISHED = "unfinished"
    SOLVED = "solved"


FAILURES = tuple(Cause)[:8]
"""Causes that say that something went wrong."""


_HINTS = {
    Cause.NEVER_FOUND: "Try a stronger actor, more attempts (samples find what revisions do not), or critiques "
    "with more detail.",
    Cause.FOUND_NOT_SELECTED: "Use select = 'verified-first', which takes what verifiers passed.",
    Cause.BROKEN_BY_CRITIQUE: "Fix or replace the critic that rejected it, or keep a revision only if it beats "
    "its parent: search refine with base = 'kept', select = 'keep-if-better'.",
    Cause.FALSE_ACCEPT: "Do not stop on this verdict alone: add a verifier, ask a stronger critic or several, "
    "or train this one on such trees.",
    Cause.UNPARSED: "Look at the texts (critic-loop show), then ask for the output in simpler words, allow "
    "more tokens, or use another model.",
    Cause.VERIFIER_ABSTAINED: "Fix the verifier or give tasks what it needs (checks); then run them again.",
    Cause.BUDGET: "",  # depends on the limit
    Cause.ERROR: "Fix what the message names, and run it again with the same store.",
    Cause.UNKNOWN: "Run with a verifier, or rate the answer: store.add_feedback(attempt_id, "
    "Feedback.user(score=...)).",
    Cause.PARKED: "Give the response with loop.respond(tree_id, ...), and run the tree again.",
    Cause.UNFINISHED: "If no process runs it any more, run it again with the same store: no finished call is "
    "repeated.",
    Cause.SOLVED: "",
}


class Evidence(Frozen):
    """A record that shows the cause."""

    id: str
    """An attempt's or a feedback's."""
    by: str = ""
    """Its author; empty for the loop's own actor."""
    quote: str = ""
    """Its text, shortened, on one line, safe to print."""


class Why(Frozen):
    """The cause, in a sentence that a person can act on, with the records that show it."""

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


def because(
    facts: Facts, cause: Cause, text: str, *, hint: str = "", shows: Iterable[Attempt | Feedback] = ()
) -> Why:
    """Return the finding; of more than five records of evidence the first five."""
    shown = list({record.id: record for record in shows}.values())[:_MOST_SHOWN]
    text = text[:1].upper() + text[1:]
    return Why(
        tree=facts.tree.id,
        cause=cause,
        text=text,
        evidence=tuple(map(cited, shown)),
        hint=hint or _HINTS[cause],
    )


def rejects(feedback: Feedback) -> bool:
    """Whether a loop revises after this feedback."""
    if feedback.verdict is not None:
        return feedback.verdict is Verdict.FAIL
    low = feedback.score is not None and feedback.score < 0.5
    return low or (feedback.first_error is not None and feedback.first_error >= 0)


def cited(record: Attempt | Feedback) -> Evidence:
    """Return a record as evidence."""
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


def named(attempt: Attempt) -> str:
    """Return an attempt's name in a sentence."""
    return f"attempt {attempt.id.rpartition('.')[2]}"


def who(feedback: Feedback) -> str:
    """Return the name of a feedback's author in a sentence."""
    author = excerpt(feedback.author, 60)
    source = "reviewer" if feedback.source == "human" else feedback.source
    return f"the {source}" if author in ("", feedback.source) else f"the {source} {author!r}"


def sources(truth: Truth) -> str:
    """Return the sources of what is known, as a sentence names them."""
    names = list(dict.fromkeys(who(f) for f in truth.rests_on))
    if not names:
        return "the task's reference"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
