"""Packs JSON-like values losslessly: long strings become references to texts that are stored once.

Knows JSON and the fences that prompts put around data. Does not know SQL or records. Two levels:

- `dumps` and `loads` convert a JSON-like value to packed JSON, where every string of at least `LONG`
  characters is a reference to a text, and back.
- `split` and `join` convert a long text to pieces and back. Data inside a fence and the text between fences
  are pieces; long pieces are texts of their own.

In packed JSON only strings that begin with `^` have a special meaning:

    ^123      the text 123                   ^.4       the id of this tree, a dot, and `4`
    ^^rest    the string `^rest`             ^!inf     inf; also -inf, nan
    ^!i123    an integer beyond 64 bits      ^!s...    a string with lone surrogates, JSON-escaped

Keys in `KEYS` are written as codes; other keys unchanged, or escaped with `^`. A text part is written as
`{"": text}`, a message of one text part as `{"": [role, text]}`, or `{"": [role, text, 1]}` if it was sampled.
Values of the keys in `LABELS` are references from `SHORT_LABEL` characters on.
"""

from __future__ import annotations

import json
import math
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

Packed: TypeAlias = Any
"""JSON whose long strings are references."""

LONG = 128
"""Strings of at least so many characters are stored once, by content."""

KEYS = (
    "type", "text", "parts", "role", "message", "sampled", "id", "attempt", "parents", "kind", "agent",
    "seed", "sampling", "view", "attempts", "feedback", "fields", "replaces", "group", "lane", "place",
    "subject", "turn", "sample", "repair", "digest", "request", "template", "tools", "output_schema",
    "binding", "revision", "choices", "sent_at", "call", "status", "finish_reason", "usage",
    "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "raw_usage", "model",
    "weight_version", "request_id", "prompt_token_ids", "token_ids", "logprobs", "error", "error_code",
    "ended_at", "messages", "answer", "calls", "temperature", "top_p", "max_tokens", "stop", "extra",
    "source", "author", "verdict", "score", "preference", "steps", "first_error", "spans", "boxes",
    "rubric", "suggestion", "confidence", "data", "parse", "reason", "saw_reference", "obeyed",
    "supersedes", "trees", "index", "name", "weight", "start", "end", "label", "left", "top", "right",
    "bottom", "part", "step", "at", "chosen", "decided_by", "select", "stop_text", "spend", "oracle",
    "cost_usd", "elapsed_s", "tree", "task", "recipe", "recipe_digest", "key", "origin", "created_at",
    "schema_version", "prompt", "reference", "checks", "licence", "tags", "language", "parent",
    "sha256", "media_type", "arguments", "arguments_text", "call_id", "is_error", "provider",
    "prompt_tokens", "completion_tokens", "total_tokens", "rests_on", "slot", "sends", "busy_s",
    "license", "held_out", "components", "digest_version", "context", "also_shown", "duration_s",
    "content_part", "location", "advisory", "requested_because", "request_probability", "produced_by",
)  # fmt: skip
"""Names that are written as codes. Append only: the index in this list gives the code."""

LABELS = frozenset((
    "agent", "author", "binding", "model", "output_schema", "produced_by", "recipe_digest", "template", "tools",
    "weight_version",
))  # fmt: skip
"""Names of fields that hold one of a few strings again and again."""
SHORT_LABEL = 12


def _codes() -> dict[str, str]:
    letters = string.ascii_letters
    codes = [*letters, *(a + b for a in letters for b in letters)]
    return dict(zip(KEYS, codes, strict=False))


_CODE = _codes()
_NAME = {code: name for name, code in _CODE.items()}


# -- JSON --------------------------------------------------------------------------------------


def dumps(value: object, tree: str, put: Callable[[str], int]) -> str:
    """Return `value` as packed JSON text.

    Args:
        value: JSON-like: dicts with string keys, lists, tuples, strings, numbers, booleans and None.
        tree: the tree's id; ids that begin with it are shortened.
        put: stores a long text and returns its number.
    """
    try:
        return orjson.dumps(_Packer(tree, put).pack(value)).decode()
    except (TypeError, UnicodeEncodeError):  # a huge integer or a lone surrogate somewhere
        return orjson.dumps(_CarefulPacker(tree, put).pack(value)).decode()


