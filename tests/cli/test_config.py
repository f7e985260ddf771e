"""Where settings come from, which one wins, and what is never shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from critic_loop.cli.settings import SCALARS, Settings, effective, find, shown, variable
from critic_loop.models.providers.specs import ModelTable
from tests.cli.conftest import Cli, Serve, reviewed, spec

FILE = """
actor = "gpu"
store = "data/trees.db"
assets = ["mine"]
in_flight = 4

[models.gpu]
spec = "vllm:Qwen3-8B@http://gpu:8000"
key_env = "GPU_KEY"
timeout_s = 30
extra = { top_k = 20, api_token = "hidden-27182818", x = { pin = "hidden-1618" } }
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "critic_loop.toml").write_text(FILE)
    (tmp_path / "mine").mkdir()
    return tmp_path


def test_file_then_environment_then_flags(cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRITIC_LOOP_IN_FLIGHT", "8")
    monkeypatch.setenv("CRITIC_LOOP_LOG_LEVEL", "error")
    monkeypatch.setenv("GPU_KEY", "sk-hidden-314159")
    document = cli("--log-level", "debug", "config", "--json").json
    file = str(project / "critic_loop.toml")
    assert document["file"] == file
    settings = document["settings"]
    assert settings["actor"] == {"value": "gpu", "origin": "file", "variable": "CRITIC_LOOP_ACTOR"}
    assert settings["store"]["value"] == str(project / "data/trees.db"), "counted from the file's folder"
    assert settings["assets"]["value"] == [str(project / "mine")]
    assert (settings["in_flight"]["value"], settings["in_flight"]["origin"]) == (8, "environment")
    assert (settings["log_level"]["value"], settings["log_level"]["origin"]) == ("debug", "flag")
    assert (settings["recipe"]["value"], settings["recipe"]["origin"]) == ("refine", "default")
    assert document["models"]["gpu"] == {
        "spec": "vllm:Qwen3-8B@http://gpu:8000", "key_env": "GPU_KEY", "timeout_s": 30.0,
        "extra": {"top_k": "…", "api_token": "…", "x": "…"},
    }  # fmt: skip
    table = cli("config")
    assert table.err == f"config   {file}\n"
    for said in ("actor", "gpu", "critic_loop.toml", "CRITIC_LOOP_IN_FLIGHT", "models.gpu", "key_env GPU_KEY"):
        assert said in table.out
    assert "hidden" not in table.out + json.dumps(document)
    assert cli("config", "path").out == f"{file}\n"
    assert cli("config", "path", "--json").json == {"file": file}


def test_without_a_file(cli: Cli) -> None:
    ended = cli("config")
    assert ended.code == 0
    assert "There is no critic_loop.toml here or above" in ended.err
    assert cli("config", "path").code == 1


def test_what_is_found_upward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find(inner) is None
    (tmp_path / "critic_loop.toml").touch()
    assert find(inner) == tmp_path / "critic_loop.toml"
    (tmp_path / "a" / ".git").mkdir()
    assert find(inner) is None, "not above a git root"
    (tmp_path / "a" / "critic_loop.toml").touch()
    assert find(inner) == tmp_path / "a" / "critic_loop.toml", "the nearest"
    (tmp_path / "a" / "critic_loop.toml").unlink()
    (tmp_path / "a" / ".git").rmdir()
    monkeypatch.setenv("HOME", str(tmp_path / "a"))
    assert find(inner) is None, "not above home"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("actr = 'x'", ["critic_loop.toml:1: unknown key 'actr'. Did you mean 'actor'?"]),
        ("in_flight = 0", ["critic_loop.toml:1: key 'in_flight':", "not '0'"]),
        (
            "store = 3\n\n[models.gpu]\nspec = 'vllm:m@http://gpu'\ntimeout = 3\n[models.cpu]\nurl = 'x'",
            [
                "critic_loop.toml: 4 settings cannot be used.",
                "critic_loop.toml:1: key 'store'",
                "critic_loop.toml:5: unknown key 'models.gpu.timeout'. Did you mean 'timeout_s'?",
                "critic_loop.toml:6: key 'models.cpu.spec': Field required.",
                "critic_loop.toml:7: unknown key 'models.cpu.url'",
            ],
        ),
        ("[models.gpu]\nspec = 'gpt-5'", ["critic_loop.toml:2: key 'models.gpu.spec': a spec is expected"]),
        ("actor = ", ["critic_loop.toml: cannot be read as TOML"]),
    ],
)
def test_what_is_wrong_in_the_file(cli: Cli, tmp_path: Path, text: str, said: list[str]) -> None:
    (tmp_path / "critic_loop.toml").write_text(text)
    for command in (["config"], ["run", "x"], ["recipes", "list"], ["config", "--json"]):
        ended = cli(*command)
        assert ended.code == 2
        for part in said:
            assert part in ended.clean
    assert cli("config", "--json").json["error"]["code"] == "config"
    assert cli("run", "--help").code == 0, "help is always there"


