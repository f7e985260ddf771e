"""The seams: one small protocol per role, which anyone may implement.

`testing` ships a contract suite for each. Knows records; knows no implementation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

from pydantic import JsonValue

from critic_loop.core.errors import ModelError
from critic_loop.core.listing import TreeInfo, TreePage, TreeQuery
from critic_loop.core.messages import Message
from critic_loop.core.records import (
    Ask,
    Attempt,
    AttemptKind,
    Choice,
    Feedback,
    ParseStatus,
    Record,
    Sampling,
    Task,
    Usage,
)
from critic_loop.core.tree import Tree

S = TypeVar("S")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


# -- models ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as a model is told of it."""

    name: str
    description: str = ""
    parameters: dict[str, JsonValue] = field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON Schema of the arguments object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSchema:
    """A JSON Schema that the completion must follow, where the endpoint can be made to."""

    name: str
    schema: dict[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a model is asked."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    output: OutputSchema | None = None
    sampling: Sampling = Sampling.model_construct()
    choices: int = 1
    continues: bool = False
    """The last message is the assistant's own beginning, to be gone on with; the answer is what follows it.
    A model that cannot raises `ModelError`."""
    score: tuple[str, ...] = ()
    """Instead of writing, say how likely these texts are as the next message: one choice for each, with
    its token ids and log-probabilities. A model that cannot raises `ModelError`."""
    timeout_s: float | None = None
    """For the whole call, retries included; None leaves it to the model's own setting."""
    may_retry: Callable[[], bool] | None = None
    """Asked before the request is sent once more: a retry is a call, too. False raises the last error."""
    may_send: Callable[[], bool] | None = None
    """Asked by who holds a request back: False, as soon as nothing more is to be sent, raises `NotSent`."""
    retries: int | None = None
    """How often the request may be sent again, because another can be asked; None leaves it to the model."""
    on_wait: Callable[[float], None] | None = None
    """Told how many seconds passed that are not of its time: its server was being started."""
    accept: Callable[[Completion], str] | None = field(default=None, compare=False)
    """Returns why an answer cannot be used, or nothing: asked where somebody else may give a better one."""
    on_text: Callable[[str], None] | None = None
    """Called with each piece of text as it arrives, where the model streams."""
    tree: str = ""
    """The tree that the call belongs to: what routes may key on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model answered: one choice or several."""

    choices: tuple[Choice, ...]
    usage: Usage = Usage.model_construct()
    raw_usage: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """The usage block as the endpoint sent it; prices are applied on reading."""
    model: str = ""
    weight_version: str = ""
    request_id: str = ""
    prompt_token_ids: tuple[int, ...] | None = None
    busy_s: float | None = None
    """The call's share of the endpoint's time, in seconds; None if not measured."""
    hold_s: float = 0.0
    """How long the endpoint's rate-limit headers ask to send nothing more."""

    @property
    def text(self) -> str:
        """The first choice's text."""
        return self.choices[0].message.text


def scored_choices(request: Request, completion: Completion) -> tuple[Choice, ...]:
    """Return the choices that answer `request.score`.

    Raises:
        ModelError: the model wrote something of its own, or gave no log-probabilities.
    """
    choices = completion.choices
    if tuple(choice.message.text for choice in choices) != request.score:
        raise ModelError(
            f"{completion.model or 'the model'} answered instead of scoring what it was given.",
            hint="Bind a model that serves log-probabilities of a given text, such as vllm:NAME@URL.",
        )
    if not all(choice.logprobs for choice in choices):
        raise ModelError(f"{completion.model or 'the model'} gave no log-probabilities.")
    return choices


@dataclass(frozen=True, slots=True)
class Delta:
    """Text of an answer that is still being written; no record, and kept nowhere."""

    call: str
    """The call's id."""
    text: str
    type: Literal["delta"] = "delta"


@runtime_checkable
class Model(Protocol):
    """Anything that completes a conversation.

    `complete` raises `ModelError` or one of its kinds, and nothing else (a loop as a model also passes on
    what must end the job). It sends a request once: a model that a spec names is wrapped in
    `models.Retrying`, which sends it again after `RateLimited`, `Unreachable` and transient `EndpointError`s,
    unless its attribute `retries_itself` is true. It may be called from any event loop and many times at once.
    """

    @property
    def spec(self) -> str:
        """The spec string that names this model in records, without secrets."""
        ...

    async def complete(self, request: Request) -> Completion:
        """Answer `request` with exactly `request.choices` choices."""
        ...

    async def aclose(self) -> None:
        """Release connections; a later `complete` may open them again."""
        ...


# -- outputs ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T_co]):
    """A typed value, or why there is none."""

    value: T_co | None
    status: ParseStatus = "ok"
    """`repaired`: characters had to be changed or guessed; `unparsed`: there is no value."""
    reason: str = ""
    """What was wrong and what was expected, short enough to be shown to the actor."""

    @classmethod
    def unparsed(cls, reason: str) -> Parsed[T_co]:
        """Return the absence of a value."""
        return cls(None, "unparsed", reason)

    @property
    def found(self) -> bool:
        """Whether there is a value (which may be None for types that allow it)."""
        return self.status in ("ok", "repaired")


@runtime_checkable
class Output(Protocol[T]):
    """How an actor's message becomes an answer of type `T`."""

    @property
    def name(self) -> str:
        """The name in specs and records, as in `code:python`."""
        ...

    @property
    def schema(self) -> OutputSchema | None:
        """What an endpoint can be made to follow; None if there is nothing to follow."""
        ...

    def parse(self, message: Message) -> Parsed[T]:
        """Return the value that `message` holds. Raises nothing, whatever the text."""
        ...

    def dump(self, value: T) -> JsonValue:
        """Return `value` as it stands in `Attempt.answer`."""
        ...

    def load(self, answer: JsonValue) -> T:
        """Return the value that `dump` made `answer` of.

        Raises:
            OutputError: it does not fit (it was written under another schema).
        """
        ...

    def describe(self) -> str:
        """Return the JSON Schema as text for a template's `schema`, or "" if none applies."""
        ...


@runtime_checkable
class CritiqueOutput(Protocol):
    """How a critic's or judge's message becomes feedback."""

    @property
    def name(self) -> str:
        """The name in specs and records, as in `verdict`."""
        ...

    @property
    def schema(self) -> OutputSchema | None:
        """What an endpoint can be made to follow; None if there is nothing to follow."""
        ...

    def parse(self, message: Message) -> Feedback:
        """Return feedback without id, subject, author and calls, which only the caller knows.

        Raises nothing: what cannot be read is ABSTAIN with `parse="unparsed"` and the reason, never
        a score and never accepted.
        """
        ...

    def describe(self) -> str:
        """Return the JSON Schema as text for a template's `schema`, or "" if none applies."""
        ...


# -- search and selection ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What to try next: attempts with these parents, by this agent."""

    parents: tuple[str, ...] = ()
    kind: AttemptKind = "answer"
    agent: str = "actor"
    """Who makes them: the recipe's actor, or one of its further `actors` by name."""
    samples: int = 1
    """Attempts asked for with one request of so many choices."""
    sampling: Sampling | None = None
    """Laid over the agent's own."""
    replaces: str | None = None
    """The attempt that a rethought one takes the place of."""
    shows: tuple[str, ...] = ()
    """Attempts beside the path that the actor is shown with the feedback on them: siblings, rejected ones."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to ask until something in flight settles."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The search has nothing more to try."""

    reason: str = "exhausted"
    text: str = ""


class Search(Protocol[S]):
    """Which attempt comes next: a pure fold over the tree.

    `fold` must not depend on order across siblings; replaying the log rebuilds the state exactly.
    Moves asked for and not settled are in `tree.open`. An unknown id raises `SearchError`.
    """

    def start(self, task: Task) -> S:
        """Return the state for a tree without attempts."""
        ...

    def fold(self, state: S, tree: Tree, record: Ask | Attempt) -> S:
        """Return the state after `record`, which `tree` holds already. May change `state` in place.

        Each attempt is folded once, when all feedback that its loop owes it is in the tree. Feedback itself is
        never folded: a search reads it there.
        """
        ...

    def ask(self, state: S, tree: Tree) -> Move | Wait | Stop:
        """Return the next move. Does not change `state`; asking twice gives the same."""
        ...


AnySearch = Search[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """The attempt that a selection chose, and who decided."""

    attempt: str | None
    decided_by: str
    """`verifier`, `critic`, `judge`, `vote` or `nobody`."""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Compare:
    """A selection cannot go on before a judge has compared these two, in this order."""

    first: str
    second: str


Select = Callable[[Tree], Pick | Compare]
"""Pure: which attempt wins. Called again after each comparison, which stands in the tree by then."""


# -- stores ------------------------------------------------------------------------------------


class Store(Protocol):
    """Keeps trees: append-only, the only truth.

    May be used from several event loops. Records of one tree keep the order of `append` calls.
    """

    @property
    def where(self) -> str:
        """The place as people write it, as in `sqlite:///trees.db`."""
        ...

    async def append(self, tree_id: str, *records: Record, durable: bool = True) -> None:
        """Add records (a new tree's first is its head). With `durable`, return when they are on disk.

        Without it, they are written in order, at the latest with the next durable append. A durable append
        of no records waits for all that came before.

        Raises:
            StoreError: the tree is unknown or has a head already, or the disk refuses.
        """
        ...

    async def load(self, tree_id: str) -> Tree:
        """Return a tree, with the bytes of its images and files.

        Raises:
            NoSuchTree: there is none of this id.
            StoreError: it was written by a newer version.
        """
        ...

    async def has(self, tree_id: str) -> bool:
        """Return whether there is such a tree."""
        ...

    def trees(self, *, recipe: str | None = None, task: str | None = None) -> AsyncIterator[TreeInfo]:
        """Iterate over the trees, oldest first."""
        ...

    async def find(self, query: TreeQuery) -> TreePage:
        """Return a page of the trees that a query finds, newest first.

        Raises:
            NoSuchTree: there is no tree with the id that is given as `before`.
        """
        ...

    async def add_feedback(self, attempt_id: str, feedback: Feedback) -> Feedback:
        """Add what somebody says of an attempt later on; return it with its id.

        Raises:
            NoSuchTree, NoSuchAttempt: there is none of this id.
        """
        ...

    async def aclose(self) -> None:
        """Write what is pending and release the store."""
        ...
