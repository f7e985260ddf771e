"""From a recipe and what the user brought to the parts of a loop. The only place that knows all packages."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from pydantic import JsonValue

from critic_loop.assets import AgentSpec, CriticUse, Escalation, Library, Recipe, SelectUse, Template
from critic_loop.core.budget import Budget, LocalLedger
from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import AnySearch, Model, Piece, Select, Store
from critic_loop.core.records import Head, Record, Task, digest_of
from critic_loop.core.stop import AnyOf, Elapsed, Failing, Rule, limits_money, rule_of
from critic_loop.core.tree import Tree
from critic_loop.graph.identity import identity, state_of
from critic_loop.graph.langchain import adapted
from critic_loop.graph.runnables import RunnableActor, is_runnable
from critic_loop.graph.session import Session
from critic_loop.models import Bindable, Fallback, Route, Split, Switchboard, cost_usd, require_price
from critic_loop.nodes.calls import Calls
from critic_loop.nodes.debate import PromptedDebater
from critic_loop.nodes.desk import Actor, Critic, Debater, Desk, HumanCritic, Judge, ToolLike, Verifier
from critic_loop.nodes.escalation import Escalating
from critic_loop.nodes.likelihood import LikelihoodCritic
from critic_loop.nodes.prompted import BLOCKS, Prompted, PromptedActor, PromptedCritic, PromptedJudge
from critic_loop.nodes.replay import Nobody
from critic_loop.nodes.roles import FunctionActor, FunctionCritic, verifier
from critic_loop.outputs import LIKELIHOODS, Output, critique_of, output_of
from critic_loop.search import FunctionSearch, Modifier, SearchFn, build, require_settings, search
from critic_loop.select import require_judge, selection
from critic_loop.tools import tool
from critic_loop.verifiers import verifier_named

C = TypeVar("C", bound=Critic)
BINDABLE = (str, Model, Fallback, Split, Route)
DEFAULT_STOP: tuple[dict[str, JsonValue], ...] = (
    {"verified": True},
    {"accepted": True},
    {"plateau": {"rounds": 3}},
    {"max_rounds": 4},
)


class CriticLoopWarning(UserWarning):
    """Something was left out and a default stepped in."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a user brings beside the recipe; None = as the recipe says."""

    recipe: Recipe
    library: Library
    output: Any = None
    actor: Any = None
    critic: Any = None
    judge: Bindable | None = None
    slots: Mapping[str, Bindable] = field(default_factory=dict[str, Bindable])
    verifiers: Sequence[Any] | None = None
    tools: Sequence[Any] = ()
    stop: Rule | None = None
    search: Any = None
    select: Any = None
    lanes: int | None = None
    max_calls: int | None = None
    replay: bool = False
    """Whether stored trees answer instead of models, so that slots need none."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A loop's parts, shared by all its trees."""

    recipe: Recipe
    output: Output[Any]
    actor: Actor
    actors: dict[str, Actor]
    verifiers: tuple[Verifier, ...]
    critics: tuple[Critic, ...]
    humans: tuple[HumanCritic, ...]
    judge: Judge | None
    debater: Debater | None
    tools: dict[str, ToolLike]
    search: AnySearch
    select: Select
    rule: Rule
    switchboard: Switchboard
    lanes: int
    max_calls: int
    hashes: dict[str, str]

    @property
    def judges_revisions(self) -> bool:
        """Whether the search builds on what the judge says of each revision."""
        return self.judge is not None and any(_base(s) == "kept" for s in _with_inner(self.search))

    @property
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
            parts="\n".join(f"{name} {digest}" for name, digest in sorted(self.hashes.items())),
            seed=seed,
            key=digest_of(["fence", task.id, seed]),
            created_at=round(time.time(), 3),
        )

    def session(self, tree: Tree, store: Store, notify: Callable[[Record | Piece], None]) -> Session:
        """Return a working session over `tree`, new or stored."""
        self.check(tree)
        spend = tree.spend()
        ledger = LocalLedger(Budget(calls=self.max_calls), calls=spend.calls)
        calls = Calls(
            tree=tree,
            store=store,
            slots=self.switchboard,
            ledger=ledger,
            notify=notify,
            price=lambda call, reply: cost_usd(call, reply, self.switchboard.tariff(call.binding)),
            deadline_at=self._deadline(),
        )
        desk = Desk(
            calls=calls,
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
            memory=self.recipe.memory,
        )
        return Session(
            desk=desk,
            search=self.search,
            select=self.select,
            rule=self.rule,
            ledger=ledger,
            show=self.recipe.show,
            max_moves=self.max_calls,
            lanes=self.lanes,
            now=time.time,
        )

    def check(self, tree: Tree) -> None:
        """Refuse a tree that was begun by a loop of other parts, and say which differ.

        Raises:
            ConfigError: recipe, specs, prompts, output or functions differ.
        """
        if tree.head.recipe_digest == self.digest:
            return
        then = dict(line.rsplit(" ", 1) for line in tree.head.parts.splitlines())
        differ = sorted(k for k in {*then, *self.hashes} if then.get(k) != self.hashes.get(k))
        raise ConfigError(
            f"tree {tree.id!r} was begun with another loop; these differ: {', '.join(differ)}.",
            hint="Resume it with the loop that began it, or start a new tree.",
        )

    def _deadline(self) -> float | None:
        rules = self.rule.rules if isinstance(self.rule, AnyOf) else (self.rule,)
        seconds = [rule.s for rule in rules if isinstance(rule, Elapsed)]
        return time.time() + min(seconds) if seconds else None


