"""`critic-loop new`: starter files that work unchanged.

Knows which files make up a recipe or a verifier. Their contents are data, in `starters/`.
"""

from __future__ import annotations

import builtins
import keyword
import re
import shlex
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

from rich.text import Text

from critic_loop.cli.documents.recipes import NewDocument
from critic_loop.cli.settings import Found
from critic_loop.cli.terminal import Terminal, UsageProblem
from critic_loop.core.printable import printable

_OURS = frozenset({"checks", "cl", "conftest", "critic_loop", "test", "tests", "pytest"})
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")


def recipe(name: str, found: Found, terminal: Terminal, *, prompts: bool, as_json: bool) -> None:
    """Write a recipe and its test; with `prompts`, an actor and a critic of its own, too."""
    _require_name(name)
    words = {
        "name": name,
        "actor": name if prompts else "solver",
        "critic": name if prompts else "stepwise",
    }
    wanted = {
        f"agents/recipes/{name}.toml": "recipe.toml",
        f"tests/test_recipe_{name.replace('-', '_')}.py": "test_recipe.py.txt",
    }
    for role in ("actor", "critic") if prompts else ():
        wanted[f"agents/{role}/{name}.toml"] = f"{role}.toml"
        wanted[f"prompts/{role}/{name}.md"] = f"{role}.md"
    folder = found.folder
    written = _write(folder, wanted, words)
    known = str(folder) in found.settings.assets or str(folder / ".") in found.settings.assets
    assets = "" if known else f" --assets {_typed(folder)}"
    _tell(terminal, written, f'critic-loop run "TASK" --recipe {name}{assets}', as_json=as_json)


def verifier(name: str, found: Found, terminal: Terminal, *, as_json: bool) -> None:
    """Write a verifier and its test."""
    _require_name(name)
    module = name.replace("-", "_")
    if taken := _taken(module):
        raise UsageProblem(f"{name!r} {taken}.", hint="Take another name, as in short-answer.")
    folder = found.folder
    wanted = {f"checks/{module}.py": "verifier.py.txt", f"tests/test_{module}.py": "test_verifier.py.txt"}
    if not (folder / "conftest.py").exists():
        wanted["conftest.py"] = "conftest.py.txt"
    written = _write(folder, wanted, {"name": name, "module": module})
    _tell(terminal, written, f'critic-loop run "TASK" --verifier checks.{module}:{module}', as_json=as_json)


def _taken(module: str) -> str:
    """Return what a name is already used for; empty if a module and a function may have it."""
    if keyword.iskeyword(module) or keyword.issoftkeyword(module):
        return "is a word of Python"
    if hasattr(builtins, module):
        return "is a function of Python"
    if module in sys.stdlib_module_names:
        return "is a module of Python"
    return "is a name that the files use themselves" if module in _OURS else ""


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageProblem(
            f"{name!r} is no name for a file and a function.",
            hint="Lower-case letters and digits with - between words, as in short-answer.",
        )


def _write(folder: Path, wanted: Mapping[str, str], words: Mapping[str, str]) -> list[Path]:
    """Write all files, or none if one is there already."""
    targets = {folder / path: starter for path, starter in wanted.items()}
    there = [str(path) for path in targets if path.exists()]
    if there:
        raise UsageProblem(
            "nothing was written: " + ("this file exists." if len(there) == 1 else "these files exist."),
            hint="Take another name, or move what is there.",
            details=there,
        )
    starters = files("critic_loop.cli") / "starters"
    for path, starter in targets.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        text = Template((starters / starter).read_text(encoding="utf-8")).substitute(words)
        path.write_text(text, encoding="utf-8")
    return list(targets)


def _typed(folder: Path) -> str:
    return "." if folder == Path.cwd() else shlex.quote(str(folder))


def _tell(terminal: Terminal, written: list[Path], command: str, *, as_json: bool) -> None:
    if as_json:
        terminal.document(NewDocument(written=[str(path) for path in written], next=command))
        return
    tests = next(_short(path) for path in written if path.name.startswith("test_"))
    for path in written:
        terminal.out.print(Text.assemble(("wrote  ", "dim"), printable(_short(path))), soft_wrap=True)
    terminal.out.print(
        Text.assemble(("test   ", "dim"), printable(f"python -m pytest {shlex.quote(tests)}")), soft_wrap=True
    )
    terminal.out.print(Text.assemble(("next   ", "dim"), printable(command)), soft_wrap=True)


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
