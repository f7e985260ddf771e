"""vLLM in this process: how its application is asked, and what is said without it."""

import asyncio
import importlib.util
import json
import subprocess
import sys
from threading import Thread
from types import SimpleNamespace

import httpx
import pytest

from critic_loop.core.errors import ConfigError, EndpointError, ServerFailed
from critic_loop.models import resolve
from critic_loop.models.vllm import engine as engines
from critic_loop.models.vllm import servers
from critic_loop.models.wire.health_check import HEALTH_CHECK
from tests.unit.models.vllm.conftest import ask, gone, is_running

pytestmark = pytest.mark.anyio
CHAT = b'{"choices": [{"message": {"role": "assistant", "content": "%s"}, "finish_reason": "stop"}]}'


class Llm:
    """What vLLM's engine is to us; its application is the test's."""

    errored = False
    ended = 0

    @classmethod
    def from_engine_args(cls, args):
        cls.args = args
        return cls()

    model_config = None

    async def get_supported_tasks(self):
        return ("generate",)

    def shutdown(self):
        type(self).ended += 1


class Parser:
    def __init__(self, **_):
        pass

    def parse_args(self, line):
        if "--nonsense" in line:
            self.error("unrecognized arguments: --nonsense")
        return line


async def nothing(*_):
    pass


@pytest.fixture
def vllm(monkeypatch):
    """A function that makes the application; what was asked of it."""
    state = SimpleNamespace(asked=[], app=None)

    async def app(scope, receive, send):
        body = (await receive())["body"]
        state.asked.append((scope["path"], dict(scope["headers"]).get(b"authorization"), body))
        if scope["path"] == "/health":
            return await answer(send, b"")
        if state.app is None or scope["path"] != "/v1/chat/completions" or HEALTH_CHECK.encode() in body:
            return await answer(send, CHAT % b"ok")
        return await state.app(body, receive, send)

    app.state = SimpleNamespace()
    parts = SimpleNamespace(
        AsyncEngineArgs=SimpleNamespace(from_cli_args=lambda args: args),
        AsyncLLM=type("Own", (Llm,), {}),
        FlexibleArgumentParser=Parser,
        build_app=lambda *_: app,
        init_app_state=nothing,
        make_arg_parser=lambda parser: parser,
    )
    state.llm = parts.AsyncLLM
    monkeypatch.setattr(engines, "_imported", lambda: parts)
    registry = {}
    monkeypatch.setattr(servers, "_servers", registry)
    yield state
    for server in registry.values():
        server.stop()


async def answer(send, *pieces, status=200):
    await send({"type": "http.response.start", "status": status, "headers": []})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def test_it_is_started_when_it_is_asked_and_ends_with_its_model(vllm):
    model = resolve("vllm-engine:Q", settings={"engine": {"arguments": {"seed": 7}}})
    assert vllm.asked == []
    assert (model.spec, (await model.complete(ask())).text) == ("vllm-engine:Q", "ok")
    line = " ".join(vllm.llm.args)
    assert line.startswith("--model Q --api-key ")
    assert line.endswith(" --disable-log-stats --seed 7")
    assert len({key for path, key, _ in vllm.asked if path != "/health"}) == 1
    await model.aclose()
    assert vllm.llm.ended == 1
    assert (await model.complete(ask())).text == "ok", "a later call has it again"
    await model.aclose()


async def test_it_is_asked_from_any_event_loop(vllm):
    async def app(body, receive, send):
        await asyncio.sleep(0.05)
        await answer(send, CHAT % b"soon")

    vllm.app = app
    model = resolve("vllm-engine:Q")
    await model.complete(ask())
    said = []
    threads = [Thread(target=lambda: said.append(asyncio.run(model.complete(ask())).text)) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        await asyncio.sleep(0.01)
    assert said == ["soon"] * 4
    await model.aclose()


async def test_a_cancelled_call_is_a_disconnect_to_the_application(vllm):
    seen = []

    async def app(body, receive, send):
        seen.append(json.loads(body)["messages"][-1]["content"])
        seen.append((await receive())["type"])

    vllm.app = app
    model = resolve("vllm-engine:Q")
    async with asyncio.timeout(30):
        call = asyncio.create_task(model.complete(ask("never answered")))
        while not seen:
            await asyncio.sleep(0.01)
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        while len(seen) < 2:
            await asyncio.sleep(0.01)
    assert seen == ["never answered", "http.disconnect"]
    await model.aclose()


async def test_what_the_application_raises_is_a_models_error(vllm):
    async def app(body, receive, send):
        raise RuntimeError("CUDA out of memory")

    vllm.app = app
    model = resolve("vllm-engine:Q", settings={"attempts": 1})
    with pytest.raises(EndpointError, match="broke off") as raised:
        await model.complete(ask())
    assert raised.value.transient
    await model.aclose()


async def test_an_engine_that_dies_is_started_anew(vllm):
    async def app(body, receive, send):
        if not died:
            died.append(True)
            vllm.llm.errored = True
            return await answer(send, b'{"error": {"message": "EngineDeadError"}}', status=500)
        return await answer(send, CHAT % b"again")

    vllm.app = app
    model = resolve("vllm-engine:Q", settings={"attempts": 2})
    begun = vllm.llm.from_engine_args

    def fresh(args):
        vllm.llm.errored = False
        return begun(args)

    died = []
    vllm.llm.from_engine_args = fresh
    assert (await model.complete(ask("die"))).text == "again"
    assert vllm.llm.ended == 1, "the dead one was put away"
    await model.aclose()


async def test_arguments_that_vllm_does_not_know_are_told(vllm):
    with pytest.raises(
        ServerFailed, match=r"cannot serve 'Q' in this process .*unrecognized arguments"
    ) as raised:
        await resolve("vllm-engine:Q", settings={"engine": {"arguments": {"nonsense": 1}}}).complete(ask())
    assert "engine.arguments" in raised.value.hint


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
async def test_a_python_without_vllm_is_told():
    with pytest.raises(ServerFailed, match="not installed in this Python") as raised:
        await resolve("vllm-engine:Nowhere").complete(ask())
    assert "pip install 'critic-loop[vllm]'" in raised.value.hint


@pytest.mark.parametrize(
    ("spec", "settings", "says"),
    [
        ("vllm-engine:Q@http://h:1", {}, "takes no address"),
        ("vllm-engine:Q", {"serve": {}}, "`serve` is for"),
        ("vllm:Q", {"engine": {}}, "`engine` is for vllm-engine:NAME"),
        ("vllm-engine:Q", {"engine": {"arguments": {"api-key": "x"}}}, "api-key cannot be given"),
    ],
)
def test_settings_that_cannot_be_are_refused(spec, settings, says):
    with pytest.raises(ConfigError, match=says):
        resolve(spec, settings=settings)


CHILD = """
import multiprocessing, os, time
from critic_loop.models.vllm.process import Watch

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    child.start()
    watch = Watch([child.pid])
    print(child.pid, flush=True)
    time.sleep(600)
"""


def test_its_processes_end_with_this_one_however_that_ends(tmp_path):
    (tmp_path / "main.py").write_text(CHILD)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "main.py")], stdout=subprocess.PIPE, text=True)
    with parent:
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
        parent.wait(20)
        assert gone(child)


async def test_one_that_has_ended_is_not_there():
    def ended():
        raise httpx.ConnectError("has ended")

    with pytest.raises(httpx.ConnectError):
        await engines._Direct(ended).handle_async_request(httpx.Request("GET", "http://x"))
