"""`critic-loop run --replay`, and chains of models on the command line."""

from __future__ import annotations

from pathlib import Path

from critic_loop.testing import Fault
from tests.cli.conftest import Cli, Serve

TASK = "What is 6 * 7?"


def test_a_run_is_made_once_more_without_its_servers(cli: Cli, serve: Serve) -> None:
    server = serve(
        lambda received: "Verdict: correct" if "review" in received.body["messages"][0]["content"] else "42"
    )
    spec = f"chat:m@{server.url}"
    first = cli("run", TASK, "--actor", spec, "--critic", spec, "--store", "a.db")
    assert first.code == 0
    asked = len(server.requests)
    again = cli("run", TASK, "--replay", "a.db")
    assert (again.code, again.out.strip()) == (0, "42")
    assert len(server.requests) == asked
    assert "a.db: no model is asked" in again.clean
    assert cli("run", TASK, "--replay", "a.db", "--json").json["store"] == "memory"


def test_a_run_that_goes_another_way_says_where(cli: Cli, serve: Serve) -> None:
    spec = f"chat:m@{serve(lambda received: '42').url}"
    assert cli("run", TASK, "--actor", spec, "--critic", spec, "--store", "a.db").code == 0
    other = cli("run", TASK, "--replay", "a.db", "--recipe", "refine-rubric")
    assert other.code == 1
    assert "error: the stored run did not ask actor/writer about" in other.clean
    assert cli("run", TASK, "--replay", "a.db", "--seed", "5").clean.count("There are runs with seed 0.") == 1


def test_what_cannot_be_replayed_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    assert "--replay asks no model" in cli("run", TASK, "--replay", "a.db", "--critic", "ollama:q").clean
    assert "there is no store b.db" in cli("run", TASK, "--replay", "b.db").clean
    assert "are the same store" in cli("run", TASK, "--replay", "a.db", "--store", "./a.db").clean
    (tmp_path / "critic_loop.toml").write_text('actor = "ollama:q"\n')
    assert "holds no run" in cli("run", TASK, "--replay", "a.db").clean, "the file's actor is for other runs"


def test_a_chain_may_name_tables_and_specs(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    down = serve(lambda received: Fault("unknown_model"))
    up = serve(lambda received: "42")
    (tmp_path / "critic_loop.toml").write_text(f'[models.local]\nspec = "chat:a@{down.url}"\ntimeout_s = 5\n')
    ended = cli(
        "run", TASK, "--recipe", "try-again", "--verifier", "answer", "--actor", f"local | chat:b@{up.url}"
    )
    assert ended.out.strip() == "42"
    assert f"actor    chat:a@{down.url} | chat:b@{up.url}" in ended.clean
    assert (len(down.requests), len(up.requests)) == (3, 5), "the first is asked thrice, then left alone"


def test_each_leg_of_a_configured_chain_is_looked_at(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    up = serve(lambda received: "42")
    (tmp_path / "critic_loop.toml").write_text(
        f'actor = "local | ollama:q"\ncritic = "local"\n[models.local]\nspec = "chat:test@{up.url}"\n'
    )
    found = {one["spec"]: one["names"] for one in cli("models", "--json").json["models"]}
    assert found == {f"chat:test@{up.url}": ["actor", "critic", "[models.local]"], "ollama:q": ["actor"]}
    (tmp_path / "critic_loop.toml").write_text('[models.local]\nspec = "ollama:a | ollama:b"\n')
    assert "one model is expected" in cli("models").clean
