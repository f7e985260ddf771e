"""Build the roles of a loop: actors, critics, verifiers and the judge, from specs and arguments.

Knows specs, prompts and slots. Does not know search, selection or stop rules (`graph.assemble`).
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from critic_loop.assets import AgentSpec, CriticUse, Escalation, Library, Recipe, Template
from critic_loop.core.errors import ConfigError
from critic_loop.core.functions import critic, verifier
from critic_loop.core.protocols import Output
from critic_loop.core.roles import (
    Actor,
    Critic,
    Debater,
    Human,
    Judge,
    Verifier,
    require_role,
    role_of,
)
from critic_loop.graph.identity import part_digest
from critic_loop.graph.parts import BINDABLE, LoopArguments
from critic_loop.models import Switchboard
from critic_loop.outputs import LIKELIHOODS, critique_of
from critic_loop.roles.debate import PromptedDebater
from critic_loop.roles.escalation import Escalating
from critic_loop.roles.function_actor import FunctionActor
from critic_loop.roles.likelihood import LikelihoodCritic
from critic_loop.roles.prompted import BLOCKS, Prompted, PromptedActor, PromptedCritic, PromptedJudge
from critic_loop.roles.runnable_actor import RunnableActor, is_runnable
from critic_loop.verifiers import verifier_named

R = TypeVar("R", Critic, Verifier, Human)


class CriticLoopWarning(UserWarning):
    """An argument is missing, and a default is used."""


def actor_of(
    given: LoopArguments, spec: AgentSpec, output: Output[Any], switchboard: Switchboard, hashes: dict[str, str]
) -> Actor:
    """Return the actor; if the argument is a model, it is bound to the actor's slot."""
    actor = given.actor
    if isinstance(actor, BINDABLE):
        switchboard.bind(spec.slot, actor)
    elif actor is not None:
        return _own_actor(actor, spec, hashes)
    elif spec.slot not in given.slots:
        raise ConfigError(
            "no actor was given.",
            hint="Name a model, as in actor='openai:NAME' or actor='chat:NAME@http://localhost:8000'.",
        )
    return _prompted_actor(given, given.recipe.actor, spec, spec.slot, given.recipe.actor, output, hashes)


def _own_actor(actor: Any, spec: AgentSpec, hashes: dict[str, str]) -> Actor:
    require_role(actor, "actor")
    name = str(getattr(actor, "__name__", None) or getattr(actor, "name", None) or type(actor).__name__)
    hashes["actor"] = name
    if role_of(actor) == "actor":
        hashes["actor"] = part_digest(actor)
        return actor
    if is_runnable(actor):
        return RunnableActor(actor, name)
    if not callable(actor):
        raise ConfigError(
            f"{actor!r} is not an actor.", hint="Give a spec, a Model, a runnable, or an async function."
        )
    return FunctionActor(actor, name, spec.slot)


def actors_of(given: LoopArguments, output: Output[Any], hashes: dict[str, str]) -> dict[str, Actor]:
    """Return the recipe's further actors by name."""
    made: dict[str, Actor] = {}
    for name, use in given.recipe.actors.items():
        spec = given.library.agent(use.agent)
        made[name] = _prompted_actor(given, use.agent, spec, use.slot or spec.slot, name, output, hashes)
    return made


def _prompted_actor(
    given: LoopArguments,
    agent: str,
    spec: AgentSpec,
    slot: str,
    name: str,
    output: Output[Any],
    hashes: dict[str, str],
) -> PromptedActor:
    template = _template(given.library, spec, recipe_name=agent, hashes=hashes)
    _check_memory(given.recipe, template)
    return PromptedActor(
        spec=spec, template=template, slot=slot, name=name, output=output, memory=given.recipe.memory
    )


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
        raise ConfigError(
            f"{template.where}: a prompt for role {spec.role!r} needs a block {needs!r}, but has none."
        )
    hashes[recipe_name] = spec.digest
    hashes[f"prompts/{spec.prompt}"] = template.digest
    return template


def critics_of(
    given: LoopArguments, switchboard: Switchboard, hashes: dict[str, str]
) -> tuple[tuple[Critic, ...], tuple[Human, ...]]:
    """Return the critics and the people."""
    brought = given.critic if isinstance(given.critic, list | tuple) else [given.critic]
    own = [c for c in brought if c is not None and not isinstance(c, BINDABLE)]
    models = [c for c in brought if isinstance(c, BINDABLE)]
    people = tuple(c for c in own if isinstance(c, Human))
    functions = [_as_critic(c) for c in own if not isinstance(c, Human)]
    if len(models) > 1:
        raise ConfigError(
            "several critic models were given.", hint="Bind each to a slot: slots={'critic-a': ..., ...}."
        )
    for model in models:
        switchboard.bind("critic", model)
    prompted = () if own and not models else _prompted_critics(given, hashes)
    critics = _distinct([*prompted, *functions])
    _distinct(people)
    for own_critic in functions:
        hashes[f"critic {own_critic.name}"] = part_digest(own_critic)
    for person in people:
        hashes[f"human {person.name}"] = part_digest(person)
    return critics, people


