"""The run context: what the stages of one tree work with.

`graph` builds it; the stages use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from critic_loop.core.protocols import Output
from critic_loop.core.records import Ask
from critic_loop.core.roles import Actor, Critic, Debater, Human, Judge, Verifier
from critic_loop.core.tools import Tool
from critic_loop.core.tree import Tree
from critic_loop.nodes.caller import Caller
from critic_loop.nodes.journal import Journal
from critic_loop.nodes.open_parts import OpenParts


@dataclass(kw_only=True)
class RunContext:
    """One tree that is being written, and the roles of its loop."""

    journal: Journal
    """Records go to the tree and the store through it."""
    caller: Caller
    """Model calls are sent through it."""
    actor: Actor
    actors: Mapping[str, Actor] = field(default_factory=dict[str, Actor])
    """Further actors, by the names that records and searches use."""
    output: Output[Any]
    verifiers: tuple[Verifier, ...] = ()
    critics: tuple[Critic, ...] = ()
    humans: tuple[Human, ...] = ()
    judge: Judge | None = None
    debater: Debater | None = None
    judge_revisions: bool = False
    """Whether the judge compares each new revision with its parent: the search needs it."""
    tools: dict[str, Tool] = field(default_factory=dict[str, Tool])
    open_parts: OpenParts = field(default_factory=OpenParts)
    """What tools and roles have opened so far; shared by the trees of a loop."""
    memory: str = "full"
    max_turns: int = 32
    """Most turns of an actor within one attempt; tools run between them."""

    @property
    def tree(self) -> Tree:
        """The tree that is being written."""
        return self.journal.tree

    def actor_of(self, ask: Ask) -> Actor:
        """Return the actor of an ask."""
        return self.actors.get(ask.agent, self.actor)
