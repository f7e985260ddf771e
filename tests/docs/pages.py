"""A page of the documentation as a reader would work through it: blocks in their order, in one folder.

What a block is, its language says:

- `python` runs, in a namespace of its own; after `<!-- continued -->`, in that of the one before.
- `sh` runs, a command at a time, except for what installs or serves: that is checked against what there is.
  `critic-loop` alone runs in this process, anything else in a shell. `pip install ./FOLDER` puts a project of
  the page where later commands find it.
- `text` is what the block before it printed. `...` stands for anything, on a line of its own for any lines.
- `toml` is read by the library: as what its title says, or a comment `<!-- recipe -->`, `agent`, `settings`;
  a `pyproject.toml` has entry points in groups that there are.
- `json` and `jsonl` are read. Blocks without a language are drawings, `jinja` is a prompt.

With `title="NAME"` a block is a file of that name, and a later block has to use it. A comment right before a
block says more: `<!-- exits: 1 -->` what its last command ends with, `<!-- shown elsewhere -->` that another
test compares this text. A comment `<!-- setup ... -->` holds Python that runs first: `said(received)` is what
the page's model says, files that readers are said to have are written, and `patch` replaces what is not there.

`UPDATE_DOCS=1 pytest tests/docs` puts what was printed where a page shows something else: look at what changed.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import fnmatch
import importlib.util
import inspect
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from critic_loop.assets import AgentSpec, Library, Recipe
from critic_loop.cli import app
from critic_loop.cli.settings import Settings
from critic_loop.core import plugins
from tests.outside.installed import install

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LIVE = "http://localhost:8000/v1"

_FENCE = re.compile(
    r"(?P<comments>(?:^<!--(?:(?!-->).)*-->\n)*)^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_GENERATED = re.compile(r"^<!-- generated: .*?^<!-- /generated -->$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!--\s*(.*?)\s*-->", re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')
_LANGUAGES = {"", "python", "sh", "text", "toml", "json", "jsonl", "jinja"}
_WORDS = {"continued", "recipe", "agent", "settings", "shown elsewhere", "exits"}
_KINDS = {"recipe": Recipe, "agent": AgentSpec, "settings": Settings}


class Broken(AssertionError):
    """A block does not do what its page says."""


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    where: str
    language: str
    title: str
    text: str
    said: dict[str, str]
    """The comments right before it."""


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page."""
    text = _by_hand(page.read_text(encoding="utf-8"))
    found = [
        _block(page, match, text.count("\n", 0, match.start("info")) + 2) for match in _FENCE.finditer(text)
    ]
    if 2 * len(found) != len(re.findall(r"^\s*(?:```|~~~)", text, re.MULTILINE)):
        raise Broken(f"{page.name}: a block is indented or not closed")
    return found


def _by_hand(text: str) -> str:
    """Return a page's text, with empty lines in place of what `docs/generate.py` makes from the code."""
    return _GENERATED.sub(lambda found: "\n" * found[0].count("\n"), text)


def _block(page: Path, match: re.Match[str], line: int) -> Block:
    where = f"{page.relative_to(ROOT) if page.is_relative_to(ROOT) else page.name}:{line}"
    language, _, rest = match["info"].partition(" ")
    if language not in _LANGUAGES:
        raise Broken(f"{where}: nothing is known of blocks of {language!r}; there are {sorted(_LANGUAGES)}")
    title = _TITLE.search(rest)
    said = dict(
        _word(comment) for comment in _COMMENT.findall(match["comments"]) if _word(comment)[0] in _WORDS
    )
    return Block(where, language, title[1] if title else "", match["text"], said)


def _word(comment: str) -> tuple[str, str]:
    name, _, value = comment.partition(":")
    return name.strip(), value.strip()


