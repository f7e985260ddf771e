"""Tools from typed Python callables: signature and docstring become the description for the model.

Knows signatures. Does not know how a loop calls a tool (`nodes.tool_executor`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, create_model

from critic_loop.core.errors import ConfigError, ToolError, boundary
from critic_loop.core.lifetimes import entered, is_manager
from critic_loop.core.threads import in_thread
from critic_loop.core.tools import Tool, ToolContext, ToolOutput, ToolScope, require_tool, tool_digest

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class FunctionTool:
    """A tool that calls a function: an async one in the event loop, any other in a thread of its own."""

    function: Callable[..., Any]
    name: str
    description: str
    read_only: bool = False
    irreversible: bool = False
    timeout_s: float | None = None
    scope: ToolScope = "loop"

    def __post_init__(self) -> None:
        """Check that the tool can be described to a model.

        Raises:
            ConfigError: its name, a parameter or a setting is invalid.
        """
        with boundary(ConfigError, f"tool {self.name!r}"):
            require_tool(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself."""
        return self.function(*args, **kwargs)

    @cached_property
    def _context_names(self) -> tuple[str, ...]:
        """The parameters that receive the context; hidden from the model."""
        return tuple(p.name for p in self._signature if _takes_context(p.annotation))

    @cached_property
    def _signature(self) -> list[inspect.Parameter]:
        """The parameters, without those that a `functools.partial` sets."""
        bound = self.function.keywords if isinstance(self.function, functools.partial) else {}
        parameters = inspect.signature(self.function, eval_str=True).parameters.values()
        free = [p for p in parameters if p.name not in bound]
        for parameter in free:
            if parameter.kind not in _NAMED:
                raise ConfigError(
                    f"tool {self.name!r}: parameter {str(parameter)!r} cannot be passed by name.",
                    hint="Write named parameters, without *args, **kwargs and positional-only ones.",
                )
        return free

    @cached_property
    def _shown_parameters(self) -> list[inspect.Parameter]:
        """The parameters that the model sees."""
        return [p for p in self._signature if p.name not in self._context_names]

    @cached_property
    def _arguments(self) -> type[BaseModel]:
        """A pydantic model of the arguments; names are aliases, as pydantic rejects `json`, `_x` and others."""
        fields: dict[str, Any] = {}
        for position, parameter in enumerate(self._shown_parameters):
            kind = Any if parameter.annotation is parameter.empty else parameter.annotation
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[f"p{position}"] = (kind, Field(default, alias=parameter.name))
        return create_model(f"{self.name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)

    @cached_property
    def _schema(self) -> dict[str, JsonValue]:
        schema = self._arguments.model_json_schema()
        schema.pop("title", None)
        return schema

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """JSON Schema of the arguments, from the annotations."""
        return self._schema

    def digest(self) -> str:
        """Return a hash of the description for the model, the settings, and the function's qualified name."""
        return tool_digest(self, qualified_name(self.function))

    async def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Check `arguments`, call the function, and return its result as content parts.

        Raises:
            ToolError: the arguments are invalid, or the result has no content.
            BaseException: whatever the function raised.
        """
        try:
            model = self._arguments.model_validate(dict(arguments))
        except ValidationError as error:
            raise ToolError(first_problem(error)) from error
        values = {p.name: getattr(model, f"p{position}") for position, p in enumerate(self._shown_parameters)}
        values |= dict.fromkeys(self._context_names, context)
        if _is_async(self.function):
            result = self.function(**values)
        else:
            result = await in_thread(self.function, **values)
        return ToolOutput.from_value(await result if inspect.isawaitable(result) else result)


class ManagedFunctionTool(FunctionTool):
    """A tool that calls an object which is a context manager: it is entered before the first call."""

    @asynccontextmanager
    async def open(self, context: ToolContext) -> AsyncGenerator[Tool]:  # noqa: ARG002  # as of all tools
        """Enter the object, and exit it at the end."""
        async with entered(self.function):
            yield self


def function_tool(function: Callable[..., Any], **settings: Any) -> FunctionTool:
    """Return a callable as a tool.

    Args:
        function: a function, a method, a callable object or a `functools.partial`, sync or async.
        settings: fields of `FunctionTool`; they override name and description of the function.

    Raises:
        ConfigError: its name, a parameter or a setting is invalid.
    """
    kind = ManagedFunctionTool if is_manager(function) else FunctionTool
    described: dict[str, Any] = {"name": _short_name(function), "description": _described(function)}
    return kind(function, **(described | settings))


def first_problem(error: ValidationError) -> str:
    """Return a message for the model about the first invalid argument."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(step) for step in first["loc"])
    return f"argument {key!r}: {first['msg']}."


def qualified_name(function: Any) -> str:
    """Return module and qualified name of a callable; of a callable object those of its type."""
    function = _innermost(function)
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _innermost(function: Any) -> Any:
    return function.func if isinstance(function, functools.partial) else function


def _short_name(function: Any) -> str:
    function = _innermost(function)
    return getattr(function, "__name__", type(function).__name__)


def _described(function: Any) -> str:
    """Return the docstring; of a callable object that of `__call__`, or else that of its class."""
    function = _innermost(function)
    if inspect.isroutine(function) or isinstance(function, type):
        return inspect.getdoc(function) or ""
    # not by getdoc: it falls back to the docstring of `object.__call__`
    of_call: str | None = type(function).__call__.__doc__
    return inspect.cleandoc(of_call) if of_call else inspect.getdoc(type(function)) or ""


def _is_async(function: Any) -> bool:
    function = _innermost(function)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  # asks whether it is async, not whether it is callable
    )


def _takes_context(annotation: Any) -> bool:
    """Whether an annotation is `ToolContext`, also within Annotated or a union."""
    return annotation is ToolContext or any(_takes_context(one) for one in get_args(annotation))
