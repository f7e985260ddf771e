"""Build the parts of a loop from a recipe and the user's arguments.

The only module, with `graph.build_roles`, that knows all packages.
"""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from pydantic import JsonValue

from critic_loop.assets import AgentSpec, Recipe, SelectUse
from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import AnySearch, Select
from critic_loop.core.records import digest_of
from critic_loop.core.roles import Judge
from critic_loop.core.rules import AnyOf, Rule, as_rule
from critic_loop.core.stop import Failing, limits_money, rule_of
from critic_loop.core.tools import Tool
from critic_loop.graph.build_roles import (
    actor_of,
    actors_of,
    bind_missing,
    critics_of,
    debater_of,
    judge_of,
    verifiers_of,
)
from critic_loop.graph.identity import identity
from critic_loop.graph.langchain import adapted
from critic_loop.graph.parts import BINDABLE, LoopArguments, LoopParts, with_inner
from critic_loop.models import Switchboard, require_price
from critic_loop.nodes.replay import Placeholder
from critic_loop.outputs import Output, output_of
from critic_loop.roles.runnable_actor import RunnableActor, is_runnable
from critic_loop.search import Modifier, SearchFn, build, require_settings, search
from critic_loop.select import require_fit, require_judge, selection
from critic_loop.tools import tools_by_name

DEFAULT_STOP: tuple[dict[str, JsonValue], ...] = (
    {"verified": True},
    {"accepted": True},
    {"plateau": {"rounds": 3}},
    {"max_rounds": 4},
)


def assemble(given: LoopArguments) -> LoopParts:
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
    rule = _guarded(_rule(recipe) if given.stop is None else as_rule(given.stop))
    check = require_price if limits_money(rule) and not given.replay else None
    switchboard = Switchboard(*_slots(given, spec), check=check)
    output: Output[Any] = output_of(spec.output if given.output is None else given.output)
    hashes["output"] = digest_of([output.name, output.describe()])
    actor = actor_of(given, spec, output, switchboard, hashes)
    if check is not None and isinstance(actor, RunnableActor):
        raise ConfigError(
            f"the cost in dollars is limited, but the cost of actor {actor.name!r} cannot be known.",
            hint="Let a model play the actor, or limit calls= or tokens= instead.",
        )
    actors = actors_of(given, output, hashes)
    critics, humans = critics_of(given, switchboard, hashes)
    judge = judge_of(given, switchboard, hashes)
    debater = debater_of(given, judge, hashes)
    for slot, model in given.slots.items():
        switchboard.bind(slot, model)
    bind_missing(given, (actor, *actors.values()), critics, (judge, debater), switchboard)
    verifiers = verifiers_of(given, hashes)
    return LoopParts(
        recipe=recipe,
        output=output,
        actor=actor,
        actors=actors,
        verifiers=verifiers,
        critics=critics,
        humans=humans,
        judge=judge,
        debater=debater,
        tools=_tools(given, hashes),
        search=_search(given, hashes),
        select=_select(given, judge, hashes),
        rule=rule,
        switchboard=switchboard,
        lanes=given.lanes or recipe.lanes,
        max_calls=given.max_calls or recipe.max_calls,
        hashes=hashes,
    )


def _for_replay(given: LoopArguments) -> LoopArguments:
    """Put a placeholder in place of the models whose calls stored trees answer.

    Raises:
        ConfigError: the actor is a runnable, whose calls are in no tree.
    """
    if given.actor is not None and not isinstance(given.actor, BINDABLE) and is_runnable(given.actor):
        raise ConfigError("a runnable cannot be replayed: its calls are in no tree.")
    placeholder = Placeholder()
    judged = given.recipe.judge is not None and given.judge is None
    return dataclasses.replace(
        given,
        actor=placeholder if given.actor is None else given.actor,
        critic=placeholder if given.critic is None else given.critic,
        judge=placeholder if judged else given.judge,
    )


def _with_models(given: LoopArguments) -> LoopArguments:
    """Return `given` with LangChain's chat models wrapped as models."""
    critic = given.critic
    return dataclasses.replace(
        given,
        actor=adapted(given.actor),
        critic=[adapted(c) for c in critic] if isinstance(critic, list | tuple) else adapted(critic),
        judge=adapted(given.judge),
        slots={slot: adapted(model) for slot, model in given.slots.items()},
    )


def _slots(given: LoopArguments, actor: AgentSpec) -> list[str]:
    recipe, library = given.recipe, given.library
    used = [use.slot or library.agent(use.agent).slot for use in recipe.critics]
    used += [use.escalate.slot for use in recipe.critics if use.escalate is not None]
    used += [use.slot or library.agent(use.agent).slot for use in recipe.actors.values()]
    used += [library.agent(recipe.judge).slot] if recipe.judge else []
    used += [recipe.debate.slot or library.agent(recipe.debate.agent).slot] if recipe.debate else []
    return sorted({"actor", "critic", "judge", actor.slot, *used, *given.slots})


def _tools(given: LoopArguments, hashes: dict[str, str]) -> dict[str, Tool]:
    tools = tools_by_name(given.tools)
    hashes |= {f"tool {name}": tool.digest() for name, tool in tools.items()}
    return tools


def _guarded(rule: Rule | None) -> Rule:
    """Return the rule, or `Failing()` if three failed attempts in a row would not end the loop otherwise."""
    rules = rule.rules if isinstance(rule, AnyOf) else (rule,)
    if rule is not None and any(isinstance(r, Failing) for r in rules):
        return rule
    return Failing() if rule is None else rule | Failing()


def _rule(recipe: Recipe) -> Rule | None:
    rules = DEFAULT_STOP if recipe.stop is None else recipe.stop
    return rule_of([*rules]) if rules else None


def _search(given: LoopArguments, hashes: dict[str, str]) -> AnySearch:
    if given.search is None:
        return build([(use.kind, dict(use.settings)) for use in given.recipe.search])
    if isinstance(given.search, str):
        hashes["search"] = given.search
        return build([(given.search, {})])
    _require_search(given.search)
    hashes["search"] = digest_of(identity(given.search))
    if not hasattr(given.search, "fold"):
        return search(cast("SearchFn", given.search))
    for one in with_inner(given.search):
        require_settings(one)
        require_settings(getattr(one, "modifier", None))
    return cast("AnySearch", given.search)


def _require_search(given: Any) -> None:
    if isinstance(given, type):
        raise ConfigError(
            f"{given.__name__} is a class, not a search.", hint=f"Pass an instance: {given.__name__}()."
        )
    if isinstance(given, Modifier):
        hint = f"Name the search: Modified({type(given).__name__}(...), Refine())."
        raise ConfigError(f"{given!r} changes another search, but none is given.", hint=hint)
    if not (hasattr(given, "fold") or callable(given)):
        raise ConfigError(
            f"{given!r} is not a search.", hint="Give a name, a Search, or a function of the tree."
        )


def _select(given: LoopArguments, judge: Judge | None, hashes: dict[str, str]) -> Select:
    chosen = given.recipe.select if given.select is None else given.select
    if isinstance(chosen, str | SelectUse):
        use = chosen if isinstance(chosen, SelectUse) else SelectUse(kind=chosen)
        hashes["select"] = digest_of(use) if use.settings else use.kind
        if judge is None:
            require_judge(use.kind)
        return selection(use.kind, use.settings)
    if not callable(chosen):
        raise ConfigError(f"{chosen!r} is not a selection.", hint="Give a name or a function of the tree.")
    require_fit(chosen, judged=judge is not None)
    hashes["select"] = digest_of(identity(chosen))
    return cast("Select", chosen)
