"""What Tab offers, as a shell asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from critic_loop.cli import app
from tests.cli.conftest import Cli, Serve, reviewed, spec

Offered = Callable[[str], set[str]]


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offered:
    monkeypatch.chdir(tmp_path)

    def of(line: str) -> set[str]:
        words = line.split(" ")
        environment = {
            "_CRITIC_LOOP_COMPLETE": "complete_bash",
            "COMP_WORDS": line.replace(" ", "\n"),
            "COMP_CWORD": str(len(words) - 1),
        }
        ended = CliRunner().invoke(app, [], prog_name="critic-loop", env=environment)
        assert ended.stderr == ""
        return set(ended.stdout.split())

    return of


def test_commands_and_options(offered: Offered) -> None:
    assert {"run", "demo", "export", "recipes", "models", "config", "new"} <= offered("critic-loop ")
    assert offered("critic-loop recipes ") == {"list", "show", "check"}
    assert "--in-flight" in offered("critic-loop run --in")
    assert offered("critic-loop export --to sft --format ") == {"jsonl", "parquet", "both"}


def test_names(offered: Offered, tmp_path: Path) -> None:
    assert offered("critic-loop run --recipe refine") == {"refine", "refine-rubric"}
    assert offered("critic-loop recipes show self") == {"self-check"}
    assert offered("critic-loop export --to cri") == {"critique-sft"}
    assert "countdown" in offered("critic-loop run --verifier ")
    assert "openai:" in offered("critic-loop run --actor ")
    (tmp_path / "critic_loop.toml").write_text("[models.gpu]\nspec = 'chat:x@http://gpu'\n")
    assert offered("critic-loop run --actor g") == {"gpu"}


def test_recipes_of_a_project(offered: Offered, cli: Cli, tmp_path: Path) -> None:
    assert cli("new", "recipe", "mine").code == 0
    assert offered("critic-loop run --recipe mi") == set()
    assert offered(f"critic-loop run --assets {tmp_path} --recipe mi") == {"mine"}
    (tmp_path / "critic_loop.toml").write_text("assets = ['.']\n")
    assert offered("critic-loop run --recipe mi") == {"mine"}


def test_a_broken_recipe_takes_nothing_away(offered: Offered, cli: Cli, tmp_path: Path) -> None:
    assert cli("new", "recipe", "mine").code == 0
    (tmp_path / "agents/recipes/bad.toml").write_text("search = 3\n")
    (tmp_path / "agents/recipes/worse.toml").write_bytes(b"\xff")
    (tmp_path / "critic_loop.toml").write_text("assets = ['.']\n")
    assert {"mine", "bad", "worse", "refine"} <= offered("critic-loop run --recipe ")
    listed = cli("recipes", "list")
    assert listed.code == 0
    assert "mine" in listed.out
    assert "recipe 'bad' is left out: " in listed.clean
    assert listed.clean.count("worse.toml") == 1
    document = cli("recipes", "list", "--json")
    assert document.code == 0
    names = {recipe["name"] for recipe in document.json["recipes"]}
    assert {"mine", "refine"} <= names
    assert not {"bad", "worse"} & names


def test_trees(offered: Offered, cli: Cli, serve: Serve, tmp_path: Path) -> None:
    row = cli("run", "What is 6 * 7?", "--actor", spec(serve(reviewed)), "--store", "t.db", "--json").json
    tree = row["results"][0]["tree"]
    assert offered("critic-loop show t.db ") == {tree}
    assert offered(f"critic-loop why t.db {tree[:3]}") == {tree}
    assert offered("critic-loop why t.db zzz") == set()


def test_nothing_is_better_than_an_error(offered: Offered, tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_text("no database")
    assert offered("critic-loop show broken.db ") == set()
    assert offered("critic-loop show nowhere.db ") == set()
    assert not (tmp_path / "nowhere.db").exists()
    (tmp_path / "critic_loop.toml").write_text("actor = 3\n")
    assert offered("critic-loop run --recipe re") == set()


def test_it_can_be_installed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert "_CRITIC_LOOP_COMPLETE" in cli("--show-completion", "bash").out.upper()
    assert "--install-completion" in cli("--help").out
