"""The feedback on an attempt, with the feedback on that feedback and the model calls behind it.

Returns text as it is; the views make it safe to show.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic_core import to_json

from critic_loop.core.records import Attempt, Call, Feedback, Location, Outcome, Verdict
from critic_loop.core.tree import Tree
from critic_loop.evidence import says
from critic_loop.render.messages import answer_text, message_text, part_text, reply_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A feedback, and what was said of it in turn."""

    id: str
    source: str
    author: str
    verdict: str | None
    score: float | None
    stance: str
    """The verdict, or what a score alone says: pass, fail, abstain, or empty."""
    text: str
    details: tuple[str, ...]
    """Steps, spans, rubric items, suggestion: a line each."""
    marks: tuple[str, ...]
    """What is special about it: shadow, late, taken back, unparsed, saw the reference."""
    subject: str
    """What else than the attempt as a whole it is about; empty where it is that."""
    calls: tuple[Asked, ...]
    feedback: tuple[Remark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A model call: what was asked and what came back."""

    id: str
    agent: str
    model: str
    status: str
    """ok, error, cancelled or in flight."""
    input_tokens: int
    output_tokens: int
    elapsed_s: float | None
    prompt: tuple[tuple[str, str], ...]
    """Role and text of each message."""
    replies: tuple[str, ...]
    error: str


def all_said(said: Iterable[Remark]) -> Iterator[Remark]:
    """Iterate over feedback and what was said of it in turn."""
    for each in said:
        yield each
        yield from all_said(each.feedback)


class Remarks:
    """The feedback of a tree, by the attempt that it is about."""

    def __init__(self, tree: Tree) -> None:
        """Read the whole log once."""
        self.tree = tree
        self._about: dict[str, list[Feedback]] = defaultdict(list)
        self._late: set[str] = set()
        said = (*tree.feedback.values(), *tree.grades.values())
        self._taken_back: set[str] = {f.supersedes for f in said if f.supersedes}
        place = {attempt: number for number, attempt in enumerate(tree.asks)}
        for record in tree.log:
            if isinstance(record, Outcome):
                self._late.clear()
            elif isinstance(record, Feedback) and record.subject is not None:
                latest = max(
                    record.subject.attempts, key=place.__getitem__, default=record.subject.feedback or ""
                )
                self._about[latest].append(record)
                self._late.add(record.id)
        if tree.outcome is None:
            self._late.clear()

    def on(self, attempt_id: str) -> tuple[Remark, ...]:
        """Return the feedback on an attempt, in the order of the log; a comparison is at its latest attempt."""
        return tuple(self._said(f) for f in self._about[attempt_id])

    def calls(self, ids: Iterable[str]) -> tuple[Asked, ...]:
        """Return the model calls of these ids; ids that the tree does not have are left out."""
        return tuple(self._asked(call) for call in ids if call in self.tree.calls)

    def _said(self, feedback: Feedback) -> Remark:
        marks = {
            "shadow": feedback.advisory,
            "late": feedback.id in self._late,
            "taken back": feedback.id in self._taken_back,
            feedback.parse: feedback.parse != "ok",
            "saw the reference": feedback.saw_reference,
        }
        return Remark(
            id=feedback.id,
            source=feedback.source,
            author=feedback.author,
            verdict=None if feedback.verdict is None else str(feedback.verdict),
            score=feedback.score,
            stance=_stance(feedback),
            text=feedback.text or feedback.reason,
            details=tuple(_details(feedback)),
            marks=tuple(mark for mark, holds in marks.items() if holds),
            subject=_about(feedback, self.tree),
            calls=self.calls(feedback.calls),
            feedback=tuple(self._said(f) for f in self._about.get(feedback.id, ())),
        )

    def _asked(self, call_id: str) -> Asked:
        call, reply = self.tree.calls[call_id], self.tree.replies.get(call_id)
        return Asked(
            id=call.id,
            agent=call.place.agent,
            model=call.binding,
            status=reply.status if reply else "in flight",
            input_tokens=reply.usage.input_tokens if reply else 0,
            output_tokens=reply.usage.output_tokens if reply else 0,
            elapsed_s=round(reply.ended_at - call.sent_at, 3) if reply else None,
            prompt=_prompt(call),
            replies=tuple(reply_text(choice) for choice in reply.choices) if reply else (),
            error=reply.error if reply else "",
        )


def _prompt(call: Call) -> tuple[tuple[str, str], ...]:
    return tuple((message.role, message_text(message)) for message in call.request)


def _stance(feedback: Feedback) -> str:
    """Return the verdict, or what a score alone says."""
    if feedback.verdict is not None:
        return str(feedback.verdict)
    return {True: "pass", False: "fail", None: ""}[says(feedback)]


def _about(feedback: Feedback, tree: Tree) -> str:
    subject = feedback.subject
    if subject is None or subject.feedback:
        return ""
    if len(subject.attempts) == 1:
        attempt = tree.attempts.get(subject.attempts[0])
        return "" if subject.location is None else f"on {_quoted_location(subject.location, attempt)}"
    names, shares = [a.rpartition(".")[2] for a in subject.attempts], feedback.preference
    if shares is None:
        return f"attempts {', '.join(names)}"
    return "shown in this order: " + ", ".join(f"{n} {s:.2f}" for n, s in zip(names, shares, strict=True))


def _quoted_location(location: Location, attempt: Attempt | None) -> str:
    """Return a location as a quotation, where it is there, else as a place."""
    if attempt is not None and location.start is not None:
        return f"“{_text_at(attempt, location.message)[location.start : location.end]}”"
    if attempt is not None and location.message is not None and location.content_part is not None:
        parts = [
            p for message in attempt.messages[location.message : location.message + 1] for p in message.parts
        ]
        if location.content_part < len(parts):
            return part_text(parts[location.content_part])
    places = (
        ("message", location.message),
        ("part", location.content_part),
        ("step", location.step),
        ("character", location.start),
    )
    return ", ".join(f"{name} {number + 1}" for name, number in places if number is not None)


def _text_at(attempt: Attempt, message: int | None) -> str:
    if message is None or message >= len(attempt.messages):
        return answer_text(attempt)
    return attempt.messages[message].text


def _details(feedback: Feedback) -> Iterator[str]:
    if feedback.text and feedback.reason:
        yield f"reason: {feedback.reason}"
    yield from _steps(feedback)
    for item in feedback.rubric:
        yield f"{item.name}: {_judged(item.verdict, item.score, item.text)}"
    for span in feedback.spans:
        yield f"characters {span.start} to {span.end}: {' '.join(filter(None, (span.label, span.text)))}"
    for box in feedback.boxes:
        place = f"{box.left:.0%} to {box.right:.0%} across, {box.top:.0%} to {box.bottom:.0%} down"
        yield f"region {place}: {box.text}"
    if feedback.suggestion:
        yield f"suggestion: {feedback.suggestion}"
    if feedback.confidence is not None:
        yield f"confidence {feedback.confidence:.2f}"
    if feedback.data:
        yield f"data: {to_json(feedback.data).decode()}"
    if feedback.trees:
        yield f"from trees {', '.join(feedback.trees)}"


def _steps(feedback: Feedback) -> Iterator[str]:
    """Yield a line for each step; one for all where the text tells the rest already."""
    steps = feedback.steps
    if len(steps) > 1 and all(step.text in feedback.text for step in steps):
        judged = (f"{step.index + 1} {_judged(step.verdict, step.score, '')}" for step in steps)
        yield f"steps: {', '.join(judged)}"
        return
    for step in steps:
        text = "" if step.text == feedback.text else step.text
        yield f"step {step.index + 1}: {_judged(step.verdict, step.score, text)}"


def _judged(verdict: Verdict | None, score: float | None, text: str) -> str:
    known = [str(verdict)] if verdict is not None else []
    known += [f"{score:.2f}"] if score is not None else []
    return ": ".join(filter(None, (" ".join(known), text)))