def assemble(given: Given) -> Parts:
    """Return the parts that `given` describes.

    Raises:
        ConfigError: something does not fit, with what to do.
        AssetError: a file is wrong.
    """
    given = _with_models(given)
    given = _for_replay(given) if given.replay else given
    recipe, library = given.recipe, given.library
    hashes = {"recipe": recipe.model_copy(update={"lanes": 1, "max_calls": 1}).digest}
    spec = library.agent(recipe.actor)
    rule = _guarded(given.stop or _rule(recipe))
    check = require_price if limits_money(rule) and not given.replay else None
    switchboard = Switchboard(*_slots(given, spec), check=check)
    output: Output[Any] = output_of(spec.output if given.output is None else given.output)
    hashes["output"] = digest_of([output.name, output.describe()])
    actor = _actor(given, spec, switchboard, hashes)
    if check is not None and isinstance(actor, RunnableActor):
        raise ConfigError(
            f"money is limited, but nobody counts what {actor.name!r} spends.",
            hint="Let a model play the actor, or limit calls= or tokens= instead.",
        )
    actors = _actors(given, hashes)
    critics, humans = _critics(given, switchboard, hashes)
    judge = _judge(given, switchboard, hashes)
    debater = _debater(given, judge, hashes)
    for slot, model in given.slots.items():
        switchboard.bind(slot, model)
    _bind_missing(given, (actor, *actors.values()), critics, (judge, debater), switchboard)
    verifiers = _verifiers(given, hashes)
    return Parts(
        recipe=recipe,
        output=output,
        actor=actor,
        actors=actors,
        verifiers=verifiers,
        critics=critics,
        humans=humans,
        judge=judge,
        debater=debater,
        tools=_tools(given),
        search=_search(given, hashes),
        select=_select(given, judge, hashes),
        rule=rule,
        switchboard=switchboard,
        lanes=given.lanes or recipe.lanes,
        max_calls=given.max_calls or recipe.max_calls,
        hashes=hashes,
    )


def _for_replay(given: Given) -> Given:
    """Let nobody play the roles whose calls stored trees answer.

    Raises:
        ConfigError: the actor is a runnable, whose calls are in no tree.
    """
    if given.actor is not None and not isinstance(given.actor, BINDABLE) and is_runnable(given.actor):
        raise ConfigError("a runnable cannot be replayed: its calls are in no tree.")
    nobody = Nobody()
    judged = given.recipe.judge is not None and given.judge is None
    return dataclasses.replace(
        given,
        actor=nobody if given.actor is None else given.actor,
        critic=nobody if given.critic is None else given.critic,
        judge=nobody if judged else given.judge,
    )


def _with_models(given: Given) -> Given:
    """Return `given` with LangChain's chat models as the models that they are."""
    critic = given.critic
    return dataclasses.replace(
        given,
        actor=adapted(given.actor),
        critic=[adapted(c) for c in critic] if isinstance(critic, list | tuple) else adapted(critic),
        judge=adapted(given.judge),
        slots={slot: adapted(model) for slot, model in given.slots.items()},
    )


