"""A client for every server that speaks chat completions: OpenAI, vLLM, Ollama and many more.

Knows how a request travels and when an answer is none. Does not know the wire format (`models.wire`),
does not retry (`models.retry`), and keeps no key: it is read from the environment for each call.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import Field, JsonValue

from critic_loop.core.errors import ConfigError, DeadlineExceeded, ModelError, Refused
from critic_loop.core.protocols import Completion, Request
from critic_loop.models.failures import EndpointError, failure, hold_s, rejected_parameter
from critic_loop.models.prices import Tariff
from critic_loop.models.profiles import GENERIC, Profile
from critic_loop.models.stream import Assembly, Events
from critic_loop.models.wire import Json, from_wire, merge, to_wire

if TYPE_CHECKING:
    import httpx

    from critic_loop.models.connections import Connections

_log = logging.getLogger(__name__)

_DROPPABLE = (
    "temperature",
    "top_p",
    "seed",
    "stop",
    "logprobs",
    "return_token_ids",
    "stream",
    "stream_options",
)
"""Fields without which a request still makes sense when an endpoint does not know them."""
_CONNECT = {"connect": 10.0}
"""Time limits of httpx, in seconds."""
_SYNONYMS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


class ModelSettings(Tariff):
    """The longer settings of a model: a `[models.NAME]` table."""

    key_env: str | None = None
    """The environment variable that holds the key; None = the profile's."""
    timeout_s: float = Field(default=600.0, gt=0)
    """For one call, where the request does not say."""
    in_flight: int | None = Field(default=None, ge=1)
    """Most calls at once; None = as many as the endpoint turns out to take."""
    attempts: int = Field(default=8, ge=1)
    """Sends of one call before its error is raised; 1 = no retries."""
    extra: dict[str, JsonValue] = {}
    """Body fields for every request, below what its sampling says."""


