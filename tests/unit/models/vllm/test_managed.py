"""`vllm:NAME`: a server that is started when it is needed, shared, and stopped whatever happens."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from critic_loop.core.errors import ConfigError, EndpointError, ServerFailed, Unreachable
from critic_loop.models import resolve
from critic_loop.models.vllm import server, servers
from critic_loop.models.vllm.folders import Folder, sweep
from critic_loop.models.wire.health_check import HEALTH_CHECK
from tests.unit.models.vllm.conftest import FAKE, ask, gone, is_running

pytestmark = pytest.mark.anyio


async def test_a_server_is_started_when_it_is_first_asked_and_ends_with_its_model(fake):
    model = fake.model(
        "vllm:Q", arguments={"max-model-len": 64, "enforce_eager": True, "lora-modules": ["a", "b"]}
    )
    assert (model.spec, fake.noted()) == ("vllm:Q", [])
    assert (await model.complete(ask())).text == "Q: hi"
    [start] = fake.noted("start")
    line = " ".join(start["arguments"])
    assert line.startswith("serve Q --host 127.0.0.1 --port ")
    assert line.endswith("--max-model-len 64 --enforce-eager --lora-modules a b")
    assert [one["said"] for one in fake.noted("chat")] == [HEALTH_CHECK, "hi"], "a canary, then the call"
    assert is_running(start["worker"])
    await model.aclose()
    assert gone(start["pid"], start["worker"])


@pytest.mark.parametrize(("longest", "named"), [(4096, True), (3, False)])
async def test_the_sockets_that_a_server_leaves_go_with_it(fake, folders, monkeypatch, longest, named):
    """Paths of sockets that get too long are vLLM's own affair."""
    monkeypatch.setattr(server, "_LONGEST_FOLDER", longest)
    monkeypatch.delenv("VLLM_RPC_BASE_PATH", raising=False)
    model = fake.model("vllm:Q")
    await model.complete(ask())
    [start] = fake.noted("start")
    assert [path.name for path in folders.path.glob("*/left-behind")] == ["left-behind"] * named
    await model.aclose()
    assert bool(start["sockets"]) is named
    assert list(folders.path.iterdir()) == []


async def test_models_of_one_name_share_a_server_until_the_last_is_closed(fake):
    actor, critic = fake.model("vllm:Q"), resolve("vllm:Q")
    answers = await asyncio.gather(*(model.complete(ask()) for model in [actor, critic] * 4))
    assert {answer.text for answer in answers} == {"Q: hi"}
    [start] = fake.noted("start")
    await actor.aclose()
    assert (await critic.complete(ask("still"))).text == "Q: still"
    await critic.aclose()
    assert gone(start["pid"])
    assert (await critic.complete(ask("again"))).text == "Q: again", "a later call starts it again"
    assert len(fake.noted("start")) == 2


async def test_it_may_be_asked_from_several_event_loops(fake):
    model = fake.model("vllm:Q")
    answers = await asyncio.gather(
        *(asyncio.to_thread(lambda: asyncio.run(model.complete(ask())).text) for _ in range(4))
    )
    assert answers == ["Q: hi"] * 4
    assert len(fake.noted("start")) == 1


async def test_waiting_for_the_start_does_not_count_as_the_calls_time(fake):
    assert (await fake.model("vllm:Q").complete(ask(timeout_s=0.09))).text == "Q: hi"


async def test_a_server_that_dies_is_explained_with_its_last_lines(fake):
    model = fake.model("vllm:dies", attempts=8)
    with pytest.raises(ServerFailed) as raised:
        await model.complete(ask())
    said = str(raised.value)
    assert "'dies' ended before it answered, with code 5" in said
    assert "loading weights\nCUDA out of memory, by the way the key is [key]" in said
    log = Path(said.partition("log: ")[2].partition("\n")[0])
    await model.aclose()
    assert log.exists(), "what the message names is kept"  # noqa: ASYNC240
    assert len(fake.noted("start")) == 1, "and nothing is tried again"
    assert isinstance(raised.value, Unreachable), "a fallback chain goes on"


