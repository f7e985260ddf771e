"""Critiques as JSON: a verdict, a score, remarks on steps and spans, a rubric.

Knows the schemas that critics are asked to follow, and how to convert them to `Feedback`. Does not know what is
judged, by whom, or the prompt.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from critic_loop.core.messages import Message
from critic_loop.core.protocols import OutputSchema, Parsed
from critic_loop.core.records import Criterion, Feedback, Span, Step, Verdict
from critic_loop.outputs.base import visible
from critic_loop.outputs.jsontext import find_last
from critic_loop.outputs.typed import JsonOutput
from critic_loop.outputs.verdict import share_in, verdict_in


def _verdict_word(given: Any) -> Any:
    """Convert `true`, "Correct." and the like to `pass` or `fail`; leave other values to validation."""
    if isinstance(given, bool):
        return Verdict.PASS.value if given else Verdict.FAIL.value
    verdict = verdict_in(given) if isinstance(given, str) else None
    return given if verdict is None else verdict.value


def _share(given: Any) -> Any:
    """Convert "7/10" and "70%" to numbers in [0, 1]; leave other values to validation."""
    share = share_in(given) if isinstance(given, str) else None
    return given if share is None else share


def _text(given: Any) -> Any:
    """Convert null to an empty text."""
    return "" if given is None else given


def _list(given: Any) -> Any:
    """Convert null to an empty list."""
    return () if given is None else given


VerdictWord = Annotated[Literal["pass", "fail", "abstain"], BeforeValidator(_verdict_word)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False), BeforeValidator(_share)]
OptionalText = Annotated[str, BeforeValidator(_text)]
_ItemT = TypeVar("_ItemT")
Items = Annotated[tuple[_ItemT, ...], BeforeValidator(_list)]


class _FromModel(BaseModel):
    """Base of the schemas of critiques: frozen, and unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class StepNote(_FromModel):
    """A judgement of one step; steps count from 0."""

    index: int = Field(ge=0)
    verdict: VerdictWord | None = None
    score: Share | None = None
    text: OptionalText = ""


class SpanNote(_FromModel):
    """A remark on a part of the answer, in code points, half open."""

    start: int = Field(ge=0)
    end: int = Field(ge=0)
    text: OptionalText = ""
    label: OptionalText = ""


class CriterionNote(_FromModel):
    """How one criterion of a rubric was met."""

    name: str
    verdict: VerdictWord | None = None
    score: Share | None = None
    weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    text: OptionalText = ""


class Critique(_FromModel):
    """A critique. All fields are optional, but a verdict, a score or a judged rubric is required."""

    text: OptionalText = ""
    steps: Items[StepNote] = ()
    first_error: int | None = Field(default=None, ge=-1)
    spans: Items[SpanNote] = ()
    rubric: Items[CriterionNote] = ()
    suggestion: OptionalText = ""
    score: Share | None = None
    confidence: Share | None = None
    verdict: VerdictWord | None = None

    @model_validator(mode="after")
    def _judges(self) -> Self:
        if self.verdict is None and self.score is None and not _judged(self.rubric):
            raise ValueError("expected a verdict or a score")
        return self

    def feedback(self) -> Feedback:
        """Return the critique as feedback without id, subject and author."""
        if self.verdict == "abstain":
            return Feedback.abstain(
                self.text or "the critic abstained", text=self.text, confidence=self.confidence
            )
        return Feedback(
            verdict=Verdict(self.verdict) if self.verdict else None,
            score=mean_of(self.rubric) if self.score is None else self.score,
            text=self.text,
            steps=tuple(map(_step, self.steps)),
            first_error=self.first_error,
            spans=tuple(Span(**span.model_dump()) for span in self.spans),
            rubric=tuple(map(_criterion, self.rubric)),
            suggestion=self.suggestion,
            confidence=self.confidence,
        )


class Rubric(_FromModel):
    """A list of criteria, each judged; the score is their weighted mean."""

    criteria: tuple[CriterionNote, ...] = Field(min_length=1)
    text: OptionalText = ""
    suggestion: OptionalText = ""
    verdict: VerdictWord | None = None

    @model_validator(mode="after")
    def _judges(self) -> Self:
        if self.verdict is None and not _judged(self.criteria):
            raise ValueError("expected a score or a verdict for a criterion")
        return self

    def feedback(self) -> Feedback:
        """Return the critique as feedback without id, subject and author."""
        critique = Critique(
            text=self.text, rubric=self.criteria, suggestion=self.suggestion, verdict=self.verdict
        )
        return critique.feedback()


def mean_of(criteria: tuple[CriterionNote, ...]) -> float | None:
    """Return the weighted mean of the criteria that were judged, in [0, 1]; None if none was.

    A criterion without a score counts as 1 if it passed and 0 if it failed.
    """
    judged = _judged(criteria)
    weight = sum(weight for _, weight in judged)
    return min(1.0, sum(score * weight for score, weight in judged) / weight) if judged else None


def _judged(criteria: tuple[CriterionNote, ...]) -> list[tuple[float, float]]:
    """Return score and weight of the criteria with a score or a verdict and a positive weight."""
    scored = ((_score(criterion), criterion.weight) for criterion in criteria)
    return [(score, weight) for score, weight in scored if score is not None and weight > 0]


def _score(criterion: CriterionNote) -> float | None:
    if criterion.score is not None:
        return criterion.score
    return {"pass": 1.0, "fail": 0.0}.get(criterion.verdict or "")


def _step(note: StepNote) -> Step:
    return Step(index=note.index, verdict=_verdict(note.verdict), score=note.score, text=note.text)


def _criterion(note: CriterionNote) -> Criterion:
    return Criterion(
        name=note.name, verdict=_verdict(note.verdict), score=note.score, weight=note.weight, text=note.text
    )


def _verdict(word: str | None) -> Verdict | None:
    return None if word is None else Verdict(word)


class CritiqueJson:
    """A critique as JSON: `critique` (all fields) or `rubric` (criteria only)."""

    def __init__(self, name: Literal["critique", "rubric"] = "critique") -> None:
        """Choose the schema by its name."""
        self._name = name
        self._json: JsonOutput[Any] = JsonOutput(
            Critique if name == "critique" else Rubric, name=name, documented=False
        )

    @property
    def name(self) -> str:
        """`critique` or `rubric`."""
        return self._name

    @property
    def schema(self) -> OutputSchema | None:
        """The critique's JSON Schema."""
        return self._json.schema

    def describe(self) -> str:
        """Return the JSON Schema as text."""
        return self._json.describe()

    def parse(self, message: Message) -> Feedback:
        """Return the feedback; an abstention with the whole reply as its text where no critique can be parsed.

        Only the last JSON object of the reply is read: a critic may quote an answer that imitates a critique.
        """
        parsed: Parsed[Critique | Rubric] = self._json.fit(find_last(visible(message.text)))
        if parsed.value is None:
            return Feedback.abstain(parsed.reason, text=message.text, parse="unparsed")
        return parsed.value.feedback().model_copy(update={"parse": parsed.status})
