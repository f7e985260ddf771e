"""What a node is handed: the tree, the way to models and store, and who plays which role.

The protocols of the roles stand here. `graph` puts a desk together; nodes only use it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, Protocol

from critic_loop.core.errors import CriticLoopError
from critic_loop.core.messages import Message
from critic_loop.core.records import Ask, Feedback
from critic_loop.core.tools import Tool
from critic_loop.core.tree import Tree
from critic_loop.nodes.calls import Calls
from critic_loop.nodes.open_tools import OpenTools
from critic_loop.outputs import Output, Parsed

When = Literal["always", "unverified", "unfinished"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What an actor did in one go."""

    messages: tuple[Message, ...]
    answer: Parsed[Any] | None = None
    """None when tools are to be run before there can be one."""
    calls: tuple[str, ...] = ()
    unfinished: bool = False
    """Whether it is a step that does not end the answer."""


class Actor(Protocol):
    """Makes attempts."""

    @property
    def name(self) -> str:
        """How records call it."""
        ...

    async def act(
        self, desk: Desk, asks: tuple[Ask, ...], so_far: tuple[Message, ...]
    ) -> Sequence[Turn | CriticLoopError]:
        """Return one turn, or one error, for each ask; an error that is raised is that of all.

        `so_far` is what a single ask has added before tools ran.
        """
        ...


class Critic(Protocol):
    """Judges attempts: evidence (`verifier`) or opinion (`critic`)."""

    @property
    def name(self) -> str:
        """How records call it; unique within a loop."""
        ...

    @property
    def when(self) -> When:
        """`unverified`: not asked about what verifiers have passed; `unfinished`: only about steps."""
        ...

    @property
    def shadow(self) -> bool:
        """Whether it is asked and recorded, but not obeyed: what goes wrong with it disturbs nobody."""
        ...

    async def critique(self, desk: Desk, attempt_id: str) -> Feedback | Sequence[Feedback]:
        """Return what it thinks; the node fills in subject, source, author and id.

        Of several, written at once, each that is obeyed supersedes the one before.
        """
        ...


class Verifier(Critic, Protocol):
    """Judges by evidence."""

    @property
    def steps(self) -> bool:
        """Whether it also looks at steps that do not end an answer."""
        ...

    @property
    def pairs(self) -> bool:
        """Whether it looks at an answer together with tests, and not at an answer alone."""
        ...

    async def critique(
        self, desk: Desk, attempt_id: str, tests: str | None = None
    ) -> Feedback | Sequence[Feedback]:
        """Return what it finds: about an attempt, or about an answer and an attempt of kind `tests`."""
        ...


class Judge(Protocol):
    """Compares two attempts."""

    @property
    def name(self) -> str:
        """How records call it."""
        ...

    async def compare(self, desk: Desk, first: str, second: str) -> Feedback:
        """Return a preference over (first, second), shown in this order."""
        ...


class Debater(Protocol):
    """Argues for one of two attempts before the judge compares them."""

    @property
    def name(self) -> str:
        """How records call it."""
        ...

    @property
    def rounds(self) -> int:
        """How often each side speaks, at least once."""
        ...

    async def argue(self, desk: Desk, mine: str, theirs: str, turn: int) -> Feedback:
        """Return the argument for `mine` in round `turn`, from 0; the node fills in the rest."""
        ...


@dataclass(frozen=True, slots=True)
class HumanCritic:
    """A person. Attempts wait for their word as `parked`, and the loop goes on meanwhile."""

    name: str = "human"
    _: KW_ONLY
    when: When = "always"
    question: str = ""


@dataclass(kw_only=True)
class Desk:
    """One tree's working place."""

    calls: Calls
    actor: Actor
    actors: Mapping[str, Actor] = field(default_factory=dict[str, Actor])
    """Further actors, by the names that records and searches have for them."""
    output: Output[Any]
    verifiers: tuple[Verifier, ...] = ()
    critics: tuple[Critic, ...] = ()
    humans: tuple[HumanCritic, ...] = ()
    judge: Judge | None = None
    debater: Debater | None = None
    judge_revisions: bool = False
    """Whether the judge compares each revision with its parent as it comes (the search builds on it)."""
    tools: dict[str, Tool] = field(default_factory=dict[str, Tool])
    open_tools: OpenTools = field(default_factory=OpenTools)
    """What these have opened so far; shared by the trees of a loop."""
    memory: str = "full"
    max_turns: int = 32
    """Times an actor may speak within one attempt, tools between."""

    @property
    def tree(self) -> Tree:
        """The tree that is being written."""
        return self.calls.tree

    def actor_of(self, ask: Ask) -> Actor:
        """Return who makes the attempt that was asked for."""
        return self.actors.get(ask.agent, self.actor)


def seed_of(*parts: object) -> int:
    """Return a seed in [0, 2^31) derived from a place: the same place, the same seed, always."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) & 0x7FFFFFFF
