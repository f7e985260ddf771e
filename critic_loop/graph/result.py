"""What a loop returns and streams, and the one shape in which both are written as JSON.

Knows trees. Does not know how they are written (`graph.loop`), nor who reads the JSON: the command line, a
server, a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    JsonValue,
    SerializationInfo,
    SkipValidation,
)
from pydantic_core import CoreSchema, core_schema
from typing_extensions import TypeVar

from critic_loop.core.records import Spend, Task, Verdict
from critic_loop.core.tree import Tree
from critic_loop.core.value import Value
from critic_loop.evidence import value_of, verdict_of

if TYPE_CHECKING:
    from critic_loop.metrics import Why

T = TypeVar("T", default=str)
A = TypeVar("A")


class Waiting(BaseModel):
    """An attempt that waits for a person's answer, and the question."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    attempt_id: str
    answer: JsonValue
    """The attempt's answer as data."""
    text: str
    """What the actor wrote."""
    asked: tuple[str, ...]
    """Names of the people whose answer is missing; the first is asked `question`."""
    question: str

    def __str__(self) -> str:
        question = f": {self.question}" if self.question else ""
        return f"{self.attempt_id} waits for {', '.join(self.asked)}{question}"


class ResultJson(BaseModel, Generic[A]):
    """A result as JSON: what `run --out` writes a line, and what `Result` serialises to.

    It names the tree and holds none of its records; `result.tree.log` has these.
    """

    model_config = ConfigDict(title="Result", extra="forbid", arbitrary_types_allowed=True, defer_build=True)

    type: Literal["result"] = "result"
    task: str
    """The task's id."""
    tree: str
    """The tree's id."""
    attempt: str | None
    """The chosen attempt's id; feedback on the answer goes here."""
    answer: A | None
    verdict: Verdict
    score: float | None
    """In [0, 1]; null = not judged."""
    decided_by: str
    """`verifier`, `critic`, `judge`, `vote`, `nobody`, or empty."""
    stop: str
    """Why the loop ended: `verified`, `accepted`, `max_rounds`, `budget`, `interrupted`, `error`, ..."""
    stop_text: str
    parked: list[str]
    """Ids of the attempts that wait for a person's answer."""
    waiting: list[Waiting]
    """These attempts, and what is asked about them."""
    attempts: int
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    """null = the price is not known."""
    elapsed_s: float
    reused: bool
    """Whether the tree had ended before this run."""
    error: str
    """Why there is no answer; empty where there is one."""


class Result(BaseModel, Generic[T]):
    """The answer, who decided, why the loop stopped, what it cost, and the whole tree.

    It serialises as `ResultJson`, by `model_dump_json()`, by `TypeAdapter(Result[Patch])`, and where a web
    framework that knows pydantic returns it: the typed answer and ids, not the records of the tree. It is not
    read back from JSON; the tree is loaded from its store instead.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, defer_build=True)

    type: Literal["result"] = Field(default="result", repr=False)
    answer: SkipValidation[T | None]
    """The chosen attempt's typed answer; None when there is none."""
    attempt_id: str | None
    """The chosen attempt; feedback on the answer goes here."""
    decided_by: str
    """`verifier`, `critic`, `judge`, `vote` or `nobody`."""
    stop: str
    """Which rule ended the loop: `verified`, `accepted`, `max_rounds`, `budget`, `steps`, `parked`, ..."""
    stop_text: str
    spend: Spend
    tree: Tree
    waiting: tuple[Waiting, ...] = ()
    """Attempts that wait for a person's answer, and the questions; `Loop.respond` takes it."""
    reused: bool = False
    """Whether the tree had ended before: nothing was run."""
    error: str = ""
    """What ended the tree, where `stop` is `error`."""

    @property
    def task(self) -> Task:
        """The task."""
        return self.tree.task

    @property
    def value(self) -> Value:
        """The chosen attempt's worth; the empty value when there is none."""
        return Value() if self.attempt_id is None else value_of(self.tree, self.attempt_id)

    @property
    def verdict(self) -> Verdict:
        """Whether the answer is right where that is known (`evidence.right`), else the critics' verdict."""
        return Verdict.ABSTAIN if self.attempt_id is None else verdict_of(self.tree, self.attempt_id)

    @property
    def parked(self) -> tuple[str, ...]:
        """Ids of the attempts that wait for a person's answer."""
        return tuple(waiting.attempt_id for waiting in self.waiting)

    @property
    def problem(self) -> str:
        """Why there is no answer; empty where there is one."""
        if self.answer is not None:
            return ""
        if self.error:
            return self.error
        if self.waiting:
            return "; ".join(map(str, self.waiting))
        errors = [attempt.error for attempt in self.tree if attempt.error]
        return errors[-1] if errors else self.stop_text or "the loop stopped before its first answer"

    def __str__(self) -> str:
        """Return the answer or why there is none, the drafts that wait for people, and how the loop ended."""
        lines = [f"no answer: {self.problem}" if self.answer is None else str(self.answer)]
        if self.answer is not None:
            lines += map(str, self.waiting)
        for waiting in self.waiting:
            lines += ["", f"{waiting.attempt_id}:", waiting.text]
        if self.waiting:
            lines += ["", f"Answer with loop.respond({self.tree.id!r}, ...), then run the tree again."]
        decided = "" if self.answer is None else f"{self.verdict}, decided by {self.decided_by or 'nobody'}; "
        calls = "1 call" if self.spend.calls == 1 else f"{self.spend.calls} calls"
        lines.append(f"({decided}stopped: {self.stop}; {calls}; tree {self.tree.id})")
        return "\n".join(lines)

    def why(self) -> Why:
        """Return why there is no right answer, or that there is one; `print(result.why())` reads well.

        Computed at each call from the tree. `critic_loop.metrics.why` does the same for a tree that was loaded
        later, with feedback that was added since.
        """
        from critic_loop.metrics import why

        return why(self.tree)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Write results as `ResultJson` of the same answer type."""
        schema = handler(source)
        answer = cls.__pydantic_generic_metadata__["args"]
        shape = handler.generate_schema(ResultJson[answer[0] if answer else Any])
        written = core_schema.plain_serializer_function_ser_schema(
            cls._as_json, info_arg=True, return_schema=shape
        )
        return {**schema, "serialization": written}  # type: ignore[return-value]  # any schema may have this key

    def _as_json(self, info: SerializationInfo) -> ResultJson[Any]:
        """Return what is serialised, without the keys that the serialiser excludes."""
        shape = self._shape()
        keys, left_out = set(shape.__dict__), set(info.exclude or ())
        for key in keys & left_out | keys - set(info.include or keys):
            delattr(shape, key)
        return shape

    def _shape(self) -> ResultJson[Any]:
        usage = self.spend.usage
        return ResultJson[Any].model_construct(
            type=self.type,
            task=self.task.id,
            tree=self.tree.id,
            attempt=self.attempt_id,
            answer=self.answer,
            verdict=self.verdict,
            score=self.value.score,
            decided_by=self.decided_by,
            stop=self.stop,
            stop_text=self.stop_text,
            parked=list(self.parked),
            waiting=list(self.waiting),
            attempts=len(self.tree),
            calls=self.spend.calls,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_usd=self.spend.cost_usd,
            elapsed_s=self.spend.elapsed_s,
            reused=self.reused,
            error=self.problem,
        )
