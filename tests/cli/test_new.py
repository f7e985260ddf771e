"""What `new` writes works as it is: its tests pass, its files are in order, nothing is overwritten."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Serve, reviewed, spec

ROOT = Path(__file__).parents[2]


def test_everything_new_passes_its_own_tests(cli: Cli, tmp_path: Path) -> None:
    for arguments in (
        ["recipe", "careful-summary", "--prompts"],
        ["recipe", "plain"],
        ["verifier", "short-answer"],
        ["verifier", "polite"],
    ):
        ended = cli("new", *arguments)
        assert ended.code == 0, ended.err
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {
        "agents/recipes/careful-summary.toml", "agents/actor/careful-summary.toml",
        "agents/critic/careful-summary.toml", "prompts/actor/careful-summary.md",
        "prompts/critic/careful-summary.md", "tests/test_recipe_careful_summary.py",
        "agents/recipes/plain.toml", "tests/test_recipe_plain.py", "checks/short_answer.py",
        "tests/test_short_answer.py", "checks/polite.py", "tests/test_polite.py", "conftest.py",
    }  # fmt: skip
    assert cli("recipes", "check").code == 0
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "6 passed" in ended.stdout


def test_the_next_command_works(serve: Serve, tmp_path: Path, cli: Cli) -> None:
    server = serve(reviewed)
    recipe = cli("new", "recipe", "mine", "--json").json
    assert recipe["written"][0] == str(tmp_path / "agents/recipes/mine.toml")
    assert recipe["next"] == 'critic-loop run "TASK" --recipe mine --assets .'
    verifier = cli("new", "verifier", "short-answer").out
    assert (
        verifier.splitlines()[-1] == 'next   critic-loop run "TASK" --verifier checks.short_answer:short_answer'
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [
        str(Path(sys.executable)), "-c", "from critic_loop.cli import main; main()", "run", "What is 6 * 7?",
        "--recipe", "mine", "--assets", ".", "--verifier", "checks.short_answer:short_answer",
        "--actor", spec(server), "--json",
    ]  # fmt: skip
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert '"decided_by": "verifier"' in ended.stdout


def test_nothing_is_overwritten(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("# mine\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_short_answer.py").write_text("# mine\n")
    ended = cli("new", "verifier", "short-answer")
    assert ended.code == 2
    assert "nothing was written: this file exists." in ended.clean
    assert str(tmp_path / "tests" / "test_short_answer.py") in ended.clean
    assert not (tmp_path / "checks").exists()
    assert cli("new", "verifier", "other").code == 0
    assert (tmp_path / "conftest.py").read_text() == "# mine\n"


TAKEN = ["len", "cl", "checks", "conftest", "critic_loop", "critic-loop", "test", "json", "match"]


@pytest.mark.parametrize("name", ["../x", "Upper", "1st", "a b", "", "class", *TAKEN])
def test_names(cli: Cli, tmp_path: Path, name: str) -> None:
    ended = cli("new", "verifier", name)
    assert ended.code == 2
    assert "error: " in ended.clean
    assert list(tmp_path.iterdir()) == []


def test_what_is_to_be_typed_can_be_typed(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "my project"
    (folder / "below").mkdir(parents=True)
    (folder / "critic_loop.toml").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "below")
        out = cli("new", "recipe", "mine").out
    assert f"--recipe mine --assets '{folder}'\n" in out
    assert f"python -m pytest '{folder}/tests/test_recipe_mine.py'\n" in out


def test_a_project_that_looks_through_itself_needs_no_flag(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "critic_loop.toml").write_text("assets = ['.']\n")
    below = tmp_path / "below"
    below.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(below)
        ended = cli("new", "recipe", "mine", "--json")
        assert ended.json["next"] == 'critic-loop run "TASK" --recipe mine'
        assert ended.json["written"][0] == str(tmp_path / "agents/recipes/mine.toml"), "in the project's folder"
        assert "mine" in cli("recipes", "list").out
