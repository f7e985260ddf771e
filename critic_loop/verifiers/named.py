"""Which verifier a name stands for: a built-in one, an entry point, or `package.module:name`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError
from critic_loop.core.roles import Verifier
from critic_loop.verifiers.answer import answer

VERIFIERS: dict[str, Verifier] = {"answer": answer}
GROUP = "critic_loop.verifiers"


def verifier_named(name: str) -> Verifier | Callable[..., Any]:
    """Return the verifier, or the function that is to be one, that a recipe calls `name`.

    Raises:
        ConfigError: there is none.
    """
    found = VERIFIERS.get(name) or plugins.find(GROUP, name)
    if found is None:
        known = ", ".join(sorted([*VERIFIERS, *plugins.names(GROUP)]))
        raise ConfigError(f"there is no verifier {name!r}; there are {known}, or 'package.module:name'.")
    return found
