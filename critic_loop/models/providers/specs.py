"""Spec strings: `BACKEND:NAME` to a model that is ready to use.

Knows how a spec's provider is found: by the entry points of the group `critic_loop.models`, this package's own
among them. Does not know any provider, nor slots (`models.slots`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, field_validator

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError, boundary
from critic_loop.core.printable import without_secrets
from critic_loop.core.protocols import Model
from critic_loop.models.client.chat import ChatModel
from critic_loop.models.client.settings import ModelSettings
from critic_loop.models.providers.provider import ProbeTarget, Provider
from critic_loop.models.wrappers.retry import Retrying

GROUP = "critic_loop.models"
"""Entry points that are backends: a `Provider`, or a function `(rest) -> Model`."""


class ModelTable(ModelSettings):
    """A `[models.NAME]` table: a spec under a short name, with its longer settings."""

    spec: str = Field(min_length=1)

    @field_validator("key_env")
    @classmethod
    def _is_a_name(cls, given: str | None) -> str | None:
        if given and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", given):  # not shown: it may be the key itself
            raise ValueError("the NAME of an environment variable is expected, such as CHAT_API_KEY")
        return given

    @field_validator("spec")
    @classmethod
    def _names_a_backend(cls, given: str) -> str:
        if ":" not in given:
            raise ValueError("a spec is expected, such as openai:NAME or chat:NAME@http://HOST:PORT/v1")
        if " | " in given or "% " in given:
            raise ValueError(
                "one model is expected; chains and splits stand where a role is given, as in actor"
            )
        return given

    @property
    def settings(self) -> ModelSettings:
        """All but the spec."""
        return ModelSettings(**self.model_dump(exclude={"spec"}))


def configured(name: str, tables: Mapping[str, ModelTable]) -> Model:
    """Return the model of the table `name`, or else the one that `name` names as a spec.

    Raises:
        ConfigError: there is neither, or something that it needs is missing.
    """
    table = tables.get(name)
    if table is not None:
        return resolve(table.spec, settings=table.settings)
    if tables and ":" not in name:
        near = difflib.get_close_matches(name, tables, n=1)
        guess = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(sorted(tables))}."
        raise ConfigError(
            f"There is no model {without_secrets(name)!r} in [models].", hint=f"{guess} Or write BACKEND:NAME."
        )
    return resolve(name)


def resolve(spec: str | Model, *, settings: ModelSettings | Mapping[str, Any] | None = None) -> Model:
    """Return the model that a spec names, with retries around it; a model is returned as it is.

    Models behind an address have a limit of calls in flight, too. A model of an installed package that retries
    by itself (its attribute `retries_itself` is true) is returned without retries around it.

    Args:
        spec: `openai:NAME`, `anthropic:NAME`, `vllm:NAME[+ADAPTER]` for a server that is started here,
            `vllm:NAME[+ADAPTER]@URL` for one that runs, `vllm-engine:NAME[+ADAPTER]` for vLLM in this process,
            `sglang:NAME@URL`, `llamacpp:NAME`, `ollama:NAME`, each with `@URL` for another address or
            `@URL,URL` for replicas, `chat:NAME@URL`, `langchain:package.module:factory`, `loop:RECIPE@SPEC`,
            `embedded:NAME`, or a model.
        settings: the `[models.NAME]` table that belongs to it.

    Raises:
        ConfigError: the backend is unknown, or something that it needs is missing.
    """
    if not isinstance(spec, str):
        return spec
    backend, _, rest = spec.partition(":")
    provider = plugins.find(GROUP, backend)
    if not rest:
        known = "BACKEND" if provider is None else backend
        form = provider.form if isinstance(provider, Provider) else f"{known}:NAME"
        raise ConfigError(f"{without_secrets(spec)!r} names no model.", hint=f"Write {form}.")
    if provider is None:
        raise _unknown(backend)
    checked = _checked(settings)
    if isinstance(provider, Provider):
        return provider.model(rest, checked)
    model = _made(provider, backend, rest)
    if checked != ModelSettings():
        usual = ModelSettings()
        given = sorted(
            name for name in ModelSettings.model_fields if getattr(checked, name) != getattr(usual, name)
        )
        what = f"backend {backend!r} takes no settings, but {', '.join(given)} was given"
        raise ConfigError(f"{without_secrets(spec)!r}: {what}.")
    return model


def endpoint(
    spec: str, *, settings: ModelSettings | Mapping[str, Any] | None = None, known: bool = True
) -> ChatModel | None:
    """Return the client behind a spec without retries and limits; None for other backends.

    Args:
        spec: as for `resolve`.
        settings: as for `resolve`.
        known: use what an earlier probe of the endpoint found.

    Raises:
        ConfigError: something that the model needs is missing.
    """
    provider, rest = _provider_in(spec)
    return None if provider is None else provider.client(rest, _checked(settings), known=known)


def probe_targets(spec: str, *, settings: ModelSettings | Mapping[str, Any] | None = None) -> list[ProbeTarget]:
    """Return what can be probed behind a spec: its endpoint, each of several, or none for other backends.

    Raises:
        ConfigError: something that the model needs is missing.
    """
    provider, rest = _provider_in(spec)
    return [] if provider is None else provider.probe_targets(rest, _checked(settings))


def base_in(spec: str) -> str:
    """Return the base model that a spec names beside an adapter; empty if it names none."""
    provider, rest = _provider_in(spec)
    return "" if provider is None else provider.base_model(rest)


def backends() -> list[str]:
    """Return the names of all backends, those of installed packages included."""
    return plugins.names(GROUP)


def _provider_in(spec: str) -> tuple[Provider | None, str]:
    """Return a spec's provider and what follows its name; None for unknown backends and plain functions."""
    backend, _, rest = spec.partition(":")
    provider = plugins.find(GROUP, backend)
    return (provider if isinstance(provider, Provider) else None), rest


def _checked(settings: ModelSettings | Mapping[str, Any] | None) -> ModelSettings:
    try:
        return settings if isinstance(settings, ModelSettings) else ModelSettings(**(settings or {}))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"A model's settings: {key}: {first['msg']}.") from error


def _made(make: Any, backend: str, rest: str) -> Model:
    with boundary(ConfigError, f"backend {backend!r} makes no model of {without_secrets(rest)!r}"):
        model = make(rest)
    if not isinstance(model, Model):
        lacks = [name for name in ("spec", "complete", "aclose") if not hasattr(model, name)]
        raise ConfigError(
            f"Backend {backend!r} made {type(model).__name__} of {without_secrets(rest)!r}, which is no model.",
            hint=f"Its package must give it {', '.join(lacks)}.",
        )
    return model if getattr(model, "retries_itself", False) else Retrying(model)


def _unknown(backend: str) -> ConfigError:
    known = backends()
    if not known:
        return ConfigError(
            f"Backend {backend!r} is not installed: no entry point of Critic Loop is registered.",
            hint="Install the package with pip; in a checkout: pip install -e .",
        )
    near = difflib.get_close_matches(backend, known, n=1)
    guess = f"Did you mean {near[0]!r}? " if near else ""
    return ConfigError(f"There is no backend {backend!r}.", hint=f"{guess}Known: {', '.join(known)}.")
