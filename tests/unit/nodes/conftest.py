"""A run by hand: what nodes need, without a graph."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from critic_loop.assets import Library
from critic_loop.core.budget import Budget, LocalLedger
from critic_loop.core.errors import StoreError
from critic_loop.core.messages import Message, ToolCall, assistant
from critic_loop.core.protocols import Model
from critic_loop.core.records import Feedback, Record
from critic_loop.models.wrappers.fallback import Chain, FallbackCursor
from critic_loop.nodes.caller import Caller
from critic_loop.nodes.context import RunContext
from critic_loop.nodes.journal import Journal
from critic_loop.nodes.views import actor_views, critic_view, pair_view, verifier_view
from critic_loop.outputs import critique_of, output_of
from critic_loop.roles.prompted import PromptedActor, PromptedCritic, PromptedJudge
from critic_loop.store.memory import MemoryStore
from critic_loop.testing import ScriptedModel
from tests.conftest import Grown

RIGHT, WRONG = "Yes.\nVerdict: correct", "No.\nVerdict: wrong"


@dataclass
class Ordered(MemoryStore):
    """A store that remembers in which order things happened, and can fail."""

    events: list[str] = field(default_factory=list)
    fails: Callable[[Record], bool] = lambda record: False

    def __post_init__(self) -> None:
        super().__init__()

    async def append(self, tree_id: str, *records: Record, durable: bool = True) -> None:
        if any(self.fails(record) for record in records):
            raise StoreError("the disk is full")
        await super().append(tree_id, *records, durable=durable)
        self.events += [f"{record.type}{' on disk' * durable}" for record in records]


@dataclass(frozen=True)
class SlotLease:
    cursor: FallbackCursor
    revision: int = 0


@dataclass
class Slots:
    """One model for each slot, or one for all."""

    models: dict[str, Model]
    leases: list[tuple[str, str, str]] = field(default_factory=list)

    @asynccontextmanager
    async def lease(self, slot: str, *, tree: str = "", attempt: str = "") -> AsyncIterator[SlotLease]:
        self.leases.append((slot, tree, attempt))
        model = self.models.get(slot) or self.models["*"]
        yield SlotLease(FallbackCursor(Chain(100.0, (model,), {}, 0), []))

    def begin(self, *attempts: str, then: Callable[[], object] = lambda: None) -> None:
        then()

    def settled(self, attempt: str) -> None:
        """Nothing is swapped here."""


class Nobody:
    """An actor for runs that need none."""

    name = "nobody"

    async def act(self, views: Any) -> list[Any]:
        raise AssertionError("nobody was to act")


async def run_of(
    grown: Grown,
    model: Model | dict[str, Model] | None = None,
    *,
    calls: int = 99,
    store: Ordered | None = None,
    **parts: Any,
) -> RunContext:
    """Return the context of a run over a tree that is in the store already."""
    models = model if isinstance(model, dict) else {"*": model or ScriptedModel([])}
    store = store or Ordered()
    await store.append(grown.tree.id, *grown.tree.log)
    store.events.clear()
    journal = Journal(tree=grown.tree, store=store, slots=Slots(models), now=lambda: 1000.0)
    caller = Caller(journal=journal, ledger=LocalLedger(Budget(calls=calls)), clock=lambda: 5.0)
    parts = {"actor": Nobody(), "output": output_of(None), **parts}
    if isinstance(parts["actor"], PromptedActor):
        parts["actor"] = replace(parts["actor"], output=parts["output"], memory=parts.get("memory", "full"))
    return RunContext(journal=journal, caller=caller, **parts)


async def said_of(run: RunContext, role: Any, *attempts: str) -> Feedback:
    """Return what a verifier, critic or judge says of an attempt, or of two."""
    if hasattr(role, "verify"):
        said = await role.verify(verifier_view(run, role, *attempts))
    elif hasattr(role, "critique"):
        said = await role.critique(critic_view(run, role, *attempts))
    else:
        said = await role.compare(pair_view(run, role, *attempts))
    return said if isinstance(said, Feedback) else said[-1]


async def turns_of(run: RunContext, actor: Any, asks: Any, so_far: Any = ()) -> Any:
    """Return what an actor does about some asks."""
    return await actor.act(actor_views(run, actor, asks, so_far))


def prompted_actor(name: str = "actor/solver") -> PromptedActor:
    library = Library()
    spec = library.agent(name)
    return PromptedActor(
        spec=spec, template=library.prompt(spec.prompt), slot=spec.slot, name=name, output=output_of(None)
    )


def prompted_critic(name: str = "critic/stepwise", **fields: Any) -> PromptedCritic:
    library = Library()
    spec = library.agent(name)
    fields = {"name": name, "slot": spec.slot, "output": critique_of(spec.output), **fields}
    return PromptedCritic(spec=spec, template=library.prompt(spec.prompt), **fields)


def prompted_judge(name: str = "judge/pairwise") -> PromptedJudge:
    library = Library()
    spec = library.agent(name)
    return PromptedJudge(
        spec=spec,
        template=library.prompt(spec.prompt),
        slot=spec.slot,
        name=name,
        output=critique_of(spec.output),
    )


def calling(*calls: ToolCall | tuple[str, dict[str, Any]]) -> Message:
    """An assistant message that calls tools."""
    parts = [
        c if isinstance(c, ToolCall) else ToolCall(id=f"call-{n}", name=c[0], arguments=c[1])
        for n, c in enumerate(calls)
    ]
    return assistant(*parts, sampled=True)


def texts(request: Any) -> list[str]:
    """The texts of a request's messages."""
    return [message.text for message in request.messages]