class ChatModel:
    """A `Model` behind an address that speaks chat completions. Use `resolve` to make one from a spec."""

    def __init__(
        self,
        name: str,
        *,
        url: str = "",
        profile: Profile = GENERIC,
        settings: ModelSettings | None = None,
        spec: str = "",
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        """Name a model at an address; nothing is sent yet.

        Args:
            name: what the endpoint calls the model.
            url: the base address, usually ending in `/v1`; empty = the profile's.
            profile: what the endpoint can do.
            settings: key variable, time limit and extra fields.
            spec: the name in records; made from profile, name and address unless given.
            transport: makes another httpx transport for each event loop (tests, unusual networks).

        Raises:
            ConfigError: the address is no http(s) address, or holds a password.
        """
        self._name = name
        self._profile = profile
        self._settings = settings or ModelSettings()
        self._url = checked_url(url or profile.base_url)
        self._spec = spec or f"{profile.name}:{name}@{self._url}"
        self._transport = transport
        self._connections: Connections | None = None
        self._rejected: set[str] = set()
        self._many_choices = profile.many_choices

    def __repr__(self) -> str:
        return f"ChatModel({self._spec!r})"

    @property
    def spec(self) -> str:
        """The name in records."""
        return self._spec

    @property
    def key_env(self) -> str:
        """The environment variable from which the key is read; empty if there is none."""
        named = self._settings.key_env
        return self._profile.key_env if named is None else named

    @property
    def url(self) -> str:
        """The base address, as it is used."""
        return self._url

    @property
    def profile(self) -> Profile:
        """What the endpoint is taken to be able to do."""
        return self._profile

    @property
    def name(self) -> str:
        """What the endpoint calls the model."""
        return self._name

    async def served(self, *, timeout_s: float = 10.0) -> tuple[str, ...]:
        """Return the models that the endpoint lists (`GET /models`): it answers, and no prompt is sent.

        Raises:
            ModelError: nothing answers, or not with a list.
        """
        import httpx

        from critic_loop.models.connections import CONNECTION_ERRORS, connection_failure

        transport = await self._connected().transport()
        request = httpx.Request(
            "GET", f"{self._url}/models", headers=self._headers(), extensions={"timeout": _CONNECT}
        )
        try:
            async with asyncio.timeout(timeout_s):
                response = await transport.handle_async_request(request)
                try:
                    content = await response.aread()
                finally:
                    await response.aclose()
        except TimeoutError:
            raise DeadlineExceeded(
                f"{self._endpoint} did not list its models within {timeout_s:g} s."
            ) from None
        except CONNECTION_ERRORS as error:
            raise connection_failure(error, endpoint=self._endpoint) from error
        if response.status_code != 200:
            raise self._failed(response, content)
        listed = self._parsed(content, response).get("data")
        if not isinstance(listed, list):
            raise self._nonsense("no list of models")
        return tuple(str(one["id"]) for one in listed if isinstance(one, dict) and "id" in one)

    async def complete(self, request: Request) -> Completion:
        """Answer `request` with one HTTP request, or one for each choice where the endpoint cannot `n`.

        Raises:
            ModelError: one of its kinds; what it says names the endpoint and what to do.
        """
        timeout_s = self._settings.timeout_s if request.timeout_s is None else request.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return _unless_refused(await self._choices(request), self._endpoint)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{self._endpoint} did not answer within {timeout_s:g} s.",
                hint="Raise timeout_s, or ask for fewer tokens.",
            ) from None

    async def aclose(self) -> None:
        """Close the connections; a later call opens new ones."""
        if self._connections is not None:
            await self._connections.aclose()

    @property
    def _endpoint(self) -> str:
        return f"Model {self._name!r} at {self._url}"

    # -- choices -------------------------------------------------------------------------------

    async def _choices(self, request: Request) -> Completion:
        """Return exactly the choices asked for, whatever the endpoint makes of `n`."""
        if request.choices == 1:
            return await self._once(request)
        if not self._many_choices:
            return merge(await _all([self._once(one) for one in _single(request, range(request.choices))]))
        completion = await self._once(request)
        got = len(completion.choices)
        if got > request.choices:
            return replace(completion, choices=completion.choices[: request.choices])
        if got < request.choices:
            self._many_choices = False
            _log.warning("%s ignores n; each choice is now a request of its own", self._endpoint)
            rest = _single(replace(request, on_text=None), range(got, request.choices))
            return merge([completion, *await _all([self._once(one) for one in rest])])
        return completion

    async def _once(self, request: Request) -> Completion:
        """Send one HTTP request, or two where the endpoint turns out not to know an optional field."""
        body = self._body(request)
        while True:
            try:
                return await self._send(body, request)
            except _Rejected as rejected:
                if not self._learn(rejected.field, body):
                    raise rejected.error from None
                body = self._body(request)

    def _body(self, request: Request) -> Json:
        body = to_wire(request, name=self._name, profile=self._profile)
        if self._settings.extra:
            body = self._settings.extra | body
        for field in self._rejected & body.keys():
            value = body.pop(field)
            if field in _SYNONYMS:
                body[_SYNONYMS[field]] = value
        if "stream" not in body:
            body.pop("stream_options", None)
        return body

    def _learn(self, field: str, body: Json) -> bool:
        """Remember that the endpoint does not know `field`; return whether to do without it."""
        if field not in body or not (field in _DROPPABLE or field in _SYNONYMS):
            return False
        if _SYNONYMS.get(field) in self._rejected:
            return False
        self._rejected.add(field)
        instead = f"; {_SYNONYMS[field]} is sent instead" if field in _SYNONYMS else ""
        _log.warning("%s does not support %s, which is left out from now on%s", self._endpoint, field, instead)
        return True

    def _stop_streaming(self) -> None:
        """Ask for whole answers from now on: what is looked at must not change what is counted."""
        if "stream" not in self._rejected:
            self._rejected.add("stream")
            _log.warning("%s reports no usage when it streams: answers come whole from now on", self._endpoint)

    # -- transport -----------------------------------------------------------------------------

    async def _send(self, body: Json, request: Request) -> Completion:
        from critic_loop.models.connections import CONNECTION_ERRORS, connection_failure

        transport = await self._connected().transport()
        try:
            response = await transport.handle_async_request(self._http_request(body))
            try:
                return await self._read(response, request)
            finally:
                await response.aclose()
        except TimeoutError:
            raise
        except CONNECTION_ERRORS as error:
            raise connection_failure(error, endpoint=self._endpoint) from error

    async def _read(self, response: httpx.Response, request: Request) -> Completion:
        if response.status_code != 200:
            raise self._failed(response, await response.aread())
        if "event-stream" in response.headers.get("content-type", ""):
            answer = await self._assembled(response, request.on_text)
            if not answer.get("usage"):
                self._stop_streaming()
            return self._completion(answer, response)
        content = await response.aread()
        completion = self._completion(self._parsed(content, response), response)
        if request.on_text is not None:  # asked to stream, but did not
            request.on_text(completion.text)
        return completion

    def _parsed(self, content: bytes, response: httpx.Response) -> Json:
        try:
            answer = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise self._nonsense(f"not JSON ({error})") from error
        if not isinstance(answer, dict):
            raise self._nonsense("not a JSON object")
        if "choices" not in answer and "error" in answer:
            raise self._failed(response, content)
        return answer

    async def _assembled(self, response: httpx.Response, on_text: Callable[[str], None] | None) -> Json:
        events, assembly = Events(), Assembly()
        async for data in response.aiter_bytes():
            for event in events.feed(data):
                try:
                    piece = assembly.add(event)
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    raise self._nonsense(f"no chunk ({error})") from error
                if assembly.error is not None:
                    raise self._failed(response, assembly.error)
                if piece and on_text is not None:
                    on_text(piece)
        if not assembly.complete:
            raise EndpointError(f"{self._endpoint} broke off the stream.", transient=True)
        return assembly.body()

    def _completion(self, answer: Json, response: httpx.Response) -> Completion:
        request_id = response.headers.get("x-request-id", "")
        try:
            completion = from_wire(answer, profile=self._profile, request_id=request_id)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._nonsense(f"no chat completion ({type(error).__name__}: {error})") from error
        if not completion.choices:
            raise self._nonsense("a completion without choices")
        hold = hold_s(response.headers)
        return replace(completion, hold_s=hold) if hold else completion

    def _nonsense(self, what: str) -> EndpointError:
        return EndpointError(
            f"{self._endpoint} sent {what}.",
            hint="Check that the address is one of chat completions.",
            status=200,
            transient=True,
        )

    def _failed(self, response: httpx.Response, content: bytes) -> Exception:
        error = failure(
            response.status_code,
            content,
            response.headers,
            endpoint=self._endpoint,
            key_env=self.key_env,
            secret=self._key(),
        )
        field = rejected_parameter(content) if response.status_code == 400 else None
        return error if field is None else _Rejected(field, error)

    def _headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": "critic-loop",
        }
        if key := self._key():
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _http_request(self, body: Json) -> httpx.Request:
        import httpx

        content, extensions = orjson.dumps(body), {"timeout": _CONNECT}
        return httpx.Request(
            "POST", self._http_url, headers=self._headers(), content=content, extensions=extensions
        )

    def _connected(self) -> Connections:
        if self._connections is None:
            from critic_loop.models.connections import Connections, open_transport

            self._connections = Connections(self._transport or partial(open_transport, self._http_url))
        return self._connections

    @cached_property
    def _http_url(self) -> httpx.URL:
        import httpx

        return httpx.URL(f"{self._url}/chat/completions")

    def _key(self) -> str:
        return os.environ.get(self.key_env, "").strip() if self.key_env else ""


