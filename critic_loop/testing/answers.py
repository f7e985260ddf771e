"""HTTP responses and faults of the test server, for both of its wire formats.

Knows HTTP and the faults. The bodies are built in `testing.chat_replies` and `testing.messages_replies`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias, cast, get_args

import orjson
from aiohttp import web

from critic_loop.serving.answer import Body
from critic_loop.serving.messages_responses import message_error
from critic_loop.testing import messages_replies as messages
from critic_loop.testing.chat_replies import (
    Reply,
    chat_error_body,
    completion_body,
    completion_chunks,
    hashed_replies,
)

FaultKind = Literal[
    "auth", "bad_request", "broken_json", "content_filter", "context", "credit", "cut", "drop", "empty",
    "error_in_200", "forbidden", "hang", "quota", "rate_limit", "refusal", "server_error", "slow",
    "unavailable", "unknown_model",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure of the server.

    `bad_request` rejects the request as invalid, as a chat template that refuses the conversation does. `cut`
    closes the connection in the middle of the body and `drop` before the response. `slow` sends the body in
    small pieces, `hang` sends nothing. `credit` is an account without credit and `quota` one that reached its
    limit, with the statuses of each format. `empty` has no choices. `error_in_200` is an error body with status
    200.
    """

    kind: FaultKind
    retry_after_s: float | None = None
    """Sent as a Retry-After header with `rate_limit` and `unavailable`."""
    pause_s: float = 0.02
    """Seconds between the pieces of a `slow` body."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the fault in a header, such as `rate_limit` or `rate_limit;0.5` (Retry-After in seconds).

        Raises:
            ValueError: the kind is unknown.
        """
        kind, _, retry_after = text.partition(";")
        if kind not in get_args(FaultKind):
            raise ValueError(f"unknown fault {kind!r}: write one of {', '.join(get_args(FaultKind))}")
        return cls(cast("FaultKind", kind), float(retry_after) if retry_after else None)


Headers: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A wire format on the server's side."""

    key_in: Callable[[Headers], str]
    """Returns the API key in a request's headers."""
    choices: Callable[[Body], int]
    """Returns the number of choices that a request asks for."""
    replies: Callable[[Body, int], list[Reply]]
    """Returns replies that are a function of the request, of this size in bytes."""
    body: Callable[[Body, Sequence[Reply], int], Body]
    stream: Callable[[Body, Sequence[Reply], int], list[bytes]]
    error: Callable[[str, str], tuple[int, Body]]
    """Returns status and body for a fault's kind and the API key."""
    wrong: Callable[[Body, Headers], Body | None]
    """Returns the error body for a request that a real endpoint would reject; None if it is valid."""
    request_id: str
    """The header with the response's id."""


def _bearer(headers: Headers) -> str:
    return headers.get("Authorization", "").removeprefix("Bearer ")


def _chat_stream(body: Body, replies: Sequence[Reply], number: int) -> list[bytes]:
    chunks = completion_chunks(body, replies, number=number)
    return [*(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks), b"data: [DONE]\n\n"]


def _event(event: Body) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode(), orjson.dumps(event))


def _message_stream(body: Body, replies: Sequence[Reply], number: int) -> list[bytes]:
    return [_event(event) for event in messages.message_events(body, replies[0], number=number)]


def _message_body(body: Body, replies: Sequence[Reply], number: int) -> Body:
    return messages.message_body(body, replies[0], number=number) if replies else {"type": "message"}


def _never_wrong(body: Body, headers: Headers) -> None:
    """Accept every request."""


def _wrong_message(body: Body, headers: Headers) -> Body | None:
    problem = messages.wrong_request(body, headers)
    if problem is None:
        return None
    return message_error(problem, kind="invalid_request_error", request_id="req_test")


CHAT = Format(
    key_in=_bearer,
    choices=lambda body: int(body.get("n") or 1),
    replies=lambda body, size: hashed_replies(body, reply_bytes=size),
    body=lambda body, replies, number: completion_body(body, replies, number=number),
    stream=_chat_stream,
    error=chat_error_body,
    wrong=_never_wrong,
    request_id="x-request-id",
)
MESSAGES = Format(
    key_in=lambda headers: headers.get("X-Api-Key") or _bearer(headers),
    choices=lambda _: 1,
    replies=lambda body, size: hashed_replies(messages.as_chat(body), reply_bytes=size),
    body=_message_body,
    stream=_message_stream,
    error=messages.error_body,
    wrong=_wrong_message,
    request_id="request-id",
)


@dataclass(frozen=True, slots=True)
class Answering:
    """One request, and the methods that respond to it."""

    form: Format
    request: web.Request
    body: Body
    number: int

    async def success(self, replies: Sequence[Reply], *, fault: Fault | None = None) -> web.StreamResponse:
        """Send replies, whole or as a stream, with the fault `cut` or `slow` if given."""
        if self.body.get("stream"):
            events = self.form.stream(self.body, replies, self.number)
            return await self._pieces(events, fault, "text/event-stream")
        payload = orjson.dumps(self.form.body(self.body, replies, self.number))
        if fault is None:
            headers = {self.form.request_id: f"req-{self.number}"}
            return web.Response(body=payload, content_type="application/json", headers=headers)
        size = max(1, len(payload) // 8)
        pieces = [payload[start : start + size] for start in range(0, len(payload), size)]
        return await self._pieces(pieces, fault, "application/json")

    async def _pieces(
        self, pieces: Sequence[bytes], fault: Fault | None, content_type: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        if fault is not None and fault.kind == "cut":
            response.content_length = sum(map(len, pieces))
        await response.prepare(self.request)
        for index, piece in enumerate(pieces):
            if fault is not None and fault.kind == "cut" and index == len(pieces) // 2:
                self._abort()
                return response
            if fault is not None and fault.kind == "slow":
                await asyncio.sleep(fault.pause_s)
            await response.write(piece)
        with suppress(ConnectionError):
            await response.write_eof()
        return response

    async def fault(self, fault: Fault) -> web.StreamResponse:  # noqa: PLR0911  # one return for each kind
        """Send a fault."""
        match fault.kind:
            case "cut" | "slow":
                return await self.success(self.form.replies(self.body, 256), fault=fault)
            case "drop":
                self._abort()
                return web.Response()
            case "hang":
                await asyncio.sleep(3600)
                return web.Response()
            case "refusal":
                refusal = Reply(refusal="I cannot help with that.")
                return await self.success([refusal] * self.form.choices(self.body))
            case "broken_json":
                return web.Response(body=b'{"choices": [{"mess', content_type="application/json")
            case "empty":
                return json_response(self.form.body(self.body, [], self.number))
            case _:
                return error_response(self.form, fault, self.form.key_in(self.request.headers))

    def _abort(self) -> None:
        if self.request.transport is not None:
            self.request.transport.abort()


def error_response(form: Format, fault: Fault, key: str) -> web.Response:
    """Return the response of a fault that is a status and a body."""
    status, body = form.error(fault.kind, key)
    response = json_response(body, status)
    if fault.retry_after_s is not None:
        response.headers["Retry-After"] = f"{fault.retry_after_s:g}"
    return response


def json_response(content: Any, status: int = 200) -> web.Response:
    """Return a JSON response."""
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")
