"""Messages as trainers read them: the conversational format of TRL and chat templates.

Knows roles, content parts, tool calls with their arguments as objects. Does not know which messages
make a row. Nothing is written that does not stand in a message.
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
    """A conversation holds something that the format cannot express; the message is a skip reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFormat:
    """How messages are written."""

    thinking: bool = False
    """Whether reasoning is kept, under the key `thinking`."""
    parts: bool = False
    """Whether content is a list of parts even where all of it is text (rows with pictures)."""

    def write(self, messages: Iterable[Message]) -> Chat:
        """Return `messages` in the conversational format.

        Raises:
            Unfit: a part cannot be expressed.
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
        raise Unfit("a tool call's arguments are no JSON object")
    return {"type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}


def images_in(messages: Iterable[Message]) -> tuple[Image, ...]:
    """Return the pictures of `messages` in order.

    Raises:
        Unfit: the bytes of one are not at hand.
    """
    images = tuple(blob for message in messages for blob in message.blobs if isinstance(blob, Image))
    if any(image.data is None for image in images):
        raise Unfit("a picture's bytes are not at hand")
    return images


def images_column(images: Iterable[Image]) -> JsonValue:
    """Return the `images` column: where `export.write` puts each picture."""
    return [{"path": image_path(image), "bytes": None} for image in images]


def image_path(image: Image) -> str:
    """Return the place of a picture's file inside the export."""
    return f"images/{image.sha256}{_SUFFIX.get(image.media_type, '')}"


def tools_column(tools: Iterable[ToolSpec]) -> JsonValue:
    """Return the `tools` column: the JSON Schema of each tool."""
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
    """Return the `tools` column for messages that call tools, and notes on what it lacks.

    Raises:
        Unfit: tools were offered, but not the one that a message calls.
    """
    called = {call.name for message in messages for call in message.tool_calls}
    if called and not tools:
        return {}, ("calls tools, but no schemas of tools were recorded",)
    if called - {tool.name for tool in tools}:
        raise Unfit("a tool is called that was not offered")
    return ({"tools": tools_column(tools)} if called else {}), ()


def tools_offered(tree: Tree, attempts: Iterable[Attempt]) -> tuple[ToolSpec, ...]:
    """Return the tools that the calls of these attempts offered, by name, the latest of each."""
    offered: dict[str, ToolSpec] = {}
    for attempt in attempts:
        for call in (tree.calls.get(i) for i in attempt.calls):
            if call is not None and call.tools:
                offered |= {tool.name: tool for tool in _TOOLS.validate_json(call.tools)}
    return tuple(offered.values())


_TOOLS = TypeAdapter(tuple[ToolSpec, ...])
