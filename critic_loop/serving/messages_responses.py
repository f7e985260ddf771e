"""Responses in the format of Anthropic's Messages.

Source: https://docs.anthropic.com/en/api/messages and its page on streaming.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

from critic_loop.core.records import Usage
from critic_loop.serving.answer import Answer, Body, arguments_in_pieces, words_of

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageResponse:
    """The answer to one request, whole or as a stream."""

    request: Mapping[str, object]
    """Its JSON body."""
    answer: Answer
    id: str
    usage: Usage

    def whole(self) -> Body:
        """Return the body of a response that is not streamed."""
        return self._envelope() | {
            "content": list(self._content()),
            "stop_reason": self._stop_reason(),
            "usage": _usage(self.usage),
        }

    def events(self) -> Iterator[Body]:
        """Yield the events of a stream; each names its `type`."""
        usage = _usage(self.usage)
        message = self._envelope() | {"usage": usage | {"output_tokens": 1}}
        yield {"type": "message_start", "message": message}
        yield {"type": "ping"}
        for index, block in enumerate(self._content()):
            start, deltas = _in_pieces(block)
            yield {"type": "content_block_start", "index": index, "content_block": start}
            for delta in deltas:
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        delta = {"stop_reason": self._stop_reason(), "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": usage["output_tokens"]}}
        yield {"type": "message_stop"}

    def _envelope(self) -> Body:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.request.get("model", ""),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }

    def _content(self) -> Iterator[Body]:
        answer = self.answer
        if answer.reasoning:
            yield {"type": "thinking", "thinking": answer.reasoning, "signature": answer.signature}
        if answer.text or answer.refusal:
            yield {"type": "text", "text": answer.text or answer.refusal}
        for call in answer.tool_calls:
            given = orjson.loads(call.arguments_text) if call.arguments_text else call.arguments
            yield {"type": "tool_use", "id": call.id, "name": call.name, "input": given}

    def _stop_reason(self) -> str:
        if self.answer.refusal is not None:
            return "refusal"
        return _STOP_REASONS.get(self.answer.finish_reason, self.answer.finish_reason)


def message_error(message: str, *, kind: str, request_id: str) -> Body:
    """Return the body of an error: Anthropic's `type` of it, and the id of the request."""
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}


def _in_pieces(block: Body) -> tuple[Body, list[Body]]:
    """Return a block as its stream begins it, and the deltas that complete it."""
    match block["type"]:
        case "text":
            words = [{"type": "text_delta", "text": word} for word in words_of(block["text"])]
            return block | {"text": ""}, words
        case "thinking":
            words = [{"type": "thinking_delta", "thinking": word} for word in words_of(block["thinking"])]
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return block | {"thinking": "", "signature": ""}, [*words, signed]
        case _:
            pieces = ["", *arguments_in_pieces(orjson.dumps(block["input"]).decode())]
            return block | {"input": {}}, [{"type": "input_json_delta", "partial_json": p} for p in pieces]


def _usage(usage: Usage) -> Body:
    return {
        "input_tokens": usage.input_tokens - usage.cached_input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }
