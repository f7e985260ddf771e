"""`langgraph dev` serves the graph of langgraph.json. Needs langgraph-cli[inmem]."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("langgraph_cli", "langgraph_api", "onnxruntime")

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in NEEDED),
    reason="needs langgraph-cli[inmem] and onnxruntime (make test-real installs them)",
)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.loads(response.read())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A server of a copy of langgraph.json and its app, so that no state is left in the checkout."""
    shutil.copy(ROOT / "langgraph.json", tmp_path)
    (tmp_path / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "langgraph_app.py", tmp_path / "examples")
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [
        sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload",
        "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "LANGSMITH_TRACING": "false"}
    log = (tmp_path / "server.log").open("w")
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        _wait_for(url, process, tmp_path / "server.log")
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        log.close()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        assert process.poll() is None, log.read_text()
        try:
            if ask(f"{url}/ok")["ok"]:
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(log.read_text())


def test_a_run_over_http(server: str) -> None:
    body = {"assistant_id": "critic_loop", "input": {"task": "Countdown 24: 3 5 7 8"}}
    answer = ask(f"{server}/runs/wait", body)
    assert answer["tree_id"]
    assert answer["stop"] in ("verified", "max_rounds")
    assert answer["decided_by"] == "verifier"
    assert "=" in answer["answer"]


def test_a_thread_keeps_its_tree(server: str) -> None:
    thread = ask(f"{server}/threads", {})["thread_id"]
    body = {"assistant_id": "critic_loop", "input": {"task": "Countdown 30: 2 4 5 10"}}
    first = ask(f"{server}/threads/{thread}/runs/wait", body)
    again = ask(f"{server}/threads/{thread}/runs/wait", body)
    assert again["tree_id"] == first["tree_id"]
    assert again["answer"] == first["answer"]
