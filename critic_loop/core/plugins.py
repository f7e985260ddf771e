"""How code outside Critic Loop is named in data: `package.module:name`, or an entry point's name.

Only settings that a user wrote are resolved here, never text that a model wrote.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache, lru_cache, reduce
from importlib import import_module
from typing import Any

from pydantic import TypeAdapter, ValidationError

from critic_loop.core.errors import ConfigError, boundary

_OWN = f"{__name__.partition('.')[0]}."


def load(path: str) -> Any:
    """Return what `package.module:name` names; `name` may have dots, as in `Class.method`.

    Raises:
        ConfigError: the module cannot be imported, or has no such name.
    """
    module_name, name = parts_of(path)
    with boundary(ConfigError, f"{path!r}: cannot import {module_name!r}"):
        module = import_module(module_name)
    try:
        return reduce(getattr, name.split("."), module)
    except AttributeError as error:
        raise ConfigError(f"{path!r}: module {module_name!r} has no {name!r}.") from error


def parts_of(path: str) -> tuple[str, str]:
    """Return module and name of a path such as `package.module:name`, without importing anything.

    Raises:
        ConfigError: it is no such path.
    """
    module_name, _, name = path.partition(":")
    if not module_name or module_name.startswith(".") or not name:
        raise ConfigError(f"{path!r} is not of the form 'package.module:name'.")
    return module_name, name


@cache
def _registered(group: str) -> dict[str, tuple[str, ...]]:
    """Return the paths that installed packages register, by name: this package's own alone where it has one."""
    from importlib.metadata import entry_points

    found: dict[str, dict[str, None]] = {}
    for point in entry_points(group=group):
        path = "".join(point.value.partition("[")[0].split())  # without the extras that it needs
        found.setdefault(point.name, {})[path] = None
    own = {name: [path for path in paths if path.startswith(_OWN)][:1] for name, paths in found.items()}
    return {name: tuple(own[name] or paths) for name, paths in found.items()}


def find(group: str, name: str) -> Any:
    """Return the entry point `name` of `group`, or what `package.module:name` names; None if neither.

    Other packages cannot replace an entry point of this package.

    Raises:
        ConfigError: it cannot be loaded, or several packages register the name.
    """
    paths = (name,) if ":" in name else _registered(group).get(name, ())
    if len(paths) > 1:
        raise ConfigError(
            f"several packages register {name!r} for {group}: {', '.join(paths)}.",
            hint="Uninstall all but one.",
        )
    return load(paths[0]) if paths else None


def names(group: str) -> list[str]:
    """Return the names registered for `group`, sorted."""
    return sorted(_registered(group))


def checked(what: str, part: Any) -> None:
    """Refuse a part that was made in Python with settings which no recipe could have.

    Args:
        what: what errors call it, as in `search 'mcts'`.
        part: an object of a dataclass.

    Raises:
        ConfigError: a setting is out of its range.
    """
    built(what, type(part), {field.name: getattr(part, field.name) for field in dataclasses.fields(part)})


@lru_cache(maxsize=256)
def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def built(what: str, cls: type[Any], settings: Mapping[str, Any]) -> Any:
    """Return a part made of its class with what a recipe sets; a dataclass's fields are checked by pydantic.

    Args:
        what: what errors call it, as in `selection 'b4'`.
        cls: its class.
        settings: keyword arguments.

    Raises:
        ConfigError: a setting is unknown or wrong.
    """
    if not dataclasses.is_dataclass(cls):
        with boundary(ConfigError, what):
            return cls(**settings)
    known = [field.name for field in dataclasses.fields(cls)]
    if unknown := set(settings) - set(known):
        has = ", ".join(known) or "none"
        raise ConfigError(f"{what} has no setting {min(unknown)!r}; it has {has}.")
    try:
        return _adapter(cls).validate_python(dict(settings))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(step) for step in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{what}{f', setting {key!r}' if key else ''}: {said}.") from error
