"""Builds a selection from a recipe's data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import Select
from critic_loop.select.by_tests import B4, code_t, max_pass, mbr
from critic_loop.select.compared import WinRate, tournament
from critic_loop.select.duel import Duel
from critic_loop.select.rules import (
    best_value,
    filtered_majority,
    keep_if_better,
    majority,
    mean_trajectory,
    verified_first,
)
from critic_loop.select.votes import WeightedVote

RULES: dict[str, Select | type[Any]] = {
    "verified-first": verified_first,
    "best-value": best_value,
    "mean-trajectory": mean_trajectory,
    "majority": majority,
    "filtered-majority": filtered_majority,
    "weighted-vote": WeightedVote,
    "keep-if-better": keep_if_better,
    "tournament": tournament,
    "win-rate": WinRate,
    "duel": Duel,
    "b4": B4,
    "code-t": code_t,
    "max-pass": max_pass,
    "mbr": mbr,
}
"""Functions of the tree; rules with settings are classes whose objects are such functions."""
COMPARES = frozenset({"duel", "keep-if-better", "tournament", "win-rate"})
"""Rules that need a judge."""
GROUP = "critic_loop.selections"


def selection(kind: str, settings: Mapping[str, Any] | None = None) -> Select:
    """Return the rule of this name, built in or found as an entry point or `package.module:name`.

    Args:
        kind: its name.
        settings: what a recipe sets; only rules that are classes have any.

    Raises:
        ConfigError: there is no such rule, or a setting is unknown or wrong.
    """
    rule = RULES.get(kind) or plugins.find(GROUP, kind)
    if rule is None:
        raise ConfigError(f"unknown selection {kind!r}; known are {', '.join(sorted(RULES))}.")
    if isinstance(rule, type):
        return plugins.built(f"selection {kind!r}", rule, settings or {})
    if settings:
        raise ConfigError(f"selection {kind!r} has no setting {min(settings)!r}; it has none.")
    return rule


def require_fit(select: object, *, judged: bool) -> None:
    """Refuse a rule given in Python that is a class, has invalid settings, or compares without a judge.

    Raises:
        ConfigError: it is one of these.
    """
    if isinstance(select, type):
        raise ConfigError(
            f"{select.__name__} is a class, not a selection.", hint=f"Pass an instance: {select.__name__}()."
        )
    kind = next((kind for kind, rule in RULES.items() if rule in (select, type(select))), None)
    if kind is None:
        return
    if isinstance(RULES[kind], type):
        plugins.checked(f"selection {kind!r}", select)
    if not judged:
        require_judge(kind)


def require_judge(kind: str) -> None:
    """Refuse a rule that compares attempts, for recipes without a judge.

    Raises:
        ConfigError: it compares.
    """
    if kind in COMPARES:
        message = f"selection {kind!r} compares, but the recipe has no judge."
        raise ConfigError(message, hint="Set judge = 'judge/pairwise'.")
