"""Finds JSON in text: the whole text, fenced blocks, or values in prose; unchanged or with small repairs.

Knows JSON's grammar and the usual errors of models. Does not know which value is wanted: it returns candidates,
and the caller takes the first that fits. The last value in the text is the first candidate, as models quote
before they conclude. JSON that is cut off is neither completed nor searched for inner values.
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
"""The largest number of brackets without an end that are skipped in a text; each costs a scan to its end."""
_MAX_TRIED = 50
"""The largest number of blocks and of other parts of a text that are parsed, counted from its end."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A JSON value found in a text."""

    value: JsonValue
    repaired: bool = False
    """Whether the text had to be repaired to parse it."""


@dataclass(frozen=True, slots=True)
class Found:
    """The JSON values found in a text, the most likely first."""

    candidates: tuple[Candidate, ...]
    cut_off: bool = False
    """Whether the text ends inside an object."""


def find(text: str) -> Found:
    """Return the JSON in `text`: the whole text if it is JSON, else fenced blocks and then values in prose."""
    whole = _read(text)
    if whole is not None:
        return Found((whole,))
    substrings, cut_off = _substrings(text)
    fenced = [block.body for block in blocks(text)]
    bodies = [*fenced[: -_MAX_TRIED - 1 : -1], *substrings[: -_MAX_TRIED - 1 : -1]]
    read = [candidate for body in bodies if (candidate := _read(body)) is not None]
    return Found(tuple(read), cut_off)


def find_last(text: str) -> Found:
    """Return the last object in `text` only, for texts that may quote similar objects before it.

    If that object cannot be parsed or is cut off, nothing is found: an earlier one does not replace it.
    """
    whole = _read(text)
    if whole is not None:
        return Found((whole,))
    substrings, cut_off = _substrings(text)
    objects = [substring for substring in substrings if _OBJECT.match(substring)]
    last = _read(objects[-1]) if objects and not cut_off else None
    return Found((last,) if last is not None else (), cut_off)


def _read(text: str) -> Candidate | None:
    decoded = _decoded(text)
    if decoded is not None:
        return Candidate(decoded[0])
    repaired = _decoded(_repaired(text), strict=False) if _BRACKET.search(text) else None
    return Candidate(repaired[0], repaired=True) if repaired is not None else None


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
    """Return the value of `text` in a tuple, so that null differs from None = not JSON."""
    try:
        value = _DECODERS[strict].decode(text.strip())
        json.dumps(value, ensure_ascii=False).encode()  # records cannot hold lone surrogates
    except (ValueError, RecursionError):
        return None
    return (value,)


def _substrings(text: str) -> tuple[list[str], bool]:
    """Return the outermost substrings with balanced brackets in order, and whether an object is cut off."""
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
    """Return the end of the bracket that opens at `start`, ignoring brackets in strings; None if it is open."""
    depth = 0
    for token in _STRUCTURE.finditer(text, start):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if depth == 0:
            return token.end()
    return None


def _repaired(text: str) -> str:
    """Return `text` with trailing commas removed, Python's constants replaced and unknown escapes escaped."""
    pieces = _STRING.split(text.strip())
    pieces[::2] = map(_repaired_structure, pieces[::2])
    pieces[1::2] = map(_repaired_string, pieces[1::2])
    return "".join(pieces)


def _repaired_structure(piece: str) -> str:
    named = _PYTHON_NAME.sub(lambda name: _JSON_NAME[name[0]], piece)
    return _TRAILING_COMMA.sub(r"\1", named)


def _repaired_string(piece: str) -> str:
    return _BACKSLASH.sub(lambda found: found[0] if found[1] else r"\\", piece)
