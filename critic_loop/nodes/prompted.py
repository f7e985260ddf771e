"""Roles played by a model with a prompt: actor, critic, pairwise judge.

Knows how a view becomes messages. Does not know which model answers (`nodes.calls`) nor any prompt
text (`prompts/`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from critic_loop.assets import AgentSpec, Data, Template, Word, word
from critic_loop.core.errors import ConfigError
from critic_loop.core.messages import ContentPart, Message, assistant, system, user
from critic_loop.core.protocols import Completion, Request
from critic_loop.core.records import UNFINISHED, Ask, Attempt, Choice, Feedback, Place, Sampling, Task
from critic_loop.core.tools import spec_of
from critic_loop.core.tree import Tree
from critic_loop.nodes.desk import Desk, Turn, When, seed_of
from critic_loop.nodes.view import argued, earlier, evidence_on, masked_feedback, masked_messages
from critic_loop.outputs import CritiqueOutput

VARIABLES: dict[str, frozenset[str]] = {
    "actor": frozenset({"schema", "feedback", "rejected", "round", "so_far", "also_shown"}),
    "critic": frozenset({"task", "answer", "rejected", "reference", "feedback", "schema"}),
    "judge": frozenset({"task", "first", "second", "debate"}),
    "debater": frozenset({"task", "mine", "theirs", "debate"}),
}
"""What a prompt of each role is given."""
BLOCKS = {"actor": "feedback", "critic": "user", "judge": "user", "debater": "user"}
"""The block that a prompt of each role must have."""


@dataclass(frozen=True, kw_only=True)
class Prompted:
    """What the three have in common."""

    spec: AgentSpec
    template: Template
    slot: str
    name: str
    """Its agent path in places, as in `critic/0/stepwise`."""

    @property
    def template_id(self) -> str:
        """The template's name and hash, for the record."""
        return f"{self.template.name}@{self.template.digest[:12]}"

    def place(self, *subject: str, turn: int = 0) -> Place:
        """Return where a call of this role about `subject` stands."""
        return Place(subject=subject, agent=self.name, turn=turn)

    def sampling(self, over: Sampling, seed: int) -> Sampling:
        """Return the spec's sampling with what `over` sets laid over it; `seed` where neither sets one."""
        given = over.model_dump(exclude_defaults=True)
        own = self.spec.sampling.seed
        return self.spec.sampling.model_copy(update={"seed": seed if own is None else own, **given})

    def messages(self, block: str, values: dict[str, Any], key: str) -> tuple[Message, ...]:
        """Return the system message, if the template has one, and the message of `block`."""
        first = (
            (system(self.template.render("system", values, key)),) if "system" in self.template.blocks else ()
        )
        return (*first, user(self.template.render(block, values, key)))


