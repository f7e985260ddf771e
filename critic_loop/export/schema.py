"""Infers the type of each column, row by row.

Columnar files need one type per column. Columns without a single type (tool calls with different arguments,
content that is text in one row and parts in another) are stored as JSON, so that readers do not add keys with
null values. Knows columns. Does not know pyarrow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from critic_loop.export.base import MESSAGE_COLUMNS, Columns

Kind: TypeAlias = Literal[
    "chat", "chat_json", "list_json", "images", "provenance", "text", "flag", "integer", "number", "json"
]
"""`chat`: messages of role and text alone; `chat_json`: any other messages."""


@dataclass
class Shapes:
    """The kinds of the columns of all rows so far, in order of their first row."""

    kinds: dict[str, Kind] = field(default_factory=dict[str, Kind])

    def add(self, columns: Columns) -> None:
        """Widen the kinds so that they include those of a row."""
        for name, value in columns.items():
            kind = _kind(name, value)
            self.kinds[name] = _wider(self.kinds.get(name, kind), kind)


def _kind(name: str, value: Any) -> Kind:
    if name in MESSAGE_COLUMNS and isinstance(value, list):
        return "chat" if all(_is_plain(turn) for turn in cast("list[Any]", value)) else "chat_json"
    by_name: dict[str, Kind] = {"tools": "list_json", "images": "images", "provenance": "provenance"}
    if name in by_name:
        return by_name[name]
    by_type: dict[type, Kind] = {str: "text", bool: "flag", int: "integer", float: "number"}
    return by_type.get(type(value), "json")


def _is_plain(turn: Any) -> bool:
    return isinstance(turn, dict) and turn.keys() == {"role", "content"} and isinstance(turn["content"], str)


def _wider(one: Kind, other: Kind) -> Kind:
    if one == other:
        return one
    wider: dict[frozenset[Kind], Kind] = {
        frozenset({"chat", "chat_json"}): "chat_json",
        frozenset({"integer", "number"}): "number",
    }
    return wider.get(frozenset({one, other}), "json")
