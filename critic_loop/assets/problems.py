"""Problems in asset files: file, line and key, what was expected, what to do.

Knows pydantic's errors, and enough of TOML's syntax to find the line of a key. Does not know what the files are
for.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from critic_loop.core.errors import AssetError

Loc = Sequence[str | int]
_HEADER = re.compile(r"^\s*\[{1,2}([^\[\]]+)\]{1,2}\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem in a file."""

    file: str
    message: str
    line: int | None = None
    key: str = ""
    hint: str = ""

    @property
    def error(self) -> AssetError:
        """The problem as an error."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return AssetError(f"{where}: {self.message}", hint=self.hint)

    def __str__(self) -> str:
        return str(self.error)


def problems_in(error: ValidationError, model: type[BaseModel], file: str, text: str) -> list[Problem]:
    """Return all problems of a failed validation.

    Args:
        error: the validation error.
        model: the model that was validated; its fields are used for hints on unknown keys.
        file: the file's name in messages.
        text: the file's TOML text, in which lines are found.
    """
    found: list[Problem] = []
    for one in error.errors(include_url=False):
        loc = [step for step in one["loc"] if not (isinstance(step, str) and "[" in step)]
        message, hint = _message_and_hint(one, model, loc)
        key = ".".join(map(str, loc))
        found.append(Problem(file=file, line=line_of(text, loc), key=key, message=message, hint=hint))
    return found


def unreadable_toml(error: tomllib.TOMLDecodeError, file: str) -> Problem:
    """Return the syntax error of a TOML file as a problem, with its line."""
    place = re.search(r" \(at line (\d+), column \d+\)$", str(error))
    reason = str(error)[: place.start()] if place else str(error)
    return Problem(file=file, line=int(place[1]) if place else None, message=f"not TOML: {reason}.")


def explain(error: ValidationError) -> str:
    """Return the first error of a failed validation as 'key ...: what was expected'."""
    first = error.errors(include_url=False)[0]
    return _message_and_hint(first, None, first["loc"])[0]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the hint 'Did you mean ...?' for an unknown word, or a list of the known words."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"There are: {', '.join(names)}." if names else ""


def _message_and_hint(error: Any, model: type[BaseModel] | None, loc: Loc) -> tuple[str, str]:
    """Return message and hint for one of pydantic's errors."""
    key = ".".join(str(step) for step in loc)
    if error["type"] == "extra_forbidden":
        known = [] if model is None else sorted(_fields_at(model, loc[:-1]))
        return f"unknown key {key!r}.", nearest(str(loc[-1]), known) if known else ""
    reason = error["msg"].removeprefix("Value error, ").rstrip(".")
    got = "" if error["type"] in ("missing", "value_error") else f", not {str(error['input'])[:60]!r}"
    return f"key {key!r}: {reason}{got}.", ""


def _fields_at(model: type[BaseModel], loc: Loc) -> set[str]:
    """Return the valid keys at a location in a model's data; empty where any key is valid."""
    inner = model
    for step in loc:
        field = inner.model_fields.get(step) if isinstance(step, str) else None
        if field is None:
            continue  # an index, or a name that the user chose
        found = next(_models_in(field.annotation), None)
        if found is None:
            return set()
        inner = found
    return set(inner.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def line_of(text: str, loc: Loc) -> int | None:
    """Return the line of a key in TOML `text`, from 1, or that of the nearest key or table around it."""
    names = [step for step in loc if isinstance(step, str)]
    lines = text.split("\n")  # not splitlines(): strings and comments may have other line separators
    table: list[str] = []
    best, line = 0, None
    for number, content in enumerate(lines, start=1):
        if header := _HEADER.match(content):
            table = path = _parts(header[1])
        elif key := _KEY.match(content):
            path = [*table, *_parts(key[1])]
        else:
            continue
        if len(path) > best and path == names[: len(path)]:
            best, line = len(path), number
    return line if line is None or best == len(names) else _inside(lines, line, _after(loc, best))


def _after(loc: Loc, names: int) -> Loc:
    """Return the steps of a location after the first `names` names."""
    for position, step in enumerate(loc):
        if names == 0:
            return loc[position:]
        names -= isinstance(step, str)
    return ()


def _parts(path: str) -> list[str]:
    return [part.strip("\"'") for part in _PART.findall(path)]


def _inside(lines: Sequence[str], start: int, steps: Loc) -> int:
    """Return the line of a key in the value that begins on line `start`; an index counts its inline tables."""
    end = start
    while end < len(lines) and (
        lines[end][:1].isspace() or not (_KEY.match(lines[end]) or _HEADER.match(lines[end]))
    ):
        end += 1  # the next key that is not indented: the value has ended
    line = start
    for step in steps:
        if isinstance(step, int):
            tables = [number for number in range(line, end + 1) for _ in range(lines[number - 1].count("{"))]
            line = tables[step] if step < len(tables) else line
        else:
            wanted = re.compile(rf"(?<![\w-]){re.escape(step)}[\"']?\s*=")
            line = next((n for n in range(line, end + 1) if wanted.search(lines[n - 1])), line)
    return line
