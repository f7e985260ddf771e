"""The schema of agent specs and recipes: a recipe names the agents of a loop, its search and its settings.

Knows the schema. Does not know files (`assets.library`) or how a loop is built of a recipe (`graph/`).
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
"""What an actor may be shown of the feedback on its earlier attempts, which `memory` selects."""


class Steps(Frozen):
    """How an actor writes an answer step by step."""

    ends: str
    """A regular expression, searched for in each step: a match ends the answer."""
    joint: str = "\n"
    """The text between two steps, unless the endpoint reports which stop string of `sampling` ended a step."""

    @field_validator("ends")
    @classmethod
    def _compiles(cls, given: str) -> str:
        try:
            re.compile(given)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return given


class AgentSpec(Frozen):
    """An agent: its role, its prompt, the slot of its model, and the parser of its text."""

    role: RoleName
    prompt: str
    """`role/name.md` under `prompts/`."""
    slot: str
    """The slot that is bound to a model at run time; a spec names no model, URL or key."""
    output: str = "text"
    """A parser of `outputs/`: for actors text, json, boxed, code:LANGUAGE; for critics a critique format, or
    p-yes, reverse-likelihood or follow-up-likelihood, which need a model that scores given texts."""
    sampling: Sampling = Sampling.model_construct()
    steps: Steps | None = None
    """For an actor of which a search requests single steps."""
    description: str = ""
    source: str = ""
    """The publication of the method."""

    @property
    def digest(self) -> str:
        """Hash of the spec. Keys that later versions added count only where they are set."""
        return digest_of(self.model_dump(mode="json", exclude=None if self.steps else {"steps"}))


class ActorUse(Frozen):
    """A further actor in a recipe."""

    agent: str
    slot: str | None = None
    """Instead of the spec's own slot, so that two actors of one spec can be two models."""


class DebateUse(Frozen):
    """A debate before each comparison: two debaters of one spec, each for one of the two attempts."""

    agent: str
    rounds: int = Field(default=2, ge=1)
    """The number of arguments by each debater."""
    slot: str | None = None
    """Instead of the spec's own slot."""


class Escalation(Frozen):
    """Another model that is asked where a critic is not confident."""

    slot: str
    """The slot of the other model. It gets the same prompt, and its feedback replaces the first."""
    below: Unit = 0.7
    """Ask it where the first critic's confidence is lower than this, is missing, or the critic abstains."""


class CriticUse(Frozen):
    """A critic in a recipe."""

    agent: str
    sees: tuple[Field_, ...] = ("answer",)
    slot: str | None = None
    """Instead of the spec's own slot, so that two critics of one spec can be two models."""
    when: Literal["always", "unverified", "unfinished"] = "always"
    """`always`: ask about every attempt. `unverified`: not about attempts that verifiers passed. `unfinished`:
    only about steps and thoughts that do not end an answer."""
    shadow: bool = False
    """Ask and record, but never use the feedback: to try a new critic beside the one in use."""
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
    """The outermost search first: `[{kind="sample", n=8}, {kind="refine"}]` refines each of eight samples."""
    actor: str = "actor/solver"
    actors: dict[str, ActorUse] = {}
    """Further actors, by the names that the search uses."""
    critics: tuple[CriticUse, ...] = ()
    verifiers: tuple[str, ...] = ()
    judge: str | None = None
    """A pairwise judge, asked where the selection compares two attempts."""
    debate: DebateUse | None = None
    """A debate before each comparison. The judge's prompt must declare the variable `debate`, as `judge/debate`
    does."""
    show: tuple[Shown_, ...] = ("verdict", "text")
    """What the actor is shown of feedback; only actors that are functions can use `spans`."""
    memory: Literal["full", "last", "rejected"] = "full"
    """The earlier attempts that the actor is shown: `full`: all on its path; `last`: the last one; `rejected`:
    rejected answers only, which needs a prompt with the variable `rejected`, as `actor/anti-repeat` has."""
    select: str | SelectUse = "verified-first"
    """The selection of the final answer: a name, or with settings `{ kind = "b4", alpha = 10 }`."""
    stop: tuple[dict[str, JsonValue] | str, ...] | None = None
    """The stop rules; any of them stops the loop. None = the default rules; empty = only the end of the search
    and the budget.

    Each is a table with one key, such as `{ max_rounds = 4 }`, or a function's path, `package.module:name`. In
    Python, rules and functions that have such a path are accepted, too.
    """
    lanes: int = Field(default=1, ge=1)
    """The number of attempts that are made concurrently."""
    max_calls: int = Field(default=20, ge=1)
    """The largest number of model calls per task, all roles together."""

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
        """The selection with its settings."""
        return self.select if isinstance(self.select, SelectUse) else SelectUse(kind=self.select)

    @property
    def digest(self) -> str:
        """Hash of everything but the name.

        Keys that later versions added count only where they are set, so that older trees can be resumed.
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
    """Return a placeholder for the function at a path: validating a recipe imports nothing."""
    plugins.parts_of(path)
    return _never_stops


def _never_stops(progress: Progress) -> None:
    """Do not stop: a placeholder for a rule that is not loaded."""


def _use(table: dict[str, Any]) -> dict[str, Any]:
    return {"kind": table.get("kind"), "settings": {k: v for k, v in table.items() if k != "kind"}}
