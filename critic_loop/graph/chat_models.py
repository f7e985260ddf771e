"""A LangChain chat model as a `Model`. Importing this loads LangChain: only `graph.langchain` does so.

Knows LangChain's messages. Does not know any provider: keys, addresses, retries, and sampling beyond the fields
of a chat model are set by its owner. A chat model is bound to a slot like any other model; chains and graphs as
actors are in `roles.runnable_actor`.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import orjson
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import JsonValue, SecretStr

from critic_loop.core.errors import (
    CriticLoopError,
    DeadlineExceeded,
    ModelError,
    Refused,
    Unreachable,
)
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
from critic_loop.core.protocols import Completion, Request
from critic_loop.core.records import Choice, Usage
from critic_loop.models.client.scoring import CannotScore
from critic_loop.models.transport.endpoint import at_once
from critic_loop.models.transport.failures import EndpointError, cleaned, failure
from critic_loop.models.wire.common import added

_log = logging.getLogger(__name__)

PROVIDER = "langchain"
_ITS_OWN = "the chat model's own settings"
_SAMPLING = ("temperature", "top_p", "max_tokens", "seed")
_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "MAX_TOKENS": "length",
    "STOP": "stop",
    "tool_use": "tool_calls",
}
"""Finish reasons of providers, as those of chat completions."""
_UNREACHED = {
    "ConnectError", "ConnectTimeout", "ConnectTimeoutError", "ConnectionRefusedError", "ConnectionTimeoutError",
    "ClientConnectorError", "NewConnectionError", "NameResolutionError", "gaierror",
}  # fmt: skip
"""Errors of httpx, requests, urllib3, aiohttp and Python for a connection that could not be made."""
_BROKEN = (
    "Timeout", "TimeoutError", "TimeoutException", "ProtocolError", "ReadError", "WriteError",
    "ConnectionResetError", "ConnectionAbortedError", "BrokenPipeError", "ServerDisconnectedError",
)  # fmt: skip
"""Their errors for a connection that broke off, or took too long."""
_NO_CONNECTION = "ConnectionError"
"""Endings of error names of packages that do not tell the two apart, as OpenAI's and Anthropic's."""


class LangChainModel:
    """A LangChain chat model as a `Model`.

    A schema is not passed on: the prompt asks for it and the parsers read the answer, because
    `with_structured_output` would not return the text that the model wrote.
    """

    retries_itself = True

    def __init__(self, chat: BaseChatModel, *, spec: str = "") -> None:
        """Wrap `chat`; its owner closes it."""
        self._chat = chat
        self._spec = spec or _spec_of(chat)
        self._fields = set(type(chat).model_fields)
        self._streams = True
        self._told: set[str] = set()

    def __repr__(self) -> str:
        return f"LangChainModel({self._spec!r})"

    @property
    def spec(self) -> str:
        """The name in records."""
        return self._spec

    async def complete(self, request: Request) -> Completion:
        """Answer `request`, with one invocation for each choice.

        Raises:
            ModelError: the chat model failed.
        """
        if request.score:
            raise CannotScore(f"{self._spec} serves no log-probabilities of a given text.")
        if request.continues:
            raise ModelError(f"{self._spec} cannot continue the beginning of an answer.")
        limit = asyncio.timeout(request.timeout_s)
        try:
            async with limit:
                answers = await at_once([self._one(request, index) for index in range(request.choices)])
        except TimeoutError:
            if limit.expired():
                raise DeadlineExceeded(f"{self._spec}: no answer within {request.timeout_s:g} s.") from None
            raise EndpointError(f"{self._spec} had no answer in its own time limit.", transient=True) from None
        completion = _completion([_answer_of(answer) for answer in answers], answers)
        if all(choice.finish_reason == "refusal" for choice in completion.choices):
            raise Refused(f"{self._spec} declined: {completion.text or 'it said nothing.'}")
        return completion

    async def aclose(self) -> None:
        """Leave the chat model open: it belongs to its owner."""

    async def _one(self, request: Request, index: int) -> AIMessage:
        asked = [one for message in request.messages for one in to_langchain(message)]
        try:
            chat = self._with_tools(request)
            streamed = request.on_text is not None and index == 0 and self._streams
            if streamed:
                return await self._streamed(chat, asked, request, self._options(request, index))
            answer = await chat.ainvoke(asked, **self._options(request, index))
        except (CriticLoopError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001  # every provider's package has errors of its own
            raise self._typed(error) from None
        if request.on_text is not None and index == 0:
            request.on_text(str(answer.text))
        return answer

    async def _streamed(
        self, chat: Any, asked: Sequence[BaseMessage], request: Request, options: Mapping[str, Any]
    ) -> AIMessage:
        whole: Any = None
        async for piece in chat.astream(asked, **options):
            whole = piece if whole is None else whole + piece
            if request.on_text is not None and str(piece.text):
                request.on_text(str(piece.text))
        if whole is None:
            raise EndpointError(f"{self._spec} streamed nothing.", transient=True)
        if not whole.usage_metadata:
            self._streams = False  # what is looked at must not change what is counted
            self._tell("streaming", "reports no usage when it streams: answers come whole from now on")
        return whole

    def _with_tools(self, request: Request) -> Any:
        if request.output is not None:
            self._tell("output", "is not made to follow a schema: the prompt alone asks for it")
        if not request.tools:
            return self._chat
        tools = [{"type": "function", "function": asdict(tool)} for tool in request.tools]
        try:
            return self._chat.bind_tools(tools)
        except NotImplementedError:
            raise ModelError(
                f"{self._spec} cannot call tools.", hint="Bind another model, or leave out tools."
            ) from None

    def _options(self, request: Request, index: int) -> dict[str, Any]:
        """Return the sampling that this class of chat model has fields for; all have `stop`."""
        sampling = request.sampling
        wanted = {name: getattr(sampling, name) for name in _SAMPLING}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        if "seed" in wanted:
            wanted["seed"] += index
        for name in sorted(wanted.keys() - self._fields):
            del wanted[name]
            self._tell(name, f"has no {name}, which is left out")
        return wanted | sampling.extra | ({"stop": list(sampling.stop)} if sampling.stop else {})

    def _tell(self, what: str, said: str) -> None:
        if what not in self._told:
            self._told.add(what)
            _log.log(logging.INFO if what == "seed" else logging.WARNING, "%s %s", self._spec, said)

    def _typed(self, error: Exception) -> ModelError:
        """Return an error of a provider's package as a `ModelError`, without secrets."""
        status, response = getattr(error, "status_code", None), getattr(error, "response", None)
        if isinstance(status, int) and response is not None:
            body, headers = getattr(response, "content", b""), getattr(response, "headers", {})
            said = self._without_secrets(body.decode(errors="replace")).encode()
            return failure(status, said, headers, endpoint=self._spec, key_env=_ITS_OWN)
        said = cleaned(self._without_secrets(f"{type(error).__name__}: {error}"), "")
        kinds = _kinds(error)
        broken = any(kind.endswith(_BROKEN) for kind in kinds)
        unclear = any(kind.endswith(_NO_CONNECTION) for kind in kinds)
        if kinds & _UNREACHED or (unclear and not broken):
            hint = "Check the chat model's address, and that the server is up."
            return Unreachable(f"{self._spec} cannot be reached ({said.rstrip('.')}).", hint=hint)
        return EndpointError(f"{self._spec} failed: {said}", transient=broken)

    def _without_secrets(self, text: str) -> str:
        for value in vars(self._chat).values():
            if isinstance(value, SecretStr) and value.get_secret_value():
                text = text.replace(value.get_secret_value(), "[key]")
        return text


