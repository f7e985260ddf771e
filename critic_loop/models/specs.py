"""Spec strings: `backend:NAME@URL` to a model that is ready to use.

Knows which backends there are and what each needs. Does not know slots (`models.switchboard`).
No prompt goes to a server that the user did not name: a backend with a fixed address is named by
its own word, and `openai:` wants its key to be there.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field, ValidationError, field_validator

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError
from critic_loop.core.printable import without_secrets
from critic_loop.core.protocols import Model
from critic_loop.models.chat import ChatModel, ModelSettings
from critic_loop.models.limit import Limited, window_of
from critic_loop.models.prices import Priced
from critic_loop.models.profiles import GENERIC, OLLAMA, OPENAI, PROFILES, VLLM
from critic_loop.models.retry import Retrying, RetryPolicy

GROUP = "critic_loop.models"
"""Entry points that add backends: `(name) -> Model`, called with what follows the colon."""
_EMBEDDED = "critic_loop.demo.model:embedded"
_FORMS = {
    "openai": "openai:NAME",
    "vllm": "vllm:NAME@http://HOST:8000",
    "ollama": "ollama:NAME",
    "chat": "chat:NAME@http://HOST:PORT/v1",
    "embedded": "embedded:countdown",
}


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
    """Return the model that a spec names, with retries and a limit around it; a model is returned as is.

    Args:
        spec: `openai:NAME`, `vllm:NAME[+ADAPTER]@URL`, `ollama:NAME[@URL]`, `chat:NAME@URL`,
            `embedded:NAME`, or a model.
        settings: the `[models.NAME]` table that belongs to it.

    Raises:
        ConfigError: the backend is unknown, or something that it needs is missing.
    """
    if not isinstance(spec, str):
        return spec
    backend, colon, rest = spec.partition(":")
    if not colon or not rest:
        raise ConfigError(
            f"{without_secrets(spec)!r} names no model.", hint=f"Write {_FORMS.get(backend, 'BACKEND:NAME')}."
        )
    checked = _checked(settings)
    if backend in PROFILES:
        return _wrapped(_CHAT[backend](rest, checked), checked)
    model = _plugged(backend, rest)
    if checked != ModelSettings():
        given = ", ".join(sorted(checked.model_fields_set))
        raise ConfigError(
            f"{without_secrets(spec)!r}: backend {backend!r} takes no settings, but {given} was given."
        )
    return model


def endpoint(spec: str, *, settings: ModelSettings | Mapping[str, Any] | None = None) -> ChatModel | None:
    """Return the client behind a spec without retries and limits, to be probed; None for other backends.

    Raises:
        ConfigError: something that the model needs is missing.
    """
    backend, _, rest = spec.partition(":")
    return _CHAT[backend](rest, _checked(settings)) if backend in PROFILES else None


def backends() -> list[str]:
    """Return the names of all backends, those of installed packages included."""
    return sorted({*_FORMS, *plugins.names(GROUP)})


def _checked(settings: ModelSettings | Mapping[str, Any] | None) -> ModelSettings:
    try:
        return settings if isinstance(settings, ModelSettings) else ModelSettings(**(settings or {}))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"A model's settings: {key}: {first['msg']}.") from error


def _wrapped(chat: ChatModel, settings: ModelSettings) -> Model:
    limited = Limited(chat, window_of(chat.url, chat.key_env, settings.in_flight))
    model = Retrying(limited, RetryPolicy(attempts=settings.attempts))
    return Priced(model, settings) if settings.told else model


def _plugged(backend: str, rest: str) -> Model:
    make = plugins.find(GROUP, backend)
    if make is None and backend == "embedded":  # run from a checkout that is not installed
        make = plugins.load(_EMBEDDED)
    if make is None:
        raise _unknown(backend)
    model = make(rest)
    if not isinstance(model, Model):
        raise ConfigError(f"Backend {backend!r} made {type(model).__name__} of {rest!r}, which is no model.")
    return model


def _unknown(backend: str) -> ConfigError:
    known = backends()
    near = difflib.get_close_matches(backend, known, n=1)
    guess = f"Did you mean {near[0]!r}? " if near else ""
    return ConfigError(f"There is no backend {backend!r}.", hint=f"{guess}Known: {', '.join(known)}.")


# -- chat-completions backends -----------------------------------------------------------------


def _openai(rest: str, settings: ModelSettings) -> ChatModel:
    name, url = _name_and_url(rest)
    url = url or os.environ.get("OPENAI_BASE_URL", "")
    spec = f"openai:{name}@{url}" if url else f"openai:{name}"
    model = ChatModel(name, url=url, profile=OPENAI, settings=settings, spec=spec)
    if not os.environ.get(model.key_env):
        raise ConfigError(
            f"{spec!r} needs a key, and {model.key_env or 'key_env'} is not set.",
            hint=f"Set {model.key_env or 'key_env'}, or name another variable as key_env in its settings.",
        )
    return model


def _vllm(rest: str, settings: ModelSettings) -> ChatModel:
    name, url = _name_and_url(rest)
    base, _, adapter = name.rpartition("+")
    served = adapter if base else name
    spec = f"vllm:{rest}"
    return ChatModel(served, url=_needed(url, spec, "vllm"), profile=VLLM, settings=settings, spec=spec)


def _ollama(rest: str, settings: ModelSettings) -> ChatModel:
    name, url = _name_and_url(rest)
    url = url or _ollama_host()
    spec = f"ollama:{name}@{url}" if url else f"ollama:{name}"
    return ChatModel(name, url=url, profile=OLLAMA, settings=settings, spec=spec)


def _ollama_host() -> str:
    """Return the address in OLLAMA_HOST, which may lack its scheme or be an address to listen on."""
    host = os.environ.get("OLLAMA_HOST", "").strip().replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    return host if not host or "://" in host else f"http://{host}"


def _chat(rest: str, settings: ModelSettings) -> ChatModel:
    name, url = _name_and_url(rest)
    spec = f"chat:{rest}"
    return ChatModel(name, url=_needed(url, spec, "chat"), profile=GENERIC, settings=settings, spec=spec)


_CHAT: dict[str, Callable[[str, ModelSettings], ChatModel]] = {
    "openai": _openai, "vllm": _vllm, "ollama": _ollama, "chat": _chat,
}  # fmt: skip


def _name_and_url(rest: str) -> tuple[str, str]:
    """Split NAME@URL at the last `@` before a scheme; names may hold `@`, `:` and `/`."""
    match = re.fullmatch(r"(?P<name>.+?)(?:@(?P<url>https?://.*))?", rest)
    return (match["name"], match["url"] or "") if match else (rest, "")


def _needed(url: str, spec: str, backend: str) -> str:
    if not url:
        raise ConfigError(
            f"{without_secrets(spec)!r} does not say where the model is.", hint=f"Write {_FORMS[backend]}."
        )
    return url
