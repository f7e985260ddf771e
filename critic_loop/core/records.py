"""The records that make up a tree. Append-only, frozen, published as JSON Schema.

Knows the shape of what happened. Does not know how it came about (`nodes/`, `graph/`), how
records are indexed (`core.tree`) or kept (`store/`).

Ids: a tree's id is free text without spaces; an attempt's is `<tree id>.<n>`, n counting from 1
in the order of asking; a feedback's is `<tree id>.f<n>`. An id therefore names its tree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator
from pydantic_core import to_json

from critic_loop.core.messages import Frozen, Message, user

SCHEMA_VERSION = 2
"""Raised by a change that older readers cannot read; readers refuse newer trees. Version 2 renamed fields
(`store.migrate` has the list) and added graders, request policies, durations and versions."""
DIGEST_VERSION = 1
"""Raised when what a digest covers, or how prompts fence data, changes. A tree keeps the version that it was
begun with, so that its paid calls are still found."""

AttemptKind = Literal["answer", "step", "thought", "tests", "prompt", "action"]
UNFINISHED: frozenset[AttemptKind] = frozenset({"step", "thought"})
"""Kinds of attempts on the way to an answer: they are judged, but never chosen."""
AttemptStatus = Literal["complete", "partial", "failed", "parked"]
Source = Literal["grader", "verifier", "critic", "judge", "tool", "human", "user"]
ParseStatus = Literal["ok", "repaired", "unparsed", "refused", "error"]
CallStatus = Literal["ok", "error", "cancelled"]
EventKind = Literal["swap", "fallback", "breaker", "stop", "budget", "error", "resume", "park"]
NOT_SENT = "not-sent"
"""The `error_code` of a cancelled call that never left: it is no call that anybody pays for."""
Unit = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
"""A number in [0, 1]."""


class Verdict(StrEnum):
    """Three outcomes, never a bool: ABSTAIN is neither pass nor fail. Compare it: `verdict is Verdict.PASS`."""

    PASS = "pass"
    FAIL = "fail"
    ABSTAIN = "abstain"

    def __bool__(self) -> bool:
        """Refuse.

        Raises:
            TypeError: always. Every member is a text that is not empty, so FAIL would count as true.
        """
        raise TypeError(
            f"a verdict has three outcomes: compare it, as in `verdict is Verdict.PASS`, not {self!r}"
        )


class Usage(Frozen):
    """Tokens as billed. `input_tokens` includes the cached ones, `output_tokens` the reasoning."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
        )


class Spend(Frozen):
    """What a tree, a job or a call has cost so far."""

    calls: int = 0
    usage: Usage = Usage.model_construct()
    cost_usd: float | None = None
    """None = the price is unknown; never 0 for unknown."""
    elapsed_s: float = 0.0


class Sampling(Frozen):
    """How a completion is drawn; None leaves it to the endpoint."""

    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False
    extra: dict[str, JsonValue] = {}
    """Fields passed to the endpoint as they are."""


class Place(Frozen):
    """Where a call stands. With its digest it says whether a stored answer may be used again."""

    subject: tuple[str, ...]
    """An attempt's id, an ordered tuple of them, or a feedback's id."""
    agent: str
    """Role, position and spec, as in `critic/0/stepwise`."""
    turn: int = 0
    sample: int = 0
    repair: int = 0


