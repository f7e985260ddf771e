"""Responses and errors of the test server at `/v1/messages`, and which requests it refuses.

`serving.messages_responses` builds the bodies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from critic_loop.serving.answer import Body, words_of
from critic_loop.serving.messages_responses import MessageResponse, message_error
from critic_loop.testing.chat_replies import Reply, answer_of, usage_of

_ERRORS: dict[str, tuple[int, str, str]] = {
    # kind: status, type, message
    "rate_limit": (429, "rate_limit_error", "This request would exceed your rate limit."),
    "quota": (402, "billing_error", "Your organization has reached its spend limit."),
    "server_error": (500, "api_error", "Internal server error"),
    "unavailable": (529, "overloaded_error", "Overloaded"),
    "auth": (401, "authentication_error", "invalid x-api-key {key}"),
    "forbidden": (403, "permission_error", "Your key may not use this resource."),
    "bad_request": (400, "invalid_request_error", "messages: the conversation is refused"),
    "credit": (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
    "context": (400, "invalid_request_error", "prompt is too long: 3000 tokens > 2048 maximum"),
    "content_filter": (400, "invalid_request_error", "Output blocked by content filtering policy"),
    "unknown_model": (404, "not_found_error", "model: unknown"),
    "error_in_200": (200, "overloaded_error", "Overloaded"),
}


def error_body(kind: str, key: str) -> tuple[int, Body]:
    """Return the status and body of a fault."""
    status, type_, message = _ERRORS[kind]
    return status, message_error(message.format(key=key), kind=type_, request_id="req_test")


def wrong_request(body: Mapping[str, Any], headers: Mapping[str, str]) -> str | None:
    """Return what the real endpoint would refuse a request for; None if it would not.

    Thinking must come back as it was said: the signature is checked.
    """
    if "anthropic-version" not in {name.lower() for name in headers}:
        return "anthropic-version: header is required"
    if not isinstance(body.get("max_tokens"), int):
        return "max_tokens: Field required"
    roles = [message["role"] for message in body["messages"]]
    if not roles or roles[0] != "user" or set(roles) - {"user", "assistant"}:
        return "messages: roles must be user or assistant, the first user"
    return next((said for block in _blocks(body) if (said := _wrong_block(block))), None)


def _blocks(body: Mapping[str, Any]) -> Iterator[Body]:
    for message in body["messages"]:
        if not isinstance(message["content"], str):
            yield from message["content"]


def _wrong_block(block: Mapping[str, Any]) -> str | None:
    if block["type"] == "text" and not block["text"].strip():
        return "messages: text content blocks must be non-empty"
    if block["type"] == "thinking" and block.get("signature") != signature_of(block["thinking"]):
        return "messages: Invalid `signature` in `thinking` block"
    return None


def signature_of(thinking: str) -> str:
    """Return the signature of a thought."""
    return hashlib.blake2b(thinking.encode(), key=b"thinking", digest_size=24).hexdigest()


def as_chat(body: Mapping[str, Any]) -> Body:
    """Return what replies are made from: the request's tools, forced tool and schema in the other format."""
    chat: Body = {"messages": body["messages"], "model": body.get("model", "")}
    tools = [{"name": t["name"], "parameters": t["input_schema"]} for t in body.get("tools") or ()]
    chosen = body.get("tool_choice") or {}
    if tools and chosen.get("type") in ("any", "tool"):
        name = chosen.get("name") or tools[0]["name"]
        chat["tools"] = [{"type": "function", "function": tool} for tool in tools]
        chat["tool_choice"] = {"type": "function", "function": {"name": name}}
    if (form := (body.get("output_config") or {}).get("format")) is not None:
        chat["response_format"] = {"type": "json_schema", "json_schema": {"schema": form["schema"]}}
    return chat


def message_body(body: Mapping[str, Any], reply: Reply, *, number: int) -> Body:
    """Return the response to a request that does not stream."""
    return _response(body, reply, number).whole()


def message_events(body: Mapping[str, Any], reply: Reply, *, number: int) -> Iterator[Body]:
    """Yield the events of a streamed response."""
    return _response(body, reply, number).events()


def _response(body: Mapping[str, Any], reply: Reply, number: int) -> MessageResponse:
    return MessageResponse(
        request=body,
        answer=answer_of(reply, f"toolu_{number}", signature=signature_of(reply.reasoning)),
        id=f"msg_{number}",
        usage=usage_of(reply, len(words_of(" ".join(_texts(body))))),
    )


def _texts(body: Mapping[str, Any]) -> Iterator[str]:
    system = body.get("system") or ""
    yield system if isinstance(system, str) else " ".join(block["text"] for block in system)
    for message in body["messages"]:
        if isinstance(message["content"], str):
            yield message["content"]
    for block in _blocks(body):
        content = block.get("content")
        yield block.get("text") or (content if isinstance(content, str) else "blob")