def setup_of(page: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what a page's hidden setup defines. It replaces what others see with `patch`, which is undone."""
    names: dict[str, Any] = {"patch": patch}
    for comment in _COMMENT.findall(page.read_text(encoding="utf-8")):
        if comment.startswith("setup\n"):
            exec(compile(comment.removeprefix("setup\n"), f"{page.name}: setup", "exec"), names)
    return names


@dataclass
class Reader:
    """Works through a page in an empty folder that is the current one."""

    folder: Path
    url: str
    environment: dict[str, str]
    printed: str | None = None
    """What the last block printed; None before any ran."""
    names: dict[str, Any] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    """Files that no later block has used."""

    def read(self, page: Path) -> None:
        """Do what every block of the page says."""
        for block in blocks(page):
            self._used(block)
            act: Callable[[Block], None] = getattr(self, f"_{block.language or 'drawing'}")
            if block.title:
                self._file(block)
            if not block.title or block.language == "toml":
                act(block)
        if self.unused:
            raise Broken(
                "; ".join(f"{where}: no later block uses {name}" for name, where in self.unused.items())
            )

    def _used(self, block: Block) -> None:
        for name in list(self.unused):
            path = Path(name)
            words = {path.name, path.stem, *path.parts[:1]} if len(path.parts) > 1 else {path.name, path.stem}
            if any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", block.text) for word in words):
                del self.unused[name]

    def _file(self, block: Block) -> None:
        path = self.folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text.replace(LIVE, self.url), encoding="utf-8")
        if block.language == "python":
            compile(block.text, block.where, "exec")
        if block.language in ("json", "jsonl"):
            getattr(self, f"_{block.language}")(block)
        if not block.title.startswith(("prompts/", "critic_loop.toml")):
            self.unused[block.title] = block.where

    # -- by language -------------------------------------------------------------------------------

    def _python(self, block: Block) -> None:
        if "continued" not in block.said:
            self.names = {"__name__": "block"}
        code = block.text.replace(LIVE, self.url)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        compiled = compile(code, block.where, "exec", flags=flags, dont_inherit=True)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            ran = eval(compiled, self.names)  # the block's own code
            if inspect.iscoroutine(ran):
                asyncio.run(ran)
        self.printed = output.getvalue()
        for name in ("model", "loop", "store"):
            if hasattr(self.names.get(name), "aclose"):
                asyncio.run(self.names[name].aclose())

    def _sh(self, block: Block) -> None:
        commands = list(_commands(block.text.replace(LIVE, self.url)))
        wanted = [0] * (len(commands) - 1) + [int(block.said.get("exits", 0))]
        printed = []
        for command, code in zip(commands, wanted, strict=True):
            if not self._is_checked_only(command, block):
                printed.append(self._run(command, code, block))
        self.printed = "".join(printed)

    def _run(self, command: str, code: int, block: Block) -> str:
        words = shlex.split(command, comments=True)
        is_ours = words[0] == "critic-loop" and not re.search(r"[|&;<>$`]", command)
        ended, out, err = self._in_this_process(words[1:]) if is_ours else self._in_a_shell(command)
        if ended != code:
            raise Broken(f"{block.where}: {command}: exit code {ended}\n{out}\n{err}")
        return out

    def _in_a_shell(self, command: str) -> tuple[int, str, str]:
        ended = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        return ended.returncode, ended.stdout, ended.stderr

    def _in_this_process(self, arguments: list[str]) -> tuple[int, str, str]:
        """Run the command line as a new process would find things: files, projects and modules of the page."""
        importlib.invalidate_caches()
        plugins._registered.cache_clear()
        try:
            ended = CliRunner().invoke(app, arguments, env=self.environment, prog_name="critic-loop")
        finally:
            self.forget()
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        return ended.exit_code, ended.stdout, ended.stderr

    def forget(self) -> None:
        """Let the next import of a module of the page, and the next look for plugins, read what is there."""
        plugins._registered.cache_clear()
        for name, module in list(sys.modules.items()):
            if (file := getattr(module, "__file__", None)) and Path(file).is_relative_to(self.folder):
                del sys.modules[name]

    def _is_checked_only(self, command: str, block: Block) -> bool:
        """Return whether a command is not run; if so, what it names must be there."""
        words = shlex.split(command, comments=True)
        match words:
            case ["make", *targets]:
                known = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
                missing = [t for t in targets if "=" not in t and t not in known]
            case ["pip", "install", *given]:
                missing = [extra for one in given for extra in _extras(one) if extra not in _optional()]
                for one in given:
                    if one.startswith("./"):
                        install(self.folder / one, self.folder)
            case [".ci/run"]:
                missing = [] if (ROOT / ".ci/run").is_file() else [".ci/run"]
            case ["python", "-m", "critic_loop.demo.layout" as module, *_]:
                missing = [] if importlib.util.find_spec(module) else [module]
            case [("git" | "cd" | "curl" | "ollama" | "pre-commit" | "langgraph" | "vllm" | "."), *_] | [
                "python3",
                "-m",
                "venv",
                *_,
            ]:
                missing = []
            case _:
                return False
        if missing:
            raise Broken(f"{block.where}: {command}: there is no {missing}")
        return True

    def _text(self, block: Block) -> None:
        if "shown elsewhere" in block.said:
            return
        if self.printed is None:
            raise Broken(f"{block.where}: nothing was run that could have printed this")
        if agrees(block.text, self.printed):
            return
        if "UPDATE_DOCS" in os.environ:
            _update(block, self.printed)
        else:
            raise Broken(f"{block.where}: the page shows\n{block.text}\nbut this was printed\n{self.printed}")

    def _toml(self, block: Block) -> None:
        data = tomllib.loads(block.text)
        if block.title.endswith("pyproject.toml"):
            return _check_groups(block, data)
        kind = self._kind(block)
        kind.model_validate(data)
        if block.title.startswith("agents/recipes/"):
            Library([self.folder]).recipe(Path(block.title).stem)
        return None

    def _kind(self, block: Block) -> Any:
        if block.title.endswith("critic_loop.toml"):
            return Settings
        if "agents/" in block.title:
            return Recipe if "agents/recipes/" in block.title else AgentSpec
        kinds = [kind for name, kind in _KINDS.items() if name in block.said]
        if not kinds:
            raise Broken(f"{block.where}: say in a comment what this is: {', '.join(_KINDS)}")
        return kinds[0]

    def _json(self, block: Block) -> None:
        json.loads(block.text)

    def _jsonl(self, block: Block) -> None:
        for line in block.text.splitlines():
            json.loads(line)

    def _jinja(self, block: Block) -> None:
        raise Broken(f"{block.where}: a prompt needs a title, so that it can be used")

    def _drawing(self, block: Block) -> None:
        """Drawings are looked at by people."""


