"""The settings of the command line: `critic_loop.toml`, then the environment, then flags.

Only the command line reads the file; a `Loop` in a program never does. Knows where the file
lies, what may stand in it, and where each value came from. Does not know commands.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from critic_loop.assets.problems import Problem, nearest, problems_in
from critic_loop.cli.logs import LogFormat, LogLevel
from critic_loop.cli.terminal import UsageProblem
from critic_loop.core.messages import Frozen
from critic_loop.core.printable import without_secrets
from critic_loop.models.providers.specs import ModelTable

FILE = "critic_loop.toml"
PREFIX = "CRITIC_LOOP_"
DEFAULT_STORE = "./.critic_loop/trees.db"
Origin = Literal["default", "file", "environment", "flag"]
_SECRET = re.compile(r"key|token|secret|password|credential|auth", re.IGNORECASE)


class Settings(Frozen):
    """All settings of `critic_loop.toml`."""

    actor: str | None = None
    """A spec, or the name of a table in [models]."""
    critic: str | None = None
    judge: str | None = None
    recipe: str = "refine"
    store: str = DEFAULT_STORE
    """In the file, a path counts from the file's folder; elsewhere from the current one."""
    assets: tuple[str, ...] = ()
    """Folders with agents/ and prompts/; in the environment separated as in PATH."""
    in_flight: int = Field(default=16, ge=1)
    same_error: int = Field(default=20, ge=1)
    max_calls: int | None = Field(default=None, ge=1)
    lanes: int | None = Field(default=None, ge=1)
    log_level: LogLevel = LogLevel.WARNING
    log_format: LogFormat = LogFormat.CONSOLE
    models: dict[str, ModelTable] = {}


SCALARS = tuple(name for name in Settings.model_fields if name != "models")
"""The settings that the environment may give, too."""


@dataclass(frozen=True, slots=True)
class Found:
    """The settings that are in force, and where each came from."""

    settings: Settings = field(default_factory=Settings)
    origins: Mapping[str, Origin] = field(default_factory=dict[str, Origin])
    file: Path | None = None
    in_file: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the file says, with paths made whole: the defaults of the commands' options."""

    @property
    def folder(self) -> Path:
        """The project's folder: where its file lies, or else the current one."""
        return Path.cwd() if self.file is None else self.file.parent


def find(start: Path) -> Path | None:
    """Return the nearest `critic_loop.toml` at or above `start`, not above a git root or the home folder."""
    home = Path.home()
    for folder in (start, *start.parents):
        if (path := folder / FILE).is_file():
            return path
        if folder == home or (folder / ".git").exists():
            return None
    return None


def effective(start: Path, environment: Mapping[str, str], flags: Mapping[str, Any] | None = None) -> Found:
    """Return the effective settings in a folder.

    Args:
        start: the folder that a command is run in.
        environment: with `CRITIC_LOOP_*` in it.
        flags: values given on the command line, by the setting's name.

    Raises:
        UsageProblem: the file or a variable is wrong; names every place.
    """
    path = find(start)
    in_file = {} if path is None else _read(path)
    given = {name: environment[variable(name)] for name in SCALARS if environment.get(variable(name))}
    typed = {name: value for name, value in (flags or {}).items() if value is not None}
    _known_variables(environment)
    data = in_file | {name: _split(name, text) for name, text in given.items()} | typed
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise UsageProblem(_of_variables(error, given)) from error
    sources: list[tuple[Origin, Mapping[str, Any]]] = [
        ("flag", typed),
        ("environment", given),
        ("file", in_file),
    ]
    origins: dict[str, Origin] = {name: _origin(name, sources) for name in Settings.model_fields}
    return Found(settings, origins, path, in_file)


def _origin(name: str, sources: Iterable[tuple[Origin, Mapping[str, Any]]]) -> Origin:
    for origin, values in sources:
        if name in values:
            return origin
    return "default"


def variable(name: str) -> str:
    """Return the environment variable that gives a setting."""
    return f"{PREFIX}{name.upper()}"


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageProblem(f"{path}: cannot be read as TOML: {error}.") from error
    try:
        Settings.model_validate(data)
    except ValidationError as error:
        found = [_without_secrets(problem) for problem in problems_in(error, Settings, str(path), text)]
        if len(found) == 1:
            raise UsageProblem(str(found[0])) from error
        raise UsageProblem(
            f"{path}: {len(found)} settings cannot be used.", details=[str(problem) for problem in found]
        ) from error
    return {name: _whole(name, value, path.parent) for name, value in data.items()}


def _without_secrets(problem: Problem) -> Problem:
    name = problem.key.rpartition(".")[2]
    if problem.message.startswith("unknown key") and _SECRET.search(name):
        hint = 'Keys stay in the environment: name the variable that holds it, as in key_env = "CHAT_API_KEY".'
        return Problem(
            file=problem.file, line=problem.line, key=problem.key, message=problem.message, hint=hint
        )
    return problem


def _whole(name: str, value: Any, folder: Path) -> Any:
    """Return a setting of the file; relative paths are resolved against the file's folder."""
    if name == "assets":
        return tuple(str(folder / one) for one in value)
    if name == "recipe" and value.endswith(".toml"):
        return str(folder / value)
    if name != "store" or value == "memory":
        return value
    scheme, rest = ("sqlite:///", value[10:]) if value.startswith("sqlite:///") else ("", value)
    return value if "://" in rest or rest == ":memory:" else f"{scheme}{folder / rest}"


def _split(name: str, text: str) -> Any:
    return tuple(part for part in text.split(os.pathsep) if part) if name == "assets" else text


def _of_variables(error: ValidationError, given: Mapping[str, str]) -> str:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    where = variable(name) if name in given else name
    return f"{where}: {first['msg']}, not {str(first['input'])[:60]!r}."


def _known_variables(environment: Mapping[str, str]) -> None:
    known = [variable(name) for name in SCALARS]
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            raise UsageProblem(f"environment variable {name} is no setting.", hint=nearest(name, known))


# -- shown --------------------------------------------------------------------------------------


def shown(value: Any) -> Any:
    """Return a setting as JSON-like data, without what may be a secret."""
    if isinstance(value, Mapping):
        return {key: "…" if _hides(key, item) else shown(item) for key, item in value.items()}
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Iterable):
        return [shown(item) for item in value]
    return value


def _hides(key: str, value: Any) -> bool:
    return bool(_SECRET.search(key)) and key != "key_env" and value is not None
