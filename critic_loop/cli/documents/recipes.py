"""What `recipes` and `new` write."""

from __future__ import annotations

from pydantic import JsonValue

from critic_loop.assets import ActorUse, AgentSpec, CriticUse, DebateUse
from critic_loop.cli.documents.base import Document


class RecipeRow(Document):
    """A recipe, with the specs that it names."""

    name: str
    description: str
    source: str
    search: list[dict[str, JsonValue]]
    """From the outermost in; `kind` and its settings."""
    actor: str
    actors: dict[str, ActorUse] = {}
    """Further actors, by the names that the search has for them."""
    critics: list[CriticUse]
    verifiers: list[str]
    judge: str | None
    debate: DebateUse | None = None
    """What the judge reads before it compares."""
    show: list[str]
    memory: str
    select: str
    select_settings: dict[str, JsonValue] = {}
    stop: list[dict[str, JsonValue] | str] | None
    lanes: int
    max_calls: int
    agents: dict[str, AgentSpec]


class RecipesDocument(Document):
    """`critic-loop recipes list --json` and `recipes show --json`."""

    recipes: list[RecipeRow]


class ProblemRow(Document):
    """One thing that is wrong in a file."""

    file: str
    line: int | None
    key: str
    message: str
    hint: str


class CheckDocument(Document):
    """`critic-loop recipes check --json`."""

    files: list[str]
    """What was looked at."""
    problems: list[ProblemRow]


class NewDocument(Document):
    """`critic-loop new ... --json`."""

    written: list[str]
    next: str
    """A command to go on with."""