def _slots(given: Given, actor: AgentSpec) -> list[str]:
    recipe, library = given.recipe, given.library
    used = [use.slot or library.agent(use.agent).slot for use in recipe.critics]
    used += [use.escalate.slot for use in recipe.critics if use.escalate is not None]
    used += [use.slot or library.agent(use.agent).slot for use in recipe.actors.values()]
    used += [library.agent(recipe.judge).slot] if recipe.judge else []
    used += [recipe.debate.slot or library.agent(recipe.debate.agent).slot] if recipe.debate else []
    return sorted({"actor", "critic", "judge", actor.slot, *used, *given.slots})


def _tools(given: Given) -> dict[str, ToolLike]:
    tools: list[ToolLike] = [tool(function) for function in given.tools]
    return {made.spec.name: made for made in tools}


def _guarded(rule: Rule | None) -> Rule:
    """Let three attempts in a row that come to nothing end any loop, unless its rules say otherwise."""
    rules = rule.rules if isinstance(rule, AnyOf) else (rule,)
    if rule is not None and any(isinstance(r, Failing) for r in rules):
        return rule
    return Failing() if rule is None else rule | Failing()


def _rule(recipe: Recipe) -> Rule | None:
    rules = DEFAULT_STOP if recipe.stop is None else recipe.stop
    return rule_of([*rules]) if rules else None


def _actor(given: Given, spec: AgentSpec, switchboard: Switchboard, hashes: dict[str, str]) -> Actor:
    actor = given.actor
    if isinstance(actor, BINDABLE):
        switchboard.bind(spec.slot, actor)
    elif actor is not None:
        name = getattr(actor, "__name__", None) or getattr(actor, "name", None) or type(actor).__name__
        hashes["actor"] = str(name)
        return (
            RunnableActor(actor, str(name))
            if is_runnable(actor)
            else FunctionActor(actor, str(name), spec.slot)
        )
    elif spec.slot not in given.slots:
        raise ConfigError(
            "no actor was given.",
            hint="Name a model, as in actor='openai:NAME' or actor='chat:NAME@http://localhost:8000'.",
        )
    template = _template(given.library, spec, recipe_name=given.recipe.actor, hashes=hashes)
    _check_memory(given.recipe, template)
    return PromptedActor(spec=spec, template=template, slot=spec.slot, name=given.recipe.actor)


def _actors(given: Given, hashes: dict[str, str]) -> dict[str, Actor]:
    """Return the recipe's further actors; their hashes are their specs', as the recipe names them."""
    made: dict[str, Actor] = {}
    for name, use in given.recipe.actors.items():
        spec = given.library.agent(use.agent)
        template = _template(given.library, spec, recipe_name=use.agent, hashes=hashes)
        _check_memory(given.recipe, template)
        made[name] = PromptedActor(spec=spec, template=template, slot=use.slot or spec.slot, name=name)
    return made


def _check_memory(recipe: Recipe, template: Template) -> None:
    if recipe.memory == "rejected" and "rejected" not in template.variables:
        raise ConfigError(
            f"recipe {recipe.name!r}, key 'memory', is 'rejected', but {template.where}, key 'variables', "
            "does not declare 'rejected'.",
            hint="Let the actor's prompt list the rejected answers, as actor/anti-repeat does.",
        )


def _template(library: Library, spec: AgentSpec, *, recipe_name: str, hashes: dict[str, str]) -> Template:
    template, needs = library.prompt(spec.prompt), BLOCKS[spec.role]
    if needs not in template.blocks:
        raise ConfigError(f"{template.where}: a prompt for role {spec.role!r} needs a block {needs!r}.")
    hashes[recipe_name] = spec.digest
    hashes[f"prompts/{spec.prompt}"] = template.digest
    return template


def _critics(
    given: Given, switchboard: Switchboard, hashes: dict[str, str]
) -> tuple[tuple[Critic, ...], tuple[HumanCritic, ...]]:
    brought = given.critic if isinstance(given.critic, list | tuple) else [given.critic]
    own = [c for c in brought if c is not None and not isinstance(c, BINDABLE)]
    models = [c for c in brought if isinstance(c, BINDABLE)]
    people = tuple(c for c in own if isinstance(c, HumanCritic))
    functions = [c if isinstance(c, FunctionCritic) else _as_critic(c) for c in own if c not in people]
    if len(models) > 1:
        raise ConfigError(
            "several critic models were given.", hint="Bind each to a slot: slots={'critic-a': ..., ...}."
        )
    for model in models:
        switchboard.bind("critic", model)
    prompted = () if own and not models else _prompted_critics(given, hashes)
    critics = _distinct([*prompted, *functions])
    for critic in functions:
        hashes[f"critic {critic.name}"] = critic.name
    for person in people:
        hashes[f"human {person.name}"] = digest_of([person.name, person.when])
    return critics, people


