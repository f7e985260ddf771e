"""What command-line tests share: a server in a thread, a runner in an empty folder."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from critic_loop.cli import app
from critic_loop.demo.countdown import puzzle_of, solve, trace_text, traces
from critic_loop.testing import TestServer


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout, which must be all that is there."""
        return json.loads(self.out)

    @property
    def clean(self) -> str:
        """Stderr, which must hold no traceback."""
        assert "Traceback" not in self.err + self.out
        return self.err


Cli = Callable[..., Ended]
Serve = Callable[..., TestServer]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments: str, stdin: str | None = None) -> Ended:
        result = CliRunner().invoke(app, list(arguments), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start test servers in a thread with an event loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    servers: list[TestServer] = []

    def start(*args: Any, **settings: Any) -> TestServer:
        server = TestServer(*args, **settings)
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        servers.append(server)
        return server

    yield start
    for server in servers:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def spec(server: TestServer) -> str:
    return f"chat:test@{server.url}"


def reviewed(received: Any) -> str:
    """Answer 41 first and 42 when told off; as the critic, tell the two apart."""
    messages = received.body["messages"]
    if "You review answers" in messages[0]["content"]:
        return "Fine.\nVerdict: correct" if "answer 42" in received.text else "Off by one.\nVerdict: wrong"
    return "answer 42" if any(m["role"] == "assistant" for m in messages) else "answer 41"


def plays_countdown(received: Any) -> str:
    """Solve a puzzle when an attempt was rejected, before, a fifth of the time; judge truly."""
    messages = received.body["messages"]
    puzzle = next(p for m in messages if m["role"] == "user" and (p := puzzle_of(m["content"])))
    steps = solve(puzzle)
    assert steps is not None
    if "Role: critic" in messages[0]["content"]:
        right = trace_text(puzzle.numbers, steps) in messages[-1]["content"]
        return "Verdict: correct (99%)" if right else "Line 1: wrong (99%)\nVerdict: wrong (99%)"
    rejected = any(m["role"] == "assistant" for m in messages)
    right = rejected or received.body["seed"] % 5 == 0
    return trace_text(puzzle.numbers, steps if right else next(traces(puzzle.numbers)))
