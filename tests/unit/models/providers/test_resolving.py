"""Specs: what each names, and what is said when one is wrong."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError, RateLimited
from critic_loop.core.messages import user
from critic_loop.core.protocols import Model, Request
from critic_loop.models import ModelSettings, backends, resolve
from critic_loop.testing import ScriptedModel, TestServer

ROOT = Path(__file__).parents[4]
PROVIDERS = ROOT / "critic_loop/models/providers"


@pytest.mark.parametrize(
    ("spec", "recorded"),
    [
        ("chat:m@http://h:1/v1", "chat:m@http://h:1/v1"),
        ("vllm:Qwen/Qwen3-8B", "vllm:Qwen/Qwen3-8B"),
        ("vllm:Qwen/Qwen3-8B@http://h:8000", "vllm:Qwen/Qwen3-8B@http://h:8000"),
        ("vllm:Q+critic-v3@http://h:8000", "vllm:Q+critic-v3@http://h:8000"),
        ("ollama:qwen3:0.6b", "ollama:qwen3:0.6b"),
        ("ollama:qwen3@http://h:1", "ollama:qwen3@http://h:1"),
        ("openai:gpt", "openai:gpt"),
        ("anthropic:claude", "anthropic:claude"),
        ("anthropic:claude@http://gateway", "anthropic:claude@http://gateway"),
        ("llamacpp:q", "llamacpp:q"),
        ("sglang:Q@http://h:30000", "sglang:Q@http://h:30000"),
    ],
)
def test_specs_name_models(spec, recorded, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x-secret")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    model = resolve(spec)
    assert isinstance(model, Model)
    assert model.spec == recorded
    assert "secret" not in repr(model)


def test_a_model_is_returned_as_it_is():
    model = ScriptedModel([])
    assert resolve(model) is model


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("opnai:gpt", "Did you mean 'openai'"),
        ("nonsense:x", "Known: anthropic, chat, embedded"),
        ("gpt-5", "names no model. Write BACKEND:NAME"),
        ("embedded", "names no model. Write embedded:NAME"),
        ("openai:", "names no model"),
        ("openai:gpt", "Set OPENAI_API_KEY"),
        ("anthropic:claude", "Set ANTHROPIC_API_KEY"),
        ("sglang:Q", "has no address"),
        ("chat:m", "chat:NAME@"),
        ("chat:m@ftp://h", "has no address"),
    ],
)
def test_wrong_specs_say_what_to_do(spec, says):
    with pytest.raises(ConfigError) as raised:
        resolve(spec)
    assert says in str(raised.value)


def test_another_variable_may_hold_the_key(monkeypatch):
    with pytest.raises(ConfigError, match="TEAM_KEY"):
        resolve("openai:gpt", settings={"key_env": "TEAM_KEY"})
    monkeypatch.setenv("TEAM_KEY", "k")
    assert resolve("openai:gpt", settings={"key_env": "TEAM_KEY"}).spec == "openai:gpt"


def test_a_gateway_shows_in_the_spec(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://gateway/v1")
    assert resolve("openai:gpt").spec == "openai:gpt@http://gateway/v1"


@pytest.mark.parametrize("base", ["http://gw/claude", "http://gw/claude/", "http://gw/claude/v1"])
def test_anthropics_own_variable_stands_before_the_version(monkeypatch, base):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", base)
    assert resolve("anthropic:c").spec == "anthropic:c@http://gw/claude/v1"


@pytest.mark.parametrize("host", ["gpu:11434", "http://gpu:11434"])
def test_ollamas_own_variable_is_read(monkeypatch, host):
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert resolve("ollama:q").spec == "ollama:q@http://gpu:11434"


@pytest.mark.parametrize(("host", "asked"), [("0.0.0.0:1", "127.0.0.1:1"), ("10.0.0.0:1", "10.0.0.0:1")])
def test_ollama_is_asked_here_where_its_variable_is_the_address_of_all(monkeypatch, host, asked):
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert resolve("ollama:q").spec == f"ollama:q@http://{asked}"


def test_unknown_settings_are_refused():
    with pytest.raises(ConfigError, match="timeout"):
        resolve("ollama:q", settings={"timeout": 3})


def test_installed_backends_are_called_with_the_rest(monkeypatch):
    made = []

    def backend(rest):
        made.append(rest)
        return ScriptedModel([], spec=f"mine:{rest}")

    monkeypatch.setattr(plugins, "find", lambda group, name: backend if name == "mine" else None)
    assert resolve("mine:a:b@c").spec == "mine:a:b@c"
    assert made == ["a:b@c"]


def test_a_backend_that_makes_no_model_is_named(monkeypatch):
    monkeypatch.setattr(plugins, "find", lambda group, name: str)
    with pytest.raises(ConfigError, match=r"made str of 'x'.*must give it spec, complete, aclose"):
        resolve("mine:x")


def test_a_backend_that_fails_is_named_without_secrets(monkeypatch):
    monkeypatch.setattr(plugins, "find", lambda group, name: lambda rest: 1 / 0)
    with pytest.raises(ConfigError, match=r"backend 'mine' makes no model of .*: ZeroDivisionError") as raised:
        resolve("mine:x@http://u:hidden@h")
    assert "hidden" not in str(raised.value)


@pytest.mark.anyio
async def test_an_installed_backends_model_is_asked_again_after_what_passes(monkeypatch):
    model = ScriptedModel([RateLimited("wait", retry_after_s=0.0), "42"])
    monkeypatch.setattr(plugins, "find", lambda group, name: lambda rest: model)
    assert (await resolve("mine:x").complete(Request(messages=(user("?"),)))).text == "42"
    assert len(model.requests) == 2


def test_an_installed_backends_model_may_retry_by_itself(monkeypatch):
    model = ScriptedModel([])
    model.retries_itself = True
    monkeypatch.setattr(plugins, "find", lambda group, name: lambda rest: model)
    assert resolve("mine:x") is model


OWN = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"][
    "critic_loop.models"
]


def test_the_backends_of_the_package_itself_are_entry_points():
    """Where this fails, `pip install -e .` was not repeated after an entry point was added."""
    assert set(OWN) <= set(backends())


@pytest.mark.parametrize("backend", OWN)
def test_without_entry_points_there_is_no_backend(backend, monkeypatch):
    monkeypatch.setattr(plugins, "_registered", lambda group: {})
    assert backends() == []
    with pytest.raises(ConfigError, match=f"Backend '{backend}' is not installed") as raised:
        resolve(f"{backend}:x")
    assert "pip install -e ." in raised.value.hint


@pytest.mark.parametrize("name", sorted(path.stem for path in PROVIDERS.glob("*.py")))
def test_a_provider_is_one_file_that_no_other_part_needs(name):
    """But for `critic_loop.models`, which offers their profiles, and vLLM's two ways of being started."""
    module = f"critic_loop.models.providers.{name}"
    if f"{module}:PROVIDER" not in OWN.values():
        assert name in ("__init__", "http", "provider", "specs"), f"{name} is not registered in pyproject.toml"
        return
    named = re.compile(rf"{re.escape(module)}\b")
    users = {
        path.relative_to(ROOT / "critic_loop").as_posix()
        for path in (ROOT / "critic_loop").rglob("*.py")
        if named.search(path.read_text(encoding="utf-8"))
    }
    assert users <= {"models/__init__.py", *(["models/providers/vllm_engine.py"] if name == "vllm" else [])}


