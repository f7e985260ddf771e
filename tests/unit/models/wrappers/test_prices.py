"""What calls cost."""

import pytest

from critic_loop.core.errors import ConfigError
from critic_loop.core.records import Call, Place, Reply, Usage
from critic_loop.models import (
    Limited,
    ModelSettings,
    Priced,
    Retrying,
    Tariff,
    cost_usd,
    require_price,
    resolve,
)
from critic_loop.models.wrappers.prices import tariff_of
from critic_loop.testing import ScriptedModel

MAY_2026 = 1777600000.0


def call(binding="openai:gpt-5-mini", sent_at=MAY_2026):
    place = Place(subject=("t.1",), agent="actor")
    return Call(id="t.c1", place=place, digest="d", request=(), binding=binding, sent_at=sent_at)


def reply(**fields):
    fields = {"status": "ok", "ended_at": MAY_2026 + 10, **fields}
    return Reply(call="t.c1", **fields)


USED = Usage(input_tokens=1_000_000, cached_input_tokens=400_000, output_tokens=100_000)


def test_tokens_are_priced_as_told_and_cached_ones_once():
    tariff = Tariff(input_usd_per_mtok=2, cached_input_usd_per_mtok=0.5, output_usd_per_mtok=10)
    assert cost_usd(call(), reply(usage=USED), tariff) == pytest.approx(1.2 + 0.2 + 1.0)
    plain = Tariff(input_usd_per_mtok=2, output_usd_per_mtok=10)
    assert cost_usd(call(), reply(usage=USED), plain) == pytest.approx(3.0)


def test_a_local_model_costs_its_share_of_the_hour():
    tariff = Tariff(gpu_usd_per_hour=3.6)
    assert cost_usd(call("vllm:q@http://gpu:8000"), reply(busy_s=2.0), tariff) == pytest.approx(0.002)
    assert cost_usd(call("vllm:q@http://gpu:8000"), reply(), tariff) == pytest.approx(0.01), "all of its time"


def test_hosted_models_are_looked_up_by_provider_and_day():
    """Prices of genai-prices 0.2.3: gpt-5-mini at 0.25, 0.025 cached and 2 USD for a million tokens."""
    usage = Usage(input_tokens=1000, cached_input_tokens=400, output_tokens=100)
    for spec in ("openai:gpt-5-mini", "openai:gpt-5-mini@https://api.openai.com/v1"):
        assert cost_usd(call(spec), reply(usage=usage), Tariff()) == pytest.approx(0.00036)


def test_what_is_put_into_a_cache_costs_more_and_for_an_hour_more_still():
    """Prices of genai-prices 0.2.3: claude-sonnet-4-5 at 3, into the cache 3.75, and for an hour 6 USD."""
    usage = Usage(input_tokens=100_000)

    def cost(**raw):
        return cost_usd(call("anthropic:claude-sonnet-4-5"), reply(usage=usage, raw_usage=raw), Tariff())

    assert cost() == pytest.approx(0.3)
    assert cost(cache_creation_input_tokens=50_000) == pytest.approx(0.15 + 0.1875)
    for hour, price in ((0, 0.1875), (20_000, 0.1125 + 0.12), (50_000, 0.3)):
        lasting = {"ephemeral_5m_input_tokens": 50_000 - hour, "ephemeral_1h_input_tokens": hour}
        assert cost(cache_creation_input_tokens=50_000, cache_creation=lasting) == pytest.approx(0.15 + price)
    assert cost(cache_creation_input_tokens=None, cache_creation=None) == pytest.approx(0.3)


@pytest.mark.parametrize(
    "spec",
    ["vllm:gpt-5-mini@http://gpu:8000", "ollama:gpt-5-mini", "openai:no-such-model", "embedded:countdown"],
)
def test_a_price_is_never_guessed_from_a_name(spec):
    assert cost_usd(call(spec), reply(usage=USED), Tariff()) is None


def test_what_was_not_counted_is_unknown_and_what_came_to_nothing_is_free():
    assert cost_usd(call(), reply(usage=Usage()), Tariff()) is None
    assert cost_usd(call(), reply(status="error"), Tariff()) == 0.0
    assert cost_usd(call(), reply(status="error", usage=USED), Tariff()) > 0, "rejected, but billed"
    gpu = Tariff(gpu_usd_per_hour=3.6)
    for status in ("error", "cancelled"):
        assert cost_usd(call("vllm:q@http://gpu:8000"), reply(status=status), gpu) == 0.0


def test_settings_reach_through_wrappers():
    told = Priced(ScriptedModel([]), Tariff(gpu_usd_per_hour=1))
    assert tariff_of(Retrying(Limited(told))).gpu_usd_per_hour == 1
    assert not tariff_of(Retrying(ScriptedModel([]))).is_complete
    model = resolve("vllm:q@http://gpu:8000", settings=ModelSettings(gpu_usd_per_hour=2.5))
    assert tariff_of(model).gpu_usd_per_hour == 2.5
    assert model.spec == "vllm:q@http://gpu:8000"
    assert not Tariff(input_usd_per_mtok=1).is_complete, "half a tariff is none"


def test_who_limits_money_is_told_what_to_set():
    require_price(ScriptedModel([], spec="openai:gpt-5-mini"))
    require_price(Priced(ScriptedModel([]), Tariff(gpu_usd_per_hour=0)))
    with pytest.raises(ConfigError, match=r"the price of 'vllm:q@.*gpu_usd_per_hour"):
        require_price(resolve("vllm:q@http://gpu:8000"))
