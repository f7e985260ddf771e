"""A real vLLM, started, shared and stopped by the framework.

    VLLM_PYTHON=/opt/vllm/bin/python python -m pytest tests/real/test_vllm_managed.py

VLLM_PYTHON is a Python with vLLM, torch and transformers; `make test-vllm` makes one that needs no GPU.
"""

import asyncio
import os
import time

import pytest

from critic_loop.core.errors import ServerFailed
from critic_loop.core.messages import user
from critic_loop.core.protocols import Request
from critic_loop.core.records import Sampling
from critic_loop.models import resolve
from critic_loop.models.vllm import lend, paused
from tests.real.vllm import NEEDS_VLLM, SERVE, servers_of

pytestmark = [pytest.mark.anyio, NEEDS_VLLM]


def ask(text="Is it right?"):
    return Request(messages=(user(text),), sampling=Sampling(temperature=0.0, max_tokens=8))


async def text_of(model, *given):
    return (await model.complete(ask(*given))).text


async def test_it_is_started_shared_killed_started_again_and_stopped(tiny):
    spec = f"vllm:{tiny / 'base'}"
    actor, critic = resolve(spec, settings={"serve": SERVE}), resolve(spec)
    said = await asyncio.gather(*(text_of(model) for model in [actor, critic] * 4))
    assert len(set(said)) == 1
    [first] = servers_of(tiny)
    os.kill(first, 9)
    assert await text_of(actor) == said[0]
    [second] = servers_of(tiny)
    assert second != first
    await actor.aclose()
    await critic.aclose()
    assert servers_of(tiny) == []


async def test_adapters_are_versions_beside_the_base_and_go_when_they_are_closed(tiny):
    base = resolve(f"vllm:{tiny / 'base'}", settings={"serve": SERVE})
    v1, v2 = (resolve(f"vllm:{tiny / 'base'}+{tiny / name}") for name in ("v1", "v2"))
    said = [await text_of(model) for model in (base, v1, v2)]
    assert len(set(said)) == 3, "each has weights of its own"
    assert [await text_of(model) for model in (v2, base, v1)] == [said[2], said[0], said[1]]
    assert len(servers_of(tiny)) == 1
    await v1.aclose()
    listing = base.inner._server.ask("GET", "/v1/models")[1].decode()
    assert '"v2-' in listing
    assert '"v1-' not in listing
    assert await text_of(v1) == said[1], "and is loaded again for a later call"
    for model in (base, v1, v2):
        await model.aclose()


async def test_it_sleeps_while_somebody_else_has_the_device_and_wakes_as_it_was(tiny):
    """vLLM without a GPU knows the words, and frees nothing: `--enable-sleep-mode` is refused there."""
    arguments = {**SERVE["arguments"], "enable-sleep-mode": None}
    serve = {**SERVE, "arguments": arguments, "device": "cpu"}
    model = resolve(f"vllm:{tiny / 'base'}", settings={"serve": serve})
    said = await text_of(model)
    pids = servers_of(tiny)
    async with lend("cpu"):
        waiting = asyncio.create_task(text_of(model))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        assert model.inner._server.ask("GET", "/is_sleeping")[1] == b'{"is_sleeping":true}'
    assert await waiting == said
    assert servers_of(tiny) == pids, "woken, not started anew"
    await model.aclose()


async def test_a_pause_keeps_what_is_in_flight(tiny):
    environment = {**SERVE["environment"], "VLLM_SERVER_DEV_MODE": "1"}
    model = resolve(f"vllm:{tiny / 'base'}", settings={"serve": {**SERVE, "environment": environment}})
    sampling = Sampling(temperature=0.0, max_tokens=1900, extra={"ignore_eos": True})
    long = Request(messages=(user("Is it right?"),), sampling=sampling)
    await model.complete(long)  # what comes first takes longer
    began = time.monotonic()
    whole = await model.complete(long)
    took_s = time.monotonic() - began
    call = asyncio.create_task(model.complete(long))
    await asyncio.sleep(took_s / 4)
    async with paused(str(tiny / "base"), version="step 1"):
        assert not call.done()
        waiting = asyncio.create_task(text_of(model))
        await asyncio.sleep(2 * took_s)
        assert [call.done(), waiting.done()] == [False, False]
        assert model.inner._server.ask("GET", "/is_paused")[1] == b'{"is_paused":true}'
    kept = await call
    assert (kept.choices[0].token_ids, kept.weight_version) == (whole.choices[0].token_ids, "base > step 1")
    assert await waiting == await text_of(model)
    await model.aclose()


async def test_why_it_does_not_start_is_said_in_its_own_words(tiny):
    serve = {**SERVE, "arguments": {**SERVE["arguments"], "max-model-len": 1_000_000}}
    model = resolve(f"vllm:{tiny / 'base'}", settings={"serve": serve})
    with pytest.raises(ServerFailed, match=r"(?s)ended before it answered.*max_model_len"):
        await model.complete(ask())
    await model.aclose()