class Task(Frozen):
    """What is to be done, and what is needed to check it."""

    id: str = ""
    """Hash of the content unless given."""
    prompt: tuple[Message, ...] = Field(min_length=1)
    """What the actor is asked: a text becomes one user message."""
    reference: JsonValue = None
    """The right answer where one is known; hidden from actor and critics unless a recipe says so."""
    checks: dict[str, JsonValue] = {}
    """What verifiers need, by verifier name: what is available where the answer is used."""
    held_out: dict[str, JsonValue] = {}
    """What only graders see, by grader name."""
    source: str = ""
    """Where the task comes from, such as a data set's name; exported rows name it."""
    license: str = ""
    """An SPDX identifier, such as `CC-BY-4.0`; exported rows name it, and the manifest counts by it."""
    tags: tuple[str, ...] = ()
    """Words to group tasks by, as `critic-loop failures --by tag` does."""
    language: str = ""
    """An IETF language tag, such as `en`; exported rows and the data set's card name it."""
    parent: str | None = None
    """The attempt whose worth this task's tree measures (nested loops)."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.id:
            content = self.model_dump(mode="json", exclude={"id"}, exclude_defaults=True)
            if "license" in content:  # spelled so in record schema 1: a task's id outlives the spelling
                content["licence"] = content.pop("license")
            object.__setattr__(self, "id", digest_of(content))
        return self

    @classmethod
    def of(cls, given: str | Sequence[Message] | Task, **fields: Any) -> Task:
        """Return a task from text, messages or a task (then unchanged, or copied with `fields`)."""
        if isinstance(given, Task):
            return given.model_copy(update=fields) if fields else given
        prompt = (user(given),) if isinstance(given, str) else tuple(given)
        return cls(prompt=prompt, **fields)

    @property
    def text(self) -> str:
        """The prompt's text, system messages left out."""
        return "\n\n".join(message.text for message in self.prompt if message.role != "system")


class Head(Frozen):
    """A tree's first record: what was to be done, and by which recipe."""

    type: Literal["head"] = "head"
    tree: str = Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=128)
    task: Task
    recipe: str
    recipe_digest: str
    """Hash over `components`: a loop made of others may not resume this tree."""
    components: str = ""
    """A line `name hash` for each part of the loop: the recipe, specs, prompts, functions, tools."""
    digest_version: int = DIGEST_VERSION
    """The rules that its digests and fences follow, for as long as it lives."""
    seed: int = 0
    key: str = Field(repr=False)
    """What this tree's fences are made with; never shown to a model, never exported. It follows from task
    and seed, so that two runs ask the same; a fence is safe because it also depends on the text in it."""
    origin: str | None = None
    """The tree or attempt that this one was forked from."""
    created_at: float
    """Seconds since the epoch."""
    schema_version: int = SCHEMA_VERSION


class ContextSpec(Frozen):
    """What the actor is shown, frozen when it is asked, so that a resumed ask sees the same."""

    attempts: tuple[str, ...] = ()
    feedback: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    also_shown: tuple[str, ...] = ()
    """Attempts that are not on the path: siblings, rejected ones."""


class Ask(Frozen):
    """A move, on disk before anything is called for it."""

    type: Literal["ask"] = "ask"
    attempt: str
    parents: tuple[str, ...] = ()
    kind: AttemptKind = "answer"
    agent: str = "actor"
    seed: int = 0
    sampling: Sampling = Sampling.model_construct()
    context: ContextSpec = ContextSpec.model_construct()
    replaces: str | None = None
    """The attempt that this one takes the place of (a rethought step)."""
    group: str | None = None
    """The first attempt of a group that one request with several choices answers."""
    lane: int = 0


class Call(Frozen):
    """A model call as sent; on disk before it leaves."""

    type: Literal["call"] = "call"
    id: str
    place: Place
    digest: str
    """Hash of messages, tools, schema and sampling, *not* of the binding: a swap keeps paid work."""
    request: tuple[Message, ...]
    template: str = ""
    """The prompt's name and hash."""
    tools: str = ""
    """JSON list of the tools that were offered: name, description, parameters (kept once by the store)."""
    output_schema: str = ""
    """The name of the schema that the reply was to follow."""
    binding: str
    """The spec that the slot was bound to."""
    revision: int = 0
    slot: str = ""
    """Whose binding it was."""
    sampling: Sampling = Sampling.model_construct()
    choices: int = 1
    score: tuple[str, ...] = ()
    """The texts whose log-probabilities were asked for; the reply has a choice for each."""
    sent_at: float


class Choice(Frozen):
    """One completion out of those that a call asked for."""

    message: Message
    finish_reason: str = "stop"
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    """One per sampled token; as served, never recomputed."""
    stopped_by: str = ""
    """The stop string before which the text ends, where the endpoint says so."""


