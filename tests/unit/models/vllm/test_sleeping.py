"""Servers that share a device: one is awake at a time, and wakes as it fell asleep.

What vLLM answers is imitated: that sleeping frees memory can be seen on a GPU only.
"""

import asyncio
import json

import pytest

from critic_loop.models.vllm import lend
from critic_loop.models.wire.health_check import HEALTH_CHECK
from tests.unit.models.vllm.conftest import ask

pytestmark = pytest.mark.anyio


def control(fake):
    paths = ("start", "/sleep", "/wake_up", "/collective_rpc", "/v1/")
    return [(one["name"], one["path"]) for one in fake.noted() if one["path"].startswith(paths)]


async def test_two_servers_take_turns_and_one_sleeps(fake):
    actor, critic = fake.model("vllm:A", device="gpu-1"), fake.model("vllm:C", device="gpu-1")

    async def run(n):
        for _ in range(3):
            assert (await actor.complete(ask(f"slow 0.0{n}"))).text.startswith("A: ")
            assert (await critic.complete(ask(f"slow 0.0{n}"))).text.startswith("C: ")

    await asyncio.gather(*map(run, range(6)))
    awake, changes = set(), 0
    for name, path in control(fake):
        changes += 1
        if path.startswith("/sleep"):
            assert path == "/sleep?level=1"
            awake.remove(name)
        else:
            assert not awake, "the other one slept first"
            awake.add(name)
    assert changes < 2 * 36 / 2, "turns are longer than a call"
    assert sum("--enable-sleep-mode" in start["arguments"] for start in fake.noted("start")) == 2
    for model in (actor, critic):
        await model.aclose()


async def test_weights_that_were_dropped_are_read_again_before_anything_is_asked(fake, tmp_path):
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "adapter_config.json").write_text(json.dumps({"r": 8}))
    deep = fake.model("vllm:D", device="gpu-2", sleep=2)
    tuned = fake.model(f"vllm:D+{tmp_path / 'v1'}", device="gpu-2", sleep=2)
    first = (await tuned.complete(ask())).text
    async with lend("gpu-2"):
        waiting = asyncio.create_task(deep.complete(ask("later")))
        await asyncio.sleep(0.2)
        assert not waiting.done(), "calls wait while somebody else has the device"
    assert (await waiting).text == "D: later"
    second = (await tuned.complete(ask())).text
    assert [path for _, path in control(fake)][1:] == [
        "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/sleep?level=2", "/wake_up?tags=weights",
        "/collective_rpc", "/wake_up?tags=kv_cache", "/v1/load_lora_adapter",
    ]  # fmt: skip
    assert first != second, "an adapter whose weights were dropped comes back under another name"
    said = [one["said"] for one in fake.noted("chat")]
    assert said == [HEALTH_CHECK, "hi", HEALTH_CHECK, "later", "hi"], "a canary after waking"
    for model in (deep, tuned):
        await model.aclose()


async def test_one_that_wakes_as_somebody_else_is_started_anew(fake):
    model = fake.model("vllm:broken", device="gpu-3", sleep=2)
    await model.complete(ask())
    async with lend("gpu-3"):
        pass
    assert (await model.complete(ask())).text == "broken: hi", "not what the woken one said"
    assert len(fake.noted("start")) == 2
    await model.aclose()


async def test_a_server_that_cannot_sleep_ends_and_comes_back(fake):
    model = fake.model("vllm:Q", device="gpu-4", arguments={"enable-sleep-mode": None})
    await model.complete(ask())
    async with lend("gpu-4"):
        pass
    assert (await model.complete(ask())).text == "Q: hi"
    assert [path for _, path in control(fake)] == ["start", "/sleep?level=1", "start"]
    await model.aclose()


async def test_who_keeps_busy_gives_way_in_the_end(fake, monkeypatch):
    from critic_loop.models.vllm import device

    monkeypatch.setitem(device._devices, "gpu-5", device.Turns(turn_s=0.2))
    busy, other = fake.model("vllm:A", device="gpu-5"), fake.model("vllm:C", device="gpu-5")
    await busy.complete(ask())
    done = asyncio.Event()

    async def keep_busy():
        while not done.is_set():
            await busy.complete(ask("slow 0.05"))

    workers = [asyncio.create_task(keep_busy()) for _ in range(4)]
    await asyncio.sleep(0.1)
    assert (await asyncio.wait_for(other.complete(ask()), 5)).text == "C: hi"
    done.set()
    await asyncio.gather(*workers)
    for model in (busy, other):
        await model.aclose()
