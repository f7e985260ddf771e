"""Replies of the test server, and its responses and errors in the format of OpenAI's chat completions.

Token ids, log-probabilities and the usage are made up here; `serving.chat_responses` builds the bodies.
"""

from __future__ import annotations

import hashlib
import random
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import orjson

from critic_loop.core.messages import Message, Reasoning, ToolCall
from critic_loop.core.records import Usage
from critic_loop.serving.answer import Answer, Body, Token, words_of
from critic_loop.serving.chat_responses import ChatResponse, chat_error


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
    """Of each token of the last message, where a request asks for those of its prompt; else made up."""

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
    "so", "the", "answer", "holds", "since", "each", "step", "follows", "from", "what", "was", "given", "and",
    "nothing", "else", "is", "left",
]  # fmt: skip
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
    "bad_request": (400, "BadRequestError", "", "The chat template refuses the conversation."),
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
    return status, chat_error(message.format(key=key), kind=type_, code=code)


# -- responses ---------------------------------------------------------------------------------


def completion_body(body: Mapping[str, Any], replies: Sequence[Reply], *, number: int) -> Body:
    """Return the response to a request that does not stream."""
    return _response(body, replies, number).whole()


def completion_chunks(body: Mapping[str, Any], replies: Sequence[Reply], *, number: int) -> Iterator[Body]:
    """Yield the chunks of a streamed response."""
    return _response(body, replies, number).chunks()


def _response(body: Mapping[str, Any], replies: Sequence[Reply], number: int) -> ChatResponse:
    prompt = _prompt(body, replies[0].prompt_logprob if replies else None)
    usages = [usage_of(reply, 0) for reply in replies]
    said, thought = sum(u.output_tokens for u in usages), sum(u.reasoning_tokens for u in usages)
    return ChatResponse(
        request=body,
        answers=[answer_of(reply, f"call_{number}_{index}") for index, reply in enumerate(replies)],
        id=f"chatcmpl-{number}",
        created=int(time.time()),
        usage=Usage(
            input_tokens=len(prompt),
            cached_input_tokens=len(prompt) // 2,
            output_tokens=said,
            reasoning_tokens=thought,
        ),
        prompt=prompt,
        fingerprint="fp_test",
    )


def answer_of(reply: Reply, call_ids: str, *, signature: str = "") -> Answer:
    """Return a reply as the builders of responses take it, with ids for its tool calls that begin so."""
    tokens = [_token(word) for word in words_of(reply.text or "")]
    if reply.first_tokens and tokens:
        tokens[0] = replace(tokens[0], top=reply.first_tokens)
    return Answer(
        text=reply.text,
        tokens=tuple(tokens),
        reasoning=reply.reasoning,
        signature=signature,
        refusal=reply.refusal,
        tool_calls=tuple(
            ToolCall(id=f"{call_ids}_{index}", name=name, arguments_text=arguments)
            for index, (name, arguments) in enumerate(reply.tool_calls)
        ),
        finish_reason=reply.ended,
    )


def usage_of(reply: Reply, input_tokens: int) -> Usage:
    """Return the made-up usage of a reply: a token for each word, half of the input cached."""
    thought = len(words_of(reply.reasoning))
    calls = sum(1 + len(words_of(arguments)) for _, arguments in reply.tool_calls)
    said = len(words_of(reply.text or reply.refusal or ""))
    return Usage(
        input_tokens=input_tokens,
        cached_input_tokens=input_tokens // 2,
        output_tokens=thought + said + calls,
        reasoning_tokens=thought,
    )


def _prompt(body: Mapping[str, Any], given: float | None) -> list[Token]:
    """Return the words of all messages as tokens; `given` is the log-probability of the last message's."""
    tokens = [_token(word) for message in body["messages"] for word in words_of(_content_text(message))]
    last = len(tokens) - len(words_of(_content_text(body["messages"][-1])))
    return [
        token if given is None or index < last else replace(token, logprob=given)
        for index, token in enumerate(tokens)
    ]


def _content_text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "blob") for part in content)


def _token(word: str) -> Token:
    """Return a word as a token with a made-up id and log-probability."""
    number = zlib.crc32(word.encode()) % 50_000
    return Token(text=word, id=number, logprob=-(number % 1_000) / 1_000, rank=1)


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()
