"""Every block of every page does what the page says; every example runs offline."""

from __future__ import annotations

import asyncio
import re
import runpy
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from critic_loop.testing import TestServer
from tests.docs.pages import PAGES, ROOT, Reader, agrees, blocks, environment_for, setup_of

EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))


def here(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def said(received: Any) -> str:
    """Speak for whoever is asked: a number, a verdict, or an answer that gets better."""
    messages = received.body["messages"]
    if "the number alone" in received.text:
        return "0.9"
    if "Hamburg" in received.text:
        return "Elbe" if received.number % 2 else "Rhine"
    if "review answers" in messages[0]["content"]:
        return "Looks right.\nVerdict: correct" if "Second" in received.text else "No.\nVerdict: wrong"
    return "Second thoughts: 0.05" if any(m["role"] == "assistant" for m in messages) else "0.10"


Serve = Callable[[Callable[[Any], Any]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A server in a thread: blocks have event loops of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    started: list[TestServer] = []

    def start(handler: Callable[[Any], Any]) -> str:
        server = TestServer(handler)
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        started.append(server)
        return server.url

    yield start
    for server in started:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Reader]]:
    """Somebody with an empty folder and a model behind an address."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    readers: list[Reader] = []

    def made(url: str) -> Reader:
        environment = environment_for(url, tmp_path)
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OLLAMA_HOST"):
            monkeypatch.setenv(name, environment[name])
        readers.append(Reader(tmp_path, url, environment))
        return readers[-1]

    yield made
    for reader in readers:
        reader.forget()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=here)
def test_page(
    page: Path, serve: Serve, reader: Callable[[str], Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = setup_of(page, monkeypatch)
    reader(serve(setup.get("said", said))).read(page)


@pytest.mark.parametrize("live", [False, True], ids=["scripted", "live"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example(
    example: Path,
    live: bool,
    serve: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    endpoint = ["--endpoint", f"chat:test@{serve(said)}"] if live else []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(example), *endpoint])
    runpy.run_path(str(example), run_name="__main__")
    printed = capsys.readouterr()
    assert printed.err == ""
    assert len(printed.out.splitlines()) >= 2


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_fits_on_a_page(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= 80


# -- the reader itself: a broken block is seen -----------------------------------------------------


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("```python\nraise ValueError('no')\n```\n", "no"),
        ("```python\nprint(1)\n```\n```text\n2\n```\n", "this was printed"),
        ("```text\n2\n```\n", "nothing was run"),
        ("```sh\nfalse\n```\n", "exit code 1"),
        ("```sh\ncritic-loop no-such-command\n```\n", "exit code 2"),
        ("```sh\nmake no-such-target\n```\n", "there is no"),
        ("```sh\npip install '.[no-such-extra]'\n```\n", "there is no"),
        ("```toml\na = 1\n```\n", "say in a comment"),
        ('<!-- recipe -->\n```toml\nsearch = { kind = "refine" }\nno_such_key = 1\n```\n', "no_such_key"),
        ('```python title="a.py"\nx = 1\n```\n', "no later block uses a.py"),
        (
            '```toml title="pyproject.toml"\n[project.entry-points."critic_loop.modells"]\na = "b:c"\n```\n',
            "no groups ['critic_loop.modells']",
        ),
        ("```json\n{\n```\n", "Expecting"),
        ("```yaml\na: 1\n```\n", "nothing is known of blocks of 'yaml'"),
        ("- a list\n  ```python\n  x = 1\n  ```\n", "indented"),
    ],
)
def test_a_broken_block_fails(page: str, why: str, reader: Callable[[str], Reader], tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(page)
    with pytest.raises(Exception, match=re.escape(why)):
        reader("http://127.0.0.1:9/v1").read(path)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\n", "a", True),
        ("a", "b", False),
        ("a ... c", "a b c", True),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a\n...\nd", "a\nb\nc", False),
        ("[x] 100 %", "[x] 100 %", True),
        ("", "a", False),
    ],
)
def test_what_is_shown_agrees_with_what_was_printed(shown: str, printed: str, same: bool) -> None:
    assert agrees(shown, printed) is same