class Reply(Frozen):
    """How a call ended; on disk before anything that rests on it leaves."""

    type: Literal["reply"] = "reply"
    call: str
    status: CallStatus
    choices: tuple[Choice, ...] = ()
    usage: Usage = Usage.model_construct()
    raw_usage: dict[str, JsonValue] = {}
    model: str = ""
    """What the endpoint says that it is."""
    weight_version: str = ""
    request_id: str = ""
    prompt_token_ids: tuple[int, ...] | None = None
    sends: int = 1
    """How often the call was sent: retries count, and each may be billed."""
    duration_s: float | None = None
    """Seconds from when the model got the call until it ended, retries and waiting in line included."""
    busy_s: float | None = None
    """Its share of the endpoint's time: a second in which n calls were in flight counts 1/n for each."""
    error: str = ""
    error_code: str = ""
    """With status `error` and code `output`, choices were given, but could not be used; another was asked."""
    ended_at: float


class Attempt(Frozen):
    """What a move became. May be written again while it is `partial` or `parked`."""

    type: Literal["attempt"] = "attempt"
    id: str
    parents: tuple[str, ...] = ()
    kind: AttemptKind = "answer"
    """What was asked for; a step that ended the answer is an `answer`."""
    messages: tuple[Message, ...] = ()
    """What it added to the conversation; a step's hold the steps before it, too."""
    answer: JsonValue = None
    """The typed answer as JSON; None when there is none."""
    status: AttemptStatus = "complete"
    error: str = ""
    error_code: str = ""
    replaces: str | None = None
    calls: tuple[str, ...] = ()

    @property
    def unfinished(self) -> bool:
        """Whether it is a part of an answer and not its end."""
        return self.kind in UNFINISHED

    @property
    def settled(self) -> bool:
        """Whether nothing more will be added to it."""
        return self.status in ("complete", "failed")


class Location(Frozen):
    """A place in an attempt: a message, a content part of it (as a tool call), a step, or a span of text."""

    message: int | None = None
    content_part: int | None = None
    step: int | None = None
    start: int | None = None
    end: int | None = None
    """Code points, half open."""


class Subject(Frozen):
    """What feedback is about: an attempt or a place in it, several in order, or another feedback."""

    attempts: tuple[str, ...] = ()
    location: Location | None = None
    feedback: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if bool(self.attempts) == (self.feedback is not None):
            raise ValueError("a subject is attempts or a feedback, exactly one of them")
        if self.location is not None and len(self.attempts) != 1:
            raise ValueError("a location belongs to exactly one attempt")
        return self

    @classmethod
    def of(cls, *attempts: str) -> Subject:
        """Return the subject of one attempt, or of several in the order in which they were shown."""
        return cls(attempts=attempts)


class Step(Frozen):
    """A judgement of one step; steps count from 0."""

    index: int
    verdict: Verdict | None = None
    score: Unit | None = None
    text: str = ""


class Criterion(Frozen):
    """A rubric item and how it was met."""

    name: str
    verdict: Verdict | None = None
    score: Unit | None = None
    weight: float = 1.0
    text: str = ""


class Span(Frozen):
    """A remark on a stretch of the answer, in code points, half open."""

    start: int
    end: int
    text: str = ""
    label: str = ""


class Box(Frozen):
    """A remark on a region of an image, in fractions of its width and height."""

    left: Unit
    top: Unit
    right: Unit
    bottom: Unit
    text: str = ""


