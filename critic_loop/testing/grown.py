"""Writes a tree record by record, as a loop would, without one: what fixture trees are grown with.

Knows records and nothing of models, searches or stores.
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
"""When the clock of such a tree begins, in seconds since 1970."""


class _Asked(TypedDict, total=False):
    """What may be said of a move beside its parents."""

    kind: AttemptKind
    agent: str
    replaces: str | None
    group: str | None
    lane: int
    shown: tuple[str, ...]
    told: tuple[str, ...]


class Grown:
    """Writes a tree as a loop would, with a clock that counts seconds."""

    def __init__(self, name: str, task: Task, recipe: str, **head: str) -> None:
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

    def ask(self, *parents: str, **said: Unpack[_Asked]) -> str:
        """Ask for an attempt; return its id."""
        attempt = self.tree.next_attempt_id()
        view = ContextSpec(
            attempts=said.get("shown", parents), feedback=said.get("told", ()), fields=("answer", "text")
        )
        self.tree.append(
            Ask(
                attempt=attempt,
                parents=parents,
                kind=said.get("kind", "answer"),
                agent=said.get("agent", "actor"),
                seed=len(self.tree.asks),
                context=view,
                replaces=said.get("replaces"),
                group=said.get("group"),
                lane=said.get("lane", 0),
            )
        )
        return attempt

    def call(self, subject: tuple[str, ...], agent: str, prompt: str, *answers: Message) -> str:
        """Record a model call about `subject` and its reply; return its id."""
        call = f"{self.tree.id}.c{len(self.tree.calls) + 1}"
        turn = sum(1 for c in self.tree.calls.values() if (c.place.subject, c.place.agent) == (subject, agent))
        self.tree.append(
            Call(
                id=call,
                place=Place(subject=subject, agent=agent, turn=turn),
                digest=digest_of(prompt),
                request=(system(f"You are {agent}."), *self._pictures(), user(prompt)),
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

    def _pictures(self) -> tuple[Message, ...]:
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
        """Write what became of an attempt; return its id."""
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

    def write(self, text: str, *parents: str, **said: Unpack[_Asked]) -> str:
        """Ask for an attempt that a model answers with `text`; return its id."""
        attempt = self.ask(*parents, **said)
        message = assistant(text, sampled=True)
        agent = f"{said.get('agent', 'actor')}/0/solver"
        call = self.call((attempt,), agent, self._prompt(self.tree.asks[attempt]), message)
        return self.settle(attempt, message, answer=text, calls=(call,))

    def _prompt(self, ask: Ask) -> str:
        shown = [self.tree[i].answer for i in ask.context.attempts]
        told = [self.tree.feedback[i].text for i in ask.context.feedback]
        quoted = [self.fence("answer", str(text)) for text in shown] + [self.fence("feedback", t) for t in told]
        return "\n\n".join([self.tree.task.text, *quoted])

    def fence(self, name: str, text: str) -> str:
        """Return `text` as prompts show data."""
        boundary = digest_of([self.tree.head.key, "fence"])[:16]
        return f"<data {boundary} {name}>\n{text}\n</data {boundary}>"

    def say(self, about: Subject | str, feedback: Feedback, *, asked: str = "") -> str:
        """Add feedback about an attempt or another subject; return its id.

        With `asked` a model call of the author's is recorded, whose answer is the feedback's text.
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
        """Add a verifier's evidence on an attempt; return its id."""
        return self.say(
            attempt, Feedback(source="verifier", author="unit_tests", verdict=verdict, score=score, text=text)
        )

    def end(self, chosen: str | None, decided_by: str, stop: str) -> Tree:
        """Write the outcome; return the tree."""
        spend = Spend(calls=len(self.tree.calls), usage=self.tree.spend().usage, elapsed_s=self._now - START)
        self.tree.append(Event(kind="stop", at=self._tick(), text=stop))
        self.tree.append(Outcome(chosen=chosen, decided_by=decided_by, select="best", stop=stop, spend=spend))
        return self.tree
