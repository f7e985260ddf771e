"""What a role is shown (`View`), and how it asks the model behind its slot.

A view is masked by the recipe before a role gets it (`nodes.views`). Knows no tree, no store and no graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, overload

from critic_loop.core.errors import ConfigError
from critic_loop.core.messages import Message
from critic_loop.core.protocols import Completion, Output, Request, ToolSpec
from critic_loop.core.records import Attempt, AttemptKind, Feedback, Location, Sampling, Subject, Task

T = TypeVar("T")


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
