"""Roles played by plain functions and by people: `@verifier`, `@critic`, `Human`, function actors.

    @cl.verifier
    async def applies(view: cl.View[Patch]) -> cl.Feedback | bool | float: ...

A bool is a verdict, a float a score in [0, 1], a Feedback everything. What a function raises is an
abstention with the reason: a broken verifier never fails an answer.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import math
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, overload

from critic_loop.core.errors import (
    CriticLoopError,
    ModelError,
    OutputError,
    Unreachable,
    VerifierError,
    boundary,
)
from critic_loop.core.messages import Message, assistant, user
from critic_loop.core.protocols import Completion, Request
from critic_loop.core.records import Ask, Feedback, Place, Sampling, Verdict
from critic_loop.nodes.desk import Desk, HumanCritic, Turn, When, seed_of
from critic_loop.nodes.prompted import plain_text
from critic_loop.nodes.view import (
    View,
    earlier,
    evidence_on,
    judged_attempt,
    masked_attempts,
    masked_feedback,
    masked_task,
)
from critic_loop.outputs import Parsed, output_of

Human = HumanCritic


@dataclass(frozen=True)
class FunctionCritic:
    """A verifier or critic made of a function of a `View`."""

    function: Callable[..., Any]
    name: str
    source: Literal["verifier", "critic"]
    sees: tuple[str, ...] = ("answer",)
    when: When = "always"
    slot: str = "critic"
    shadow: bool = False
    steps: bool = False
    """For verifiers: whether it also looks at steps that do not end an answer."""
    pairs: bool = False
    """For verifiers: whether it looks at an answer together with tests."""

    def __call__(self, view: View[Any]) -> Any:
        """Call the function itself, as in its own unit tests."""
        return self.function(view)

    async def critique(self, desk: Desk, attempt_id: str, tests: str | None = None) -> Feedback:
        """Show the function its view and read what it returns."""
        calls: list[str] = []
        view = self._view(desk, attempt_id, calls)
        if tests is not None:
            view = replace(view, also_shown=(desk.tree[tests],))
        with boundary(VerifierError, f"{self.source} {self.name!r}"):
            given = self.function(view)
            feedback = judgement(await given if inspect.isawaitable(given) else given)
        return feedback.model_copy(update={"calls": (*feedback.calls, *calls)})

    def _view(self, desk: Desk, attempt_id: str, calls: list[str]) -> View[Any]:
        tree = desk.tree
        attempt = tree[attempt_id]
        hidden = self.source == "critic" and "answer" not in self.sees
        answer = None if hidden or attempt.answer is None else desk.output.load(attempt.answer)
        path, seed = partial(earlier, tree, attempt_id), seed_of(tree.asks[attempt_id].seed, self.name)
        ask = self._asker(desk, attempt_id, seed, calls)
        if self.source == "verifier":
            return View(task=tree.task, answer=answer, attempt=attempt, path=path, seed=seed, _ask=ask)
        return View(
            task=masked_task(tree.task, self.sees),
            answer=answer,
            attempt=judged_attempt(attempt, self.sees),
            path=(lambda: masked_attempts(path(), self.sees)) if "rejected" in self.sees else (),
            feedback=evidence_on(tree, attempt_id, self.sees),
            seed=seed,
            _ask=ask,
        )

    def _asker(self, desk: Desk, attempt_id: str, seed: int, calls: list[str]) -> Callable[[str, Any], Any]:
        turns = itertools.count()

        async def ask(prompt: str, output: Any) -> Any:
            if self.source == "verifier":
                raise TypeError(f"verifier {self.name!r} asks a model: evidence must be deterministic.")
            place = Place(subject=(attempt_id,), agent=self.name, turn=next(turns))
            sampling = Sampling(seed=seed_of(seed, place.turn))
            call, value = await ask_model(desk, place, self.slot, prompt, output, sampling)
            calls.append(call)
            return value

        return ask


async def ask_model(
    desk: Desk, place: Place, slot: str, prompt: str, output: Any, sampling: Sampling
) -> tuple[str, Any]:
    """Ask one question on behalf of a function; return the call's id and the parsed reply."""
    wanted = output_of(output)

    def accept(completion: Completion) -> str:
        parsed = wanted.parse(completion.choices[0].message)
        return "" if parsed.found or parsed.status == "refused" else parsed.reason or "it cannot be read"

    request = Request(messages=(user(prompt),), output=wanted.schema, sampling=sampling, accept=accept)
    call, completion = await desk.calls.complete(place, slot, request)
    parsed = wanted.parse(completion.choices[0].message)
    if not parsed.found:
        raise OutputError(f"the reply to {prompt[:40]!r} does not fit {wanted.name}: {parsed.reason}")
    return call, parsed.value