async def test_a_server_that_never_answers_is_given_up(fake):
    with pytest.raises(ServerFailed, match=r"did not answer within 3 s.*\n.*loading weights"):
        await fake.model("vllm:hangs", start_timeout_s=3).complete(ask())
    assert gone(fake.noted("start")[0]["pid"])


async def test_a_server_of_another_name_is_told_apart(fake):
    with pytest.raises(ServerFailed, match="is up, but serves 'alias', and nothing of this name") as raised:
        await fake.model("vllm:aliased").complete(ask())
    assert raised.value.hint == "Leave served-model-name out of serve.arguments."
    assert not fake.noted("chat")


@pytest.mark.parametrize(("wanted", "warned"), [(64, 0), (128, 1), (-1, 0), ("1k", 0)])
async def test_what_it_makes_of_max_model_len_is_said(fake, caplog, wanted, warned):
    if wanted == "1k":
        wanted = None
    await fake.model("vllm:Q", arguments={"max-model-len": wanted}).complete(ask())
    assert len([r for r in caplog.records if "and not the 128 of max-model-len" in r.getMessage()]) == warned


async def test_closing_ends_a_start_that_is_under_way(fake):
    model = fake.model("vllm:hangs")
    call = asyncio.create_task(model.complete(ask()))
    while not fake.noted("start"):
        await asyncio.sleep(0.02)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await asyncio.wait_for(model.aclose(), 5)
    assert gone(fake.noted("start")[0]["pid"])


async def test_a_call_that_waits_for_a_start_is_told_that_it_was_closed(fake, folders):
    model = fake.model("vllm:hangs")
    call = asyncio.create_task(model.complete(ask()))
    while not fake.noted("start"):
        await asyncio.sleep(0.02)
    await asyncio.wait_for(model.aclose(), 5)
    with pytest.raises(ServerFailed, match=r"^vLLM serving 'hangs' was closed while it started\.$"):
        await call
    assert folders() == [], "and no log is kept"


async def test_who_comes_while_the_last_one_goes_is_served(fake):
    first = fake.model("vllm:late")
    call = asyncio.create_task(first.complete(ask()))
    while not fake.noted("start"):
        await asyncio.sleep(0.02)
    call.cancel()
    closing = asyncio.create_task(first.aclose())
    await asyncio.sleep(0.01)
    second = resolve("vllm:late")
    assert (await second.complete(ask())).text == "late: hi"
    await closing
    assert (await second.complete(ask("still"))).text == "late: still"
    await second.aclose()
    assert gone(*(start["pid"] for start in fake.noted("start")))


async def test_closing_waits_for_calls_that_were_sent(fake):
    models = [fake.model("vllm:Q"), resolve("vllm:Q")]
    await models[1].complete(ask())
    slow = asyncio.create_task(models[0].complete(ask("slow 0.4")))
    while not fake.noted("chat")[2:]:
        await asyncio.sleep(0.02)
    await asyncio.gather(*(model.aclose() for model in models))
    assert slow.done()
    assert (await slow).text == "Q: slow 0.4"
    [start] = fake.noted("start")
    assert gone(start["pid"])


async def test_what_answers_no_http_is_not_up_yet(fake):
    assert (await fake.model("vllm:babbles").complete(ask())).text == "babbles: hi"


