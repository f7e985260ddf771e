"""Agent specs and recipes: who plays with whom, under which search. Data, validated.

Knows the schema. Does not know where files lie (`assets.library`) or how they come to life (`graph/`).
"""

from __future__ import annotations

import re
from typing import Any, Literal, Self, cast

from pydantic import Field, JsonValue, field_validator, model_validator

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError
from critic_loop.core.messages import Frozen
from critic_loop.core.progress import Progress
from critic_loop.core.records import Sampling, Unit, digest_of
from critic_loop.core.rules import StopFunction, as_rule
from critic_loop.core.stop import rule_of

RoleName = Literal["actor", "critic", "judge", "debater"]
Field_ = Literal[
    "answer", "verdict", "score", "text", "steps", "spans", "rubric", "suggestion", "rejected", "reasoning",
    "reference", "verifier",
]  # fmt: skip
"""What a critic may be shown of an attempt, of those before it, and of the evidence on it."""
Shown_ = Literal[
    "verdict", "score", "text", "steps", "spans", "rubric", "suggestion", "reasoning", "reference", "verifier",
]  # fmt: skip
"""What an actor may be shown of the feedback on its earlier attempts; which of these it sees, `memory` says."""


class Steps(Frozen):
    """How an actor writes an answer step by step."""

    ends: str
    """A regular expression: a step in which it is found ends the answer."""
    joint: str = "\n"
    """What stands between two steps, unless a stop string of `sampling` did that the endpoint told of."""

    @field_validator("ends")
    @classmethod
    def _compiles(cls, given: str) -> str:
        try:
            re.compile(given)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from error
        return given


class AgentSpec(Frozen):
    """How one role speaks: its prompt, the slot that plays it, how its text is read."""

    role: RoleName
    prompt: str
    """`role/name.md` under `prompts/`."""
    slot: str
    """What the switchboard binds to a model at run time; a spec names no model, URL or key."""
    output: str = "text"
    """A parser of `outputs/`: for actors text, json, boxed, code:LANGUAGE; for critics a critique format, or
    p-yes, reverse-likelihood and follow-up-likelihood, which weigh texts and need log-probabilities of them."""
    sampling: Sampling = Sampling.model_construct()
    steps: Steps | None = None
    """For an actor that a search asks for single steps."""
    description: str = ""
    source: str = ""
    """The publication that it follows."""

    @property
    def digest(self) -> str:
        """Hash of the spec; what came later counts where it is set."""
        return digest_of(self.model_dump(mode="json", exclude=None if self.steps else {"steps"}))


class ActorUse(Frozen):
    """A further actor's part in a recipe."""

    agent: str
    slot: str | None = None
    """Instead of the spec's own slot, so that two actors of one spec can be two models."""


class DebateUse(Frozen):
    """A debate before each comparison: two debaters of one spec, each for one of the two attempts."""

    agent: str
    rounds: int = Field(default=2, ge=1)
    """How often each of them speaks."""
    slot: str | None = None
    """Instead of the spec's own slot."""


class Escalation(Frozen):
    """Another model for what a critic is not sure of."""

    slot: str
    """Who is asked then, with the same prompt: its word takes the place of the first."""
    below: Unit = 0.7
    """It is asked where the first critic's confidence is lower, where it states none, or abstains."""


class CriticUse(Frozen):
    """A critic's part in a recipe."""

    agent: str
    sees: tuple[Field_, ...] = ("answer",)
    slot: str | None = None
    """Instead of the spec's own slot, so that two critics of one spec can be two models."""
    when: Literal["always", "unverified", "unfinished"] = "always"
    """`unverified`: not asked about attempts that verifiers have passed. `unfinished`: only about steps and
    thoughts that do not end an answer."""
    shadow: bool = False
    """Asked and recorded, never acted upon: a new critic beside the one in use."""
    escalate: Escalation | None = None


_LATER = (("shadow", False), ("escalate", None))
"""Settings of critics that recipes did not have at first, as they are unless somebody sets them."""


class SearchUse(Frozen):
    """A search and its settings."""

    kind: str
    """A built-in search's name, or `package.module:name`."""
    settings: dict[str, JsonValue] = {}


class SelectUse(Frozen):
    """A selection with settings: `{ kind = "b4", alpha = 10 }`."""

    kind: str
    """A built-in selection's name, or `package.module:name`."""
    settings: dict[str, JsonValue] = {}