def _kinds(error: BaseException | None) -> set[str]:
    """Return the names of an error's classes, and of those of its causes."""
    names: set[str] = set()
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        names |= {kind.__name__ for kind in type(error).__mro__}
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return names


def _spec_of(chat: BaseChatModel) -> str:
    named = next(
        (n for n in (getattr(chat, a, None) for a in ("model_name", "model")) if isinstance(n, str)), ""
    )
    return f"langchain:{type(chat).__name__}" + (f":{named}" if named else "")


# -- messages ----------------------------------------------------------------------------------


def to_langchain(message: Message) -> Iterator[BaseMessage]:
    """Yield a message as LangChain has it; each tool result becomes a message of its own."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    for part in results:
        status = "error" if part.is_error else "success"
        yield ToolMessage(
            _result_content(part), tool_call_id=part.call_id, name=part.name or None, status=status
        )
    if message.role == "tool" or (results and len(results) == len(message.parts)):
        return
    match message.role:
        case "system":
            yield SystemMessage(message.text)
        case "assistant":
            yield _assistant(message)
        case _:
            yield HumanMessage(_content(message))


def _assistant(message: Message) -> AIMessage:
    own = next((p.data for p in message.parts if isinstance(p, Opaque) and p.provider == PROVIDER), None)
    kept = cast("dict[str, Any]", own or {})
    calls = [
        {"type": "tool_call", "id": c.id, "name": c.name, "args": c.arguments or {}} for c in message.tool_calls
    ]
    return AIMessage(
        content=kept.get("content") or message.text,
        additional_kwargs=kept.get("additional_kwargs") or {},
        response_metadata=kept.get("response_metadata") or {},
        tool_calls=calls,
    )


def _content(message: Message) -> str | list[Any]:
    if not any(isinstance(part, Image | File) for part in message.parts):
        return message.text
    return [block for part in message.parts if (block := _block(part)) is not None]


def _result_content(result: ToolResult) -> str | list[Any]:
    if not result.blobs:
        return result.text
    return [block for part in result.parts if (block := _block(part)) is not None]


def _block(part: ContentPart) -> dict[str, Any] | None:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if not isinstance(part, Image | File):
        return None
    if part.data is None:
        raise ModelError(f"The bytes of the {part.type} {part.sha256[:12]} are not loaded.")
    encoded = base64.b64encode(part.data).decode()
    return {"type": part.type, "base64": encoded, "mime_type": part.media_type}


def _answer_of(answer: AIMessage) -> Choice:
    metadata: dict[str, Any] = answer.response_metadata
    said = str(answer.text) or str(answer.additional_kwargs.get("refusal") or "")
    parts = [*_thoughts(answer), *([Text(text=said)] if said else [])]
    parts += [*_calls(answer), *_own(answer)]
    message = Message(role="assistant", parts=tuple(parts), sampled=True)
    reason = next(
        (metadata[k] for k in ("finish_reason", "stop_reason", "done_reason") if metadata.get(k)), None
    )
    if answer.additional_kwargs.get("refusal"):
        reason = "refusal"
    entries = (metadata.get("logprobs") or {}).get("content")
    return Choice(
        message=message,
        finish_reason=_REASONS.get(str(reason), str(reason)) if reason else _implied(message),
        logprobs=None if entries is None else tuple(entry["logprob"] for entry in entries),
    )


def _implied(message: Message) -> str:
    return "tool_calls" if message.tool_calls else "stop"


def _thoughts(answer: AIMessage) -> Iterator[ContentPart]:
    for block in answer.content_blocks:
        if block["type"] == "reasoning" and (said := block.get("reasoning")):
            yield Reasoning(text=said)


def _calls(answer: AIMessage) -> Iterator[ContentPart]:
    for call in answer.tool_calls:
        text = orjson.dumps(call["args"]).decode()
        yield ToolCall(id=call["id"] or "", name=call["name"], arguments=call["args"], arguments_text=text)
    for call in answer.invalid_tool_calls:
        yield ToolCall(id=call["id"] or "", name=call["name"] or "", arguments_text=call["args"] or "")


def _own(answer: AIMessage) -> Iterator[ContentPart]:
    """Yield the parts that only the provider's package understands, to be sent back unchanged."""
    blocks = answer.content if isinstance(answer.content, list) else None
    beside = {key: value for key, value in answer.additional_kwargs.items() if value is not None}
    kept = {"content": blocks, "additional_kwargs": beside}
    kept = {key: value for key, value in kept.items() if value}
    if not kept:
        return
    provider = answer.response_metadata.get("model_provider")
    kept |= {"response_metadata": {"model_provider": provider}} if provider else {}
    try:
        data = cast("JsonValue", orjson.loads(orjson.dumps(kept)))
    except TypeError:
        return  # what is no JSON cannot be stored
    yield Opaque(provider=PROVIDER, data=data)


def _completion(choices: Sequence[Choice], answers: Sequence[AIMessage]) -> Completion:
    counted = [dict(answer.usage_metadata or {}) for answer in answers]
    metadata = answers[0].response_metadata
    return Completion(
        choices=tuple(choices),
        usage=sum((_usage(one) for one in counted), Usage()),
        raw_usage=added(counted),
        model=str(metadata.get("model_name") or metadata.get("model") or ""),
        request_id=str(metadata.get("id") or answers[0].id or ""),
    )


def _usage(counted: Mapping[str, Any]) -> Usage:
    return Usage(
        input_tokens=counted.get("input_tokens") or 0,
        cached_input_tokens=(counted.get("input_token_details") or {}).get("cache_read") or 0,
        output_tokens=counted.get("output_tokens") or 0,
        reasoning_tokens=(counted.get("output_token_details") or {}).get("reasoning") or 0,
    )
