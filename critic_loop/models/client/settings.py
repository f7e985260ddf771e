"""The settings of a model beside its spec: a `[models.NAME]` table."""

from __future__ import annotations

from pydantic import Field, JsonValue

from critic_loop.models.vllm.settings import Engine, Serve
from critic_loop.models.wrappers.prices import Tariff


class ModelSettings(Tariff):
    """The longer settings of a model: a `[models.NAME]` table."""

    key_env: str | None = None
    """The environment variable that holds the key; None = the profile's."""
    timeout_s: float = Field(default=600.0, gt=0)
    """The time limit of a call whose request has none."""
    in_flight: int | None = Field(default=None, ge=1)
    """Most calls at once; None = as many as the endpoint turns out to take."""
    attempts: int = Field(default=8, ge=1)
    """Sends of one call before its error is raised; 1 = no retries."""
    extra: dict[str, JsonValue] = {}
    """Body fields for every request; those of its sampling take precedence."""
    weight_version: str = ""
    """What replies have as their `weight_version` where the endpoint reports none."""
    serve: Serve | None = None
    """For `vllm:NAME` without an address; how its server is started (see the how-to on vLLM)."""
    engine: Engine | None = None
    """For `vllm-engine:NAME`: what vLLM in this process is started with."""
