"""A loop's arguments, and the parts that are built from them and shared by all its trees.

Knows which parts shape a tree. Does not know how they are built (`graph.assemble`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from critic_loop.assets import Library, Recipe
from critic_loop.core.budget import Budget, JointLedger, LocalLedger
from critic_loop.core.errors import OtherLoop, OtherVersion
from critic_loop.core.protocols import AnySearch, Model, Select, Store
from critic_loop.core.records import DIGEST_VERSION, SCHEMA_VERSION, Head, Task, digest_of
from critic_loop.core.roles import Actor, Critic, Debater, Human, Judge, Verifier
from critic_loop.core.rules import AnyOf, Rule, StopFunction
from critic_loop.core.stop import Elapsed
from critic_loop.core.tools import Tool
from critic_loop.core.tree import Tree
from critic_loop.graph.identity import state_of
from critic_loop.graph.options import RunOptions
from critic_loop.graph.session import Session
from critic_loop.models import Bindable, Fallback, Route, Split, Switchboard, cost_usd
from critic_loop.nodes.caller import Caller
from critic_loop.nodes.context import RunContext
from critic_loop.nodes.journal import Journal
from critic_loop.nodes.open_parts import OpenParts
from critic_loop.outputs import Output
from critic_loop.search import FunctionSearch

BINDABLE = (str, Model, Fallback, Split, Route)
"""What a slot can be bound to."""
_DEFAULTS = RunOptions()


@dataclass(frozen=True, kw_only=True)
class LoopArguments:
    """The arguments of `Loop`; None = as the recipe says."""

    recipe: Recipe
    library: Library
    output: Any = None
    actor: Any = None
    critic: Any = None
    judge: Any = None
    slots: Mapping[str, Bindable] = field(default_factory=dict[str, Bindable])
    verifiers: Sequence[Any] | None = None
    tools: Sequence[Any] = ()
    stop: StopFunction | None = None
    search: Any = None
    select: Any = None
    lanes: int | None = None
    max_calls: int | None = None
    replay: bool = False
    """Whether stored trees answer instead of models, so that slots need none."""


@dataclass(frozen=True, kw_only=True)
class LoopParts:
    """A loop's parts, shared by all its trees."""

    recipe: Recipe
    output: Output[Any]
    actor: Actor
    actors: dict[str, Actor]
    verifiers: tuple[Verifier, ...]
    critics: tuple[Critic, ...]
    humans: tuple[Human, ...]
    judge: Judge | None
    debater: Debater | None
    tools: dict[str, Tool]
    search: AnySearch
    select: Select
    rule: Rule
    switchboard: Switchboard
    lanes: int
    max_calls: int
    hashes: dict[str, str]
    open_parts: OpenParts = field(default_factory=OpenParts)

    @cached_property
    def judges_revisions(self) -> bool:
        """Whether the search builds on what the judge says of each revision."""
        return self.judge is not None and any(_base(s) == "kept" for s in with_inner(self.search))

    @cached_property
    def digest(self) -> str:
        """Hash over all parts that shape a tree."""
        return digest_of(self.hashes)

    def head(self, tree_id: str, task: Task, seed: int) -> Head:
        """Return the first record of a new tree."""
        return Head(
            tree=tree_id,
            task=task,
            recipe=self.recipe.name,
            recipe_digest=self.digest,
            components="\n".join(f"{name} {digest}" for name, digest in sorted(self.hashes.items())),
            seed=seed,
            key=digest_of(["fence", task.id, seed]),
            created_at=round(time.time(), 3),
        )

    def session(self, tree: Tree, store: Store, options: RunOptions = _DEFAULTS) -> Session:
        """Return a working session over `tree`, new or stored; it works without the tree's grades."""
        self.check(tree)
        graded, tree = tree if tree.grades else None, tree.without_grades()
        tariff = cache(self.switchboard.tariff)
        own = LocalLedger(Budget(calls=self.max_calls), calls=tree.spend().calls)
        ledger = own if options.ledger is None else JointLedger(own, options.ledger)
        journal = Journal(
            tree=tree,
            store=store,
            slots=self.switchboard,
            notify=options.notify,
            price=lambda call, reply: cost_usd(call, reply, tariff(call.binding)),
        )
        run = RunContext(
            journal=journal,
            caller=Caller(
                journal=journal,
                ledger=ledger,
                deltas=options.deltas,
                streak=options.streak,
                replay=options.replay,
                deadline_at=self._deadline(),
            ),
            actor=self.actor,
            actors=self.actors,
            output=self.output,
            verifiers=self.verifiers,
            critics=self.critics,
            humans=self.humans,
            judge=self.judge,
            debater=self.debater,
            judge_revisions=self.judges_revisions,
            tools=self.tools,
            open_parts=self.open_parts,
            memory=self.recipe.memory,
        )
        return Session(
            run=run,
            search=self.search,
            select=self.select,
            rule=self.rule,
            ledger=ledger,
            show=self.recipe.show,
            max_moves=self.max_calls,
            lanes=self.lanes,
            now=time.time,
            graded=graded,
        )

    def check(self, tree: Tree) -> None:
        """Raise an error if a tree was begun by a loop of other parts; it says which differ.

        Raises:
            OtherLoop: recipe, specs, prompts, output or functions differ.
            OtherVersion: another version of critic_loop began it.
        """
        if tree.head.schema_version < SCHEMA_VERSION or tree.head.digest_version != DIGEST_VERSION:
            raise OtherVersion(
                f"tree {tree.id!r} was begun by another version of critic_loop (record schema "
                f"{tree.head.schema_version}, digests {tree.head.digest_version}; here {SCHEMA_VERSION} and "
                f"{DIGEST_VERSION}): it can be shown, judged and exported, but not continued.",
                hint="Run the task again under another tree id.",
            )
        if tree.head.recipe_digest == self.digest:
            return
        then = dict(line.rsplit(" ", 1) for line in tree.head.components.splitlines())
        differ = sorted(k for k in {*then, *self.hashes} if then.get(k) != self.hashes.get(k))
        raise OtherLoop(
            f"tree {tree.id!r} was begun with another loop; these differ: {', '.join(differ)}.",
            hint="Resume it with the loop that began it, or start a new tree.",
        )

    def _deadline(self) -> float | None:
        rules = self.rule.rules if isinstance(self.rule, AnyOf) else (self.rule,)
        seconds = [rule.s for rule in rules if isinstance(rule, Elapsed)]
        return time.time() + min(seconds) if seconds else None


def with_inner(search: AnySearch) -> Iterator[AnySearch]:
    """Yield a search and those that it is made of."""
    waiting, seen = [search], {id(search)}
    while waiting:
        yield (one := waiting.pop())
        for value in state_of(one).values():
            if hasattr(value, "fold") and not isinstance(value, type) and id(value) not in seen:
                seen.add(id(value))
                waiting.append(value)


def _base(search: AnySearch) -> Any:
    return search.settings.get("base") if isinstance(search, FunctionSearch) else getattr(search, "base", None)
