"""Finds, loads and validates agent specs, recipes and prompts.

A library has folders with `agents/` and `prompts/` in them, which are searched in order; the bundled folder is
the last. Knows files. Errors name the file, the key, and what was expected.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from critic_loop.assets.problems import problems_in, unreadable_toml
from critic_loop.assets.recipe import AgentSpec, Recipe
from critic_loop.assets.template import Template
from critic_loop.core.errors import AssetError, NoSuchAsset
from critic_loop.core.messages import Frozen

T = TypeVar("T", bound=Frozen)


@cache
def bundled() -> Path:
    """Return the folder with the bundled assets: in an installed package, or the root of a checkout."""
    package = Path(str(files("critic_loop")))
    inside = package / "_assets"
    return inside if inside.is_dir() else package.parent


class Library:
    """Agent specs, recipes and prompts by name."""

    def __init__(self, folders: Sequence[str | Path] = ()) -> None:
        """Search `folders` first, then the bundled assets.

        Raises:
            AssetError: a folder does not exist.
        """
        self.folders = (*(Path(folder) for folder in folders), bundled())
        self._cache: dict[tuple[str, str], Any] = {}
        for folder in self.folders:
            if not folder.is_dir():
                raise AssetError(
                    f"{folder}: no such folder.", hint="Name a folder with agents/ or prompts/ in it."
                )

    def recipe(self, name: str) -> Recipe:
        """Return the recipe `agents/recipes/<name>.toml`, or the one in the file `name`.

        Raises:
            NoSuchAsset: the file does not exist.
            AssetError: the recipe is invalid.
        """
        if name.endswith(".toml"):
            path = Path(name)
            if not path.is_file():
                raise NoSuchAsset(f"{name}: no such recipe file.")
            return _load(path, Recipe).model_copy(update={"name": path.stem})

        def load(path: Path) -> Recipe:
            return _load(path, Recipe).model_copy(update={"name": name})

        return self._cached("recipe", name, load)

    def agent(self, name: str) -> AgentSpec:
        """Return the spec `agents/<name>.toml`, where `name` is `role/name`.

        Raises:
            NoSuchAsset: the file does not exist.
            AssetError: the spec is invalid, or its role is not the name of its folder.
        """

        def load(path: Path) -> AgentSpec:
            spec = _load(path, AgentSpec)
            if spec.role != (folder := path.parent.name):
                raise AssetError(
                    f"{path}: key 'role' is {spec.role!r}, but its folder is {folder!r}.",
                    hint="Move the file, or change its role.",
                )
            return spec

        return self._cached("agent", name, load)

    def prompt(self, name: str) -> Template:
        """Return the template `prompts/<name>`.

        Raises:
            NoSuchAsset: the file does not exist.
            AssetError: the template is invalid.
        """

        def load(path: Path) -> Template:
            return Template.parse(name, read(path), str(path))

        return self._cached("prompt", name, load)

    def recipes(self) -> dict[str, Recipe]:
        """Return all recipes by name, sorted."""
        return {name: self.recipe(name) for name in self.names("recipe")}

    def _cached(self, kind: str, name: str, load: Callable[[Path], Any]) -> Any:
        if (kind, name) not in self._cache:
            self._cache[kind, name] = load(self.find(kind, name))
        return self._cache[kind, name]

    def find(self, kind: str, name: str) -> Path:
        """Return the file of a recipe, an agent or a prompt.

        Args:
            kind: `recipe`, `agent` or `prompt`.
            name: as for `recipe`, `agent` and `prompt`.

        Raises:
            NoSuchAsset: the file does not exist; the hint names a similar one.
            AssetError: the name is a path outside the library.
        """
        relative = _relative(kind, name)
        if relative.is_absolute() or ".." in relative.parts:
            raise AssetError(
                f"{kind} {name!r} is a path outside the library.",
                hint="Write a name, without '..' and '/' first.",
            )
        for folder in self.folders:
            if (path := folder / relative).is_file():
                return path
        raise NoSuchAsset(f"There is no {kind} {name!r} (no file {relative}).", hint=self._hint(kind, name))

    def _hint(self, kind: str, name: str) -> str:
        if _relative(kind, name).is_file():
            return "It is in the current folder: add --assets . (in Python: assets=['.']) to search there."
        known = self.names(kind)
        near = difflib.get_close_matches(name, known, n=1)
        return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."

    def names(self, kind: str) -> list[str]:
        """Return the names of all recipes, agents or prompts, sorted; no file is read."""
        base, suffix = (Path("prompts"), ".md") if kind == "prompt" else (Path("agents"), ".toml")
        if kind == "recipe":
            base = base / "recipes"
        found: set[str] = set()
        for folder in self.folders:
            root = folder / base
            names = (path.relative_to(root) for path in root.rglob(f"*{suffix}"))
            found.update((n if kind == "prompt" else n.with_suffix("")).as_posix() for n in names)
        return sorted(n for n in found if kind != "agent" or not n.startswith("recipes/"))


def _relative(kind: str, name: str) -> Path:
    match kind:
        case "recipe":
            return Path("agents", "recipes", f"{name}.toml")
        case "agent":
            return Path("agents", f"{name}.toml")
        case _:
            return Path("prompts", name)


def read(path: Path) -> str:
    """Return the text of a file in UTF-8.

    Raises:
        AssetError: the file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AssetError(f"{path}: cannot be read as UTF-8 text: {error}.") from error


def _load(path: Path, kind: type[T]) -> T:
    text = read(path)
    try:
        return kind.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise unreadable_toml(error, str(path)).error from error
    except ValidationError as error:
        raise problems_in(error, kind, str(path), text)[0].error from error
