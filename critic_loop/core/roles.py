"""The roles of a loop: what each is shown (`View`), and what each must be able to do.

Outside packages implement these protocols; they need nothing above `core`. Who calls a role, and when, is
decided in `nodes`; whose right it is to steer a loop follows from the protocol:

    Actor      act       makes attempts
    Verifier   verify    evidence from what is available where the answer is used; it outranks critics
    Critic     critique  opinion
    Judge      compare   opinion about two attempts
    Debater    argue     speaks for one of two attempts before the judge compares them
    Grader     grade     truth, measured: it sees `reference` and `held_out`, and never steers

The methods differ in name, so that no object can stand in another role's place by accident. A role with a
lifetime is an async context manager: the loop enters it at first use and leaves it when the loop is closed.
Where a verifier, critic or judge raises an error that is not of `critic_loop.errors`, it abstains with that
reason; an actor ends the run so. A role's settings are part of the loop's identity: its `digest()`, else the
fields of a dataclass, else attributes without a leading underscore.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from types import MethodType
from typing import Any, Generic, Literal, Protocol, TypeVar, cast, overload

from critic_loop.core.errors import ConfigError, CriticLoopError
from critic_loop.core.messages import Message
from critic_loop.core.protocols import Completion, Output, Parsed, Request, ToolSpec
from critic_loop.core.records import Attempt, AttemptKind, Feedback, Location, Sampling, Subject, Task

T = TypeVar("T")

When = Literal["always", "unverified", "unfinished"]
"""When a critic is asked: always, only about what no verifier has passed, or only about steps."""


class ModelAccess(Protocol):
    """How a role reaches the model behind its slot. Each call is recorded, budgeted and resumable."""

    @property
    def calls(self) -> tuple[str, ...]:
        """Ids of the calls that were answered so far, in order."""
        ...

    async def complete(
        self, request: Request, *, template: str = "", turn: int | None = None
    ) -> tuple[str, Completion]:
        """Return the id of the call that answered `request`, and the answer.

        Args:
            request: what is asked.
            template: name and hash of the prompt, for the record.
            turn: tells several calls of one role about one subject apart; None counts them.

        Raises:
            BudgetSpent: no call is left.
            ModelError: the model failed; the failure is recorded.
        """
        ...

    async def ask(self, prompt: str, output: Any) -> Any:
        """Return the answer to one prompt, parsed as `output`; as text where that is None."""
        ...

    def named(self, agent: str, slot: str) -> ModelAccess:
        """Return the access of another agent to the same subject."""
        ...


class NoModel:
    """The access of roles that may not ask a model."""

    calls: tuple[str, ...] = ()

    def __init__(self, who: str = "this view") -> None:
        """Name who may not."""
        self._who = who

    async def complete(
        self,
        request: Request,  # noqa: ARG002  # the protocol's signature
        *,
        template: str = "",  # noqa: ARG002
        turn: int | None = None,  # noqa: ARG002
    ) -> tuple[str, Completion]:
        """Refuse.

        Raises:
            TypeError: always.
        """
        raise self._refusal()

    async def ask(self, prompt: str, output: Any) -> Any:  # noqa: ARG002
        """Refuse.

        Raises:
            TypeError: always.
        """
        raise self._refusal()

    def named(self, agent: str, slot: str) -> NoModel:  # noqa: ARG002
        """Return the same."""
        return self

    def _refusal(self) -> TypeError:
        return TypeError(f"{self._who} cannot ask a model: evidence is deterministic. Write a critic instead.")


class _Path:
    """A field that may be given as a function: it is called when the path is first looked at, if ever."""

    @overload
    def __get__(self, view: None, owner: object = None) -> tuple[Attempt, ...]: ...
    @overload
    def __get__(self, view: object, owner: object = None) -> tuple[Attempt, ...]: ...
    def __get__(self, view: object | None, owner: object = None) -> tuple[Attempt, ...]:
        if view is None:  # the dataclass asks for the default
            return ()
        given: tuple[Attempt, ...] | Callable[[], tuple[Attempt, ...]] = vars(view)["path"]
        path = given() if callable(given) else given
        vars(view)["path"] = path
        return path

    def __set__(self, view: object, path: tuple[Attempt, ...] | Callable[[], tuple[Attempt, ...]]) -> None:
        vars(view)["path"] = path


def _no_scratch() -> Path:
    raise ConfigError("this view has no scratch folder: no loop runs it.")


@dataclass(frozen=True, kw_only=True)
class View(Generic[T]):
    """What a role is shown, and how it may ask."""

    task: Task
    """For graders whole; for verifiers without `held_out`; for others also without `reference` and `checks`,
    unless the recipe shows the reference."""
    answer: T | None = None
    """The typed answer under judgement; None for actors, and for critics whose `sees` lacks `answer`."""
    attempt: Attempt | None = None
    """The attempt under judgement, for such critics without messages and answer; for actors None."""
    path: _Path = _Path()
    """Earlier attempts that are shown, oldest first; to critics those that `sees` calls `rejected`."""
    feedback: tuple[Feedback, ...] = ()
    """What is shown, with masked fields at their defaults: to actors the feedback on the path, to critics the
    evidence on the attempt, to judges and debaters the arguments so far, to verifiers nothing."""
    also_shown: tuple[Attempt, ...] = ()
    """To actors: attempts off the path that the search shows, siblings or rejected ones. To verifiers of pairs:
    the tests."""
    pair: tuple[Attempt, ...] = ()
    """To judges: the two attempts, in the order in which they are shown. To debaters: their own side first."""
    kind: AttemptKind = "answer"
    """To actors: what is asked for. A `step` is returned as `Unfinished`, unless it ends the answer."""
    so_far: tuple[Message, ...] = ()
    """To actors: what the attempt has added to the conversation before tools ran."""
    sampling: Sampling = Sampling.model_construct()
    """To actors: what the search lays over the agent's own settings."""
    tools: tuple[ToolSpec, ...] = ()
    """To actors: the tools that may be called."""
    output: Output[Any] | None = field(default=None, repr=False)
    """How a message becomes an answer."""
    seed: int = 0
    """Derived from the attempt's place: use it for anything random, so that a resumed run agrees."""
    fence_key: str = field(default="", repr=False)
    """What this tree's fences are made with (`assets.Template.render`); never shown to a model."""
    models: ModelAccess = field(default_factory=NoModel, repr=False, compare=False)
    """The model behind the role's slot."""
    scratch_folder: Callable[[], Path] = field(default=_no_scratch, repr=False, compare=False)

    async def ask(self, prompt: str, *, output: Any = None) -> Any:
        """Ask the model behind the role's slot; the call is recorded, budgeted and resumable.

        Args:
            prompt: the user message.
            output: a type or output name to parse the reply into; None returns its text.

        Raises:
            OutputError: the reply does not fit `output`.
            ModelError: the call failed.
            TypeError: this role may not ask a model.
        """
        return await self.models.ask(prompt, output)

    @property
    def scratch(self) -> Path:
        """A folder of this role's own for this tree: made when first asked for, deleted with the run.

        Raises:
            ConfigError: no loop runs this view.
        """
        return self.scratch_folder()

    def at(
        self,
        *,
        message: int | None = None,
        content_part: int | None = None,
        step: int | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> Subject:
        """Return a place in the attempt under judgement, for `Feedback(subject=...)`.

        Args:
            message: index of a message.
            content_part: index of a part of that message.
            step: index of a step, from 0.
            start: first code point of a span of the text.
            end: the code point behind the span.

        Raises:
            ConfigError: no attempt is under judgement.
        """
        if self.attempt is None:
            raise ConfigError("no attempt is under judgement here, so there is no place in it.")
        where = Location(message=message, content_part=content_part, step=step, start=start, end=end)
        return Subject(attempts=(self.attempt.id,), location=where)

    def as_agent(self, name: str, slot: str) -> View[T]:
        """Return the view as another agent asks from it, in calls of its own."""
        return replace(self, models=self.models.named(name, slot))


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What an actor did in one go."""

    messages: tuple[Message, ...]
    answer: Parsed[Any] | None = None
    """None when tools are to be run before there can be one."""
    calls: tuple[str, ...] = ()
    unfinished: bool = False
    """Whether it is a step that does not end the answer."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What a function actor returns for a step or a thought that does not end the answer."""

    text: str
    """All that has been written so far, this step included."""


class Actor(Protocol):
    """Makes attempts."""

    @property
    def name(self) -> str:
        """How records call it."""
        ...

    async def act(self, views: Sequence[View[Any]]) -> Sequence[Turn | CriticLoopError]:
        """Return one turn, or one error, for each view; an error that is raised is that of all.

        Several views differ in seed alone: one request with several choices may answer them.
        """
        ...


class Critic(Protocol):
    """Has an opinion of attempts."""

    @property
    def name(self) -> str:
        """How records call it; unique within a loop."""
        ...

    @property
    def slot(self) -> str:
        """Whose model `View.ask` asks."""
        ...

    @property
    def sees(self) -> tuple[str, ...]:
        """What it is shown of an attempt: `answer`, `reasoning`, `rejected`, `reference`, `verifier`, ..."""
        ...

    @property
    def when(self) -> When:
        """When it is asked."""
        ...

    @property
    def shadow(self) -> bool:
        """Whether what it says is advisory: recorded, never acted upon, and its failures disturb no run."""
        ...

    async def critique(self, view: View[Any]) -> Feedback | Sequence[Feedback]:
        """Return what it thinks: of the attempt, or of the places that the subjects name."""
        ...


class Verifier(Protocol):
    """Gathers evidence. It is deterministic, and asks no model."""

    @property
    def name(self) -> str:
        """How records call it; unique within a loop."""
        ...

    @property
    def steps(self) -> bool:
        """Whether it also looks at steps that do not end an answer."""
        ...

    @property
    def pairs(self) -> bool:
        """Whether it looks at an answer together with tests (`View.also_shown`), not at an answer alone."""
        ...

    async def verify(self, view: View[Any]) -> Feedback | Sequence[Feedback]:
        """Return what it finds."""
        ...


class Grader(Protocol):
    """Measures whether an attempt is right. What it says is truth, and no loop that runs can read it."""

    @property
    def name(self) -> str:
        """How records call it; also its key in `Task.held_out`."""
        ...

    async def grade(self, view: View[Any]) -> Feedback | Sequence[Feedback]:
        """Return a grade: PASS, FAIL or ABSTAIN, perhaps with a score."""
        ...


class Judge(Protocol):
    """Compares two attempts."""

    @property
    def name(self) -> str:
        """How records call it."""
        ...

    @property
    def slot(self) -> str:
        """Whose model it asks."""
        ...

    async def compare(self, view: View[Any]) -> Feedback:
        """Return a preference over the two attempts of `view.pair`, shown in this order."""
        ...


class Debater(Protocol):
    """Argues for one of two attempts before the judge compares them."""

    @property
    def name(self) -> str:
        """How records call it."""
        ...

    @property
    def slot(self) -> str:
        """Whose model it asks."""
        ...

    @property
    def rounds(self) -> int:
        """How often each side speaks, at least once."""
        ...

    async def argue(self, view: View[Any]) -> Feedback:
        """Return the next argument for the first attempt of `view.pair`."""
        ...


@dataclass(frozen=True, slots=True)
class Human:
    """A person. Attempts wait for their word as `parked`, and the loop goes on meanwhile."""

    name: str = "human"
    _: KW_ONLY
    when: When = "always"
    question: str = ""


_METHODS = {
    "act": "actor",
    "verify": "verifier",
    "critique": "critic",
    "grade": "grader",
    "compare": "judge",
    "argue": "debater",
}
_WRITE = {
    "actor": "actor=...",
    "verifier": "verifiers=[...]",
    "critic": "critic=...",
    "judge": "judge=...",
    "grader": "`await store.add_feedback(attempt_id, await grader(view))`, once the loop has ended",
    "debater": "the recipe's `debate`",
}


def role_of(thing: object) -> str | None:
    """Return which role an object plays, by the method that it has; None for functions, models and others."""
    if isinstance(thing, Human):
        return "critic"
    if isinstance(thing, type):
        return None
    return next((role for method, role in _METHODS.items() if callable(getattr(thing, method, None))), None)


def require_role(thing: object, role: str) -> None:
    """Refuse an object that plays another role.

    Raises:
        ConfigError: it does, and the message says where it belongs; or it is the class of a role, or lacks an
            attribute that its role has.
    """
    if isinstance(thing, type) and any(callable(getattr(thing, method, None)) for method in _METHODS):
        raise ConfigError(
            f"{thing.__name__} is a class, no {role}.", hint=f"Make an object: {thing.__name__}(...)."
        )
    method = thing.__name__ if inspect.ismethod(thing) else ""
    if method == "__call__":  # a role made of a function, handed over as a plain function
        thing = cast("MethodType", thing).__self__
    plays = _METHODS.get(method) or role_of(thing)
    if plays == role and not (method or isinstance(thing, Human)):
        _require_attributes(thing, role)
    if plays is None or plays == role:
        return
    name = getattr(thing, "name", type(thing).__name__)
    raise ConfigError(
        f"{plays} {name!r} cannot stand in as {role}: {_WHY[plays]}.", hint=f"Write {_WRITE[plays]}."
    )


def _require_attributes(thing: object, role: str) -> None:
    lacks = [name for name in _ATTRIBUTES[role] if not hasattr(thing, name)]
    if lacks:
        raise ConfigError(
            f"{role} {type(thing).__name__} has no {', '.join(repr(name) for name in lacks)}.",
            hint=f"Every {role} has {', '.join(_ATTRIBUTES[role])}.",
        )


_ATTRIBUTES = {
    "actor": ("name",),
    "verifier": ("name", "steps", "pairs"),
    "critic": ("name", "slot", "sees", "when", "shadow"),
    "judge": ("name", "slot"),
    "grader": ("name",),
    "debater": ("name", "slot", "rounds"),
}
_WHY = {
    "actor": "it makes attempts and judges none",
    "verifier": "what it says is evidence",
    "critic": "what it says is opinion",
    "judge": "it compares two attempts",
    "grader": "what it says is truth that no running loop may read",
    "debater": "it argues for a judge",
}


def seed_of(*parts: object) -> int:
    """Return a seed in [0, 2^31) derived from a place: the same place, the same seed, always."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) & 0x7FFFFFFF
