"""Tools that actors may call: plain callables whose signature and docstring describe them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import to_json

from critic_loop.core.errors import ConfigError, ToolError, boundary
from critic_loop.core.protocols import ToolSpec

__all__ = ["FunctionTool", "tool"]

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class FunctionTool:
    """A tool made of a function, sync (then run in a thread) or async."""

    function: Callable[..., Any]
    name: str
    description: str

    def __post_init__(self) -> None:
        """Refuse a function that cannot be described to a model.

        Raises:
            ConfigError: its name or one of its parameters will not do.
        """
        if not self.name.isidentifier():
            raise ConfigError(f"a tool cannot be called {self.name!r}.", hint="Give it a def of its own.")
        with boundary(ConfigError, f"tool {self.name!r}"):
            _ = self.spec

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself."""
        return self.function(*args, **kwargs)

    @cached_property
    def _parameters(self) -> list[inspect.Parameter]:
        parameters = inspect.signature(self.function, eval_str=True).parameters.values()
        for parameter in parameters:
            if parameter.kind not in _NAMED:
                raise ConfigError(f"tool {self.name!r}: {str(parameter)!r} cannot be given by name.")
        return list(parameters)

    @cached_property
    def _arguments(self) -> type[BaseModel]:
        """The arguments as a model; parameters are aliases, since they may be called `json` or `_x`."""
        fields: dict[str, Any] = {}
        for position, parameter in enumerate(self._parameters):
            kind = Any if parameter.annotation is parameter.empty else parameter.annotation
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[f"p{position}"] = (kind, Field(default, alias=parameter.name))
        return create_model(f"{self.name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)

    @cached_property
    def _schema(self) -> dict[str, Any]:
        schema = self._arguments.model_json_schema()
        schema.pop("title", None)
        return schema

    @property
    def spec(self) -> ToolSpec:
        """What the model is told: name, docstring, JSON Schema of the arguments."""
        return ToolSpec(name=self.name, description=self.description, parameters=self._schema)

    async def run(self, arguments: Mapping[str, Any]) -> str:
        """Check `arguments`, call the function, and return its result as text.

        Raises:
            ToolError: the arguments do not fit, or the function raised.
        """
        try:
            model = self._arguments.model_validate(dict(arguments))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(str(step) for step in first["loc"])
            raise ToolError(f"argument {key!r}: {first['msg']}.") from error
        values = {p.name: getattr(model, f"p{position}") for position, p in enumerate(self._parameters)}
        with boundary(ToolError, f"tool {self.name!r}"):
            if inspect.iscoroutinefunction(self.function):
                result = await self.function(**values)
            else:
                result = await asyncio.to_thread(self.function, **values)
            if inspect.isawaitable(result):
                result = await result
            return result if isinstance(result, str) else to_json(result, fallback=str).decode()


def tool(function: Callable[..., Any] | FunctionTool) -> FunctionTool:
    """Make a tool of a function; its docstring tells the model what it is for.

    Raises:
        ConfigError: it cannot be described to a model.
    """
    if isinstance(function, FunctionTool):
        return function
    name = getattr(function, "__name__", type(function).__name__)
    return FunctionTool(function, name, inspect.getdoc(function) or "")
