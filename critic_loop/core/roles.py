"""The roles of a loop: what each must be able to do, given a `View`.

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
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from types import MethodType
from typing import Any, Literal, Protocol, cast

from critic_loop.core.errors import ConfigError, CriticLoopError
from critic_loop.core.messages import Message
from critic_loop.core.protocols import Parsed
from critic_loop.core.records import Feedback
from critic_loop.core.view import View

When = Literal["always", "unverified", "unfinished"]
"""When a critic is asked: always, only about what no verifier has passed, or only about steps."""


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
            f"{thing.__name__} is a class; an object is needed as {role}.",
            hint=f"Pass an instance: {thing.__name__}(...).",
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