async def test_a_folder_is_one_server_however_it_is_written(fake, tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    one, other = fake.model("vllm:weights"), resolve(f"vllm:{tmp_path}/./weights")
    for model in (one, other):
        await model.complete(ask())
    assert len(fake.noted("start")) == 1


async def test_a_call_whose_server_dies_is_sent_again_to_a_new_one(fake):
    model = fake.model("vllm:Q")
    await model.complete(ask())
    os.kill(fake.noted("start")[0]["pid"], signal.SIGKILL)
    assert (await model.complete(ask("after"))).text == "Q: after"
    assert len(fake.noted("start")) == 2


async def test_waiting_for_a_start_leaves_a_call_its_time_for_being_sent_again(fake):
    answer = await fake.model("vllm:later").complete(ask("die once", timeout_s=1.4))
    assert answer.text == "later: die once"
    assert len(fake.noted("start")) == 2, "1.5 s each"


async def test_who_can_ask_another_waits_for_the_first_start_and_for_no_other(fake):
    model = fake.model("vllm:late", attempts=8)
    assert (await model.complete(ask(retries=1))).text == "late: hi"
    with pytest.raises(ServerFailed, match="'late' ended with code 3"):
        await model.complete(ask("die", retries=1))
    with pytest.raises(ServerFailed, match="ended, and is being started again"):
        await model.complete(ask(retries=0))
    asked = [one["said"] for one in fake.noted("chat")]
    assert asked == [HEALTH_CHECK, "hi", "die"], "neither waited for the start"
    assert (await model.complete(ask("patient"))).text == "late: patient"
    assert (await model.complete(ask("again", retries=0))).text == "late: again"
    assert [one["said"] for one in fake.noted("chat")] == [
        HEALTH_CHECK,
        "hi",
        "die",
        HEALTH_CHECK,
        "patient",
        "again",
    ]


async def test_why_it_could_not_be_started_again_is_told_to_the_next_who_asks(fake):
    model = fake.model("vllm:Q", attempts=1)
    for _ in range(3):
        with pytest.raises(EndpointError):
            await model.complete(ask("die"))
    with pytest.raises(ServerFailed, match="is being started again"):
        await model.complete(ask(retries=0))
    await asyncio.sleep(0.2)
    with pytest.raises(ServerFailed, match="ended 3 times in 15 minutes"):
        await model.complete(ask(retries=0))
    await model.aclose()


async def test_closing_breaks_off_a_start_for_which_nobody_waits(fake):
    model = fake.model("vllm:hangs-later")
    await model.complete(ask())
    with pytest.raises(ServerFailed):
        await model.complete(ask("die", retries=0))
    while not fake.noted("start")[1:]:
        await asyncio.sleep(0.02)
    await asyncio.wait_for(model.aclose(), 5)
    assert gone(*(start["pid"] for start in fake.noted("start")))


async def test_what_kills_its_server_again_and_again_is_not_sent_for_ever(fake):
    model = fake.model("vllm:Q", attempts=1)
    for _ in range(3):
        with pytest.raises(EndpointError, match=r"ended with code 3; log: .*server.log") as raised:
            await model.complete(ask("die"))
        assert raised.value.transient
    for _ in range(2):
        with pytest.raises(ServerFailed, match="ended 3 times in 15 minutes"):
            await model.complete(ask("hi"))
    assert len(fake.noted("start")) == 3
    [server] = servers._servers.values()
    server._deaths = [at - 900 for at in server._deaths]
    assert (await model.complete(ask("hi"))).text == "Q: hi", "a quarter of an hour later it may"


async def test_vllm_that_is_not_installed_is_said_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerFailed, match="pip install 'critic-loop\\[vllm\\]'"):
        await resolve("vllm:Nowhere").complete(ask())


async def test_one_on_the_path_is_taken(monkeypatch, tmp_path, fake):
    script = tmp_path / "vllm"
    script.write_text(f'#!/bin/sh\nexec {" ".join(FAKE[:-1])} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    model = resolve("vllm:Q", settings={"serve": {"environment": {"FAKE_LOG": str(fake.log)}}})
    assert (await model.complete(ask())).text == "Q: hi"


def test_settings_that_contradict_each_other_are_refused(fake):
    first = fake.model("vllm:Q")
    with pytest.raises(ConfigError, match="two different settings"):
        fake.model("vllm:Q", arguments={"seed": 1})
    assert first.spec == "vllm:Q"


async def test_a_server_that_runs_keeps_its_settings(fake, monkeypatch, tmp_path):
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "FAKE_LOG": str(fake.log)}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    script = tmp_path / "vllm"
    script.write_text(f'#!/bin/sh\nexec {" ".join(FAKE[:-1])} "$@"\n')
    script.chmod(0o755)
    plain = resolve("vllm:Q")
    await plain.complete(ask())
    with pytest.raises(ConfigError, match="two different settings"):
        fake.model("vllm:Q", device="gpu")
    await plain.aclose()
    assert (await fake.model("vllm:Q", arguments={"seed": 1}).complete(ask())).text == "Q: hi"


