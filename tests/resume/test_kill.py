"""Kill -9 at random moments and run again: only calls in flight are repeated, every tree comes out whole."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from critic_loop.core.protocols import Request
from critic_loop.core.tree import Tree
from critic_loop.models import to_wire
from critic_loop.store import open_store
from critic_loop.testing.chat_replies import content_digest
from tests.graph.conftest import outline

DELAY_MS = 15


class Server:
    """The test server as a process, with its log."""

    def __init__(self, log: Path) -> None:
        self.log = log
        command = [
            sys.executable,
            "-m",
            "critic_loop.testing.server",
            "--delay-ms",
            str(DELAY_MS),
            "--log",
            str(log),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]

    def arrived(self) -> Counter[str]:
        """How often each request came in, by the digest of its content."""
        lines = [orjson.loads(line) for line in self.log.read_bytes().splitlines()]
        return Counter(line["digest"] for line in lines if line["event"] == "arrived")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "requests.jsonl")
    yield running
    running.close()


def start(server: Server, store: str, tasks: int, lanes: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.resume.job", server.url, store, str(tasks), str(lanes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    out, _ = process.communicate(timeout=120)
    assert out == "done\n"


def trees_in(store: str) -> list[Tree]:
    async def load() -> list[Tree]:
        opened = open_store(store)
        trees = [await opened.load(info.id) async for info in opened.trees()]
        await opened.aclose()
        return trees

    return asyncio.run(load())


def in_flight(trees: list[Tree]) -> Counter[str]:
    """The calls that are on disk as sent but not as answered, by the digest that the server gives them."""
    open_calls = [call for tree in trees for call in tree.calls.values() if call.id not in tree.replies]
    return Counter(
        content_digest(
            to_wire(Request(messages=c.request, sampling=c.sampling, choices=c.choices), name="test")
        )
        for c in open_calls
    )


def kill_and_resume(
    server: Server, store: str, *, tasks: int, lanes: int, kills: int
) -> tuple[Counter[str], list[Tree]]:
    """Run the job, killed at random moments, to its end; return what was in flight at the kills."""
    rng, lost = random.Random(7), Counter[str]()
    for _ in range(kills):
        process = start(server, store, tasks, lanes)
        before = sum(server.arrived().values()) if server.log.exists() else 0
        wait_for_traffic(server, before, process)
        time.sleep(rng.uniform(0.0, 0.35))
        process.kill()
        process.communicate()
        seen: Counter[str] = Counter()
        for digest, count in in_flight(trees_in(store)).items():
            seen[digest] = count
        lost = lost | seen
    finish(start(server, store, tasks, lanes))
    return lost, trees_in(store)


def wait_for_traffic(server: Server, before: int, process: subprocess.Popen[str]) -> None:
    """Wait until the job sends something (or has nothing more to send)."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        if server.log.exists() and sum(server.arrived().values()) > before:
            return
        time.sleep(0.02)


def check(server: Server, lost: Counter[str], trees: list[Tree], *, tasks: int) -> None:
    repeated = {digest: count - 1 for digest, count in server.arrived().items() if count > 1}
    assert repeated, "the kills hit calls in flight"
    beyond = {digest: count for digest, count in repeated.items() if count > lost[digest]}
    assert not beyond, "a call that was answered before the kill was sent again"
    assert len(trees) == tasks
    for tree in trees:
        assert tree.outcome is not None
        assert not tree.open


def undisturbed(server: Server, store: str, *, tasks: int, lanes: int) -> dict[str, Any]:
    finish(start(server, store, tasks, lanes))
    return {tree.task.id: outline(tree) for tree in trees_in(store)}


@pytest.mark.parametrize(("lanes", "kills"), [(1, 2), (4, 2)])
def test_killed_jobs_go_on_where_they_were(server: Server, tmp_path: Path, lanes: int, kills: int) -> None:
    tasks = 24
    lost, trees = kill_and_resume(
        server, f"sqlite:///{tmp_path}/killed.db", tasks=tasks, lanes=lanes, kills=kills
    )
    check(server, lost, trees, tasks=tasks)
    if lanes == 1:
        whole = undisturbed(server, f"sqlite:///{tmp_path}/whole.db", tasks=tasks, lanes=lanes)
        assert {tree.task.id: outline(tree) for tree in trees} == whole


def main() -> None:
    """The long form: 64 tasks, 20 kills. Prints what it saw."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        running = Server(Path(folder) / "requests.jsonl")
        try:
            killed = f"sqlite:///{folder}/killed.db"
            lost, trees = kill_and_resume(running, killed, tasks=64, lanes=1, kills=20)
            check(running, lost, trees, tasks=64)
            arrived = running.arrived()
            whole = undisturbed(running, f"sqlite:///{folder}/whole.db", tasks=64, lanes=1)
            assert {tree.task.id: outline(tree) for tree in trees} == whole
            repeats = sum(count - 1 for count in arrived.values())
            print(f"64 tasks, 20 kills: {sum(arrived.values())} calls, {repeats} repeated, all in flight")
        finally:
            running.close()


if __name__ == "__main__":
    main()
