"""What each command writes with `--json`. Public: published as JSON Schema in docs/schemas/cli.

A key is never renamed or given another meaning; new ones may be added, so readers ignore what they do not
know. Knows shapes. Does not know how they are filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from critic_loop.assets import ActorUse, AgentSpec, CriticUse, DebateUse
from critic_loop.core.errors import CriticLoopError
from critic_loop.export import Manifest
from critic_loop.graph.result import ResultJson
from critic_loop.metrics import Why


class Document(BaseModel):
    """Base of what commands write: nothing is in it that its schema does not name."""

    model_config = ConfigDict(extra="forbid")


# -- errors ------------------------------------------------------------------------------------


class Error(Document):
    """What was wrong, where, and what to do."""

    code: str
    """Stable: `config`, `asset`, `unreachable`, `auth`, ...; see the error's class."""
    message: str
    hint: str
    docs: str
    """Where the documentation says more, as in `reference/errors.html#config`."""
    details: list[str] = []
    """A line for each place, where several things are wrong."""

    @classmethod
    def of(cls, error: CriticLoopError, details: Sequence[str] = ()) -> Error:
        """Return an error as a document."""
        return cls(
            code=error.code, message=error.message, hint=error.hint, docs=error.docs, details=list(details)
        )


class ErrorDocument(Document):
    """What any command writes when it fails."""

    error: Error


# -- run ---------------------------------------------------------------------------------------


class Summary(Document):
    """Totals over the results."""

    model_config = ConfigDict(extra="forbid", serialize_by_alias=True)

    tasks: int
    answered: int
    passed: int = Field(alias="pass")
    fail: int
    abstain: int
    calls: int
    input_tokens: int
    output_tokens: int
    reused: int


class RunDocument(Document):
    """`critic-loop run --json`."""

    recipe: str
    models: dict[str, str]
    """The spec of each slot."""
    store: str
    seed: int
    results: list[ResultJson[JsonValue]]
    summary: Summary
    interrupted: bool
    """Whether a signal ended it; the same command goes on."""


# -- demo --------------------------------------------------------------------------------------


class ArmRow(Document):
    """One way to spend tokens, over all puzzles of a level."""

    name: str
    solved: int
    rate: float
    ci95: tuple[float, float]
    calls: int
    input_tokens: int
    output_tokens: int
    seconds: float


class Paired(Document):
    """Two arms compared puzzle by puzzle."""

    ours: str
    theirs: str
    only_ours: int
    only_theirs: int
    mcnemar_p: float


class RevisedRow(Document):
    """One critique and one revision in `refine`, beside what the model card's rates predict."""

    puzzles: int
    drafts_right: int
    right_after: int
    ci95: tuple[float, float]
    predicted: float
    """acc1 = p(1 - b*g) + (1 - p)*a*f, with rates measured on other puzzles."""
    predicted_ci95: tuple[float, float]


class LevelRow(Document):
    """The arms on the puzzles of one level."""

    level: str
    tokens_per_puzzle: int
    """Generated at most, critiques included."""
    arms: list[ArmRow]
    paired: list[Paired]
    first_revision: RevisedRow | None
    """Null where another model plays than the embedded one."""


class DemoDocument(Document):
    """`critic-loop demo --json`."""

    model: str
    puzzles_per_level: int
    levels: list[LevelRow]
    store: str
    reused_trees: int
    revised_tree: str | None


# -- trees -------------------------------------------------------------------------------------


class ExportDocument(Manifest, Document):
    """`critic-loop export --json`: the manifest, and where it lies."""

    out: str
    store: str


class FailureGroup(Document):
    """Trees that have something in common."""

    value: str
    trees: int
    failed: int
    share: float
    """Of all trees, by cause; else the share of failures in the group."""
    causes: dict[str, int]
    example: str
    """A tree's id."""
    task: str
    """The first line of its task, shortened."""


class ListedTree(Why):
    """A tree's cause."""

    task: str
    """The first line of its task, shortened."""


class FailuresDocument(Document):
    """`critic-loop failures --json`."""

    store: str
    by: str
    trees: int
    failed: int
    groups: list[FailureGroup]
    listed: list[ListedTree] | None = None
    """With `--cause`: each tree of that cause."""


class ComparedSide(Document):
    """One loop on the tasks that both have."""

    store: str
    recipe: str
    mean: float
    """Over these tasks, each weighing the same: the share solved, or the mean score."""
    ci95: tuple[float, float] | None
    """Null where one task cannot tell."""
    trees: int
    calls: int
    output_tokens: int
    cost_usd: float | None
    """null = nobody knows the price of one of them."""
    unfinished: int
    """Trees left out: they have not ended."""
    unknown: int
    """Trees left out: nobody knows whether they solved their task, or scored them."""
    unmatched: int
    """Trees left out: the other side does not have their task."""


class CurveRow(Document):
    """The share of tasks that each side solves within a budget for each task."""

    budget: float
    ours: float
    theirs: float


class CompareDocument(Document):
    """`critic-loop compare --json`."""

    measure: Literal["solved", "score"]
    tasks: int
    """Those that both have."""
    ours: ComparedSide
    theirs: ComparedSide
    difference: float
    """Ours less theirs."""
    ci95: tuple[float, float]
    """By the paired bootstrap over tasks."""
    better: int
    """Tasks on which ours is better."""
    worse: int
    mcnemar_p: float | None
    """Null unless each task has one tree on each side, and it is solved or not."""
    resamples: int
    seed: int
    unit: Literal["tokens", "calls", "usd"]
    """Of the budgets: generated tokens, model calls, US dollars."""
    curve: list[CurveRow]
    """Empty where scores are compared."""


# -- recipes -----------------------------------------------------------------------------------


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


# -- settings and models -----------------------------------------------------------------------


class Setting(Document):
    """A setting that is in force."""

    value: JsonValue
    origin: Literal["default", "file", "environment", "flag"]
    variable: str
    """The environment variable that would give it."""


class ConfigDocument(Document):
    """`critic-loop config --json`. What may be a secret is left out."""

    file: str | None
    settings: dict[str, Setting]
    models: dict[str, dict[str, JsonValue]]
    """The `[models.NAME]` tables, as they are written."""


class ConfigPathDocument(Document):
    """`critic-loop config path --json`."""

    file: str | None


class Key(Document):
    """Where an endpoint's key comes from; the key itself is never shown."""

    variable: str
    set: bool


class ModelRow(Document):
    """One configured model."""

    names: list[str]
    """The slots that it plays, and its table."""
    spec: str
    backend: str
    url: str | None
    key: Key | None
    capabilities: dict[str, JsonValue]
    about: str
    answers: bool | None
    """null = it was not asked."""
    listed: bool | None
    """Whether the endpoint lists the model; null = it lists nothing."""
    latency_s: float | None
    """Of the list of models."""
    probe_s: float | None
    """Of an answer of one token."""
    error: Error | None


class Finding(Document):
    """What was seen of one capability."""

    can: bool | None
    """null = it could not be told."""
    text: str


class ProbeDocument(Document):
    """`critic-loop models probe --json`."""

    spec: str
    backend: str
    name: str
    url: str
    at: float
    """When it was asked, in seconds since the epoch."""
    kept: bool
    """Whether this is an earlier probe's answer."""
    found: dict[str, Finding]


class ModelsDocument(Document):
    """`critic-loop models --json`."""

    models: list[ModelRow]
    backends: list[str]