@pytest.mark.parametrize(
    ("spec", "serve", "says"),
    [
        ("vllm:Q", {"arguments": {"api_key": "x"}}, "api-key cannot be given"),
        ("vllm:Q@http://h:1", {}, "`serve` is for models without an address"),
        ("openai:gpt", {}, "`serve` is for models without an address"),
    ],
)
def test_settings_that_cannot_be_are_refused(spec, serve, says):
    with pytest.raises(ConfigError, match=says):
        resolve(spec, settings={"serve": serve})


def test_a_vllm_that_is_started_here_names_its_weights_itself():
    for spec in ("vllm:Q", "vllm-engine:Q"):
        with pytest.raises(ConfigError, match="`weight_version` is for models with an address"):
            resolve(spec, settings={"weight_version": "step 400"})


PARENT = """
import asyncio, json, os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
from critic_loop.core.messages import user
from critic_loop.core.protocols import Request
from critic_loop.models import resolve

async def main():
    model = resolve("vllm:Q", settings=json.loads(sys.argv[1]))
    await model.complete(Request(messages=(user("hi"),)))
    print("up", flush=True)
    if sys.argv[2] == "hang":
        await asyncio.Event().wait()
    if sys.argv[2] == "crash":
        os._exit(1)
    if sys.argv[2] == "fork" and os.fork() == 0:
        os.kill(os.getppid(), 9)  # this one lives on, and holds what it inherited
        print(os.getpid(), flush=True)
        time.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("end", ["exit", "crash", signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_the_process_that_started_it(fake, end):
    import json

    how = end if isinstance(end, str) else "hang"
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), json.dumps(fake.settings()), how],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with parent:
        assert parent.stdout.readline() == "up\n"
        if not isinstance(end, str):
            parent.send_signal(end)
        try:
            parent.wait(20)
        finally:
            parent.kill()
    [start] = fake.noted("start")
    assert gone(start["pid"], start["worker"])


def test_a_fork_of_that_process_keeps_nothing_alive(fake):
    import json

    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(PARENT), json.dumps(fake.settings()), "fork"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with parent:
        assert parent.stdout.readline() == "up\n"
        fork = int(parent.stdout.readline())
        parent.wait(20)
        [start] = fake.noted("start")
        assert gone(start["pid"], start["worker"])
        assert is_running(fork)
        os.kill(fork, signal.SIGKILL)


def test_what_a_killed_process_left_is_removed_by_the_next_start(fake, folders, tmp_path):
    import json

    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "adapter_config.json").write_text('{"r": 8}')
    code = textwrap.dedent(PARENT).replace('"vllm:Q"', f'"vllm:Q+{tmp_path / "v1"}"')
    parent = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(fake.settings()), "hang"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with parent:
        assert parent.stdout.readline() == "up\n"
        sweep()
        assert folders() == ["adapter", "vllm"], "its owner lives"
        parent.kill()
        parent.wait(20)
    folder = Folder("vllm")
    folder.keep()
    kept = folder.path / ".critic-loop-kept"
    (folders.path / "critic-loop-notes").mkdir()  # somebody's own
    model = fake.model("vllm:Q")
    assert asyncio.run(model.complete(ask())).text == "Q: hi"
    assert folders() == ["notes", "vllm", "vllm"], "its own, and what an error had named"
    assert kept.exists()
    asyncio.run(model.aclose())
    assert folders() == ["notes", "vllm"]
    os.utime(kept, (0, 0))
    sweep()
    assert folders() == ["notes"], "but not for ever"
