"""Ctrl-C leaves readable trees, says how to go on, and a second run repeats no finished call."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from critic_loop.core.tree import Tree
from critic_loop.store import open_store
from critic_loop.testing import TestServer
from tests.cli.conftest import Cli, Serve, plays_countdown, reviewed, spec

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send")


Completed = subprocess.CompletedProcess[str]


def interrupted(arguments: list[str], server: TestServer, *, after: int, folder: Path) -> Completed:
    """Run a command and press Ctrl-C once the server has had so many requests."""
    command = [sys.executable, "-m", "critic_loop", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "140"}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        give_up = time.monotonic() + 60
        while len(server.requests) < after and time.monotonic() < give_up:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
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
    assert "of 12 tasks done" in ended.stderr
    assert "Run the same command again to go on" in ended.stderr

    before = trees_in(tmp_path / ".critic_loop" / "trees.db")
    assert before
    answered = sum(reply.status == "ok" for tree in before for reply in tree.replies.values())

    again = cli(*arguments, "--json")
    assert again.code == 0
    assert again.json["summary"]["answered"] == 12
    needed = 12 * 4
    assert len(server.requests) <= needed + 3, "only the calls in flight were repeated"
    after = trees_in(tmp_path / ".critic_loop" / "trees.db")
    assert sum(reply.status == "ok" for tree in after for reply in tree.replies.values()) == needed
    assert answered < needed


def test_one_task(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    server = serve(reviewed, delay_s=0.2)
    arguments = ["run", "What is 6 * 7?", "--actor", spec(server)]
    ended = interrupted(arguments, server, after=3, folder=tmp_path)
    assert ended.returncode == 130
    assert ended.stdout == ""
    assert "Interrupted. Run the same command again to go on" in ended.stderr
    again = cli(*arguments)
    assert again.code == 0
    assert again.out.startswith("answer 42")
    assert len(server.requests) <= 5


def test_the_demo(cli: Cli, serve: Serve, tmp_path: Path) -> None:
    server = serve(plays_countdown, delay_s=0.1)
    ended = interrupted(["demo", "--puzzles", "30", "--actor", spec(server)], server, after=40, folder=tmp_path)
    assert ended.returncode == 130
    assert "--store .critic_loop/demo.db" in ended.stderr
    again = cli("demo", "--puzzles", "30", "--actor", spec(server), "--store", ".critic_loop/demo.db", "--json")
    assert again.json["reused_trees"] >= 30
    assert again.json["strategies"][0]["calls"] >= 30
