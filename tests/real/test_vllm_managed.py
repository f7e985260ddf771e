"""A real vLLM, started, shared and stopped by the framework.

    VLLM_PYTHON=/opt/vllm/bin/python python -m pytest tests/real/test_vllm_managed.py

VLLM_PYTHON is a Python with vLLM, torch and transformers; `make test-vllm` makes one that needs no GPU.
"""

import asyncio
import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from critic_loop.core.errors import ServerFailed
from critic_loop.core.messages import user
from critic_loop.core.protocols import Request
from critic_loop.core.records import Sampling
from critic_loop.models import resolve
from critic_loop.models.vllm import lend, paused
from tests.real.vllm import NEEDS_VLLM, SERVE, servers_of

pytestmark = [pytest.mark.anyio, NEEDS_VLLM]
ARRIVES_S = 1.0
"""Longer than the text that a server has sent takes to arrive."""


@asynccontextmanager
async def opened(tiny, adapter="", **serve):
    """Give the tiny model, or an adapter of it, and close it; `serve` is laid over the usual settings."""
    spec = f"vllm:{tiny / 'base'}" + (f"+{tiny / adapter}" if adapter else "")
    model = resolve(spec, settings={"serve": SERVE | serve})
    try:
        yield model
    finally:
        await model.aclose()


def ask(text="Is it right?"):
    return Request(messages=(user(text),), sampling=Sampling(temperature=0.0, max_tokens=8))


async def text_of(model, *given):
    return (await model.complete(ask(*given))).text


async def test_two_models_share_a_server_that_is_started_again_after_a_kill_and_stopped_with_the_last(tiny):
    async with opened(tiny) as actor, opened(tiny) as critic:
        said = await asyncio.gather(*(text_of(model) for model in [actor, critic] * 4))
        assert len(set(said)) == 1
        [first] = servers_of(tiny)
        os.kill(first, 9)
        assert await text_of(actor) == said[0]
        [second] = servers_of(tiny)
        assert second != first
        await critic.aclose()
        assert servers_of(tiny) == [second]
    assert servers_of(tiny) == []


async def test_adapters_are_served_beside_the_base_and_unloaded_when_they_are_closed(tiny):
    async with AsyncExitStack() as stack:
        base, v1, v2 = [await stack.enter_async_context(opened(tiny, name)) for name in ("", "v1", "v2")]
        said = [await text_of(model) for model in (base, v1, v2)]
        assert len(set(said)) == 3, "each has its own weights"
        assert [await text_of(model) for model in (v2, base, v1)] == [said[2], said[0], said[1]]
        assert len(servers_of(tiny)) == 1
        await v1.aclose()
        listing = base.inner._server.ask("GET", "/v1/models")[1].decode()
        assert '"v2-' in listing
        assert '"v1-' not in listing
        assert await text_of(v1) == said[1], "a later call loads it again"


async def test_it_sleeps_while_the_device_is_lent_and_wakes_unchanged(tiny):
    """vLLM without a GPU has the endpoints and frees nothing: `--enable-sleep-mode` is refused there."""
    arguments = {**SERVE["arguments"], "enable-sleep-mode": None}
    async with opened(tiny, arguments=arguments, device="cpu") as model:
        said = await text_of(model)
        pids = servers_of(tiny)
        async with lend("cpu"):
            waiting = asyncio.create_task(text_of(model))
            await asyncio.sleep(0.5)
            assert not waiting.done()
            assert model.inner._server.ask("GET", "/is_sleeping")[1] == b'{"is_sleeping":true}'
        assert await waiting == said
        assert servers_of(tiny) == pids, "woken, not started anew"


async def test_a_pause_freezes_calls_in_flight_and_holds_new_ones(tiny):
    """A call has begun when its first text has arrived; frozen means that no more text arrives."""
    environment = {**SERVE["environment"], "VLLM_SERVER_DEV_MODE": "1"}
    sampling = Sampling(temperature=0.0, max_tokens=1900, extra={"ignore_eos": True})
    begun, pieces = asyncio.Event(), []

    def arrived(text):
        pieces.append(text)
        begun.set()

    async with opened(tiny, environment=environment) as model:
        long = Request(messages=(user("Is it right?"),), sampling=sampling)
        whole = await model.complete(long)
        call = asyncio.create_task(model.complete(replace(long, on_text=arrived)))
        await asyncio.wait_for(begun.wait(), 60)
        async with paused(str(tiny / "base"), version="step 1"):
            waiting = asyncio.create_task(text_of(model))
            await asyncio.sleep(ARRIVES_S)
            before = len(pieces)
            await asyncio.sleep(ARRIVES_S)
            assert (call.done(), waiting.done(), len(pieces)) == (False, False, before)
            assert model.inner._server.ask("GET", "/is_paused")[1] == b'{"is_paused":true}'
        kept = await call
        assert kept.choices[0].token_ids == whole.choices[0].token_ids, "goes on where it was frozen"
        assert kept.weight_version == "base > step 1", "both weights wrote it"
        assert await waiting == await text_of(model)


async def test_an_error_of_a_failed_start_holds_the_servers_own_words(tiny):
    async with opened(tiny, arguments={**SERVE["arguments"], "max-model-len": 1_000_000}) as model:
        with pytest.raises(ServerFailed, match=r"(?s)ended before it answered.*max_model_len"):
            await model.complete(ask())
