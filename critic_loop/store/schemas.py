"""Writes the published JSON Schemas of all records: `python -m critic_loop.store.schemas [FOLDER]`.

The schemas describe what `model_dump_json` writes, with or without defaults.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, TypeAdapter

from critic_loop.core.messages import Message
from critic_loop.core.records import (
    Ask,
    Attempt,
    Call,
    Event,
    Feedback,
    Head,
    Outcome,
    Record,
    Reply,
    Task,
)

FOLDER = Path("docs/schemas")
_PUBLISHED: tuple[type[BaseModel], ...] = (
    Ask, Attempt, Call, Event, Feedback, Head, Message, Outcome, Reply, Task,
)  # fmt: skip


def schemas() -> Mapping[str, dict[str, Any]]:
    """Return the JSON Schemas by lower-case record name; `record` is the union of all."""
    named = {model.__name__.lower(): _clean(model.model_json_schema()) for model in _PUBLISHED}
    union: TypeAdapter[Record] = TypeAdapter(Record)
    return {**named, "record": {"title": "Record", **_clean(union.json_schema())}}


def write(named: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write each schema to `folder/NAME.json`; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, schema in named.items():
        path = folder / f"{name}.json"
        path.write_bytes(text_of(schema))
        written.append(path)
    return written


def text_of(schema: Mapping[str, Any]) -> bytes:
    """Return the content of a schema's file: JSON in UTF-8, indented, with sorted keys."""
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def _clean(schema: dict[str, Any]) -> dict[str, Any]:
    """Add the JSON Schema dialect, and remove the bytes of images and files, which are never dumped."""
    for name in ("Image", "File"):
        schema.get("$defs", {}).get(name, {"properties": {}})["properties"].pop("data", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the JSON Schemas.")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    for path in write(schemas(), parser.parse_args().folder):
        sys.stdout.write(f"{path}\n")
