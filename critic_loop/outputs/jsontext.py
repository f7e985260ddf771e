"""JSON inside text: whole, fenced, or somewhere in prose; as it stands, or with small repairs.

Knows JSON's grammar and the few ways in which models break it. Does not know which value is wanted:
it offers candidates and the caller takes the first that fits. The last in the text comes first, as
models quote before they conclude. Cut-off JSON is neither completed nor searched for its innards.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

from pydantic import JsonValue

from critic_loop.outputs.fences import blocks

_BRACKET = re.compile(r"[{\[]")
_OBJECT = re.compile(r'\{\s*["}]')
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)|[{}\[\]]', re.DOTALL)
_STRING = re.compile(r'("(?:[^"\\]|\\.)*(?:"|\Z))', re.DOTALL)
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
_PYTHON_NAME = re.compile(r"\b(True|False|None)\b")
_JSON_NAME = {"True": "true", "False": "false", "None": "null"}
_BACKSLASH = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})?')
_MAX_UNCLOSED = 20
"""Brackets without an end that are passed over in one text; each is a walk to its end."""
_MAX_TRIED = 50
"""Candidates read in one text, from its end."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A JSON value that stands in the text, or nearly so."""

    value: JsonValue
    repaired: bool = False
    """Whether characters had to be changed to read it."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in a text, the best guess first."""

    candidates: tuple[Candidate, ...]
    cut_off: bool = False
    """Whether the text ends inside an object."""


def find(text: str) -> Found:
    """Return the JSON in `text`: all of it, or else fenced blocks, then what stands in prose."""
    whole = _read(text)
    if whole is not None:
        return Found((whole,))
    stretches, cut_off = _stretches(text)
    fenced = [block.body for block in blocks(text)]
    bodies = [*fenced[: -_MAX_TRIED - 1 : -1], *stretches[: -_MAX_TRIED - 1 : -1]]
    read = [candidate for body in bodies if (candidate := _read(body)) is not None]
    return Found(tuple(read), cut_off)


def find_last(text: str) -> Found:
    """Return the last object in `text` alone, where a text may quote others of the same kind before.

    Nothing is found when that object cannot be read or is cut off: an earlier one is not its stand-in.
    """
    whole = _read(text)
    if whole is not None:
        return Found((whole,))
    stretches, cut_off = _stretches(text)
    objects = [stretch for stretch in stretches if _OBJECT.match(stretch)]
    last = _read(objects[-1]) if objects and not cut_off else None
    return Found((last,) if last is not None else (), cut_off)


def _read(text: str) -> Candidate | None:
    decoded = _decoded(text)
    if decoded is not None:
        return Candidate(decoded[0])
    mended = _decoded(_mended(text), strict=False) if _BRACKET.search(text) else None
    return Candidate(mended[0], repaired=True) if mended is not None else None


def _constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is not JSON")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits} is too large")
    return value


_DECODERS = {
    strict: json.JSONDecoder(strict=strict, parse_constant=_constant, parse_float=_float)
    for strict in (True, False)
}


def _decoded(text: str, *, strict: bool = True) -> tuple[JsonValue] | None:
    """Return the value of `text` in a tuple, so that null is not taken for nothing."""
    try:
        value = _DECODERS[strict].decode(text.strip())
        json.dumps(value, ensure_ascii=False).encode()  # records cannot hold lone surrogates
    except (ValueError, RecursionError):
        return None
    return (value,)


def _stretches(text: str) -> tuple[list[str], bool]:
    """Return the outermost stretches with balanced brackets in order, and whether an object is cut off."""
    found: list[str] = []
    position = unclosed = 0
    while unclosed < _MAX_UNCLOSED and (bracket := _BRACKET.search(text, position)):
        start = bracket.start()
        end = _end_of(text, start)
        if end is not None:
            found.append(text[start:end])
            position = end
        elif _OBJECT.match(text, start):
            return found, True
        else:
            position = start + 1
            unclosed += 1
    return found, False


def _end_of(text: str, start: int) -> int | None:
    """Return where the bracket that opens at `start` is closed, strings left out."""
    depth = 0
    for token in _STRUCTURE.finditer(text, start):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if depth == 0:
            return token.end()
    return None


def _mended(text: str) -> str:
    """Return `text` without trailing commas, Python's names for constants and unknown escapes."""
    pieces = _STRING.split(text.strip())
    pieces[::2] = map(_mended_structure, pieces[::2])
    pieces[1::2] = map(_mended_string, pieces[1::2])
    return "".join(pieces)


def _mended_structure(piece: str) -> str:
    named = _PYTHON_NAME.sub(lambda name: _JSON_NAME[name[0]], piece)
    return _TRAILING_COMMA.sub(r"\1", named)


def _mended_string(piece: str) -> str:
    return _BACKSLASH.sub(lambda found: found[0] if found[1] else r"\\", piece)
