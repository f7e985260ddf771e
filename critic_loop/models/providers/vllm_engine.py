"""vLLM in this process: `vllm-engine:NAME[+ADAPTER]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import Model
from critic_loop.models.client.chat import ChatModel
from critic_loop.models.client.settings import ModelSettings
from critic_loop.models.providers.http import priced, retrying
from critic_loop.models.providers.provider import ProbeTarget, name_and_url, refuse_serve
from critic_loop.models.providers.vllm import managed, probe_target_on

if TYPE_CHECKING:
    from critic_loop.models.vllm.managed import Managed

_NAME = "vllm-engine"


class VllmEngineProvider:
    """Models on a vLLM that runs in this process."""

    form = f"{_NAME}:NAME[+ADAPTER]"

    def model(self, rest: str, settings: ModelSettings) -> Model:
        """Return the model; vLLM is started when it is first called."""
        return priced(retrying(self._managed(rest, settings), settings), settings)

    def client(self, rest: str, settings: ModelSettings, *, known: bool = True) -> ChatModel | None:  # noqa: ARG002
        """Return None: there is no endpoint before vLLM is started."""
        return None

    def probe_targets(self, rest: str, settings: ModelSettings) -> list[ProbeTarget]:
        """Return the one vLLM, which is started for it."""
        return [probe_target_on(self._managed(rest, settings), rest)]

    def base_model(self, rest: str) -> str:  # noqa: ARG002
        """Return nothing: what serves an adapter here is started with its base model."""
        return ""

    def _managed(self, rest: str, settings: ModelSettings) -> Managed:
        from critic_loop.models.vllm.engine import EngineServer
        from critic_loop.models.vllm.servers import server_of

        spec = f"{_NAME}:{rest}"
        refuse_serve(spec, settings)
        if name_and_url(rest)[1]:
            raise ConfigError(
                f"'{_NAME}:NAME' takes no address.", hint="Write vllm:NAME@URL for a server that runs."
            )
        serve = None if settings.engine is None else settings.engine.served()
        return managed(spec, rest, settings, lambda base: server_of(base, serve, EngineServer))


PROVIDER = VllmEngineProvider()
