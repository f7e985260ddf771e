"""Spec strings: `backend:NAME@URL` to a model that is ready to use.

Knows which backends there are and what each needs. Does not know slots (`models.slots.switchboard`).
No prompt goes to a server that the user did not name: a backend with a fixed address is named by
its own word, and `openai:` wants its key to be there.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, field_validator

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError, boundary
from critic_loop.core.printable import without_secrets
from critic_loop.core.protocols import Model
from critic_loop.models.client.chat import ChatModel
from critic_loop.models.client.findings import informed
from critic_loop.models.client.settings import ModelSettings
from critic_loop.models.transport.endpoint import checked_url
from critic_loop.models.transport.keys import key_of
from critic_loop.models.transport.window import window_of
from critic_loop.models.wire.profiles import PROFILES, VLLM, Profile
from critic_loop.models.wrappers.limit import Limited
from critic_loop.models.wrappers.pool import Pool
from critic_loop.models.wrappers.prices import Priced
from critic_loop.models.wrappers.retry import Retrying, RetryPolicy

if TYPE_CHECKING:
    from critic_loop.models.vllm.managed import Managed
    from critic_loop.models.vllm.server import Server

ENGINE = "vllm-engine"
GROUP = "critic_loop.models"
"""Entry points that add backends: `(name) -> Model`, called with what follows the colon."""
_FORMS = {
    "openai": "openai:NAME",
    "anthropic": "anthropic:NAME",
    "vllm": "vllm:NAME[+ADAPTER], or vllm:NAME@http://HOST:8000",
    "vllm-engine": "vllm-engine:NAME[+ADAPTER]",
    "sglang": "sglang:NAME@http://HOST:30000",
    "llamacpp": "llamacpp:NAME",
    "ollama": "ollama:NAME",
    "chat": "chat:NAME@http://HOST:PORT/v1",
    "embedded": "embedded:countdown",
    "langchain": "langchain:package.module:factory",
    "loop": "loop:RECIPE@BACKEND:NAME",
}
_ADDRESSES = {"openai": "OPENAI_BASE_URL", "anthropic": "ANTHROPIC_BASE_URL", "ollama": "OLLAMA_HOST"}
"""Variables that say where a backend answers, by the names that its own tools read."""


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

    A limit of calls at once is around models behind an address. An installed package's model retries by itself
    where its attribute `retries_itself` is true, and is returned as it is then.

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
    backend, colon, rest = spec.partition(":")
    if not colon or not rest:
        raise ConfigError(
            f"{without_secrets(spec)!r} names no model.", hint=f"Write {_FORMS.get(backend, 'BACKEND:NAME')}."
        )
    checked = _checked(settings)
    here = _is_served_here(backend, rest)
    if checked.serve is not None and not (here and backend == VLLM.name):
        raise ConfigError(
            f"{without_secrets(spec)!r}: `serve` is for models without an address, as in vllm:NAME."
        )
    if checked.engine is not None and backend != ENGINE:
        raise ConfigError(f"{without_secrets(spec)!r}: `engine` is for vllm-engine:NAME.")
    if here:
        return _told(_retrying(_managed(backend, rest, checked), checked), checked)
    if backend in PROFILES:
        return _told(_pool(PROFILES[backend], rest, checked), checked)
    model = _plugged(backend, rest)
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
        known: take what an earlier probe of the endpoint found for granted.

    Raises:
        ConfigError: something that the model needs is missing.
    """
    backend, _, rest = spec.partition(":")
    if backend not in PROFILES or _is_served_here(backend, rest) or len(_replicas(rest)) > 1:
        return None
    return _client(PROFILES[backend], rest, _checked(settings), known=known)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTarget:
    """Something that can be probed."""

    backend: str
    name: str
    place: str
    """Its address, or what stands for that of a vLLM that is started for it."""
    opened: Callable[[], AbstractAsyncContextManager[ChatModel]]
    """Gives the client, with what it asks up for so long."""