def _check_groups(block: Block, data: dict[str, Any]) -> None:
    promised = (ROOT / "docs/compatibility.md").read_text(encoding="utf-8").partition("entry-point groups")[2]
    names = re.findall(r"`(?:critic_loop)?\.(\w+)`", promised.partition("|")[0])
    known = {f"critic_loop.{name}" for name in names}
    if unknown := set(data["project"]["entry-points"]) - known:
        raise Broken(f"{block.where}: there are no groups {sorted(unknown)}")


def _update(block: Block, printed: str) -> None:
    """Put what was printed in the place of what the page shows.

    Ids of trees, seconds, and the last words of lines that end in `...` stay open.
    """
    page = ROOT / block.where.rpartition(":")[0]
    open_ = re.sub(r"\bt[0-9a-f]{16}\b|\b\d+(\.\d+)?(?= s\b)", "...", printed)
    lines = [line.rstrip() for line in open_.strip().splitlines()]
    for index, shown in enumerate(block.text.splitlines()[: len(lines)]):
        if shown != "..." and shown.endswith("...") and shown[:1] == lines[index][:1]:
            lines[index] = re.sub(r"\S+$", "...", lines[index])
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace(block.text, "\n".join(lines) + "\n", 1), encoding="utf-8")


def _commands(text: str) -> Iterator[str]:
    """Yield the commands of a shell block, continued lines and here-documents together."""
    lines = iter(text.splitlines())
    for line in lines:
        command = line
        while command.endswith("\\"):
            command = f"{command[:-1]}{next(lines)}"
        if command.strip() and not command.startswith("#"):
            yield command


def _extras(requirement: str) -> list[str]:
    found = re.search(r"\[([\w,-]+)\]", requirement)
    return found[1].split(",") if found else []


def _optional() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def agrees(shown: str, printed: str) -> bool:
    """Return whether what a page shows is what was printed, `...` standing for anything."""
    return _agree([line.rstrip() for line in shown.strip().splitlines()], [*_tidy(printed)])


def _tidy(printed: str) -> Iterator[str]:
    yield from (line.rstrip() for line in printed.strip().splitlines())


def _agree(shown: list[str], printed: list[str]) -> bool:
    if not shown:
        return not printed
    if shown[0] == "...":
        return any(_agree(shown[1:], printed[skip:]) for skip in range(len(printed) + 1))
    return bool(printed) and _alike(shown[0], printed[0]) and _agree(shown[1:], printed[1:])


def _alike(shown: str, printed: str) -> bool:
    return fnmatch.fnmatchcase(printed, re.sub(r"([*?\[])", r"[\1]", shown).replace("...", "*"))


def environment_for(url: str, folder: Path) -> dict[str, str]:
    """Return what shell blocks see: a made-up key, the test server, this Python's commands first."""
    kept = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "LC_ALL", "TMPDIR")}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
        "PYTHONWARNINGS": "error",
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "OPENAI_API_KEY": "no key at all",
        "OPENAI_BASE_URL": url,
        "OLLAMA_HOST": url.removesuffix("/v1"),
        "XDG_CACHE_HOME": str(folder / ".cache"),
    }
