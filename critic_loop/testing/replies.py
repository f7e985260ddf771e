"""What the test server says: chat-completions bodies and streams, made from replies.

Knows the OpenAI wire format from its server's side, written apart from `wire.chat_completions` of
`models` so that each checks the other. Knows nothing of HTTP.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import orjson

from critic_loop.core.messages import Message, Reasoning

Body: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One choice that the server gives."""

    text: str | None = None
    reasoning: str = ""
    refusal: str | None = None
    tool_calls: tuple[tuple[str, str], ...] = ()
    """Name and arguments text of each call."""
    finish_reason: str = ""
    """`stop`, or `tool_calls` where there are some, unless given."""
    first_tokens: tuple[tuple[str, float], ...] = ()
    """The likeliest first tokens with their log-probabilities, where a request asks for `top_logprobs`."""
    prompt_logprob: float | None = None
    """Of every token of the last message, where a request asks for those of its prompt; else made up."""

    @property
    def ended(self) -> str:
        """The finish reason, given or implied."""
        return self.finish_reason or ("tool_calls" if self.tool_calls else "stop")


def reply_of(given: str | Message | Reply) -> Reply:
    """Return text or a message as a reply."""
    if isinstance(given, Reply):
        return given
    if isinstance(given, str):
        return Reply(text=given)
    calls = tuple((c.name, c.arguments_text or _dumps(c.arguments)) for c in given.tool_calls)
    reasoning = "".join(part.text for part in given.parts if isinstance(part, Reasoning))
    return Reply(text=given.text or None, reasoning=reasoning, tool_calls=calls)


def content_digest(body: Mapping[str, Any]) -> str:
    """Return a hash of what a request asks for; how it wants it sent is left out."""
    content = {key: value for key, value in body.items() if key not in ("stream", "stream_options")}
    encoded = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(encoded, digest_size=12).hexdigest()


def hashed_replies(body: Mapping[str, Any], *, reply_bytes: int = 64) -> list[Reply]:
    """Return replies that are a function of the request: its schema, its forced tool, or words."""
    digest = content_digest(body)
    count = int(body.get("n") or 1)
    return [_hashed_reply(body, random.Random(f"{digest}/{i}"), reply_bytes) for i in range(count)]


def _hashed_reply(body: Mapping[str, Any], rng: random.Random, reply_bytes: int) -> Reply:
    tool = _forced_tool(body)
    if tool is not None:
        arguments = instance_of(tool.get("parameters") or {}, rng)
        return Reply(tool_calls=((tool["name"], _dumps(arguments)),))
    schema = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
    if schema is not None:
        return Reply(text=_dumps(instance_of(schema, rng)))
    return Reply(text=_prose(rng, reply_bytes))


def _forced_tool(body: Mapping[str, Any]) -> Body | None:
    tools = [tool["function"] for tool in body.get("tools") or ()]
    wanted = body.get("tool_choice")
    if not tools or wanted in (None, "auto", "none"):
        return None
    if isinstance(wanted, dict):
        name = cast("Body", wanted)["function"]["name"]
        return next(tool for tool in tools if tool["name"] == name)
    return tools[0]


_WORDS = [
    "so",
    "the",
    "answer",
    "holds",
    "since",
    "each",
    "step",
    "follows",
    "from",
    "what",
    "was",
    "given",
    "and",
    "nothing",
    "else",
    "is",
    "left",
]
_PROSE = " ".join(random.Random(0).choices(_WORDS, k=4_000))


def _prose(rng: random.Random, size: int) -> str:
    """Return `size` characters of words; the first word is unique to the generator's seed."""
    start = rng.randrange(1_000)
    repeats = 1 + (size + start) // len(_PROSE)
    return f"{rng.getrandbits(48):012x} {(_PROSE * repeats)[start:]}"[:size]