@dataclass(frozen=True, kw_only=True)
class PromptedActor(Prompted):
    """An actor that is shown the task, its earlier attempts, and the feedback on them, as a conversation."""

    async def act(self, desk: Desk, asks: tuple[Ask, ...], so_far: tuple[Message, ...]) -> list[Turn]:
        """Answer all `asks` with one call of as many choices."""
        ask = asks[0]
        turn = sum(1 for message in so_far if message.role == "assistant")
        request = self.request(desk, ask, so_far, turn, choices=len(asks))
        place = self.place(ask.attempt, turn=turn)
        call, completion = await desk.calls.complete(place, self.slot, request, template=self.template_id)
        if ask.kind in UNFINISHED or self.begun(desk, ask):
            return [self._part(desk, ask, choice, call) for choice in completion.choices]
        return [self._turn(desk, so_far, choice.message, call) for choice in completion.choices]

    def request(
        self, desk: Desk, ask: Ask, so_far: tuple[Message, ...], turn: int, *, choices: int = 1
    ) -> Request:
        """Return what the model is asked; depends on the ask's frozen view alone."""
        return Request(
            messages=(*self.conversation(desk, ask), *so_far),
            tools=tuple(spec_of(tool) for tool in desk.tools.values()),
            output=desk.output.schema,
            sampling=self.sampling(ask.sampling, seed_of(ask.seed, turn)),
            choices=choices,
            continues=self._continues(desk, ask),
            accept=lambda completion: "" if ask.kind in UNFINISHED else _unusable_answer(desk, completion),
        )

    def conversation(self, desk: Desk, ask: Ask) -> tuple[Message, ...]:
        """Return task, earlier attempts and feedback as messages."""
        tree, key = desk.tree, desk.tree.head.key
        shown = [a for a in (tree[i] for i in ask.context.attempts) if not a.unfinished]
        values = self._values(desk, ask)
        opening = tree.task.prompt
        if "system" in self.template.blocks:
            opening = (system(self.template.render("system", values, key)), *opening)
        ending = (*self._aside(ask, values, key), *self._onward(desk, ask, values))
        if desk.memory == "rejected" and shown:
            values |= {"rejected": [answer_text(a) for a in shown], "round": len(shown)}
            values["feedback"] = self._feedback(desk, ask, shown[-1:])
            return (*opening, user(self.template.render("feedback", values, key)), *ending)
        turns: list[Message] = []
        for number, attempt in enumerate(shown, start=1):
            values |= {"feedback": self._feedback(desk, ask, [attempt]), "round": number}
            turns += masked_messages(attempt.messages, ask.context.fields)
            turns.append(user(self.template.render("feedback", values, key)))
        return (*opening, *turns, *ending)

    def _values(self, desk: Desk, ask: Ask) -> dict[str, Any]:
        begun = self.begun(desk, ask)
        beside = [
            {"answer": answer_text(a), "feedback": self._feedback(desk, ask, [a])}
            for a in (desk.tree[i] for i in ask.context.also_shown)
        ]
        values: dict[str, Any] = {"schema": Word(desk.output.describe()), "feedback": [], "rejected": []}
        return values | {"round": 0, "so_far": answer_text(begun) if begun else "", "also_shown": beside}

    def begun(self, desk: Desk, ask: Ask) -> Attempt | None:
        """Return the unfinished attempt that this one goes on from, if it does."""
        last = desk.tree[ask.context.attempts[-1]] if ask.context.attempts else None
        return last if last is not None and last.unfinished else None

    def _aside(self, ask: Ask, values: dict[str, Any], key: str) -> tuple[Message, ...]:
        """Return what shows the attempts beside the path.

        Raises:
            ConfigError: the prompt has no block for them.
        """
        if not ask.context.also_shown:
            return ()
        if "also_shown" not in self.template.blocks:
            raise ConfigError(
                "the search shows attempts beside the path, but "
                f"{self.template.where} has no block 'also_shown'.",
                hint="Give it one that prints the variable 'also_shown', as actor/step does.",
            )
        return (user(self.template.render("also_shown", values, key)),)

    def _onward(self, desk: Desk, ask: Ask, values: dict[str, Any]) -> tuple[Message, ...]:
        """Return what asks for the next step: the prompt's words, or what is written, to be gone on with."""
        begun = self.begun(desk, ask)
        if ask.kind not in UNFINISHED and begun is None:
            return ()
        if "next" in self.template.blocks:
            return (user(self.template.render("next", values, desk.tree.head.key)),)
        return (assistant(self._so_far(begun)),) if begun is not None else ()

    def _continues(self, desk: Desk, ask: Ask) -> bool:
        return "next" not in self.template.blocks and self.begun(desk, ask) is not None

    def _so_far(self, begun: Attempt) -> str:
        """Return what was written, to be gone on from: what ended the last step stands at its end."""
        text, joint = answer_text(begun), self.spec.steps.joint if self.spec.steps else "\n"
        return text if text.endswith(self.spec.sampling.stop) else text + joint

    def _part(self, desk: Desk, ask: Ask, choice: Choice, call: str) -> Turn:
        """Return a step, or what ends an answer that was begun in steps, with the text so far before it."""
        begun, steps = self.begun(desk, ask), self.spec.steps
        if ask.kind == "step" and steps is None:
            raise ConfigError(
                f"the search asks {self.name} for a step, but its spec does not say where an answer ends.",
                hint="Set steps = { ends = 'a regular expression' } in the agent's spec.",
            )
        message, stop, before = choice.message, choice.stopped_by, ""
        if begun is not None and not (ask.kind == "answer" and begun.kind == "thought"):
            before = self._so_far(begun)
        ends = ask.kind == "answer" or (steps is not None and bool(re.search(steps.ends, message.text + stop)))
        unfinished = ask.kind == "thought" or not ends
        behind = stop if unfinished and ask.kind == "step" else ""
        if before or behind:
            message = assistant(f"{before}{message.text}{behind}", sampled=True)
        if unfinished:
            return Turn(messages=(message,), calls=(call,), unfinished=True)
        return Turn(messages=(message,), answer=desk.output.parse(message), calls=(call,))

    def _feedback(self, desk: Desk, ask: Ask, attempts: Iterable[Attempt]) -> list[dict[str, Any]]:
        about = {a.id for a in attempts}
        given = (desk.tree.feedback[i] for i in ask.context.feedback)
        chosen = [f for f in given if f.subject and set(f.subject.attempts) & about]
        return [feedback_values(f) for f in masked_feedback(chosen, ask.context.fields)]

    def _turn(self, desk: Desk, so_far: tuple[Message, ...], message: Message, call: str) -> Turn:
        messages = (*so_far, message)
        answer = None if message.tool_calls and desk.tools else desk.output.parse(message)
        return Turn(messages=messages, answer=answer, calls=(call,))