@pytest.mark.anyio
async def test_an_adapter_is_the_models_name_on_the_wire():
    async with TestServer(["yes"]) as server:
        model = resolve(f"vllm:Q+critic-v3@{server.url}", settings=ModelSettings(in_flight=2, attempts=1))
        await model.complete(Request(messages=(user("hi"),)))
        await model.aclose()
    assert server.requests[0].body["model"] == "critic-v3"
    assert server.requests[0].body["return_token_ids"] is True


@pytest.mark.anyio
async def test_the_openai_key_goes_to_no_other_server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai-secret")
    monkeypatch.delenv("CHAT_API_KEY")
    async with TestServer(lambda _: "yes") as server:
        for spec in (f"chat:m@{server.url}", f"vllm:m@{server.url}", f"ollama:m@{server.url}"):
            model = resolve(spec)
            await model.complete(Request(messages=(user("hi"),)))
            await model.aclose()
    assert all("Authorization" not in received.headers for received in server.requests)


def test_importing_models_loads_no_client():
    code = "import sys, critic_loop.models; print([m for m in ('httpx', 'aiohttp') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "spec",
    [
        "chat:x@http://u:hun/hunter2@h:1/v1", "ollama:x@http://u:a@hunter2@h", "chat:x@ftp://u:hunter2@h",
        "chat:x@http:u:hunter2@h", "openai:x@https://h:hunter2",
    ],
)  # fmt: skip
def test_no_error_shows_a_password(spec: str) -> None:
    with pytest.raises(ConfigError) as raised:
        resolve(spec)
    assert "hunter2" not in f"{raised.value} {raised.value.hint}"
