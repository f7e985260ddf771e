"""Wraps LangChain's tools, recognised by their attributes: langchain_core is never imported here.

Knows the interface of `BaseTool` and LangChain's content blocks. Arguments that LangGraph injects at run time
(state, a store) are not supported; only the id of the call is injected, by LangChain itself.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue, ValidationError
from pydantic_core import to_json

from critic_loop.core.errors import ConfigError, ToolError, boundary
from critic_loop.core.messages import File, Image, ResultPart, Text
from critic_loop.core.threads import in_thread
from critic_loop.core.tools import ToolContext, ToolOutput, ToolScope, require_tool, tool_digest
from critic_loop.tools.functions import first_problem, qualified_name

_HOLDERS = ("image", "image_url", "file", "audio", "video", "document")
"""Types of content blocks that may have bytes."""


def is_langchain_tool(thing: object) -> bool:
    """Return whether `thing` has the attributes of an instance of LangChain's `BaseTool`."""
    has = all(hasattr(thing, name) for name in ("name", "description", "invoke", "ainvoke", "tool_call_schema"))
    return has and not isinstance(thing, type)


@dataclass(frozen=True)
class LangChainTool:
    """A tool that invokes a LangChain tool."""

    wrapped: Any
    name: str
    description: str
    parameters: dict[str, JsonValue]
    read_only: bool = False
    irreversible: bool = False
    timeout_s: float | None = None
    scope: ToolScope = "loop"

    def __post_init__(self) -> None:
        """Check that the tool can be described to a model.

        Raises:
            ConfigError: its name, its schema or a setting is invalid.
        """
        require_tool(self)

    def digest(self) -> str:
        """Return a hash of the description for the model, the settings, and the called function's name."""
        return tool_digest(self, qualified_name(_called(self.wrapped)))

    async def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Invoke the tool and return the content of its message; an artifact is ignored.

        Raises:
            ToolError: the arguments are invalid, an injected argument is given, or the result is not a message.
            BaseException: whatever the tool raised.
        """
        if forged := _injected(self.wrapped) & set(arguments):
            raise ToolError(f"argument {min(forged)!r}: Extra inputs are not permitted.")
        call_id = context.call_id or "call"
        call = {"type": "tool_call", "name": self.name, "id": call_id, "args": dict(arguments)}
        try:
            if _is_sync(self.wrapped):
                message = await in_thread(self.wrapped.invoke, call)
            else:
                message = await self.wrapped.ainvoke(call)
        except ValidationError as error:
            if error.title != getattr(self.wrapped.args_schema, "__name__", ""):
                raise
            raise ToolError(first_problem(error)) from error
        return _output(message)


def langchain_tool(wrapped: Any, **settings: Any) -> LangChainTool:
    """Return a LangChain tool as a tool.

    Args:
        wrapped: an instance of LangChain's `BaseTool`.
        settings: fields of `LangChainTool`; they override name and description of `wrapped`.

    Raises:
        ConfigError: its name, its schema or a setting is invalid.
    """
    with boundary(ConfigError, f"tool {wrapped.name!r}"):
        described: dict[str, Any] = {
            "name": wrapped.name,
            "description": wrapped.description,
            "parameters": _schema(wrapped),
        }
        return LangChainTool(wrapped, **(described | settings))


def _schema(wrapped: Any) -> dict[str, JsonValue]:
    """Return the JSON Schema of the arguments that a model gives, without injected ones."""
    if wrapped.args_schema is None and hasattr(wrapped, "func"):  # LangChain's `Tool`: one text
        return {"type": "object", "properties": dict(wrapped.args), "required": list(wrapped.args)}
    shown: Any = wrapped.tool_call_schema
    schema = dict(shown if isinstance(shown, Mapping) else _model_schema(shown))
    for title in ("title", "description"):
        schema.pop(title, None)
    return schema


def _model_schema(model: Any) -> Mapping[str, Any]:
    make = getattr(model, "model_json_schema", None) or model.schema  # `schema`: pydantic 1
    return make()


def _injected(wrapped: Any) -> set[str]:
    """Return the names of injected arguments, which a model must not give."""
    if isinstance(wrapped.args_schema, Mapping):
        return set(getattr(wrapped, "_injected_args_keys", ()))
    every = _fields(wrapped.get_input_schema()) | set(getattr(wrapped, "_injected_args_keys", ()))
    return every - _fields(wrapped.tool_call_schema)


def _fields(model: Any) -> set[str]:
    return set(model.model_fields if hasattr(model, "model_fields") else model.__fields__)  # pydantic 1


def _called(wrapped: Any) -> Any:
    return getattr(wrapped, "coroutine", None) or getattr(wrapped, "func", None) or wrapped


def _is_sync(wrapped: Any) -> bool:
    """Return whether the tool has no async code, so that LangChain would run it in the loop's thread pool."""
    inherited = str(getattr(type(wrapped)._arun, "__module__", "")).startswith("langchain_core.")
    return inherited and getattr(wrapped, "coroutine", None) is None


def _output(message: Any) -> ToolOutput:
    content = getattr(message, "content", None)
    if not isinstance(content, str | list):
        raise ToolError(f"the tool returned {type(message).__name__}, which only LangGraph can execute.")
    blocks: list[Any] = [content] if isinstance(content, str) else content
    return ToolOutput.of(*map(_part, blocks), is_error=getattr(message, "status", "") == "error")


def _part(block: Any) -> ResultPart:
    """Return a content block of LangChain, OpenAI or Anthropic as a part; an unknown one as JSON text."""
    if isinstance(block, str):
        return Text(text=block)
    if block.get("type") in ("text", "text-plain") and block.get("text"):
        return Text(text=block["text"])
    data, media_type = _bytes_in(block) if block.get("type") in _HOLDERS else (None, "")
    if data is None:
        return Text(text=to_json(block, fallback=str).decode())
    if media_type.startswith("image/"):
        return Image.of(data, media_type)
    held = block.get("file") or block
    return File.of(data, media_type).model_copy(update={"name": held.get("filename") or held.get("name") or ""})


def _bytes_in(block: Mapping[str, Any]) -> tuple[bytes | None, str]:
    """Return the bytes in a block and their media type; None where it only has a URL or an id."""
    held: Any = block.get("image_url") or block.get("file") or block.get("source") or block
    if isinstance(held, str):
        held = {"url": held}
    encoded = held.get("base64") or held.get("data") or held.get("file_data") or held.get("url") or ""
    media_type = held.get("mime_type") or held.get("media_type") or ""
    if encoded.startswith("data:"):
        head, _, encoded = encoded.removeprefix("data:").partition(",")
        media_type = head.removesuffix(";base64")
    elif encoded == held.get("url"):
        return None, ""
    fallback = "image/png" if block.get("type") == "image" else "application/octet-stream"
    return base64.b64decode(encoded, validate=True), media_type or fallback
