"""LoRA adapters: a name and a folder for each version, drained before they go."""

import asyncio
import json
from pathlib import Path

import pytest

import critic_loop as cl
from critic_loop.core.errors import ConfigError
from critic_loop.models import Switchboard, resolve
from critic_loop.models.wire.health_check import HEALTH_CHECK
from critic_loop.testing import ScriptedModel
from tests.unit.models.vllm.conftest import ask, gone

pytestmark = pytest.mark.anyio


@pytest.fixture
def adapter(tmp_path):
    def write(name, weights="1", rank=8):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
        (folder / "adapter_model.safetensors").write_text(weights)
        return folder

    return write


async def test_each_version_has_a_name_and_a_folder_of_its_own(fake, adapter):
    base, v1 = fake.model("vllm:Q"), resolve(f"vllm:Q+{adapter('critic')}")
    first = await v1.complete(ask())
    adapter("critic", "2")  # a trainer writes over it
    assert (await v1.complete(ask())).text == first.text, "one model, one version"
    v2 = resolve(v1.spec)
    second = await v2.complete(ask())
    assert (await base.complete(ask())).text == "Q: hi"
    loads = fake.noted("/v1/load")
    names, paths = [one["lora_name"] for one in loads], [Path(one["lora_path"]) for one in loads]
    assert [first.text, second.text] == [f"{name}: hi" for name in names]
    assert len(set(names)) == len(set(paths)) == 2
    assert [(path / "adapter_model.safetensors").read_text() for path in paths] == ["1", "2"]
    assert [name.startswith("critic-") for name in names] == [True, True]
    assert first.weight_version != second.weight_version
    [start] = fake.noted("start")
    assert " ".join(start["arguments"]).endswith("--enable-lora --max-loras 2 --max-lora-rank 8")
    await v1.aclose()
    assert [one["lora_name"] for one in fake.noted("/v1/unload")] == names[:1]
    assert [path.exists() for path in paths] == [False, True]
    assert (await v2.complete(ask())).text == second.text


async def test_the_same_version_is_loaded_once_and_stays_for_who_still_asks_it(fake, adapter):
    fake.model("vllm:Q")
    one, other = (resolve(f"vllm:Q+{adapter('critic')}") for _ in range(2))
    await asyncio.gather(*(model.complete(ask()) for model in [one, other] * 3))
    assert len(fake.noted("/v1/load")) == 1
    await one.aclose()
    assert fake.noted("/v1/unload") == []
    await other.complete(ask())
    await other.aclose()
    assert len(fake.noted("/v1/unload")) == 1


async def test_it_is_unloaded_when_its_calls_have_ended(fake, adapter):
    base, critic = fake.model("vllm:Q"), resolve(f"vllm:Q+{adapter('critic')}")
    await critic.complete(ask())
    slow = asyncio.create_task(critic.complete(ask("slow 0.3")))
    await asyncio.sleep(0.1)
    closing = asyncio.create_task(critic.aclose())
    await asyncio.sleep(0.05)
    assert not closing.done()
    assert (await slow).text.endswith("slow 0.3")
    await closing
    assert len(fake.noted("/v1/unload")) == 1
    assert (await critic.complete(ask("back"))).text.endswith(": back"), "and loaded again for a later call"
    await base.aclose()


async def test_a_server_without_room_for_it_is_started_anew_once_it_is_idle(fake, adapter):
    base = fake.model("vllm:Q")
    slow = asyncio.create_task(base.complete(ask("slow 0.4")))
    while not fake.noted("chat")[1:]:
        await asyncio.sleep(0.02)
    critic, _another = resolve(f"vllm:Q+{adapter('critic', rank=20)}"), resolve("vllm:Q")
    assert (await critic.complete(ask())).text.startswith("critic-")
    assert (await slow).text == "Q: slow 0.4", "what was in flight has ended first"
    first, second = fake.noted("start")
    assert "--enable-lora" not in first["arguments"]
    assert second["arguments"][-1] == "32", "the rank, rounded up to one that vLLM knows"
    assert (await base.complete(ask())).text == "Q: hi"
    assert len(fake.noted("start")) == 2


async def test_one_that_comes_while_the_server_starts_finds_room(fake, adapter):
    base = fake.model("vllm:late")
    first = asyncio.create_task(base.complete(ask()))
    while not fake.noted("start"):
        await asyncio.sleep(0.02)
    critic = resolve(f"vllm:late+{adapter('critic')}")
    assert (await critic.complete(ask())).text.startswith("critic-")
    assert (await first).text == "late: hi"
    for model in (base, critic):
        await model.aclose()


async def test_room_that_the_settings_give_is_enough(fake, adapter):
    room = {"enable-lora": True, "max-lora-rank": 64}
    base = fake.model("vllm:Q", arguments=room)
    await base.complete(ask())
    critic = resolve(f"vllm:Q+{adapter('critic', rank=32)}")
    assert (await critic.complete(ask())).text.startswith("critic-")
    assert len(fake.noted("start")) == 1
    for model in (base, critic):
        await model.aclose()


async def test_adapters_that_the_settings_name_have_room_from_the_start(fake, adapter, tmp_path):
    named = {"later": str(adapter("checkpoint", rank=16)), "missing": str(tmp_path / "not-yet")}
    base = fake.model("vllm:Q", adapters=named)
    await base.complete(ask())
    assert (await resolve("vllm:Q+later").complete(ask())).text.startswith("checkpoint-")
    [start] = fake.noted("start")
    assert " ".join(start["arguments"]).endswith("--enable-lora --max-loras 2 --max-lora-rank 16")
    await base.aclose()


async def test_one_whose_loading_was_not_answered_is_loaded(fake, adapter):
    fake.model("vllm:mumbles")
    critic = fake.model(f"vllm:mumbles+{adapter('critic')}")
    assert (await critic.complete(ask())).text.startswith("critic-")
    await critic.aclose()


async def test_a_name_from_the_settings_stands_for_a_folder(fake, adapter):
    folder = adapter("checkpoint-200")
    model = fake.model("vllm:Q+critic-v3", adapters={"critic-v3": str(folder)})
    assert model.spec == "vllm:Q+critic-v3"
    assert (await model.complete(ask())).text.startswith("checkpoint-200-")


def test_what_is_no_adapter_is_said_at_once(fake, tmp_path):
    with pytest.raises(ConfigError, match="holds no LoRA adapter"):
        fake.model(f"vllm:Q+{tmp_path}")


async def test_a_drained_swap_unloads_what_it_left_and_keeps_what_others_have(fake, adapter):
    v1, v2 = (f"vllm:Q+{adapter(name)}" for name in ("v1", "v2"))
    board = Switchboard("actor", "critic", settings={spec: fake.settings() for spec in ("vllm:Q", v1, v2)})
    board.bind("actor", "vllm:Q")
    board.bind("critic", v1)
    async with board.lease("critic") as bound:
        await bound.cursor.model.complete(ask())
    await board.swap("critic", v2)
    assert [one["lora_name"][:2] for one in fake.noted("/v1/")] == ["v1", "v2", "v1"], (
        "loaded, loaded, unloaded"
    )
    [start] = fake.noted("start")
    await board.swap("critic", ScriptedModel(["hosted"] * 9))
    async with board.lease("actor") as bound:
        assert (await bound.cursor.model.complete(ask())).text == "Q: hi", "the actor's server stays"
    await board.swap("actor", ScriptedModel(["hosted"] * 9))
    assert gone(start["pid"]), "until it is nobody's"


async def test_a_job_goes_through_versions_of_its_critic_and_loses_nothing(fake, adapter):
    v1, v2 = (f"vllm:Q+{adapter(name)}" for name in ("v1", "v2"))
    actor = ScriptedModel(lambda request: "draft", latency_s=0.01)
    models = {spec: resolve(spec, settings=fake.settings()) for spec in (v1, v2)}
    async with cl.Loop("refine", actor=actor, critic=models[v1], verifiers=[], stop=cl.MaxRounds(2)) as loop:
        said = []
        async for result in loop.map([f"task {n}" for n in range(40)], in_flight=8):
            said += [call.binding for call in result.tree.calls.values() if call.slot == "critic"]
            assert all(reply.status == "ok" for reply in result.tree.replies.values())
            if len(said) == 20:
                await loop.swap("critic", models[v2])
    asked = [one["model"] for one in fake.noted("chat") if one["said"] != HEALTH_CHECK]
    for spec, name in ((v1, "v1"), (v2, "v2")):
        assert said.count(spec) == sum(model.startswith(name) for model in asked) > 0
    for model in models.values():
        await model.aclose()
