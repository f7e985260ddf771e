"""What calls cost: set by the user, or looked up by provider and model; applied when raw usage is read.

Knows tariffs and the `genai-prices` table, which is data of its own release and fetches nothing. Does not
know budgets (`core.stop`) nor slots. An unknown price is None, never 0; a price is never guessed from a
model's name alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Annotated

from pydantic import Field, JsonValue

from critic_loop.core.errors import ConfigError
from critic_loop.core.messages import Frozen
from critic_loop.core.protocols import Completion, Model, Request
from critic_loop.core.records import Call, Reply, Usage
from critic_loop.models.wrappers.wrapper import ModelWrapper

Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_HINT = (
    "Set gpu_usd_per_hour, or input_usd_per_mtok and output_usd_per_mtok, in the model's settings (a model "
    "without settings is wrapped: critic_loop.models.Priced); or limit tokens= or calls= instead."
)
_PROVIDERS = {"openai": "openai", "anthropic": "anthropic"}
"""Backends whose specs need no address."""


class Tariff(Frozen):
    """What a model costs, as set by its user."""

    gpu_usd_per_hour: Dollars | None = None
    """For a model on one's own machine: calls share the time in which the endpoint works for them."""
    input_usd_per_mtok: Dollars | None = None
    """For a million tokens of input."""
    cached_input_usd_per_mtok: Dollars | None = None
    """For a million tokens of input that the endpoint had cached; None = as other input."""
    output_usd_per_mtok: Dollars | None = None
    """For a million tokens of output, reasoning included."""

    @property
    def is_complete(self) -> bool:
        """Whether the cost of a call follows from it."""
        per_token = self.input_usd_per_mtok is not None and self.output_usd_per_mtok is not None
        return self.gpu_usd_per_hour is not None or per_token

    def cost_usd(self, usage: Usage, busy_s: float) -> float:
        """Return the cost of a call that used so many tokens and so many seconds of the endpoint's time."""
        rate = self.input_usd_per_mtok or 0.0
        cached_rate = rate if self.cached_input_usd_per_mtok is None else self.cached_input_usd_per_mtok
        cost = (usage.input_tokens - usage.cached_input_tokens) * rate + usage.cached_input_tokens * cached_rate
        cost += usage.output_tokens * (self.output_usd_per_mtok or 0.0)
        return cost / 1e6 + busy_s / 3600 * (self.gpu_usd_per_hour or 0.0)


class Priced(ModelWrapper):
    """A model with a tariff: for models that have no settings of their own."""

    def __init__(self, model: Model, tariff: Tariff) -> None:
        """Wrap `model`."""
        super().__init__(model)
        self.tariff = tariff
        """What it costs."""

    async def complete(self, request: Request) -> Completion:
        """Answer `request`."""
        return await self.inner.complete(request)


def tariff_of(model: Model) -> Tariff:
    """Return the tariff of a model, or of a model that it wraps; an empty one if none is set."""
    while not isinstance(model, Priced):
        if not isinstance(model, ModelWrapper):
            return Tariff()
        model = model.inner
    return model.tariff


def cost_usd(call: Call, reply: Reply, tariff: Tariff) -> float | None:
    """Return what a call cost in US dollars; None if unknown.

    A failed call costs nothing unless its usage was reported: its time in a queue or between retries is not
    the endpoint's.
    """
    if tariff.is_complete:
        waited_s = reply.ended_at - call.sent_at if reply.status == "ok" else 0.0
        return tariff.cost_usd(reply.usage, max(0.0, waited_s if reply.busy_s is None else reply.busy_s))
    if reply.usage == Usage():
        return None if reply.status == "ok" else 0.0
    at = datetime.fromtimestamp(call.sent_at, UTC)
    return _listed(call.binding, reply.usage, _cache_written(reply.raw_usage), at)


def require_price(model: Model) -> None:
    """Refuse a model with an unknown price.

    Raises:
        ConfigError: neither its settings nor the price table have one.
    """
    if not tariff_of(model).is_complete and not _is_listed(model.spec):
        raise ConfigError(f"money is limited, but the price of {model.spec!r} is unknown.", hint=_HINT)


@lru_cache(maxsize=256)
def _is_listed(spec: str) -> bool:
    one = Usage(input_tokens=1, output_tokens=1)
    return _listed(spec, one, {}, datetime.now(UTC)) is not None


def _cache_written(raw: Mapping[str, JsonValue]) -> dict[str, int]:
    """Return how many tokens Anthropic put into its cache, and how many of these for an hour."""
    lasting = raw.get("cache_creation")
    counts = {
        "cache_write_tokens": raw.get("cache_creation_input_tokens"),
        "cache_write_1h_tokens": lasting.get("ephemeral_1h_input_tokens")
        if isinstance(lasting, dict)
        else None,
    }
    return {name: count for name, count in counts.items() if isinstance(count, int)}


def _listed(spec: str, usage: Usage, cache_written: Mapping[str, int], at: datetime) -> float | None:
    """Return the cost by the price table; None if it does not have the model."""
    backend, _, rest = spec.partition(":")
    named = re.fullmatch(r"(?P<name>.+?)(?:@(?P<url>https?://.*))?", rest)
    if named is None or not (named["url"] or backend in _PROVIDERS):
        return None
    import genai_prices

    used = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_input_tokens,
        output_tokens=usage.output_tokens,
        **cache_written,
    )
    calc = partial(genai_prices.calc_price, used, named["name"], genai_request_timestamp=at)
    try:
        if named["url"]:
            found = calc(provider_api_url=str(named["url"]))
        else:
            found = calc(provider_id=_PROVIDERS[backend])
    except (LookupError, ValueError):
        return None
    return float(found.total_price)
