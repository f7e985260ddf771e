"""A server that is held still while its weights change: calls in flight are kept, replies say which weights."""

import asyncio

import pytest

from critic_loop.core.errors import ConfigError, ModelError
from critic_loop.models.vllm import paused
from critic_loop.models.wire.health_check import HEALTH_CHECK
from tests.unit.models.vllm.conftest import ask

pytestmark = pytest.mark.anyio
DEVELOPMENT = {"VLLM_SERVER_DEV_MODE": "1"}


async def test_calls_in_flight_go_on_and_replies_name_the_new_weights(fake):
    model = fake.model("vllm:Q", environment=DEVELOPMENT)
    assert (await model.complete(ask())).weight_version == ""
    slow = asyncio.create_task(model.complete(ask("slow 0.1")))
    while not fake.noted("chat")[2:]:
        await asyncio.sleep(0.01)
    async with paused("Q", version="step 1") as tell:
        await tell("/collective_rpc", {"method": "reload_weights"})
        await asyncio.sleep(0.3)
        assert not slow.done()
        with pytest.raises(ModelError, match="paused already"):
            async with paused("Q"):
                pass
        assert not slow.done(), "who was refused has resumed nothing"
    answer = await slow
    assert (answer.text, answer.weight_version) == ("Q: slow 0.1", "base > step 1"), "both wrote it"
    assert (await model.complete(ask())).weight_version == "step 1"
    told = [one["path"] for one in fake.noted() if one["path"].startswith(("/pause", "/coll", "/resume"))]
    assert told == ["/pause?mode=keep&clear_cache=true", "/collective_rpc", "/resume"]
    assert [one["said"] for one in fake.noted("chat")].count(HEALTH_CHECK) == 2, "a canary of the new weights"
    await model.aclose()
    await model.complete(ask())
    assert (await model.complete(ask())).weight_version == "", "one that is started anew has the folder's"
    await model.aclose()


async def test_what_breaks_off_leaves_it_running_with_the_weights_that_it_had(fake):
    model = fake.model("vllm:Q", environment=DEVELOPMENT)
    with pytest.raises(ZeroDivisionError):
        async with paused("Q", version="step 1", finish=True):
            raise ZeroDivisionError
    assert fake.noted("/pause?mode=wait")
    assert (await asyncio.wait_for(model.complete(ask()), 5)).weight_version == ""
    await model.aclose()


async def test_a_server_that_cannot_or_is_none_is_told(fake):
    model = fake.model("vllm:Q")
    with pytest.raises(ModelError, match=r"answered /pause with 404") as raised:
        async with paused("Q"):
            pass
    assert "VLLM_SERVER_DEV_MODE" in raised.value.hint
    assert (await model.complete(ask())).text == "Q: hi"
    with pytest.raises(ConfigError, match="No server of 'other'") as raised:
        async with paused("other"):
            pass
    assert raised.value.hint == "There are: Q."
    await model.aclose()