def _as_critic(given: Any) -> Critic:
    require_role(given, "critic")
    if role_of(given) == "critic":
        return given
    if not callable(given):
        raise ConfigError(
            f"{given!r} is not a critic.", hint="Give a spec, a Model, a function, or cl.Human()."
        )
    return critic(given)


def _prompted_critics(given: LoopArguments, hashes: dict[str, str]) -> tuple[Critic, ...]:
    critics: list[Critic] = []
    for position, use in enumerate(given.recipe.critics):
        spec = given.library.agent(use.agent)
        name = (
            use.agent
            if position == 0 or use.agent not in {c.name for c in critics}
            else f"{use.agent}#{position}"
        )
        template = _template(given.library, spec, recipe_name=use.agent, hashes=hashes)
        made = _prompted_critic(use, spec, template, name)
        critics.append(made if use.escalate is None else _escalating(made, use.escalate))
    return tuple(critics)


def _escalating(first: PromptedCritic | LikelihoodCritic, escalation: Escalation) -> Escalating:
    second = dataclasses.replace(first, slot=escalation.slot, name=f"{first.name}/escalated")
    return Escalating(first=first, second=second, below=escalation.below)


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


def judge_of(given: LoopArguments, switchboard: Switchboard, hashes: dict[str, str]) -> Judge | None:
    """Return the judge: the argument, or the recipe's judge with the argument as its model; or None."""
    name, own = given.recipe.judge, given.judge
    if own is not None and not isinstance(own, BINDABLE):
        require_role(own, "judge")
        if role_of(own) is None:
            raise ConfigError(
                f"{own!r} is not a judge.", hint="Give a spec, a Model, or an object with `compare`."
            )
        hashes[f"judge {own.name}"] = part_digest(own)
        return own
    if name is None:
        if own is not None:
            raise ConfigError(f"recipe {given.recipe.name!r} has no judge to bind {own!r} to.")
        return None
    spec = given.library.agent(name)
    if own is not None:
        switchboard.bind(spec.slot, own)
    template = _template(given.library, spec, recipe_name=name, hashes=hashes)
    return PromptedJudge(
        spec=spec, template=template, slot=spec.slot, name=name, output=critique_of(spec.output)
    )


def debater_of(given: LoopArguments, judge: Judge | None, hashes: dict[str, str]) -> PromptedDebater | None:
    """Return the debater, if the recipe has a debate."""
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


def bind_missing(
    given: LoopArguments,
    actors: Sequence[Actor],
    critics: Sequence[Critic],
    comparing: Sequence[Judge | Debater | None],
    switchboard: Switchboard,
) -> None:
    """Bind the actor's model to slots that have none, and warn if it is the critic's."""
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
    """Require a model of its own for each shadow critic and second opinion: they are there to differ."""
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


def verifiers_of(given: LoopArguments, hashes: dict[str, str]) -> tuple[Verifier, ...]:
    """Return the verifiers: those that were given, else the recipe's.

    Raises:
        ConfigError: one of them is something else: a critic's opinion is no evidence.
    """
    chosen = given.recipe.verifiers if given.verifiers is None else given.verifiers
    found = [_as_verifier(item) for item in chosen]
    for item in found:
        hashes[f"verifier {item.name}"] = part_digest(item)
    return _distinct(found)


def _as_verifier(item: Any) -> Verifier:
    given = verifier_named(item) if isinstance(item, str) else item
    require_role(given, "verifier")
    if role_of(given) == "verifier":
        return cast("Verifier", given)
    if isinstance(given, BINDABLE) or not callable(given):
        raise ConfigError(
            f"{given!r} is not a verifier: evidence is deterministic.",
            hint="Give a name or a function of a View; a model's opinion is a critic, as in critic=...",
        )
    return verifier(name=item)(given) if isinstance(item, str) else verifier(given)


def _distinct(roles: Sequence[R]) -> tuple[R, ...]:
    names = [role.name for role in roles]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"two critics, people or verifiers are called {twice!r}.", hint="Give one another name=."
        )
    return tuple(roles)