def _as_critic(function: Any) -> FunctionCritic:
    from critic_loop.nodes.roles import critic

    if not callable(function):
        raise ConfigError(
            f"{function!r} is no critic.", hint="Give a spec, a Model, a function, or cl.Human()."
        )
    return critic(function)


def _prompted_critics(given: Given, hashes: dict[str, str]) -> tuple[Critic, ...]:
    critics: list[Critic] = []
    for position, use in enumerate(given.recipe.critics):
        spec = given.library.agent(use.agent)
        name = (
            use.agent
            if position == 0 or use.agent not in {c.name for c in critics}
            else f"{use.agent}#{position}"
        )
        template = _template(given.library, spec, recipe_name=use.agent, hashes=hashes)
        critic = _prompted_critic(use, spec, template, name)
        critics.append(critic if use.escalate is None else _escalating(critic, use.escalate))
    return tuple(critics)


def _escalating(critic: PromptedCritic | LikelihoodCritic, escalation: Escalation) -> Escalating:
    second = dataclasses.replace(critic, slot=escalation.slot, name=f"{critic.name}/escalated")
    return Escalating(first=critic, second=second, below=escalation.below)


def _prompted_critic(
    use: CriticUse, spec: AgentSpec, template: Template, name: str
) -> PromptedCritic | LikelihoodCritic:
    slot = use.slot or spec.slot
    weighing = LIKELIHOODS.get(spec.output)
    if weighing is None:
        return PromptedCritic(
            spec=spec, template=template, slot=slot, name=name, sees=use.sees, when=use.when,
            shadow=use.shadow, output=critique_of(spec.output),
        )  # fmt: skip
    if lacking := sorted(set(weighing.blocks) - template.blocks):
        raise ConfigError(f"{template.where}: a prompt for {spec.output!r} needs a block {lacking[0]!r}.")
    return LikelihoodCritic(
        spec=spec, template=template, slot=slot, name=name, sees=use.sees, when=use.when,
        shadow=use.shadow, output=weighing,
    )  # fmt: skip


def _judge(given: Given, switchboard: Switchboard, hashes: dict[str, str]) -> Judge | None:
    name = given.recipe.judge
    if name is None:
        if given.judge is not None:
            raise ConfigError(f"recipe {given.recipe.name!r} has no judge to bind {given.judge!r} to.")
        return None
    spec = given.library.agent(name)
    if given.judge is not None:
        switchboard.bind(spec.slot, given.judge)
    template = _template(given.library, spec, recipe_name=name, hashes=hashes)
    return PromptedJudge(
        spec=spec, template=template, slot=spec.slot, name=name, output=critique_of(spec.output)
    )


def _debater(given: Given, judge: Judge | None, hashes: dict[str, str]) -> PromptedDebater | None:
    use = given.recipe.debate
    if use is None:
        return None
    if isinstance(judge, PromptedJudge) and "debate" not in judge.template.variables:
        raise ConfigError(
            f"recipe {given.recipe.name!r} has a debate, but {judge.template.where}, key 'variables', does not "
            "declare 'debate'.",
            hint="Let the judge's prompt print what was argued, as judge/debate does.",
        )
    spec = given.library.agent(use.agent)
    template = _template(given.library, spec, recipe_name=use.agent, hashes=hashes)
    slot = use.slot or spec.slot
    return PromptedDebater(spec=spec, template=template, slot=slot, name=use.agent, rounds=use.rounds)


