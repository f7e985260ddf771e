"""How code outside Critic Loop is named in data: `package.module:name`, or an entry point's name.

Only settings that a user wrote are resolved here, never text that a model wrote.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from critic_loop.core.errors import ConfigError, boundary


def load(path: str) -> Any:
    """Return what `package.module:name` names.

    Raises:
        ConfigError: the module cannot be imported, or has no such name.
    """
    module_name, _, name = path.partition(":")
    if not module_name or module_name.startswith(".") or not name:
        raise ConfigError(f"{path!r} is not of the form 'package.module:name'.")
    with boundary(ConfigError, f"{path!r}: cannot import {module_name!r}"):
        module = import_module(module_name)
    try:
        return getattr(module, name)
    except AttributeError as error:
        raise ConfigError(f"{path!r}: module {module_name!r} has no {name!r}.") from error


@cache
def _registered(group: str) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=group)}


def find(group: str, name: str) -> Any:
    """Return the entry point `name` of `group`, or what `package.module:name` names; None if neither.

    Raises:
        ConfigError: it is registered but cannot be loaded.
    """
    path = name if ":" in name else _registered(group).get(name)
    return load(path) if path else None


def names(group: str) -> list[str]:
    """Return the names registered for `group`, sorted."""
    return sorted(_registered(group))