def judgement(given: object) -> Feedback:
    """Return what a function returned as feedback.

    Raises:
        VerifierError: it is neither Feedback nor bool nor a number in [0, 1].
    """
    match given:
        case Feedback():
            return given
        case bool():
            return Feedback(verdict=Verdict.PASS if given else Verdict.FAIL)
        case int() | float() if math.isfinite(given) and 0 <= given <= 1:
            return Feedback(score=float(given))
        case _:
            raise VerifierError(
                f"returned {given!r}.", hint="Return a Feedback, a bool, or a number from 0 to 1."
            )


@overload
def verifier(function: Callable[..., Any], /) -> FunctionCritic: ...
@overload
def verifier(
    *, name: str = "", steps: bool = False, pairs: bool = False
) -> Callable[[Callable[..., Any]], FunctionCritic]: ...
def verifier(
    function: Callable[..., Any] | None = None, /, *, name: str = "", steps: bool = False, pairs: bool = False
) -> Any:
    """Make a verifier of a function `(View) -> Feedback | bool | float`, sync or async.

    A verifier is evidence: deterministic, it sees reference and checks, and never asks a model.

    Args:
        function: the function itself.
        name: how records call it; the function's own name unless given.
        steps: whether it also looks at steps that do not end an answer. `view.attempt` holds their text;
            it fails what is wrong already, and abstains otherwise.
        pairs: whether it looks at each answer together with each attempt of kind `tests`, which is
            `view.also_shown[0]`, when all have been made: a verdict about the pair, or `data={"tests": {...}}`.
    """

    def make(f: Callable[..., Any]) -> FunctionCritic:
        return FunctionCritic(f, name or _name_of(f), "verifier", steps=steps, pairs=pairs)

    return make if function is None else make(function)