def _bind_missing(
    given: Given,
    actors: Sequence[Actor],
    critics: Sequence[Critic],
    comparing: Sequence[Judge | Debater | None],
    switchboard: Switchboard,
) -> None:
    """Let the actor's model play the roles that nobody was named for, and say so."""
    first = [c.first if isinstance(c, Escalating) else c for c in critics]
    wanted = {r.slot for r in (*actors[1:], *first, *comparing) if isinstance(r, Prompted)}
    _require_bound(given.recipe, critics, switchboard)
    missing = sorted(slot for slot in wanted if not switchboard.is_bound(slot))
    if not missing:
        return
    acting = {actor.slot for actor in actors[1:] if isinstance(actor, Prompted)}
    own = given.actor if isinstance(given.actor, BINDABLE) else None
    if own is None and isinstance(actors[0], PromptedActor):
        own = given.slots.get(actors[0].slot)
    other = given.critic if isinstance(given.critic, BINDABLE) else own
    for slot in missing:
        stand_in = own or other if slot in acting else other
        if stand_in is None:
            raise ConfigError(
                f"no model for slot {slot!r} was given.", hint=f"Pass {slot}='openai:NAME' or slots=."
            )
        switchboard.bind(slot, stand_in)
    if "critic" in missing:
        warnings.warn(
            "no critic was given: the actor's model criticises itself.", CriticLoopWarning, stacklevel=5
        )


def _require_bound(recipe: Recipe, critics: Sequence[Critic], switchboard: Switchboard) -> None:
    """Refuse a shadow, or a second opinion, by the model that speaks already: it would say nothing new."""
    if not any(isinstance(c, Prompted | Escalating) for c in critics):
        return
    named = [use.slot for use in recipe.critics if use.shadow and use.slot]
    named += [use.escalate.slot for use in recipe.critics if use.escalate]
    for slot in named:
        if not switchboard.is_bound(slot):
            raise ConfigError(
                f"recipe {recipe.name!r} asks slot {slot!r}, which has no model.",
                hint=f"Pass slots={{{slot!r}: 'openai:NAME'}}.",
            )


def _verifiers(given: Given, hashes: dict[str, str]) -> tuple[Verifier, ...]:
    chosen = given.recipe.verifiers if given.verifiers is None else given.verifiers
    found: list[FunctionCritic] = []
    for item in chosen:
        function = verifier_named(item) if isinstance(item, str) else item
        if not isinstance(function, FunctionCritic):
            function = verifier(name=item)(function) if isinstance(item, str) else verifier(function)
        found.append(function)
        hashes[f"verifier {function.name}"] = function.name
    return _distinct(found)


def _distinct(critics: Sequence[C]) -> tuple[C, ...]:
    names = [critic.name for critic in critics]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two critics or verifiers are called {twice!r}.", hint="Give one another name=.")
    return tuple(critics)


def _search(given: Given, hashes: dict[str, str]) -> AnySearch:
    if given.search is None:
        return build([(use.kind, dict(use.settings)) for use in given.recipe.search])
    if isinstance(given.search, str):
        hashes["search"] = given.search
        return build([(given.search, {})])
    _require_search(given.search)
    hashes["search"] = digest_of(identity(given.search))
    if not hasattr(given.search, "fold"):
        return search(cast("SearchFn", given.search))
    for one in _with_inner(given.search):
        require_settings(one)
        require_settings(getattr(one, "modifier", None))
    return cast("AnySearch", given.search)


def _require_search(given: Any) -> None:
    if isinstance(given, type):
        raise ConfigError(f"{given.__name__} is a class, no search.", hint=f"Make one: {given.__name__}().")
    if isinstance(given, Modifier):
        hint = f"Say which: Modified({type(given).__name__}(...), Refine())."
        raise ConfigError(f"{given!r} changes another search, but none is given.", hint=hint)
    if not (hasattr(given, "fold") or callable(given)):
        raise ConfigError(f"{given!r} is no search.", hint="Give a name, a Search, or a function of the tree.")


def _with_inner(search: AnySearch) -> Iterator[AnySearch]:
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


def _select(given: Given, judge: Judge | None, hashes: dict[str, str]) -> Select:
    chosen = given.recipe.select if given.select is None else given.select
    if isinstance(chosen, str | SelectUse):
        use = chosen if isinstance(chosen, SelectUse) else SelectUse(kind=chosen)
        hashes["select"] = digest_of(use) if use.settings else use.kind
        if judge is None:
            require_judge(use.kind)
        return selection(use.kind, use.settings)
    if not callable(chosen):
        raise ConfigError(f"{chosen!r} is no selection.", hint="Give a name or a function of the tree.")
    hashes["select"] = digest_of(identity(chosen))
    return cast("Select", chosen)
