"""Finds the parser of answers for the setting `output`.

Knows all built-in outputs by name. Does not know recipes.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar, get_args, get_origin, overload

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import Output
from critic_loop.outputs.plain import BoxedOutput, ChoiceOutput, CodeOutput, TextOutput
from critic_loop.outputs.typed import JsonOutput

T = TypeVar("T")

GROUP = "critic_loop.outputs"
_NAMES = "text, json, boxed, code:LANGUAGE, choice:A|B"


@overload
def output_of(given: None) -> Output[str]: ...
@overload
def output_of(given: str) -> Output[Any]: ...
@overload
def output_of(given: type[T]) -> Output[T]: ...
@overload
def output_of(given: Output[T]) -> Output[T]: ...
@overload
def output_of(given: object) -> Output[Any]: ...
def output_of(given: Any) -> Output[Any]:
    """Return the parser for a setting.

    Args:
        given: None or "text", "json", "boxed", "code:python", "choice:yes|no"; a type (pydantic model,
            dataclass, `list[int]`, `Literal["a", "b"]`); an `Output`; or the path of a type or an output,
            `package.module:name`.

    Raises:
        ConfigError: the name is unknown, or pydantic cannot validate the type.
    """
    if given is None or given is str:
        return TextOutput()
    if isinstance(given, str):
        return _named(given)
    if not isinstance(given, type) and isinstance(given, Output):
        return given
    if get_origin(given) is Literal and all(isinstance(option, str) for option in get_args(given)):
        return ChoiceOutput(get_args(given))
    return JsonOutput(given)


def _named(name: str) -> Output[Any]:
    kind, _, detail = name.partition(":")
    match kind:
        case "text" if not detail:
            return TextOutput()
        case "json" if not detail:
            return JsonOutput(name="json")
        case "boxed" if not detail:
            return BoxedOutput()
        case "code" if detail:
            return CodeOutput(detail)
        case "choice" if detail:
            return ChoiceOutput(tuple(option.strip() for option in detail.split("|")))
        case _:
            return _plugin(name)


def _plugin(name: str) -> Output[Any]:
    found = plugins.find(GROUP, name)
    if found is None:
        known = ", ".join([_NAMES, *plugins.names(GROUP)])
        raise ConfigError(f"unknown output {name!r}.", hint=f"Write one of {known}, or 'package.module:name'.")
    is_parser = isinstance(found, type) and all(hasattr(found, part) for part in ("parse", "dump", "load"))
    return output_of(found() if is_parser else found)
