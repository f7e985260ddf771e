"""Roles played by a model with a prompt: actor, critic, pairwise judge.

Knows how messages are made of a view. Does not know models, trees, nor any prompt text (`prompts/`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from critic_loop.assets import AgentSpec, Data, Template, Word
from critic_loop.core.errors import ConfigError
from critic_loop.core.messages import Message, assistant, system, user
from critic_loop.core.protocols import Completion, CritiqueOutput, Output, Request
from critic_loop.core.records import UNFINISHED, Attempt, Choice, Feedback, Sampling
from critic_loop.core.roles import Turn, When, seed_of
from critic_loop.core.view import View
from critic_loop.roles.texts import answer_text, feedback_values, plain_text, transcript, with_blobs

VARIABLES: dict[str, frozenset[str]] = {
    "actor": frozenset({"schema", "feedback", "rejected", "round", "so_far", "also_shown"}),
    "critic": frozenset({"task", "answer", "rejected", "reference", "feedback", "schema"}),
    "judge": frozenset({"task", "first", "second", "debate"}),
    "debater": frozenset({"task", "mine", "theirs", "debate"}),
}
"""The variables that a prompt of each role may use."""
BLOCKS = {"actor": "feedback", "critic": "user", "judge": "user", "debater": "user"}
"""The block that a prompt of each role must have."""


@dataclass(frozen=True, kw_only=True)
class Prompted:
    """What all roles with a prompt have in common."""

    spec: AgentSpec
    template: Template
    slot: str
    name: str
    """Its agent's name in places, as in `critic/0/stepwise`."""

    @property
    def template_id(self) -> str:
        """The template's name and hash, for records."""
        return f"{self.template.name}@{self.template.digest[:12]}"

    def sampling(self, over: Sampling, seed: int) -> Sampling:
        """Return the spec's sampling, overridden by what `over` sets; with `seed` if neither sets one."""
        given = over.model_dump(exclude_defaults=True)
        own = self.spec.sampling.seed
        return self.spec.sampling.model_copy(update={"seed": seed if own is None else own, **given})

    def messages(self, block: str, values: Mapping[str, Any], key: str) -> tuple[Message, ...]:
        """Return the system message, if the template has one, and the message of `block`."""
        first = (
            (system(self.template.render("system", values, key)),) if "system" in self.template.blocks else ()
        )
        return (*first, user(self.template.render(block, values, key)))

    def question(self, values: Mapping[str, Any], view: View[Any]) -> tuple[Message, ...]:
        """Return the messages of the block `user`, with the task's images and files behind the last."""
        messages = self.messages("user", values, view.fence_key)
        return (*messages[:-1], with_blobs(messages[-1], view.task))


