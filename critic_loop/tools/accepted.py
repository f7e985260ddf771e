"""Converts what users give as a tool to a `Tool`: a typed callable, a `Tool` object, or a LangChain tool."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypedDict, TypeVar, Unpack, overload

from critic_loop.core.errors import ConfigError
from critic_loop.core.roles import require_role
from critic_loop.core.tools import Tool, ToolScope, require_tool
from critic_loop.tools.functions import FunctionTool, function_tool
from critic_loop.tools.langchain import LangChainTool, is_langchain_tool, langchain_tool

AnyTool = TypeVar("AnyTool", bound=Tool)


class ToolSettings(TypedDict, total=False):
    """The settings of `tool`."""

    name: str
    """The name in calls by models; the callable's name unless given."""
    description: str
    """The description for the model; the docstring unless given."""
    read_only: bool
    """Calls change nothing outside the tool."""
    irreversible: bool
    """The effects of a call cannot be undone."""
    timeout_s: float | None
    """The longest duration of one call, in seconds; a longer one is an error shown to the model."""
    scope: ToolScope
    """How long the tool stays open, if it is a context manager, and keeps its scratch folder."""


@overload
def tool(given: AnyTool, /, **settings: Unpack[ToolSettings]) -> AnyTool: ...
@overload
def tool(given: Callable[..., Any], /, **settings: Unpack[ToolSettings]) -> FunctionTool: ...
@overload
def tool(**settings: Unpack[ToolSettings]) -> Callable[[Callable[..., Any]], FunctionTool]: ...
def tool(given: Any = None, /, **settings: Unpack[ToolSettings]) -> Any:
    """Return a callable or a LangChain tool as a tool; without `given`, a decorator.

    The model sees the name, the description and the parameters. A parameter annotated `ToolContext` receives
    the context and is hidden from the model.

    Args:
        given: a function, a method, a callable object, a `functools.partial`, a LangChain tool, or a tool.
        settings: the fields of `ToolSettings`: `name`, `description`, `read_only`, `irreversible`, `timeout_s`
            (seconds) and `scope`.

    Raises:
        ConfigError: `given` is not a tool, or its name, description, parameters or settings are invalid.
    """
    if unknown := sorted(set(settings) - ToolSettings.__annotations__.keys()):
        raise TypeError(f"tool() got an unexpected keyword argument {unknown[0]!r}")
    return partial(_made, settings=dict(settings)) if given is None else _made(given, dict(settings))


def _made(given: Any, settings: dict[str, Any]) -> Tool:
    if isinstance(given, type):
        raise ConfigError(f"{given.__name__} is a class, not a tool.", hint="Give an instance of it.")
    require_role(given, "tool")
    if isinstance(given, FunctionTool | LangChainTool):
        return dataclasses.replace(given, **settings) if settings else given
    if is_langchain_tool(given):
        return langchain_tool(given, **settings)
    if isinstance(given, Tool):
        return _checked(given, settings)
    if callable(given):
        return function_tool(given, **settings)
    raise ConfigError(_why_not(given), hint="Give a function, a Tool, or a LangChain tool.")


def _checked(given: Tool, settings: dict[str, Any]) -> Tool:
    if settings:
        raise ConfigError(
            f"tool {given.name!r} is a Tool object: tool() cannot change its settings.",
            hint=f"Set {', '.join(settings)} on the object.",
        )
    require_tool(given)
    return given


def _why_not(given: Any) -> str:
    wanted = ("name", "description", "parameters", "read_only", "irreversible", "timeout_s", "scope", "digest")
    lacks = [name for name in wanted if not hasattr(given, name)]
    if hasattr(given, "run"):
        return f"{given!r} is not a tool: it lacks {', '.join(lacks)}."
    return f"{given!r} is not a tool."


def tools_by_name(given: Sequence[Any]) -> dict[str, Tool]:
    """Return `given` as tools by name, in the same order.

    Raises:
        ConfigError: one is not a tool, or two have the same name.
    """
    if isinstance(given, str) or not isinstance(given, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]  # users' values
        raise ConfigError(f"tools={given!r} is not a list of tools.", hint="Write tools=[...].")
    made: dict[str, Tool] = {}
    for each in given:
        one = _made(each, {})
        if one.name in made:
            raise ConfigError(
                f"two tools have the name {one.name!r}.", hint='Rename one: cl.tool(f, name="...").'
            )
        made[one.name] = one
    return made