@dataclass(frozen=True, kw_only=True)
class PromptedCritic(Prompted):
    """A critic that is shown the task, the answer, and what else its recipe lets it see."""

    output: CritiqueOutput
    sees: tuple[str, ...] = ("answer",)
    when: When = "always"
    shadow: bool = False

    async def critique(self, desk: Desk, attempt_id: str) -> Feedback:
        """Ask once; a reply without a verdict or score is an abstention."""
        tree = desk.tree
        values = critic_values(desk, attempt_id, self.sees) | {"schema": Word(self.output.describe())}
        messages = self.messages("user", values, tree.head.key)
        messages = (*messages[:-1], with_blobs(messages[-1], tree.task))
        call, completion = await self._ask(desk, attempt_id, messages)
        feedback = self.output.parse(completion.choices[0].message)
        return feedback.model_copy(update={"calls": (call,), "saw_reference": "reference" in self.sees})

    async def _ask(self, desk: Desk, attempt_id: str, messages: tuple[Message, ...]) -> tuple[str, Completion]:
        seed = seed_of(desk.tree.asks[attempt_id].seed, self.name)
        request = Request(
            messages=messages,
            output=self.output.schema,
            sampling=self.sampling(Sampling(), seed),
            accept=lambda completion: _unusable_critique(self.output, completion),
        )
        return await desk.calls.complete(self.place(attempt_id), self.slot, request, template=self.template_id)


@dataclass(frozen=True, kw_only=True)
class PromptedJudge(Prompted):
    """A judge that is shown two answers as A and B, and what was argued for each."""

    output: CritiqueOutput

    async def compare(self, desk: Desk, first: str, second: str) -> Feedback:
        """Ask once, in this order."""
        tree = desk.tree
        values = {
            "task": tree.task.text,
            "first": Data("answer A", answer_text(tree[first])),
            "second": Data("answer B", answer_text(tree[second])),
            "debate": transcript(tree, {"A": first, "B": second}),
        }
        messages = self.messages("user", values, tree.head.key)
        messages = (*messages[:-1], with_blobs(messages[-1], tree.task))
        seed = seed_of(tree.asks[first].seed, tree.asks[second].seed, self.name)
        request = Request(
            messages=messages,
            output=self.output.schema,
            sampling=self.sampling(Sampling(), seed),
            accept=lambda completion: _unusable_critique(self.output, completion),
        )
        call, completion = await desk.calls.complete(
            self.place(first, second), self.slot, request, template=self.template_id
        )
        return self.output.parse(completion.choices[0].message).model_copy(update={"calls": (call,)})


