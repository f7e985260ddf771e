"""A tree as a person reads it: attempts in order, each with what was said of it and what it changed.

Pure, and the same for every view: the terminal's, the page's, the JSON document. Knows records, worth and
truth. Does not know how anything is shown; texts are handed on as they are, and views make them safe.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import JsonValue
from pydantic_core import to_json

from critic_loop.cli.diff import Line, diff
from critic_loop.core.messages import (
    ContentPart,
    File,
    Image,
    Message,
    Opaque,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from critic_loop.core.records import Attempt, Call, Choice, Event, Feedback, Location, Outcome, Spend, Verdict
from critic_loop.core.tree import Tree
from critic_loop.evidence import says, truth_of, value_of
from critic_loop.metrics import Why, why


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An attempt, or one that is still in flight."""

    id: str
    number: str
    """Its place in the order of asking."""
    indent: int
    """Its level: a chain of revisions stays at one, what has siblings or follows one is deeper."""
    parents: tuple[str, ...]
    kind: str
    status: str
    """complete, partial, failed, parked or in flight."""
    worth: str
    """right or wrong where that is known; else accepted, rejected, scored (no more than that) or not judged."""
    score: float | None
    chosen: bool
    answer: str
    repeats: str
    """The number of the first attempt with the same answer, if that is an earlier one."""
    changed: tuple[Line, ...]
    """What it changed in its parent's answer; empty for drafts, and where nothing changed."""
    work: tuple[tuple[str, str], ...]
    """Role and text of its messages, where there is more to them than the answer."""
    error: str
    feedback: tuple[Remark, ...]
    calls: tuple[Asked, ...]
    calls_made: int
    """Own ones and those for feedback on it."""
    tokens: int

    @property
    def grade(self) -> float | None:
        """Its score where nothing better is known: where it is right or wrong, an opinion would mislead."""
        return None if self.worth in ("right", "wrong") else self.score


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Attempts that are left out here, one after the other."""

    indent: int
    first: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A tree, or what was wished to be seen of it."""

    tree: str
    recipe: str
    created_at: float
    task: str
    reference: JsonValue
    attempts: int
    outcome: Outcome | None
    spend: Spend
    why: Why
    items: tuple[Node | Gap, ...]
    events: tuple[Event, ...]
    """What happened beside the attempts; the stop is in the outcome."""
    attempt: str | None = None
    """The attempt that was wished to be seen closely."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The attempts that are in it."""
        return tuple(item for item in self.items if isinstance(item, Node))

    @property
    def left_out(self) -> int:
        """How many attempts are not in it."""
        return sum(item.attempts for item in self.items if isinstance(item, Gap))


def outline(tree: Tree, *, most: int | None = None, attempt: str | None = None) -> Outline:
    """Return a tree as an outline. O(its records); only what is shown is looked at closely.

    Args:
        tree: the tree.
        most: attempts in it at most; those that lead to the answer or show the cause come first.
        attempt: only this one, with those on its path and its children.
    """
    reason = why(tree)
    shown = _near(tree, attempt) if attempt else _foremost(tree, reason, most)
    outcome = tree.outcome
    spend = tree.spend()
    if outcome is not None:
        spend = spend.model_copy(
            update={"elapsed_s": outcome.spend.elapsed_s, "cost_usd": outcome.spend.cost_usd}
        )
    return Outline(
        tree=tree.id,
        recipe=tree.head.recipe,
        created_at=tree.head.created_at,
        task="\n\n".join(message_text(m) for m in tree.task.prompt),
        reference=tree.task.reference,
        attempts=len(tree.asks),
        outcome=outcome,
        spend=spend,
        why=reason,
        items=tuple(_items(_Reader(tree), shown)),
        events=tuple(event for event in tree.events if event.kind != "stop"),
        attempt=attempt,
    )


# -- which attempts, in which order ----------------------------------------------------------------


def _near(tree: Tree, attempt: str) -> set[str]:
    return {*tree.path(attempt), *tree.children(attempt)}


