"""`models probe`: asked once, kept, and asked again when told to."""

from __future__ import annotations

from pathlib import Path

import pytest

from critic_loop.testing import Fault
from tests.cli.conftest import Cli, Serve, spec

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