def instance_of(schema: Mapping[str, Any], rng: random.Random, root: Mapping[str, Any] | None = None) -> Any:
    """Return a value that follows a JSON Schema, drawn from `rng`; common keywords only."""
    root = schema if root is None else root
    if "$ref" in schema:
        return instance_of(root["$defs"][schema["$ref"].rpartition("/")[2]], rng, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return instance_of(schema[key][0], rng, root)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    return _typed_instance(str(cast("object", kind)), schema, rng, root)


def _typed_instance(  # noqa: PLR0911  # one return for each of JSON's types
    kind: str, schema: Mapping[str, Any], rng: random.Random, root: Mapping[str, Any]
) -> Any:
    match kind:
        case "object":
            fields = schema.get("properties") or {}
            return {name: instance_of(field, rng, root) for name, field in fields.items()}
        case "array":
            size = max(1, schema.get("minItems", 1))
            return [instance_of(schema.get("items") or {"type": "string"}, rng, root) for _ in range(size)]
        case "integer":
            low = schema.get("minimum", 0)
            return rng.randint(low, schema.get("maximum", low + 9))
        case "number":
            low = schema.get("minimum", 0.0)
            return round(rng.uniform(low, schema.get("maximum", low + 1.0)), 3)
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
        case _:
            return _prose(rng, 24)[: schema.get("maxLength", 24)]


# -- errors ------------------------------------------------------------------------------------


_ERRORS: dict[str, tuple[int, str, str, str]] = {
    # kind: status, type, code, message
    "rate_limit": (429, "requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    "quota": (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
    "server_error": (500, "server_error", "server_error", "The server had an error."),
    "unavailable": (503, "server_error", "overloaded", "The engine is overloaded."),
    "auth": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: {key}."),
    "forbidden": (403, "invalid_request_error", "unsupported_region", "Not allowed from here."),
    "credit": (402, "billing", "payment_required", "This account has no credit left."),
    "context": (
        400, "invalid_request_error", "context_length_exceeded",
        "This model's maximum context length is 2048 tokens. However, your messages are longer.",
    ),
    "content_filter": (400, "invalid_request_error", "content_filter", "The prompt was filtered."),
    "unknown_model": (404, "invalid_request_error", "model_not_found", "The model does not exist."),
    "error_in_200": (200, "server_error", "server_error", "The upstream provider had an error."),
}  # fmt: skip


def chat_error_body(kind: str, key: str) -> tuple[int, Body]:
    """Return the status and body of a fault."""
    status, type_, code, message = _ERRORS[kind]
    return status, {"error": {"message": message.format(key=key), "type": type_, "param": None, "code": code}}


# -- bodies and streams ------------------------------------------------------------------------


def tokens_of(text: str) -> list[str]:
    """Return the pieces that the server counts and streams as tokens: words with their spaces."""
    return re.findall(r"\s*\S+|\s+", text)


def token_id(token: str) -> int:
    """Return the made-up id of a token."""
    return zlib.crc32(token.encode()) % 50_000


def prompt_tokens(body: Mapping[str, Any]) -> list[str]:
    """Return the tokens of all messages' text."""
    return [token for message in body["messages"] for token in tokens_of(_content_text(message))]


def _content_text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "blob") for part in content)


def completion_body(body: Mapping[str, Any], replies: Sequence[Reply], *, number: int) -> Body:
    """Return the whole answer to a request that does not stream."""
    choices = [_choice(body, reply, index, number) for index, reply in enumerate(replies)]
    answer = _envelope(body, number, "chat.completion")
    answer |= {"choices": choices, "usage": _usage(body, replies)}
    if body.get("return_token_ids"):
        answer["prompt_token_ids"] = [token_id(token) for token in prompt_tokens(body)]
    if body.get("prompt_logprobs") is not None:
        answer["prompt_logprobs"] = _prompt_logprobs(body, replies[0].prompt_logprob if replies else None)
    return answer


def _prompt_logprobs(body: Mapping[str, Any], given: float | None) -> list[Body | None]:
    """Return what vLLM does: nothing for the first token, for others a mapping from id to log-probability."""
    tokens = prompt_tokens(body)
    last = len(tokens) - len(tokens_of(_content_text(body["messages"][-1])))
    entries: list[Body | None] = [None]
    for index, token in enumerate(tokens[1:], start=1):
        logprob = _logprob(token)["logprob"] if given is None or index < last else given
        entries.append({str(token_id(token)): {"logprob": logprob, "rank": 1, "decoded_token": token}})
    return entries


