"""A client for every server with chat completions or Anthropic's Messages.

Knows how a request is sent: which choices, which fields an endpoint turned out to reject, when an answer is
unusable. Does not know the wire formats (`models.wire`) or connections (`models.transport`), and does not retry
(`wrappers.retry`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from critic_loop.core.errors import (
    CannotScore,
    DeadlineExceeded,
    EndpointError,
    ModelError,
    NoSuchModel,
    Refused,
)
from critic_loop.core.protocols import Completion, Request
from critic_loop.models.client.scoring import scored
from critic_loop.models.client.settings import ModelSettings
from critic_loop.models.transport.endpoint import Endpoint, at_once
from critic_loop.models.transport.failures import hold_s, rejected_parameter
from critic_loop.models.wire.common import Json, laid_over, merge, single_requests
from critic_loop.models.wire.dialects import DIALECTS
from critic_loop.models.wire.model_list import ListedModel, found, listed, offer
from critic_loop.models.wire.profiles import GENERIC, Profile
from critic_loop.models.wire.stream import Events

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger(__name__)

_SYNONYMS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_LIST_S = 5.0
"""How long a list of models may take where it only explains an error."""
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)
"""What is raised by reading a body that is not in the format."""


class ChatModel:
    """A `Model` behind an address. Use `resolve` to make one from a spec."""

    def __init__(
        self,
        name: str,
        *,
        url: str = "",
        profile: Profile = GENERIC,
        settings: ModelSettings | None = None,
        spec: str = "",
        key: Callable[[], str] | None = None,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        """Name a model at an address; nothing is sent yet.

        Args:
            name: what the endpoint calls the model.
            url: the base address, usually ending in `/v1`; empty = the profile's.
            profile: what the endpoint can do, and its wire format.
            settings: key variable, time limit and extra fields.
            spec: the name in records; made from profile, name and address unless given.
            key: the key of a server that was started here; None = what the key variable holds.
            transport: makes another httpx transport for each event loop (tests, unusual networks).

        Raises:
            ConfigError: the address is no http(s) address, or holds a password.
        """
        self._name = name
        self._profile = profile
        self._settings = settings or ModelSettings()
        self._dialect = DIALECTS[profile.dialect]
        named = self._settings.key_env
        self._endpoint = Endpoint(
            url or profile.base_url,
            model=name,
            key_env=profile.key_env if named is None else named,
            headers=self._dialect.headers,
            key=key,
            transport=transport,
        )
        self._spec = spec or f"{profile.name}:{name}@{self._endpoint.url}"
        self._rejected: set[str] = set()
        self._warned: set[str] = set()

    def __repr__(self) -> str:
        return f"ChatModel({self._spec!r})"

    @property
    def spec(self) -> str:
        """The name in records."""
        return self._spec

    @property
    def key_env(self) -> str:
        """The environment variable from which the key is read; empty if there is none."""
        return self._endpoint.key_env

    @property
    def url(self) -> str:
        """The base address, as it is used."""
        return self._endpoint.url

    @property
    def profile(self) -> Profile:
        """What the endpoint is taken to be able to do; less than at first where it turned out so."""
        return self._profile

    @property
    def name(self) -> str:
        """What the endpoint calls the model."""
        return self._name

    async def served(self, *, timeout_s: float = 10.0) -> tuple[ListedModel, ...]:
        """Return the models that the endpoint lists (`GET /models`): it answers, and no prompt is sent.

        Raises:
            ModelError: nothing answers, or not with a list.
        """
        found = listed(await self._endpoint.get(self._dialect.models, timeout_s=timeout_s))
        if found is None:
            raise self._endpoint.malformed("no list of models")
        return found

    def sends(self, request: Request) -> int:
        """Return how many HTTP requests of one call are under way at once."""
        if request.score:
            return len(request.score) if self._profile.prompt_logprobs else 1
        return 1 if self._profile.many_choices else request.choices

    async def complete(self, request: Request) -> Completion:
        """Answer `request` with one HTTP request, or one for each choice where the endpoint cannot `n`.

        Raises:
            ModelError: one of its kinds; its message names the endpoint and what to do.
        """
        if request.continues and not self._profile.continues:
            raise ModelError(
                f"{self._spec} cannot continue the beginning of an answer.",
                hint="Give the actor's prompt a block 'next' that asks for the next step, as actor/step does.",
            )
        if request.score and not self._profile.prompt_logprobs and "logprobs" in self._profile.lacks:
            raise CannotScore(
                f"{self._endpoint} serves no log-probabilities of a given text.",
                hint="Bind a vLLM server; `critic-loop models probe SPEC` says what an endpoint can do.",
            )
        try:
            if request.score:
                completion = await self.scored(request, self._profile)
            else:
                async with self._deadline(request.timeout_s):
                    completion = _unless_refused(await self._choices(request), self._endpoint)
        except NoSuchModel as error:
            error.hint = await self._other_names() or error.hint
            raise
        version = completion.weight_version or self._settings.weight_version
        return replace(completion, weight_version=version)

    async def _other_names(self) -> str:
        """Return which models there are, if they are listed and this one is not among them."""
        try:
            served = await self.served(timeout_s=_LIST_S)
        except ModelError:
            return ""
        if not served or found(self._name, served) is not None:
            return ""
        return f"It serves {offer(self._name, served)}."

    async def scored(self, request: Request, profile: Profile) -> Completion:
        """Answer a request to score in the way that `profile` allows.

        Raises:
            ModelError: the endpoint failed, or served no log-probabilities.
        """
        post = partial(self._endpoint.post, self._dialect.path, read=self._whole)
        extra = self._settings.extra
        try:
            async with self._deadline(request.timeout_s):
                return await scored(request, post, name=self._name, profile=profile, extra=extra)
        except _UNREADABLE as error:
            raise self._endpoint.malformed(f"no log-probabilities ({type(error).__name__}: {error})") from error

    async def ask(self, request: Request, *, profile: Profile, fields: Json, timeout_s: float) -> Json:
        """Send a request as `profile` has it, with further fields, and return the answer's body: for probes.

        Raises:
            ModelError: the endpoint failed, or refused a field.
        """
        body = self._body(request, profile) | fields
        async with self._deadline(timeout_s):
            return await self._endpoint.post(self._dialect.path, body, self._whole)

    @asynccontextmanager
    async def _deadline(self, timeout_s: float | None) -> AsyncGenerator[None]:
        timeout_s = self._settings.timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except TimeoutError:
            raise DeadlineExceeded(
                f"{self._endpoint} did not answer within {timeout_s:g} s.",
                hint="Raise timeout_s, or ask for fewer tokens.",
            ) from None

    async def aclose(self) -> None:
        """Close the connections; a later call opens new ones."""
        await self._endpoint.aclose()

    # -- choices -------------------------------------------------------------------------------

    async def _choices(self, request: Request) -> Completion:
        """Return exactly the choices asked for, whatever the endpoint makes of `n`."""
        if request.choices == 1:
            return await self._once(request)
        if not self._profile.many_choices:
            return merge(
                await at_once([self._once(one) for one in single_requests(request, range(request.choices))])
            )
        completion = await self._once(request)
        got = len(completion.choices)
        if got > request.choices:
            return replace(completion, choices=completion.choices[: request.choices])
        if got < request.choices:
            self._profile = replace(self._profile, many_choices=False)
            _log.warning("%s ignores n; each choice is now a request of its own", self._endpoint)
            rest = single_requests(replace(request, on_text=None), range(got, request.choices))
            return merge([completion, *await at_once([self._once(one) for one in rest])])
        return completion

    async def _once(self, request: Request) -> Completion:
        """Send one HTTP request, or more where the endpoint turns out not to know an optional field."""
        body = self._body(request, self._profile)
        while True:
            try:
                completion = await self._endpoint.post(self._dialect.path, body, partial(self._read, request))
            except _Rejected as rejected:
                learnt = self._learn(rejected.field, body)
                less = self._body(request, self._profile)
                if not learnt or less == body:  # what the settings' extra asks for stays in
                    raise rejected.error from None
                body = less
            else:
                self._warn_of_missing(request, body, completion)
                return completion

    # -- what the endpoint lacks -----------------------------------------------------------

    def _body(self, request: Request, profile: Profile) -> Json:
        body = self._dialect.request(request, name=self._name, profile=profile)
        if under := self._dialect.wanted | self._settings.extra:
            body = laid_over(under, body)
        for field in self._rejected & body.keys():
            value = body.pop(field)
            if field in _SYNONYMS:
                body[_SYNONYMS[field]] = value
        if "stream" not in body:
            body.pop("stream_options", None)
        return body

    def _learn(self, field: str, body: Json) -> bool:
        """Remember that the endpoint does not know `field`; return whether to do without it."""
        if field not in body or field not in self._dialect.optional or _SYNONYMS.get(field) in self._rejected:
            return False
        if field == self._dialect.output_field:
            self._loosen(body[field])
            return True
        if field in self._rejected:
            return True  # a call at the same time was quicker to learn it
        self._rejected.add(field)
        instead = f"; {_SYNONYMS[field]} is sent instead" if field in _SYNONYMS else ""
        _log.warning("%s does not support %s, which is left out from now on%s", self._endpoint, field, instead)
        return True

    def _loosen(self, asked: Json) -> None:
        """Ask for an output in a weaker form from now on; the parser still decides what fits."""
        if asked.get("type", "json_schema") != self._profile.output:
            return  # a call at the same time was quicker to learn it
        weaker = "json_object" if asked.get("type") == "json_schema" else None
        self._profile = replace(self._profile, output=weaker)
        instead = "it is asked for any JSON" if weaker else "only the prompt asks for it"
        _log.warning("%s cannot enforce a schema: %s from now on", self._endpoint, instead)

    def _warn_of_missing(self, request: Request, body: Json, completion: Completion) -> None:
        """Log, once each, what the request asked for and the endpoint left out without an error."""
        lacks = self._profile.lacks
        if request.sampling.logprobs and completion.choices[0].logprobs is None:
            self._warn_once("serves no log-probabilities: answers are recorded without them")
        if request.output is not None and self._profile.output and self._dialect.output_field not in body:
            self._warn_once(f"cannot enforce the schema {request.output.name!r}: only the prompt asks for it")
        if not lacks:
            return
        if request.tools and "tools" in lacks:
            self._warn_once("supports no tools according to a probe, and is sent some")
        if request.sampling.seed is not None and "seed" in lacks:
            self._warn_once("takes no seeds: the same call may be answered differently", logging.INFO)

    def _warn_once(self, what: str, level: int = logging.WARNING) -> None:
        if what not in self._warned:
            self._warned.add(what)
            _log.log(level, "%s %s", self._endpoint, what)

    # -- answers -------------------------------------------------------------------------------

    async def _read(self, request: Request, response: httpx.Response) -> Completion:
        if response.status_code != 200:
            raise self._failed(response, await response.aread())
        if "event-stream" in response.headers.get("content-type", ""):
            answer = await self._assembled(response, request.on_text)
            if not answer.get("usage"):
                self._stop_streaming()
            return self._completion(answer, response)
        completion = self._completion(self._endpoint.parsed(await response.aread(), response), response)
        if request.on_text is not None:  # asked to stream, but did not
            request.on_text(completion.text)
        return completion

    async def _whole(self, response: httpx.Response) -> Json:
        content = await response.aread()
        if response.status_code != 200:
            raise self._endpoint.failed(response, content)
        return self._endpoint.parsed(content, response)

    def _stop_streaming(self) -> None:
        """Ask for whole answers from now on: watching a call must not change its recorded usage."""
        if "stream" not in self._rejected:
            self._rejected.add("stream")
            _log.warning("%s reports no usage when it streams: answers come whole from now on", self._endpoint)

    async def _assembled(self, response: httpx.Response, on_text: Callable[[str], None] | None) -> Json:
        events, assembly = Events(), self._dialect.assembly()
        async for data in response.aiter_bytes():
            for event in events.feed(data):
                try:
                    piece = assembly.add(event)
                except _UNREADABLE as error:
                    raise self._endpoint.malformed(f"no chunk ({error})") from error
                if assembly.error is not None:
                    raise self._failed(response, assembly.error)
                if piece and on_text is not None:
                    on_text(piece)
        if not assembly.complete:
            raise EndpointError(f"{self._endpoint} broke off the stream.", transient=True)
        return assembly.body()

    def _completion(self, answer: Json, response: httpx.Response) -> Completion:
        request_id = response.headers.get(self._dialect.request_id, "")
        try:
            completion = self._dialect.answer(answer, profile=self._profile, request_id=request_id)
        except _UNREADABLE as error:
            what = f"no answer that can be read ({type(error).__name__}: {error})"
            raise self._endpoint.malformed(what) from error
        if not completion.choices:
            raise self._endpoint.malformed("a completion without choices")
        hold = hold_s(response.headers)
        return replace(completion, hold_s=hold) if hold else completion

    def _failed(self, response: httpx.Response, content: bytes) -> Exception:
        error = self._endpoint.failed(response, content)
        if response.status_code != 400:
            return error
        field = rejected_parameter(content, self._dialect.optional, self._dialect.output_field)
        return error if field is None else _Rejected(field, error)


class _Rejected(Exception):
    """An endpoint does not know a field; never leaves this module."""

    def __init__(self, field: str, error: ModelError) -> None:
        super().__init__(field)
        self.field = field
        self.error = error


def _unless_refused(completion: Completion, endpoint: Endpoint) -> Completion:
    """Return the completion unless every choice is a refusal or was filtered away."""
    for choice in completion.choices:
        filtered = choice.finish_reason == "content_filter" and not choice.message.text
        if choice.finish_reason != "refusal" and not filtered:
            return completion
    said = completion.choices[0].message.text or "its filter removed the answer"
    raise Refused(f"{endpoint} declined: {said}", hint="Change the prompt, or bind another model.")
