"""Which models are configured, which answer, and that no prompt leaves unless it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from critic_loop.models.wire.health_check import HEALTH_CHECK
from critic_loop.testing import Fault
from tests.cli.conftest import Cli, Serve, spec

KEY = "sk-right-31415926"


def test_nothing_configured(cli: Cli) -> None:
    ended = cli("models")
    assert ended.code == 0
    assert "No model is configured" in ended.err
    assert cli("models", "--json").json["models"] == []


def test_an_endpoint_is_asked_for_its_list_and_no_prompt_is_sent(cli: Cli, serve: Serve) -> None:
    server = serve(key=KEY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAT_API_KEY", KEY)
        ended = cli("models", "--actor", spec(server), "--critic", spec(server))
        document = cli("models", "--actor", spec(server), "--json").json
    assert ended.code == 0
    assert ended.out.startswith(f"actor, critic  {spec(server)}\n")
    can = "several choices in one request, JSON by schema, no strict tools"
    for said in ("yes: its list of models", "CHAT_API_KEY, set", can):
        assert said in ended.out
    assert KEY not in ended.out
    assert server.requests == []
    (one,) = document["models"]
    assert (one["answers"], one["listed"], one["probe_s"], one["error"]) == (True, True, None, None)
    assert one["key"] == {"variable": "CHAT_API_KEY", "set": True}
    assert one["capabilities"]["output"] == "json_schema"
    assert "embedded" in document["backends"]


def test_a_probe_asks_for_one_token(cli: Cli, serve: Serve) -> None:
    server = serve()
    ended = cli("models", "--probe", "--actor", spec(server), "--critic", "embedded:countdown")
    assert ended.code == 0
    assert ended.out.count("a token in") == 2
    assert "Weights sha256:" in ended.out
    (request,) = server.requests
    assert request.body["max_tokens"] == 1
    assert request.text == HEALTH_CHECK


def test_a_name_that_is_not_listed(cli: Cli, serve: Serve) -> None:
    server = serve(models=("qwen3:latest", "llama-3.3-70b"))
    ended = cli("models", "--actor", f"chat:llama-3-70b@{server.url}", "--critic", f"chat:qwen3@{server.url}")
    assert ended.code == 0
    assert ended.out.count("the list does not hold this name") == 1
    assert "but 'llama-3.3-70b': --probe tells" in ended.out


def test_what_a_server_lists_is_compared_with_what_is_asked(cli: Cli, serve: Serve) -> None:
    base = {"id": "Qwen3-8B", "root": "Qwen/Qwen3-8B", "max_model_len": 4096}
    server = serve(models=(base, {"id": "v3", "root": "/v3", "parent": "Qwen3-8B"}))
    ended = cli("models", "--actor", f"vllm:Qwen3-8B@{server.url}", "--critic", f"vllm:Llama+v3@{server.url}")
    assert "Up to 4,096 tokens." in ended.out
    assert "It is an adapter of 'Qwen3-8B', and not of 'Llama'." in ended.out
    ended = cli("models", "--critic", f"vllm:Qwen/Qwen3-8B+v3@{server.url}")
    assert "adapter" not in ended.out


@pytest.mark.parametrize(
    ("fault", "said"),
    [("auth", "Set CHAT_API_KEY"), ("context", "context"), ("unknown_model", "does not exist")],
)
def test_a_probe_that_fails(cli: Cli, serve: Serve, fault: str, said: str) -> None:
    ended = cli("models", "--probe", "--actor", spec(serve(lambda _: Fault(fault))))  # type: ignore[arg-type]
    assert ended.code == 1
    assert said in ended.out
    assert "no: " in ended.out


def test_what_does_not_answer_is_told_one_by_one(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    server = serve(key=KEY)
    (tmp_path / "critic_loop.toml").write_text(
        f"actor = 'good'\n[models.good]\nspec = '{spec(server)}'\nkey_env = 'GOOD_KEY'\n"
        f"[models.wrong]\nspec = '{spec(server)}'\nkey_env = 'WRONG_KEY'\n"
        "[models.down]\nspec = 'chat:x@http://127.0.0.1:9'\n"
        "[models.keyless]\nspec = 'openai:gpt'\n[models.odd]\nspec = 'foo:bar'\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOOD_KEY", KEY)
        patch.setenv("WRONG_KEY", "sk-wrong-27182818")
        ended = cli("models", "--json")
        shown = cli("models")
    assert ended.code == shown.code == 1
    found = {one["names"][-1]: one for one in ended.json["models"]}
    assert found["[models.good]"]["names"] == ["actor", "[models.good]"]
    assert found["[models.good]"]["answers"] is True
    assert {name: one["error"]["code"] for name, one in found.items() if one["error"]} == {
        "[models.wrong]": "auth", "[models.down]": "unreachable", "[models.keyless]": "config",
        "[models.odd]": "config",
    }  # fmt: skip
    for said in ("Check the key in WRONG_KEY", "cannot be reached", "Set OPENAI_API_KEY", "no backend 'foo'"):
        assert said in shown.out
    assert "sk-" not in shown.out + ended.out


def test_a_name_without_a_table(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "critic_loop.toml").write_text("[models.gpu]\nspec = 'chat:x@http://127.0.0.1:9'\n")
    ended = cli("models", "--actor", "gpuu")
    assert ended.code == 1
    assert "There is no model 'gpuu' in [models]." in ended.out


def test_help_keeps_what_is_in_square_brackets(cli: Cli) -> None:
    assert "BACKEND:NAME[@URL], or the name of a table in [models]." in cli("models", "probe", "--help").out