class Feedback(Frozen):
    """Evidence, opinion or a grade about an attempt, a place in one, several, or another feedback."""

    type: Literal["feedback"] = "feedback"
    id: str = ""
    """Given by the tree or store that it is added to. A role that returns several may call one `#name`, to name
    it in `supersedes` or `rests_on` of the others."""
    subject: Subject | None = None
    """None only until it is added: `store.add_feedback(attempt_id, ...)` fills it in."""
    source: Source = "critic"
    author: str = ""
    verdict: Verdict | None = None
    score: Unit | None = None
    """None = not judged, which is never 0."""
    text: str = ""
    preference: tuple[Unit, ...] | None = None
    """For several attempts: the share of preference of each, in the subject's order."""
    steps: tuple[Step, ...] = ()
    first_error: int | None = None
    """Index of the first wrong step; -1 = looked and found none; None = not looked."""
    spans: tuple[Span, ...] = ()
    boxes: tuple[Box, ...] = ()
    rubric: tuple[Criterion, ...] = ()
    suggestion: str = ""
    confidence: Unit | None = None
    data: dict[str, JsonValue] = {}
    """What only this author understands; but `tests` and `lacks` are read by the properties of these names."""
    parse: ParseStatus = "ok"
    reason: str = ""
    """Why it abstains, where it does."""
    saw_reference: bool = False
    advisory: bool = False
    """True for a shadow critic: asked and recorded, never acted upon."""
    requested_because: str = ""
    """The policy that asked for it: `always`, `unverified`, `escalated`, `audit`; empty where not known."""
    request_probability: Unit | None = None
    """How likely that policy was to ask, in (0, 1]; None where it is not known. Without it, what is measured on
    the judged attempts alone is biased."""
    produced_by: str = ""
    """The version of what judged: a model and its weights, a sandbox driver, a checker."""
    supersedes: str | None = None
    calls: tuple[str, ...] = ()
    rests_on: tuple[str, ...] = ()
    """Feedback that this one was made from (a merged critique's critiques)."""
    trees: tuple[str, ...] = ()
    """Nested trees that this judgement rests on."""

    @model_validator(mode="after")
    def _fits_subject(self) -> Self:
        shares, subject = self.preference, self.subject
        if shares is not None and subject is not None and len(shares) != len(subject.attempts):
            raise ValueError("a preference has one share for each attempt of its subject")
        return self

    @property
    def tests(self) -> dict[str, bool]:
        """Which single tests were passed, by name: what verifiers write as `data={"tests": {"adds": True}}`.

        Not run is neither: such a test is left out, or null. Empty if the author gave none.
        """
        told = self.data.get("tests")
        given = told.items() if isinstance(told, dict) else ()
        return {name: passed for name, passed in given if isinstance(passed, bool)}

    @property
    def lacks(self) -> str:
        """What the task has not, so that there is nothing to judge by ("reference answer"); empty otherwise.

        What verifiers write as `data={"lacks": "reference answer"}` where they abstain for no other reason.
        Nothing failed there: `metrics.why` tells it from a verifier that could not judge.
        """
        told = self.data.get("lacks")
        return told if isinstance(told, str) and self.verdict is Verdict.ABSTAIN else ""

    @classmethod
    def passed(cls, text: str = "", **fields: Any) -> Feedback:
        """Return a PASS."""
        return cls(verdict=Verdict.PASS, text=text, **fields)

    @classmethod
    def failed(cls, text: str = "", **fields: Any) -> Feedback:
        """Return a FAIL."""
        return cls(verdict=Verdict.FAIL, text=text, **fields)

    @classmethod
    def abstain(cls, reason: str, **fields: Any) -> Feedback:
        """Return an abstention: no verdict, no score, and why."""
        return cls(verdict=Verdict.ABSTAIN, reason=reason, **fields)

    @classmethod
    def user(cls, *, score: float | None = None, text: str = "", **fields: Any) -> Feedback:
        """Return what a user of the answer said about it, perhaps days later."""
        return cls(source="user", author=fields.pop("author", "user"), score=score, text=text, **fields)


class Event(Frozen):
    """Something that happened beside the attempts."""

    type: Literal["event"] = "event"
    kind: EventKind
    at: float
    text: str = ""
    data: dict[str, JsonValue] = {}


class Outcome(Frozen):
    """How a tree ended. A later one replaces it (after resuming with new feedback)."""

    type: Literal["outcome"] = "outcome"
    chosen: str | None = None
    decided_by: str = ""
    """What decided: `verifier`, `critic`, `judge`, `vote`, or `nobody`."""
    select: str = ""
    """The rule that chose."""
    stop: str = ""
    """The stop reason's name, as in `verified` or `max_rounds`."""
    stop_text: str = ""
    spend: Spend = Spend.model_construct()


Record = Annotated[
    Head | Ask | Call | Reply | Attempt | Feedback | Event | Outcome, Field(discriminator="type")
]


def tree_of(record_id: str) -> str:
    """Return the id of the tree that an attempt's or feedback's id belongs to."""
    return record_id.rpartition(".")[0]


def digest_of(content: Any) -> str:
    """Return a short stable hash of JSON-like content or records (24 hex digits)."""
    return hashlib.blake2b(to_json(content), digest_size=12).hexdigest()