def _foremost(tree: Tree, reason: Why, most: int | None) -> set[str] | None:
    """Return the attempts to show; None for all."""
    if most is None or len(tree.asks) <= most:
        return None
    cited = [e.id for e in reason.evidence if e.id in tree.asks]
    chosen = tree.outcome.chosen if tree.outcome else None
    path = list(tree.path(chosen)) if chosen else []
    wanted = [*path[-1:], *cited, *path[: most // 2], *reversed(path), *tree.asks]
    return set(list(dict.fromkeys(wanted))[:most])


def _items(reader: _Reader, shown: set[str] | None) -> Iterator[Node | Gap]:
    """Walk the tree in depth: a chain stays at one level, what has siblings or follows one goes deeper."""
    gap: Gap | None = None
    for attempt, indent in _walk(reader.tree):
        if shown is not None and attempt not in shown:
            before = gap or Gap(indent=indent, first=attempt, attempts=0)
            gap = Gap(indent=min(indent, before.indent), first=before.first, attempts=before.attempts + 1)
            continue
        if gap is not None:
            yield gap
            gap = None
        yield reader.node(attempt, indent)
    if gap is not None:
        yield gap


def _walk(tree: Tree) -> Iterator[tuple[str, int]]:
    seen: set[str] = set()
    stack = [(root, 0, len(tree.roots) > 1) for root in reversed(tree.roots)]
    while stack:
        attempt, indent, has_siblings = stack.pop()
        if attempt in seen:  # it has several parents
            continue
        seen.add(attempt)
        yield attempt, indent
        children = tree.children(attempt)
        several = len(children) > 1
        deeper = indent + (several or has_siblings)
        stack.extend((child, deeper, several) for child in reversed(children))


# -- one attempt -----------------------------------------------------------------------------------


class _Reader:
    """Reads attempts out of a tree, with all that was ever said of each."""

    def __init__(self, tree: Tree) -> None:
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
        self._first: dict[bytes, str] = {}
        for attempt in tree:
            if attempt.answer is not None:
                self._first.setdefault(to_json((attempt.kind, attempt.answer)), attempt.id)

    def node(self, attempt_id: str, indent: int) -> Node:
        ask, attempt = self.tree.asks[attempt_id], self.tree.attempts.get(attempt_id)
        said = tuple(self._said(f) for f in self._about[attempt_id])
        calls = tuple(
            self._asked(call) for call in (attempt.calls if attempt else ()) if call in self.tree.calls
        )
        spent = [*calls, *(call for each in all_said(said) for call in each.calls)]
        outcome = self.tree.outcome
        return Node(
            id=attempt_id,
            number=attempt_id.rpartition(".")[2],
            indent=indent,
            parents=ask.parents,
            kind=ask.kind,
            status=attempt.status if attempt else "in flight",
            worth=worth(self.tree, attempt_id) if attempt else "not judged",
            score=value_of(self.tree, attempt_id).score,
            chosen=outcome is not None and outcome.chosen == attempt_id,
            answer=answer_text(attempt) if attempt else "",
            repeats=self._repeats(attempt) if attempt else "",
            changed=self._changed(attempt) if attempt else (),
            work=_work(attempt) if attempt else (),
            error=attempt.error if attempt else "",
            feedback=said,
            calls=calls,
            calls_made=len({call.id for call in spent}),
            tokens=sum(call.input_tokens + call.output_tokens for call in {c.id: c for c in spent}.values()),
        )

    def _repeats(self, attempt: Attempt) -> str:
        first = self._first.get(to_json((attempt.kind, attempt.answer)), attempt.id)
        return "" if first == attempt.id else first.rpartition(".")[2]

    def _changed(self, attempt: Attempt) -> tuple[Line, ...]:
        before = self.tree.attempts.get(attempt.parents[0]) if attempt.parents else None
        if before is None or before.kind != attempt.kind:
            return ()
        return diff(answer_text(before), answer_text(attempt))

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
            calls=tuple(self._asked(call) for call in feedback.calls if call in self.tree.calls),
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
            replies=tuple(_replied(choice) for choice in reply.choices) if reply else (),
            error=reply.error if reply else "",
        )


def worth(tree: Tree, attempt_id: str) -> str:
    """Return in a word what an attempt is worth: known truth first, then opinion."""
    right = truth_of(tree, attempt_id).right
    if right is not None:
        return "right" if right else "wrong"
    value = value_of(tree, attempt_id)
    if value.accepted is not None:
        return "accepted" if value.accepted else "rejected"
    return "not judged" if value.score is None else "scored"


def answer_text(attempt: Attempt) -> str:
    """Return an attempt's answer as text, typed ones as JSON; where there is none, what was written last."""
    if attempt.answer is None:
        return next((m.text for m in reversed(attempt.messages) if m.role == "assistant" and m.text), "")
    return attempt.answer if isinstance(attempt.answer, str) else to_json(attempt.answer, indent=2).decode()


def _replied(choice: Choice) -> str:
    said = message_text(choice.message)
    if choice.finish_reason != "scored" or choice.logprobs is None:
        return said
    return f"{said}  [log-probability {sum(choice.logprobs):.3f}]"


def message_text(message: Message) -> str:
    """Return all parts of a message as text; pictures and files are named, not shown."""
    return "\n".join(text for part in message.parts if (text := _part_text(part)))


def _part_text(part: ContentPart) -> str:
    match part:
        case Text():
            return part.text
        case Image() | File():
            name = f" {part.name}" if isinstance(part, File) and part.name else ""
            size = f", {len(part.data):,} bytes" if part.data is not None else ""
            return f"[{part.type}{name}: {part.media_type}{size}, sha256 {part.sha256[:12]}]"
        case ToolCall():
            return f"[calls {part.name}({part.arguments_text or to_json(part.arguments).decode()})]"
        case ToolResult():
            said = "\n".join(_part_text(each) for each in part.parts)
            return f"[{part.name or 'tool'} {'fails' if part.is_error else 'answers'}] {said}"
        case Reasoning():
            return f"[thinks] {part.text}"
        case Opaque():
            return f"[a block of {part.provider}]"


def _work(attempt: Attempt) -> tuple[tuple[str, str], ...]:
    messages = attempt.messages
    plain = len(messages) == 1 and message_text(messages[0]).strip() == answer_text(attempt).strip()
    return () if plain else tuple((m.role, message_text(m)) for m in messages)


def _prompt(call: Call) -> tuple[tuple[str, str], ...]:
    return tuple((message.role, message_text(message)) for message in call.request)


def all_said(said: Iterable[Remark]) -> Iterator[Remark]:
    """Iterate over feedback and what was said of it in turn."""
    for each in said:
        yield each
        yield from all_said(each.feedback)


# -- one feedback ----------------------------------------------------------------------------------


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
            return _part_text(parts[location.content_part])
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
