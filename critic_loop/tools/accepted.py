"""What is accepted as a tool, and how it becomes one: a typed callable, an object, a tool of LangChain."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, overload

from critic_loop.core.errors import ConfigError
from critic_loop.core.roles import require_role
from critic_loop.core.tools import (
    Tool,
    ToolScope,
    require_tool,
)
from critic_loop.tools.functions import FunctionTool, function_tool
from critic_loop.tools.langchain import LangChainTool, is_langchain_tool, langchain_tool

AnyTool = TypeVar("AnyTool", bound=Tool)
_UNSET: Any = object()


@overload
def tool(
    given: AnyTool,
    /,
    *,
    name: str = ...,
    description: str = ...,
    read_only: bool = ...,
    irreversible: bool = ...,
    timeout_s: float | None = ...,
    scope: ToolScope = ...,
) -> AnyTool: ...
@overload
def tool(
    given: Callable[..., Any],
    /,
    *,
    name: str = ...,
    description: str = ...,
    read_only: bool = ...,
    irreversible: bool = ...,
    timeout_s: float | None = ...,
    scope: ToolScope = ...,
) -> FunctionTool: ...
@overload
def tool(
    *,
    name: str = ...,
    description: str = ...,
    read_only: bool = ...,
    irreversible: bool = ...,
    timeout_s: float | None = ...,
    scope: ToolScope = ...,
) -> Callable[[Callable[..., Any]], FunctionTool]: ...
def tool(
    given: Any = None,
    /,
    *,
    name: str = _UNSET,
    description: str = _UNSET,
    read_only: bool = _UNSET,
    irreversible: bool = _UNSET,
    timeout_s: float | None = _UNSET,
    scope: ToolScope = _UNSET,
) -> Any:
    """Make a tool of a callable, whose docstring tells the model what it is for; or of LangChain's.

    A parameter that is annotated `ToolContext` receives the context, and the model is not told of it.

    Args:
        given: a function, a method, a callable object, a `functools.partial`, a LangChain tool, or a tool.
        name: how models call it; the callable's own name unless given.
        description: what it is for, in words to the model; the docstring unless given.
        read_only: whether calls leave the world as it was.
        irreversible: whether what a call does cannot be undone.
        timeout_s: how long one call may take; a longer one is an error that the model is shown.
        scope: for how long it stays open, where it is a context manager, and keeps its scratch folder.

    Raises:
        ConfigError: it cannot be described to a model.
    """
    settings = {
        "name": name, "description": description, "read_only": read_only, "irreversible": irreversible,
        "timeout_s": timeout_s, "scope": scope,
    }  # fmt: skip
    settings = {key: value for key, value in settings.items() if value is not _UNSET}
    return partial(_made, settings=settings) if given is None else _made(given, settings)


def _made(given: Any, settings: dict[str, Any]) -> Tool:
    if isinstance(given, type):
        raise ConfigError(f"{given.__name__} is a class, not a tool.", hint="Make one of it first.")
    require_role(given, "tool")
    if isinstance(given, FunctionTool | LangChainTool):
        return dataclasses.replace(given, **settings) if settings else given
    if is_langchain_tool(given):
        return langchain_tool(given, **settings)
    if isinstance(given, Tool):
        return _own(given, settings)
    if callable(given):
        return function_tool(given, **settings)
    raise ConfigError(_why_none(given), hint="Give a function, a Tool, or a LangChain tool.")


def _own(given: Tool, settings: dict[str, Any]) -> Tool:
    if settings:
        raise ConfigError(
            f"tool {given.name!r} is an object with settings of its own.",
            hint=f"Change {', '.join(settings)} there.",
        )
    require_tool(given)
    return given


def _why_none(given: Any) -> str:
    wanted = ("name", "description", "parameters", "read_only", "irreversible", "timeout_s", "scope", "digest")
    lacks = [name for name in wanted if not hasattr(given, name)]
    if hasattr(given, "run"):
        return f"{given!r} is not a tool: it lacks {', '.join(lacks)}."
    return f"{given!r} is not a tool."


def tools_by_name(given: Sequence[Any]) -> dict[str, Tool]:
    """Return each of `given` as a tool, by name, in the same order.

    Raises:
        ConfigError: one cannot be described to a model, or two have one name.
    """
    if isinstance(given, str) or not isinstance(given, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]  # users' values
        raise ConfigError(f"tools={given!r} is not a list of tools.", hint="Write tools=[...].")
    made: dict[str, Tool] = {}
    for each in given:
        one = _made(each, {})
        if one.name in made:
            raise ConfigError(f"two tools are called {one.name!r}.", hint='Rename one: cl.tool(f, name="...").')
        made[one.name] = one
    return made
