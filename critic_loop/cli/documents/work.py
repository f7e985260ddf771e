"""What `run`, `demo` and `export` write."""

from __future__ import annotations

from pydantic import ConfigDict, Field, JsonValue

from critic_loop.cli.documents.base import Document
from critic_loop.export import Manifest
from critic_loop.graph.result import ResultJson


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
    """Whether a signal stopped the run; the same command resumes it."""


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


class ExportDocument(Manifest, Document):
    """`critic-loop export --json`: the manifest, and where it lies."""

    out: str
    store: str
