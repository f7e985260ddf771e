"""A model server on loopback with scripted replies, and with the failures of real servers.

It serves `/v1/chat/completions` as OpenAI and vLLM do, and `/v1/messages` as Anthropic does.

    async with TestServer(["first reply", Fault("rate_limit", retry_after_s=0.1), "second"]) as server:
        model = resolve(f"chat:test@{server.url}")

As a process, where replies are a function of the request's content:

    python -m critic_loop.testing.server --port 0 --delay-ms 50 --reply-bytes 4096 --log requests.jsonl

Knows the requests, and which reply or fault is next. HTTP responses are in `testing.answers`. Shares no code
with the clients in `models`.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import inspect
import os
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

import orjson
from aiohttp import web

from critic_loop.core.messages import Message
from critic_loop.serving.answer import Body
from critic_loop.testing.answers import (
    CHAT,
    MESSAGES,
    Answering,
    Fault,
    Format,
    error_response,
    json_response,
)
from critic_loop.testing.chat_replies import Reply, content_digest, reply_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request that the server received."""

    number: int
    """The number among all requests for completions, from 1."""
    body: Body
    headers: Mapping[str, str]
    digest: str
    """Hash of the content; equal requests have equal digests."""

    @property
    def text(self) -> str:
        """The text of the last message, without its other parts."""
        content = self.body["messages"][-1].get("content") or ""
        return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


Given: TypeAlias = str | Message | Reply | Fault | Sequence[str | Message | Reply]
"""A reply for all choices, a sequence with a reply for each, or a fault."""
Handler: TypeAlias = Callable[[Received], Given | Awaitable[Given]]
FaultPlan: TypeAlias = Sequence[Fault | None] | Callable[[Received], Fault | None]


@dataclass(slots=True)
class Log:
    """The received requests, in memory and in a file that is complete even if the server is killed."""

    path: Path | None = None
    requests: list[Received] = field(default_factory=list["Received"])
    counts: Counter[str] = field(default_factory=Counter[str])
    """The number of requests by digest."""
    _file: int | None = None

    def arrived(self, received: Received) -> None:
        """Log a request before it is processed."""
        self.requests.append(received)
        self.counts[received.digest] += 1
        self._write("arrived", received)

    def ended(self, received: Received, how: str) -> None:
        """Log how a request ended: `completed`, `fault:KIND`, `refused` or `dropped` (by the client)."""
        self._write(how, received)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, event: str, received: Received) -> None:
        if self.path is None:
            return
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        line = {"event": event, "number": received.number, "digest": received.digest, "at": time.time()}
        os.write(self._file, orjson.dumps(line) + b"\n")


