"""vLLM: `vllm:NAME@URL` for a server that runs, `vllm:NAME` for one that is started here.

Either takes `NAME+ADAPTER`. How a server is started and stopped is in `models.vllm`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import Model
from critic_loop.models.client.chat import ChatModel
from critic_loop.models.client.findings import with_findings
from critic_loop.models.client.settings import ModelSettings
from critic_loop.models.providers.http import HttpProvider, limited, priced, retrying
from critic_loop.models.providers.provider import ProbeTarget, name_and_url, refuse_engine
from critic_loop.models.wire.profiles import Profile

if TYPE_CHECKING:
    from critic_loop.models.vllm.managed import Managed
    from critic_loop.models.vllm.server import Server

ServerOf: TypeAlias = "Callable[[str], Server]"
VLLM = Profile(
    name="vllm",
    key_env="VLLM_API_KEY",
    max_tokens_field="max_completion_tokens",
    strict_tools="always",
    reasoning_field="reasoning",
    tool_result_name=True,
    return_token_ids=True,
    adapters=True,
    prompt_logprobs=True,
    continues=True,
)


@dataclass(frozen=True, kw_only=True)
class VllmProvider(HttpProvider):
    """Models on vLLM servers: at addresses, or without an address on a server that is started here."""

    def model(self, rest: str, settings: ModelSettings) -> Model:
        """Return the model, on a running server if `rest` has an address."""
        if name_and_url(rest)[1]:
            return super().model(rest, settings)
        return priced(retrying(self._managed(rest, settings), settings), settings)

    def client(self, rest: str, settings: ModelSettings, *, known: bool = True) -> ChatModel | None:
        """Return the client of one running server; None for several, and for one that is started here."""
        return super().client(rest, settings, known=known) if name_and_url(rest)[1] else None

    def probe_targets(self, rest: str, settings: ModelSettings) -> list[ProbeTarget]:
        """Return each server that `rest` names, or the one that is started for it."""
        if name_and_url(rest)[1]:
            return super().probe_targets(rest, settings)
        return [probe_target_on(self._managed(rest, settings), rest)]

    def _managed(self, rest: str, settings: ModelSettings) -> Managed:
        from critic_loop.models.vllm.servers import server_of

        spec = f"{self.profile.name}:{rest}"
        refuse_engine(spec, settings)
        return managed(spec, rest, settings, lambda base: server_of(base, settings.serve))


def managed(spec: str, rest: str, settings: ModelSettings, server_of: ServerOf) -> Managed:
    """Return the model of NAME or NAME+ADAPTER on a vLLM that is started when it is first called.

    Args:
        spec: the name in records.
        rest: NAME, which may be a folder, or NAME+ADAPTER.
        settings: of the model.
        server_of: returns the server of a base model.

    Raises:
        ConfigError: the adapter cannot be read, or the settings name a version of the weights.
    """
    if settings.weight_version:
        raise ConfigError(
            f"{spec!r}: `weight_version` is for models with an address.",
            hint="A vLLM that is started here has a version of its own for each adapter and each reload.",
        )
    from critic_loop.models.vllm.adapters import Adapter
    from critic_loop.models.vllm.managed import Managed

    def client(server: Server, name: str) -> Model:
        profile = with_findings(VLLM, server.place, rest)
        chat = ChatModel(
            name, url=server.url, profile=profile, settings=settings, spec=spec, key=server.key,
            transport=server.transport,
        )  # fmt: skip
        return limited(chat, settings)

    base, _, adapter = ("", "", rest) if Path(rest).is_dir() else rest.rpartition("+")
    server = server_of(base or adapter)
    if not base:
        return Managed(server, client, spec=spec)
    return Managed(server, client, spec=spec, adapter=Adapter(server.serve.adapters.get(adapter, adapter)))


def probe_target_on(model: Managed, rest: str) -> ProbeTarget:
    """Return the server of a model as what can be probed; it is started for that."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[ChatModel, None]:
        try:
            async with model.reached() as inner:
                client = getattr(inner, "inner", None)
                if isinstance(client, ChatModel):
                    yield client
        finally:
            await model.aclose()

    return ProbeTarget(backend=VLLM.name, name=rest, place=model.place, opened=opened)


PROVIDER = VllmProvider(profile=VLLM, form="vllm:NAME[+ADAPTER], or vllm:NAME@http://HOST:8000")
