"""The chat-completions wire format, in pure functions: records to JSON objects and back.

Knows what a request and an answer look like. Does not know how they are sent, how streams are put together
(`wire.stream`) or what errors mean (`models.transport`).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import orjson

from critic_loop.core.messages import (
    ContentPart,
    File,
    Image,
    Message,
    Opaque,
    Reasoning,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from critic_loop.core.protocols import Completion, OutputSchema, Request, ToolSpec
from critic_loop.core.records import Choice, Sampling, Usage
from critic_loop.models.wire.common import Json, checked_extra, encoded, is_strict, object_or_none
from critic_loop.models.wire.profiles import GENERIC, Profile

# -- requests ----------------------------------------------------------------------------------


def to_wire(request: Request, *, name: str, profile: Profile = GENERIC) -> Json:
    """Return the body that asks the model `name` for what `request` wants.

    Raises:
        ModelError: an image or file has no bytes loaded, or `sampling.extra` sets a reserved field.
    """
    body: Json = {"model": name, "messages": messages_to_wire(request.messages, profile)}
    if request.tools:
        body["tools"] = [_tool(tool, profile) for tool in request.tools]
    if request.output is not None and profile.output is not None:
        body["response_format"] = _response_format(request.output, profile.output)
    if request.choices > 1:
        body["n"] = request.choices
    if request.on_text is not None:
        body["stream"] = True
        if profile.stream_usage:
            body["stream_options"] = {"include_usage": True}
    if request.continues:
        body |= {"add_generation_prompt": False, "continue_final_message": True}
    if profile.return_token_ids:
        body["return_token_ids"] = True
    return body | _sampling(request.sampling, profile)


def _sampling(sampling: Sampling, profile: Profile) -> Json:
    fields: Json = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        profile.max_tokens_field: sampling.max_tokens,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "logprobs": sampling.logprobs or None,
    }
    return {key: value for key, value in fields.items() if value is not None} | checked_extra(sampling)


def _tool(tool: ToolSpec, profile: Profile) -> Json:
    function: Json = {"name": tool.name, "parameters": tool.parameters}
    if tool.description:
        function["description"] = tool.description
    possible = profile.strict_tools == "where_possible" and is_strict(tool.parameters)
    if possible or profile.strict_tools == "always":
        function["strict"] = True
    return {"type": "function", "function": function}


def _response_format(output: OutputSchema, kind: Literal["json_schema", "json_object"]) -> Json:
    if kind == "json_object":
        return {"type": "json_object"}
    name = re.sub(r"[^A-Za-z0-9_-]", "_", output.name)[:64] or "output"
    schema = {"name": name, "schema": output.schema, "strict": is_strict(output.schema)}
    return {"type": "json_schema", "json_schema": schema}


def messages_to_wire(messages: Iterable[Message], profile: Profile = GENERIC) -> list[Json]:
    """Return the messages in wire form; each tool result becomes a message of its own."""
    wire: list[Json] = []
    shown: list[Json] = []
    for message in messages:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        wire += [_tool_result(part, profile) for part in results]
        if message.role != "tool" and (len(results) < len(message.parts) or not results):
            wire += _user_message(shown)
            wire.append(_message(message, profile))
            shown = []
        shown += [_content_part(blob) for result in results for blob in result.blobs]
    return wire + _user_message(shown)


def _user_message(parts: list[Json]) -> list[Json]:
    """Return what tools showed as a message behind theirs: endpoints take only text in a tool's own message."""
    return [{"role": "user", "content": parts}] if parts else []


def _tool_result(result: ToolResult, profile: Profile) -> Json:
    wire: Json = {"role": "tool", "tool_call_id": result.call_id, "content": result.text}
    if profile.tool_result_name and result.name:
        wire["name"] = result.name
    return wire


def _message(message: Message, profile: Profile) -> Json:
    wire: Json = {"role": message.role, "content": _content(message)}
    if message.role != "assistant":
        return wire
    reasoning = "".join(part.text for part in message.parts if isinstance(part, Reasoning))
    if reasoning and profile.reasoning_field:
        wire[profile.reasoning_field] = reasoning
    if calls := message.tool_calls:
        wire["content"] = wire["content"] or None
        wire["tool_calls"] = [_tool_call(call) for call in calls]
    for part in message.parts:
        if isinstance(part, Opaque) and part.provider == profile.name and isinstance(part.data, dict):
            wire |= part.data
    return wire


def _tool_call(call: ToolCall) -> Json:
    arguments = call.arguments_text or orjson.dumps(call.arguments or {}).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _content(message: Message) -> str | list[Json]:
    """Return text as a string, which every endpoint takes; a list of parts only where it must be."""
    if not any(isinstance(part, Image | File) for part in message.parts):
        return message.text
    return [_content_part(part) for part in message.parts if isinstance(part, Text | Image | File)]


def _content_part(part: Text | Image | File) -> Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    url = f"data:{part.media_type};base64,{encoded(part)}"
    if isinstance(part, Image):
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "file", "file": {"filename": part.name or part.sha256[:12], "file_data": url}}


# -- answers -----------------------------------------------------------------------------------


