"""Finds verifiers by name: built-in ones, entry points, or `package.module:name`."""

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
    """Return the verifier of a name, or a function that can become one.

    Raises:
        ConfigError: the name is unknown.
    """
    found = VERIFIERS.get(name) or plugins.find(GROUP, name)
    if found is None:
        known = ", ".join(sorted([*VERIFIERS, *plugins.names(GROUP)]))
        raise ConfigError(
            f"unknown verifier {name!r}.", hint=f"Write one of {known}, or 'package.module:name'."
        )
    return found