@overload
def critic(function: Callable[..., Any], /) -> FunctionCritic: ...
@overload
def critic(
    *,
    name: str = "",
    sees: tuple[str, ...] = ("answer",),
    when: When = "always",
    slot: str = "critic",
    shadow: bool = False,
) -> Callable[[Callable[..., Any]], FunctionCritic]: ...
def critic(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str = "",
    sees: tuple[str, ...] = ("answer",),
    when: When = "always",
    slot: str = "critic",
    shadow: bool = False,
) -> Any:
    """Make a critic of a function `(View) -> Feedback | bool | float`; it may `await view.ask(...)`.

    Args:
        function: the function itself.
        name: how records call it; the function's own name unless given.
        sees: what it is shown of the attempt.
        when: `unverified`: not asked about what verifiers have passed.
        slot: whose model `view.ask` asks.
        shadow: asked and recorded, never obeyed.
    """

    def make(f: Callable[..., Any]) -> FunctionCritic:
        return FunctionCritic(f, name or _name_of(f), "critic", sees, when, slot, shadow)

    return make if function is None else make(function)


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What a function returns for a step or a thought that does not end the answer."""

    text: str
    """All that has been written so far, this step included."""


@dataclass(frozen=True)
class FunctionActor:
    """An actor made of an async function `(View) -> answer`."""

    function: Callable[..., Any]
    name: str
    slot: str = "actor"

    async def act(
        self,
        desk: Desk,
        asks: tuple[Ask, ...],
        so_far: tuple[Message, ...],  # noqa: ARG002
    ) -> list[Turn | CriticLoopError]:
        """Call the function once for each ask, for all of them at the same time."""
        return await turns_of(self._one(desk, ask) for ask in asks)

    async def _one(self, desk: Desk, ask: Ask) -> Turn:
        calls: list[str] = []
        with boundary(ModelError, f"actor {self.name!r}"):
            given = self.function(self._view(desk, ask, calls))
            value = await given if inspect.isawaitable(given) else given
        if isinstance(value, Unfinished):
            return Turn(messages=(assistant(value.text),), calls=tuple(calls), unfinished=True)
        message = message_of(value, desk)
        return Turn(messages=(message,), answer=parsed_of(value, message, desk), calls=tuple(calls))

    def _view(self, desk: Desk, ask: Ask, calls: list[str]) -> View[Any]:
        turns = itertools.count()

        async def ask_slot(prompt: str, output: Any) -> Any:
            place = Place(subject=(ask.attempt,), agent=self.name, turn=next(turns))
            given = ask.sampling.seed
            seed = seed_of(ask.seed, place.turn) if given is None else given
            sampling = ask.sampling.model_copy(update={"seed": seed})
            call, value = await ask_model(desk, place, self.slot, prompt, output, sampling)
            calls.append(call)
            return value

        tree = desk.tree
        return View(
            task=masked_task(tree.task, ask.context.fields),
            path=lambda: masked_attempts((tree[i] for i in ask.context.attempts), ask.context.fields),
            feedback=masked_feedback((tree.feedback[i] for i in ask.context.feedback), ask.context.fields),
            also_shown=masked_attempts((tree[i] for i in ask.context.also_shown), ask.context.fields),
            kind=ask.kind,
            seed=ask.seed,
            _ask=ask_slot,
        )


async def turns_of(each: Iterable[Coroutine[Any, Any, Turn]]) -> list[Turn | CriticLoopError]:
    """Run all at once; return what each came to: an error in one leaves the others' answers.

    Raises:
        CriticLoopError: the only one there is failed.
    """
    running = tuple(each)
    if len(running) == 1:
        return [await running[0]]
    ends: list[Turn | CriticLoopError] = []
    for end in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(end, BaseException) and not isinstance(end, CriticLoopError):
            raise end
        ends.append(end)
    return ends


def message_of(value: Any, desk: Desk) -> Message:
    """Return what an actor's return value adds to the conversation."""
    if isinstance(value, Message):
        return value
    if isinstance(value, str):
        return assistant(value)
    fitted = _fitted(value, desk)
    return assistant(plain_text(desk.output.dump(fitted.value)) if fitted.found else repr(value))


def parsed_of(value: Any, message: Message, desk: Desk) -> Parsed[Any]:
    """Return the typed answer in an actor's return value."""
    return desk.output.parse(message) if isinstance(value, str | Message) else _fitted(value, desk)


def _fitted(value: Any, desk: Desk) -> Parsed[Any]:
    """Return `value` if it is of the output's type, else why not: the actor hears of it as of bad text."""
    try:
        with boundary(OutputError, "the actor's return value"):
            return Parsed(desk.output.load(desk.output.dump(value)))
    except OutputError as error:
        return Parsed.unparsed(f"{type(value).__name__} was returned: {error}")


def abstention(error: CriticLoopError) -> Feedback:
    """Return a critic's failure as what it is: no verdict, no score, and the reason."""
    parse = "refused" if error.code == "refused" else "error"
    return Feedback.abstain(str(error), parse=parse, data={"error": error.code})


def is_job_error(error: CriticLoopError) -> bool:
    """Whether an error ends the whole job even where a critic met it (a wrong key, an empty account).

    A critic that cannot be reached abstains; the actor can go on without it.
    """
    return error.scope == "job" and not isinstance(error, Unreachable)
