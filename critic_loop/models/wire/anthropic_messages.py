"""Anthropic's Messages format, in pure functions: records to JSON and back, streams put together.

Knows what a request and an answer look like. Does not know how they are sent or what errors mean
(`models.transport`). Thinking blocks and other blocks of Anthropic's own are kept and sent back unchanged:
their signatures become invalid otherwise.

Source: the API reference of the Messages API, and the types of the `anthropic` package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import orjson
from pydantic import JsonValue

from critic_loop.core.errors import ModelError
from critic_loop.core.messages import (
    ContentPart,
    File,
    Image,
    Message,
    Opaque,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from critic_loop.core.protocols import Completion, Request, ToolSpec
from critic_loop.core.records import Choice, Usage
from critic_loop.models.wire.common import Json, checked_extra, encoded, is_strict, laid_over, object_or_none
from critic_loop.models.wire.profiles import Profile

VERSION = "2023-06-01"
"""The version that accepts a temperature where the model does; version 2026-10-21 accepts none."""
MAX_TOKENS = 4096
"""The default of a limit that the format requires. Every model allows it."""
_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
}
"""Stop reasons in the words of chat completions; others (`refusal`, `pause_turn`) stay as they are."""


def headers(key: str) -> dict[str, str]:
    """Return the headers that the format requires, with the key if there is one."""
    return {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})


# -- requests ----------------------------------------------------------------------------------


def to_wire(request: Request, *, name: str, profile: Profile) -> Json:
    """Return the body that asks the model `name` for what `request` wants: one choice of it.

    Where the sampling sets no limit, `max_tokens` is still to be added: `MAX_TOKENS`.

    Raises:
        ModelError: an image or file cannot be sent, or `sampling.extra` sets a reserved field.
    """
    sampling, messages = request.sampling, request.messages
    system = "\n\n".join(m.text for m in messages if m.role == "system")
    fields: Json = {
        "model": name,
        "max_tokens": sampling.max_tokens,
        "system": system or None,
        "messages": messages_to_wire(messages, profile),
        "tools": [_tool(tool, profile) for tool in request.tools] or None,
        "output_config": _output(request, profile),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop_sequences": list(sampling.stop) or None,
        "stream": True if request.on_text is not None else None,
    }
    body = {key: value for key, value in fields.items() if value is not None}
    return laid_over(body, checked_extra(sampling))


def _tool(tool: ToolSpec, profile: Profile) -> Json:
    wire: Json = {"name": tool.name, "input_schema": tool.parameters}
    if tool.description:
        wire["description"] = tool.description
    if profile.strict_tools == "where_possible" and is_strict(tool.parameters):
        wire["strict"] = True
    return wire


def _output(request: Request, profile: Profile) -> Json | None:
    """Return the schema where it can be enforced: every object closed, every property required."""
    if request.output is None or profile.output != "json_schema" or not is_strict(request.output.schema):
        return None
    return {"format": {"type": "json_schema", "schema": request.output.schema}}


def messages_to_wire(messages: Iterable[Message], profile: Profile) -> list[Json]:
    """Return the conversation without its system messages; turns of the same side become one."""
    wire: list[Json] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [block for part in message.parts if (block := _block(part, profile)) is not None]
        if not blocks:
            continue
        if wire and wire[-1]["role"] == role:
            wire[-1]["content"] += blocks
        else:
            wire.append({"role": role, "content": blocks})
    return wire


def _block(part: ContentPart, profile: Profile) -> Json | None:  # noqa: PLR0911  # one return for each kind of part
    match part:
        case Text():
            return {"type": "text", "text": part.text} if part.text.strip() else None  # refused when empty
        case Image():
            return {"type": "image", "source": _source(part)}
        case File():
            return _document(part)
        case ToolCall():
            given = part.arguments if part.arguments is not None else object_or_none(part.arguments_text)
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": given or {}}
        case ToolResult():
            wire: Json = {"type": "tool_result", "tool_use_id": part.call_id}
            wire |= {"content": _result_content(part, profile)} if part.blobs or part.text else {}
            return wire | ({"is_error": True} if part.is_error else {})
        case Opaque():
            return cast("Json", part.data) if part.provider == profile.name else None
        case Reasoning():
            return None  # without its signature it is refused; the block beside it has one


def _result_content(result: ToolResult, profile: Profile) -> str | list[Json]:
    if not result.blobs:
        return result.text
    return [block for part in result.parts if (block := _block(part, profile)) is not None]


def _document(part: File) -> Json:
    title: Json = {"title": part.name} if part.name else {}
    if part.media_type.startswith("text/") and part.data is not None:
        text = part.data.decode(errors="replace")
        return {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": text},
        } | title
    if part.media_type != "application/pdf":
        raise ModelError(
            f"A file of type {part.media_type} cannot be sent in Anthropic's format.",
            hint="Send PDF, text or an image.",
        )
    return {"type": "document", "source": _source(part)} | title


def _source(part: Image | File) -> Json:
    return {"type": "base64", "media_type": part.media_type, "data": encoded(part)}


# -- answers -----------------------------------------------------------------------------------


def from_wire(body: Mapping[str, Any], *, profile: Profile, request_id: str = "") -> Completion:
    """Return an answer's body as a completion.

    Raises:
        ValueError, TypeError, KeyError: the body is not an answer in this format.
    """
    raw_usage = cast("Json", body.get("usage") or {})
    parts = [part for block in body["content"] for part in _parts(block, profile)]
    reason = body["stop_reason"]
    if reason == "refusal" and not any(isinstance(part, Text) for part in parts):
        details = cast("Json", body.get("stop_details") or {})
        parts += [Text(text=details["explanation"])] if details.get("explanation") else []
    choice = Choice(
        message=Message(role="assistant", parts=tuple(parts), sampled=True),
        finish_reason=_REASONS.get(reason, reason or "stop"),
        stopped_by=body.get("stop_sequence") or "",
    )
    return Completion(
        choices=(choice,),
        usage=usage_from_wire(raw_usage),
        raw_usage=raw_usage,
        model=body.get("model") or "",
        request_id=request_id or body.get("id") or "",
    )


def _parts(block: Mapping[str, Any], profile: Profile) -> Sequence[ContentPart]:
    match block["type"]:
        case "text":
            return [Text(text=block["text"])]
        case "tool_use":
            given = cast("dict[str, JsonValue]", block["input"])
            text = orjson.dumps(given).decode()
            return [ToolCall(id=block["id"], name=block["name"], arguments=given, arguments_text=text)]
        case "thinking":
            shown = [Reasoning(text=block["thinking"])] if block.get("thinking") else []
            return [*shown, Opaque(provider=profile.name, data=dict(block))]
        case _:
            return [Opaque(provider=profile.name, data=dict(block))]


def usage_from_wire(raw: Mapping[str, Any]) -> Usage:
    """Return the tokens in a usage block, whose `input_tokens` leaves out what a cache read or wrote."""
    read = raw.get("cache_read_input_tokens") or 0
    written = raw.get("cache_creation_input_tokens") or 0
    details = raw.get("output_tokens_details") or {}
    return Usage(
        input_tokens=(raw.get("input_tokens") or 0) + read + written,
        cached_input_tokens=read,
        output_tokens=raw.get("output_tokens") or 0,
        reasoning_tokens=details.get("thinking_tokens") or 0,
    )


# -- streams -----------------------------------------------------------------------------------


class Assembly:
    """Adds up events. `body` is what the same answer would have been without streaming."""

    def __init__(self) -> None:
        self._message: Json = {}
        self._blocks: dict[int, Json] = {}
        self._inputs: dict[int, list[str]] = {}
        self.complete = False
        """Whether the stream ended as it should."""
        self.error: bytes | None = None
        """An error that came in place of an event, as sent."""

    def add(self, data: bytes) -> str:
        """Add one event's data; return its new text.

        Raises:
            ValueError, TypeError, KeyError: the data is not an event.
        """
        event = orjson.loads(data)
        match event["type"]:
            case "message_start":
                self._message = event["message"]
            case "content_block_start":
                self._blocks[event["index"]] = event["content_block"]
                return event["content_block"].get("text") or ""
            case "content_block_delta":
                return self._grow(event["index"], event["delta"])
            case "message_delta":
                self._message |= event["delta"]
                counted = {key: value for key, value in event["usage"].items() if value is not None}
                self._message["usage"] = (self._message.get("usage") or {}) | counted
            case "message_stop":
                self.complete = True
            case "error":
                self.error = data
            case _:
                return ""  # pings, ends of blocks, and what later versions send
        return ""

    def _grow(self, index: int, delta: Mapping[str, Any]) -> str:
        block = self._blocks[index]
        match delta["type"]:
            case "text_delta":
                block["text"] = block.get("text", "") + delta["text"]
                return delta["text"]
            case "input_json_delta":
                self._inputs.setdefault(index, []).append(delta["partial_json"])
            case "thinking_delta":
                block["thinking"] = block.get("thinking", "") + delta["thinking"]
            case "signature_delta":
                block["signature"] = delta["signature"]
            case "citations_delta":
                block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
            case _:
                return ""  # the format announces that new kinds may come
        return ""

    def body(self) -> Json:
        """Return the whole.

        Raises:
            ValueError: a tool's input is no JSON.
        """
        for index, pieces in self._inputs.items():
            self._blocks[index]["input"] = orjson.loads("".join(pieces) or "{}")
        return self._message | {"content": [block for _, block in sorted(self._blocks.items())]}
