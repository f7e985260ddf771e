"""Builds fixture trees record by record, as a loop writes them.

Knows records. Does not know models, searches or stores.
"""

from __future__ import annotations

from typing import TypedDict, Unpack

from pydantic import JsonValue

from critic_loop.core.messages import (
    Message,
    assistant,
    system,
    user,
)
from critic_loop.core.records import (
    Ask,
    Attempt,
    AttemptKind,
    AttemptStatus,
    Call,
    Choice,
    ContextSpec,
    Event,
    Feedback,
    Head,
    Outcome,
    Place,
    Reply,
    Sampling,
    Spend,
    Subject,
    Task,
    Usage,
    Verdict,
    digest_of,
)
from critic_loop.core.tree import Tree

START = 1_760_000_000.0
"""The time at which the clock of a built tree starts, in seconds since 1970."""

PASS, FAIL, ABSTAIN = Verdict.PASS, Verdict.FAIL, Verdict.ABSTAIN


def task_of(text: str) -> Task:
    """Return a task whose prompt is one user message."""
    return Task(prompt=(user(text),), tags=("fixture",))


class _MoveOptions(TypedDict, total=False):
    """The options of a move."""

    kind: AttemptKind
    agent: str
    replaces: str | None
    group: str | None
    lane: int
    shown: tuple[str, ...]
    told: tuple[str, ...]


class TreeBuilder:
    """Builds one tree. Its clock advances by a second with each record that has a time."""

    def __init__(self, name: str, task: Task, recipe: str, **head: str) -> None:
        """Begin the tree of this id; `head` may give its `origin`."""
        self.tree = Tree(
            Head(
                tree=name,
                task=task,
                recipe=recipe,
                recipe_digest=digest_of(recipe),
                seed=7,
                key=digest_of(name),
                origin=head.get("origin"),
                created_at=START,
            )
        )
        self._now = START

    def _tick(self) -> float:
        self._now += 1.0
        return self._now

    def ask(self, *parents: str, **options: Unpack[_MoveOptions]) -> str:
        """Add an ask; return the attempt's id."""
        attempt = self.tree.next_attempt_id()
        view = ContextSpec(
            attempts=options.get("shown", parents), feedback=options.get("told", ()), fields=("answer", "text")
        )
        self.tree.append(
            Ask(
                attempt=attempt,
                parents=parents,
                kind=options.get("kind", "answer"),
                agent=options.get("agent", "actor"),
                seed=len(self.tree.asks),
                context=view,
                replaces=options.get("replaces"),
                group=options.get("group"),
                lane=options.get("lane", 0),
            )
        )
        return attempt

    def call(self, subject: tuple[str, ...], agent: str, prompt: str, *answers: Message) -> str:
        """Add a model call about `subject` and its reply; return the call's id."""
        call = f"{self.tree.id}.c{len(self.tree.calls) + 1}"
        turn = sum(1 for c in self.tree.calls.values() if (c.place.subject, c.place.agent) == (subject, agent))
        self.tree.append(
            Call(
                id=call,
                place=Place(subject=subject, agent=agent, turn=turn),
                digest=digest_of(prompt),
                request=(system(f"You are {agent}."), *self._images(), user(prompt)),
                template=f"{agent}@{digest_of(agent)}",
                binding="scripted",
                sampling=Sampling(temperature=0.0, max_tokens=512),
                choices=len(answers),
                sent_at=self._tick(),
            )
        )
        self.tree.append(
            Reply(
                call=call,
                status="ok",
                choices=tuple(Choice(message=answer) for answer in answers),
                usage=Usage(
                    input_tokens=len(prompt) // 4, output_tokens=sum(len(a.text) for a in answers) // 4
                ),
                model="scripted-1",
                ended_at=self._tick(),
            )
        )
        return call

    def _images(self) -> tuple[Message, ...]:
        return tuple(user(*message.blobs) for message in self.tree.task.prompt if message.blobs)

    def settle(
        self,
        attempt: str,
        *messages: Message,
        answer: JsonValue = None,
        status: AttemptStatus = "complete",
        error: str = "",
        error_code: str = "",
        calls: tuple[str, ...] = (),
    ) -> str:
        """Add an attempt's record; return its id."""
        ask = self.tree.asks[attempt]
        self.tree.append(
            Attempt(
                id=attempt,
                parents=ask.parents,
                kind=ask.kind,
                messages=messages,
                answer=answer,
                status=status,
                error=error,
                error_code=error_code,
                replaces=ask.replaces,
                calls=calls,
            )
        )
        return attempt

    def write(self, text: str, *parents: str, **options: Unpack[_MoveOptions]) -> str:
        """Add an ask, a call that a model answers with `text`, and the attempt; return its id."""
        attempt = self.ask(*parents, **options)
        message = assistant(text, sampled=True)
        agent = f"{options.get('agent', 'actor')}/0/solver"
        call = self.call((attempt,), agent, self._prompt(self.tree.asks[attempt]), message)
        return self.settle(attempt, message, answer=text, calls=(call,))

    def _prompt(self, ask: Ask) -> str:
        shown = [self.tree[i].answer for i in ask.context.attempts]
        told = [self.tree.feedback[i].text for i in ask.context.feedback]
        quoted = [self.fence("answer", str(text)) for text in shown] + [self.fence("feedback", t) for t in told]
        return "\n\n".join([self.tree.task.text, *quoted])

    def fence(self, name: str, text: str) -> str:
        """Return `text` inside a fence, as prompts print data."""
        boundary = digest_of([self.tree.head.key, "fence"])[:16]
        return f"<data {boundary} {name}>\n{text}\n</data {boundary}>"

    def say(self, about: Subject | str, feedback: Feedback, *, asked: str = "") -> str:
        """Add feedback about an attempt or another subject; return its id.

        With `asked`, add the author's model call first: `asked` is its prompt, the feedback's text its answer.
        """
        subject = Subject.of(about) if isinstance(about, str) else about
        where = subject.attempts or (subject.feedback or "",)
        calls = (
            (self.call(where, feedback.author, asked, assistant(feedback.text, sampled=True)),) if asked else ()
        )
        added = feedback.model_copy(update={"id": self._next_id(feedback), "subject": subject, "calls": calls})
        self.tree.append(added)
        return added.id

    def _next_id(self, feedback: Feedback) -> str:
        is_grade = feedback.source == "grader"
        return self.tree.next_grade_id() if is_grade else self.tree.next_feedback_id()

    def verify(self, attempt: str, verdict: Verdict, score: float, text: str = "") -> str:
        """Add a verifier's feedback on an attempt; return its id."""
        return self.say(
            attempt, Feedback(source="verifier", author="unit_tests", verdict=verdict, score=score, text=text)
        )

    def end(self, chosen: str | None, decided_by: str, stop: str) -> Tree:
        """Add the outcome; return the tree."""
        spend = Spend(calls=len(self.tree.calls), usage=self.tree.spend().usage, elapsed_s=self._now - START)
        self.tree.append(Event(kind="stop", at=self._tick(), text=stop))
        self.tree.append(Outcome(chosen=chosen, decided_by=decided_by, select="best", stop=stop, spend=spend))
        return self.tree
