import json
import os
import sys
import tempfile
import time
from pathlib import Path

import pytest

from critic_loop.core.messages import user
from critic_loop.core.protocols import Request
from critic_loop.models import resolve
from critic_loop.models.vllm import servers

FAKE = (sys.executable, "-I", "-S", str(Path(__file__).with_name("fake.py")), "serve")


class Fake:
    """Servers that are processes, and what they say of themselves."""

    def __init__(self, folder):
        self.log = folder / "fake.jsonl"

    def settings(self, **serve):
        environment = {"FAKE_LOG": str(self.log), **serve.pop("environment", {})}
        return {"serve": {"command": FAKE, "environment": environment, **serve}}

    def model(self, spec, *, attempts=2, **serve):
        return resolve(spec, settings={"attempts": attempts, **self.settings(**serve)})

    def noted(self, path=None):
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if path is None or entry["path"].startswith(path)]


def ask(text="hi", **fields):
    return Request(messages=(user(text),), **fields)


def is_running(pid):
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def gone(*pids, within_s=5.0):
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if not any(map(is_running, pids)):
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def fake(tmp_path, monkeypatch):
    registry = {}
    monkeypatch.setattr(servers, "_servers", registry)
    yield Fake(tmp_path)
    for server in registry.values():
        server.stop()


class Folders:
    """The kinds of the temporary folders that there are."""

    def __init__(self, path):
        self.path = path

    def __call__(self):
        return sorted(path.name.split("-")[2] for path in self.path.iterdir())


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    monkeypatch.setenv("TMPDIR", str(path))
    return Folders(path)