def _unusable_answer(desk: Desk, completion: Completion) -> str:
    """Return why none of the choices holds an answer; nothing if one does, or calls a tool."""
    reason = ""
    for choice in completion.choices:
        if choice.message.tool_calls and desk.tools:
            return ""
        parsed = desk.output.parse(choice.message)
        if parsed.found or parsed.status == "refused":
            return ""
        reason = parsed.reason or "it cannot be read"
    return reason


def _unusable_critique(output: CritiqueOutput, completion: Completion) -> str:
    """Return why a critique cannot be read; nothing if it can."""
    feedback = output.parse(completion.choices[0].message)
    return feedback.reason if feedback.parse == "unparsed" else ""


def critic_values(desk: Desk, attempt_id: str, sees: tuple[str, ...]) -> dict[str, Any]:
    """Return the template variables of a critic, masked by `sees`."""
    tree = desk.tree
    attempt, task = tree[attempt_id], tree.task
    reference = task.reference if "reference" in sees else None
    return {
        "task": task.text,
        "answer": answer_text(attempt) if "answer" in sees else "",
        "rejected": [answer_text(a) for a in earlier(tree, attempt_id)] if "rejected" in sees else [],
        "reference": "" if reference is None else plain_text(reference),
        "feedback": [feedback_values(f) for f in evidence_on(tree, attempt_id, sees)],
    }


def feedback_values(feedback: Feedback) -> dict[str, Any]:
    """Return a feedback as template variables: names as words, everything else to be fenced."""
    return {
        "source": Word(feedback.source),
        "author": word(feedback.author),
        "verdict": _verdict(feedback.verdict),
        "score": feedback.score,
        "text": feedback.text,
        "suggestion": feedback.suggestion,
        "first_error": feedback.first_error,
        "steps": [{"index": s.index, "verdict": _verdict(s.verdict), "text": s.text} for s in feedback.steps],
        "rubric": [
            {"name": c.name, "verdict": _verdict(c.verdict), "score": c.score, "text": c.text}
            for c in feedback.rubric
        ],
    }


def transcript(tree: Tree, sides: dict[str, str], rounds: int | None = None) -> list[dict[str, Any]]:
    """Return what was said for two attempts as template variables, round by round.

    Args:
        tree: where it was said.
        sides: the two attempts, by what the reader calls them.
        rounds: how many rounds are shown; None = all.
    """
    mine, theirs = sides.values()
    rows = list(zip(argued(tree, mine, theirs), argued(tree, theirs, mine), strict=False))
    return [
        {"side": Word(side), "argument": argument.text}
        for both in rows[:rounds]
        for side, argument in zip(sides, both, strict=True)
    ]


def _verdict(verdict: object) -> Word | None:
    return None if verdict is None else Word(str(verdict))


def answer_text(attempt: Attempt) -> str:
    """Return an attempt as others read it: what the actor wrote last, else its answer as JSON."""
    written = next((m.text for m in reversed(attempt.messages) if m.role == "assistant" and m.text), "")
    return written or plain_text(attempt.answer)


def plain_text(value: Any) -> str:
    """Return text as it is and anything else as JSON."""
    return value if isinstance(value, str) else to_json(value).decode()


def with_blobs(message: Message, task: Task) -> Message:
    """Return `message` with the task's images and files behind its text."""
    blobs: tuple[ContentPart, ...] = tuple(b for m in task.prompt for b in m.blobs)
    return message.model_copy(update={"parts": (*message.parts, *blobs)}) if blobs else message
