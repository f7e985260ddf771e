"""A provider whose models are behind addresses: `BACKEND:NAME@URL`, or `@URL,URL` for replicas.

Knows addresses, keys, and what is wrapped around a client. Does not know any provider: each is a module of its
own with a profile (`wire.profiles`), and nothing is sent to a server that the user did not name.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from critic_loop.core.errors import ConfigError
from critic_loop.core.printable import without_secrets
from critic_loop.core.protocols import Model
from critic_loop.models.client.chat import ChatModel
from critic_loop.models.client.findings import with_findings
from critic_loop.models.client.settings import ModelSettings
from critic_loop.models.providers.provider import ProbeTarget, name_and_url, refuse_engine, refuse_serve
from critic_loop.models.transport.endpoint import checked_url
from critic_loop.models.transport.keys import key_of
from critic_loop.models.transport.window import window_of
from critic_loop.models.wire.profiles import Profile
from critic_loop.models.wrappers.limit import Limited
from critic_loop.models.wrappers.pool import Pool
from critic_loop.models.wrappers.prices import Priced
from critic_loop.models.wrappers.retry import Retrying, RetryPolicy


@dataclass(frozen=True, kw_only=True)
class HttpProvider:
    """The models of one backend behind addresses."""

    profile: Profile
    form: str
    """How its specs are written."""
    url_env: str = ""
    """The environment variable of its own tools with an address; empty = there is none."""
    read_url: Callable[[str], str] = str
    """Turns the variable's value, without a slash at its end, into a base address of this package's form."""

    def model(self, rest: str, settings: ModelSettings) -> Model:
        """Return the model at an address, or at each of several."""
        spec = f"{self.profile.name}:{rest}"
        refuse_serve(spec, settings)
        refuse_engine(spec, settings)
        clients = [self._client(one, settings) for one in _replicas(rest)]
        models = [retrying(limited(client, settings), settings) for client in clients]
        return priced(models[0] if len(models) == 1 else Pool(models, spec=spec), settings)

    def client(self, rest: str, settings: ModelSettings, *, known: bool = True) -> ChatModel | None:
        """Return the client of one endpoint; None if `rest` names several."""
        return None if len(_replicas(rest)) > 1 else self._client(rest, settings, known=known)

    def probe_targets(self, rest: str, settings: ModelSettings) -> list[ProbeTarget]:
        """Return each endpoint that `rest` names."""
        clients = [self._client(one, settings, known=False) for one in _replicas(rest)]
        return [
            ProbeTarget(
                backend=self.profile.name, name=client.name, place=client.url, opened=partial(_opened, client)
            )
            for client in clients
        ]

    def base_model(self, rest: str) -> str:
        """Return the base model of an adapter that `rest` names; empty if it names none."""
        return name_and_url(rest)[0].rpartition("+")[0] if self.profile.adapters else ""

    def _client(self, rest: str, settings: ModelSettings, *, known: bool = True) -> ChatModel:
        """Return the client of NAME or NAME@URL.

        An address that the user named, in the spec or in a variable, is part of the recorded spec.
        """
        profile = self.profile
        name, given = name_and_url(rest)
        url = given or self._url_from_environment()
        if not (url or profile.base_url):
            raise ConfigError(
                f"{without_secrets(f'{profile.name}:{rest}')!r} has no address.",
                hint=f"Write {self.form}.",
            )
        spec = f"{profile.name}:{name}@{url}" if url else f"{profile.name}:{name}"
        served, url = self._served_name(name), checked_url(url or profile.base_url)
        if known:
            profile = with_findings(profile, url, served)
        model = ChatModel(served, url=url, profile=profile, settings=settings, spec=spec)
        key = key_of(model.key_env)  # here, and not in a call: a keyring may ask a person
        if profile.key_required and not key:
            raise ConfigError(
                f"{spec!r} needs a key, and {model.key_env or 'key_env'} is not set.",
                hint=f"Set {model.key_env or 'key_env'}, or name another variable as key_env in its settings.",
            )
        return model

    def _served_name(self, name: str) -> str:
        """Return what the endpoint calls the model: an adapter is served under its own name."""
        base, _, adapter = name.rpartition("+")
        return adapter if base and self.profile.adapters else name

    def _url_from_environment(self) -> str:
        url = os.environ.get(self.url_env, "").strip().rstrip("/")
        return self.read_url(url) if url else ""


def limited(client: ChatModel, settings: ModelSettings) -> Model:
    """Return the client with the limit of calls in flight that all models of its endpoint share."""
    return Limited(client, window_of(client.url, client.key_env, settings.in_flight))


def retrying(model: Model, settings: ModelSettings) -> Model:
    """Return the model with retries."""
    return Retrying(model, RetryPolicy(attempts=settings.attempts))


def priced(model: Model, settings: ModelSettings) -> Model:
    """Return the model with its price, where the settings have one."""
    return Priced(model, settings) if settings.is_complete else model


@asynccontextmanager
async def _opened(client: ChatModel) -> AsyncGenerator[ChatModel, None]:
    try:
        yield client
    finally:
        await client.aclose()


def _replicas(rest: str) -> list[str]:
    """Return NAME@URL for each address in NAME@URL,URL."""
    name, urls = name_and_url(rest)
    return [f"{name}@{url}" for url in re.split(r",(?=https?://)", urls)] if urls else [rest]
