"""`models probe`: asked once, kept, and asked again when told to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from critic_loop.models.vllm import servers
from critic_loop.testing import Fault, Reply
from tests.cli.conftest import Cli, Serve, spec
from tests.unit.models.vllm.conftest import FAKE, gone

KEY = "sk-probe-31415926"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_an_endpoint_is_asked_once_and_again_when_told_to(cli: Cli, serve: Serve) -> None:
    server = serve()
    ended = cli("models", "probe", spec(server))
    assert ended.code == 0
    assert ended.out.startswith(f"{spec(server)}  probed just now\n")
    assert ended.out.count(" yes") == 8
    asked = len(server.requests)
    assert 8 < asked < 15
    again = cli("models", "probe", spec(server))
    assert "--refresh asks again" in again.err
    assert len(server.requests) == asked
    cli("models", "probe", spec(server), "--refresh")
    assert len(server.requests) == 2 * asked
    assert "Probed just now" in cli("models", "--actor", spec(server)).out


def test_as_a_document_of_a_table_and_without_the_key(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    server = serve(key=KEY)
    (tmp_path / "critic_loop.toml").write_text(f"[models.gpu]\nspec = '{spec(server)}'\nkey_env = 'GPU_KEY'\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPU_KEY", KEY)
        first = cli("models", "probe", "gpu", "--json").json
        kept = cli("models", "probe", "gpu", "--json").json
    assert (first["kept"], kept["kept"]) == (False, True)
    assert first["found"] == kept["found"]
    assert first["found"]["tools"] == {"can": True, "text": ""}
    written = [path.read_text() for path in (tmp_path / "cache").rglob("*.json")]
    assert len(written) == 1
    assert KEY not in written[0]


def test_what_is_no_endpoint_or_does_not_answer_is_told(cli: Cli, serve: Serve) -> None:
    assert "no endpoint" in cli("models", "probe", "embedded:countdown").err
    failed = cli("models", "probe", spec(serve(lambda _: Fault("auth"))))  # type: ignore[arg-type]
    assert failed.code == 1
    assert "CHAT_API_KEY" in failed.err


def test_a_vllm_is_started_probed_and_ended(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_servers", {})
    noted = tmp_path / "noted.jsonl"
    (tmp_path / "critic_loop.toml").write_text(
        f"[models.own]\nspec = 'vllm:Q'\nserve.command = {list(FAKE)}\nserve.environment.FAKE_LOG = '{noted}'\n"
    )

    def starts() -> list[int]:
        entries = [json.loads(line) for line in noted.read_text().splitlines()]
        return [entry["pid"] for entry in entries if entry["path"] == "start"]

    first = cli("models", "probe", "own", "--json").json
    assert (first["name"], first["kept"]) == ("Q", False)
    assert first["url"].startswith("here:")
    assert first["found"]["seed"] == {"can": None, "text": "another seed gave the same answer"}
    assert gone(*starts())
    for one in first["found"].values():
        one["text"] *= one["can"] is not None  # what is unknown is not kept
    assert cli("models", "probe", "own", "--json").json == {**first, "kept": True}
    assert len(starts()) == 1, "what was kept starts nothing"
    with (tmp_path / "critic_loop.toml").open("a") as file:
        file.write("serve.arguments.max-model-len = 64\n")
    assert cli("models", "probe", "own", "--json").json["kept"] is False, "other settings, other findings"
    cli("models", "probe", "own", "--refresh")
    assert len(starts()) == 3
    assert gone(*starts())


def test_a_pool_can_what_each_of_its_servers_can(cli: Cli, serve: Serve) -> None:
    whole, lesser = serve(), serve(lambda _: [Reply(text="yes")])  # ignores what it does not know
    found = cli("models", "probe", f"chat:test@{whole.url},{lesser.url}", "--json").json
    assert found["url"] == f"{whole.url},{lesser.url}"
    assert found["found"]["logprobs"]["can"] is True
    assert found["found"]["n"]["can"] is False
    assert found["found"]["n"]["text"].startswith(lesser.url)
    asked = len(whole.requests)
    assert cli("models", "probe", f"chat:test@{whole.url}", "--json").json["kept"], "each is kept for itself"
    assert len(whole.requests) == asked