def probe_targets(spec: str, *, settings: ModelSettings | Mapping[str, Any] | None = None) -> list[ProbeTarget]:
    """Return what can be probed behind a spec: its endpoint, each of several, or none for other backends.

    Raises:
        ConfigError: something that the model needs is missing.
    """
    backend, _, rest = spec.partition(":")
    checked = _checked(settings)
    if _is_served_here(backend, rest):
        return [_local_probe_target(_managed(backend, rest, checked), rest)]
    if backend not in PROFILES:
        return []
    chats = [_client(PROFILES[backend], one, checked, known=False) for one in _replicas(rest)]
    return [
        ProbeTarget(backend=chat.profile.name, name=chat.name, place=chat.url, opened=partial(_opened, chat))
        for chat in chats
    ]


@asynccontextmanager
async def _opened(chat: ChatModel) -> AsyncGenerator[ChatModel, None]:
    try:
        yield chat
    finally:
        await chat.aclose()


def _local_probe_target(managed: Managed, rest: str) -> ProbeTarget:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[ChatModel, None]:
        try:
            async with managed.reached() as limited:
                client = getattr(limited, "inner", None)
                if isinstance(client, ChatModel):
                    yield client
        finally:
            await managed.aclose()

    return ProbeTarget(backend=VLLM.name, name=rest, place=managed.place, opened=opened)


def base_in(spec: str) -> str:
    """Return the base model that a spec names beside an adapter; empty if it names none."""
    backend, _, rest = spec.partition(":")
    has_adapters = backend in PROFILES and PROFILES[backend].adapters
    return _name_and_url(rest)[0].rpartition("+")[0] if has_adapters else ""


def backends() -> list[str]:
    """Return the names of all backends, those of installed packages included."""
    return sorted({*PROFILES, ENGINE, *plugins.names(GROUP)})


def _checked(settings: ModelSettings | Mapping[str, Any] | None) -> ModelSettings:
    try:
        return settings if isinstance(settings, ModelSettings) else ModelSettings(**(settings or {}))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"A model's settings: {key}: {first['msg']}.") from error


def _limited(chat: ChatModel, settings: ModelSettings) -> Model:
    return Limited(chat, window_of(chat.url, chat.key_env, settings.in_flight))


def _retrying(sending: Model, settings: ModelSettings) -> Model:
    return Retrying(sending, RetryPolicy(attempts=settings.attempts))


def _told(model: Model, settings: ModelSettings) -> Model:
    return Priced(model, settings) if settings.told else model


def _pool(profile: Profile, rest: str, settings: ModelSettings) -> Model:
    """Return the model at an address, or at each of several."""
    each = [_client(profile, one, settings) for one in _replicas(rest)]
    models = [_retrying(_limited(chat, settings), settings) for chat in each]
    return models[0] if len(models) == 1 else Pool(models, spec=f"{profile.name}:{rest}")


def _plugged(backend: str, rest: str) -> Model:
    make = plugins.find(GROUP, backend)
    if make is None:
        raise _unknown(backend)
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
    if backend in _FORMS:
        return ConfigError(
            f"Backend {backend!r} is not installed: its entry point of Critic Loop is not registered.",
            hint="Install the package with pip; in a checkout: pip install -e .",
        )
    known = backends()
    near = difflib.get_close_matches(backend, known, n=1)
    guess = f"Did you mean {near[0]!r}? " if near else ""
    return ConfigError(f"There is no backend {backend!r}.", hint=f"{guess}Known: {', '.join(known)}.")


# -- servers of our own ------------------------------------------------------------------------


def _is_served_here(backend: str, rest: str) -> bool:
    return backend == ENGINE or (backend == VLLM.name and not _name_and_url(rest)[1])


