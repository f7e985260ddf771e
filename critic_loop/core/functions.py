"""Roles made of plain functions: `@verifier`, `@critic`, `@grader`.

    @cl.verifier
    async def applies(view: cl.View[Patch]) -> cl.Feedback | bool | float: ...

A bool is a verdict, a float a score in [0, 1], a Feedback everything; a critic may return several of these,
each a remark of its own. What a function raises is an abstention with the reason: a broken verifier never
fails an answer. One decorator makes a function one role: it cannot stand in another's place.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, cast, overload

from critic_loop.core.errors import VerifierError, boundary
from critic_loop.core.records import Feedback, Source, Subject, Verdict, digest_of
from critic_loop.core.roles import When, require_role
from critic_loop.core.view import View

_EXPECTED = "Return a Feedback, a bool, or a number from 0 to 1."


@dataclass(frozen=True)
class _Function:
    """What roles made of a function of a `View` have in common."""

    function: Callable[..., Any]
    name: str
    source: ClassVar[Source]

    def digest(self) -> str:
        """Return what tells it from another in a loop's identity: its name and settings, not its code."""
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "function"}
        return digest_of([self.source, settings])

    async def __call__(self, view: View[Any]) -> Feedback:
        """Return what the function says of a view, with its author: as `store.add_feedback` takes it.

        Raises:
            VerifierError: the function failed, or returned several remarks.
        """
        said = await self._said(view)
        if len(said) != 1:
            raise VerifierError(f"{self.source} {self.name!r} returned {len(said)} remarks, not one.")
        subject = None if view.attempt is None else Subject.of(view.attempt.id)
        stamped = {"source": self.source, "author": self.name, "subject": said[0].subject or subject}
        return said[0].model_copy(update=stamped)

    async def _said(self, view: View[Any]) -> tuple[Feedback, ...]:
        """Call the function and read what it returns.

        Raises:
            VerifierError: it raised, or returned something that is no feedback.
        """
        with boundary(VerifierError, f"{self.source} {self.name!r}"):
            given = self.function(view)
            said = remarks(await given if inspect.isawaitable(given) else given)
        if not view.models.calls:
            return said
        return tuple(f.model_copy(update={"calls": (*f.calls, *view.models.calls)}) for f in said)


@dataclass(frozen=True)
class FunctionVerifier(_Function):
    """A verifier made of a function."""

    steps: bool = False
    """Whether it also looks at steps that do not end an answer."""
    pairs: bool = False
    """Whether it looks at an answer together with tests."""
    source: ClassVar[Source] = "verifier"

    async def verify(self, view: View[Any]) -> Sequence[Feedback]:
        """Show the function its view and read what it returns."""
        return await self._said(view)


@dataclass(frozen=True)
class FunctionGrader(_Function):
    """A grader made of a function."""

    source: ClassVar[Source] = "grader"

    async def grade(self, view: View[Any]) -> Sequence[Feedback]:
        """Show the function its view and read what it returns."""
        return await self._said(view)


@dataclass(frozen=True)
class FunctionCritic(_Function):
    """A critic made of a function."""

    sees: tuple[str, ...] = ("answer",)
    when: When = "always"
    slot: str = "critic"
    shadow: bool = False
    source: ClassVar[Source] = "critic"

    async def critique(self, view: View[Any]) -> Sequence[Feedback]:
        """Show the function its view and read what it returns."""
        return await self._said(view)


def remarks(given: object) -> tuple[Feedback, ...]:
    """Return what a role returned as feedback: one, or one for each item of a sequence.

    An empty one is an abstention: the role had nothing to say.

    Raises:
        VerifierError: an item is neither Feedback nor bool nor a number in [0, 1].
    """
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        return (feedback_from(given),)
    items = cast("Sequence[object]", given)
    return tuple(feedback_from(item) for item in items) or (Feedback.abstain("it returned no remark"),)


def feedback_from(given: object) -> Feedback:
    """Return one thing that a function returned as feedback.

    Raises:
        VerifierError: it is neither Feedback nor bool nor a number in [0, 1].
    """
    match _plain(given):
        case Feedback() as feedback:
            return feedback
        case bool() as passed:
            return Feedback(verdict=Verdict.PASS if passed else Verdict.FAIL)
        case int() | float() as score if math.isfinite(score) and 0 <= score <= 1:
            return Feedback(score=float(score))
        case _:
            raise VerifierError(f"returned {given!r}, a {type(given).__name__}.", hint=_EXPECTED)


def _plain(given: Any) -> object:
    """Return another library's number as Python's own: a NumPy scalar, an array of one, a decimal."""
    if isinstance(given, Feedback | bool | int | float | str | bytes | type):
        return given
    if callable(getattr(given, "item", None)) and getattr(given, "size", None) == 1:
        return given.item()
    return float(given) if hasattr(given, "__float__") else given


@overload
def verifier(function: Callable[..., Any], /) -> FunctionVerifier: ...
@overload
def verifier(
    *, name: str = "", steps: bool = False, pairs: bool = False
) -> Callable[[Callable[..., Any]], FunctionVerifier]: ...
def verifier(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str = "",
    steps: bool = False,
    pairs: bool = False,
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

    Raises:
        ConfigError: the function plays another role already.
    """

    def make(f: Callable[..., Any]) -> FunctionVerifier:
        require_role(f, "verifier")
        return FunctionVerifier(f, name or _name_of(f), steps=steps, pairs=pairs)

    return make if function is None else make(function)


@overload
def grader(function: Callable[..., Any], /) -> FunctionGrader: ...
@overload
def grader(*, name: str = "") -> Callable[[Callable[..., Any]], FunctionGrader]: ...
def grader(function: Callable[..., Any] | None = None, /, *, name: str = "") -> Any:
    """Make a grader of a function `(View) -> Feedback | bool | float`, sync or async.

    A grader measures: it sees `reference` and `held_out`, and nothing that it says reaches a running loop.
    Grade a stored tree with `await store.add_feedback(attempt_id, await my_grader(view))`.

    Args:
        function: the function itself.
        name: how records call it, and its key in `Task.held_out`; the function's own name unless given.

    Raises:
        ConfigError: the function plays another role already.
    """

    def make(f: Callable[..., Any]) -> FunctionGrader:
        require_role(f, "grader")
        return FunctionGrader(f, name or _name_of(f))

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
    """Make a critic of a function `(View) -> Feedback | bool | float`, or a list of these.

    It may `await view.ask(...)`. Of several remarks each is a feedback of its own, about the whole attempt or
    about the place that its subject names (`Feedback(..., subject=view.at(step=2))`).

    Args:
        function: the function itself.
        name: how records call it; the function's own name unless given.
        sees: what it is shown of the attempt.
        when: `unverified`: not asked about what verifiers have passed.
        slot: whose model `view.ask` asks.
        shadow: what it says is advisory: recorded, never acted upon.

    Raises:
        ConfigError: the function plays another role already.
    """

    def make(f: Callable[..., Any]) -> FunctionCritic:
        require_role(f, "critic")
        return FunctionCritic(f, name or _name_of(f), sees, when, slot, shadow)

    return make if function is None else make(function)


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
