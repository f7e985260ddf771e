"""What the test server says at `/v1/messages`: Anthropic's bodies and streams, made from replies.

Knows the Messages format from its server's side, written apart from `wire.anthropic_messages` of `models`
so that each checks the other. Knows nothing of HTTP.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from critic_loop.testing.replies import Body, Reply, tokens_of

_STOPPED = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_ERRORS: dict[str, tuple[int, str, str]] = {
    # kind: status, type, message
    "rate_limit": (429, "rate_limit_error", "This request would exceed your rate limit."),
    "quota": (402, "billing_error", "Your organization has reached its spend limit."),
    "server_error": (500, "api_error", "Internal server error"),
    "unavailable": (529, "overloaded_error", "Overloaded"),
    "auth": (401, "authentication_error", "invalid x-api-key {key}"),
    "forbidden": (403, "permission_error", "Your key may not use this resource."),
    "credit": (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
    "context": (400, "invalid_request_error", "prompt is too long: 3000 tokens > 2048 maximum"),
    "content_filter": (400, "invalid_request_error", "Output blocked by content filtering policy"),
    "unknown_model": (404, "not_found_error", "model: unknown"),
    "error_in_200": (200, "overloaded_error", "Overloaded"),
}


def error_body(kind: str, key: str) -> tuple[int, Body]:
    """Return the status and body of a fault."""
    status, type_, message = _ERRORS[kind]
    error = {"type": type_, "message": message.format(key=key)}
    return status, {"type": "error", "error": error, "request_id": "req_test"}


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
    """Return the whole answer to a request that does not stream."""
    return _envelope(body, number) | {
        "content": list(_content(reply, number)),
        "stop_reason": _stop_reason(reply),
        "usage": _usage(body, reply),
    }


def message_events(body: Mapping[str, Any], reply: Reply, *, number: int) -> Iterator[Body]:
    """Yield the events of a streamed answer."""
    usage = _usage(body, reply)
    yield {
        "type": "message_start",
        "message": _envelope(body, number) | {"usage": usage | {"output_tokens": 1}},
    }
    yield {"type": "ping"}
    for index, block in enumerate(_content(reply, number)):
        start, deltas = _in_pieces(block)
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": _stop_reason(reply), "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": usage["output_tokens"]}}
    yield {"type": "message_stop"}


def _envelope(body: Mapping[str, Any], number: int) -> Body:
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": body.get("model", ""),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _content(reply: Reply, number: int) -> Iterator[Body]:
    if reply.reasoning:
        yield {
            "type": "thinking",
            "thinking": reply.reasoning,
            "signature": signature_of(reply.reasoning),
        }
    if reply.text or reply.refusal:
        yield {"type": "text", "text": reply.text or reply.refusal}
    for index, (name, arguments) in enumerate(reply.tool_calls):
        given = orjson.loads(arguments)
        yield {"type": "tool_use", "id": f"toolu_{number}_{index}", "name": name, "input": given}


def _in_pieces(block: Body) -> tuple[Body, list[Body]]:
    """Return a block as its stream begins it, and the deltas that complete it."""
    match block["type"]:
        case "text":
            pieces = [{"type": "text_delta", "text": piece} for piece in tokens_of(block["text"])]
            return block | {"text": ""}, pieces
        case "thinking":
            pieces = [{"type": "thinking_delta", "thinking": piece} for piece in tokens_of(block["thinking"])]
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return block | {"thinking": "", "signature": ""}, [*pieces, signed]
        case _:
            text = orjson.dumps(block["input"]).decode()
            pieces = [text[start : start + 8] for start in range(0, len(text), 8)]
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces)]
            return block | {"input": {}}, deltas


def _stop_reason(reply: Reply) -> str:
    return "refusal" if reply.refusal is not None else _STOPPED.get(reply.ended, reply.ended)


def _usage(body: Mapping[str, Any], reply: Reply) -> Body:
    asked = len(tokens_of(" ".join(_texts(body))))
    thought = len(tokens_of(reply.reasoning))
    calls = sum(1 + len(tokens_of(arguments)) for _, arguments in reply.tool_calls)
    said = len(tokens_of(reply.text or reply.refusal or ""))
    return {
        "input_tokens": asked - asked // 2,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": asked // 2,
        "output_tokens": thought + said + calls,
        "output_tokens_details": {"thinking_tokens": thought},
    }


def _texts(body: Mapping[str, Any]) -> Iterator[str]:
    system = body.get("system") or ""
    yield system if isinstance(system, str) else " ".join(block["text"] for block in system)
    for message in body["messages"]:
        if isinstance(message["content"], str):
            yield message["content"]
    for block in _blocks(body):
        content = block.get("content")
        yield block.get("text") or (content if isinstance(content, str) else "blob")
