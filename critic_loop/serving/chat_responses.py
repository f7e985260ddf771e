"""Responses in the format of OpenAI's chat completions, with vLLM's token ids and prompt log-probabilities.

Sources: https://platform.openai.com/docs/api-reference/chat and vLLM's `return_token_ids`, `prompt_logprobs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson

from critic_loop.core.messages import ToolCall
from critic_loop.core.records import Usage
from critic_loop.serving.answer import Answer, Body, Token, arguments_in_pieces, words_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatResponse:
    """The answers to one request, whole or as a stream.

    The request decides whether token ids (`return_token_ids`), log-probabilities (`logprobs`, `top_logprobs`,
    `prompt_logprobs`) and the usage of a stream (`stream_options`) are in it.
    """

    request: Mapping[str, object]
    """Its JSON body."""
    answers: Sequence[Answer]
    id: str
    created: int
    """Seconds since the epoch."""
    usage: Usage
    prompt: Sequence[Token] = ()
    """The tokens of the prompt, where they are known."""
    fingerprint: str | None = None
    """Names the state of the model and its settings."""

    def whole(self) -> Body:
        """Return the body of a response that is not streamed."""
        body = self._envelope("chat.completion")
        body["choices"] = [self._choice(index, answer) for index, answer in enumerate(self.answers)]
        body["usage"] = _usage(self.usage)
        if self.request.get("return_token_ids"):
            body["prompt_token_ids"] = [token.id for token in self.prompt]
        if self.request.get("prompt_logprobs") is not None:
            body["prompt_logprobs"] = [None, *(_prompt_logprob(token) for token in self.prompt[1:])]
        return body

    def chunks(self) -> Iterator[Body]:
        """Yield the chunks of a stream; the last has the usage, if the request wants it."""
        envelope = self._envelope("chat.completion.chunk")
        if self.request.get("return_token_ids"):
            envelope["prompt_token_ids"] = [token.id for token in self.prompt]
        for index, answer in enumerate(self.answers):
            for delta, tokens in _deltas(answer):
                choice: Body = {"index": index, "delta": delta, "finish_reason": None, "logprobs": None}
                yield envelope | {"choices": [choice | self._token_fields(tokens)]}
                envelope.pop("prompt_token_ids", None)
            end = {"index": index, "delta": {}, "finish_reason": answer.finish_reason}
            yield envelope | {"choices": [end]}
        options = self.request.get("stream_options")
        if isinstance(options, dict) and options.get("include_usage"):
            yield envelope | {"choices": [], "usage": _usage(self.usage)}

    def _envelope(self, kind: str) -> Body:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.request.get("model", ""),
            "system_fingerprint": self.fingerprint,
        }

    def _choice(self, index: int, answer: Answer) -> Body:
        message: Body = {"role": "assistant", "content": answer.text, "refusal": answer.refusal}
        if answer.reasoning:
            message["reasoning"] = answer.reasoning
        if answer.tool_calls:
            message["tool_calls"] = [_tool_call(call) for call in answer.tool_calls]
        choice: Body = {"index": index, "message": message, "finish_reason": answer.finish_reason}
        return choice | {"logprobs": None} | self._token_fields(answer.tokens)

    def _token_fields(self, tokens: Sequence[Token]) -> Body:
        fields: Body = {}
        if self.request.get("return_token_ids"):
            fields["token_ids"] = [token.id for token in tokens]
        if self.request.get("logprobs"):
            most = self.request.get("top_logprobs")
            content = [_logprob(token, most if isinstance(most, int) else 0) for token in tokens]
            fields["logprobs"] = {"content": content, "refusal": None}
        return fields


def chat_error(message: str, *, kind: str, code: str | None = None) -> Body:
    """Return the body of an error: OpenAI's `type` of it, and its `code`."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _deltas(answer: Answer) -> Iterator[tuple[Body, list[Token]]]:
    yield {"role": "assistant", "content": ""}, []
    for word in words_of(answer.reasoning):
        yield {"reasoning": word}, []
    for token in answer.pieces():
        yield {"content": token.text}, [token]
    if answer.refusal is not None:
        yield {"refusal": answer.refusal}, []
    for index, call in enumerate(answer.tool_calls):
        head = _tool_call(call)
        arguments = head["function"]["arguments"]
        head["function"]["arguments"] = ""
        yield {"tool_calls": [{"index": index} | head]}, []
        for piece in arguments_in_pieces(arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, []


def _tool_call(call: ToolCall) -> Body:
    arguments = call.arguments_text or orjson.dumps(call.arguments).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _logprob(token: Token, most: int) -> Body:
    top = [_likely(text, logprob) for text, logprob in token.top[:most]]
    return _likely(token.text, token.logprob) | {"top_logprobs": top}


def _likely(text: str, logprob: float | None) -> Body:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _prompt_logprob(token: Token) -> Body:
    return {str(token.id): {"logprob": token.logprob, "rank": token.rank, "decoded_token": token.text}}


def _usage(usage: Usage) -> Body:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
