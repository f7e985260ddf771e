"""Digests of a loop's parts, the same in every process: only a loop with the same digests resumes a tree."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any

from pydantic import JsonValue
from pydantic_core import to_json

from critic_loop.core.records import digest_of
from critic_loop.core.roles import role_of


def part_digest(part: Any) -> str:
    """Return a role's digest: of its own `digest()`, else a hash of its `identity`.

    For an object that is not a dataclass: a hash of its type and its attributes without a leading underscore.
    """
    own = getattr(part, "digest", None)
    if callable(own):
        return str(own())
    if dataclasses.is_dataclass(part) or role_of(part) is None:
        return digest_of(identity(part))
    settings = {name: value for name, value in state_of(part).items() if not name.startswith("_")}
    return digest_of(identity([type(part), settings]))


def identity(part: Any) -> JsonValue:
    """Return JSON-like data that is the same in every process for equal searches, selections and rules.

    Functions and types are represented by their qualified names, objects by type and settings: the fields
    that a dataclass compares, else `vars`. An object that is neither a part nor plain data is represented by
    its type alone, since its `repr` may contain an address.
    """
    return _identity(part, ())


def _identity(part: Any, above: tuple[int, ...]) -> JsonValue:
    if type(part) in (type(None), bool, int, float, str):
        return part
    if id(part) in above:
        return _name(type(part))
    inside = functools.partial(_identity, above=(*above, id(part)))
    if isinstance(part, Mapping | list | tuple | AbstractSet):
        return _of_collection(part, inside)
    if isinstance(part, type) or inspect.isroutine(part) or isinstance(part, functools.partial):
        return _of_callable(part, inside)
    if isinstance(part, Enum | bytes):
        return [_name(type(part)), part.name if isinstance(part, Enum) else part.hex()]
    known = dataclasses.is_dataclass(part) or hasattr(part, "fold") or callable(part)
    return [_name(type(part)), inside(state_of(part))] if known else _name(type(part))


def _of_collection(items: Any, inside: Callable[[Any], JsonValue]) -> JsonValue:
    if isinstance(items, Mapping):
        return sorted(([inside(key), inside(value)] for key, value in items.items()), key=to_json)
    each = [inside(item) for item in items]
    return sorted(each, key=to_json) if isinstance(items, AbstractSet) else each


def _of_callable(thing: Any, inside: Callable[[Any], JsonValue]) -> JsonValue:
    if isinstance(thing, functools.partial):
        return ["partial", inside(thing.func), inside(thing.args), inside(thing.keywords)]
    if inspect.ismethod(thing):
        return [inside(thing.__func__), inside(thing.__self__)]
    return _name(thing)


def state_of(thing: Any) -> dict[str, Any]:
    """Return the settings of a part: fields that a dataclass compares, else what `vars` holds."""
    if dataclasses.is_dataclass(thing):
        return {f.name: getattr(thing, f.name) for f in dataclasses.fields(thing) if f.compare}
    return dict(getattr(thing, "__dict__", {}))


def _name(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"