class _Rejected(Exception):
    """An endpoint does not know a field; never leaves this module."""

    def __init__(self, field: str, error: ModelError) -> None:
        super().__init__(field)
        self.field = field
        self.error = error


def checked_url(url: str) -> str:
    """Return a base address in one form, `/v1` added where there is no path.

    Raises:
        ConfigError: it is not an http(s) address, or holds what may be a secret.
    """
    from urllib.parse import urlsplit

    if set("@?#") & set(url):  # wherever it stands: a password may hold what ends a host
        raise ConfigError(
            "A model's address holds a user, a password or a query, which would end up in records.",
            hint="Put the key into an environment variable and name it as key_env in the model's settings.",
        )
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # its text may show what was typed for a port
        raise ConfigError(
            "A model's address has a host or a port that cannot be.", hint="Write http://host:port/v1."
        ) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{url!r} is not the address of a server.", hint="Write http://host:port/v1.")
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


def _single(request: Request, indices: range) -> list[Request]:
    """Return one request for each choice: only the first streams, and seeds differ."""
    return [
        replace(
            request,
            choices=1,
            on_text=request.on_text if index == 0 else None,
            sampling=_reseeded(request, index),
        )
        for index in indices
    ]


def _reseeded(request: Request, index: int) -> Any:
    seed = request.sampling.seed
    return request.sampling if seed is None else request.sampling.model_copy(update={"seed": seed + index})


async def _all(calls: Sequence[Any]) -> list[Completion]:
    """Run calls at once; the first failure cancels the others."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _unless_refused(completion: Completion, endpoint: str) -> Completion:
    """Return the completion unless every choice is a refusal or was filtered away."""
    for choice in completion.choices:
        filtered = choice.finish_reason == "content_filter" and not choice.message.text
        if choice.finish_reason != "refusal" and not filtered:
            return completion
    said = completion.choices[0].message.text or "its filter removed the answer"
    raise Refused(f"{endpoint} declined: {said}", hint="Change the prompt, or bind another model.")