def loads(body: str, tree: str, get: Callable[[int], str]) -> Any:
    """Return the value that was given to `dumps`; tuples become lists.

    Args:
        body: packed JSON text.
        tree: the tree's id.
        get: returns the text of a number.
    """
    return _Unpacker(tree, get).unpack(orjson.loads(body))


def pick(body: str, tree: str, get: Callable[[int], str], *names: str) -> dict[str, Any]:
    """Return those of the fields `names` that a packed object has; the others are not unpacked or read."""
    packed, unpacker = orjson.loads(body), _Unpacker(tree, get)
    return {name: unpacker.unpack(packed[_CODE[name]]) for name in names if _CODE[name] in packed}


class _Packer:
    """Replaces long strings. Values that need `_CarefulPacker` are not detected here: orjson raises on them."""

    def __init__(self, tree: str, put: Callable[[str], int]) -> None:
        self._prefix = f"{tree}."
        self._put = put

    def pack(self, value: Any) -> Packed:
        kind = type(value)
        if kind is str:
            return self._text(value)
        if kind is dict:
            return self._object(value)
        if kind is tuple or kind is list:
            return [self.pack(item) for item in value]
        if kind is float:
            return value if math.isfinite(value) else f"^!{value}"
        if kind is int:
            return self._integer(value)
        return self._text(str(value)) if isinstance(value, str) else value

    def _object(self, value: dict[str, Any]) -> Packed:
        if len(value) <= 3:
            common = self._message(value) if "parts" in value else self._text_part(value)
            if common is not None:
                return {"": common}
        return {
            _CODE.get(key) or self._key(key): self._label(item) if key in LABELS else self.pack(item)
            for key, item in value.items()
        }

    def _text_part(self, value: Any) -> str | None:
        """Return the short form of a text part; None if `value` is not one."""
        if type(value) is dict and len(value) == 2 and value.get("type") == "text":
            text = value.get("text")
            return self._text(text) if type(text) is str else None
        return None

    def _message(self, value: dict[str, Any]) -> list[Any] | None:
        """Return the short form of a message of one text part; None if `value` is not one."""
        role, parts, sampled = value.get("role"), value["parts"], value.get("sampled") is True
        if type(role) is not str or not isinstance(parts, list | tuple) or len(parts) != 1:
            return None
        if len(value) != 2 + sampled:
            return None
        text = self._text_part(parts[0])
        if text is None:
            return None
        return [self._text(role), text, 1] if sampled else [self._text(role), text]

    def _label(self, value: Any) -> Packed:
        if type(value) is str and len(value) >= SHORT_LABEL and not value.startswith(self._prefix):
            return self._reference(value)
        return self.pack(value)

    def _reference(self, text: str) -> str:
        return f"^{self._put(text)}"

    def _text(self, text: str) -> str:
        if len(text) >= LONG:
            return self._reference(text)
        if text.startswith(self._prefix):
            return f"^.{text[len(self._prefix) :]}"
        return f"^{text}" if text.startswith("^") else text

    def _key(self, key: str) -> str:
        return f"^{key}" if len(key) <= 2 or key.startswith("^") else key

    def _integer(self, value: int) -> int | str:
        return value


class _CarefulPacker(_Packer):
    """Also packs integers of any size and strings that are not valid Unicode; slower."""

    def _text(self, text: str) -> str:
        return super()._text(text) if _is_valid(text) else f"^!s{json.dumps(text)[1:-1]}"

    def _reference(self, text: str) -> str:
        return super()._reference(text) if _is_valid(text) else self._text(text)

    def _key(self, key: str) -> str:
        return super()._key(key) if _is_valid(key) else f"^!s{json.dumps(key)[1:-1]}"

    def _integer(self, value: int) -> int | str:
        return value if -(2**63) <= value < 2**64 else f"^!i{value}"


