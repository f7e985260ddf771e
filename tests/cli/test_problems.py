"""Whatever is wrong gets one clear message with what to do, the right exit code, and no traceback."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from critic_loop.assets import bundled
from critic_loop.store import layout
from critic_loop.testing import Fault
from tests.cli.conftest import Cli, Serve, reviewed, spec

NOBODY = "chat:test@http://127.0.0.1:9/v1"
RIGHT_KEY, WRONG_KEY = "sk-right-31415926", "sk-wrong-27182818"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "x", "--actor", NOBODY, "--recipe", "refin"], "Did you mean 'refine'?"),
        (["run", "x", "--actor", NOBODY, "--recipe", "mine.toml"], "mine.toml: no such recipe file"),
        (["run", "x", "--actor", "foo:bar"], "There is no backend 'foo'"),
        (["run", "x", "--actor", "chat:test"], "has no address"),
        (["run", "x", "--actor", "openai:gpt"], "Set OPENAI_API_KEY"),
        (["run", "x", "--actor", NOBODY, "--judge", NOBODY], "has no judge"),
        (["run", "x", "--actor", NOBODY, "--verifier", "nobody"], "unknown verifier 'nobody'"),
        (["run", "x", "--actor", NOBODY, "--store", "pg://x"], "names no store"),
        (["run", "x", "--actor", NOBODY, "--assets", "nowhere"], "nowhere: no such folder"),
        (["run", "x", "--actor", NOBODY, "--new", "--seed", "1"], "contradict each other"),
        (["run", "x"], "no model was named"),
        (["run", "--actor", NOBODY], "no task was given"),
        (["run", " ", "--actor", NOBODY], "the task is empty"),
        (["run", "x", "--file", "t.jsonl", "--actor", NOBODY], "give one of them"),
        (["run", "--file", "t.jsonl", "--actor", NOBODY], "t.jsonl: cannot be read: No such file"),
        (["run", "x", "--actor", NOBODY, "--out", "/proc/out.jsonl"], "/proc/out.jsonl: cannot be written"),
        (["recipes", "show", "refin"], "Did you mean 'refine'?"),
        (["export", "--to", "sft", "--out", "o"], "there is no store ./.critic_loop/trees.db"),
        (["demo", "--actor", "embedded:chess"], "unknown embedded model 'chess'"),
    ],
)
def test_usage_is_2(cli: Cli, arguments: list[str], said: str) -> None:
    ended = cli(*arguments)
    assert ended.code == 2
    assert said in ended.clean
    assert ended.clean.count("error: ") == 1
    assert ended.out == ""


@pytest.mark.parametrize("arguments", [["run", "x", "--lanes", "0"], ["demo", "--puzzles", "none"], ["fly"]])
def test_an_option_that_does_not_parse_is_usage(cli: Cli, arguments: list[str]) -> None:
    ended = cli(*arguments)
    assert ended.code == 2
    assert "Usage:" in ended.clean


def test_a_prompt_without_its_variable_names_file_and_variable(cli: Cli, tmp_path: Path) -> None:
    prompts = tmp_path / "mine" / "prompts" / "actor"
    prompts.mkdir(parents=True)
    text = (bundled() / "prompts" / "actor" / "solver.md").read_text()
    (prompts / "solver.md").write_text(text.replace("{{ schema }}", "{{ shema }}"))
    ended = cli("run", "x", "--actor", NOBODY, "--assets", "mine")
    assert ended.code == 2
    assert "mine/prompts/actor/solver.md" in ended.clean
    assert "'shema'" in ended.clean


def test_a_broken_recipe_names_file_key_and_what_was_expected(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('search = { kind = "refine" }\nmemory = "all"\n')
    ended = cli("run", "x", "--actor", NOBODY, "--recipe", "mine.toml")
    assert ended.code == 2
    assert "mine.toml:2: key 'memory': Input should be 'full', 'last' or 'rejected', not 'all'" in ended.clean


LINES = [
    ('{"prompt": "What is 6 * 7?", "reference": "42"}', ""),
    ("", ""),
    ('{"prompt": ""}', "t.jsonl:3: key 'prompt': expected a text or a list of messages, not ''."),
    ('{"promt": "x"}', "t.jsonl:4: unknown key 'promt'; did you mean 'prompt'?"),
    ("{", "t.jsonl:5: not JSON:"),
    ("[1]", "t.jsonl:6: expected an object with a key 'prompt', not list."),
    ('{"prompt": [{"content": "x"}]}', "t.jsonl:7: key 'prompt.0': expected {"),
    ('{"prompt": "x", "tags": 3}', "t.jsonl:8: key 'tags':"),
    ('{"reference": "42"}', "t.jsonl:9: key 'prompt': expected a text or a list of messages, not nothing."),
]


def test_all_lines_are_checked_before_anything_is_sent(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    server = serve()
    (tmp_path / "t.jsonl").write_text("\n".join(line for line, _ in LINES))
    ended = cli("run", "--file", "t.jsonl", "--actor", spec(server))
    assert ended.code == 2
    assert "7 of 9 lines cannot be used; nothing was sent." in ended.clean
    for _, said in LINES:
        assert said in ended.clean
    assert 'Each line is like {"prompt":' in ended.clean
    assert server.requests == []
    assert not (tmp_path / ".critic_loop").exists()


def test_out_is_kept_until_everything_is_in_order(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("earlier results\n")
    (tmp_path / "t.jsonl").write_text('{"prompt": "x"}\n')
    for wrong in (
        ["--recipe", "refin"],
        ["--actor", "foo:bar"],
        ["--verifier", "nobody"],
        ["--max-calls", "1"],
    ):
        given = [] if "--actor" in wrong else ["--actor", NOBODY]
        more = ["--judge", NOBODY] if wrong[0] == "--max-calls" else []
        ended = cli("run", "--file", "t.jsonl", "--out", "out.jsonl", *given, *wrong, *more)
        assert ended.code == 2
        assert (tmp_path / "out.jsonl").read_text() == "earlier results\n"
    assert cli("run", "--file", "t.jsonl", "--out", "out.jsonl", "--actor", spec(serve(reviewed))).code == 0
    assert json.loads((tmp_path / "out.jsonl").read_text())["answer"] == "answer 42"


@pytest.mark.parametrize("out", ["t.jsonl", "./t.jsonl", "link.jsonl"])
def test_results_are_not_written_over_the_tasks(cli: Cli, tmp_path: Path, out: str) -> None:
    (tmp_path / "t.jsonl").write_text('{"prompt": "x"}\n')
    (tmp_path / "link.jsonl").symlink_to("t.jsonl")
    ended = cli("run", "--file", "t.jsonl", "--out", out, "--actor", NOBODY)
    assert ended.code == 2
    assert "--out and --file are the same file" in ended.clean
    assert (tmp_path / "t.jsonl").read_text() == '{"prompt": "x"}\n'


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_a_new_line_ends_a_task(cli: Cli, serve: Serve, tmp_path: Path, end: str) -> None:
    words = "a\u2028b\u0085c\u2029d"
    lines = end.join(json.dumps({"prompt": f"{words} {n}"}, ensure_ascii=False) for n in range(2)) + end
    (tmp_path / "t.jsonl").write_bytes(lines.encode())
    server = serve(reviewed)
    assert cli("run", "--file", "t.jsonl", "--actor", spec(server), "--json").json["summary"]["tasks"] == 2
    assert words in server.requests[0].text
    (tmp_path / "t.jsonl").write_bytes(lines.encode() + b"{}")
    assert "t.jsonl:3: key 'prompt'" in cli("run", "--file", "t.jsonl", "--actor", NOBODY).clean
    assert "1 of 3 lines cannot be used" in cli("run", "--file", "t.jsonl", "--actor", NOBODY).clean


def test_a_task_that_is_not_text(cli: Cli) -> None:
    ended = cli("run", "\udcff abc", "--actor", NOBODY)
    assert ended.code == 2
    assert "the task is not UTF-8 text" in ended.clean


@pytest.mark.parametrize("arguments", [["config"], ["recipes", "check"], ["run", "x", "--actor", NOBODY]])
def test_a_folder_that_is_gone(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    ended = cli(*arguments, "--json")
    assert ended.code == 2
    assert "the current folder cannot be used: No such file or directory." in ended.clean
    assert ended.json["error"]["code"] == "config"
    monkeypatch.chdir(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that takes nothing")
@pytest.mark.parametrize(
    "arguments",
    [["recipes", "list"], ["recipes", "list", "--json"], ["run", "x", "--actor", "foo:x", "--json"]],
)
def test_a_full_stdout(tmp_path: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "critic_loop", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == (2 if "run" in arguments else 1)
    assert "error: " in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_nothing_in_a_file_moves_the_cursor(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile, shown = "\\u001b[2J\\u202e[red]x", "<U+001B>[2J<U+202E>[red]x"
    folder = tmp_path / "agents" / "recipes"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(
        f'description = "{hostile}d"\nsource = "{hostile}s"\nsearch = {{ kind = "refine" }}\n'
    )
    (tmp_path / "critic_loop.toml").write_text(
        f'assets = ["."]\n[models."{hostile}m"]\nspec = "chat:x@http://127.0.0.1:9/v1"\n'
    )
    for arguments, letters in (
        (["recipes", "list"], "ds"),
        (["recipes", "show", "mine"], "ds"),
        (["models"], "m"),
    ):
        ended = cli(*arguments)
        for letter in letters:
            assert f"{shown}{letter}" in ended.out, arguments
        assert "\x1b" not in ended.out
        assert "\u202e" not in ended.out


def test_two_tasks_of_one_id_are_refused(cli: Cli) -> None:
    lines = '{"prompt": "a", "id": "one"}\n{"prompt": "b", "id": "one"}\n'
    ended = cli("run", "--file", "-", "--actor", NOBODY, stdin=lines)
    assert ended.code == 2
    assert "'one' is the id of two different tasks" in ended.clean


def test_nobody_answers(cli: Cli) -> None:
    ended = cli("run", "x", "--actor", NOBODY)
    assert ended.code == 1
    assert "cannot be reached" in ended.clean
    assert "hint: Check the address, and that the server is up." in ended.clean


def test_a_wrong_key_is_told_and_never_shown(cli: Cli, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(key=RIGHT_KEY)
    monkeypatch.setenv("CHAT_API_KEY", WRONG_KEY)
    for arguments in (
        ["run", "x"],
        ["run", "x", "--json"],
        ["--traceback", "--log-level", "debug", "run", "x"],
    ):
        ended = cli(*arguments, "--actor", spec(server))
        assert ended.code == 1
        assert "Check the key in CHAT_API_KEY" in ended.err
        assert WRONG_KEY not in ended.out + ended.err
    stored = b"".join(path.read_bytes() for path in Path(".critic_loop").iterdir())
    assert WRONG_KEY.encode() not in stored


def test_a_missing_key_names_its_variable(cli: Cli, serve: Serve) -> None:
    ended = cli("run", "x", "--actor", spec(serve(key=RIGHT_KEY)))
    assert ended.code == 1
    assert "hint: Set CHAT_API_KEY to a key for this endpoint." in ended.clean


def test_a_job_that_ends_early_says_how_far_it_came(cli: Cli, serve: Serve) -> None:
    server = serve(lambda received: Fault("credit") if received.number > 5 else reviewed(received))
    lines = "".join(json.dumps({"prompt": f"task {n}"}) + "\n" for n in range(4))
    ended = cli("run", "--file", "-", "--actor", spec(server), "--in-flight", "1", stdin=lines)
    assert ended.code == 1
    assert "1 of 4 tasks done; trees lie in sqlite:///.critic_loop/trees.db." in ended.clean
    assert "Run the same command again to go on" in ended.clean
    assert "Add credit to the account" in ended.clean


def test_a_task_without_an_answer_is_a_failure(cli: Cli, serve: Serve) -> None:
    server = serve(lambda _: Fault("context"))
    ended = cli("run", "x", "--actor", spec(server), "--max-calls", "2")
    assert ended.code == 1
    assert "maximum context length" in ended.err
    assert ended.out == "", "there is no answer"
    many = cli("run", "--file", "-", "--actor", spec(server), "--max-calls", "2", stdin='{"prompt": "y"}\n')
    assert many.code == 1
    assert "maximum context length" in many.clean


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no folder that takes no files")
def test_a_place_that_cannot_be_written(cli: Cli, serve: Serve) -> None:
    ended = cli("run", "x", "--actor", spec(serve()), "--store", "/proc/trees.db")
    assert ended.code == 1
    assert "/proc/trees.db" in ended.clean
    assert "hint: " in ended.clean


def test_a_full_disk(cli: Cli, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = layout.connect

    def limited(path: Path, *, create: bool, page_bytes: int = 4096) -> sqlite3.Connection:
        connection = connect(path, create=create, page_bytes=page_bytes)
        connection.execute(f"PRAGMA max_page_count = {2_000_000 // page_bytes}")
        return connection

    monkeypatch.setattr(layout, "connect", limited)
    long = "".join(map(str, range(400_000)))
    ended = cli("run", "x", "--actor", spec(serve(lambda _: long)))
    assert ended.code == 1
    assert "hint: Free disk space, then run again. Committed records are safe." in ended.clean


def test_nothing_to_export_says_why(cli: Cli, serve: Serve) -> None:
    assert cli("run", "x", "--actor", spec(serve(reviewed))).code == 0
    ended = cli("export", "--to", "sft", "--out", "rows")
    assert ended.code == 1
    assert "known to be right" in ended.clean
    unknown = cli("export", "--to", "gguf", "--out", "rows")
    assert unknown.code == 2
    assert "unknown export format 'gguf'" in unknown.clean
    other = cli("export", "--to", "sft", "--out", "rows", "--recipe", "self-check")
    assert other.code == 2
    assert "holds no tree of recipe 'self-check'" in other.clean


def test_a_file_that_is_no_store(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("not a database, by far")
    ended = cli("export", "--to", "sft", "--out", "rows", "--store", "notes.db")
    assert ended.code == 1
    assert "notes.db" in ended.clean


def test_a_defect_shows_its_place_only_if_asked(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a wire came loose")

    monkeypatch.setattr("critic_loop.cli.recipes.list_all", broken)
    ended = cli("recipes", "list", "--json")
    assert ended.code == 1
    assert "RuntimeError: a wire came loose" in ended.clean
    assert ended.json["error"]["code"] == "error"
    assert "Traceback" in cli("--traceback", "recipes", "list").err


def test_with_json_a_problem_is_a_document_too(cli: Cli) -> None:
    ended = cli("run", "--file", "-", "--actor", NOBODY, "--json", stdin="{}\n")
    assert ended.code == 2
    assert ended.json["error"]["code"] == "config"
    assert ended.json["error"]["details"][0].startswith("standard input:1: key 'prompt'")


def test_rows_for_a_folder_that_cannot_be_made(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    assert cli("run", "x", "--actor", spec(serve(reviewed))).code == 0
    (tmp_path / "rows").write_text("a file")
    ended = cli("export", "--to", "preference", "--out", "rows")
    assert ended.code == 1
    assert "rows: File exists." in ended.clean
    shutil.rmtree(tmp_path / ".critic_loop")