@dataclass(frozen=True, kw_only=True)
class PromptedActor(Prompted):
    """An actor that is shown the task, its earlier attempts, and the feedback on them, as a conversation."""

    output: Output[Any]
    memory: str = "full"
    """`rejected`: earlier answers are listed in one message; otherwise they are turns of a conversation."""

    async def act(self, views: Sequence[View[Any]]) -> list[Turn]:
        """Answer all `views` with one call of as many choices."""
        view = views[0]
        turn = sum(1 for message in view.so_far if message.role == "assistant")
        request = self.request(view, turn, choices=len(views))
        call, completion = await view.models.complete(request, template=self.template_id, turn=turn)
        if view.kind in UNFINISHED or _begun(view):
            return [self._part(view, choice, call) for choice in completion.choices]
        return [self._turn(view, choice.message, call) for choice in completion.choices]

    def request(self, view: View[Any], turn: int, *, choices: int = 1) -> Request:
        """Return the request to the model; it depends on the view alone."""
        return Request(
            messages=(*self.conversation(view), *view.so_far),
            tools=view.tools,
            output=self.output.schema,
            sampling=self.sampling(view.sampling, seed_of(view.seed, turn)),
            choices=choices,
            continues="next" not in self.template.blocks and _begun(view) is not None,
            accept=lambda completion: "" if view.kind in UNFINISHED else self._unusable(view, completion),
        )

    def conversation(self, view: View[Any]) -> tuple[Message, ...]:
        """Return task, earlier attempts and feedback as messages."""
        key, values = view.fence_key, self._values(view)
        shown = [a for a in view.path if not a.unfinished]
        opening = view.task.prompt
        if "system" in self.template.blocks:
            opening = (system(self.template.render("system", values, key)), *opening)
        ending = (*self._aside(view, values), *self._onward(view, values))
        if self.memory == "rejected" and shown:
            values |= {"rejected": [answer_text(a) for a in shown], "round": len(shown)}
            values["feedback"] = _feedback(view, shown[-1:])
            return (*opening, user(self.template.render("feedback", values, key)), *ending)
        turns: list[Message] = []
        for number, attempt in enumerate(shown, start=1):
            values |= {"feedback": _feedback(view, [attempt]), "round": number}
            turns += attempt.messages
            turns.append(user(self.template.render("feedback", values, key)))
        return (*opening, *turns, *ending)

    def _values(self, view: View[Any]) -> dict[str, Any]:
        begun = _begun(view)
        also_shown = [{"answer": answer_text(a), "feedback": _feedback(view, [a])} for a in view.also_shown]
        values: dict[str, Any] = {"schema": Word(self.output.describe()), "feedback": [], "rejected": []}
        return values | {
            "round": 0,
            "so_far": answer_text(begun) if begun else "",
            "also_shown": also_shown,
        }

    def _aside(self, view: View[Any], values: Mapping[str, Any]) -> tuple[Message, ...]:
        """Return the message that shows attempts beside the path, if there are any.

        Raises:
            ConfigError: the prompt has no block for them.
        """
        if not view.also_shown:
            return ()
        if "also_shown" not in self.template.blocks:
            raise ConfigError(
                "the search shows attempts beside the path, but "
                f"{self.template.where} has no block 'also_shown'.",
                hint="Give it one that prints the variable 'also_shown', as actor/step does.",
            )
        return (user(self.template.render("also_shown", values, view.fence_key)),)

    def _onward(self, view: View[Any], values: Mapping[str, Any]) -> tuple[Message, ...]:
        """Return the message that asks for the next step: the prompt's, else the text so far."""
        begun = _begun(view)
        if view.kind not in UNFINISHED and begun is None:
            return ()
        if "next" in self.template.blocks:
            return (user(self.template.render("next", values, view.fence_key)),)
        return (assistant(self._so_far(begun)),) if begun is not None else ()

    def _so_far(self, begun: Attempt) -> str:
        """Return the text so far, to be continued; it ends with what separates steps."""
        text, joint = answer_text(begun), self.spec.steps.joint if self.spec.steps else "\n"
        return text if text.endswith(self.spec.sampling.stop) else text + joint

    def _part(self, view: View[Any], choice: Choice, call: str) -> Turn:
        """Return a step, or the end of an answer made of steps, with the text so far before it."""
        begun, steps = _begun(view), self.spec.steps
        if view.kind == "step" and steps is None:
            raise ConfigError(
                f"the search asks {self.name} for a step, but its spec does not say where an answer ends.",
                hint="Set steps = { ends = 'a regular expression' } in the agent's spec.",
            )
        message, stop, before = choice.message, choice.stopped_by, ""
        if begun is not None and not (view.kind == "answer" and begun.kind == "thought"):
            before = self._so_far(begun)
        ends = view.kind == "answer" or (steps is not None and bool(re.search(steps.ends, message.text + stop)))
        unfinished = view.kind == "thought" or not ends
        behind = stop if unfinished and view.kind == "step" else ""
        if before or behind:
            message = assistant(f"{before}{message.text}{behind}", sampled=True)
        if unfinished:
            return Turn(messages=(message,), calls=(call,), unfinished=True)
        return Turn(messages=(message,), answer=self.output.parse(message), calls=(call,))

    def _turn(self, view: View[Any], message: Message, call: str) -> Turn:
        answer = None if message.tool_calls and view.tools else self.output.parse(message)
        return Turn(messages=(*view.so_far, message), answer=answer, calls=(call,))

    def _unusable(self, view: View[Any], completion: Completion) -> str:
        """Return why no choice has an answer; empty if one has, or calls a tool."""
        reason = ""
        for choice in completion.choices:
            if choice.message.tool_calls and view.tools:
                return ""
            parsed = self.output.parse(choice.message)
            if parsed.found or parsed.status == "refused":
                return ""
            reason = parsed.reason or "it cannot be read"
        return reason


