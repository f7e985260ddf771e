"""Ctrl-C leaves readable trees, says how to go on, and a second run repeats no paid call."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from critic_loop.core.tree import Tree
from critic_loop.store import open_store
from critic_loop.testing import TestServer
from tests.cli.conftest import Cli, Serve, plays_countdown, reviewed, spec

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send")


Completed = subprocess.CompletedProcess[str]


def interrupted(
    arguments: list[str],
    server: TestServer,
    *,
    after: int,
    folder: Path,
    signals: Sequence[signal.Signals] = (signal.SIGINT,),
) -> Completed:
    """Run a command and send it signals, 0.2 s apart, once the server has had so many requests."""
    command = [sys.executable, "-m", "critic_loop", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "140"}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        give_up = time.monotonic() + 60
        while len(server.requests) < after and time.monotonic() < give_up:
            time.sleep(0.01)
        for number in signals:
            process.send_signal(number)
            time.sleep(0.2)
        out, err = process.communicate(timeout=30)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def trees_in(path: Path) -> list[Tree]:
    async def read() -> list[Tree]:
        store = open_store(path)
        trees = [await store.load(info.id) async for info in store.trees()]
        await store.aclose()
        return trees

    return asyncio.run(read())


def test_many_tasks(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    server = serve(reviewed, delay_s=0.1)
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"prompt": f"task {n}"}) + "\n" for n in range(12)))
    arguments = ["run", "--file", "t.jsonl", "--actor", spec(server), "--in-flight", "3"]
    ended = interrupted(arguments, server, after=15, folder=tmp_path)
    assert ended.returncode == 130
    assert "Traceback" not in ended.stderr
    assert "of 12 tasks done; trees lie in sqlite:///.critic_loop/trees.db." in ended.stderr
    assert "Run the same command again to go on" in ended.stderr

    before = trees_in(tmp_path / ".critic_loop" / "trees.db")
    assert before
    answered = sum(reply.status == "ok" for tree in before for reply in tree.replies.values())
    assert answered == len(server.requests), "what was paid for has settled"
    assert {reply.status for tree in before for reply in tree.replies.values()} == {"ok"}
    assert all(tree.outcome is not None for tree in before)

    again = cli(*arguments, "--json")
    assert again.code == 0
    assert again.json["summary"]["answered"] == 12
    needed = 12 * 4
    assert len(server.requests) == needed, "no call was repeated"
    after = trees_in(tmp_path / ".critic_loop" / "trees.db")
    assert sum(reply.status == "ok" for tree in after for reply in tree.replies.values()) == needed
    assert answered < needed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_task(cli: Cli, serve: Serve, tmp_path: Path, number: signal.Signals) -> None:
    server = serve(reviewed, delay_s=0.2)
    arguments = ["run", "What is 6 * 7?", "--actor", spec(server)]
    ended = interrupted(arguments, server, after=2, folder=tmp_path, signals=[number])
    assert ended.returncode == 130
    assert ended.stdout == "answer 41\n", "the best so far"
    assert "✗ attempt 1  rejected" in ended.stderr
    assert "interrupted: the run was interrupted" in ended.stderr
    assert "lies in sqlite:///.critic_loop/trees.db. Run the same command again to go on" in ended.stderr
    again = cli(*arguments, "--json")
    assert again.code == 0
    assert again.json["results"][0]["answer"] == "answer 42"
    assert again.json["results"][0]["reused"] is False, "it had not ended"
    assert len(server.requests) == 4


def test_with_json_the_document_says_so(serve: Serve, tmp_path: Path) -> None:
    server = serve(reviewed, delay_s=0.2)
    arguments = ["run", "x", "--actor", spec(server), "--json"]
    ended = interrupted(arguments, server, after=2, folder=tmp_path)
    assert ended.returncode == 130
    document = json.loads(ended.stdout)
    assert document["interrupted"] is True
    assert document["results"][0]["stop"] == "interrupted"


def test_twice_ends_at_once(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    delay_s = 30
    server = serve(reviewed, delay_s=delay_s)
    arguments = ["run", "x", "--actor", spec(server)]
    began = time.monotonic()
    ended = interrupted(arguments, server, after=1, folder=tmp_path, signals=[signal.SIGINT, signal.SIGINT])
    assert time.monotonic() - began < delay_s, "nobody waited for the answer"
    assert ended.returncode == 130
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert "Interrupted. Run the same command again to go on" in ended.stderr
    (tree,) = trees_in(tmp_path / ".critic_loop" / "trees.db")
    assert [reply.status for reply in tree.replies.values()] == ["cancelled"]


def test_twice_with_json_the_document_says_so(serve: Serve, tmp_path: Path) -> None:
    server = serve(reviewed, delay_s=30)
    arguments = ["run", "x", "--actor", spec(server), "--json"]
    twice = [signal.SIGINT, signal.SIGINT]
    ended = interrupted(arguments, server, after=1, folder=tmp_path, signals=twice)
    assert ended.returncode == 130
    error = json.loads(ended.stdout)["error"]
    assert (error["code"], error["docs"]) == ("interrupted", "reference/errors.html#interrupted")
    assert error["hint"].startswith("Run the same command again to go on")


@pytest.mark.parametrize("times", [1, 2])
def test_what_lay_in_memory_is_gone(serve: Serve, tmp_path: Path, times: int) -> None:
    server = serve(reviewed, delay_s=0.5 if times == 1 else 30)
    arguments = ["run", "x", "--actor", spec(server), "--store", "memory"]
    ended = interrupted(arguments, server, after=1, folder=tmp_path, signals=[signal.SIGINT] * times)
    assert ended.returncode == 130
    assert "Nothing was kept" in ended.stderr
    assert "again to go on" not in ended.stderr


def test_three_times_end_what_does_not_listen(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(
        "import pathlib, time\n"
        "def check(view):\n"
        "    pathlib.Path('stuck').touch()\n"
        "    while True:\n"
        "        time.sleep(0.01)\n"
    )
    arguments = ["run", "x", "--actor", spec(serve(reviewed)), "--verifier", "stuck:check"]
    command = [sys.executable, "-m", "critic_loop", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "stuck").exists():
            time.sleep(0.01)
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Run the same command again to go on" in err


def test_the_demo(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    server = serve(plays_countdown, delay_s=0.1)
    command = ("demo", "--puzzles", "10", "--tokens", "40", "--actor", spec(server))
    ended = interrupted([*command], server, after=14, folder=tmp_path)
    assert ended.returncode == 130
    assert "--store .critic_loop/demo.db" in ended.stderr
    again = cli(*command, "--store", ".critic_loop/demo.db", "--json")
    assert again.json["reused_trees"] >= 10
    assert again.json["levels"][0]["arms"][0]["calls"] >= 10