class Recipe(Frozen):
    """A method as data."""

    name: str = ""
    description: str = ""
    source: str = ""
    search: tuple[SearchUse, ...] = Field(min_length=1)
    """From the outermost in: `[{kind="sample", n=8}, {kind="refine"}]` refines each of eight."""
    actor: str = "actor/solver"
    actors: dict[str, ActorUse] = {}
    """Further actors, by the names that the search has for them."""
    critics: tuple[CriticUse, ...] = ()
    verifiers: tuple[str, ...] = ()
    judge: str | None = None
    """A pairwise judge, asked where selection must compare."""
    debate: DebateUse | None = None
    """What the judge reads first; its prompt needs the variable `debate`, as that of `judge/debate` has."""
    show: tuple[Shown_, ...] = ("verdict", "text")
    """What the actor is shown; `spans` reach actors that are functions."""
    memory: Literal["full", "last", "rejected"] = "full"
    """Which earlier attempts the actor is shown: its whole path, the last, or rejected answers only.

    `rejected` needs a prompt that declares the variable `rejected`, as `actor/anti-repeat` does.
    """
    select: str | SelectUse = "verified-first"
    """Which answer wins: a selection's name, or with settings `{ kind = "b4", alpha = 10 }`."""
    stop: tuple[dict[str, JsonValue] | str, ...] | None = None
    """Any of these stops the loop; None = the usual ones, empty = only the search's own end and the budget.

    Each is a table with one key, such as `{ max_rounds = 4 }`, or a function's path, `package.module:name`. In
    Python, rules and functions that have a path are taken, too.
    """
    lanes: int = Field(default=1, ge=1)
    max_calls: int = Field(default=20, ge=1)
    """Model calls a task, all roles together."""

    @field_validator("search", mode="before")
    @classmethod
    def _searches(cls, given: Any) -> Any:
        uses = [given] if isinstance(given, dict) else given
        if not isinstance(uses, list | tuple):
            return uses
        return [_use(use) if isinstance(use, dict) and "settings" not in use else use for use in uses]

    @field_validator("select", mode="before")
    @classmethod
    def _select(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("kind"), str):
            given = SelectUse.model_validate(given if "settings" in given else _use(given))
        if isinstance(given, SelectUse):
            return given if given.settings else given.kind
        if isinstance(given, str):
            return given
        raise ValueError("a selection is a name, or a table such as { kind = 'b4', alpha = 10 }")

    @field_validator("actors", mode="before")
    @classmethod
    def _uses(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: {"agent": use} if isinstance(use, str) else use for name, use in given.items()}

    @model_validator(mode="after")
    def _judged(self) -> Self:
        if self.debate is not None and self.judge is None:
            raise ValueError("a debate needs a judge, such as judge = 'judge/debate'")
        return self

    @field_validator("stop", mode="before")
    @classmethod
    def _rules(cls, given: Any) -> Any:
        given = (given,) if callable(given) else given
        if not isinstance(given, list | tuple):
            return given
        try:
            data = [item for rule in given for item in _rule_data(rule)]
            for item in data:
                rule_of(item, load=_unread)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return data

    @property
    def selection(self) -> SelectUse:
        """The selection, with the settings that it is given."""
        return self.select if isinstance(self.select, SelectUse) else SelectUse(kind=self.select)

    @property
    def digest(self) -> str:
        """Hash of everything but the name.

        Settings that came later count where they are set: trees that were begun before are still resumed.
        """
        later = {name for name in ("actors", "debate") if not getattr(self, name)}
        data = self.model_dump(mode="json", exclude={"name", *later})
        data["critics"] = [
            {name: value for name, value in use.items() if (name, value) not in _LATER}
            for use in data["critics"]
        ]
        return digest_of(data)


def _rule_data(rule: Any) -> list[JsonValue]:
    """Return a stop rule, given as data or made in Python, as data."""
    if not callable(rule):
        return [rule]
    data = as_rule(cast("StopFunction", rule)).dump()
    return data if isinstance(data, list) else [data]


def _unread(path: str) -> Any:
    """Stand for what a path names: a recipe that is only read imports nothing."""
    plugins.parts_of(path)
    return _goes_on


def _goes_on(progress: Progress) -> None:
    """Stand for a stop rule that is not loaded."""


def _use(table: dict[str, Any]) -> dict[str, Any]:
    return {"kind": table.get("kind"), "settings": {k: v for k, v in table.items() if k != "kind"}}