@pytest.mark.parametrize("line", ["key = 'sk-hidden'", "api_key = 'sk-hidden'", "key_env = 'sk-hidden'"])
def test_a_key_in_the_file_is_refused_and_not_shown(cli: Cli, tmp_path: Path, line: str) -> None:
    (tmp_path / "critic_loop.toml").write_text(f"[models.gpu]\nspec = 'chat:m@http://gpu'\n{line}\n")
    ended = cli("config")
    assert ended.code == 2
    assert "variable" in ended.clean
    assert "CHAT_API_KEY" in ended.clean
    assert "hidden" not in ended.clean + ended.out


def test_an_unknown_variable(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRITIC_LOOP_ACTR", "x")
    ended = cli("config")
    assert ended.code == 2
    assert "CRITIC_LOOP_ACTR is no setting" in ended.clean
    assert "Did you mean 'CRITIC_LOOP_ACTOR'?" in ended.clean


def test_a_variable_that_does_not_fit(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRITIC_LOOP_LANES", "many")
    assert "CRITIC_LOOP_LANES" in cli("config").clean
    assert cli("config").code == 2
    assert cli("run", "x").code == 2


def test_passwords_in_addresses_are_not_shown() -> None:
    assert shown("chat:m@http://me:secret@host/v1?api_key=x") == "chat:m@http://…@host/v1?…"
    assert shown({"actor": ("chat:m@http://host", 3)}) == {"actor": ["chat:m@http://host", 3]}


def test_every_setting_is_an_option_and_has_its_variable(cli: Cli) -> None:
    """One list of settings: what may stand in the file can be typed, and the other way round."""
    helped = cli("run", "--help").out + cli("--help").out
    for name in SCALARS:
        assert f"--{name.replace('_', '-')}" in helped
        assert variable(name) in helped, name
    assert set(Settings.model_fields) - set(SCALARS) == {"models"}


def test_a_run_takes_its_models_and_places_from_the_file(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    server = serve(reviewed, key="right-key")
    (tmp_path / "critic_loop.toml").write_text(
        "actor = 'local'\ncritic = 'local'\njudge = 'local'\nstore = 'here/trees.db'\nmax_calls = 7\n"
        f"[models.local]\nspec = '{spec(server)}'\nkey_env = 'LOCAL_KEY'\nin_flight = 2\n"
    )
    below = tmp_path / "below"
    below.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(below)
        patch.setenv("LOCAL_KEY", "right-key")
        ended = cli("run", "What is 6 * 7?", "--json")
        named = cli("run", "x", "--critic", "locl")
    assert ended.code == 0, ended.err
    assert f"config   {tmp_path / 'critic_loop.toml'}" in ended.err
    assert "cap      at most 7 calls" in ended.err
    assert ended.json["models"]["critic"] == spec(server), "records name the spec, not the table"
    assert (tmp_path / "here" / "trees.db").exists()
    assert named.code == 2
    assert "There is no model 'locl' in [models]." in named.clean
    assert "Did you mean 'local'?" in named.clean
    assert cli("run", "x", "--judge", "local").code == 2, "typed, it is meant"
    assert cli("export", "--to", "sft", "--out", "o").code == 1, "other commands find the store, too"


def test_the_library_reads_no_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import critic_loop as cl
    from critic_loop.core.errors import ConfigError

    monkeypatch.chdir(project)
    with pytest.raises(ConfigError, match="no actor was given"):
        cl.Loop("refine")


def test_tables_are_models(monkeypatch: pytest.MonkeyPatch) -> None:
    found = effective(Path.cwd(), {"CRITIC_LOOP_ASSETS": "a:b", "CRITIC_LOOP_LANES": "3", "HOME": "x"})
    assert found.settings.assets == ("a", "b")
    assert found.settings.lanes == 3
    table = ModelTable(spec="chat:m@http://gpu", attempts=2)
    assert table.settings.attempts == 2
