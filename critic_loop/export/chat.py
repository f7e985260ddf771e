"""Converts messages to the conversational format of TRL and of chat templates.

Knows roles, content parts and tool calls, whose arguments are written as objects. Does not know which messages
are in a row. All text that is written is from a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import JsonValue, TypeAdapter

from critic_loop.core.messages import File, Image, Message, Reasoning, Text, ToolCall, ToolResult
from critic_loop.core.protocols import ToolSpec
from critic_loop.core.records import Attempt
from critic_loop.core.tree import Tree

Chat = list[JsonValue]

_SUFFIX = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif"}


class Unfit(Exception):
    """The format cannot express a part of a conversation; the message is the reason to skip it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFormat:
    """The options of the format."""

    thinking: bool = False
    """Write reasoning under the key `thinking`; otherwise it is left out."""
    parts: bool = False
    """Write content as a list of parts even where all of it is text (for rows with images)."""

    def write(self, messages: Iterable[Message]) -> Chat:
        """Return `messages` in the conversational format.

        Raises:
            Unfit: a message has a file, or a tool call whose arguments are not a JSON object.
        """
        return [turn for message in messages for turn in self._turns(message)]

    def _turns(self, message: Message) -> list[JsonValue]:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        if results:
            return [{"role": "tool", "name": r.name, "content": self._content(r.parts)} for r in results]
        turn: dict[str, JsonValue] = {"role": message.role, "content": self._content(message.parts)}
        thought = "".join(part.text for part in message.parts if isinstance(part, Reasoning))
        if self.thinking and thought:
            turn["thinking"] = thought
        if message.tool_calls:
            turn["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
        return [turn]

    def _content(self, parts: Sequence[object]) -> JsonValue:
        if any(isinstance(part, File) for part in parts):
            raise Unfit("a file cannot be expressed")
        if not self.parts:
            return "".join(part.text for part in parts if isinstance(part, Text))
        written = (_part(part) for part in parts)
        return [part for part in written if part is not None]


def _part(part: object) -> JsonValue:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Image():
            return {"type": "image"}
        case _:
            return None


def _tool_call(call: ToolCall) -> JsonValue:
    if call.arguments is None:
        raise Unfit("a tool call's arguments are not a JSON object")
    return {"type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}


def images_in(messages: Iterable[Message]) -> tuple[Image, ...]:
    """Return the images of `messages` in order.

    Raises:
        Unfit: the bytes of an image are not loaded.
    """
    images = tuple(blob for message in messages for blob in message.blobs if isinstance(blob, Image))
    if any(image.data is None for image in images):
        raise Unfit("the bytes of an image are missing")
    return images


def images_column(images: Iterable[Image]) -> JsonValue:
    """Return the `images` column: the path of each image inside the export."""
    return [{"path": image_path(image), "bytes": None} for image in images]


def image_path(image: Image) -> str:
    """Return the path of an image's file inside the export."""
    return f"images/{image.sha256}{_SUFFIX.get(image.media_type, '')}"


def tools_column(tools: Iterable[ToolSpec]) -> JsonValue:
    """Return the `tools` column: name, description and JSON Schema of each tool."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
        }
        for tool in tools
    ]


def tool_columns(
    messages: Iterable[Message], tools: Sequence[ToolSpec]
) -> tuple[dict[str, JsonValue], tuple[str, ...]]:
    """Return the `tools` column for messages that call tools, and the notes of the row.

    Where no message calls a tool, or no schemas are known, there is no column.

    Raises:
        Unfit: a message calls a tool that is not among `tools`.
    """
    called = {call.name for message in messages for call in message.tool_calls}
    if called and not tools:
        return {}, ("calls tools, but their schemas were not recorded",)
    if called - {tool.name for tool in tools}:
        raise Unfit("a tool is called that was not offered")
    return ({"tools": tools_column(tools)} if called else {}), ()


def tools_offered(tree: Tree, attempts: Iterable[Attempt]) -> tuple[ToolSpec, ...]:
    """Return the tools that were offered in the calls of these attempts; of each name the latest."""
    offered: dict[str, ToolSpec] = {}
    for attempt in attempts:
        for call in (tree.calls.get(i) for i in attempt.calls):
            if call is not None and call.tools:
                offered |= {tool.name: tool for tool in _TOOLS.validate_json(call.tools)}
    return tuple(offered.values())


_TOOLS = TypeAdapter(tuple[ToolSpec, ...])