class TestServer:
    """The server, in process: an async context manager with a `url`.

    A list of replies is used in the order of arrival, one reply per choice. Faults are given among the replies,
    in `faults` (one entry per request, None = no fault; or a function), in the header `X-Fault`, or by
    `POST /faults {"kind", "times", "retry_after_s"}`.
    """

    __test__ = False  # pytest: not a test class

    def __init__(
        self,
        replies: Sequence[Given] | Handler | None = None,
        *,
        key: str | None = None,
        faults: FaultPlan = (),
        delay_s: float = 0.0,
        capacity: int | None = None,
        reply_bytes: int = 64,
        log: str | Path | None = None,
        models: Sequence[str | Mapping[str, Any]] = ("test",),
        port: int = 0,
    ) -> None:
        """Prepare the server.

        Args:
            replies: a list, a function of the request, or None for replies hashed from the request.
            key: the bearer token or `x-api-key` that requests must have; None = none.
            faults: a list with one entry per request, or a function of the request.
            delay_s: the delay of each response, in seconds.
            capacity: the largest number of requests in flight; others are rejected with status 429.
            reply_bytes: the size of hashed replies.
            log: a file to which requests are appended.
            models: the models of `/v1/models`: names, or entries with further fields.
            port: the port; 0 = a free one.
        """
        self._handler = replies if callable(replies) else None
        self._script = None if replies is None or callable(replies) else deque(replies)
        self._fault_for = faults if callable(faults) else None
        self._faults: deque[Fault | None] = deque() if callable(faults) else deque(faults)
        self._key = key
        self._delay_s = delay_s
        self._capacity = capacity
        self._working = 0
        self._reply_bytes = reply_bytes
        self._models = tuple(models)
        self._port = port
        self._runner: web.AppRunner | None = None
        self.log = Log(Path(log) if log else None)

    @property
    def url(self) -> str:
        """The base URL, ending with `/v1`."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def requests(self) -> list[Received]:
        """The requests for completions, in the order of arrival."""
        return self.log.requests

    async def start(self) -> None:
        """Listen on loopback."""
        app = web.Application(client_max_size=256 * 1024**2)
        app.router.add_post("/v1/chat/completions", partial(self._completions, CHAT))
        app.router.add_post("/v1/messages", partial(self._completions, MESSAGES))
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_post("/faults", self._add_faults)
        app.router.add_delete("/faults", self._clear_faults)
        app.router.add_get("/counts", self._counts)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        self._runner = runner
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port, backlog=4096).start()
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection and the log."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self.log.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # -- endpoints -----------------------------------------------------------------------------

    async def _completions(self, form: Format, request: web.Request) -> web.StreamResponse:
        if (refusal := self._unauthorised(form, request)) is not None:
            return refusal
        received = await self._received(request)
        self.log.arrived(received)
        answering = Answering(form, request, received.body, received.number)
        how = "dropped"
        full = self._capacity is not None and self._working >= self._capacity
        self._working += not full
        try:
            if self._delay_s and not full:
                await asyncio.sleep(self._delay_s)
            if (wrong := form.wrong(received.body, received.headers)) is not None:
                how = "refused"
                return json_response(wrong, 400)
            given = Fault("rate_limit") if full else self._fault(received) or await self._given(form, received)
            if isinstance(given, Fault):
                response = await answering.fault(given)
                how = f"fault:{given.kind}"
                return response
            response = await answering.success(given)
            how = "completed"
            return response
        finally:
            self._working -= not full
            self.log.ended(received, how)

    async def _received(self, request: web.Request) -> Received:
        body = orjson.loads(await request.read())
        return Received(
            number=len(self.log.requests) + 1,
            body=body,
            headers=dict(request.headers),
            digest=content_digest(body),
        )

    def _unauthorised(self, form: Format, request: web.Request) -> web.Response | None:
        if self._key is None:
            return None
        given = form.key_in(request.headers)
        if hmac.compare_digest(given.encode(), self._key.encode()):
            return None
        return error_response(form, Fault("auth"), given)

    def _fault(self, received: Received) -> Fault | None:
        header = received.headers.get("X-Fault")
        if header:
            return Fault.parse(header)
        if self._fault_for is not None:
            return self._fault_for(received)
        return self._faults.popleft() if self._faults else None

    async def _given(self, form: Format, received: Received) -> Fault | list[Reply]:
        wanted = form.choices(received.body)
        if self._handler is not None:
            given = self._handler(received)
            given = await given if inspect.isawaitable(given) else given
        elif self._script is not None:
            given = _take(self._script, wanted)
        else:
            return form.replies(received.body, self._reply_bytes)
        if isinstance(given, Fault):
            return given
        if isinstance(given, str | Message | Reply):
            given = [given] * wanted
        return [reply_of(one) for one in given]

    async def _list_models(self, request: web.Request) -> web.Response:
        form = MESSAGES if "anthropic-version" in request.headers else CHAT
        if (refusal := self._unauthorised(form, request)) is not None:
            return refusal
        usual = {"object": "model", "created": 0, "owned_by": "test"}
        listed = [usual | ({"id": one} if isinstance(one, str) else dict(one)) for one in self._models]
        return json_response({"object": "list", "data": listed})

    async def _add_faults(self, request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())
        fault = replace(Fault.parse(asked["kind"]), retry_after_s=asked.get("retry_after_s"))
        self._faults.extend([fault] * int(asked.get("times", 1)))
        return json_response({"planned": len(self._faults)})

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self._faults.clear()
        return json_response({"planned": 0})

    async def _counts(self, _: web.Request) -> web.Response:
        return json_response({"requests": len(self.log.requests), "counts": dict(self.log.counts)})


def _take(script: deque[Given], wanted: int) -> Given:
    """Remove the next reply from a script and return it; one per choice, unless it is a fault or a sequence."""
    if not script:
        return Fault("server_error")
    first = script.popleft()
    if wanted == 1 or not isinstance(first, str | Message | Reply):
        return first
    rest = [script.popleft() for _ in range(min(wanted - 1, len(script)))]
    return [first, *cast("list[str | Message | Reply]", rest)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the server until it is interrupted; the first line of its output is its URL."""
    parser = argparse.ArgumentParser(prog="python -m critic_loop.testing.server", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--capacity", type=int, help="most requests in flight; others get status 429")
    parser.add_argument("--reply-bytes", type=int, default=64)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--key", help="bearer token that requests must have")
    parser.add_argument("--model", action="append", help="name of a model in /v1/models")
    given = parser.parse_args(arguments)
    server = TestServer(
        key=given.key,
        delay_s=given.delay_ms / 1000,
        capacity=given.capacity,
        reply_bytes=given.reply_bytes,
        log=given.log,
        models=given.model or ["test"],
        port=given.port,
    )
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(server))


async def _serve(server: TestServer) -> None:
    async with server:
        print(server.url, flush=True)  # noqa: T201  # the command's output
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