def _managed(backend: str, given: str, settings: ModelSettings) -> Managed:
    """Return the model on a vLLM that is started when it is first asked, as a server or in this process."""
    from critic_loop.models.vllm.adapters import Adapter
    from critic_loop.models.vllm.managed import Managed

    def client(server: Server, name: str) -> Model:
        profile = informed(VLLM, server.place, given)
        chat = ChatModel(
            name, url=server.url, profile=profile, settings=settings, spec=spec, key=server.key,
            transport=server.transport,
        )  # fmt: skip
        return _limited(chat, settings)

    spec = f"{backend}:{given}"
    base, _, adapter = ("", "", given) if Path(given).is_dir() else given.rpartition("+")
    server = _server(backend, base or adapter, settings)
    if not base:
        return Managed(server, client, spec=spec)
    return Managed(server, client, spec=spec, adapter=Adapter(server.serve.adapters.get(adapter, adapter)))


def _server(backend: str, name: str, settings: ModelSettings) -> Server:
    from critic_loop.models.vllm.servers import server_of

    if backend != ENGINE:
        return server_of(name, settings.serve)
    if _name_and_url(name)[1]:
        raise ConfigError(
            f"'{ENGINE}:NAME' takes no address.", hint="Write vllm:NAME@URL for a server that runs."
        )
    from critic_loop.models.vllm.engine import EngineServer

    return server_of(name, None if settings.engine is None else settings.engine.served(), EngineServer)


# -- backends behind an address ----------------------------------------------------------------


def _client(profile: Profile, rest: str, settings: ModelSettings, *, known: bool = True) -> ChatModel:
    """Return the client for what stands behind the colon; with `known`, as probes found the endpoint.

    The address is in the recorded spec wherever somebody named one: records say who was asked.
    """
    name, given = _name_and_url(rest)
    url = given or _from_environment(profile.name)
    if not (url or profile.base_url):
        raise ConfigError(
            f"{without_secrets(f'{profile.name}:{rest}')!r} does not say where the model is.",
            hint=f"Write {_FORMS[profile.name]}.",
        )
    spec = f"{profile.name}:{name}@{url}" if url else f"{profile.name}:{name}"
    served, url = _served(name, profile), checked_url(url or profile.base_url)
    if known:
        profile = informed(profile, url, served)
    model = ChatModel(served, url=url, profile=profile, settings=settings, spec=spec)
    key = key_of(model.key_env)  # here, and not in a call: a keyring may ask a person
    if profile.key_required and not key:
        raise ConfigError(
            f"{spec!r} needs a key, and {model.key_env or 'key_env'} is not set.",
            hint=f"Set {model.key_env or 'key_env'}, or name another variable as key_env in its settings.",
        )
    return model


def _served(name: str, profile: Profile) -> str:
    """Return what the endpoint calls the model: an adapter goes by its own name."""
    base, _, adapter = name.rpartition("+")
    return adapter if base and profile.adapters else name


def _from_environment(backend: str) -> str:
    """Return the address in a backend's own variable, in our form.

    Anthropic's stands before `/v1`; Ollama's may lack its scheme, or be one to listen on.
    """
    url = os.environ.get(_ADDRESSES.get(backend, ""), "").strip().rstrip("/")
    if backend == "anthropic" and url:
        return f"{url.removesuffix('/v1')}/v1"
    if backend != "ollama" or not url:
        return url
    host = url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    return host if "://" in host else f"http://{host}"


def _replicas(rest: str) -> list[str]:
    """Return NAME@URL for each address in NAME@URL,URL."""
    name, urls = _name_and_url(rest)
    return [f"{name}@{url}" for url in re.split(r",(?=https?://)", urls)] if urls else [rest]


def _name_and_url(rest: str) -> tuple[str, str]:
    """Split NAME@URL at the last `@` before a scheme; names may hold `@`, `:` and `/`."""
    match = re.fullmatch(r"(?P<name>.+?)(?:@(?P<url>https?://.*))?", rest)
    return (match["name"], match["url"] or "") if match else (rest, "")
