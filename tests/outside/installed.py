"""A project of somebody else, installed: what `pip install --target` leaves, without a build backend.

Knows a pyproject.toml. Nothing of the test environment is changed: the target is a temporary folder.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from critic_loop.core import plugins

ROOT = Path(__file__).parents[2]


def install(project: Path, target: Path) -> Path:
    """Copy a project's modules to `target`, with the metadata that its pyproject.toml asks for."""
    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    module = about["name"].replace("-", "_")
    if (project / module).is_dir():
        shutil.copytree(project / module, target / module, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(project / f"{module}.py", target)
    info = target / f"{module}-{about['version']}.dist-info"
    info.mkdir()
    required = "".join(f"Requires-Dist: {one}\n" for one in about["dependencies"])
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {about['name']}\nVersion: {about['version']}\n{required}"
    )
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {path}\n" for name, path in points.items())
            for group, points in about["entry-points"].items()
        )
    )
    return target


def importable(target: Path, monkeypatch) -> Iterator[None]:
    """Make what is installed in `target` importable in this process, entry points included."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(target))
    plugins._registered.cache_clear()
    yield
    plugins._registered.cache_clear()
    for name in set(sys.modules) - before:
        if str(target) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def run(target: Path, folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with what is installed in `target`, in `folder`."""
    return subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{target}", "COLUMNS": "140"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def imports(*paths: Path) -> set[str]:
    """Return the modules of Critic Loop that these files import, at their top or within functions."""
    found = {name for path in paths for name in _imports(path)}
    return {name for name in found if name.partition(".")[0] == "critic_loop"}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            direct = node.module == "critic_loop"
            yield from (f"critic_loop.{alias.name}" if direct else str(node.module) for alias in node.names)
