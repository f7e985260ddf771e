"""Which answer wins: pure functions `Tree -> Pick | Compare`."""

from __future__ import annotations

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import Select
from critic_loop.select.rules import (
    RULES,
    best_value,
    candidates,
    filtered_majority,
    keep_if_better,
    majority,
    verified_first,
)

__all__ = [
    "RULES",
    "best_value",
    "candidates",
    "filtered_majority",
    "keep_if_better",
    "majority",
    "selection",
    "verified_first",
]

GROUP = "critic_loop.selections"


def selection(name: str) -> Select:
    """Return the rule called `name`, built in or found as an entry point or `package.module:name`.

    Raises:
        ConfigError: there is none.
    """
    rule = RULES.get(name) or plugins.find(GROUP, name)
    if rule is None:
        raise ConfigError(f"there is no selection {name!r}; there are {', '.join(sorted(RULES))}.")
    return rule