class _Unpacker:
    def __init__(self, tree: str, get: Callable[[int], str]) -> None:
        self._prefix = f"{tree}."
        self._get = get

    def unpack(self, value: Packed) -> Any:
        kind = type(value)
        if kind is str:
            return self._special(value) if value.startswith("^") else value
        if kind is dict:
            if "" in value:
                return self._common(value[""])
            return {_NAME.get(key) or _unkey(key): self.unpack(item) for key, item in value.items()}
        if kind is list:
            return [self.unpack(item) for item in value]
        return value

    def _common(self, value: Packed) -> dict[str, Any]:
        if type(value) is not list:
            return {"type": "text", "text": self.unpack(value)}
        parts = [{"type": "text", "text": self.unpack(value[1])}]
        message: dict[str, Any] = {"role": self.unpack(value[0]), "parts": parts}
        return {**message, "sampled": True} if len(value) == 3 else message

    def _special(self, text: str) -> str | int | float:
        match text[1]:
            case "^":
                return text[1:]
            case ".":
                return self._prefix + text[2:]
            case "!":
                return _odd(text[2:])
            case _:
                return self._get(int(text[1:]))


def _odd(text: str) -> str | int | float:
    match text[0]:
        case "s":
            return json.loads(f'"{text[1:]}"')
        case "i" if text != "inf":
            return int(text[1:])
        case _:
            return float(text)


def _unkey(key: str) -> str:
    if not key.startswith("^"):
        return key
    return json.loads(f'"{key[3:]}"') if key.startswith("^!s") and len(key) > 3 else key[1:]


def _is_valid(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# -- texts -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a text already stored, in code points, half open."""

    of: int
    start: int
    end: int
    escaped: bool = False
    """The part is the inside of a JSON string, to be decoded."""


_MAX_UNCLOSED = 100
"""After so many fences without an end, the rest of a text is one piece."""
_OPEN = re.compile(r"<data ([0-9a-f]{16}) ([^\n>]*)>\n")


def split(text: str, put: Callable[[str], int]) -> str | None:
    """Return the pieces of `text` as JSON, long ones stored through `put`; None if it has no fence.

    A piece is a string, the number of a text, or `[boundary, name, content]` for fenced data, where an
    empty boundary means the same as in the fence before.
    """
    pieces: list[Any] = []
    done = at = unclosed = 0
    last = ""
    while opening := _OPEN.search(text, at):
        boundary, name = opening.groups()
        end = text.find(f"\n</data {boundary}>", opening.end())
        if end < 0:
            at, unclosed = opening.end(), unclosed + 1
            if unclosed > _MAX_UNCLOSED:
                break
            continue
        if opening.start() > done:
            pieces.append(_piece(text[done : opening.start()], put))
        pieces.append(["" if boundary == last else boundary, name, _piece(text[opening.end() : end], put)])
        done = at = end + len(f"\n</data {boundary}>")
        last = boundary
    if not pieces:
        return None
    if done < len(text):
        pieces.append(_piece(text[done:], put))
    return orjson.dumps(pieces).decode()


def _piece(text: str, put: Callable[[str], int]) -> str | int:
    return put(text) if len(text) >= LONG else text


def slice_of(text: str, number: int, source: str) -> Slice | None:
    """Return `text` as a slice of `source`, the text of this number; None if it is not part of it.

    It may be there as it is or as the inside of a JSON string.
    """
    if len(text) >= len(source):
        return None
    start = source.find(text)
    if start >= 0:
        return Slice(number, start, start + len(text))
    escaped = orjson.dumps(text).decode()[1:-1]
    start = source.find(escaped) if len(escaped) > len(text) else -1
    return None if start < 0 else Slice(number, start, start + len(escaped), escaped=True)


def slice_body(found: Slice) -> str:
    """Return a slice as JSON: `{"of": number, "from": start, "to": end}`, and `"json": 1` if escaped."""
    body = {"of": found.of, "from": found.start, "to": found.end}
    return orjson.dumps({**body, "json": 1} if found.escaped else body).decode()


def join(body: str, get: Callable[[int], str]) -> str:
    """Return the text for which `split` or `slice_body` returned `body`."""
    made = orjson.loads(body)
    if isinstance(made, dict):
        cut = get(made["of"])[made["from"] : made["to"]]
        return orjson.loads(f'"{cut}"') if made.get("json") else cut
    out: list[str] = []
    last = ""
    for piece in made:
        if isinstance(piece, list):
            boundary, name, content = piece
            last = boundary or last
            text = get(content) if isinstance(content, int) else content
            out.append(f"<data {last} {name}>\n{text}\n</data {last}>")
        else:
            out.append(get(piece) if isinstance(piece, int) else piece)
    return "".join(out)