def from_wire(body: Mapping[str, Any], *, profile: Profile = GENERIC, request_id: str = "") -> Completion:
    """Return an answer's body as a completion.

    Raises:
        ValueError, TypeError, KeyError: the body is not a chat completion.
    """
    raw_usage = cast("Json", body.get("usage") or {})
    prompt_ids = body.get("prompt_token_ids")
    choices = sorted(body["choices"], key=lambda choice: choice.get("index") or 0)
    return Completion(
        choices=tuple(_choice(choice, profile) for choice in choices),
        usage=usage_from_wire(raw_usage),
        raw_usage=raw_usage,
        model=body.get("model") or "",
        weight_version=_weight_version(body),
        request_id=request_id or body.get("id") or "",
        prompt_token_ids=None if prompt_ids is None else tuple(prompt_ids),
    )


def _weight_version(body: Mapping[str, Any]) -> str:
    metadata = body.get("metadata")
    inner = cast("Json", metadata).get("weight_version") if isinstance(metadata, dict) else None
    return str(body.get("weight_version") or inner or "")


def usage_from_wire(raw: Mapping[str, Any]) -> Usage:
    """Return the tokens in a usage block; endpoints leave out what they do not count."""
    asked = raw.get("prompt_tokens_details") or {}
    said = raw.get("completion_tokens_details") or {}
    return Usage(
        input_tokens=raw.get("prompt_tokens") or 0,
        cached_input_tokens=asked.get("cached_tokens") or 0,
        output_tokens=raw.get("completion_tokens") or 0,
        reasoning_tokens=said.get("reasoning_tokens") or 0,
    )


def _choice(wire: Mapping[str, Any], profile: Profile) -> Choice:
    message = message_from_wire(wire["message"], profile, sampled=True)
    reason = wire.get("finish_reason") or ("tool_calls" if message.tool_calls else "stop")
    token_ids = wire.get("token_ids")
    entries = (wire.get("logprobs") or {}).get("content")
    stopped_by = wire.get("stop_reason") or wire.get("matched_stop")  # vLLM's, SGLang's; a number is a token
    return Choice(
        message=message,
        finish_reason="refusal" if wire["message"].get("refusal") else reason,
        token_ids=None if token_ids is None else tuple(token_ids),
        logprobs=None if entries is None else tuple(entry["logprob"] for entry in entries),
        stopped_by=stopped_by if isinstance(stopped_by, str) else "",
    )


def messages_from_wire(wire: Sequence[Mapping[str, Any]], profile: Profile = GENERIC) -> tuple[Message, ...]:
    """Return messages in wire form as records."""
    return tuple(message_from_wire(message, profile) for message in wire)


def message_from_wire(wire: Mapping[str, Any], profile: Profile = GENERIC, *, sampled: bool = False) -> Message:
    """Return one wire message as a record; a refusal's text is taken as its text."""
    role = "system" if wire["role"] == "developer" else cast("Role", wire["role"])
    if role == "tool":
        result = ToolResult.of(_plain(wire), call_id=wire["tool_call_id"], name=wire.get("name") or "")
        return Message(role="tool", parts=(result,))
    parts: list[ContentPart] = []
    if reasoning := wire.get("reasoning") or wire.get("reasoning_content"):
        parts.append(Reasoning(text=reasoning))
    parts += _content_parts(wire.get("content") or wire.get("refusal") or "")
    parts += [_tool_call_part(call) for call in wire.get("tool_calls") or ()]
    if own := {key: wire[key] for key in profile.opaque_fields if wire.get(key)}:
        parts.append(Opaque(provider=profile.name, data=own))
    return Message(role=role, parts=tuple(parts), sampled=sampled)


def _plain(wire: Mapping[str, Any]) -> str:
    parts = _content_parts(wire.get("content") or "")
    return "".join(part.text for part in parts if isinstance(part, Text))


def _content_parts(content: str | Sequence[Mapping[str, Any]]) -> list[ContentPart]:
    if isinstance(content, str):
        return [Text(text=content)] if content else []
    return [_content_part_from_wire(part) for part in content]


def _content_part_from_wire(part: Mapping[str, Any]) -> ContentPart:
    match part["type"]:
        case "text":
            return Text(text=part["text"])
        case "image_url":
            media_type, data = _from_data_url(part["image_url"]["url"])
            return Image.of(data, media_type)
        case "file":
            media_type, data = _from_data_url(part["file"]["file_data"])
            named = File.of(data, media_type)
            return named.model_copy(update={"name": part["file"].get("filename") or ""})
        case kind:
            return Opaque(provider=f"part:{kind}", data=dict(part))


def _from_data_url(url: str) -> tuple[str, bytes]:
    head, _, encoded = url.partition(";base64,")
    if not head.startswith("data:"):
        raise ValueError("only data URLs hold bytes")
    return head.removeprefix("data:"), base64.b64decode(encoded)


def _tool_call_part(call: Mapping[str, Any]) -> ToolCall:
    function = call["function"]
    text = function.get("arguments") or ""
    if not isinstance(text, str):  # some endpoints send an object
        text = orjson.dumps(text).decode()
    return ToolCall(
        id=call.get("id") or "", name=function["name"], arguments=object_or_none(text), arguments_text=text
    )
