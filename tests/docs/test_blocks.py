"""Every Python block in README and docs runs, against a test server; every example runs offline."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from critic_loop.testing import TestServer

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))
_FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LIVE = "http://localhost:8000/v1"


def blocks() -> Iterator[Any]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 2
            yield pytest.param(match[1], f"{page.name}:{line}", id=f"{page.name}:{line}")


def said(received: Any) -> str:
    """Speak for whoever is asked: a number, a verdict, or an answer that gets better."""
    messages = received.body["messages"]
    if "the number alone" in received.text:
        return "0.9"
    if "review answers" in messages[0]["content"]:
        return "Looks right.\nVerdict: correct" if "Second" in received.text else "No.\nVerdict: wrong"
    return "Second thoughts: 0.05" if any(m["role"] == "assistant" for m in messages) else "0.10"


@pytest.fixture
def url() -> Iterator[str]:
    """A server in a thread: blocks have event loops of their own."""
    loop, server = asyncio.new_event_loop(), TestServer(said)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    yield server.url
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize(("code", "where"), list(blocks()))
def test_block(code: str, where: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "no key at all")
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    compiled = compile(code.replace(_LIVE, url), where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, Any] = {"__name__": "block"}
    result = eval(compiled, names)  # the block's own code
    if inspect.iscoroutine(result):
        asyncio.run(result)
    loop = names.get("loop")
    if loop is not None:
        asyncio.run(loop.aclose())


@pytest.mark.parametrize("live", [False, True], ids=["scripted", "live"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example(example: Path, live: bool, url: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_KEY")}
    endpoint = ["--endpoint", f"chat:test@{url}"] if live else []
    ended = subprocess.run(
        [sys.executable, "-W", "error", str(example), *endpoint],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    assert len(ended.stdout.splitlines()) >= 2


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_fits_on_a_page(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= 80


def test_pages_name_files_that_exist() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