def _envelope(body: Mapping[str, Any], number: int, kind: str) -> Body:
    return {
        "id": f"chatcmpl-{number}",
        "object": kind,
        "created": int(time.time()),
        "model": body.get("model", ""),
        "system_fingerprint": "fp_test",
    }


def _choice(body: Mapping[str, Any], reply: Reply, index: int, number: int) -> Body:
    message: Body = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
    if reply.reasoning:
        message["reasoning"] = reply.reasoning
    if reply.tool_calls:
        message["tool_calls"] = [_tool_call(reply, i, index, number) for i in range(len(reply.tool_calls))]
    choice: Body = {"index": index, "message": message, "finish_reason": reply.ended, "logprobs": None}
    fields = _token_fields(body, tokens_of(reply.text or ""))
    if reply.first_tokens and body.get("top_logprobs") and fields.get("logprobs"):
        tops = [{"token": t, "logprob": p, "bytes": list(t.encode())} for t, p in reply.first_tokens]
        fields["logprobs"]["content"][0]["top_logprobs"] = tops[: body["top_logprobs"]]
    return choice | fields


def _tool_call(reply: Reply, call: int, index: int, number: int) -> Body:
    name, arguments = reply.tool_calls[call]
    call_id = f"call_{number}_{index}_{call}"
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _token_fields(body: Mapping[str, Any], tokens: Sequence[str]) -> Body:
    fields: Body = {}
    if body.get("return_token_ids"):
        fields["token_ids"] = [token_id(token) for token in tokens]
    if body.get("logprobs"):
        fields["logprobs"] = {"content": [_logprob(token) for token in tokens], "refusal": None}
    return fields


def _logprob(token: str) -> Body:
    logprob = -(token_id(token) % 1_000) / 1_000
    return {"token": token, "logprob": logprob, "bytes": list(token.encode()), "top_logprobs": []}


def _usage(body: Mapping[str, Any], replies: Sequence[Reply]) -> Body:
    asked = len(prompt_tokens(body))
    thought = sum(len(tokens_of(reply.reasoning)) for reply in replies)
    said = sum(_output_tokens(reply) for reply in replies) + thought
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
        "prompt_tokens_details": {"cached_tokens": asked // 2},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


def _output_tokens(reply: Reply) -> int:
    calls = sum(1 + len(tokens_of(arguments)) for _, arguments in reply.tool_calls)
    return len(tokens_of(reply.text or reply.refusal or "")) + calls


def completion_chunks(body: Mapping[str, Any], replies: Sequence[Reply], *, number: int) -> Iterator[Body]:
    """Yield the chunks of a streamed answer, the usage chunk last if it was asked for."""
    envelope = _envelope(body, number, "chat.completion.chunk")
    if body.get("return_token_ids"):
        envelope["prompt_token_ids"] = [token_id(token) for token in prompt_tokens(body)]
    for index, reply in enumerate(replies):
        for delta, tokens in _deltas(reply, index, number):
            choice: Body = {"index": index, "delta": delta, "finish_reason": None, "logprobs": None}
            yield envelope | {"choices": [choice | _token_fields(body, tokens)]}
            envelope.pop("prompt_token_ids", None)
        yield envelope | {"choices": [{"index": index, "delta": {}, "finish_reason": reply.ended}]}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield envelope | {"choices": [], "usage": _usage(body, replies)}


def _deltas(reply: Reply, index: int, number: int) -> Iterator[tuple[Body, list[str]]]:
    yield {"role": "assistant", "content": ""}, []
    for piece in tokens_of(reply.reasoning):
        yield {"reasoning": piece}, []
    for piece in tokens_of(reply.text or ""):
        yield {"content": piece}, [piece]
    if reply.refusal is not None:
        yield {"refusal": reply.refusal}, []
    for call, (_, arguments) in enumerate(reply.tool_calls):
        head = _tool_call(reply, call, index, number)
        head["function"]["arguments"] = ""
        yield {"tool_calls": [{"index": call} | head]}, []
        for start in range(0, len(arguments), 8):
            piece = {"index": call, "function": {"arguments": arguments[start : start + 8]}}
            yield {"tool_calls": [piece]}, []


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()
