"""What commands write with `--json` has a published schema, and keeps to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from critic_loop.cli.schemas import DOCUMENTS, FOLDER, schemas
from critic_loop.store.schemas import text_of, write
from tests.cli.conftest import Cli, Serve, plays_countdown, spec

ROOT = Path(__file__).parents[2]
DB = ".critic_loop/trees.db"


@pytest.mark.parametrize("name", schemas())
def test_the_published_schemas_are_up_to_date(name: str) -> None:
    path = ROOT / FOLDER / f"{name}.json"
    assert path.read_bytes() == text_of(schemas()[name]), "run: python -m critic_loop.cli.schemas"


def test_nothing_else_is_published(tmp_path: Path) -> None:
    names = {path.name for path in write(schemas(), tmp_path)}
    assert names == {path.name for path in (ROOT / FOLDER).iterdir()}


@pytest.fixture
def writes(cli: Cli, serve: Serve, tmp_path: Path) -> Callable[[str], list[Any]]:
    """Return what the commands that have a schema really write."""
    actor = spec(serve(plays_countdown))
    task = "Countdown 24: 3 5 7 8"
    (tmp_path / "critic_loop.toml").write_text(f"[models.gpu]\nspec = '{actor}'\nextra = {{ top_k = 3 }}\n")
    (tmp_path / "bad.toml").write_text("serch = 3\n")
    run = ("run", task, "--recipe", "try-again", "--verifier", "countdown", "--actor", "gpu", "--json")
    commands: dict[str, list[tuple[str, ...]]] = {
        "compare": [
            ("compare", DB, "other.db"),
            ("compare", DB, "other.db", "--measure", "score"),
            ("compare", DB, DB, "--unit", "calls"),
        ],
        "config": [("config",)],
        "config-path": [("config", "path")],
        "demo": [("demo", "--puzzles", "4", "--tokens", "60", "--actor", actor)],
        "error": [("run", "x"), ("recipes", "show", "nobody"), ("run", "--file", "bad.toml", "--actor", "gpu")],
        "export": [("export", "--to", "sft", "--out", "rows")],
        "failures": [
            ("failures", DB),
            ("failures", DB, "--cause", "solved"),
            ("failures", DB, "--by", "recipe"),
        ],
        "models": [("models", "--probe", "--critic", "embedded:chess", "--judge", "embedded:countdown")],
        "models-probe": [("models", "probe", spec(serve())), ("models", "probe", spec(serve()), "--refresh")],
        "new": [("new", "recipe", "mine")],
        "recipes": [("recipes", "list"), ("recipes", "show", "refine-rubric")],
        "recipes-check": [("recipes", "check"), ("recipes", "check", "bad.toml")],
        "run": [run[:-1], ("run", "--new", *run[1:-1])],
        "show": [("show", DB)],
        "show-list": [("show", DB, "--state", "ended"), ("show", DB, "--tag", "none")],
        "why": [("why", DB)],
    }

    def of(name: str) -> list[Any]:
        if name == "compare":
            assert cli(*run, "--store", "other.db").code == 0
        if name in ("compare", "export", "failures", "show", "show-list", "why", "result"):
            out = ("--out", "rows.jsonl") if name == "result" else ()
            assert cli(*run, *out).code == 0
        if name == "result":
            return [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
        return [cli(*command, "--json").json for command in commands[name]]

    return of


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_keep_to_their_schema(name: str, writes: Callable[[str], list[Any]]) -> None:
    validator = Draft202012Validator(schemas()[name])
    written = writes(name)
    assert written
    for document in written:
        assert list(validator.iter_errors(document)) == []


def test_every_command_with_json_has_a_schema(cli: Cli) -> None:
    listed = [
        line.split()[1] for line in cli("--help").out.splitlines() if line.startswith("│ ") and " " in line
    ]
    commands = {name for name in listed if name.isalpha()}
    assert {"run", "config"} <= commands <= {name.partition("-")[0] for name in DOCUMENTS}