def _begun(view: View[Any]) -> Attempt | None:
    """Return the unfinished attempt that this one continues, if any."""
    last = view.path[-1] if view.path else None
    return last if last is not None and last.unfinished else None


def _feedback(view: View[Any], attempts: Iterable[Attempt]) -> list[dict[str, Any]]:
    about = {a.id for a in attempts}
    return [feedback_values(f) for f in view.feedback if f.subject and set(f.subject.attempts) & about]


@dataclass(frozen=True, kw_only=True)
class PromptedCritic(Prompted):
    """A critic that is shown the task, the answer, and what else its recipe lets it see."""

    output: CritiqueOutput
    sees: tuple[str, ...] = ("answer",)
    when: When = "always"
    shadow: bool = False

    async def critique(self, view: View[Any]) -> Feedback:
        """Ask once; a reply without a verdict or score is an abstention."""
        values = critic_values(view, self.sees) | {"schema": Word(self.output.describe())}
        request = Request(
            messages=self.question(values, view),
            output=self.output.schema,
            sampling=self.sampling(Sampling(), view.seed),
            accept=lambda completion: _unusable_critique(self.output, completion),
        )
        call, completion = await view.models.complete(request, template=self.template_id)
        return signed(self.output.parse(completion.choices[0].message), call, completion, self.sees)


@dataclass(frozen=True, kw_only=True)
class PromptedJudge(Prompted):
    """A judge that is shown two answers as A and B, and what was argued for each."""

    output: CritiqueOutput

    async def compare(self, view: View[Any]) -> Feedback:
        """Ask once, in this order."""
        first, second = view.pair
        values = {
            "task": view.task.text,
            "first": Data("answer A", answer_text(first)),
            "second": Data("answer B", answer_text(second)),
            "debate": transcript(view, ("A", "B")),
        }
        request = Request(
            messages=self.question(values, view),
            output=self.output.schema,
            sampling=self.sampling(Sampling(), view.seed),
            accept=lambda completion: _unusable_critique(self.output, completion),
        )
        call, completion = await view.models.complete(request, template=self.template_id)
        return signed(self.output.parse(completion.choices[0].message), call, completion)


def signed(feedback: Feedback, call: str, completion: Completion, sees: Sequence[str] = ()) -> Feedback:
    """Return feedback with its call, and the model and weights that produced it."""
    version = f"@{completion.weight_version}" if completion.weight_version else ""
    update = {
        "calls": (call,),
        "saw_reference": "reference" in sees,
        "produced_by": f"{completion.model}{version}",
    }
    return feedback.model_copy(update=update)


def _unusable_critique(output: CritiqueOutput, completion: Completion) -> str:
    """Return why a critique cannot be parsed; empty if it can."""
    feedback = output.parse(completion.choices[0].message)
    return feedback.reason if feedback.parse == "unparsed" else ""


def critic_values(view: View[Any], sees: Sequence[str]) -> dict[str, Any]:
    """Return the template variables of a critic; the view is masked by `sees` already."""
    shown = view.attempt if "answer" in sees else None
    reference = view.task.reference
    return {
        "task": view.task.text,
        "answer": "" if shown is None else answer_text(shown),
        "rejected": [answer_text(a) for a in view.path],
        "reference": "" if reference is None else plain_text(reference),
        "feedback": [feedback_values(f) for f in view.feedback],
    }
