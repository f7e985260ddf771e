"""What the commands do when all is well, and the shapes that `--json` keeps."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from rich.console import Console

from critic_loop import __version__
from critic_loop.cli.logs import LogFormat, LogLevel, configure
from critic_loop.testing import Fault
from tests.cli.conftest import Cli, Serve, plays_countdown, reviewed, spec

RESULT_KEYS = {
    "task", "tree", "attempt", "answer", "verdict", "score", "decided_by", "stop", "stop_text", "attempts",
    "calls", "parked", "waiting", "type", "input_tokens", "output_tokens", "cost_usd", "elapsed_s", "reused",
    "error",
}  # fmt: skip


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"critic-loop {__version__}\n"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, contextlib\n"
        "from critic_loop.cli import app\n"
        "with contextlib.suppress(SystemExit): app(['--help'])\n"
        "heavy = {'langgraph', 'langchain_core', 'httpx', 'aiohttp', 'onnxruntime', 'pyarrow', 'sqlite3'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_run_of_one_task_or_many_imports_no_langgraph(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "tasks.jsonl").write_text('{"prompt": "one"}\n{"prompt": "two"}\n')
    actor = spec(serve(lambda *_: "42"))
    code = (
        "import sys, contextlib\n"
        "from critic_loop.cli import app\n"
        "for task in (['x'], ['--file', 'tasks.jsonl']):\n"
        "    with contextlib.suppress(SystemExit):\n"
        f"        app(['run', *task, '--recipe', 'try-again', '--actor', {actor!r}, '--store', 'memory'])\n"
        "sys.exit('langgraph' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "2 of 2 done" in ended.stderr


def test_every_command_is_explained(cli: Cli) -> None:
    for command in (
        "demo",
        "run",
        "export",
        "recipes list",
        "recipes show",
        "recipes check",
        "config",
        "config path",
    ):
        ended = cli(*command.split(), "--help")
        assert ended.code == 0
        assert "--json" in ended.out


def test_one_task(cli: Cli, serve: Serve) -> None:
    server = serve(reviewed)
    ended = cli("run", "What is 6 * 7?", "--actor", spec(server))
    assert ended.code == 0
    assert ended.out == "answer 42\n", "nothing but the answer"
    for said in (
        "accepted, score 1.00 (decided by critic)",
        "accepted: attempt",
        "2 attempts, 4 calls",
        "tree ",
    ):
        assert said in ended.err
    assert "✗ attempt 1  rejected  critic/stepwise: fail" in ended.err, "the final tree"
    assert "  ✓ attempt 2  accepted  ★ chosen  critic/stepwise: pass" in ended.err
    for said in ("recipe   refine", "actor    chat:test@", "store    sqlite:///", "cap      at most 20 calls"):
        assert said in ended.err
    assert "the actor's model criticises itself" in ended.err


def test_what_is_shown_comes_before_the_first_call(cli: Cli, serve: Serve) -> None:
    ended = cli("run", "x", "--actor", spec(serve(lambda _: Fault("auth"))))
    assert ended.err.index("cap      at most") < ended.err.index("error: ")


def test_the_same_again_costs_nothing_and_new_begins_anew(cli: Cli, serve: Serve) -> None:
    server = serve(reviewed)
    command = ("run", "What is 6 * 7?", "--actor", spec(server), "--json")
    first = cli(*command).json["results"][0]
    again = cli(*command).json["results"][0]
    assert len(server.requests) == 4
    assert again == first | {"reused": True}
    assert "finished earlier; --new begins another" in cli(*command[:-1]).err
    new = cli(*command, "--new")
    assert new.json["results"][0]["tree"] != first["tree"]
    assert f"seed {new.json['seed']}" in new.err
    assert len(server.requests) == 8
    assert cli(*command, "--seed", str(new.json["seed"])).json["summary"]["reused"] == 1


def test_tasks_from_standard_input(cli: Cli, serve: Serve) -> None:
    server = serve(reviewed)
    assert cli("run", "-", "--actor", spec(server), stdin="What is 6 * 7?\n").code == 0
    assert server.requests[0].body["messages"][-1]["content"] == "What is 6 * 7?"


def test_many_tasks(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    tasks = [
        {"prompt": "one", "id": "a"},
        {"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "two"}]},
        {
            "prompt": [{"role": "user", "parts": [{"type": "text", "text": "三"}]}],
            "language": "zh",
            "tags": ["t"],
        },
        {"prompt": "same"},
        {"prompt": "same"},
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(task) + "\n" for task in tasks), encoding="utf-8")
    ended = cli("run", "-f", "t.jsonl", "--actor", spec(serve(reviewed)), "--out", "out/r.jsonl")
    assert ended.code == 0
    assert "at most 20 calls a task, 100 in all; 16 tasks at once" in ended.err
    assert "5 results in out/r.jsonl" in ended.err
    assert "stopped  accepted 5" in ended.out
    rows = [json.loads(line) for line in (tmp_path / "out" / "r.jsonl").read_text().splitlines()]
    assert len({row["tree"] for row in rows}) == 5
    assert {row["answer"] for row in rows} == {"answer 42"}
    assert all(set(row) == RESULT_KEYS for row in rows)


def test_the_shape_of_run(cli: Cli, serve: Serve) -> None:
    lines = '{"prompt": "one"}\n{"prompt": "two"}\n'
    document = cli("run", "-f", "-", "--actor", spec(serve(reviewed)), "--json", stdin=lines).json
    assert set(document) == {"recipe", "models", "store", "seed", "results", "summary", "interrupted"}
    assert all(set(row) == RESULT_KEYS for row in document["results"])
    assert document["summary"] == {
        "tasks": 2, "answered": 2, "pass": 2, "fail": 0, "abstain": 0, "calls": 8,
        "input_tokens": sum(r["input_tokens"] for r in document["results"]), "output_tokens": 24, "reused": 0,
    }  # fmt: skip


def test_a_project_of_its_own(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    recipes = tmp_path / "mine" / "agents" / "recipes"
    recipes.mkdir(parents=True)
    (recipes / "twice.toml").write_text(
        'description = "Two samples."\nsearch = { kind = "sample", n = 2 }\nverifiers = ["countdown"]\n'
    )
    assert (
        cli("recipes", "show", "twice", "--assets", "mine", "--json").json["recipes"][0]["description"]
        == "Two samples."
    )
    server = serve(plays_countdown)
    task = "Countdown 24: 3 5 7 8"
    ended = cli("run", task, "--recipe", "twice", "--assets", "mine", "--actor", spec(server), "--json").json
    assert ended["results"][0]["attempts"] == 2
    assert ended["results"][0]["decided_by"] == "verifier"


def test_recipes(cli: Cli) -> None:
    listed = cli("recipes", "list", "--json").json["recipes"]
    assert {r["name"] for r in listed} >= {"refine", "best-of-n", "self-check", "try-again", "parallel-refine"}
    assert set(listed[0]) == {
        "name", "description", "source", "search", "actor", "actors", "critics", "verifiers", "judge",
        "debate", "show", "memory", "select", "select_settings", "stop", "lanes", "max_calls", "agents",
    }  # fmt: skip
    table = cli("recipes", "list").out
    assert all(r["name"] in table for r in listed)
    page = cli("recipes", "show", "refine").out
    assert "critic/stepwise" in page
    assert "max_rounds 4" in page
    page = " ".join(cli("recipes", "show", "debate").out.split())
    assert (
        "debater/advocate: Argues for one of two answers. (slot debater, prompt debater/advocate.md; 2 rounds"
        in page
    )


def test_a_recipe_page_names_advisory_critics_and_slots_of_escalation(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(
        'search = { kind = "refine" }\ncritics = [\n'
        '  { agent = "critic/stepwise", escalate = { slot = "hosted", below = 0.6 } },\n'
        '  { agent = "critic/verdict", slot = "candidate", shadow = true },\n]\n'
    )
    page = " ".join(cli("recipes", "show", "two.toml").out.split())
    assert "always; slot hosted where it is less sure than 0.6" in page
    assert "slot candidate; a shadow: advisory" in page


def test_demo(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    command = ("demo", "--puzzles", "8", "--tokens", "60", "--actor", spec(serve(plays_countdown)))
    shown = cli(*command)
    assert shown.code == 0, shown.err
    for said in ("draft", "resample", "refine", "95 % interval", "McNemar", "solved most", "critique worked"):
        assert said in shown.out
    assert " export --to preference --recipe countdown/refine --store .critic_loop/demo.db" in shown.out
    document = cli(*command, "--json").json
    assert document["store"].endswith("demo-2.db"), "a second run does not mix with the first"
    assert document["reused_trees"] == 0
    assert document["puzzles_per_level"] == 8
    assert [level["level"] for level in document["levels"]] == ["easy", "hard"]
    for level in document["levels"]:
        assert level["tokens_per_puzzle"] == 60
        assert level["first_revision"] is None, "rates are known of the embedded model only"
        assert [arm["name"] for arm in level["arms"]] == ["draft", "resample", "refine"]
        for arm in level["arms"]:
            low, high = arm["ci95"]
            assert 0 <= low <= arm["rate"] == arm["solved"] / 8 <= high <= 1
            assert arm["output_tokens"] > 0
        draft, _, refine = level["arms"]
        assert draft["calls"] == 8
        assert refine["solved"] == 8 > draft["solved"]
    assert (tmp_path / ".critic_loop" / "demo.db").exists()


def test_the_full_demo_writes_its_table_into_a_page(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- demo table -->\nold\n<!-- /demo table -->\nafter\n")
    server = serve(plays_countdown)
    command = ("demo", "--full", "--puzzles", "3", "--tokens", "40", "--actor", spec(server), "--json")
    document = cli(*command, "--into", "page.md").json
    names = [arm["name"] for arm in document["levels"][0]["arms"]]
    assert {"no-critique", "wrong-critique", "reviser-drafts", "vote", "best-of-n"} < set(names)
    text = page.read_text()
    assert text.startswith("before\n<!-- demo table -->\n**easy**: 3 held-out puzzles")
    assert "| `refine`: " in text
    assert "old" not in text
    assert text.endswith("<!-- /demo table -->\nafter\n")
    page.write_text("no place")
    assert "there is no place for the table" in cli(*command, "--into", "page.md").clean


def test_the_demo_goes_on_where_it_was(cli: Cli, serve: Serve) -> None:
    server = serve(plays_countdown)
    command = ("demo", "--puzzles", "5", "--tokens", "60", "--actor", spec(server), "--store", "d.db", "--json")
    first = cli(*command).json
    sent = len(server.requests)
    again = cli(*command).json
    assert len(server.requests) == sent
    assert again["reused_trees"] == 30
    for level, before in zip(again["levels"], first["levels"], strict=True):
        assert [arm["solved"] for arm in level["arms"]] == [arm["solved"] for arm in before["arms"]]


def test_a_demo_that_nobody_answers_is_no_result(cli: Cli, serve: Serve) -> None:
    ended = cli("demo", "--puzzles", "2", "--actor", spec(serve(lambda _: Fault("context"))))
    assert ended.code == 1
    assert "all attempts failed" in ended.clean


def test_export(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    command = ("demo", "--puzzles", "8", "--tokens", "60", "--store", "d.db")
    assert cli(*command, "--actor", spec(serve(plays_countdown))).code == 0
    document = cli(
        "export",
        "--to",
        "preference",
        "--store",
        "d.db",
        "--recipe",
        "countdown/refine",
        "--out",
        "pairs",
        "--json",
    ).json
    assert document["out"] == "pairs"
    assert document["export"] == "preference"
    rows = (tmp_path / "pairs" / "data" / "train.jsonl").read_text().splitlines()
    assert len(rows) == document["rows"]["train"] > 0
    shown = cli("export", "--to", "sft", "--store", "d.db", "--out", "sft")
    assert shown.code == 0
    assert "data/train.jsonl" in shown.out
    assert "digest" in shown.out


@pytest.mark.parametrize("form", ["console", "json"])
def test_logs_go_to_stderr_with_what_was_bound(cli: Cli, serve: Serve, form: str) -> None:
    server = serve(lambda received: Fault("unavailable", retry_after_s=0.01) if received.number == 1 else "42")
    arguments = ("--log-level", "info", "--log-format", form, "run", "x", "--recipe", "best-of-n", "--json")
    ended = cli(*arguments, "--actor", spec(server))
    assert ended.json["summary"]["answered"] == 1
    lines = [line for line in ended.err.splitlines() if "critic_loop.models.wrappers.retry" in line]
    assert lines
    if form == "json":
        assert json.loads(lines[0])["level"] in ("info", "warning")


@pytest.mark.parametrize("form", list(LogFormat))
def test_what_is_bound_is_in_every_line(cli: Cli, capsys: pytest.CaptureFixture[str], form: LogFormat) -> None:
    configure(LogLevel.INFO, form, Console(stderr=True, width=40))
    with structlog.contextvars.bound_contextvars(tree="t41c0", attempt="t41c0.3"):
        logging.getLogger("critic_loop.models").info("waiting %s s", 3)
        logging.getLogger("critic_loop.models").debug("not shown")
        logging.getLogger("critic_loop.models").warning("said: %s", "\x1b[2Jgone")
    logged, hostile = capsys.readouterr().err.splitlines()
    assert "gone" in hostile
    assert "\x1b" not in hostile
    for said in ("waiting 3 s", "t41c0", "t41c0.3", "critic_loop.models"):
        assert said in logged
    if form is LogFormat.JSON:
        assert json.loads(logged)["attempt"] == "t41c0.3"


def test_as_a_module(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "critic_loop", "--version"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout == f"critic-loop {__version__}\n"
