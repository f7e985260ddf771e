"""What a provider is, and how its specs are read.

Knows the parts of a spec, and which settings fit which providers. Does not know any provider.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from critic_loop.core.errors import ConfigError
from critic_loop.core.printable import without_secrets
from critic_loop.core.protocols import Model
from critic_loop.models.client.chat import ChatModel
from critic_loop.models.client.settings import ModelSettings


@runtime_checkable
class Provider(Protocol):
    """Makes the models of one backend, with settings; `rest` is what follows the backend's name and a colon.

    It is registered as an entry point of the group `critic_loop.models`. An entry point may also be a plain
    function `(rest) -> Model`: it takes no settings, and its models cannot be probed.
    """

    @property
    def form(self) -> str:
        """How its specs are written, as in `openai:NAME`."""
        ...

    def model(self, rest: str, settings: ModelSettings) -> Model:
        """Return a model with retries and a limit of calls in flight.

        Raises:
            ConfigError: something that it needs is missing, or a setting is not for it.
        """
        ...

    def client(self, rest: str, settings: ModelSettings, *, known: bool = True) -> ChatModel | None:
        """Return the client of the one endpoint that `rest` names, without retries and limits.

        None if `rest` names several endpoints, or a server that is started for it.

        Args:
            rest: name and address.
            settings: of the model.
            known: use what an earlier probe of the endpoint found.

        Raises:
            ConfigError: something that it needs is missing.
        """
        ...

    def probe_targets(self, rest: str, settings: ModelSettings) -> list[ProbeTarget]:
        """Return what can be probed: each endpoint that `rest` names.

        Raises:
            ConfigError: something that it needs is missing.
        """
        ...

    def base_model(self, rest: str) -> str:
        """Return the base model of an adapter that `rest` names; empty if it names none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTarget:
    """An endpoint that can be probed."""

    backend: str
    name: str
    place: str
    """Its address, or what identifies a vLLM that is started for it."""
    opened: Callable[[], AbstractAsyncContextManager[ChatModel]]
    """Returns a context with the client, in which the server is up."""


def name_and_url(rest: str) -> tuple[str, str]:
    """Split NAME@URL at the last `@` before a scheme; names may hold `@`, `:` and `/`."""
    match = re.fullmatch(r"(?P<name>.+?)(?:@(?P<url>https?://.*))?", rest)
    return (match["name"], match["url"] or "") if match else (rest, "")


def refuse_serve(spec: str, settings: ModelSettings) -> None:
    """Refuse the settings of a server that is started here.

    Raises:
        ConfigError: there are some.
    """
    if settings.serve is not None:
        raise ConfigError(
            f"{without_secrets(spec)!r}: `serve` is for models without an address, as in vllm:NAME."
        )


def refuse_engine(spec: str, settings: ModelSettings) -> None:
    """Refuse the settings of a vLLM in this process.

    Raises:
        ConfigError: there are some.
    """
    if settings.engine is not None:
        raise ConfigError(f"{without_secrets(spec)!r}: `engine` is for vllm-engine:NAME.")
